import type { TaskEvent } from '../protocol/taskEvent.ts';
import { bringsCommits } from './bringing.ts';

/** How much of one task waits to be written before the runner is told to stop, and when it may go on, in bytes. */
const most = 8 << 20;
const few = 1 << 20;
/** How much is written at once, in bytes. */
const writeBytes = 1 << 20;

/** Events of a task that have come and are not written yet. */
export class EventQueue {
  private readonly account: (bytes: number) => void;
  private waiting: { event: TaskEvent; bytes: number }[] = [];
  /** Of those, and of what is being written. */
  private bytes = 0;

  /** @param account hears of bytes that are taken in, or given up again when negative */
  constructor(account: (bytes: number) => void) {
    this.account = account;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  get isFull(): boolean {
    return this.bytes >= most;
  }

  /** So much was written that more may come. */
  get hasRoom(): boolean {
    return this.bytes < few;
  }

  push(event: TaskEvent, bytes: number): void {
    this.waiting.push({ event, bytes });
    this.bytes += bytes;
    this.account(bytes);
  }

  /** Takes out what is written next: an event about commits by itself; of the others so many as are written at once. */
  part(): { events: TaskEvent[]; bytes: number } {
    const events: TaskEvent[] = [];
    let bytes = 0;
    for (const waiting of this.waiting) {
      const alone = bringsCommits(waiting.event);
      if (alone && events.length > 0) break;
      events.push(waiting.event);
      bytes += waiting.bytes;
      if (alone || bytes >= writeBytes) break;
    }
    this.waiting.splice(0, events.length);
    return { events, bytes };
  }

  /** What was taken out is in the file. */
  written(bytes: number): void {
    this.bytes -= bytes;
    this.account(-bytes);
  }

  /** Forgets what waits. */
  clear(): void {
    const bytes = this.waiting.reduce((sum, { bytes: one }) => sum + one, 0);
    this.waiting = [];
    this.written(bytes);
  }
}
