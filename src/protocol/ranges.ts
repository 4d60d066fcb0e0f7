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
