import type { TaskSpec } from './task.ts';
import type { Commit, FailureKind, FileChange, Outcome, TaskEvent, Usage } from './taskEvent.ts';

/** What a task is now: the fold of its events, and nothing else. Plain data, so that it can be posted to a webview. */
export interface TaskState {
  spec: TaskSpec;
  /** Number of the last event that is folded in. */
  lastEvent: number;
  /** Last number of the supervisor's that is folded in. */
  lastSandboxEvent: number;
  phase: 'preparing' | 'running' | 'stopping' | Outcome;
  /** True once the workspace stands in the sandbox, and with it everything that the agent needs. */
  workspaceReady: boolean;
  /** The newest word on what is being done, while preparing. */
  progress: string;
  startedAt: number;
  endedAt?: number;
  failure?: { kind: FailureKind; message: string; mend?: string; exitCode?: number };
  /** In the order in which they were announced. */
  commits: Commit[];
  leftovers?: { commit: string; parent: string; files: FileChange[] };
  /** Announced, not yet in the quarantine. */
  pendingImports: string[];
  /** In the quarantine: announced commits and leftovers. */
  imported: string[];
  importFailure?: { code: string; message: string };
  sessionId?: string;
  modelName?: string;
  usage: Usage;
  costUsd: number;
  egressClosed?: boolean;
  /** False while any container of the task may exist. */
  sandboxRemoved: boolean;
}

/** Changes whenever the same events give another state. */
export const stateVersion = 1;

export const noUsage: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };

export function initialState(spec: TaskSpec, at: number): TaskState {
  return {
    spec,
    lastEvent: 0,
    lastSandboxEvent: 0,
    phase: 'preparing',
    workspaceReady: false,
    progress: '',
    startedAt: at,
    commits: [],
    pendingImports: [],
    imported: [],
    usage: noUsage,
    costUsd: 0,
    sandboxRemoved: false,
  };
}

/** True when the agent's work is over, in whatever way. */
export function hasEnded(state: TaskState): boolean {
  return state.endedAt !== undefined;
}

/** Folds one event in. An event that is already in is left out, so a replay does no harm. The argument is not changed. */
export function reduce(state: TaskState, event: TaskEvent): TaskState {
  if (event.n <= state.lastEvent) return state;
  const next: TaskState = {
    ...state,
    lastEvent: event.n,
    lastSandboxEvent: Math.max(state.lastSandboxEvent, event.s ?? 0),
  };
  switch (event.type) {
    case 'progress':
      return { ...next, progress: event.text };
    case 'started':
      return next.phase === 'preparing' ? { ...next, phase: 'running', progress: '' } : next;
    case 'workspace':
      return { ...next, workspaceReady: true };
    case 'prepared_anew':
      return hasEnded(next)
        ? next
        : { ...next, phase: 'preparing', workspaceReady: false, lastSandboxEvent: 0 };
    case 'stopping':
      return hasEnded(next) ? next : { ...next, phase: 'stopping' };
    case 'egress':
      return { ...next, egressClosed: event.closed };
    case 'session':
      return { ...next, sessionId: event.sessionId, modelName: event.model };
    case 'usage':
      return { ...next, usage: addUsage(next.usage, event.usage) };
    case 'result':
      return { ...next, costUsd: next.costUsd + event.costUsd, usage: event.usage };
    case 'commit':
      if (next.commits.some((commit) => commit.sha === event.commit.sha)) return next;
      return announce({ ...next, commits: [...next.commits, event.commit] }, event.commit.sha);
    case 'leftovers':
      return announce(
        { ...next, leftovers: { commit: event.commit, parent: event.parent, files: event.files } },
        event.commit,
      );
    case 'imported': {
      const tips = new Set(event.tips);
      const imported = [...next.imported, ...event.tips.filter((tip) => !next.imported.includes(tip))];
      const { importFailure: _, ...clean } = next;
      return {
        ...clean,
        imported,
        commits: trueTo(next.commits, event.commits ?? []),
        pendingImports: next.pendingImports.filter((sha) => !tips.has(sha)),
      };
    }
    case 'lost': {
      const lost = new Set(event.tips);
      return { ...next, pendingImports: next.pendingImports.filter((sha) => !lost.has(sha)) };
    }
    case 'import_failed':
      return { ...next, importFailure: { code: event.code, message: event.message } };
    case 'ended': {
      if (hasEnded(next)) return next;
      const ended: TaskState = { ...next, phase: event.outcome, endedAt: event.t, progress: '' };
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
    case 'sandbox_removed':
      return { ...next, sandboxRemoved: true };
    default:
      return next;
  }
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

function announce(state: TaskState, sha: string): TaskState {
  if (state.imported.includes(sha) || state.pendingImports.includes(sha)) return state;
  return { ...state, pendingImports: [...state.pendingImports, sha] };
}

function addUsage(a: Usage, b: Usage): Usage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
    cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens,
  };
}
