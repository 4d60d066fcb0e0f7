import { foldCommits } from './foldCommits.ts';
import { foldEgress } from './foldEgress.ts';
import { foldTalk, quiet, withSaid } from './foldTalk.ts';
import type { TaskEvent } from './taskEvent.ts';
import { hasEnded, initialState, noConversation, turnsOf, type TaskState } from './taskState.ts';
import { addUsage } from './usage.ts';

/** Changes whenever the same events give another state. */
export const stateVersion = 6;

/** The state that a log's events give, from the first. */
export function foldAll(events: readonly TaskEvent[], state?: TaskState): TaskState | undefined {
  for (const event of events) {
    if (event.type === 'submitted') state ??= initialState(event.spec, event.t);
    if (state !== undefined) state = reduce(state, event);
  }
  return state;
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
    case 'leftovers':
    case 'checkpoint':
    case 'leftovers_committed':
    case 'inherited':
    case 'imported':
    case 'lost':
    case 'import_failed':
      return foldCommits(next, event);
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
    case 'ended':
      return foldEnded(next, event);
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

function foldEnded(state: TaskState, event: Extract<TaskEvent, { type: 'ended' }>): TaskState {
  if (hasEnded(state)) return state;
  const { paused: _, ...over } = state;
  const ended: TaskState = {
    ...over,
    phase: event.outcome,
    endedAt: event.t,
    progress: '',
    egress: { ...state.egress, waiting: [] },
    ...(state.conversation === undefined ? {} : { conversation: quiet(state.conversation) }),
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
    ...(conversation ? { conversation: withSaid(again, message) } : {}),
  };
}
