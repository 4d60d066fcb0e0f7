import { startOf } from './task.ts';
import type { TaskState } from './taskState.ts';

/** From one commit to another, by object name. */
export interface CommitRange {
  from: string;
  to: string;
}

/** What would be accepted: from the snapshot to the newest commit in the quarantine. Undefined while there is none. */
export function resultRange({ spec, commits, imported }: TaskState): CommitRange | undefined {
  const there = new Set(imported);
  const brought = commits.filter(({ sha }) => there.has(sha));
  const newest = brought.findLast(({ branch }) => branch === spec.branch) ?? brought.at(-1);
  return newest && { from: spec.snapshot.commit, to: newest.sha };
}

/** From where the agent stood to what it left uncommitted; undefined while that is not in the quarantine. */
export function leftoversRange({ leftovers, imported }: TaskState): CommitRange | undefined {
  if (leftovers === undefined || !imported.includes(leftovers.commit)) return undefined;
  return { from: leftovers.parent, to: leftovers.commit };
}

/** Where the work of a task stands in the quarantine: what a new sandbox begins with, and the edits that are put back there. */
export function standing(state: TaskState): { commit: string; uncommitted?: string } {
  const { spec, head, leftovers, imported, checkpoints } = state;
  const here = new Set([spec.snapshot.commit, startOf(spec), ...imported]);
  const commit =
    head?.branch === spec.branch && here.has(head.commit)
      ? head.commit
      : (resultRange(state)?.to ?? startOf(spec));
  const last = checkpoints.at(-1);
  const kept = leftovers ?? { commit: last?.uncommitted ?? '', parent: last?.commit };
  // A commit of later than that stands for what was edited then.
  if (kept.parent === commit && imported.includes(kept.commit)) return { commit, uncommitted: kept.commit };
  const begun = imported.length > 0 || checkpoints.length > 0;
  const { from } = spec;
  return begun || from?.uncommitted === undefined ? { commit } : { commit, uncommitted: from.uncommitted };
}
