import type { DatabaseSync } from 'node:sqlite';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { type Scope, scopesOf } from '../../protocol/runnerApi.ts';
import type { ServerConfig } from '../config.ts';
import type { Audit, Auth } from '../context.ts';
import type { Principal } from '../principal.ts';
import { Cookies } from './cookies.ts';
import { Grants } from './grants.ts';
import { LockOut } from './lockOut.ts';
import { MagicLinks } from './magicLinks.ts';
import { checkHost, checkOrigin, isGuarded, networkOf, plainAddress } from './origin.ts';
import { Passwords } from './passwords.ts';
import { Backoff, Quota } from './rateLimits.ts';
import { SecretBox } from './secretBox.ts';
import { randomId } from './secretText.ts';
import { Sessions } from './sessions.ts';
import { SetUp } from './setUp.ts';
import { scopesOfToken, Tokens } from './tokens.ts';
import { Users, type UserRow } from './users.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const year = 365 * 24 * hour;

interface AuthOptions {
  config: ServerConfig;
  store: DatabaseSync;
  audit: Audit;
  log: Logger;
  now: () => number;
}

/** Sign-in, sessions and tokens of a server. */
export function createAuth(options: AuthOptions): ServerAuth {
  return new ServerAuth(options);
}

export class ServerAuth implements Auth {
  readonly users: Users;
  readonly sessions: Sessions;
  readonly tokens: Tokens;
  readonly links: MagicLinks;
  readonly grants: Grants;
  readonly passwords = new Passwords();
  readonly cookies: Cookies;
  readonly box: SecretBox;
  readonly setUp: SetUp;
  readonly lockOut: LockOut;
  readonly limits: ReturnType<typeof limitsOf>;
  private readonly config: ServerConfig;
  private readonly audit: Audit;
  private readonly log: Logger;
  private warned = false;

  constructor({ config, store, audit, log, now }: AuthOptions) {
    this.config = config;
    this.audit = audit;
    this.log = log;
    this.users = new Users(store, now);
    this.sessions = new Sessions(store, config.sessionMs, now);
    this.tokens = new Tokens(store, now);
    this.links = new MagicLinks(store, now);
    this.grants = new Grants(now);
    this.cookies = new Cookies(config);
    this.box = new SecretBox([config.secretKey]);
    this.setUp = new SetUp(() => this.needsSetUp());
    this.lockOut = new LockOut(now);
    this.limits = limitsOf(now);
  }

  needsSetUp(): boolean {
    return !this.users.hasAdministrator();
  }

  setUpLink(): string | undefined {
    return this.setUp.link(this.config.publicUrl);
  }

  /**
   * A token in a header comes before a cookie, because no foreign page can send one. One that is shown and not good is
   * refused everywhere; a cookie that is not good any more is none, so that its browser can sign in again.
   */
  identify(request: FastifyRequest): Promise<Principal | undefined> {
    // A promise that rejects, whatever throws.
    return Promise.resolve().then(() => this.whoAsks(request));
  }

  renew({ via, credential }: Principal): Principal | undefined {
    if (via === 'session') return this.ofSession(this.sessions.byId(credential));
    return this.ofToken(this.tokens.byId(credential));
  }

  address(request: FastifyRequest): string {
    if (
      !this.warned &&
      this.config.trustedProxies.length === 0 &&
      request.headers['x-forwarded-for'] !== undefined
    ) {
      this.warned = true;
      this.log.warn(
        'Requests come through a proxy that is not trusted, so that all of them seem to come from one address. Name it in SALLYPORT_TRUSTED_PROXIES.',
      );
    }
    return plainAddress(request.ip);
  }

  /** What limits count: one address, or the many that one person has. */
  network(request: FastifyRequest): string {
    return networkOf(this.address(request));
  }

  /** Begins a session, always a new one; the one that the browser had ends. */
  signIn(request: FastifyRequest, reply: FastifyReply, user: UserRow, how: string): void {
    this.signOut(request);
    const { secret } = this.sessions.start(user.id, request.headers['user-agent'] ?? '');
    this.cookies.set(reply, 'sallyport', secret, this.config.sessionMs);
    const device = this.device(request, user) ?? `${user.id}.${randomId()}`;
    this.cookies.set(reply, 'sallyport-device', device, year);
    this.users.seen(user);
    this.record(request, 'sign_in', { user: user.id, detail: how });
  }

  /** Ends the session of the browser, if it has one. */
  signOut(request: FastifyRequest): void {
    const secret = this.cookies.read(request, 'sallyport');
    const session = secret === undefined ? undefined : this.sessions.find(secret);
    if (session !== undefined) this.sessions.end(session.id);
  }

  /** Of a browser in which this very user has signed in before. */
  device(request: FastifyRequest, user: UserRow | undefined): string | undefined {
    const device = this.cookies.read(request, 'sallyport-device');
    return user !== undefined && device?.startsWith(`${user.id}.`) === true ? device : undefined;
  }

  record(
    request: FastifyRequest,
    action: string,
    entry: { user?: string | undefined; subject?: string; detail?: string } = {},
  ): void {
    this.audit.record({ ...entry, address: this.address(request), action });
  }

  private whoAsks(request: FastifyRequest): Principal | undefined {
    if (!checkHost(this.config, request)) return undefined;
    const token = tokenOf(request);
    if (token !== undefined) {
      const principal = this.ofToken(this.tokens.find(token));
      if (principal !== undefined) return principal;
      this.limits.badTokens.begin(this.network(request));
      throw new SallyportError(
        'unauthorized',
        'The token is not valid, or not any more.',
        'Make a new one in the dashboard, and send it as "Authorization: Bearer slp_…".',
      );
    }
    const secret = this.cookies.read(request, 'sallyport');
    const principal = secret === undefined ? undefined : this.ofSession(this.sessions.find(secret));
    if (isGuarded(request)) checkOrigin(this.config, request, principal !== undefined);
    return principal;
  }

  private ofSession(session: { id: string; user: string } | undefined): Principal | undefined {
    return (
      session && this.principal(session.user, 'session', session.id, ({ role }) => new Set(scopesOf[role]))
    );
  }

  private ofToken(token: ReturnType<Tokens['find']>): Principal | undefined {
    return token && this.principal(token.user, 'token', token.id, ({ role }) => scopesOfToken(token, role));
  }

  private principal(
    id: string,
    via: Principal['via'],
    credential: string,
    scopes: (user: UserRow) => ReadonlySet<Scope>,
  ): Principal | undefined {
    const user = this.users.byId(id);
    if (user === undefined || user.disabled !== 0) return undefined;
    this.users.seen(user);
    const { login, name, role } = user;
    return { user: { id, login, name, role }, scopes: scopes(user), via, credential };
  }
}

/** All in memory, and bounded. */
function limitsOf(now: () => number) {
  return {
    /** By network: it only makes guessing slow that is hopeless anyway, and never keeps a good token out. */
    badTokens: new Backoff({ free: 50, firstMs: second, maxMs: minute, forgetMs: hour }, now),
    setUp: new Backoff({ free: 10, firstMs: second, maxMs: minute, forgetMs: hour }, now),
    exchange: new Backoff({ free: 20, firstMs: second, maxMs: minute, forgetMs: hour }, now),
    usedLinks: new Backoff({ free: 20, firstMs: second, maxMs: minute, forgetMs: hour }, now),
    /** By network; by e-mail address and who asks; by e-mail address. */
    asksForLinks: new Quota(20, 10 * minute, now),
    linksFrom: new Quota(3, 10 * minute, now),
    linksTo: new Quota(10, 10 * minute, now),
    github: new Quota(60, 10 * minute, now),
  };
}

/** The token that a request shows; an empty text for what cannot be one. */
function tokenOf({ headers }: FastifyRequest): string | undefined {
  const { authorization, 'x-api-key': key } = headers;
  const bearer =
    authorization === undefined ? undefined : (/^bearer +(\S+)$/i.exec(authorization)?.[1] ?? '');
  const apiKey = Array.isArray(key) ? '' : key;
  if (bearer !== undefined && apiKey !== undefined && bearer !== apiKey) return '';
  return bearer ?? apiKey;
}
