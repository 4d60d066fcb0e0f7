import type { Disposable } from './disposable.ts';

/** Longest time of one of Node's own timers, in milliseconds. */
const longest = 2 ** 31 - 1;

/** Calls back once when its clock has run for `ms` milliseconds. The clock can be stopped, and started again. */
export class PausableTimer implements Disposable {
  private left: number;
  private readonly onDue: () => void;
  private running: { since: number; handle: NodeJS.Timeout } | undefined;

  /** @param running false for one that starts with `setRunning` */
  constructor(ms: number, onDue: () => void, running = true) {
    this.left = ms;
    this.onDue = onDue;
    if (running) this.start();
  }

  setRunning(running: boolean): void {
    if (running) this.start();
    else this.halt();
  }

  dispose(): void {
    this.halt();
    this.left = Number.POSITIVE_INFINITY;
  }

  private start(): void {
    if (this.running !== undefined || this.left === Number.POSITIVE_INFINITY) return;
    const handle = setTimeout(
      () => {
        this.halt();
        if (this.left > 0) {
          this.start();
          return;
        }
        this.left = Number.POSITIVE_INFINITY;
        this.onDue();
      },
      Math.min(this.left, longest),
    );
    this.running = { since: performance.now(), handle };
  }

  private halt(): void {
    if (this.running === undefined) return;
    clearTimeout(this.running.handle);
    // A timer of Node's may fire a fraction of a millisecond early.
    this.left = Math.max(0, Math.floor(this.left - (performance.now() - this.running.since)));
    this.running = undefined;
  }
}
