import { SallyportError } from '../base/errors.ts';
import type { UnnumberedEvent } from './taskLog.ts';

/**
 * Longest log of a task, in bytes. A day's work of an agent is some ten megabytes. What is longer is a loop that prints, or
 * somebody who means to fill the user's disk; and a gibibyte is about what can be read again in the time for which a
 * user waits.
 */
export const logLimitBytes = 2 ** 30;

/** How much a log that has reached its limit may still grow by what brings the work in, in bytes. */
export const logReserveBytes = 16 << 20;

/** What a log at its limit does not take any more: all that is there to be read, and not to bring the work in. */
export function isBulk({ type, s, g }: UnnumberedEvent): boolean {
  if (s !== undefined) return !['workspace', 'commit', 'leftovers', 'checkpoint', 'ended'].includes(type);
  if (g !== undefined) return ['request', 'request_waiting', 'gateway_notice'].includes(type);
  return type === 'notice';
}

/** What it takes even then: the end, what was spent, and what this side says. */
export function isNeeded({ type, s }: UnnumberedEvent): boolean {
  return s === undefined ? type !== 'notice' && type !== 'request' : type === 'ended';
}

/** Throws `conflict` for a task whose log has no room for more work. */
export function checkRoom(bytes: number, limitBytes = logLimitBytes): void {
  if (bytes < limitBytes) return;
  throw new SallyportError(
    'conflict',
    'The log of the task has reached its limit, so that the task cannot go on.',
    'Continue from its last turn as a new task.',
  );
}
