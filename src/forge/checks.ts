import type { Checks } from './forge.ts';

export type CheckState = 'running' | 'passed' | 'failed';

/** The words of all forges, in lower case. What cannot be told yet, and what waits for somebody, is running. */
const passed = new Set(['success', 'successful', 'neutral', 'skipped', 'warning', 'ok', 'passed']);
const failed = new Set([
  'failure',
  'failed',
  'error',
  'cancelled',
  'canceled',
  'stopped',
  'timed_out',
  'startup_failure',
  'stale',
  'action_required',
]);

/** What one check's word means. An unknown one counts as running: nothing good is claimed of it. Pure. */
export function stateOf(word: string): CheckState {
  const known = word.toLowerCase();
  return passed.has(known) ? 'passed' : failed.has(known) ? 'failed' : 'running';
}

/** Of all checks together. Pure. */
export function summary(states: readonly CheckState[]): Checks {
  if (states.length === 0) return 'none';
  if (states.includes('failed')) return 'failed';
  return states.includes('running') ? 'running' : 'passed';
}
