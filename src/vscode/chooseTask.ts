import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { TaskId } from '../protocol/grammar.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { phaseLabel, summary } from '../protocol/words.ts';
import type { Tasks } from './tasks.ts';

/** What a command is called with: a node of the tree, an id, or nothing from the palette. */
export const Target = z.union([
  TaskId,
  z.looseObject({ id: TaskId, sha: z.optional(z.string()), kind: z.optional(z.string()) }),
]);

/** A task, and what of it was meant. */
export interface Chosen {
  state: TaskState;
  sha?: string;
  leftovers: boolean;
}

/** The task that a command is about: the one that it was called with, else one that the user picks. Throws `task_unknown`. */
export async function chooseTask(
  tasks: Tasks,
  argument: unknown,
  ask: string,
  fits: (state: TaskState) => boolean,
): Promise<TaskState | undefined> {
  return (await choose(tasks, argument, ask, fits))?.state;
}

/** As `chooseTask`, with the commit or the leftovers that were meant. */
export async function choose(
  tasks: Tasks,
  argument: unknown,
  ask: string,
  fits: (state: TaskState) => boolean,
): Promise<Chosen | undefined> {
  const service = await tasks.open();
  const target = Target.safeParse(argument);
  if (target.success) {
    const id = typeof target.data === 'string' ? target.data : target.data.id;
    const state = service.task(id);
    if (state === undefined) {
      throw new SallyportError(
        'task_unknown',
        'This task does not exist any more.',
        'It may have been removed in another window.',
      );
    }
    if (typeof target.data === 'string') return { state, leftovers: false };
    const { sha, kind } = target.data;
    return { state, leftovers: kind === 'leftovers', ...(sha === undefined ? {} : { sha }) };
  }
  const now = Date.now();
  const candidates = service.tasks().filter(fits).toReversed();
  if (candidates.length === 0) {
    void vscode.window.showInformationMessage('There is no task for that.');
    return undefined;
  }
  const picked = await vscode.window.showQuickPick(
    candidates.map((state) => ({
      label: safeLine(state.spec.title),
      description: [tasks.whereabouts(state.spec.id)?.name, phaseLabel(state), summary(state, now)]
        .filter((text) => text !== undefined)
        .join(' · '),
      state,
    })),
    { placeHolder: ask, matchOnDescription: true },
  );
  return picked === undefined ? undefined : { state: picked.state, leftovers: false };
}
