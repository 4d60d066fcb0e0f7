import { tooMany } from '../http/tooMany.ts';

/** Keys that a limiter knows at once; beyond, those that were not heard of for longest are forgotten. */
const defaultKeys = 20_000;

interface BackoffOptions {
  /** Attempts that cost nothing. */
  free: number;
  /** Wait after the first attempt that is not free, in milliseconds; it doubles with each. */
  firstMs: number;
  maxMs: number;
  /** What was quiet for so long is forgotten, in milliseconds; longer than `maxMs`. */
  forgetMs: number;
  keys?: number;
}

/**
 * Attempts that may fail, each later one after a longer wait. An attempt counts when it begins, so that a thousand at
 * once are a thousand; one that was good is taken back. What is refused for its wait does not count: a wait always ends.
 */
export class Backoff {
  private readonly entries = new Map<string, { count: number; wait: number; at: number }>();
  private readonly options: BackoffOptions;
  private readonly now: () => number;

  constructor(options: BackoffOptions, now: () => number) {
    this.options = options;
    this.now = now;
  }

  /** How long until that key may try again, in milliseconds; 0 for at once. */
  waitMs(key: string): number {
    const entry = this.entries.get(key);
    if (entry === undefined) return 0;
    const now = this.now();
    // A clock that was set back makes no wait longer.
    entry.at = Math.min(entry.at, now);
    return Math.max(0, entry.at + entry.wait - now);
  }

  count(key: string): void {
    const { free, firstMs, maxMs, forgetMs, keys = defaultKeys } = this.options;
    const now = this.now();
    const known = this.entries.get(key);
    const count = (known === undefined || now - known.at > forgetMs ? 0 : known.count) + 1;
    const wait = count <= free ? 0 : Math.min(maxMs, firstMs * 2 ** Math.min(count - free - 1, 40));
    this.entries.delete(key);
    this.entries.set(key, { count, wait, at: now });
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= keys) break;
      this.entries.delete(oldest);
    }
  }

  /** The attempt that was counted last was a good one. */
  undo(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    if (entry.count <= 1) this.entries.delete(key);
    else this.entries.set(key, { ...entry, count: entry.count - 1, wait: 0 });
  }

  forget(key: string): void {
    this.entries.delete(key);
  }

  /** Throws `too_many_requests` for the longest wait of these, else counts an attempt for each. */
  begin(key: string): void {
    const wait = this.waitMs(key);
    if (wait > 0) throw tooMany(wait);
    this.count(key);
  }

  get size(): number {
    return this.entries.size;
  }
}

/** So many in a span of time, and no more. */
export class Quota {
  private readonly entries = new Map<string, { used: number; since: number }>();
  private readonly most: number;
  private readonly spanMs: number;
  private readonly now: () => number;

  constructor(most: number, spanMs: number, now: () => number) {
    this.most = most;
    this.spanMs = spanMs;
    this.now = now;
  }

  /** Throws `too_many_requests` when it is used up. */
  take(key: string): void {
    const now = this.now();
    const known = this.entries.get(key);
    const fresh = known === undefined || now - known.since >= this.spanMs || now < known.since;
    const entry = fresh ? { used: 0, since: now } : known;
    if (entry.used >= this.most) throw tooMany(entry.since + this.spanMs - now);
    this.entries.delete(key);
    this.entries.set(key, { ...entry, used: entry.used + 1 });
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= defaultKeys) break;
      this.entries.delete(oldest);
    }
  }
}
