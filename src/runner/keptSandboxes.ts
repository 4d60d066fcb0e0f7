import type { TaskId } from '../protocol/grammar.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';

/** How long the sandboxes of tasks that are over are kept, stopped, so that the tasks can go on in them. */
export interface KeepPolicy {
  /** Of conversations, in milliseconds; 0 for not at all. */
  conversationMs: number;
  /** Of other tasks. */
  taskMs: number;
  /** How many at most; the oldest go first. */
  count: number;
}

export const defaultKeep: KeepPolicy = { conversationMs: 60 * 60_000, taskMs: 0, count: 5 };

/** Kinds of failure after which there is nothing to go on in: the sandbox is broken, full, or may be open. */
const unfit: ReadonlySet<string> = new Set([
  'egress_open',
  'disk_full',
  'image',
  'workspace',
  'sandbox_lost',
]);

/** Until when the sandbox of a task that is over is kept, in milliseconds since the epoch; undefined for not at all. */
export function keptUntil(state: TaskState, policy: KeepPolicy, now: number): number | undefined {
  const { conversation, endedAt, failure, workspaceReady, begun, reopened } = state;
  if (endedAt === undefined || !((begun && workspaceReady) || reopened > 0)) return undefined;
  if (failure !== undefined && unfit.has(failure.kind)) return undefined;
  const until = endedAt + (conversation === undefined ? policy.taskMs : policy.conversationMs);
  return policy.count > 0 && until > now ? until : undefined;
}

/** Those whose sandbox is not to be kept any longer, because of the time or the number. */
export function expired(states: readonly TaskState[], policy: KeepPolicy, now: number): TaskId[] {
  const kept = states
    .filter((state) => state.kept !== undefined && hasEnded(state))
    .sort((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0));
  return kept
    .filter((state, index) => index >= policy.count || keptUntil(state, policy, now) === undefined)
    .map(({ spec }) => spec.id);
}
