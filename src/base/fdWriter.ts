import { write } from 'node:fs';

/** Bytes that go out in one write, about. */
const batchBytes = 64 << 10;

/**
 * Writes text to a file descriptor in the background, in order. Node writes to a pipe on stdout synchronously, so that a
 * reader that stalls would stall the whole program; this goes through the thread pool instead, one write at a time.
 */
export class FdWriter {
  private queue: string[] = [];
  private queued = 0;
  private current: Buffer | undefined;
  private scheduled = false;
  private broken: Error | undefined;
  private waiting: { below: number; resolve: () => void }[] = [];
  private readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** UTF-16 units and bytes that are not written yet. Nothing is pending once the reader is gone. */
  get pending(): number {
    return this.queued + (this.current?.length ?? 0);
  }

  write(text: string): void {
    if (this.broken !== undefined) return;
    this.queue.push(text);
    this.queued += text.length;
    if (this.scheduled || this.current !== undefined) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.next();
    });
  }

  /** Resolves when at most `below` is pending, or the reader is gone. */
  drained(below = 0): Promise<void> {
    if (this.pending <= below || this.broken !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ below, resolve }));
  }

  private next(): void {
    if (this.current !== undefined || this.queue.length === 0) return;
    let length = 0;
    let count = 0;
    while (count < this.queue.length && length < batchBytes) length += this.queue[count++]?.length ?? 0;
    const batch = this.queue.splice(0, count);
    this.queued -= length;
    this.put(Buffer.from(batch.join('')));
  }

  private put(bytes: Buffer): void {
    this.current = bytes;
    write(this.fd, bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        // The descriptor is shared with somebody who made it non-blocking.
        setTimeout(() => this.put(bytes), 5);
      } else if (error !== null) {
        this.fail(error);
      } else if (written < bytes.length) {
        this.put(bytes.subarray(written));
      } else {
        this.current = undefined;
        this.next();
        this.wake();
      }
    });
  }

  /** Nobody reads any more: there is no one left to tell. */
  private fail(error: Error): void {
    this.broken = error;
    this.current = undefined;
    this.queue = [];
    this.queued = 0;
    this.wake();
  }

  private wake(): void {
    if (this.waiting.length === 0) return;
    const ready = this.waiting.filter(({ below }) => this.broken !== undefined || this.pending <= below);
    if (ready.length === 0) return;
    this.waiting = this.waiting.filter((waiter) => !ready.includes(waiter));
    for (const { resolve } of ready) resolve();
  }
}
