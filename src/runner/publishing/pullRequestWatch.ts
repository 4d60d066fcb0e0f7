import type { Disposable } from '../../base/disposable.ts';
import { asSallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { PullRequestRecord } from '../../protocol/review.ts';

/** A pull request that may still change. */
export interface WatchedPullRequest {
  /** Of the task. */
  id: string;
  pullRequest: Pick<PullRequestRecord, 'state' | 'checks'>;
}

export interface WatchParts {
  /** All that are known; the most important last. */
  list: () => readonly WatchedPullRequest[];
  /** Asks the forge; false where there is no account to ask with. */
  refresh: (id: string, signal: AbortSignal) => Promise<boolean>;
  log: Pick<Logger, 'debug'>;
  /** Between two looks at one, while its checks run and while they do not, and the longest wait after failures; in milliseconds. */
  times?: { runningMs: number; quietMs: number; longestMs: number };
  now?: () => number;
}

const usual = { runningMs: 60_000, quietMs: 5 * 60_000, longestMs: 60 * 60_000 };
const maxWatched = 30;

/**
 * Asks forges how pull requests stand: those that are open, one after the other, seldom, and ever more seldom where a forge
 * does not answer. Says nothing to anybody: what is new is in the review.
 */
export class PullRequestWatch implements Disposable {
  private readonly parts: WatchParts;
  private readonly times;
  private readonly now: () => number;
  private readonly due = new Map<string, { at: number; failures: number }>();
  private timer: NodeJS.Timeout | undefined;
  private working = false;
  private readonly leaving = new AbortController();

  constructor(parts: WatchParts) {
    this.parts = parts;
    this.times = parts.times ?? usual;
    this.now = parts.now ?? Date.now;
  }

  /** Looks at the list anew: one may have come or gone. */
  poke(): void {
    if (this.leaving.signal.aborted || this.working) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    const watched = this.watched();
    if (watched.length === 0) return;
    const next = Math.min(...watched.map((one) => this.dueAt(one)));
    this.timer = setTimeout(() => void this.look(), Math.max(0, Math.min(next - this.now(), 2 ** 31 - 1)));
    this.timer.unref();
  }

  dispose(): void {
    this.leaving.abort();
    clearTimeout(this.timer);
  }

  private async look(): Promise<void> {
    this.working = true;
    try {
      for (const one of this.watched()) {
        if (this.leaving.signal.aborted) return;
        if (this.dueAt(one) <= this.now()) await this.refresh(one);
      }
    } finally {
      this.working = false;
    }
    this.poke();
  }

  private async refresh({ id }: WatchedPullRequest): Promise<void> {
    const { failures } = this.due.get(id) ?? { failures: 0 };
    const { longestMs } = this.times;
    try {
      const asked = await this.parts.refresh(id, this.leaving.signal);
      // Without an account there is none in a minute either.
      this.due.set(id, { at: this.now() + (asked ? this.waitFor(id) : longestMs), failures: 0 });
    } catch (thrown) {
      if (this.leaving.signal.aborted) return;
      this.parts.log.debug(`The pull request of ${id}: ${asSallyportError(thrown).message}`);
      const until = untilOf(thrown);
      const wait = Math.min(this.times.quietMs * 2 ** failures, longestMs);
      this.due.set(id, { at: Math.max(this.now() + wait, until ?? 0), failures: failures + 1 });
    }
  }

  private waitFor(id: string): number {
    const now = this.parts.list().find((one) => one.id === id)?.pullRequest;
    return now?.checks === 'running' ? this.times.runningMs : this.times.quietMs;
  }

  private dueAt({ id }: WatchedPullRequest): number {
    // Right at the beginning, but not before the editor has settled.
    const known = this.due.get(id) ?? { at: this.now() + Math.min(5000, this.times.quietMs), failures: 0 };
    this.due.set(id, known);
    return known.at;
  }

  private watched(): readonly WatchedPullRequest[] {
    const open = this.parts
      .list()
      .filter(({ pullRequest: { state } }) => state === 'open' || state === 'draft')
      .slice(-maxWatched);
    const ids = new Set(open.map(({ id }) => id));
    for (const id of this.due.keys()) if (!ids.has(id)) this.due.delete(id);
    return open;
  }
}

/** When a forge that answers no more requests does so again. */
function untilOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error) || !('until' in thrown)) return undefined;
  return typeof thrown.until === 'number' ? thrown.until : undefined;
}
