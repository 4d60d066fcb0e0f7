import { randomBytes } from 'node:crypto';
import { watch, type FSWatcher } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { TaskId } from '../protocol/grammar.ts';

/** Of the name of a file that is there for a moment. */
const suffix = 'woken';

/** Tells other processes that something has happened to a task which they think at rest, and hears it of them. */
export class Wakes implements Disposable {
  private readonly folder: string;
  private readonly log: Logger;
  /** Tells what this process says to others from what they say. */
  private readonly tag = randomBytes(6).toString('hex');
  private watcher: FSWatcher | undefined;
  private disposed = false;

  /** @param folder of all tasks */
  constructor(folder: string, log: Logger) {
    this.folder = folder;
    this.log = log;
  }

  /** Other processes look at the task again. */
  tell(id: TaskId): void {
    if (this.disposed) return;
    const path = join(this.folder, `${id}.${this.tag}.${suffix}`);
    void writeFile(path, '', { mode: 0o600 })
      .then(() => rm(path, { force: true }))
      .catch((thrown: unknown) => this.log.debug(asSallyportError(thrown).message));
  }

  /** One watch for all tasks. Where the system does not tell, a window sees it when it is asked for the task. */
  listen(onWoken: (id: TaskId) => void): void {
    if (this.disposed) return;
    try {
      this.watcher = watch(this.folder, { persistent: false }, (_, name) => {
        const [id = '', tag, end] = name?.split('.') ?? [];
        if (end === suffix && tag !== this.tag) onWoken(id);
      });
      this.watcher.on('error', () => undefined);
    } catch {
      // As said.
    }
  }

  dispose(): void {
    this.disposed = true;
    this.watcher?.close();
  }
}
