import { asSallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { Audit } from '../context.ts';
import type { IdempotencyKeys } from './idempotency.ts';
import { repositoryOf } from './pipeline.ts';
import { mayExpire } from './retention.ts';
import { repositoryId } from './submissions.ts';
import type { TaskRows } from './taskRows.ts';
import type { Known } from './taskViews.ts';
import type { Uploads } from './uploads.ts';

const sweepMs = 60 * 60_000;

export interface HousekeepingParts {
  rows: TaskRows;
  service: ServedTasks;
  keys: IdempotencyKeys;
  uploads: Uploads;
  /** Tasks that ended so long ago are removed, in milliseconds; undefined keeps them. */
  retentionMs: number | undefined;
  /** Removes a task without force. */
  remove: (id: TaskId) => Promise<void>;
  audit: Audit;
  log: Logger;
  now: () => number;
}

/** Removes what nobody wants any more, and what nobody goes on with. */
export class Housekeeping {
  private readonly parts: HousekeepingParts;
  private readonly timer: NodeJS.Timeout;
  /** Repositories from which something was removed, and those that are pruned now. */
  private readonly prunable = new Set<string>();
  private readonly pruning = new Map<string, Promise<unknown>>();
  private working: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(parts: HousekeepingParts) {
    this.parts = parts;
    this.timer = setInterval(() => void this.sweep(), sweepMs);
    this.timer.unref();
  }

  /** Something of that repository is not needed any more. */
  freed(repository: string): void {
    this.prunable.add(repository);
  }

  /** Resolves when nothing is deleted from that repository. */
  async unpruned(repository: string): Promise<void> {
    await this.pruning.get(repository);
  }

  /** Never rejects. */
  sweep(): Promise<void> {
    this.working = this.working.then(async () => {
      try {
        this.parts.keys.sweep();
        await this.parts.uploads.sweep();
        await this.expire();
        await this.prune();
      } catch (thrown) {
        this.parts.log.warn(`Clearing up: ${asSallyportError(thrown).message}`);
      }
    });
    return this.working;
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    await this.working;
  }

  private async expire(): Promise<void> {
    const { rows, service, retentionMs, now, audit, log, remove } = this.parts;
    if (retentionMs === undefined) return;
    for (const row of [...rows.all()]) {
      if (this.closed) return;
      if (row.finds !== undefined) continue;
      const known = { row, state: service.task(row.id) };
      const may = mayExpire(known, now(), retentionMs);
      if (may === 'no' || (may === 'if pushed' && !(await this.isPushed(known)))) continue;
      try {
        await remove(row.id);
        audit.record({ address: '', action: 'task.expired', subject: row.id });
      } catch (thrown) {
        log.warn(`Task ${row.id}: ${asSallyportError(thrown).message}`);
      }
    }
  }

  private async isPushed({ row, state }: Known): Promise<boolean> {
    if (row.pushedCommit === undefined || state === undefined) return false;
    const quarantine = this.parts.service.quarantine(state.spec.repository.id);
    return await quarantine.reaches(row.pushedCommit, state.imported);
  }

  /** Deletes what no task and no upload needs of the repositories from which something was removed. */
  private async prune(): Promise<void> {
    const { rows, service, log } = this.parts;
    for (const id of [...this.prunable]) {
      if (this.closed) return;
      // What is being fetched is kept by nobody yet.
      if ([...rows.all()].some((row) => row.stage === 'fetching' && repositoryOf(row).id === id)) continue;
      this.prunable.delete(id);
      const done = service
        .quarantine(id)
        .prune(this.basesOf(id))
        .catch((thrown: unknown) => log.warn(`Pruning ${id}: ${asSallyportError(thrown).message}`));
      this.pruning.set(id, done);
      // What was in use is pruned another time.
      if ((await done) === false) this.prunable.add(id);
      this.pruning.delete(id);
    }
  }

  private basesOf(repository: string): string[] {
    const { rows, service, uploads } = this.parts;
    const bases: string[] = [];
    for (const row of rows.all()) {
      if (repositoryOf(row).id !== repository) continue;
      const { source } = row.submission;
      const claimed = source.kind === 'snapshot' ? source.snapshot : undefined;
      const snapshot = service.task(row.id)?.spec.snapshot ?? claimed;
      if (snapshot !== undefined) bases.push(snapshot.commit);
    }
    for (const one of uploads.recent())
      if (repositoryId(one.user, 'snapshot', one.repository) === repository) bases.push(one.commit);
    return bases;
  }
}
