import type { FileChange } from './taskEvent.ts';
import { hasEnded, type TaskState } from './taskState.ts';

/** How a task is put into words and numbers, the same in every view. */

/** `7s`, `4m 05s`, `2h 03m`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${two(seconds % 60)}s`;
  return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
}

/** `$0.31`; under a cent with more digits, so that it is not shown as nothing. */
export function cost(usd: number): string {
  if (usd > 0 && usd < 0.01) return `$${usd.toFixed(4)}`;
  return `$${usd.toFixed(2)}`;
}

/** `950`, `12.4k`, `3.1M`. */
export function count(n: number): string {
  if (n < 1000) return String(n);
  if (n < 999_950) return `${(n / 1000).toFixed(1).replace(/\.0$/, '')}k`;
  return `${(n / 1e6).toFixed(1).replace(/\.0$/, '')}M`;
}

/** `1 commit`, `2 commits`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

export interface LineTotals {
  added: number;
  removed: number;
}

/** Lines of text files; binary files have none. */
export function totals(files: readonly Pick<FileChange, 'added' | 'removed'>[]): LineTotals {
  let added = 0;
  let removed = 0;
  for (const file of files) {
    added += file.added ?? 0;
    removed += file.removed ?? 0;
  }
  return { added, removed };
}

/** `+12 −3`. */
export function lines({ added, removed }: LineTotals): string {
  return `+${added.toLocaleString('en')} −${removed.toLocaleString('en')}`;
}

export function elapsed(state: TaskState, now: number): number {
  return Math.max(0, (state.endedAt ?? now) - state.startedAt);
}

/** The phase in a word or two. */
export function phaseLabel(state: TaskState): string {
  switch (state.phase) {
    case 'preparing':
      return 'Preparing';
    case 'running':
      return 'Running';
    case 'stopping':
      return 'Stopping';
    case 'succeeded':
      return 'Done';
    case 'failed':
      return 'Failed';
    case 'stopped':
      return 'Stopped';
    case 'timed_out':
      return 'Timed out';
  }
}

/** `2m 10s · 3 commits · +120 −14 · $0.31`; what is nothing is left out. */
export function summary(state: TaskState, now: number): string {
  const parts = [duration(elapsed(state, now))];
  if (state.phase === 'preparing' && state.progress !== '') parts.push(state.progress);
  if (state.commits.length > 0) {
    parts.push(
      plural(state.commits.length, 'commit'),
      lines(totals(state.commits.flatMap(({ files }) => files))),
    );
  } else if (hasEnded(state)) parts.push('no commits');
  if (state.leftovers !== undefined) parts.push('uncommitted edits');
  if (state.costUsd > 0 && !state.spec.model.demonstration) parts.push(cost(state.costUsd));
  return parts.join(' · ');
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}
