import type { AgentQuestion, QuestionAnswer } from './question.ts';
import { startOf, type TaskSpec } from './task.ts';
import { readRule, type EgressMode } from './egress.ts';
import type { Commit, FailureKind, FileChange, Outcome, TaskEvent } from './taskEvent.ts';
import { addUsage, noUsage, type Usage } from './usage.ts';

/** What a task is now: the fold of its events, and nothing else. Plain data, so that it can be posted to a webview. */
export interface TaskState {
  spec: TaskSpec;
  /** Number of the last event that is folded in. */
  lastEvent: number;
  /** Last number of the supervisor's that is folded in. */
  lastSandboxEvent: number;
  phase: 'preparing' | 'running' | 'waiting' | 'stopping' | Outcome;
  /** True once the workspace stands in the sandbox, and with it everything that the agent needs. */
  workspaceReady: boolean;
  /** The newest word on what is being done, while preparing. */
  progress: string;
  startedAt: number;
  endedAt?: number;
  /** How often it went on after its end. */
  reopened: number;
  /** What it goes on with since then. */
  prompt?: { message: string; text: string };
  /** How long it was over before it went on, in all, in milliseconds. */
  restedMs: number;
  /** True once the supervisor has begun since the task was submitted or went on. */
  begun: boolean;
  failure?: { kind: FailureKind; message: string; mend?: string; exitCode?: number };
  /** In the order in which they were announced. */
  commits: Commit[];
  leftovers?: { commit: string; parent: string; files: FileChange[]; moreFiles?: number | undefined };
  /** The ends of turns, oldest first. What is uncommitted at one is among `imported` once it is in the quarantine. */
  checkpoints: Checkpoint[];
  /** Where the workspace stood at last: HEAD and its branch. A claim of the sandbox's, but for what the host committed. */
  head?: { commit: string; branch?: string };
  /** Announced, not yet in the quarantine. */
  pendingImports: string[];
  /** In the quarantine: announced commits and leftovers. */
  imported: string[];
  /** Pending ones that the quarantine did not take, and will not: their only copy is in the sandbox. */
  refusedImports: string[];
  /** There while something that went wrong with an import is not made good. */
  importFailure?: { code: string; message: string };
  sessionId?: string;
  modelName?: string;
  usage: Usage;
  /** What was used before the task went on. */
  usageBefore: Usage;
  /** What the agent says that it cost. A claim of the sandbox's. */
  costUsd: number;
  /** Last number of the gateway's that is folded in. */
  lastGatewayEvent: number;
  /** What the gateway counted in the model's answers, and what that costs. */
  spend: { usage: Usage; usd: number; estimated: boolean };
  /** What the task may cost; null is no limit. */
  budgetUsd: number | null;
  /** There while a budget is used up and the model waits for the user. */
  paused?: { scope: 'task' | 'day'; spentUsd: number; limitUsd: number };
  egress: {
    mode: EgressMode;
    /** What the user let through besides the policy of the spec. */
    allowed: string[];
    /** Hosts to which the user said no. */
    refused: string[];
    /** Requests that wait for the user's answer; at most 20. */
    waiting: WaitingRequest[];
    /** Hosts that no rule lets through, with how often they were tried; at most 50. */
    blocked: { host: string; port: number; times: number; askable: boolean }[];
    counts: { allowed: number; blocked: number; failed: number; bytesOut: number; bytesIn: number };
  };
  egressClosed?: boolean;
  /** There in a conversation. In the phase `waiting` the agent waits for the user's next message. */
  conversation?: Conversation;
  /** There while the sandbox of a task that is over is kept, stopped: until when, in milliseconds since the epoch. */
  kept?: { until: number };
  /** False while any container of the task may exist. */
  sandboxRemoved: boolean;
}

/** The end of a turn, as a point to go back to. */
export interface Checkpoint {
  turn: number;
  /** Milliseconds since the epoch. */
  at: number;
  commit: string;
  branch?: string;
  uncommitted?: string;
  session?: { id: string; bytes: number };
  /** What the agent says that the task had cost by then. */
  costUsd: number;
}

export interface Conversation {
  /** Turns that began. */
  turn: number;
  /** Messages of the user's that the agent has not got yet: at most one, unless two processes were at it at once. */
  undelivered: { id: string; text: string }[];
  /** The newest messages' ids. */
  said: string[];
  /** Of the turns that are over. */
  usage: Usage;
  /** What the agent asks and has no answer to yet: while there is any, it waits for the user. At most 20. */
  questions: AgentQuestion[];
  /** What the user said to questions, and the agent has not got yet. */
  answers: { id: string; answer: QuestionAnswer }[];
  /** The user wants the turn to end, and it has not ended yet. */
  interrupting: boolean;
}

export interface WaitingRequest {
  id: number;
  kind: 'tunnel' | 'http' | 'model' | 'forge';
  host: string;
  port: number;
  method?: string;
  path?: string;
  /** Milliseconds since the epoch. */
  until: number;
}

const maxWaiting = 20;
const maxBlocked = 50;
const maxSaid = 50;
const maxCheckpoints = 1000;
const maxQuestions = 20;

/** Changes whenever the same events give another state. */
export const stateVersion = 6;

/** Before its first turn. */
const noConversation: Conversation = {
  turn: 0,
  undelivered: [],
  said: [],
  usage: noUsage,
  questions: [],
  answers: [],
  interrupting: false,
};

export function initialState(spec: TaskSpec, at: number): TaskState {
  return {
    spec,
    lastEvent: 0,
    lastSandboxEvent: 0,
    phase: 'preparing',
    workspaceReady: false,
    progress: '',
    startedAt: at,
    reopened: 0,
    restedMs: 0,
    begun: false,
    checkpoints: [],
    usageBefore: noUsage,
    commits: [],
    pendingImports: [],
    refusedImports: [],
    imported: [],
    usage: noUsage,
    costUsd: 0,
    lastGatewayEvent: 0,
    spend: { usage: noUsage, usd: 0, estimated: false },
    budgetUsd: spec.budgetUsd ?? null,
    egress: {
      mode: spec.egress?.mode ?? 'closed',
      allowed: [],
      refused: [],
      waiting: [],
      blocked: [],
      counts: { allowed: 0, blocked: 0, failed: 0, bytesOut: 0, bytesIn: 0 },
    },
    sandboxRemoved: false,
    ...(spec.conversation === true ? { conversation: noConversation } : {}),
  };
}

/** True when the agent's work is over, in whatever way. */
export function hasEnded(state: TaskState): boolean {
  return state.endedAt !== undefined;
}

/** True while the agent of a conversation waits for an answer, in the middle of its turn. */
export function isAsking({ conversation }: TaskState): boolean {
  return conversation !== undefined && conversation.questions.length > 0;
}

/** True while the agent of a conversation is in the middle of a turn, at work or with a question, so that it can be interrupted. */
export function isInTurn(state: TaskState): boolean {
  return state.conversation !== undefined && (state.phase === 'running' || isAsking(state));
}

/**
 * True when nothing more happens in the task until the user wants it: it has ended, and its sandbox is gone or stopped.
 * Its log can go on all the same: it can be reopened, and what is kept is removed later.
 */
export function isAtRest(state: TaskState): boolean {
  return hasEnded(state) && (state.sandboxRemoved || state.kept !== undefined);
}

/** Turns that there were so far. */
export function turnsOf({ conversation, checkpoints }: TaskState): number {
  return Math.max(conversation?.turn ?? 0, checkpoints.at(-1)?.turn ?? 0);
}

/** Folds one event in. An event that is already in is left out, so a replay does no harm. The argument is not changed. */
export function reduce(state: TaskState, event: TaskEvent): TaskState {
  if (event.n <= state.lastEvent) return state;
  const next: TaskState = {
    ...state,
    lastEvent: event.n,
    lastSandboxEvent: Math.max(state.lastSandboxEvent, event.s ?? 0),
    lastGatewayEvent: Math.max(state.lastGatewayEvent, event.g ?? 0),
  };
  switch (event.type) {
    case 'progress':
      return { ...next, progress: event.text };
    case 'started':
      return next.phase === 'preparing'
        ? { ...next, begun: true, phase: 'running', progress: '' }
        : { ...next, begun: true };
    case 'workspace': {
      // What was left is in the workspace again.
      const { leftovers: _, ...standing } = next;
      return { ...standing, workspaceReady: true };
    }
    case 'prepared_anew':
      return hasEnded(next)
        ? next
        : { ...next, phase: 'preparing', begun: false, workspaceReady: false, lastSandboxEvent: 0 };
    case 'stopping':
      return hasEnded(next) ? next : { ...next, phase: 'stopping' };
    case 'egress':
      return { ...next, egressClosed: event.closed };
    case 'session':
      return { ...next, sessionId: event.sessionId, modelName: event.model };
    case 'usage':
      return { ...next, usage: addUsage(next.usage, event.usage) };
    case 'result':
      return {
        ...next,
        costUsd: next.costUsd + event.costUsd,
        usage: addUsage(next.conversation?.usage ?? next.usageBefore, event.usage),
      };
    case 'turn_began':
    case 'turn':
    case 'said':
    case 'asked':
    case 'settled':
    case 'answered':
    case 'interrupting':
      return next.conversation === undefined || hasEnded(next)
        ? next
        : foldTalk(next, next.conversation, event);
    case 'commit':
      if (next.commits.some((commit) => commit.sha === event.commit.sha)) return next;
      return announce(
        { ...next, commits: [...next.commits, event.commit], ...headAt(next, event.commit) },
        event.commit.sha,
      );
    case 'leftovers':
      return announce({ ...next, leftovers: leftoversOf(event) }, event.commit);
    case 'checkpoint':
      return foldCheckpoint(next, event);
    case 'leftovers_committed':
      return foldCommitted(next, event.commit);
    case 'inherited':
      return {
        ...event.commits.reduce(holding, next),
        head: { commit: startOf(next.spec), branch: next.spec.branch },
      };
    case 'imported': {
      const tips = new Set(event.tips);
      const imported = [...next.imported, ...event.tips.filter((tip) => !next.imported.includes(tip))];
      const { importFailure: _, ...clean } = withoutPending(next, tips);
      const refusal = refusalOf(next, clean.refusedImports);
      return {
        ...clean,
        ...(refusal === undefined ? {} : { importFailure: refusal }),
        imported,
        commits: trueTo(next.commits, event.commits ?? []),
      };
    }
    case 'lost':
      return withoutPending(next, new Set(event.tips));
    case 'import_failed': {
      const failed = { ...next, importFailure: { code: event.code, message: event.message } };
      if (event.code !== 'import_refused') return failed;
      const refused = new Set([...next.refusedImports, ...event.tips]);
      return { ...failed, refusedImports: next.pendingImports.filter((sha) => refused.has(sha)) };
    }
    case 'spend':
      return {
        ...next,
        spend: {
          usage: addUsage(next.spend.usage, event.usage),
          usd: next.spend.usd + event.usd,
          estimated: next.spend.estimated || event.estimated,
        },
      };
    case 'budget_set':
      return { ...next, budgetUsd: event.usd };
    case 'paused':
      return {
        ...next,
        paused: { scope: event.scope, spentUsd: event.spentUsd, limitUsd: event.limitUsd },
      };
    case 'continued': {
      const { paused: _, ...going } = next;
      return going;
    }
    case 'request_waiting':
    case 'request':
    case 'egress_allowed':
    case 'egress_refused':
      return { ...next, egress: foldEgress(next.egress, event, hasEnded(next)) };
    case 'ended': {
      if (hasEnded(next)) return next;
      const { paused: _, ...over } = next;
      const ended: TaskState = {
        ...over,
        phase: event.outcome,
        endedAt: event.t,
        progress: '',
        egress: { ...next.egress, waiting: [] },
        ...(next.conversation === undefined ? {} : { conversation: quiet(next.conversation) }),
      };
      if (event.outcome !== 'failed') return ended;
      return {
        ...ended,
        failure: {
          kind: event.kind ?? 'internal',
          message: event.message,
          ...(event.mend === undefined ? {} : { mend: event.mend }),
          ...(event.exitCode === undefined ? {} : { exitCode: event.exitCode }),
        },
      };
    }
    case 'sandbox_kept':
      return hasEnded(next)
        ? {
            ...next,
            lastSandboxEvent: Math.max(next.lastSandboxEvent, event.after),
            kept: { until: event.until },
          }
        : next;
    case 'sandbox_removed': {
      const { kept: _, ...gone } = next;
      return { ...gone, sandboxRemoved: true };
    }
    case 'reopened':
      return foldReopened(next, event);
    default:
      return next;
  }
}

type Reopened = Extract<TaskEvent, { type: 'reopened' }>;

function foldReopened(state: TaskState, { t, message, text, conversation, budgetUsd }: Reopened): TaskState {
  if (!hasEnded(state)) return state;
  const { endedAt = t, failure: _, kept: _kept, paused: _paused, conversation: talk, ...rest } = state;
  const turn = turnsOf(state);
  const again = { ...(talk ?? noConversation), turn, undelivered: [], usage: state.usage };
  return {
    ...rest,
    phase: 'preparing',
    begun: false,
    workspaceReady: false,
    progress: '',
    reopened: state.reopened + 1,
    prompt: { message, text },
    restedMs: state.restedMs + Math.max(0, t - endedAt),
    usageBefore: state.usage,
    budgetUsd,
    sandboxRemoved: false,
    ...(conversation ? { conversation: { ...again, said: [...again.said, message].slice(-maxSaid) } } : {}),
  };
}

function foldCheckpoint(state: TaskState, event: Extract<TaskEvent, { type: 'checkpoint' }>): TaskState {
  const { turn, t: at, commit, branch, uncommitted, session } = event;
  const checkpoint: Checkpoint = {
    turn,
    at,
    costUsd: state.costUsd,
    commit,
    ...(branch === undefined ? {} : { branch }),
    ...(uncommitted === undefined ? {} : { uncommitted }),
    ...(session === undefined ? {} : { session }),
  };
  // Said once more after the sandbox was revived: the last word stands.
  const others = state.checkpoints.filter((one) => one.turn < turn);
  const next: TaskState = {
    ...state,
    checkpoints: [...others, checkpoint].slice(-maxCheckpoints),
    head: { commit, ...(branch === undefined ? {} : { branch }) },
  };
  return uncommitted === undefined ? next : announce(next, uncommitted);
}

function headAt({ spec }: TaskState, { sha, branch }: Commit): Pick<TaskState, 'head'> {
  return branch === spec.branch ? { head: { commit: sha, branch } } : {};
}

/** A commit that the host itself has in the quarantine. */
function holding(state: TaskState, commit: Commit): TaskState {
  if (state.commits.some(({ sha }) => sha === commit.sha)) return state;
  const imported = state.imported.includes(commit.sha) ? state.imported : [...state.imported, commit.sha];
  return { ...state, commits: [...state.commits, commit], imported };
}

function foldCommitted(state: TaskState, commit: Commit): TaskState {
  const { leftovers: _, ...clean } = holding(state, commit);
  return { ...clean, head: { commit: commit.sha, branch: state.spec.branch } };
}

type TalkEvent = Extract<
  TaskEvent,
  { type: 'turn_began' | 'turn' | 'said' | 'asked' | 'settled' | 'answered' | 'interrupting' }
>;

function foldTalk(state: TaskState, conversation: Conversation, event: TalkEvent): TaskState {
  switch (event.type) {
    case 'turn_began':
      return {
        ...state,
        phase: state.phase === 'waiting' ? 'running' : state.phase,
        conversation: {
          ...conversation,
          ...quiet(conversation),
          turn: event.number,
          undelivered: conversation.undelivered.filter(({ id }) => id !== event.message),
        },
      };
    case 'turn':
      return {
        ...state,
        phase: state.phase === 'running' ? 'waiting' : state.phase,
        conversation: { ...quiet(conversation), turn: event.number, usage: state.usage },
      };
    case 'said': {
      const { id, text } = event;
      if (conversation.said.includes(id)) return state;
      const said = [...conversation.said, id].slice(-maxSaid);
      const undelivered = [...conversation.undelivered, { id, text }];
      return { ...state, conversation: { ...conversation, said, undelivered } };
    }
    case 'asked': {
      const { question } = event;
      const others = conversation.questions.filter(({ id }) => id !== question.id);
      const questions = [...others, question].slice(-maxQuestions);
      return asking(state, { ...conversation, questions });
    }
    case 'answered': {
      const { id, answer } = event;
      if (!conversation.questions.some((question) => question.id === id)) return state;
      const questions = conversation.questions.filter((question) => question.id !== id);
      return asking(state, {
        ...conversation,
        questions,
        answers: [...conversation.answers, { id, answer }],
      });
    }
    case 'settled': {
      const other = ({ id }: { id: string }): boolean => id !== event.id;
      return asking(state, {
        ...conversation,
        questions: conversation.questions.filter(other),
        answers: conversation.answers.filter(other),
      });
    }
    case 'interrupting':
      return state.phase === 'waiting' && conversation.questions.length === 0
        ? state
        : { ...state, conversation: { ...conversation, interrupting: true } };
  }
}

/** What was asked in a turn is over with it. */
function quiet(conversation: Conversation): Conversation {
  return { ...conversation, questions: [], answers: [], interrupting: false };
}

/** While a question is open the agent waits for its user. */
function asking(state: TaskState, conversation: Conversation): TaskState {
  const had = state.conversation?.questions.length ?? 0;
  const has = conversation.questions.length;
  const phase =
    state.phase === 'running' && has > 0
      ? 'waiting'
      : state.phase === 'waiting' && had > 0 && has === 0
        ? 'running'
        : state.phase;
  return { ...state, phase, conversation };
}

/** Commits with what the host knows of them; the branch is a name that only the sandbox gives. */
function trueTo(said: Commit[], known: readonly Commit[]): Commit[] {
  if (known.length === 0) return said;
  const bySha = new Map(known.map((commit) => [commit.sha, commit]));
  return said.map(({ branch, ...commit }) => ({
    ...(bySha.get(commit.sha) ?? commit),
    ...(branch === undefined ? {} : { branch }),
  }));
}

function leftoversOf(event: Extract<TaskEvent, { type: 'leftovers' }>): NonNullable<TaskState['leftovers']> {
  const { commit, parent, files, moreFiles } = event;
  return { commit, parent, files, ...(moreFiles === undefined ? {} : { moreFiles }) };
}

function withoutPending(state: TaskState, tips: ReadonlySet<string>): TaskState {
  const open = (sha: string): boolean => !tips.has(sha);
  return {
    ...state,
    pendingImports: state.pendingImports.filter(open),
    refusedImports: state.refusedImports.filter(open),
  };
}

/** What is told of the commits that stay refused when others come in. */
function refusalOf(before: TaskState, refused: readonly string[]): TaskState['importFailure'] {
  if (refused.length === 0) return undefined;
  if (before.importFailure?.code === 'import_refused') return before.importFailure;
  return { code: 'import_refused', message: 'Some of what the sandbox sent was not taken in.' };
}

function announce(state: TaskState, sha: string): TaskState {
  if (state.imported.includes(sha) || state.pendingImports.includes(sha)) return state;
  return { ...state, pendingImports: [...state.pendingImports, sha] };
}

type EgressEvent = Extract<
  TaskEvent,
  { type: 'request_waiting' | 'request' | 'egress_allowed' | 'egress_refused' }
>;

function foldEgress(egress: TaskState['egress'], event: EgressEvent, over: boolean): TaskState['egress'] {
  switch (event.type) {
    case 'request_waiting': {
      const { id, kind, host, port, until } = event;
      if (over) return egress;
      const one: WaitingRequest = { id, kind, host, port, until };
      if (event.method !== undefined) one.method = event.method;
      if (event.path !== undefined) one.path = event.path;
      // A gateway that was killed says no end of what waited there.
      const waiting = egress.waiting.filter((other) => other.until > event.t);
      return { ...egress, waiting: [...waiting, one].slice(-maxWaiting) };
    }
    case 'request': {
      const { bytesOut, bytesIn, verdict } = event;
      const counts = { ...egress.counts };
      counts[verdict]++;
      counts.bytesOut += bytesOut;
      counts.bytesIn += bytesIn;
      const waiting = egress.waiting.filter(({ id }) => id !== event.id);
      if (verdict !== 'blocked') return { ...egress, waiting, counts };
      const { host, port, askable = false } = event;
      const same = (one: { host: string; port: number }): boolean => one.host === host && one.port === port;
      const times = (egress.blocked.find(same)?.times ?? 0) + 1;
      const blocked = [...egress.blocked.filter((one) => !same(one)), { host, port, times, askable }];
      return { ...egress, waiting, counts, blocked: blocked.slice(-maxBlocked) };
    }
    case 'egress_allowed': {
      const mode = event.mode ?? egress.mode;
      const { rule } = event;
      if (rule === undefined) return { ...egress, mode };
      const allowed = egress.allowed.includes(rule) ? egress.allowed : [...egress.allowed, rule];
      // The last word stands.
      const refused = egress.refused.filter((host) => hostOf(rule) !== host);
      return { ...egress, mode, allowed, refused };
    }
    case 'egress_refused': {
      const { host } = event;
      const allowed = egress.allowed.filter((rule) => hostOf(rule) !== host);
      const refused = egress.refused.includes(host) ? egress.refused : [...egress.refused, host];
      return { ...egress, allowed, refused };
    }
  }
}

/** The one host that a rule names; undefined for one that means many. */
function hostOf(text: string): string | undefined {
  const rule = readRule(text);
  return typeof rule === 'string' || rule.subdomains ? undefined : rule.host;
}
