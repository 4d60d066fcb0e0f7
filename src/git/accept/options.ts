import type { AcceptTarget } from '../../protocol/review.ts';
import type { Identity } from '../../protocol/task.ts';
import type { Quarantine } from '../quarantine.ts';
import type { Repository } from '../repository.ts';
import type { MergeConflict } from './conflict.ts';

export interface AcceptOptions {
  repository: Repository;
  quarantine: Quarantine;
  /** The commit that `tree` is compared with: what the task started from, or what the scope begins with. */
  base: string;
  /** What was chosen, a tree in the quarantine. */
  tree: string;
  /**
   * The agent's commits of the range, in order, with what it left uncommitted as the last of them where that was chosen.
   * Those that a merge brought in count as part of the merge.
   */
  commits: readonly string[];
  /** `tree` is that of the last commit: nothing was rejected and nothing edited. */
  whole: boolean;
  target: AcceptTarget;
  /** Of the commit that is made where none of the agent's own serves. */
  message?: string | undefined;
  /** Author of that commit; also who commits, where the user has not told git a name. */
  identity: Identity;
  /** A folder in the data folder, for what is needed to take accepts back. Made when it is not there. */
  journal: string;
  /**
   * What the user made of the conflicts that the last try told, by their paths, as git stores it; undefined where there is to
   * be no file. Taken only where nothing has changed since they were told.
   */
  merged?: ReadonlyMap<string, Uint8Array | undefined> | undefined;
  /** Kept in the journal, and given back by `doneAccepts`: what the caller has to remember of an accept. */
  note?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface AcceptDone {
  kind: 'done';
  /** Names it for `undoAccept`; fits `AcceptRecord.id`. */
  undo: string;
  /** The branch that was made, or moved. */
  branch?: string;
  /** Where it is now. */
  commit?: string;
  /** How many files of the work tree, or of the branch, are others than before. */
  files: number;
}

/** Nothing was changed where there are conflicts. */
export type AcceptResult = AcceptDone | { kind: 'conflicts'; conflicts: MergeConflict[] };
