import type { TaskView } from '../../src/protocol/runnerApi.ts';

/** What a user is told of where a task is: a word, and how it is coloured. */
export interface Status {
  group: StatusGroup;
  label: string;
  /** The task cannot go on without a word of the user's. */
  waits: boolean;
}

export type StatusGroup = 'queued' | 'running' | 'succeeded' | 'failed' | 'stopped';

export interface TaskFilter {
  group: StatusGroup | 'all' | 'waiting';
  /** Id of the owner, or empty. */
  owner: string;
  /** Name of the repository, or empty. */
  repository: string;
  words: string;
}

export const everything: TaskFilter = { group: 'all', owner: '', repository: '', words: '' };

export function statusOf(task: TaskView): Status {
  const { stage, summary } = task;
  switch (stage) {
    case 'finding':
      return { group: 'running', label: 'Finding the repository', waits: false };
    case 'confirming':
      return { group: 'running', label: 'Waits for your yes', waits: true };
    case 'fetching':
      return { group: 'running', label: 'Fetching', waits: false };
    case 'failed':
      return { group: 'failed', label: 'Failed', waits: false };
    case 'cancelled':
      return { group: 'stopped', label: 'Cancelled', waits: false };
    case 'task':
      break;
  }
  if (summary === undefined) return { group: 'queued', label: 'Queued', waits: false };
  const waits = summary.waiting > 0 && summary.endedAt === undefined;
  switch (summary.phase) {
    case 'queued':
      return { group: 'queued', label: 'Queued', waits: false };
    case 'preparing':
      return isQueued(summary.progress)
        ? { group: 'queued', label: 'Queued', waits: false }
        : { group: 'running', label: 'Preparing', waits };
    case 'running':
      return { group: 'running', label: waits ? 'Waits for you' : 'Running', waits };
    case 'waiting':
      return { group: 'running', label: 'Waits for your message', waits: true };
    case 'stopping':
      return { group: 'running', label: 'Stopping', waits: false };
    case 'succeeded':
      return { group: 'succeeded', label: 'Done', waits: false };
    case 'stopped':
      return { group: 'stopped', label: 'Stopped', waits: false };
    case 'timed_out':
      return { group: 'failed', label: 'Time limit', waits: false };
    default:
      return { group: 'failed', label: 'Failed', waits: false };
  }
}

function isQueued(progress: string): boolean {
  return progress.startsWith('Waiting for a place');
}

export function isActive(task: TaskView): boolean {
  const { group } = statusOf(task);
  return group === 'queued' || group === 'running';
}

/** The repository as far as it is known. */
export function repositoryOf(task: TaskView): string {
  const { source, finding } = task;
  switch (source.kind) {
    case 'snapshot':
      return source.repository.name;
    case 'url':
      return nameOfUrl(source.url);
    case 'find':
      return finding?.found?.repository ?? '';
  }
}

/** `owner/name` of an address of a repository, or the address where it has no such form. */
export function nameOfUrl(url: string): string {
  if (!URL.canParse(url)) return url;
  const path = new URL(url).pathname.replace(/\.git\/?$/, '').replace(/^\/|\/$/g, '');
  return path === '' ? url : path.split('/').slice(-2).join('/');
}

export interface Counts {
  all: number;
  waiting: number;
  queued: number;
  running: number;
  succeeded: number;
  failed: number;
  stopped: number;
}

export function countsOf(tasks: Iterable<TaskView>): Counts {
  const counts: Counts = { all: 0, waiting: 0, queued: 0, running: 0, succeeded: 0, failed: 0, stopped: 0 };
  for (const task of tasks) {
    const { group, waits } = statusOf(task);
    counts.all += 1;
    counts[group] += 1;
    if (waits) counts.waiting += 1;
  }
  return counts;
}

/** What passes, newest first. */
export function filtered(tasks: Iterable<TaskView>, filter: TaskFilter): TaskView[] {
  const words = filter.words
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  const passing = [...tasks].filter((task) => {
    const { group, waits } = statusOf(task);
    if (filter.group === 'waiting' ? !waits : filter.group !== 'all' && filter.group !== group) return false;
    if (filter.owner !== '' && task.owner.id !== filter.owner) return false;
    if (filter.repository !== '' && repositoryOf(task) !== filter.repository) return false;
    if (words.length === 0) return true;
    const text =
      `${task.title}\n${task.prompt}\n${repositoryOf(task)}\n${task.owner.name}\n${task.summary?.branch ?? ''}\n${task.id}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  return passing.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
}

/** Rows of one page of the table. */
export const pageLength = 25;

/** One page of many, counted from 0; a page beyond the last is the last. */
export function pageOf<T>(
  rows: readonly T[],
  page: number,
): { rows: readonly T[]; page: number; pages: number } {
  const pages = Math.max(1, Math.ceil(rows.length / pageLength));
  const at = Math.min(Math.max(0, page), pages - 1);
  return { rows: rows.slice(at * pageLength, (at + 1) * pageLength), page: at, pages };
}

/** Names that a filter offers, sorted, each once. */
export function choicesOf(tasks: Iterable<TaskView>): {
  owners: { id: string; name: string }[];
  repositories: string[];
} {
  const owners = new Map<string, string>();
  const repositories = new Set<string>();
  for (const task of tasks) {
    owners.set(task.owner.id, task.owner.name);
    const repository = repositoryOf(task);
    if (repository !== '') repositories.add(repository);
  }
  return {
    owners: [...owners].map(([id, name]) => ({ id, name })).sort((a, b) => a.name.localeCompare(b.name)),
    repositories: [...repositories].sort((a, b) => a.localeCompare(b)),
  };
}

/** How long a task has taken, in milliseconds; undefined before it began. */
export function tookOf(task: TaskView, now: number): number | undefined {
  const { summary } = task;
  if (summary === undefined) return undefined;
  return Math.max(0, (summary.endedAt ?? now) - summary.startedAt);
}

/** `just now`, `5 min ago`, `3 h ago`, then the day. */
export function ago(at: number, now: number): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  const days = Math.floor(minutes / (24 * 60));
  return days < 7 ? `${days} d ago` : new Date(at).toLocaleDateString();
}
