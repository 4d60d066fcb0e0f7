/**
 * One piece of work that several wait for, such as the building of an image: it runs once at a time, tells its progress
 * to all, and is cancelled when the last of them has gone.
 */
export class SharedWork<P> {
  private readonly start: (report: (progress: P) => void, signal: AbortSignal) => Promise<void>;
  private current:
    { done: Promise<void>; watchers: Set<(progress: P) => void>; controller: AbortController } | undefined;

  constructor(start: (report: (progress: P) => void, signal: AbortSignal) => Promise<void>) {
    this.start = start;
  }

  async join(report: (progress: P) => void, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const work = (this.current ??= this.begin());
    const watcher = (progress: P): void => report(progress);
    work.watchers.add(watcher);
    const { promise: left, reject } = Promise.withResolvers<never>();
    const leave = (): void => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      await Promise.race([work.done, left]);
    } finally {
      signal.removeEventListener('abort', leave);
      work.watchers.delete(watcher);
      if (work.watchers.size === 0) work.controller.abort();
    }
  }

  private begin(): NonNullable<typeof this.current> {
    const controller = new AbortController();
    const watchers = new Set<(progress: P) => void>();
    const done = this.start((progress) => {
      for (const watcher of watchers) watcher(progress);
    }, controller.signal).finally(() => {
      if (this.current === work) this.current = undefined;
    });
    // Whoever waits hears of a failure; when nobody waits any more, nobody needs to.
    done.catch(() => undefined);
    controller.signal.addEventListener('abort', () => {
      if (this.current === work) this.current = undefined;
    });
    const work = { done, watchers, controller };
    return work;
  }
}
