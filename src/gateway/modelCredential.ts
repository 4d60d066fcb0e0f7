import { isDeepStrictEqual } from 'node:util';
import { ControlFailure } from '../base/controlSocket.ts';
import type { Upstream } from '../protocol/control.ts';
import type { GatewayLog } from './eventLog.ts';

/** A credential is taken for expired this long before it is, in milliseconds: clocks differ, and requests take time. */
const marginMs = 30_000;
/** How long requests wait for another credential, in milliseconds, from when it was asked for. */
const waitMs = 60_000;

export interface CredentialTimes {
  now: () => number;
  waitMs: number;
}

/**
 * The credential that the gateway holds, and its replacement while the task runs. When it expires or is refused, the host
 * is told once, and requests wait a while for another one. Whoever has none to give sends the same once more, and nobody
 * waits any longer.
 */
export class ModelCredential {
  private current: Upstream;
  private readonly log: Pick<GatewayLog, 'say'>;
  private readonly times: CredentialTimes;
  /** There from when another one was asked for until it comes, or until this one turns out to be good. */
  private wanted: { until: number; done: Promise<boolean>; settle: (replaced: boolean) => void } | undefined;

  constructor(
    upstream: Upstream,
    log: Pick<GatewayLog, 'say'>,
    times: CredentialTimes = { now: Date.now, waitMs },
  ) {
    this.current = upstream;
    this.log = log;
    this.times = times;
  }

  get upstream(): Upstream {
    return this.current;
  }

  /** Throws `invalid_input` for one of another kind. */
  replace(upstream: Upstream): void {
    if (upstream.kind !== this.current.kind)
      throw new ControlFailure('invalid_input', 'The credential is for another service than the task uses.');
    const replaced = !isDeepStrictEqual(upstream, this.current);
    this.current = upstream;
    const { wanted } = this;
    if (replaced) this.wanted = undefined;
    wanted?.settle(replaced);
  }

  /** Resolves when the credential is one that has not expired, or when waiting for one is over. */
  async fresh(signal: AbortSignal): Promise<void> {
    const { expiresAt } = { expiresAt: undefined, ...this.current };
    if (expiresAt === undefined || this.times.now() < expiresAt - marginMs) return;
    await this.another('expired', undefined, signal);
  }

  /** The service refused `upstream`. Resolves to true when there is another one to try. */
  async refused(
    upstream: Upstream,
    reason: 'expired' | 'refused',
    status: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (this.current !== upstream && !isDeepStrictEqual(this.current, upstream)) return true;
    return await this.another(reason, status, signal);
  }

  /** The service took `upstream`. */
  accepted(upstream: Upstream): void {
    if (upstream === this.current) this.wanted = undefined;
  }

  private async another(
    reason: 'expired' | 'refused',
    status: number | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (this.wanted === undefined) {
      let settle: (replaced: boolean) => void = () => undefined;
      const done = new Promise<boolean>((resolve) => (settle = resolve));
      this.wanted = { until: this.times.now() + this.times.waitMs, done, settle };
      this.log.say({ type: 'credential_wanted', reason, ...(status === undefined ? {} : { status }) });
    }
    const { until, done } = this.wanted;
    return await settledBefore(done, until - this.times.now(), signal);
  }
}

/** False when time runs out first. Rejects with an AbortError when the signal aborts first. */
async function settledBefore(done: Promise<boolean>, ms: number, signal: AbortSignal): Promise<boolean> {
  signal.throwIfAborted();
  let timer: NodeJS.Timeout | undefined;
  let leave: (() => void) | undefined;
  try {
    return await Promise.race([
      done,
      new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), Math.max(0, ms)))),
      new Promise<boolean>((_, reject) => {
        leave = () => reject(new DOMException('Aborted', 'AbortError'));
        signal.addEventListener('abort', leave, { once: true });
      }),
    ]);
  } finally {
    clearTimeout(timer);
    if (leave !== undefined) signal.removeEventListener('abort', leave);
  }
}
