import * as z from 'zod/mini';
import { EgressMode, EgressRuleText } from './egress.ts';
import { GatewayBody } from './gatewayEvent.ts';
import { BranchName, maxPromptLength, MessageId, SessionId, Sha } from './grammar.ts';
import { AgentQuestion, QuestionAnswer, QuestionId } from './question.ts';
import { TaskSpec } from './task.ts';
import { Usage } from './usage.ts';

/**
 * What happens in the life of a task. Every view is a function of these. Some are said by the sandbox (its supervisor,
 * over the container's stdout), some by the gateway beside it (`GatewayBody`), some by the runner around both;
 * `SandboxBody`, `GatewayBody` and `RunnerBody` part them, so that a sandbox cannot say what only the others know.
 */

export const FileChange = z.object({
  /** Path as git has it; bytes that are no UTF-8 stand as U+FFFD. */
  path: z.string(),
  /** Old path of a rename or copy. */
  from: z.optional(z.string()),
  status: z.enum(['added', 'modified', 'deleted', 'renamed', 'copied', 'type-changed']),
  /** Lines; undefined for binary files. */
  added: z.optional(z.number()),
  removed: z.optional(z.number()),
});
export type FileChange = z.infer<typeof FileChange>;

/** How many files are listed of a commit at most, and how many characters their names may have one by one and in all. */
const listed = { files: 2000, path: 4096, all: 256 << 10 };

/** How many files of a commit are not listed; not there when all are. */
const MoreFiles = z.optional(z.int().check(z.positive()));

/** What a log holds of a commit's files: it is kept and shown whole, and a commit can have millions. */
export function boundedFiles(
  files: readonly FileChange[],
  moreFiles = 0,
): { files: FileChange[]; moreFiles?: number } {
  const kept: FileChange[] = [];
  let length = 0;
  for (const { path, from, ...rest } of files.slice(0, listed.files)) {
    const file = { path: cut(path), ...(from === undefined ? {} : { from: cut(from) }), ...rest };
    length += file.path.length + (file.from?.length ?? 0);
    if (length > listed.all) break;
    kept.push(file);
  }
  const more = files.length - kept.length + moreFiles;
  return { files: kept, ...(more > 0 ? { moreFiles: more } : {}) };
}

function cut(path: string): string {
  return path.length <= listed.path ? path : `${path.slice(0, listed.path)}…`;
}

export const Commit = z.object({
  sha: Sha,
  parents: z.array(Sha),
  /** The branch it was made on; undefined on a detached HEAD. */
  branch: z.optional(z.string()),
  author: z.string(),
  email: z.string(),
  /** Author date, milliseconds since the epoch. */
  date: z.number(),
  subject: z.string(),
  body: z.string(),
  files: z.array(FileChange),
  moreFiles: MoreFiles,
});
export type Commit = z.infer<typeof Commit>;

/** Why a task failed. `exit` comes with the real exit code. */
export const FailureKind = z.enum([
  'exit',
  'agent_error',
  'auth_refused',
  'rate_limited',
  'model_unavailable',
  'agent_missing',
  'not_enabled',
  'out_of_memory',
  'log_limit',
  'killed',
  'egress_open',
  'workspace',
  'gateway',
  'engine_gone',
  'sandbox_lost',
  'disk_full',
  'image',
  'internal',
]);
export type FailureKind = z.infer<typeof FailureKind>;

export const Outcome = z.enum(['succeeded', 'failed', 'stopped', 'timed_out']);
export type Outcome = z.infer<typeof Outcome>;

const Ended = z.object({
  type: z.literal('ended'),
  outcome: Outcome,
  /** Only with `failed`. */
  kind: z.optional(FailureKind),
  exitCode: z.optional(z.number()),
  signal: z.optional(z.string()),
  /** What happened, a sentence. */
  message: z.string(),
  /** What to do, a sentence. */
  mend: z.optional(z.string()),
});

/** Said by the supervisor. */
export const SandboxBody = z.discriminatedUnion('type', [
  /** First of all. With the labels of the container it is enough to take a task up again on a host that lost its files. */
  z.object({ type: z.literal('started'), spec: TaskSpec, supervisor: z.string() }),
  z.object({
    type: z.literal('workspace'),
    branch: BranchName,
    commit: Sha,
    files: z.number(),
    ms: z.number(),
  }),
  /** The proof that nothing but the gateway can be reached; `closed` is false when any attempt got through. */
  z.object({
    type: z.literal('egress'),
    closed: z.boolean(),
    checks: z.array(z.object({ what: z.string(), blocked: z.boolean(), detail: z.string() })),
  }),
  z.object({
    type: z.literal('session'),
    sessionId: z.string(),
    model: z.string(),
    version: z.string(),
    tools: z.array(z.string()),
  }),
  z.object({ type: z.literal('text'), text: z.string() }),
  z.object({ type: z.literal('thinking'), text: z.string() }),
  z.object({ type: z.literal('tool_use'), id: z.string(), name: z.string(), input: z.unknown() }),
  z.object({ type: z.literal('tool_result'), id: z.string(), isError: z.boolean(), text: z.string() }),
  z.object({ type: z.literal('usage'), usage: Usage }),
  z.object({
    type: z.literal('result'),
    isError: z.boolean(),
    text: z.string(),
    durationMs: z.number(),
    costUsd: z.number(),
    turns: z.number(),
    usage: Usage,
  }),
  /** In a conversation: the agent begins to work, on a message of the user's, or on its own account. */
  z.object({
    type: z.literal('turn_began'),
    number: z.int().check(z.positive()),
    message: z.optional(MessageId),
  }),
  /** In a conversation: the agent has ended its turn, and waits for the user. Its commits so far are announced. */
  z.object({
    type: z.literal('turn'),
    number: z.int().check(z.positive()),
    /** `interrupted`: the user wanted it to stop. */
    outcome: z.enum(['succeeded', 'failed', 'interrupted']),
    /** Why it failed, and what to do: sentences. */
    message: z.optional(z.string()),
    mend: z.optional(z.string()),
  }),
  /** In a conversation: the agent asks its user something, and stands still until there is an answer. */
  z.object({ type: z.literal('asked'), question: AgentQuestion }),
  /** A question is no longer open: the agent has got the answer, does not want it any more, or waited for too long. */
  z.object({ type: z.literal('settled'), id: QuestionId, by: z.enum(['user', 'agent', 'time']) }),
  /** A message of the agent that this version does not know: kept as it came. */
  z.object({ type: z.literal('unknown'), message: z.unknown() }),
  /** Output of the agent that is no message: a line of stdout or stderr. Bytes that are no UTF-8 come as base64. */
  z.object({
    type: z.literal('output'),
    stream: z.enum(['stdout', 'stderr']),
    text: z.optional(z.string()),
    base64: z.optional(z.string()),
  }),
  z.object({ type: z.literal('notice'), level: z.enum(['info', 'warning', 'error']), text: z.string() }),
  z.object({ type: z.literal('commit'), commit: Commit }),
  /** What the agent left uncommitted, kept as a commit of the supervisor's that is on no branch. */
  z.object({
    type: z.literal('leftovers'),
    commit: Sha,
    parent: Sha,
    files: z.array(FileChange),
    moreFiles: MoreFiles,
  }),
  /**
   * Where a turn has ended, as a point to go back to. A task that is no conversation has one, at its end, and one more for
   * each time that it went on.
   */
  z.object({
    type: z.literal('checkpoint'),
    turn: z.int().check(z.positive()),
    /** HEAD, and the branch that it is on, if it is on one. */
    commit: Sha,
    branch: z.optional(z.string()),
    /** What was uncommitted then, kept as a commit on no branch whose parent is `commit`. */
    uncommitted: z.optional(Sha),
    /** How much the agent had written down of the conversation, in bytes. */
    session: z.optional(z.object({ id: SessionId, bytes: z.int().check(z.positive()) })),
  }),
  Ended,
]);
export type SandboxBody = z.infer<typeof SandboxBody>;

export const Stage = z.enum(['queue', 'engine', 'image', 'gateway', 'sandbox', 'workspace']);
export type Stage = z.infer<typeof Stage>;

/** Said by the runner. */
export const RunnerBody = z.discriminatedUnion('type', [
  z.object({ type: z.literal('submitted'), spec: TaskSpec }),
  z.object({ type: z.literal('progress'), stage: Stage, text: z.string() }),
  z.object({ type: z.literal('stopping') }),
  /**
   * These tips, and all that they reach, are in the quarantine now. `commits` is what git on the host reads of them: it
   * stands in for what the sandbox said.
   */
  z.object({ type: z.literal('imported'), tips: z.array(Sha), commits: z.optional(z.array(Commit)) }),
  z.object({ type: z.literal('import_failed'), tips: z.array(Sha), code: z.string(), message: z.string() }),
  /** Announced commits that the sandbox's repository does not hold any more, such as amended ones after a prune. */
  z.object({ type: z.literal('lost'), tips: z.array(Sha) }),
  /** The preparation was cut off before the agent began, and begins anew in a new sandbox, which numbers from 1. */
  z.object({ type: z.literal('prepared_anew') }),
  /** The sandbox was found again after the runner had been away. */
  z.object({ type: z.literal('reattached') }),
  z.object({ type: z.literal('notice'), level: z.enum(['info', 'warning', 'error']), text: z.string() }),
  /** The user let something through, for this task or for all tasks of the workspace; or set the mode. */
  z.object({
    type: z.literal('egress_allowed'),
    rule: z.optional(EgressRuleText),
    mode: z.optional(EgressMode),
    scope: z.enum(['task', 'workspace']),
  }),
  /** The user said no to a host: nobody is asked about it again, and requests to it do not wait. */
  z.object({ type: z.literal('egress_refused'), host: z.string() }),
  /** The user set what the task may cost; null is no limit. */
  z.object({ type: z.literal('budget_set'), usd: z.nullable(z.number()) }),
  /** A budget is used up: the model waits, and with it the agent, until the user raises the budget or stops the task. */
  z.object({
    type: z.literal('paused'),
    scope: z.enum(['task', 'day']),
    spentUsd: z.number(),
    limitUsd: z.number(),
  }),
  z.object({ type: z.literal('continued') }),
  /** What the user says in a conversation. It is handed to the agent next, or, if `queued`, at the end of its turn. */
  z.object({
    type: z.literal('said'),
    id: MessageId,
    text: z.string().check(z.maxLength(maxPromptLength)),
    /** Who said it, where several people use the runner. */
    by: z.optional(z.string().check(z.maxLength(200))),
    queued: z.boolean(),
  }),
  /** What the user says to a question of the agent's. It is handed over next. */
  z.object({
    type: z.literal('answered'),
    id: QuestionId,
    answer: QuestionAnswer,
    by: z.optional(z.string().check(z.maxLength(200))),
  }),
  /** The user wants the agent to stop what it does; the conversation goes on. */
  z.object({ type: z.literal('interrupting'), by: z.optional(z.string().check(z.maxLength(200))) }),
  Ended,
  /** The sandbox of a task that is over stays for a while, stopped, so that the task can go on in it. Its gateway is gone. */
  z.object({
    type: z.literal('sandbox_kept'),
    /** Until when, in milliseconds since the epoch. */
    until: z.number(),
    /** Number of the last event that it said; from there it goes on. */
    after: z.int(),
  }),
  /** Container, gateway and volumes are gone; log and quarantine stay. */
  z.object({ type: z.literal('sandbox_removed') }),
  /**
   * The user gave a task that was over a further prompt: it goes on, in the sandbox that was kept or in a new one, with
   * the same conversation. Its log goes on behind its end.
   */
  z.object({
    type: z.literal('reopened'),
    message: MessageId,
    text: z.string().check(z.maxLength(maxPromptLength)),
    by: z.optional(z.string().check(z.maxLength(200))),
    /** Whether the agent waits for the next message from now on. */
    conversation: z.boolean(),
    /** What the task may cost in all from now on, in US dollars; null is no limit. */
    budgetUsd: z.nullable(z.number()),
  }),
  /** What was left uncommitted is a commit on the task's branch now, made in the quarantine. */
  z.object({ type: z.literal('leftovers_committed'), commit: Commit }),
  /** What a task that goes on from a checkpoint of another one has from there: commits that are in the quarantine as its own. */
  z.object({ type: z.literal('inherited'), commits: z.array(Commit) }),
]);
export type RunnerBody = z.infer<typeof RunnerBody>;

export type TaskEventBody = SandboxBody | GatewayBody | RunnerBody;

/**
 * One event of a task's log. `n` numbers the log without a gap from 1 and is given by the runner; `s` is the
 * supervisor's own number, there when the sandbox said it; `g` the gateway's.
 */
export type TaskEvent = TaskEventBody & { n: number; t: number; s?: number; g?: number };

/** A line of the sandbox's stdout that is whole: the supervisor's number, its clock in ms, the body's fields. */
export type SandboxEvent = SandboxBody & { s: number; t: number };

const SandboxEnvelope = z.looseObject({ s: z.int().check(z.positive()), t: z.number() });
const RunnerEnvelope = z.looseObject({
  n: z.int().check(z.positive()),
  t: z.number(),
  s: z.optional(z.int()),
  g: z.optional(z.int()),
});

/** Checks one decoded line of a sandbox, and bounds its lists of files. Throws when it is no event. */
export function parseSandboxEvent(json: unknown): SandboxEvent {
  const { s, t } = SandboxEnvelope.parse(json);
  return { ...bounded(SandboxBody.parse(json)), s, t };
}

function bounded(body: SandboxBody): SandboxBody {
  if (body.type === 'leftovers') return { ...body, ...boundedFiles(body.files, body.moreFiles) };
  if (body.type !== 'commit') return body;
  const { commit } = body;
  return { ...body, commit: { ...commit, ...boundedFiles(commit.files, commit.moreFiles) } };
}

/** Checks one decoded line of a task's log. Throws when it is no event. */
export function parseTaskEvent(json: unknown): TaskEvent {
  const { n, t, s, g } = RunnerEnvelope.parse(json);
  if (s !== undefined) return { ...SandboxBody.parse(json), n, t, s };
  if (g !== undefined) return { ...GatewayBody.parse(json), n, t, g };
  return { ...RunnerBody.parse(json), n, t };
}
