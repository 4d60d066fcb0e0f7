import { isDeepStrictEqual } from 'node:util';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { PausableTimer } from '../base/pausableTimer.ts';
import type { Upstream } from '../protocol/control.ts';
import type { ResolvedModel } from './taskService.ts';

export interface RenewalOptions {
  /** Gives the gateway another credential. */
  push: (upstream: Upstream) => Promise<void>;
  /** What the user's choice gives now. */
  fresh: () => Promise<ResolvedModel>;
  /** No new credential could be had. */
  fail: (error: SallyportError) => Promise<void>;
}

type Reason = 'expired' | 'refused';

/** How long before it expires a credential is renewed, in milliseconds. */
const leadMs = 5 * 60_000;
/** Shortest time between two renewals that nobody asked for, in milliseconds. */
const leastMs = 60_000;

/** Keeps one gateway in a credential that is good: renews it shortly before it expires, and when the gateway asks. */
export class CredentialRenewal implements Disposable {
  private readonly options: RenewalOptions;
  private model: ResolvedModel | undefined;
  private timer: PausableTimer | undefined;
  private renewing: Promise<void> | undefined;
  private readonly leaving = new AbortController();
  /** What failed last, so that it is told once. */
  private told = '';

  constructor(options: RenewalOptions) {
    this.options = options;
  }

  /** This is the credential that the gateway has. */
  watch(model: ResolvedModel): void {
    this.model = model;
    this.rest();
    const expiresAt = 'expiresAt' in model.upstream ? model.upstream.expiresAt : undefined;
    if (expiresAt === undefined || this.leaving.signal.aborted) return;
    const wait = Math.max(leastMs, expiresAt - leadMs - Date.now());
    this.timer = new PausableTimer(wait, () => void this.renew('expired'));
  }

  /** Renews nothing by itself until the next `watch`. */
  rest(): void {
    this.timer?.dispose();
    this.timer = undefined;
  }

  /** Gives the gateway this one, whatever it has. */
  async replace(model: ResolvedModel): Promise<void> {
    await this.options.push(model.upstream);
    this.watch(model);
  }

  /** Gets a new credential to the gateway; calls during one renewal share it. Never rejects. */
  renew(reason: Reason): Promise<void> {
    this.renewing ??= this.run(reason).finally(() => (this.renewing = undefined));
    return this.renewing;
  }

  dispose(): void {
    this.leaving.abort();
    this.rest();
  }

  private async run(reason: Reason): Promise<void> {
    try {
      const next = await this.next(reason);
      await this.options.push(next.upstream);
      this.told = '';
      this.watch(next);
    } catch (thrown) {
      if (this.leaving.signal.aborted) return;
      const error = asSallyportError(thrown);
      if (error.message !== this.told) await this.options.fail(error).catch(() => undefined);
      this.told = error.message;
      if (this.model === undefined) return;
      // The same once more says that there is no other: requests wait no longer for one.
      if (reason === 'refused') await this.options.push(this.model.upstream).catch(() => undefined);
      this.watch(this.model);
    }
  }

  private async next(reason: Reason): Promise<ResolvedModel> {
    const { model } = this;
    if (model?.renew !== undefined)
      return { ...model, upstream: await model.renew(reason, this.leaving.signal) };
    // It cannot be renewed; but the user may have set another one meanwhile.
    const fresh = await this.options.fresh();
    if (model === undefined || !isDeepStrictEqual(fresh.upstream, model.upstream)) return fresh;
    throw new SallyportError(
      reason === 'expired' ? 'auth_expired' : 'auth_refused',
      reason === 'expired'
        ? `The credential has expired, and cannot be renewed (${model.label}).`
        : `The model's service refused the credential (${model.label}).`,
      'Set another credential; the task goes on with it.',
    );
  }
}
