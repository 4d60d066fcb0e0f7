import * as vscode from 'vscode';
import { safeLine } from '../protocol/safeText.ts';
import { hasEnded, isAtRest, type TaskState } from '../protocol/taskState.ts';
import type { Tasks } from './tasks.ts';

/** True for a task to whose agent something can be said: now, or so that it goes on. */
export function takesMessages(state: TaskState): boolean {
  return hasEnded(state) ? isAtRest(state) : state.conversation !== undefined;
}

/** Asks for a message and sends it. Resolves to a task that was over and goes on with it. */
export async function sendMessage(tasks: Tasks, state: TaskState): Promise<TaskState | undefined> {
  const { checkPrompt } = await import('../runner/localTasks.ts');
  const over = hasEnded(state);
  const title = safeLine(state.spec.title, 50);
  const waits = over || state.phase === 'waiting';
  const text = await vscode.window.showInputBox({
    title: over ? `Follow Up “${title}”` : `Message to the Agent of “${title}”`,
    prompt: over
      ? 'The task goes on where it is, with what was said.'
      : waits
        ? 'The agent goes on at once.'
        : 'The agent gets it at the end of its turn.',
    ignoreFocusOut: true,
    validateInput: (typed) => (typed.trim() === '' ? 'Say what the agent is to do.' : undefined),
  });
  if (text === undefined) return undefined;
  checkPrompt(text);
  const service = await tasks.open();
  if (over) return await service.followUp(state.spec.id, text);
  await service.send(state.spec.id, text);
  return undefined;
}
