import type { Disposable } from '../../base/disposable.ts';
import { asSallyportError, type SallyportError } from '../../base/errors.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import { type Batch, batchesOf } from './batch.ts';
import type { TaskBroadcast } from './broadcast.ts';

/**
 * One reader of one task's events, from some number on. It holds nothing between two calls but its place: what it has
 * missed is read from the file when it is asked for.
 */
export class Follow implements Disposable {
  readonly task: string;
  private position: number;
  private readonly broadcast: TaskBroadcast;
  private readonly read: (after: number, signal: AbortSignal) => AsyncIterable<TaskEvent[]>;
  /** It is over there even when the log goes on. */
  private readonly until: number;
  private readonly listening: Disposable;
  private wake: (() => void) | undefined;
  private failure: SallyportError | undefined;
  private over = false;
  private disposed = false;
  private readonly onDispose: () => void;

  constructor(options: {
    task: string;
    after: number;
    until?: number | undefined;
    broadcast: TaskBroadcast;
    read: (after: number, signal: AbortSignal) => AsyncIterable<TaskEvent[]>;
    onDispose: () => void;
  }) {
    this.task = options.task;
    this.position = options.after;
    this.until = options.until ?? Number.POSITIVE_INFINITY;
    this.broadcast = options.broadcast;
    this.read = options.read;
    this.onDispose = options.onDispose;
    this.listening = this.broadcast.onChange(() => this.wake?.());
  }

  /** Waits for what comes next, at most that long: `more` to be got by `next`, `over`, or `nothing`. Throws what ended the log. */
  async ready(waitMs?: number): Promise<'more' | 'over' | 'nothing'> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      if (this.disposed || this.over || this.position >= this.until) return 'over';
      const found = this.broadcast.take(this.position);
      if (found === 'over') return 'over';
      if (found !== 'wait') return 'more';
      if (!(await this.changed(waitMs))) return 'nothing';
    }
  }

  /** What was announced by `ready`; none when it is over after all. */
  async next(): Promise<Batch[]> {
    if (this.disposed) return [];
    const found = this.broadcast.take(this.position);
    const batches = typeof found === 'object' ? [found] : found === 'behind' ? await this.fromFile() : [];
    this.position = batches.at(-1)?.last ?? this.position;
    return batches;
  }

  /** It ends with this: the reader may not see the task any more, or there is none. */
  fail(thrown: unknown): void {
    this.failure ??= asSallyportError(thrown);
    this.wake?.();
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.listening.dispose();
    this.wake?.();
    this.onDispose();
  }

  private async fromFile(): Promise<Batch[]> {
    const reading = new AbortController();
    try {
      for await (const events of this.read(this.position, reading.signal)) {
        if (events.length > 0) return batchesOf(events);
      }
      this.over = true;
      return [];
    } finally {
      reading.abort();
    }
  }

  /** False when nothing has changed in that time. */
  private changed(waitMs: number | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = waitMs === undefined ? undefined : setTimeout(() => done(false), waitMs);
      const done = (changed: boolean): void => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve(changed);
      };
      this.wake = () => done(true);
    });
  }
}
