import { SallyportError } from '../../base/errors.ts';
import { emptyTree, type DetailedChange } from '../../git/diff.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { ByteStream } from '../../protocol/runner.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { Range } from '../../runner/taskService.ts';
import type { User } from '../principal.ts';
import type { TaskAccess } from './taskAccess.ts';
import type { TaskRows } from './taskRows.ts';
import { commitsOf } from './taskViews.ts';
import type { TaskWatch } from './taskWatch.ts';

/**
 * What a task has told and made. A repository holds more than that: what other tasks have made in it, and what its owner has brought for
 * them; whoever may see one task gets nothing of that.
 */
export class TaskContents {
  private readonly service: ServedTasks;
  private readonly rows: TaskRows;
  private readonly access: TaskAccess;
  private readonly watch: TaskWatch;

  /** @param watch wakes when a log begins, or a task is removed */
  constructor(service: ServedTasks, rows: TaskRows, access: TaskAccess, watch: TaskWatch) {
    this.service = service;
    this.rows = rows;
    this.access = access;
    this.watch = watch;
  }

  /** Ends with the task's log, and when it is removed. */
  async *events(
    user: User,
    id: string,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent[], void> {
    const gone = new AbortController();
    const either = AbortSignal.any([signal, gone.signal]);
    const watching = this.watch.watch(id, () => {
      if (this.rows.get(id) === undefined) gone.abort();
    });
    try {
      for (;;) {
        const { row, state } = this.access.readable(user, id);
        if (row.stage === 'failed' || row.stage === 'cancelled') return;
        if (row.stage === 'task' && state !== undefined) break;
        await this.watch.next(id, either);
        if (either.aborted) return;
      }
      for await (const batch of this.service.events(id, after, either)) {
        // Shared is only what still is.
        this.access.readable(user, id);
        yield batch;
      }
    } finally {
      watching.dispose();
    }
  }

  async bundle(user: User, id: string, have: readonly string[]): Promise<ByteStream> {
    const state = this.access.state(user, id);
    const isOwner = this.access.readable(user, id).row.owner === user.id;
    const own = commitsIn(state);
    const stream = await this.service.bundle(id, isOwner ? have : have.filter((sha) => own.has(sha)));
    const commits = commitsOf(state);
    return isOwner && commits !== undefined ? this.noted(id, commits, stream) : stream;
  }

  /** The same bytes. Once all of them were taken, the owner has a copy of the commits. */
  private async *noted(id: TaskId, commits: string, bytes: ByteStream): ByteStream {
    yield* bytes;
    this.rows.change(id, { fetched: commits });
  }

  result(user: User, id: string): Range | undefined {
    this.access.state(user, id);
    return this.service.result(id);
  }

  async changes(user: User, id: string, range?: Range): Promise<DetailedChange[]> {
    this.checkRange(user, id, range);
    return await this.service.changes(id, range);
  }

  async patch(user: User, id: string, range?: Range): Promise<{ text: string; truncated: boolean }> {
    this.checkRange(user, id, range);
    return await this.service.patch(id, range);
  }

  async blob(user: User, id: string, oid: string): Promise<Uint8Array> {
    const state = this.access.state(user, id);
    const { row } = this.access.readable(user, id);
    const quarantine = this.service.quarantine(state.spec.repository.id);
    const isFree = row.owner === user.id || user.role === 'admin';
    if (!isFree && !(await quarantine.holds([...commitsIn(state)], oid))) {
      throw new SallyportError(
        'not_found',
        'The task has no such file.',
        'Take the name from the list of changes.',
      );
    }
    return await this.service.blob(id, oid);
  }

  private checkRange(user: User, id: string, range: Range | undefined): void {
    const own = commitsIn(this.access.state(user, id));
    const isOwn = (sha: string): boolean => own.has(sha) || sha === emptyTree;
    if (range === undefined || (isOwn(range.from) && isOwn(range.to))) return;
    throw new SallyportError(
      'not_found',
      'The task has no such commits, or they are not here yet.',
      'Take those that its state names.',
    );
  }
}

/** What a task may show of its repository: where it began, and what it brought, by the host's own knowledge of it. */
function commitsIn({ spec, imported, commits }: TaskState): Set<string> {
  const own = new Set([spec.snapshot.commit, ...imported]);
  const brought = new Set(imported);
  // Parents are read by the host as soon as a commit is here; before that they are a claim of the sandbox's.
  for (const { sha, parents } of commits) if (brought.has(sha)) for (const parent of parents) own.add(parent);
  return own;
}
