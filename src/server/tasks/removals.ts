import type { TaskId } from '../../protocol/grammar.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { IdempotencyKeys } from './idempotency.ts';
import { type Pipeline, repositoryOf } from './pipeline.ts';
import type { TaskRows } from './taskRows.ts';

export interface RemovalParts {
  rows: TaskRows;
  keys: IdempotencyKeys;
  pipeline: Pipeline;
  service: ServedTasks;
  /** Waits for the answer to a submission of the task. */
  submitted: (id: TaskId) => Promise<void>;
  /** Something of that repository is not needed any more. */
  freed: (repository: string) => void;
  gone: (id: TaskId) => void;
}

/** Removes every trace of a task, and of the search for its repository. */
export class Removals {
  private readonly parts: RemovalParts;
  private readonly under = new Map<TaskId, Promise<void>>();

  constructor(parts: RemovalParts) {
    this.parts = parts;
  }

  has(id: TaskId): boolean {
    return this.under.has(id);
  }

  /** Throws `commits_not_imported` and `task_busy` without force. */
  remove(id: TaskId, force: boolean): Promise<void> {
    const under = this.under.get(id);
    if (under !== undefined) return under;
    const done = this.removeParts(id, force).finally(() => this.under.delete(id));
    this.under.set(id, done);
    return done;
  }

  /** Resolves when nothing is being removed. Never rejects. */
  async settled(): Promise<void> {
    await Promise.all([...this.under.values()].map((work) => work.catch(() => undefined)));
  }

  private async removeParts(id: TaskId, force: boolean): Promise<void> {
    const { rows, keys, pipeline, service, submitted, freed, gone } = this.parts;
    await submitted(id);
    await pipeline.cancel(id);
    const row = rows.change(id, { removing: true });
    if (row === undefined) return;
    try {
      if (service.task(id) !== undefined) await service.remove(id, { force });
    } catch (thrown) {
      rows.change(id, { removing: false });
      throw thrown;
    }
    for (const one of [...rows.all()].filter(({ finds }) => finds === id)) {
      if (service.task(one.id) !== undefined) await service.remove(one.id, { force: true });
      rows.delete(one.id);
    }
    keys.forgetTask(id);
    rows.delete(id);
    freed(repositoryOf(row).id);
    gone(id);
  }
}
