import { hasEnded, type TaskState } from '../../protocol/taskState.ts';

/** What was known of a task when it was last heard of. */
export interface Stage {
  ended: boolean;
  commits: boolean;
  /** When it was first heard of, in milliseconds since the epoch. */
  since: number;
}

/** A task that began so long before it was heard of first is one whose history is being read, in milliseconds. */
const historyMs = 60_000;

export function stage(state: TaskState, since: number | undefined, now = Date.now()): Stage {
  return { ended: hasEnded(state), commits: state.imported.length > 0, since: since ?? now };
}

/**
 * What is worth a word: the first commit, and the end. A task that this window hears of for the first time may be an old
 * one, of a runner that was just connected or of another window: its past is no news.
 */
export function newsOf(
  state: TaskState,
  before: Stage | undefined,
  now: Stage,
): 'commit' | 'end' | undefined {
  const past = { ended: false, commits: false, ...before };
  if (now.ended) return past.ended || (state.endedAt ?? 0) < now.since - historyMs ? undefined : 'end';
  const history = state.spec.createdAt < now.since - historyMs;
  return now.commits && !past.commits && !history ? 'commit' : undefined;
}
