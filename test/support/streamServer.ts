import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import WebSocket from 'ws';
import { SallyportError } from '../../src/base/errors.ts';
import type { Logger } from '../../src/base/logger.ts';
import { type Role, scopesOf } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { ServerConfig } from '../../src/server/config.ts';
import type { ServerContext } from '../../src/server/context.ts';
import { createApp } from '../../src/server/http/app.ts';
import { Router } from '../../src/server/http/router.ts';
import type { Principal, User } from '../../src/server/principal.ts';
import { adoptHub, StreamHub } from '../../src/server/streams/hub.ts';
import type { StreamLimits } from '../../src/server/streams/limits.ts';
import { streamRoutes } from '../../src/server/streams/routes.ts';
import { FakeServerTasks } from './fakeServerTasks.ts';

export function aUser(name: string, role: Role = 'member'): User {
  return { id: name, login: name, name, role };
}

export const ada = aUser('ada');
export const grace = aUser('grace');

/** A server on the loopback with the routes of streams, fake tasks, and tokens that are the names of users. */
export class StreamServer {
  readonly tasks: FakeServerTasks;
  readonly hub: StreamHub;
  readonly context: ServerContext;
  readonly users = new Map<string, User>([
    ['ada', ada],
    ['grace', grace],
  ]);
  /** Credentials that are not valid any more. */
  readonly revoked = new Set<string>();
  readonly said: string[] = [];
  port = 0;
  private readonly close: () => Promise<void>;
  private readonly sockets = new Set<WebSocket>();

  private constructor(
    tasks: FakeServerTasks,
    context: ServerContext,
    hub: StreamHub,
    close: () => Promise<void>,
  ) {
    this.tasks = tasks;
    this.context = context;
    this.hub = hub;
    this.close = close;
  }

  static async start(
    limits: Partial<StreamLimits> = {},
    more: (router: Router, context: ServerContext) => void = () => undefined,
  ): Promise<StreamServer> {
    const tasks = await FakeServerTasks.create();
    const line = (level: string) => (message: string) => void server.said.push(`${level} ${message}`);
    const log: Logger = {
      debug: line('debug'),
      info: line('info'),
      warn: line('warn'),
      error: line('error'),
    };
    const config = { trustedProxies: [], publicUrl: 'http://localhost' } as unknown as ServerConfig;
    const app = await createApp(config, log);
    const renew = (principal: Principal): Principal | undefined => {
      const user = server.users.get(principal.credential);
      if (user === undefined || server.revoked.has(principal.credential)) return undefined;
      return { ...principal, user, scopes: new Set(scopesOf[user.role]) };
    };
    const auth = {
      renew,
      address: () => '127.0.0.1',
      identify: (request: { headers: Record<string, unknown> }): Promise<Principal | undefined> => {
        const sent = request.headers['authorization'] ?? request.headers['x-api-key'];
        if (typeof sent !== 'string') return Promise.resolve(undefined);
        const credential = sent.replace(/^Bearer /, '');
        const found = renew({ user: ada, scopes: new Set(), via: 'token', credential });
        if (found !== undefined) return Promise.resolve(found);
        return Promise.reject(new SallyportError('unauthorized', 'The token is not valid.', 'Use another.'));
      },
    };
    const context = {
      config,
      auth,
      tasks,
      log,
      version: '1.2.3',
      now: Date.now,
      audit: { record: () => undefined },
    } as unknown as ServerContext;
    const hub = new StreamHub(context, { sweepMs: 50, ...limits });
    adoptHub(context, hub);
    const router = new Router(app, context.auth);
    streamRoutes(router, context);
    more(router, context);
    const server = new StreamServer(tasks, context, hub, async () => {
      hub.dispose();
      await app.close();
      await tasks.discard();
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    server.port = (app.server.address() as AddressInfo).port;
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  fetch(path: string, init: RequestInit & { user?: string } = {}): Promise<Response> {
    const { user = 'ada', headers, ...rest } = init;
    return fetch(`${this.url}${path}`, {
      ...rest,
      headers: { authorization: `Bearer ${user}`, ...(headers as Record<string, string> | undefined) },
    });
  }

  async text(path: string, init?: Parameters<StreamServer['fetch']>[1]): Promise<string> {
    return await (await this.fetch(path, init)).text();
  }

  /** A WebSocket with all that comes over it. */
  socket(path: string, user = 'ada'): Listener {
    const socket = new WebSocket(`ws://127.0.0.1:${this.port}${path}`, {
      headers: { authorization: `Bearer ${user}` },
      perMessageDeflate: false,
    });
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    return new Listener(socket);
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.terminate();
    await this.close();
  }
}

interface Message {
  type: string;
  task?: unknown;
  events?: TaskEvent[];
  [key: string]: unknown;
}

/** What came over a socket, and waiting for more. */
export class Listener {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  closed: { code: number; reason: string } | undefined;
  private wake: (() => void) | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => {
      this.messages.push(JSON.parse(data.toString()) as Message);
      this.wake?.();
    });
    socket.on('error', () => undefined);
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.wake?.();
    });
  }

  async open(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, 'open');
    return this;
  }

  send(message: unknown): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  /** Waits until `wanted` finds something in what came. */
  async until<T>(wanted: (messages: Message[]) => T | undefined | false): Promise<T> {
    for (;;) {
      const found = wanted(this.messages);
      if (found !== undefined && found !== false) return found;
      if (this.closed !== undefined)
        throw new Error(`The socket closed with ${this.closed.code} ${this.closed.reason}`);
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  async type(type: string): Promise<Message> {
    return await this.until((messages) => messages.find((message) => message.type === type));
  }

  async close(): Promise<{ code: number; reason: string }> {
    while (this.closed === undefined) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.closed;
  }

  /** Numbers of all events of a task that came. */
  numbers(task?: string): number[] {
    return this.messages
      .filter((message) => message.type === 'events' && (task === undefined || message.task === task))
      .flatMap(({ events = [] }) => events.map(({ n }) => n));
  }
}

/** 1 … n. */
export function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1);
}
