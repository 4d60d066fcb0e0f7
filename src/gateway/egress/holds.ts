import type { Disposable } from '../../base/disposable.ts';
import type { Limits } from './limits.ts';

/** How a wait ended: the policy has changed, its time is over, or the client went away. */
type WaitEnd = 'changed' | 'lapsed' | 'gone';

/**
 * Requests that wait for the user's answer. The first request for a host and port opens a time in which all for it wait;
 * after it they are refused at once, until the policy changes.
 */
export class Holds implements Disposable {
  private readonly holdMs: number;
  private readonly limits: Pick<Limits, 'waiting' | 'asked'>;
  /** Until when requests wait, by host and port, in ms since the epoch. */
  private asked = new Map<string, number>();
  private readonly waiting = new Set<(end: WaitEnd) => void>();

  constructor(holdMs: number, limits: Pick<Limits, 'waiting' | 'asked'>) {
    this.holdMs = holdMs;
    this.limits = limits;
  }

  /** Until when a request for this host may wait; undefined when it may not. */
  until(host: string, port: number): number | undefined {
    if (this.holdMs <= 0 || this.waiting.size >= this.limits.waiting) return undefined;
    const key = `${host}:${port}`;
    const now = Date.now();
    const known = this.asked.get(key);
    if (known !== undefined) return known > now ? known : undefined;
    // A sandbox can think of any number of names.
    if (this.asked.size >= this.limits.asked) return undefined;
    this.asked.set(key, now + this.holdMs);
    return now + this.holdMs;
  }

  /** Waits until the policy changes, that moment, or `gone`. */
  wait(until: number, gone: AbortSignal): Promise<WaitEnd> {
    if (gone.aborted) return Promise.resolve('gone');
    return new Promise((resolve) => {
      const settle = (end: WaitEnd): void => {
        clearTimeout(timer);
        gone.removeEventListener('abort', leave);
        this.waiting.delete(settle);
        resolve(end);
      };
      const leave = (): void => settle('gone');
      const timer = setTimeout(() => settle('lapsed'), Math.max(0, until - Date.now()));
      gone.addEventListener('abort', leave, { once: true });
      this.waiting.add(settle);
    });
  }

  /** All that wait look again at the policy, and every host may be asked for anew. */
  changed(): void {
    this.asked = new Map();
    for (const settle of [...this.waiting]) settle('changed');
  }

  dispose(): void {
    for (const settle of [...this.waiting]) settle('lapsed');
  }
}
