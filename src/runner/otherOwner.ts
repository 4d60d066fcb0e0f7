import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import type { Event } from '../base/event.ts';
import { pause } from '../base/pause.ts';
import type { Engine } from '../engine/engine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import { isHeeded } from './askEvents.ts';
import { asksFolder, leaveAsk, type Ask } from './asks.ts';
import { request } from './control.ts';

/** What can be done with a task that another process of this machine attends to. */

/** How long that process may take to do what it is asked for, in milliseconds. */
export const askPatience = 10_000;

/** A task as it is seen from aside. */
export interface SeenTask {
  state: () => TaskState;
  /** The new state of this task or of another one. */
  onDidChange: Event<TaskState>;
  /** The task's own. */
  folder: string;
}

/** Leaves it to the task's owner, and waits until the log says that it is done. Throws `task_busy`. */
export async function askOwner({ state, onDidChange, folder }: SeenTask, ask: Ask): Promise<void> {
  if (isHeeded(state(), ask)) return;
  const { id } = state().spec;
  const withdraw = await leaveAsk(join(folder, asksFolder), ask);
  const done = new AbortController();
  const listening = onDidChange((now) => {
    if (now.spec.id === id && (isHeeded(now, ask) || hasEnded(now))) done.abort();
  });
  if (!isHeeded(state(), ask)) await pause(askPatience, done.signal);
  listening.dispose();
  if (isHeeded(state(), ask) || hasEnded(state())) return;
  await withdraw();
  throw elsewhere(id);
}

/** Asks a supervisor to stop: it listens to everybody on this machine. */
export async function stopFromAside(engine: Engine, sandbox: string): Promise<void> {
  try {
    await request(engine, sandbox, { op: 'stop' });
  } catch (thrown) {
    // The owner removes the sandbox as soon as the agent has ended, which can be before the reply.
    if ((await engine.inspect(sandbox)) !== undefined) throw thrown;
  }
}

export function elsewhere(id: TaskId): SallyportError {
  return new SallyportError(
    'task_busy',
    `Another window attends to the task ${id}.`,
    'Use the window that started it, or close that window and try again.',
  );
}
