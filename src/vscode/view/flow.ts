/** Bytes that may be on their way to a panel before it has said that it took them in. */
const window = 4 << 20;

/**
 * Counts what is on its way to a panel, so that a fast log waits for a slow reader instead of filling its memory.
 */
export class Flow {
  private readonly underway = new Map<number, number>();
  private bytes = 0;
  private last = 0;
  private waiting: (() => void)[] = [];

  /** Numbers a batch. */
  sent(bytes: number): number {
    this.last += 1;
    this.underway.set(this.last, bytes);
    this.bytes += bytes;
    return this.last;
  }

  /** An unknown number is left out: it belongs to a panel that is gone. */
  acknowledged(batch: number): void {
    this.bytes -= this.underway.get(batch) ?? 0;
    this.underway.delete(batch);
    if (this.bytes < window) this.wake();
  }

  /** Resolves when there is room, or at once when `signal` is aborted. */
  async room(signal: AbortSignal): Promise<void> {
    while (this.bytes >= window && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.waiting.push(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  /** Nothing is underway any more: the reader is gone. */
  reset(): void {
    this.underway.clear();
    this.bytes = 0;
    this.wake();
  }

  private wake(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }
}
