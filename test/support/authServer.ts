import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DatabaseSync } from 'node:sqlite';
import type { FastifyInstance } from 'fastify';
import { WebSocket } from 'ws';
import * as z from 'zod/mini';
import type { Role } from '../../src/protocol/runnerApi.ts';
import { type AuditLog, createAudit } from '../../src/server/auth/audit.ts';
import { createAuth, type ServerAuth } from '../../src/server/auth/auth.ts';
import { authRoutes } from '../../src/server/auth/authRoutes.ts';
import type { ServerConfig } from '../../src/server/config.ts';
import type { ServerContext } from '../../src/server/context.ts';
import { createApp } from '../../src/server/http/app.ts';
import { Router } from '../../src/server/http/router.ts';
import { openStore } from '../../src/server/store.ts';

export const password = 'correct horse battery';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** What stands there in the JSON, as keys and positions lead to it. */
  at: (...path: (string | number)[]) => unknown;
  textAt: (...path: (string | number)[]) => string;
}

export interface Asked {
  json?: unknown;
  body?: string;
  headers?: Record<string, string>;
  /** The address that the request seems to come from, by a proxy. */
  from?: string;
}

/** A server on the loopback with nothing but sign-in and a few routes to try it on, a real store, and a clock that a test moves. */
export class AuthServer {
  readonly config: ServerConfig;
  readonly store: DatabaseSync;
  readonly auth: ServerAuth;
  readonly audit: AuditLog;
  readonly log: string[] = [];
  now = Date.UTC(2030, 0, 1);
  /** How often the routes to try it on did something. */
  changes = 0;
  private readonly app: FastifyInstance;
  private port = 0;

  private constructor(config: ServerConfig, app: FastifyInstance) {
    this.config = config;
    this.app = app;
    this.store = openStore(':memory:');
    const now = (): number => this.now;
    const line = (message: string): void => void this.log.push(message);
    const log = { debug: line, info: line, warn: line, error: line };
    this.audit = createAudit(this.store, now);
    this.auth = createAuth({ config, store: this.store, audit: this.audit, log, now });
    const { store, auth, audit } = this;
    // The routes of sign-in have no business with tasks.
    const context = { config, store, auth, audit, log, now } as unknown as ServerContext;
    const router = new Router(app, auth);
    authRoutes(router, context);
    this.addProbes(router);
  }

  static async start(changed: Partial<ServerConfig> = {}): Promise<AuthServer> {
    const config: ServerConfig = {
      dataFolder: '/nonexistent',
      host: '127.0.0.1',
      port: 0,
      publicUrl: '',
      allowedHosts: [],
      trustedProxies: ['loopback'],
      secretKey: randomBytes(32),
      sessionMs: 7 * 24 * 60 * 60_000,
      allowedEmails: [],
      allowedDomains: [],
      queue: { parallel: 1, memoryBytes: 1 },
      limits: { findingMs: 1, workMs: 1 },
      privateForges: [],
      distFolder: '/nonexistent',
      containerFolder: '/nonexistent',
      demonstration: false,
      ...changed,
    };
    const server = new AuthServer(
      config,
      await createApp(config, { debug: none, info: none, warn: none, error: none }),
    );
    await server.app.listen({ host: '127.0.0.1', port: 0 });
    server.port = (server.app.server.address() as AddressInfo).port;
    config.port = server.port;
    if (config.publicUrl === '') config.publicUrl = `http://localhost:${server.port}`;
    return server;
  }

  private addProbes(router: Router): void {
    const shared = { tag: 'probe', summary: 'A probe' } as const;
    const schema = z.object({ who: z.optional(z.string()) });
    for (const [method, url, access] of [
      ['GET', '/probe', 'tasks:read'],
      ['POST', '/probe', 'tasks:write'],
      ['POST', '/probe/admin', 'admin'],
      ['GET', '/probe/public', 'public'],
      ['POST', '/probe/public', 'public'],
      ['GET', '/health', 'public'],
    ] as const) {
      router.add({
        ...shared,
        method,
        url,
        access,
        answer: { schema },
        handle: ({ principal }) => {
          if (method === 'POST') this.changes++;
          return Promise.resolve({ who: principal?.user.login });
        },
      });
    }
    router.socket({
      ...shared,
      url: '/probe/socket',
      access: 'tasks:read',
      handle: (socket, { principal }) => {
        this.changes++;
        if (principal === undefined) throw new Error('Nobody asks.');
        socket.on('message', () =>
          socket.send(this.auth.renew(principal) === undefined ? 'gone' : principal.user.login),
        );
        return Promise.resolve();
      },
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** As `config.publicUrl` has it. */
  get origin(): string {
    return new URL(this.config.publicUrl).origin;
  }

  /** A request with just these headers; `host` is that of the public URL. */
  async ask(method: string, path: string, { json, body, headers, from }: Asked = {}): Promise<Answer> {
    const text = json === undefined ? body : JSON.stringify(json);
    const outgoing = httpRequest(`${this.url}${path}`, {
      method,
      agent: false,
      headers: {
        host: new URL(this.config.publicUrl).host,
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(from === undefined ? {} : { 'x-forwarded-for': from }),
        ...headers,
      },
    });
    const answered = once(outgoing, 'response');
    outgoing.end(text);
    const [response] = (await answered) as [IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
    const got = Buffer.concat(parts).toString();
    const at = (...path: (string | number)[]): unknown =>
      path.reduce<unknown>(
        (value, key) => (value as Record<string, unknown> | undefined)?.[key],
        JSON.parse(got),
      );
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      text: got,
      at,
      textAt: (...path) => z.string().parse(at(...path)),
    };
  }

  /** Opens a WebSocket; the status of the refusal when it is refused. */
  async socket(headers: Record<string, string>, path = '/probe/socket'): Promise<WebSocket | number> {
    const { host } = new URL(this.config.publicUrl);
    const socket = new WebSocket(`${this.url.replace('http', 'ws')}${path}`, {
      headers: { host, ...headers },
    });
    return await new Promise((resolve, reject) => {
      socket.on('open', () => resolve(socket));
      socket.on('unexpected-response', (_request, response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      socket.on('error', reject);
    });
  }

  /** A browser that is signed in as the first administrator. */
  async setUp(login = 'ada'): Promise<Browser> {
    const browser = new Browser(this);
    const secret = new URL(this.auth.setUpLink() ?? 'none:').hash.slice(1);
    const answer = await browser.post('/auth/setup', { secret, login, password });
    if (answer.status !== 201) throw new Error(answer.text);
    return browser;
  }

  /** A browser that is signed in as a new user. */
  async user(admin: Browser, login: string, role: Role): Promise<Browser> {
    const made = await admin.post('/api/v1/users', { login, role, password });
    if (made.status !== 201) throw new Error(made.text);
    return await this.signIn(login);
  }

  async signIn(login: string, secret = password): Promise<Browser> {
    const browser = new Browser(this);
    const answer = await browser.post('/auth/login', { login, password: secret });
    if (answer.status !== 200) throw new Error(answer.text);
    return browser;
  }

  /** Actions of the audit log, oldest first. */
  actions(): string[] {
    return this.audit
      .list({ limit: 500 })
      .entries.map(({ action }) => action)
      .reverse();
  }

  async stop(): Promise<void> {
    await this.app.close();
    this.store.close();
  }
}

/** Keeps cookies and tells its origin, as browsers do. */
export class Browser {
  readonly cookies = new Map<string, string>();
  private readonly server: AuthServer;

  constructor(server: AuthServer) {
    this.server = server;
  }

  get(path: string, asked: Asked = {}): Promise<Answer> {
    return this.send('GET', path, asked);
  }

  post(path: string, json?: unknown, asked: Asked = {}): Promise<Answer> {
    return this.send('POST', path, { ...asked, ...(json === undefined ? {} : { json }) });
  }

  async send(method: string, path: string, asked: Asked = {}): Promise<Answer> {
    const answer = await this.server.ask(method, path, {
      ...asked,
      headers: {
        ...(this.cookies.size === 0 ? {} : { cookie: this.cookie }),
        ...(method === 'GET' ? {} : { origin: this.server.origin }),
        ...asked.headers,
      },
    });
    for (const line of answer.headers['set-cookie'] ?? []) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return answer;
  }

  get cookie(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  /** An API token of whoever is signed in. */
  async token(request: Record<string, unknown> = {}): Promise<string> {
    const answer = await this.post('/api/v1/tokens', { name: 'test', ...request });
    if (answer.status !== 201) throw new Error(answer.text);
    return answer.textAt('token');
  }
}

function none(): void {
  // Nobody reads it.
}
