import type { ErrorCode } from '../base/errors.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';

/** How often in a row what fails is tried again. */
export const maxFailures = 5;

/** In milliseconds. */
const retryMs = [250, 500, 1000, 2000, 5000];

/** How long to wait after so many failures in a row, in milliseconds. */
export function retryAfter(failures: number): number {
  return retryMs[Math.min(failures, retryMs.length - 1)] ?? 5000;
}

export function isEngineTrouble(code: ErrorCode): boolean {
  return code.startsWith('engine_');
}

/** Stopped before the supervisor was told to begin: it has nothing to end. */
export function neverBegan({ phase, begun }: TaskState): boolean {
  return phase === 'stopping' && !begun;
}

/**
 * What follows when attending to a task has failed. `look_again`: at what has changed meanwhile. `say_stopped`: it was stopped
 * before it began; then look again. `end`: the failure is the task's, and what it left is to be cleared away. `end_without_engine`:
 * likewise, but there never was an engine, so there is nothing to clear away. `wait_for_engine`: it may come back. `give_up`: the
 * task is over, and cannot be put away now.
 */
export function afterFailure(
  code: ErrorCode,
  state: TaskState,
  failures: number,
): 'look_again' | 'say_stopped' | 'end' | 'end_without_engine' | 'wait_for_engine' | 'give_up' {
  if (code === 'cancelled' && neverBegan(state)) return 'say_stopped';
  const trouble = isEngineTrouble(code);
  const preparing = state.phase === 'preparing';
  if (!trouble && !preparing && failures < maxFailures) return 'look_again';
  if (!hasEnded(state) && (preparing || !trouble))
    return trouble && code !== 'engine_gone' ? 'end_without_engine' : 'end';
  return trouble ? 'wait_for_engine' : 'give_up';
}
