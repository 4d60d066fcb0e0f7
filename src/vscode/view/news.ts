import { hasEnded, type TaskState } from '../../protocol/taskState.ts';

/** What was known of a task when it was last heard of. */
export interface Stage {
  ended: boolean;
  commits: boolean;
  /**
   * When it turned up, in milliseconds since the epoch; undefined for one that was there when the tasks were opened.
   */
  turnedUp: number | undefined;
}

/** A task that began so long before it turned up is one whose history is being read, in milliseconds. */
const historyMs = 60_000;

export function stageOf(state: TaskState, turnedUp: number | undefined): Stage {
  return { ended: hasEnded(state), commits: state.imported.length > 0, turnedUp };
}

/**
 * What is worth a word: the first commit, and the end. A task that turns up may be an old one, of a runner that was just
 * connected: its past is no news.
 */
export function newsOf(
  state: TaskState,
  before: Stage | undefined,
  now: Stage,
): 'commit' | 'end' | undefined {
  const past = before ?? { ended: false, commits: false };
  const isHistory = (at: number): boolean => now.turnedUp !== undefined && at < now.turnedUp - historyMs;
  if (now.ended) return past.ended || isHistory(state.endedAt ?? 0) ? undefined : 'end';
  return now.commits && !past.commits && !isHistory(state.startedAt) ? 'commit' : undefined;
}
