import * as z from 'zod/mini';
import { BranchName, MessageId, Sha, TaskId } from './grammar.ts';
import type { FileChange } from './taskEvent.ts';

/**
 * What a user decides about the work of a task, before anything of it leaves the quarantine. The decisions are events of a
 * log of their own, beside the task's: they belong to whoever reviews, on the machine where that is done, wherever the
 * task ran. Views are functions of `ReviewState`, its fold.
 */

/** Of what a file or a part of it consists, hashed: the same change has the same name in every diff that holds it. */
export const PartId = z.string().check(z.regex(/^[0-9a-f]{16}$/));
export type PartId = z.infer<typeof PartId>;
/** Of a file's path as git has it, hashed: a path need not be UTF-8. */
export const FileId = z.string().check(z.regex(/^[0-9a-f]{16}$/));
export type FileId = z.infer<typeof FileId>;

/** What is looked at: all of a task, what one turn made of it, one commit, or what was left uncommitted. */
export const ReviewScope = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('all') }),
  z.object({ kind: z.literal('turn'), turn: z.int().check(z.positive()) }),
  z.object({ kind: z.literal('commit'), sha: Sha }),
  z.object({ kind: z.literal('leftovers') }),
]);
export type ReviewScope = z.infer<typeof ReviewScope>;

/** The smallest thing that can be accepted or rejected. Every subset of a diff's parts that is closed under `needs` gives a tree. */
export interface ReviewPart {
  id: PartId;
  /** `hunk` is of lines; the others are of the whole file: `rename` and `mode` beside its hunks, the rest instead of them. */
  kind: 'hunk' | 'add' | 'delete' | 'rename' | 'mode' | 'binary' | 'link' | 'submodule' | 'type';
  /** Lines from 1, of a hunk; `lines` is 0 where nothing was or is. `start` is then the line before it. */
  old?: { start: number; lines: number };
  new?: { start: number; lines: number };
  added: number;
  removed: number;
  /** For lists: the first changed line, or what happens to the file. */
  label: string;
  /** Cannot be chosen without these, such as a file in a folder whose name was a file's. */
  needs: PartId[];
}

/** Why a file is on the hand-off gate's list. */
export interface GateReason {
  kind:
    | 'editor'
    | 'container'
    | 'agent'
    | 'hook'
    | 'git'
    | 'environment'
    | 'ci'
    | 'scripts'
    | 'lockfile'
    | 'build'
    | 'link'
    | 'mode'
    | 'binary'
    | 'submodule'
    | 'hidden';
  /** Why it matters, a sentence. */
  why: string;
}

/** One file of a diff. */
export interface ReviewFile {
  id: FileId;
  /** Bytes that are no UTF-8 stand as U+FFFD. */
  path: string;
  from?: string;
  status: FileChange['status'];
  oldMode: string;
  newMode: string;
  /** All zeros where there is no file. */
  oldBlob: string;
  newBlob: string;
  binary: boolean;
  /** Lines; undefined for binary files. */
  added?: number;
  removed?: number;
  parts: ReviewPart[];
  /** Not empty for a file that can only be accepted on its own. */
  gate: GateReason[];
  /** Of both sides, with modes and names: what a *reviewed* mark holds on to. */
  fingerprint: string;
  /** Where the user has written another content for it. */
  edit?: FileEdit;
}

/** How the user's edit of a file stands to what the task has made of the file by now. */
export interface FileEdit {
  /**
   * `own`: it was written for this version, and stands in its place. `carried`: it was written for an earlier one, and git has
   * merged it with this one. `conflict`: it cannot be, so the file is as the task has it until the user decides.
   */
  kind: 'own' | 'carried' | 'conflict';
  /** The file that it was written in: another one where the task has renamed it since. */
  by: FileId;
  /** Of a conflict: the same lines were changed, it is no text, the task deleted the file, or made something else of it. */
  why?: 'lines' | 'noText' | 'deleted' | 'noFile';
}

export interface ReviewDiff {
  scope: ReviewScope;
  /** Commits. */
  from: string;
  to: string;
  /** Those of the gate first, then by path. */
  files: ReviewFile[];
  /** How many more files differ: too many to be looked at, and to be chosen. */
  further?: number;
}

export const Verdict = z.enum(['accepted', 'rejected']);
export type Verdict = z.infer<typeof Verdict>;

/** Where accepted content goes. */
export const AcceptTarget = z.discriminatedUnion('kind', [
  /** The files of the work tree; with `staged` they are in the index too. */
  z.object({ kind: z.literal('tree'), staged: z.boolean() }),
  /** A new branch: the agent's commits where everything is accepted, else one commit. Nothing else changes. */
  z.object({ kind: z.literal('branch'), branch: BranchName }),
  /** The current branch, as the agent's own commits, with their messages and authors. */
  z.object({ kind: z.literal('commits') }),
]);
export type AcceptTarget = z.infer<typeof AcceptTarget>;

const shortId = z.string().check(z.regex(/^[a-z0-9]{1,40}$/));
const Path = z.string().check(z.maxLength(4096));
const Text = z.string().check(z.maxLength(20_000));

export const Remark = z.object({
  id: shortId,
  file: FileId,
  path: Path,
  side: z.enum(['old', 'new']),
  /** The blob that was looked at, and the commit. */
  blob: Sha,
  commit: Sha,
  /** Lines from 1, both inclusive. */
  line: z.int().check(z.positive()),
  endLine: z.int().check(z.positive()),
  /** The lines themselves, shortened. */
  quote: Text,
  text: Text,
});
export type Remark = z.infer<typeof Remark>;

/** What a rejected part was, so that it can be named to the agent, and known again. */
export const RejectedPart = z.object({
  part: PartId,
  path: Path,
  kind: z.string().check(z.maxLength(20)),
  /** Its lines as a diff has them, shortened. */
  text: Text,
});
export type RejectedPart = z.infer<typeof RejectedPart>;

const prState = z.enum(['draft', 'open', 'closed', 'merged']);

export const PullRequestRecord = z.object({
  forge: z.string().check(z.maxLength(100)),
  repository: z.string().check(z.maxLength(400)),
  number: z.int().check(z.positive()),
  url: z.url(),
  state: prState,
  /** What the forge's checks say of its newest commit. */
  checks: z.optional(z.enum(['running', 'passed', 'failed', 'none'])),
  branch: z.string().check(z.maxLength(400)),
  /** Address of the remote that it was pushed to, without a user or a password. */
  remote: z.optional(z.string().check(z.maxLength(400))),
});
export type PullRequestRecord = z.infer<typeof PullRequestRecord>;

export const PushRecord = z.object({
  remote: z.string().check(z.maxLength(400)),
  branch: BranchName,
  commit: Sha,
  /** What the server said to people holds it, such as where to open a pull request. */
  url: z.optional(z.url()),
});
export type PushRecord = z.infer<typeof PushRecord>;

/** What happens in a review. */
export const ReviewBody = z.discriminatedUnion('type', [
  /** `verdict` null takes it back. `rejected` says what the parts were, where they are rejected. */
  z.object({
    type: z.literal('decided'),
    parts: z.array(PartId),
    verdict: z.nullable(Verdict),
    rejected: z.optional(z.array(RejectedPart)),
  }),
  /** Fingerprints of files that were read, or are to be read again. */
  z.object({
    type: z.literal('reviewed'),
    fingerprints: z.array(z.string().check(z.maxLength(64))),
    on: z.boolean(),
  }),
  /**
   * The user wrote another content in place of `original`, which is the task's; both are blobs. Null takes it back. All zeros
   * are where the task has deleted the file. `commit` is where the task's version was seen.
   */
  z.object({
    type: z.literal('edited'),
    file: FileId,
    path: Path,
    original: Sha,
    content: z.nullable(Sha),
    commit: z.optional(Sha),
  }),
  z.object({ type: z.literal('remark'), remark: Remark }),
  z.object({ type: z.literal('remark_changed'), id: shortId, text: Text }),
  z.object({ type: z.literal('remark_removed'), id: shortId }),
  /** By the user, or because a later turn changed its lines. */
  z.object({
    type: z.literal('remark_resolved'),
    id: shortId,
    by: z.enum(['user', 'turn']),
    resolved: z.boolean(),
  }),
  /** These went to the agent, in one message. */
  z.object({
    type: z.literal('sent'),
    message: z.optional(MessageId),
    remarks: z.array(shortId),
    rejected: z.array(PartId),
    /** The newest commit at that time. */
    commit: z.optional(Sha),
    /** The task that got it, where it is another one. */
    task: z.optional(TaskId),
  }),
  /** Something was taken over. `undo` names what is needed to take it back, in the data folder. */
  z.object({
    type: z.literal('accepted'),
    id: shortId,
    target: AcceptTarget,
    files: z.int(),
    parts: z.array(PartId),
    /** Everything of the range was taken. */
    whole: z.boolean(),
    branch: z.optional(z.string()),
    commit: z.optional(Sha),
  }),
  z.object({ type: z.literal('undone'), id: shortId }),
  z.object({ type: z.literal('pushed'), push: PushRecord }),
  z.object({ type: z.literal('pull_request'), pullRequest: PullRequestRecord }),
]);
export type ReviewBody = z.infer<typeof ReviewBody>;

/** One event: numbered from 1 without a gap, with its time in milliseconds since the epoch. */
export type ReviewEvent = ReviewBody & { n: number; t: number };

const Envelope = z.looseObject({ n: z.int().check(z.positive()), t: z.number() });

/** An event that this version does not know: it is counted, and nothing else. */
export interface LaterEvent {
  type: 'later';
  n: number;
  t: number;
}

/** Checks one decoded line of a review's log. Throws when it is no event at all. */
export function parseReviewEvent(json: unknown): ReviewEvent | LaterEvent {
  const { n, t } = Envelope.parse(json);
  const body = ReviewBody.safeParse(json);
  return body.success ? { ...body.data, n, t } : { type: 'later', n, t };
}

export interface RemarkState extends Remark {
  state: 'draft' | 'sent' | 'resolved';
  at: number;
  /** The newest commit when it was sent last. */
  sentCommit?: string;
}

export interface AcceptRecord {
  id: string;
  at: number;
  target: AcceptTarget;
  files: number;
  whole: boolean;
  branch?: string;
  commit?: string;
  undone: boolean;
}

/** A content of the user's in place of `original`, both blobs. */
export interface UserEdit {
  path: string;
  original: string;
  content: string;
  commit?: string;
}

/** The fold of a review's events, and nothing else. Plain data, so that it can be posted to a webview. */
export interface ReviewState {
  lastEvent: number;
  verdicts: Record<PartId, Verdict>;
  /** `sentCommit` is the newest commit when the agent was told last. */
  rejected: Record<PartId, RejectedPart & { sent: boolean; sentCommit?: string }>;
  /** Fingerprints. */
  reviewed: Record<string, true>;
  edits: Record<FileId, UserEdit>;
  remarks: RemarkState[];
  accepts: AcceptRecord[];
  /** Parts that are taken over, with the ids of the accepts that did it and were not undone. */
  taken: Record<PartId, string[]>;
  pushes: (PushRecord & { at: number })[];
  pullRequest?: PullRequestRecord & { at: number };
  /** When something last went to the agent. */
  sentAt?: number;
}

export const emptyReview: ReviewState = {
  lastEvent: 0,
  verdicts: {},
  rejected: {},
  reviewed: {},
  edits: {},
  remarks: [],
  accepts: [],
  taken: {},
  pushes: [],
};
