import * as z from 'zod/mini';
import { EgressMode, EgressRuleText } from './egress.ts';
import { BranchName, maxPromptLength, Sha, TaskId } from './grammar.ts';
import { Identity, maxCommitMessage, Snapshot } from './task.ts';
import { Switches } from './switches.ts';
import { FileChange, type TaskEvent } from './taskEvent.ts';
import type { TaskState } from './taskState.ts';

/**
 * What a runner's server and its clients say to each other: under `/api/v1`, in JSON. The OpenAPI document is made from
 * these schemas. Times are milliseconds since the epoch, money is US dollars.
 */

/** Counts up with what clients must know of; a client and a server fit when each is at least the other's `oldestApi`. */
export const apiVersion = 1;
export const oldestApi = 1;

export const ServerVersion = z.object({
  name: z.literal('sallyport-runner'),
  version: z.string(),
  api: z.int(),
  oldestApi: z.int(),
});
export type ServerVersion = z.infer<typeof ServerVersion>;

/** An error as RFC 9457 has it, with the code of a SallyportError and what to do. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  mend: z.string(),
});
export type Problem = z.infer<typeof Problem>;

/** What a credential may do. A role gives a set of them, a token a part of its owner's. */
export const Scope = z.enum(['tasks:read', 'tasks:write', 'account', 'admin']);
export type Scope = z.infer<typeof Scope>;

export const Role = z.enum(['admin', 'member', 'viewer']);
export type Role = z.infer<typeof Role>;

/** The owner's own tokens and password are `account`. */
export const scopesOf: Readonly<Record<Role, readonly Scope[]>> = {
  admin: ['tasks:read', 'tasks:write', 'account', 'admin'],
  member: ['tasks:read', 'tasks:write', 'account'],
  viewer: ['tasks:read', 'account'],
};

export { noSwitches, Switches } from './switches.ts';

const Name = z.string().check(z.minLength(1), z.maxLength(200));
/** As of `RepositoryRef.id`. */
const RepositoryId = z.string().check(z.regex(/^[a-z0-9-]{1,80}$/));

/** What a task works on. */
export const TaskSource = z.discriminatedUnion('kind', [
  /** A commit that the client has uploaded; no forge is needed. */
  z.object({
    kind: z.literal('snapshot'),
    repository: z.object({ id: RepositoryId, name: Name }),
    snapshot: Snapshot,
  }),
  /** A repository that the runner fetches: https, without a user or a password in it. */
  z.object({
    kind: z.literal('url'),
    url: z.string().check(z.maxLength(2000)),
    /** The repository's own default when it is not said. */
    branch: z.optional(BranchName),
  }),
  /** An orchestrator finds the repository, among those that the runner's forge token may see. */
  z.object({
    kind: z.literal('find'),
    /** True: the choice waits for a user's yes. */
    confirm: z._default(z.boolean(), false),
  }),
]);
export type TaskSource = z.infer<typeof TaskSource>;

/** Body of `POST /api/v1/tasks`. */
export const Submission = z.object({
  /** A client may choose the id, so that a repeated submission is known as such. */
  id: z.optional(TaskId),
  prompt: z.string().check(z.maxLength(maxPromptLength)),
  source: TaskSource,
  title: z.optional(z.string().check(z.maxLength(200))),
  model: z.optional(z.string().check(z.maxLength(200))),
  agentArgs: z.optional(z.array(z.string().check(z.maxLength(10_000))).check(z.maxLength(100))),
  /** The branch of the agent's work. */
  branch: z.optional(BranchName),
  identity: z.optional(Identity),
  limits: z.optional(
    z.object({
      memoryBytes: z.optional(z.number().check(z.positive())),
      cpus: z.optional(z.number().check(z.positive())),
      pids: z.optional(z.number().check(z.positive())),
      timeMs: z.optional(z.number().check(z.positive())),
      diskBytes: z.optional(z.number().check(z.positive())),
    }),
  ),
  egress: z.optional(
    z.object({
      mode: z.optional(EgressMode),
      rules: z.optional(z.array(EgressRuleText).check(z.maxLength(1000))),
    }),
  ),
  budgetUsd: z.optional(z.number().check(z.positive())),
  /** Higher comes first in the queue. */
  priority: z._default(z.int().check(z.minimum(-100), z.maximum(100)), 0),
  switches: z.optional(z.partial(Switches)),
  /** Every user of the runner may see the task. */
  shared: z._default(z.boolean(), false),
  /** After each turn the agent waits for the next message, instead of ending. */
  conversation: z._default(z.boolean(), false),
  /** In a conversation: whether the agent asks before it uses a tool; it does not by default. */
  permissions: z.optional(z.enum(['skip', 'ask'])),
  /** The agent goes on with what was said in that task of the same user, where the runner has kept it. */
  resume: z.optional(TaskId),
  /** With `resume`: everything is as it was at the end of that turn of it, its commits and what was uncommitted too. */
  turn: z.optional(z.int().check(z.positive())),
  /** What is left uncommitted at the end is committed with this message. */
  commitMessage: z.optional(z.string().check(z.minLength(1), z.maxLength(maxCommitMessage))),
});
export type Submission = z.infer<typeof Submission>;
/** A submission as a client writes it, without what has a default. */
export type SubmissionInput = z.input<typeof Submission>;

/** What an orchestrator says: the repository that is meant, and what the worker is to be told. */
export const FoundRepository = z.object({
  /** `owner/name` at the forge. */
  repository: z.string().check(z.regex(/^[A-Za-z0-9_.-]+\/[A-Za-z0-9_.-]+$/)),
  branch: z.optional(BranchName),
  reason: z.string().check(z.maxLength(2000)),
  /** The prompt for the worker, when it has to be another than the user's. */
  prompt: z.optional(z.string().check(z.maxLength(maxPromptLength))),
});
export type FoundRepository = z.infer<typeof FoundRepository>;

/** Where a task is before its own log begins, and `task` from then on. */
export const TaskStage = z.enum(['finding', 'confirming', 'fetching', 'task', 'failed', 'cancelled']);
export type TaskStage = z.infer<typeof TaskStage>;

export const PullRequestView = z.object({
  url: z.string(),
  number: z.int(),
  state: z.enum(['draft', 'open', 'closed', 'merged']),
});
export type PullRequestView = z.infer<typeof PullRequestView>;

/** Of a task in lists. */
export const TaskSummary = z.object({
  phase: z.string(),
  progress: z.string(),
  branch: z.string(),
  startedAt: z.number(),
  endedAt: z.optional(z.number()),
  commits: z.int(),
  costUsd: z.number(),
  /** What waits for a user: requests, a budget, the agent of a conversation. */
  waiting: z.int(),
  lastEvent: z.int(),
});
export type TaskSummary = z.infer<typeof TaskSummary>;

/** A task as the server has it. `state` is the fold of its events; absent in lists, and before `stage` is `task`. */
export const TaskView = z.object({
  id: TaskId,
  title: z.string(),
  prompt: z.string(),
  source: TaskSource,
  owner: z.object({ id: z.string(), name: z.string() }),
  shared: z.boolean(),
  priority: z.int(),
  switches: Switches,
  createdAt: z.number(),
  stage: TaskStage,
  /** There where an orchestrator looks or looked for the repository: a task of its own, with its own log. */
  finding: z.optional(z.object({ task: z.optional(TaskId), found: z.optional(FoundRepository) })),
  /** Why the stage is `failed`; or what went wrong with a push or a pull request. */
  problem: z.optional(z.object({ code: z.string(), message: z.string(), mend: z.string() })),
  pushedBranch: z.optional(z.string()),
  pullRequest: z.optional(PullRequestView),
  /** The task that this one repeats or continues. */
  retryOf: z.optional(TaskId),
  summary: z.optional(TaskSummary),
  /** A `TaskState`; clients of the same version read it as such. */
  state: z.optional(z.record(z.string(), z.unknown())),
});
export type TaskView = z.infer<typeof TaskView>;

export const TaskPage = z.object({
  /** Newest first. */
  tasks: z.array(TaskView),
  /** For `?cursor=` of the next page; absent on the last. */
  next: z.optional(z.string()),
  counts: z.object({ all: z.int(), queued: z.int(), running: z.int(), succeeded: z.int(), failed: z.int() }),
});
export type TaskPage = z.infer<typeof TaskPage>;

const Mode = z.string().check(z.regex(/^[0-7]{6}$/));

/** A file that differs between two commits of a task, with what git knows of both sides. */
export const ChangeView = z.object({
  ...FileChange.shape,
  /** Octal, as git writes it; 000000 where there is no file. */
  oldMode: Mode,
  newMode: Mode,
  /** Object names; all zeros where there is no file. */
  oldBlob: Sha,
  newBlob: Sha,
  binary: z.boolean(),
  /** The bytes of the names in base64, where they are no UTF-8. */
  rawPath: z.optional(z.string()),
  rawFrom: z.optional(z.string()),
});
export type ChangeView = z.infer<typeof ChangeView>;

/** Body of `POST /api/v1/uploads`: a git bundle that is to come. */
export const UploadRequest = z.object({
  repository: z.object({ id: RepositoryId, name: Name }),
  /** The commit that the bundle brings. */
  commit: Sha,
  bytes: z.int().check(z.nonnegative()),
  sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
});
export type UploadRequest = z.infer<typeof UploadRequest>;

/** `offset` is how many bytes the server has; `complete` when the commit is there, and nothing is to be sent. */
export const UploadState = z.object({ id: z.string(), offset: z.int(), complete: z.boolean() });
export type UploadState = z.infer<typeof UploadState>;

/** Body of `POST /api/v1/uploads/known`: which of these the server has for that repository, so that a bundle need not bring them. */
export const KnownCommitsRequest = z.object({
  repository: RepositoryId,
  commits: z.array(Sha).check(z.maxLength(1000)),
});
export const KnownCommits = z.object({ commits: z.array(Sha) });

/** What a user decides on a request that no rule lets through. */
export const EgressAnswerBody = z.union([
  z.object({ allow: z.enum(['task', 'workspace']), rule: EgressRuleText }),
  z.object({ allow: z.literal('task'), mode: EgressMode }),
  z.object({ refuse: z.string().check(z.maxLength(300)) }),
]);
export type EgressAnswerBody = z.infer<typeof EgressAnswerBody>;

export const UserView = z.object({
  id: z.string(),
  /** Unique, lower case: a name or an e-mail address. */
  login: z.string(),
  name: z.string(),
  role: Role,
  disabled: z.boolean(),
  createdAt: z.number(),
  lastSeenAt: z.optional(z.number()),
});
export type UserView = z.infer<typeof UserView>;

export const TokenView = z.object({
  id: z.string(),
  name: z.string(),
  /** Its first characters, so that its owner knows it again. */
  prefix: z.string(),
  scopes: z.array(Scope),
  createdAt: z.number(),
  expiresAt: z.optional(z.number()),
  lastUsedAt: z.optional(z.number()),
});
export type TokenView = z.infer<typeof TokenView>;

/** Over the WebSocket `/api/v1/stream`, client → server. */
export const StreamRequest = z.discriminatedUnion('type', [
  /** The events of a task after number `after`, then live. */
  z.object({ type: z.literal('follow'), task: TaskId, after: z.int().check(z.nonnegative()) }),
  z.object({ type: z.literal('unfollow'), task: TaskId }),
]);
export type StreamRequest = z.infer<typeof StreamRequest>;

/** Server → client. After `hello` come all tasks that the user may see, then every change. */
export type StreamMessage =
  | { type: 'hello'; version: ServerVersion; user: { id: string; name: string; role: Role } }
  | { type: 'tasks'; tasks: TaskView[] }
  | { type: 'task'; task: TaskView }
  | { type: 'removed'; task: string }
  | { type: 'events'; task: string; events: TaskEvent[] }
  /** All that the task's log will ever hold is through. */
  | { type: 'over'; task: string }
  | { type: 'problem'; task?: string; problem: Problem };

/** Why a server closes a WebSocket, beside the standard's own codes. */
export const closeCodes = {
  /** The credential is not valid any more. */
  unauthorized: 4401,
  forbidden: 4403,
  notFound: 4404,
  /** The reader did not keep up; it may come again and go on after its last event. */
  tooSlow: 4408,
  badMessage: 4400,
} as const;

/** The summary of a state, for lists. */
export function summaryOf(state: TaskState): TaskSummary {
  return {
    phase: state.phase,
    progress: state.progress,
    branch: state.spec.branch,
    startedAt: state.startedAt,
    ...(state.endedAt === undefined ? {} : { endedAt: state.endedAt }),
    commits: state.commits.length,
    costUsd: state.spend.usd,
    waiting:
      state.egress.waiting.length +
      (state.paused === undefined ? 0 : 1) +
      (state.phase === 'waiting' ? 1 : 0),
    lastEvent: state.lastEvent,
  };
}
