import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Role, Scope, TaskPage } from '../../src/protocol/runnerApi.ts';
import type { ResolvedModel } from '../../src/runner/taskService.ts';
import { defaultPolicy, type UserPolicy } from '../../src/runner/userPolicy.ts';
import { readConfig } from '../../src/server/operation/readConfig.ts';
import { type RunningServer, startServer } from '../../src/server/startServer.ts';
import type { Turns } from './tasks.ts';

const root = resolve(import.meta.dirname, '..', '..');

export interface TestServerOptions {
  /** Address of the engine; one that nobody listens at when the test needs none. */
  engine?: string;
  /** The data folder; a new one that goes with the server when it is not named. */
  data?: string;
  /** Of the configuration, on top of what a test needs. */
  env?: Record<string, string>;
  port?: number;
  turns?: Turns;
  policy?: UserPolicy;
  /** Stands in for the scripted model. */
  credentials?: () => Promise<ResolvedModel>;
  containerFolder?: string;
  /** Longest log of a task from the next start on, in bytes. */
  logBytes?: number;
  /** The clock, in milliseconds since the epoch. */
  now?: () => number;
}

/** A port of the loopback that is free now. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((listening) => probe.listen(0, '127.0.0.1', listening));
  const { port } = probe.address() as AddressInfo;
  await new Promise((closed) => probe.close(closed));
  return port;
}

/** A real server on the loopback, with a scripted model behind real gateways, and people who use it. */
export class TestServer {
  readonly data: string;
  /** What the model answers from the next task on. */
  turns: Turns;
  policy: UserPolicy;
  readonly log: string[] = [];
  running: RunningServer;
  private readonly options: TestServerOptions;
  private readonly port: number;
  private admin: string | undefined;

  private constructor(options: TestServerOptions, data: string, port: number) {
    this.options = options;
    this.data = data;
    this.port = port;
    this.turns = options.turns ?? [{ text: 'Done.' }];
    this.policy = options.policy ?? { ...defaultPolicy, holdMs: 3000 };
    this.running = undefined as unknown as RunningServer;
  }

  static async start(options: TestServerOptions = {}): Promise<TestServer> {
    const data = options.data ?? (await mkdtemp(join(tmpdir(), 'sallyport-server-')));
    const server = new TestServer(options, data, options.port ?? (await freePort()));
    await server.begin();
    return server;
  }

  get url(): string {
    return `http://localhost:${this.port}`;
  }

  private async begin(): Promise<void> {
    const env = { SALLYPORT_HOME: this.data, SALLYPORT_PORT: String(this.port), ...this.options.env };
    const line = (level: string) => (message: string) => void this.log.push(`${level} ${message}`);
    this.running = await startServer({
      config: {
        ...readConfig(env, {
          distFolder: join(root, 'dist'),
          containerFolder: this.options.containerFolder ?? join(root, 'container'),
        }),
        engine: this.options.engine ?? 'unix:///nowhere/engine.sock',
      },
      version: '0.0.0-test',
      log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
      credentials:
        this.options.credentials ??
        ((): Promise<ResolvedModel> =>
          Promise.resolve({
            label: 'scripted model',
            demonstration: true,
            upstream: { kind: 'scripted', turns: this.turns },
          })),
      ...(this.options.logBytes === undefined ? {} : { logBytes: this.options.logBytes }),
      ...(this.options.now === undefined ? {} : { now: this.options.now }),
      policy: () => this.policy,
    });
  }

  /** As after an orderly end: the same data, the same port. */
  async restart(): Promise<void> {
    await this.running.close();
    await this.begin();
  }

  /** A request with whatever credential; throws nothing, answers everything. */
  fetch(path: string, init: RequestInit & { token?: string; json?: unknown } = {}): Promise<Response> {
    const { token, json, headers, ...rest } = init;
    return fetch(`${this.url}${path}`, {
      redirect: 'manual',
      ...rest,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(headers as Record<string, string> | undefined),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    });
  }

  /** As `fetch`; the JSON of a good answer, and an error with its text for another. */
  async ask<T>(path: string, init: Parameters<TestServer['fetch']>[1] = {}): Promise<T> {
    const answer = await this.fetch(path, init);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${init.method ?? 'GET'} ${path}: ${answer.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Signs in with the set-up link or the password; the cookie that the browser would keep. */
  async session(login = 'admin'): Promise<string> {
    const link = this.running.context.auth.setUpLink();
    const secret = link === undefined ? undefined : new URL(link).hash.slice(1).replace(/^secret=/, '');
    const path = secret === undefined ? '/auth/login' : '/auth/setup';
    const answer = await this.fetch(path, {
      method: 'POST',
      headers: { origin: this.url },
      json: { login, password: 'correct horse battery', ...(secret === undefined ? {} : { secret }) },
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.headers
      .getSetCookie()
      .map((cookie) => cookie.split(';', 1)[0] ?? '')
      .filter((cookie) => !cookie.endsWith('='))
      .join('; ');
  }

  /** A session of a user with that role, made by the administrator. */
  async user(login: string, role: Role): Promise<string> {
    this.admin ??= await this.session();
    await this.ask('/api/v1/users', {
      method: 'POST',
      headers: { cookie: this.admin, origin: this.url },
      json: { login, name: login, role, password: 'correct horse battery' },
    });
    return await this.session(login);
  }

  /** A token for a session. */
  async token(cookie: string, scopes: Scope[], name = 'test'): Promise<string> {
    const { token } = await this.ask<{ token: string }>('/api/v1/tokens', {
      method: 'POST',
      headers: { cookie, origin: this.url },
      json: { name, scopes },
    });
    return token;
  }

  /** A token of the administrator's that may do everything. */
  async adminToken(): Promise<string> {
    this.admin ??= await this.session();
    return await this.token(this.admin, ['tasks:read', 'tasks:write', 'account', 'admin']);
  }

  /** So that no sandbox outlives the test: what runs goes on without its server. */
  async removeTasks(token: string): Promise<void> {
    const { tasks } = await this.ask<TaskPage>('/api/v1/tasks?limit=100', { token });
    for (const { id } of tasks) await this.ask(`/api/v1/tasks/${id}?force=true`, { method: 'DELETE', token });
  }

  async close(): Promise<void> {
    await this.running.close();
    if (this.options.data === undefined) await rm(this.data, { recursive: true, force: true });
  }
}

export function startTestServer(options?: TestServerOptions): Promise<TestServer> {
  return TestServer.start(options);
}
