import type { Disposable } from '../../base/disposable.ts';
import { asSallyportError, type SallyportError } from '../../base/errors.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import { type Batch, batchesOf } from './batch.ts';

/** How many events wait at most for the end of the pause between two batches. */
const maxWaiting = 500;

/**
 * The live end of one task's log: read once, encoded once, for every follower of the task. It keeps the newest batches,
 * as much as `ringBytes`; a follower that needs older ones reads them from the file.
 */
export class TaskBroadcast implements Disposable {
  private readonly ring: Batch[] = [];
  private ringLength = 0;
  /** Number of the event before the first one of the ring. */
  private floor: number;
  private last: number;
  private over = false;
  private failure: SallyportError | undefined;
  private waiting: TaskEvent[] = [];
  private timer: NodeJS.Timeout | undefined;
  private flushedAt = 0;
  private readonly listeners = new Set<() => void>();
  private readonly reading = new AbortController();
  private readonly limits: { ringBytes: number; pauseMs: number };

  /** @param start number of the last event that is not told */
  constructor(start: number, limits: { ringBytes: number; pauseMs: number }) {
    this.floor = start;
    this.last = start;
    this.limits = limits;
  }

  /** Reads until the log ends or all is disposed of; never rejects. */
  async run(source: (after: number, signal: AbortSignal) => AsyncIterable<TaskEvent[]>): Promise<void> {
    try {
      for await (const events of source(this.last, this.reading.signal)) this.push(events);
      if (this.reading.signal.aborted) return;
      this.flush();
      this.over = true;
    } catch (thrown) {
      if (this.reading.signal.aborted) return;
      this.flush();
      this.failure = asSallyportError(thrown);
    }
    this.wake();
  }

  /** True when nothing more comes. */
  get ended(): boolean {
    return this.over || this.failure !== undefined;
  }

  /**
   * What comes after event number `position`; `wait` when it is not there yet, `behind` when it is only in the file.
   * Throws what ended the reading of the log.
   */
  take(position: number): Batch | 'wait' | 'behind' | 'over' {
    if (position < this.floor) return 'behind';
    if (position >= this.last) {
      if (this.failure !== undefined) throw this.failure;
      return this.over ? 'over' : 'wait';
    }
    const found = this.ring.findLast(({ first }) => first <= position + 1);
    return found?.after(position) ?? 'behind';
  }

  onChange(listener: () => void): Disposable {
    this.listeners.add(listener);
    return { dispose: () => this.listeners.delete(listener) };
  }

  dispose(): void {
    this.reading.abort();
    clearTimeout(this.timer);
    this.timer = undefined;
    this.listeners.clear();
  }

  /** The first event after a pause goes out at once, and those that follow it shortly go together. */
  private push(events: readonly TaskEvent[]): void {
    for (const event of events) this.waiting.push(event);
    const left = this.flushedAt + this.limits.pauseMs - performance.now();
    if (left <= 0 || this.waiting.length > maxWaiting) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), left);
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.waiting.length === 0) return;
    this.flushedAt = performance.now();
    for (const batch of batchesOf(this.waiting)) {
      this.ring.push(batch);
      this.ringLength += batch.length;
      this.last = batch.last;
    }
    this.waiting = [];
    while (this.ringLength > this.limits.ringBytes && this.ring.length > 1) {
      const oldest = this.ring.shift();
      this.ringLength -= oldest?.length ?? 0;
      this.floor = oldest?.last ?? this.floor;
    }
    this.wake();
  }

  private wake(): void {
    for (const listener of [...this.listeners]) listener();
  }
}
