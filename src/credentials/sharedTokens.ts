/** A token of less life than this is not given to a new task, in milliseconds. */
const marginMs = 10 * 60_000;

/**
 * Temporary credentials that parallel tasks share: one request at a time for the same ones, and what one task renewed
 * is what the others get. In memory only.
 */
export class SharedTokens<T extends { expiresAt?: number }> {
  private readonly held = new Map<string, T>();
  private readonly flights = new Map<string, Promise<T>>();
  private readonly now: () => number;
  private readonly nameOf: (token: T) => string;

  /** @param nameOf what tells one token from the next */
  constructor(now: () => number, nameOf: (token: T) => string) {
    this.now = now;
    this.nameOf = nameOf;
  }

  /** One with some life left. What expires at an unknown time is always made anew. */
  async get(key: string, make: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const held = this.held.get(key);
    if (held !== undefined && this.isGood(held)) return held;
    return await this.fly(key, make, signal);
  }

  /** Another than `previous`, or undefined where the same comes again. */
  async renew(key: string, previous: T, make: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const held = this.held.get(key);
    if (held !== undefined && this.isGood(held) && this.differs(held, previous)) return held;
    const fresh = await this.fly(key, make, signal);
    return this.differs(fresh, previous) ? fresh : undefined;
  }

  private differs(one: T, other: T): boolean {
    return this.nameOf(one) !== this.nameOf(other);
  }

  private isGood({ expiresAt }: T): boolean {
    return expiresAt !== undefined && expiresAt - marginMs > this.now();
  }

  private async fly(key: string, make: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    let flight = this.flights.get(key);
    if (flight === undefined) {
      flight = make()
        .then((token) => {
          this.held.set(key, token);
          return token;
        })
        .finally(() => this.flights.delete(key));
      this.flights.set(key, flight);
    }
    return await orAborted(flight, signal);
  }
}

/** The work's result; who does not want to wait any more leaves, and the work goes on for the others. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  // Whoever left hears no more of it.
  work.catch(() => undefined);
  signal.throwIfAborted();
  const { promise: left, reject } = Promise.withResolvers<never>();
  const leave = (): void => reject(signal.reason);
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([work, left]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
