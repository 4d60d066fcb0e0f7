import type { FileChange } from './taskEvent.ts';
import { hasEnded, type TaskState } from './taskState.ts';
import type { Usage } from './usage.ts';

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

/** `0 B`, `950 B`, `12.4 kB`, `3.1 MB`. */
export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = Math.max(0, n);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** `34 ms`, `1.2 s`, then as `duration` has it: for what is mostly short. */
export function shortDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s` : duration(ms);
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
  /** There are more, of files that are not listed. */
  more?: boolean;
}

interface FileList {
  files: readonly Pick<FileChange, 'added' | 'removed'>[];
  moreFiles?: number | undefined;
}

/** `3 files`: those that are listed and those that are not. */
export function fileCount({ files, moreFiles = 0 }: FileList): string {
  return plural(files.length + moreFiles, 'file');
}

/** Lines of the files that are listed. */
export function totalsOf({ files, moreFiles = 0 }: FileList): LineTotals {
  return moreFiles > 0 ? { ...totals(files), more: true } : totals(files);
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

/** `+12 −3`; `≥ +12 −3` when there are more. */
export function lines({ added, removed, more = false }: LineTotals): string {
  return `${more ? '≥ ' : ''}+${added.toLocaleString('en')} −${removed.toLocaleString('en')}`;
}

export function elapsed(state: TaskState, now: number): number {
  return Math.max(0, (state.endedAt ?? now) - state.startedAt - state.restedMs);
}

export interface Spend {
  usage: Usage;
  usd: number;
  /** `counted` at the gateway; `claimed` by the agent, where the gateway has counted nothing. */
  by: 'counted' | 'claimed';
  estimated: boolean;
}

/** What a task has used: what the gateway counted where it counted, else what the agent says. */
export function spendOf(state: TaskState): Spend {
  const { spend } = state;
  if (tokens(spend.usage) > 0 || spend.usd > 0) return { ...spend, by: 'counted' };
  return { usage: state.usage, usd: state.costUsd, by: 'claimed', estimated: false };
}

function tokens(usage: Usage): number {
  return usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
}

/** `$0.31`, `≈$0.31` where a price was guessed; nothing where nothing was spent, or only with the demonstration model. */
export function spendText(state: TaskState): string {
  const { usd, estimated } = spendOf(state);
  if (usd <= 0 || state.spec.model.demonstration) return '';
  return `${estimated ? '≈' : ''}${cost(usd)}`;
}

/** What is proposed for a budget that is used up: about twice as much, and more than was spent, as a round number. */
export function raisedBudget({ spentUsd, limitUsd }: { spentUsd: number; limitUsd: number }): number {
  const wanted = Math.max(limitUsd * 2, spentUsd * 1.5, 0.1);
  const step = 10 ** (Math.floor(Math.log10(wanted)) - 1);
  return Number((Math.ceil(wanted / step - 1e-9) * step).toFixed(2));
}

/** The phase in a word or two. */
export function phaseLabel(state: TaskState): string {
  if (!hasEnded(state) && state.paused !== undefined) return 'Paused';
  switch (state.phase) {
    case 'preparing':
      return 'Preparing';
    case 'running':
      return 'Running';
    case 'waiting':
      return 'Waiting for you';
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
  const spent = spendText(state);
  if (spent !== '') parts.push(spent);
  return parts.join(' · ');
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}
