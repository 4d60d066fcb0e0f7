import type { Disposable } from '../base/disposable.ts';
import { asSallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { defaultKeep, expired, keptUntil, type KeepPolicy } from './keptSandboxes.ts';

export interface KeepingOptions {
  known: () => TaskState[];
  /** What the user wants; read anew each time. */
  policy: () => KeepPolicy | undefined;
  /** Removes the sandbox of a task at rest, unless somebody is at it. */
  remove: (id: TaskId) => Promise<void>;
  log: Logger;
}

/** Between two looks at the sandboxes that are kept, in milliseconds. */
const sweepMs = 5000;
/** How long after the engine's disk was full nothing is kept, in milliseconds. */
const fullMs = 60_000;

/** Says how long sandboxes of tasks that are over are kept, and has those removed that have outlived it. */
export class SandboxKeeping implements Disposable {
  private readonly options: KeepingOptions;
  private readonly timer: NodeJS.Timeout;
  private sweeping = false;
  /** When the engine's disk was full last, in milliseconds since the epoch. */
  private fullAt = 0;

  constructor(options: KeepingOptions) {
    this.options = options;
    this.timer = setInterval(() => void this.sweep(), sweepMs);
    this.timer.unref();
  }

  /** Until when the sandbox of a task that is over is to be kept, in milliseconds since the epoch; undefined for not at all. */
  until(state: TaskState): number | undefined {
    if (this.outlived().includes(state.spec.id)) return undefined;
    return keptUntil(state, this.policy(), Date.now());
  }

  /** The engine's disk is full: what is only kept is to go. */
  makeRoom(): void {
    this.fullAt = Date.now();
    void this.sweep();
  }

  private async sweep(): Promise<void> {
    if (this.sweeping) return;
    this.sweeping = true;
    try {
      for (const id of this.outlived()) await this.options.remove(id);
    } catch (thrown) {
      this.options.log.debug(`Kept sandboxes: ${asSallyportError(thrown).message}`);
    } finally {
      this.sweeping = false;
    }
  }

  private outlived(): TaskId[] {
    return expired(this.options.known(), this.policy(), Date.now());
  }

  /** Where the disk has just been full, nothing is kept. */
  private policy(): KeepPolicy {
    const policy = this.options.policy() ?? defaultKeep;
    return Date.now() - this.fullAt < fullMs ? { ...policy, count: 0 } : policy;
  }

  dispose(): void {
    clearInterval(this.timer);
  }
}
