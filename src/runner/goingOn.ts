import { SallyportError } from '../base/errors.ts';
import type { Quarantine } from '../git/quarantine.ts';
import { maxCommitMessage, startOf } from '../protocol/task.ts';
import { hasEnded, type Checkpoint, type TaskState } from '../protocol/taskState.ts';

/** Throws `task_busy` for a task that is not over, `conflict` for one that has commits which are in its sandbox only. */
export function checkMayGoOn(state: TaskState): void {
  if (!hasEnded(state)) {
    throw new SallyportError(
      'task_busy',
      'The task is not over yet.',
      'Send its agent a message, if it is a conversation, or wait for its end.',
    );
  }
  if (state.pendingImports.length === 0) return;
  throw state.refusedImports.length > 0
    ? new SallyportError(
        'conflict',
        'Commits of the task were not taken in, and are in its sandbox only; to go on could lose them.',
        'Continue from one of its turns as a new task.',
      )
    : new SallyportError(
        'conflict',
        'The last commits of the task are not in the quarantine yet.',
        'Try again in a moment.',
      );
}

/** Throws `conflict` when there is nothing to commit, or not yet. */
export function checkLeftovers(state: TaskState): NonNullable<TaskState['leftovers']> {
  const { leftovers, imported } = state;
  if (!hasEnded(state)) {
    throw new SallyportError(
      'conflict',
      'The agent may still commit by itself what is uncommitted.',
      'Wait until the task is over, or ask the agent to commit.',
    );
  }
  if (leftovers === undefined) {
    throw new SallyportError(
      'conflict',
      'The agent left nothing uncommitted.',
      'There is nothing to do: its commits are listed with the task.',
    );
  }
  if (!imported.includes(leftovers.commit)) {
    throw new SallyportError(
      'conflict',
      'What the agent left uncommitted is not in the quarantine.',
      'Wait until it is imported; if it was refused, the log of the task says why.',
    );
  }
  return leftovers;
}

/** Throws `invalid_input` for a message that no commit can have. */
export function checkCommitMessage(message: string): void {
  const what =
    message.trim() === ''
      ? 'is empty'
      : message.length > maxCommitMessage
        ? `has more than ${maxCommitMessage.toLocaleString('en')} characters`
        : message.includes('\0')
          ? 'holds a NUL'
          : undefined;
  if (what === undefined) return;
  throw new SallyportError(
    'invalid_input',
    `The message of the commit ${what}.`,
    'Say in a line what the commit is about.',
  );
}

/**
 * The end of a turn, when all of it is in the quarantine. What a sandbox said of it is a claim: it can name nothing that the
 * task itself did not start from or bring in. Throws `not_found` and `conflict`.
 */
export async function checkpointAt(
  { checkpoints, spec, imported, pendingImports }: TaskState,
  turn: number,
  quarantine: Quarantine,
  signal: AbortSignal,
): Promise<Checkpoint> {
  const checkpoint = checkpoints.find((one) => one.turn === turn);
  if (checkpoint === undefined) {
    throw new SallyportError(
      'not_found',
      `The task has no end of a turn ${turn} to go on from.`,
      'Choose one of the turns that are over.',
    );
  }
  const { commit, uncommitted } = checkpoint;
  const wanted = [commit, ...(uncommitted === undefined ? [] : [uncommitted])];
  if (wanted.some((sha) => pendingImports.includes(sha))) {
    throw new SallyportError(
      'conflict',
      `What turn ${turn} brought is not in the quarantine.`,
      'Try again in a moment; if it was refused, the log of the task says why.',
    );
  }
  const own = [spec.snapshot.commit, startOf(spec), ...imported];
  for (const sha of wanted) {
    if (own.includes(sha) || (await quarantine.holds(own.slice(-maxTips), sha, signal))) continue;
    throw new SallyportError(
      'conflict',
      `What the sandbox said of turn ${turn} is nothing that came out of it.`,
      'Continue from another turn.',
    );
  }
  return checkpoint;
}

/** From how many commits an unknown one is looked for. */
const maxTips = 500;

/** True while what the end of a turn holds is not in the quarantine, and may still come in. */
export function isOnItsWay(state: TaskState, turn: number): boolean {
  const checkpoint = state.checkpoints.find((one) => one.turn === turn);
  if (checkpoint === undefined || state.importFailure !== undefined) return false;
  return state.pendingImports.some((sha) => sha === checkpoint.commit || sha === checkpoint.uncommitted);
}

/** Where the work of a turn is: what a new task begins with. */
export function workOf({ commit, uncommitted }: Checkpoint): { commit: string; uncommitted?: string } {
  return { commit, ...(uncommitted === undefined ? {} : { uncommitted }) };
}
