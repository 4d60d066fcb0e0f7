import { Backoff } from './rateLimits.ts';
import { tooMany } from '../http/tooMany.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

export interface Attempt {
  /** What the user typed, in lower case. */
  login: string;
  /** A network address, as `networkOf` has it. */
  network: string;
  /** Of a browser in which this very user has signed in before. */
  device: string | undefined;
}

/**
 * Makes trying of passwords slow. Three counts, because there are three ways to try: many passwords for one login from one
 * address; many logins from one address; one login from many addresses. A stranger who tries on can make each of them wait,
 * and so could keep the owner out: therefore a browser in which the owner has signed in before counts for itself
 * alone, and no wait is longer than a quarter of an hour. All counts are in memory; a new start forgets them.
 */
export class LockOut {
  private readonly pairs: Backoff;
  private readonly networks: Backoff;
  private readonly logins: Backoff;
  private readonly devices: Backoff;

  constructor(now: () => number) {
    this.pairs = new Backoff({ free: 5, firstMs: second, maxMs: 15 * minute, forgetMs: hour }, now);
    this.networks = new Backoff({ free: 20, firstMs: second, maxMs: 5 * minute, forgetMs: hour }, now);
    this.logins = new Backoff({ free: 50, firstMs: second, maxMs: minute, forgetMs: hour }, now);
    this.devices = new Backoff({ free: 10, firstMs: second, maxMs: 15 * minute, forgetMs: hour }, now);
  }

  /** Counts an attempt before it is made. Throws `too_many_requests`. @returns what to call when it was a good one */
  begin({ login, network, device }: Attempt): () => void {
    if (device !== undefined) {
      const key = `${login} ${device}`;
      this.devices.begin(key);
      return () => this.devices.forget(key);
    }
    const pair = `${login} ${network}`;
    const wait = Math.max(this.pairs.waitMs(pair), this.networks.waitMs(network), this.logins.waitMs(login));
    if (wait > 0) throw tooMany(wait);
    this.pairs.count(pair);
    this.networks.count(network);
    this.logins.count(login);
    return () => {
      this.pairs.forget(pair);
      // Who signs in as themselves between two attempts at another's password must not be counted anew.
      this.networks.undo(network);
      this.logins.undo(login);
    };
  }
}
