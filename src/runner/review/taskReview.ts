import type { Event } from '../../base/event.ts';
import type { MergeConflict } from '../../git/accept/conflict.ts';
import type {
  AcceptRecord,
  AcceptTarget,
  FileId,
  PartId,
  Remark,
  ReviewBody,
  ReviewDiff,
  ReviewFile,
  ReviewScope,
  ReviewState,
  Verdict,
} from '../../protocol/review.ts';

export type { MergeConflict } from '../../git/accept/conflict.ts';

/** A scope that there is now, for people to choose. */
export interface ScopeChoice {
  scope: ReviewScope;
  /** "Everything", "Turn 2", a commit's subject, "Uncommitted edits". */
  label: string;
  detail: string;
}

/** What a decision is about. `all` leaves out what is on the gate's list: that is only accepted file by file. */
export type Choice = { parts: readonly PartId[] } | { file: FileId } | { all: true };

export interface AcceptRequest {
  scope: ReviewScope;
  /**
   * `accepted` takes the parts with that verdict; `rest` those that are not rejected, and throws `gate_open` with the names of
   * the gate's files that have no verdict of their own.
   */
  what: 'accepted' | 'rest' | { parts: readonly PartId[] };
  target: AcceptTarget;
  /** Of the commit, where one is made that the agent has not. */
  message?: string;
  /** What the user made of the conflicts that the last try told, by path; undefined where there is to be no file. */
  merged?: ReadonlyMap<string, Uint8Array | undefined>;
  signal?: AbortSignal;
}

/** Nothing was changed where there are conflicts. */
export type AcceptOutcome =
  { kind: 'done'; record: AcceptRecord } | { kind: 'conflicts'; conflicts: MergeConflict[] };

/** Which edit is in conflict with which version of the task's. */
export interface EditInConflict {
  path: string;
  file: FileId;
  /** The task's version, a blob, or all zeros where it has deleted the file; and the commit that has it. */
  original: string;
  commit: string;
  /** The edit: the file that it was written in, and its blob. */
  by: FileId;
  content: string;
}

/** An edit of the user's and a newer version of the task's that do not go together; `current` is the edit. */
export type EditConflict = EditInConflict & MergeConflict;

/** What would go to the agent. */
export interface AgentMessage {
  text: string;
  remarks: string[];
  rejected: PartId[];
}

/**
 * The review of one task. Everything is read from the quarantine; the user's repository changes only by `accept` and `undo`,
 * each of which is done whole or not at all, whenever this process is killed. Failures are SallyportErrors.
 */
export interface TaskReview {
  readonly onDidChange: Event<ReviewState>;
  state(): Promise<ReviewState>;
  /** Those that have something to look at; the whole task first. */
  scopes(): Promise<ScopeChoice[]>;
  /** What differs, with the user's edits in place of the task's files. */
  diff(scope: ReviewScope, signal?: AbortSignal): Promise<ReviewDiff>;
  /** Parts that were rejected and sent back, and are here again as they were. */
  returned(diff: ReviewDiff): Promise<PartId[]>;
  decide(scope: ReviewScope, choice: Choice, verdict: Verdict | null): Promise<ReviewState>;
  setReviewed(files: readonly Pick<ReviewFile, 'fingerprint'>[], on: boolean): Promise<ReviewState>;
  /** The content of a file with what is not rejected of it: what an editor shows on the right. */
  content(scope: ReviewScope, file: FileId): Promise<Uint8Array>;
  /**
   * Puts a content of the user's in place of the task's. A content that is the task's without some of its hunks rejects those
   * instead; undefined takes the edit back.
   */
  edit(scope: ReviewScope, file: FileId, content: Uint8Array | undefined): Promise<ReviewState>;
  /** The three versions of a file whose edit is in conflict. Throws `not_found` where that is no longer so. */
  editConflict(scope: ReviewScope, file: FileId): Promise<EditConflict>;
  /**
   * What the user made of a conflict: the new edit, as long as the task's version is the one that was shown, and carried over
   * again from there. Undefined leaves the file as the task has it. Throws `conflict` when the edit is another one by now.
   */
  settleEdit(told: EditInConflict, content: Uint8Array | undefined): Promise<ReviewState>;
  /** Throws `gate_open`, `nothing_to_accept`, `operation_in_progress`, `branch_exists`, `conflict` for an edit in conflict. */
  accept(request: AcceptRequest): Promise<AcceptOutcome>;
  /** Throws `conflict` when what was accepted was changed since. */
  undo(id: string): Promise<void>;
  addRemark(remark: Omit<Remark, 'id'>): Promise<Remark>;
  changeRemark(id: string, text: string): Promise<void>;
  removeRemark(id: string): Promise<void>;
  resolveRemark(id: string, resolved: boolean): Promise<void>;
  /** What `send` would say; undefined when there is nothing to say. */
  message(): Promise<AgentMessage | undefined>;
  /** Sends remarks and rejections as one message: now, at the end of the turn, or as a follow-up to a task that is over. */
  send(extra?: string): Promise<void>;
  /**
   * Where a remark's lines are in another version of its file, by the blob's name: followed through git's own diff of the
   * two. Undefined where nothing is left of them, or that is no text.
   */
  place(remark: Pick<Remark, 'blob' | 'line' | 'endLine'>, blob: string): Promise<LineRange | undefined>;
  /** Notes what was done with the task's commits outside of the review. */
  record(body: OutsideRecord): Promise<ReviewState>;
}

/** Lines from 1, both inclusive. */
export interface LineRange {
  line: number;
  endLine: number;
}

export type OutsideRecord = Extract<ReviewBody, { type: 'pushed' | 'pull_request' }>;
