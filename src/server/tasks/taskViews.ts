import { createHash } from 'node:crypto';
import { SallyportError } from '../../base/errors.ts';
import { wholeSwitches } from '../../protocol/switches.ts';
import { summaryOf, type Switches, type TaskPage, type TaskView } from '../../protocol/runnerApi.ts';
import { titleOf } from '../../protocol/task.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import type { TaskQuery } from './serverTasks.ts';
import type { TaskRow } from './taskRows.ts';

/** What the server shows of its tasks: pure. */

type Row = Readonly<TaskRow>;

/** A task as the server has it: its row, and its state once its log has begun. */
export interface Known {
  row: Row;
  state: TaskState | undefined;
}

/** `draftEarly` and `autoPullRequest` push. */
export function switchesOf({ submission: { switches = {} } }: Pick<Row, 'submission'>): Switches {
  return wholeSwitches(switches);
}

export function viewOf({ row, state }: Known, ownerName: string, withState = false): TaskView {
  const { submission } = row;
  return {
    id: row.id,
    title: submission.title ?? titleOf(submission.prompt),
    prompt: submission.prompt,
    source: submission.source,
    owner: { id: row.owner, name: ownerName },
    shared: row.shared,
    priority: row.priority,
    switches: switchesOf(row),
    createdAt: row.createdAt,
    stage: row.stage,
    ...(row.finding === undefined ? {} : { finding: row.finding }),
    ...(row.problem === undefined ? {} : { problem: row.problem }),
    ...(row.pushedBranch === undefined ? {} : { pushedBranch: row.pushedBranch }),
    ...(row.pullRequest === undefined ? {} : { pullRequest: row.pullRequest }),
    ...(row.retryOf === undefined ? {} : { retryOf: row.retryOf }),
    ...(state === undefined || row.stage !== 'task' ? {} : { summary: summaryOf(state) }),
    ...(state === undefined || row.stage !== 'task' || !withState ? {} : { state: { ...state } }),
  };
}

/** What is counted. `over` is what was stopped or cancelled. */
type Kind = 'queued' | 'running' | 'succeeded' | 'failed' | 'over';

export function kindOf({ row, state }: Known): Kind {
  switch (row.stage) {
    case 'finding':
    case 'confirming':
    case 'fetching':
      return 'queued';
    case 'failed':
      return 'failed';
    case 'cancelled':
      return 'over';
    case 'task':
      break;
  }
  if (state === undefined || state.phase === 'preparing') return 'queued';
  if (!hasEnded(state)) return 'running';
  if (state.phase === 'succeeded') return 'succeeded';
  return state.phase === 'stopped' ? 'over' : 'failed';
}

export function isOver({ row, state }: Known): boolean {
  if (row.stage === 'failed' || row.stage === 'cancelled') return true;
  return row.stage === 'task' && state !== undefined && hasEnded(state);
}

export function countsOf(all: readonly Known[]): TaskPage['counts'] {
  const counts = { all: all.length, queued: 0, running: 0, succeeded: 0, failed: 0 };
  for (const known of all) {
    const kind = kindOf(known);
    if (kind !== 'over') counts[kind] += 1;
  }
  return counts;
}

/** What a repository is called by its user. */
function repositoryOf({ submission: { source }, finding, url }: Row): string[] {
  switch (source.kind) {
    case 'snapshot':
      return [source.repository.id, source.repository.name];
    case 'url':
      return [source.url];
    case 'find':
      return [finding?.found?.repository ?? '', url ?? ''];
  }
}

export function matches({ row, state }: Known, query: TaskQuery): boolean {
  const { states, owner, repository, words } = query;
  if (owner !== undefined && row.owner !== owner) return false;
  if (repository !== undefined && !repositoryOf(row).includes(repository)) return false;
  if (states !== undefined) {
    const phase = row.stage === 'task' ? (state?.phase ?? 'preparing') : row.stage;
    if (!states.includes(phase) && !states.includes(kindOf({ row, state }))) return false;
  }
  if (words === undefined) return true;
  const { title = '', prompt } = row.submission;
  const text = `${title}\n${prompt}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** Newest first. */
export function newestFirst(a: Row, b: Row): number {
  return b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1);
}

/** Says where a page ends: what comes after this task. */
export function cursorOf({ createdAt, id }: Row): string {
  return `${createdAt.toString(36)}-${id}`;
}

/** True for what comes after the cursor. Throws `invalid_input` for one that this server did not give. */
export function afterCursor(cursor: string): (row: Row) => boolean {
  const [, at = '', id = ''] = /^([0-9a-z]{1,11})-([a-z0-9]{10,32})$/.exec(cursor) ?? [];
  if (id === '') {
    throw new SallyportError(
      'invalid_input',
      'The cursor is none that this server gave.',
      'Take "next" of the page before, or leave it out for the first page.',
    );
  }
  const createdAt = Number.parseInt(at, 36);
  return (row) => row.createdAt < createdAt || (row.createdAt === createdAt && row.id < id);
}

/** Stands for all commits of a task that are in the quarantine; undefined when there are none. */
export function commitsOf({ imported }: Pick<TaskState, 'imported'>): string | undefined {
  if (imported.length === 0) return undefined;
  return createHash('sha256')
    .update([...imported].sort().join('\n'))
    .digest('hex');
}
