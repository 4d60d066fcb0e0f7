import { asSallyportError } from '../../base/errors.ts';
import { Emitter } from '../../base/event.ts';
import type { Logger } from '../../base/logger.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { TaskView } from '../../protocol/runnerApi.ts';
import type { TaskRow, TaskRows } from './taskRows.ts';
import { TaskWatch } from './taskWatch.ts';

/** Several changes of a task within this time are told once, in milliseconds. */
const gatherMs = 100;

export interface ChangesParts {
  rows: TaskRows;
  /** What is told of a task. */
  view: (row: Readonly<TaskRow>) => TaskView;
  /** Hears of a changed task, after those who listen. */
  tell: (row: Readonly<TaskRow>) => void;
  log: Logger;
}

/** Tells what has changed of which task. */
export class Changes {
  private readonly parts: ChangesParts;
  private readonly changed = new Emitter<TaskView>();
  private readonly removed = new Emitter<TaskId>();
  /** For a change of a task's row, its beginning or its end. */
  readonly watch = new TaskWatch();
  /** Tasks whose log has begun. */
  private readonly begun = new Set<TaskId>();
  private readonly dirty = new Set<TaskId>();
  private gathering: NodeJS.Timeout | undefined;

  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;

  constructor(parts: ChangesParts) {
    this.parts = parts;
  }

  /** A row was changed. */
  moved(id: TaskId): void {
    this.watch.wake(id);
    this.gather(id);
  }

  /** A log has more than before. */
  heard(id: TaskId): void {
    if (!this.begun.has(id)) {
      this.begun.add(id);
      this.watch.wake(id);
    }
    this.gather(id);
  }

  gone(id: TaskId): void {
    this.dirty.delete(id);
    this.begun.delete(id);
    this.watch.wake(id);
    this.removed.fire(id);
  }

  /** Tells what is left to tell. */
  close(): void {
    this.flush();
    this.changed.dispose();
    this.removed.dispose();
  }

  private gather(id: TaskId): void {
    this.dirty.add(id);
    this.gathering ??= setTimeout(() => this.flush(), gatherMs);
  }

  private flush(): void {
    clearTimeout(this.gathering);
    this.gathering = undefined;
    const { rows, view, tell, log } = this.parts;
    const ids = [...this.dirty];
    this.dirty.clear();
    for (const id of ids) {
      const row = rows.get(id);
      if (row === undefined || row.finds !== undefined || row.removing) continue;
      try {
        this.changed.fire(view(row));
        tell(row);
      } catch (thrown) {
        log.warn(`Task ${id}: ${asSallyportError(thrown).message}`);
      }
    }
  }
}
