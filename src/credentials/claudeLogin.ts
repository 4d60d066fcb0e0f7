import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { lockLogin } from './loginLock.ts';
import {
  fileStore,
  keychainStore,
  type Login,
  loginFolder,
  type LoginStore,
  type Oauth,
} from './loginStore.ts';
import { codeOf } from './reach.ts';
import { orAborted } from './sharedTokens.ts';
import type { Surroundings } from './surroundings.ts';

/**
 * Where and as whom the Claude CLI renews its login, as its release 2.1 does. Not documented; public all the same, as
 * it is in every copy of it.
 */
const tokenUrl = 'https://platform.claude.com/v1/oauth/token';
const cliClientId = '9d1c250a-e61b-44d9-88ed-5944d1962f5e';

/** A login counts as expired this long before it does, in milliseconds: as long as the CLI has it. */
const marginMs = 5 * 60_000;
/** A login that was renewed so short a time ago and is refused will not get better by another renewal. */
const freshMs = 60_000;
const requestMs = 30_000;

const logInAgain = 'Run `claude` and log in again.';

export interface AccessToken {
  value: string;
  /** Milliseconds since the epoch. */
  expiresAt?: number;
}

export type LoginStatus =
  | { state: 'absent' }
  | { state: 'unusable'; place: string; reason: string }
  | { state: 'ready' | 'expired'; place: string; detail: string };

const Renewed = z.object({
  access_token: z.string().check(z.regex(/^[\x21-\x7e]{8,4096}$/)),
  refresh_token: z.optional(z.string().check(z.regex(/^[\x21-\x7e]{8,4096}$/))),
  /** Seconds. */
  expires_in: z.number().check(z.positive()),
  /** Seconds. */
  refresh_token_expires_in: z.optional(z.nullable(z.number())),
  scope: z.optional(z.nullable(z.string())),
});
type Renewed = z.infer<typeof Renewed>;

const Refusal = z.object({ error: z.union([z.string(), z.object({ type: z.string() })]) });

/**
 * The login that `claude` made on this machine. A refresh token is good for one renewal, so there is one renewal at a
 * time: in this process, and under the CLI's own lock among processes. Errors hold no token.
 */
export class ClaudeLogin {
  private readonly around: Surroundings;
  private readonly stores: LoginStore[];
  private renewing: Promise<AccessToken> | undefined;
  private renewedAt: number | undefined;

  constructor(around: Surroundings) {
    this.around = around;
    // The CLI falls back to the file where the keychain cannot be used.
    this.stores = [...(around.platform === 'darwin' ? [keychainStore(around)] : []), fileStore(around)];
  }

  async status(): Promise<LoginStatus> {
    const found = await this.find();
    if (found === undefined) return { state: 'absent' };
    const { place } = found.store;
    if ('reason' in found) return { state: 'unusable', place, reason: found.reason };
    const { subscriptionType, expiresAt, refreshToken } = found.oauth;
    const plan = /^[a-z0-9_ -]{1,30}$/i.exec(subscriptionType ?? '')?.[0];
    const prefix = plan === undefined ? '' : `${plan} plan, `;
    if (this.isGood(found.oauth)) {
      const until = expiresAt == null ? 'without an end' : `good until ${dateOf(expiresAt)}`;
      return { state: 'ready', place, detail: prefix + until };
    }
    return refreshToken == null
      ? {
          state: 'expired',
          place,
          detail: `${prefix}expired ${dateOf(expiresAt ?? 0)}, and it cannot be renewed`,
        }
      : { state: 'ready', place, detail: `${prefix}expired, is renewed when it is used` };
  }

  /**
   * A token that is good for some minutes at least; renews it when it is not.
   * @throws SallyportError no_credentials, invalid_credential, auth_expired, auth_refused, model_unreachable
   */
  async token(signal: AbortSignal): Promise<AccessToken> {
    const { oauth } = await this.require();
    return this.isGood(oauth) ? tokenOf(oauth) : await this.renewOnce(oauth.accessToken, signal);
  }

  /**
   * A token other than `previous`: what somebody else got meanwhile, or a new one.
   * @throws SallyportError no_credentials, invalid_credential, auth_expired, auth_refused, model_unreachable
   */
  async renew(previous: string, reason: 'expired' | 'refused', signal: AbortSignal): Promise<AccessToken> {
    const { oauth } = await this.require();
    if (oauth.accessToken !== previous && this.isGood(oauth)) return tokenOf(oauth);
    if (
      reason === 'refused' &&
      this.renewedAt !== undefined &&
      this.around.now() - this.renewedAt < freshMs
    ) {
      throw new SallyportError(
        'auth_refused',
        'The model refuses a Claude login that was renewed just now.',
        'See at claude.ai whether the account is in order, then run `claude` and log in again.',
      );
    }
    return await this.renewOnce(oauth.accessToken, signal);
  }

  /** Parallel tasks share one renewal. It does not end with the first of them that is not interested any more. */
  private async renewOnce(previous: string, signal: AbortSignal): Promise<AccessToken> {
    this.renewing ??= this.renewLocked(previous, AbortSignal.timeout(2 * 60_000)).finally(() => {
      this.renewing = undefined;
    });
    return await orAborted(this.renewing, signal);
  }

  private async renewLocked(previous: string, signal: AbortSignal): Promise<AccessToken> {
    const other = async (): Promise<Oauth | undefined> => {
      const found = await this.find();
      const oauth = found !== undefined && 'oauth' in found ? found.oauth : undefined;
      return oauth !== undefined && oauth.accessToken !== previous && this.isGood(oauth) ? oauth : undefined;
    };
    const lock = await lockLogin(loginFolder(this.around), signal, async () => (await other()) !== undefined);
    try {
      const already = await other();
      if (already !== undefined) return tokenOf(already);
      const { store, oauth } = await this.require();
      if (lock === undefined || lock.lost() || oauth.refreshToken == null) throw expired();
      const replacement = await store.prepare();
      try {
        const renewed = await this.request(oauth.refreshToken, oauth.clientId ?? cliClientId, signal).catch(
          async (thrown: unknown) => {
            // Somebody who takes no lock was quicker: theirs is as good.
            const theirs = await other();
            if (theirs === undefined) throw thrown;
            return theirs;
          },
        );
        if ('accessToken' in renewed) return tokenOf(renewed);
        // Read again: the file holds more than this login, and others write that.
        const now = await store.read();
        const current = 'login' in now ? now.login.claudeAiOauth : undefined;
        // Logged out meanwhile: that is not undone.
        if (!('login' in now) || current == null) throw loggedOut();
        if (current.refreshToken !== oauth.refreshToken && this.isGood(current)) return tokenOf(current);
        const next = merge(current, renewed, this.around.now());
        await replacement.commit(JSON.stringify({ ...now.login, claudeAiOauth: next } satisfies Login));
        this.renewedAt = this.around.now();
        return tokenOf(next);
      } finally {
        await replacement.discard();
      }
    } finally {
      await lock?.release();
    }
  }

  private async request(refreshToken: string, clientId: string, signal: AbortSignal): Promise<Renewed> {
    const response = await this.around
      .fetch(tokenUrl, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify({
          grant_type: 'refresh_token',
          refresh_token: refreshToken,
          client_id: clientId,
        }),
        redirect: 'manual',
        signal: AbortSignal.any([signal, AbortSignal.timeout(requestMs)]),
      })
      .catch((thrown: unknown) => {
        throw new SallyportError(
          'model_unreachable',
          `The Claude login has expired, and platform.claude.com, where it is renewed, does not answer (${codeOf(thrown)}).`,
          'Check the network and its proxy (HTTPS_PROXY), then try again.',
        );
      });
    const json: unknown = await response.json().catch(() => undefined);
    if (response.ok) {
      const renewed = Renewed.safeParse(json);
      if (renewed.success) return renewed.data;
      throw new SallyportError(
        'model_unreachable',
        'The answer to the renewal of the Claude login cannot be understood.',
        'See whether something between this machine and platform.claude.com answers in its place.',
      );
    }
    const refusal = Refusal.safeParse(json);
    const type = refusal.success
      ? typeof refusal.data.error === 'string'
        ? refusal.data.error
        : refusal.data.error.type
      : '';
    if (type === 'invalid_grant' || [401, 404].includes(response.status)) throw expired();
    if (response.status === 429 || response.status === 529) {
      throw new SallyportError(
        'capacity_reached',
        `The Claude login has expired, and cannot be renewed just now: too many requests (HTTP ${response.status}).`,
        'Try again in some minutes.',
      );
    }
    if ([400, 403].includes(response.status)) {
      throw new SallyportError(
        'auth_refused',
        `The renewal of the Claude login was refused (HTTP ${response.status}).`,
        logInAgain,
      );
    }
    throw new SallyportError(
      'model_unreachable',
      `The Claude login has expired, and its renewal failed (HTTP ${response.status}).`,
      'Try again in some minutes.',
    );
  }

  private async require(): Promise<{ store: LoginStore; oauth: Oauth }> {
    const found = await this.find();
    if (found === undefined) throw loggedOut();
    if ('oauth' in found) return found;
    throw new SallyportError(
      'invalid_credential',
      `The Claude login in ${found.store.place} cannot be used: ${found.reason}.`,
      logInAgain,
    );
  }

  /** The first store that holds a login; else the first that cannot be read. */
  private async find(): Promise<
    { store: LoginStore; oauth: Oauth } | { store: LoginStore; reason: string } | undefined
  > {
    let broken: { store: LoginStore; reason: string } | undefined;
    for (const store of this.stores) {
      const read = await store.read();
      if ('login' in read && read.login.claudeAiOauth != null)
        return { store, oauth: read.login.claudeAiOauth };
      if ('unusable' in read) broken ??= { store, reason: read.unusable };
    }
    return broken;
  }

  private isGood({ expiresAt }: Oauth): boolean {
    return expiresAt == null || expiresAt - marginMs > this.around.now();
  }
}

function tokenOf({ accessToken, expiresAt }: Oauth): AccessToken {
  return { value: accessToken, ...(expiresAt == null ? {} : { expiresAt }) };
}

function merge(oauth: Oauth, renewed: Renewed, now: number): Oauth {
  const { access_token, refresh_token, expires_in, refresh_token_expires_in: life, scope } = renewed;
  return {
    ...oauth,
    accessToken: access_token,
    ...(refresh_token === undefined ? {} : { refreshToken: refresh_token }),
    expiresAt: now + expires_in * 1000,
    ...(life == null ? {} : { refreshTokenExpiresAt: now + life * 1000 }),
    ...(scope == null ? {} : { scopes: scope.split(' ').filter((name) => name !== '') }),
  };
}

function expired(): SallyportError {
  return new SallyportError(
    'auth_expired',
    'The Claude login has expired and cannot be renewed: its refresh token is used up or revoked.',
    logInAgain,
  );
}

function loggedOut(): SallyportError {
  return new SallyportError('no_credentials', 'There is no Claude login on this machine.', logInAgain);
}

function dateOf(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) < 8.64e15
    ? `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`
    : 'at an unknown time';
}
