import type { AgentQuestion, QuestionAnswer } from './question.ts';
import type { TaskSpec } from './task.ts';
import type { EgressMode } from './egress.ts';
import type { Commit, FailureKind, FileChange, Outcome } from './taskEvent.ts';
import { noUsage, type Usage } from './usage.ts';

/** What a task is now: the fold of its events (foldTask.ts), and nothing else. Plain data, so that it can be posted to a webview. */
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

/** Before its first turn. */
export const noConversation: Conversation = {
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
