import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket, WebSocketServer } from 'ws';
import { Quarantine } from '../../src/git/quarantine.ts';
import {
  KnownCommitsRequest,
  noSwitches,
  StreamRequest,
  Submission,
  summaryOf,
  UploadRequest,
  type TaskView,
} from '../../src/protocol/runnerApi.ts';
import { defaultLimits, type TaskSpec } from '../../src/protocol/task.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { foldAll } from '../../src/protocol/foldTask.ts';
import type { UnnumberedEvent } from '../../src/runner/taskLog.ts';
import { collect, pieces } from './gitRepo.ts';

interface Task {
  spec: TaskSpec;
  view: TaskView;
  events: unknown[];
  over: boolean;
}

interface Upload {
  request: UploadRequest;
  parts: Buffer;
  complete: boolean;
}

export const anna = { id: 'u1', name: 'Anna', role: 'member' as const };

/**
 * A runner's server as its protocol has it, over real HTTP and WebSockets, with a real repository behind the bundles and
 * no sandbox at all. What it says can be bent in every way, for the sake of clients that must not believe it.
 */
export class FakeRunner {
  version: Record<string, unknown> = { name: 'sallyport-runner', version: '1.2.3', api: 1, oldestApi: 1 };
  user: { id: string; name: string; role: 'admin' | 'member' | 'viewer' } = anna;
  token = 'slp_good';
  readonly tasks = new Map<string, Task>();
  readonly submissions: Submission[] = [];
  readonly keys: string[] = [];
  readonly requests: string[] = [];
  readonly haves: string[][] = [];
  /** Largest piece of an upload that came. */
  uploadedBytes = 0;
  /** Answers a request in its own way; true when it did. */
  onRequest: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** Tells a follower in its own way; true when it did. */
  onFollow: ((socket: WebSocket, task: string, after: number) => boolean) | undefined;
  /** Stands in for the bundle of a task. */
  readonly bundles = new Map<string, Buffer>();
  /** How many events one frame holds. */
  perFrame = 50;
  quarantine: Quarantine;
  private readonly uploads = new Map<string, Upload>();
  private readonly folder: string;
  private readonly server: Server;
  private readonly sockets = new WebSocketServer({ noServer: true });
  private readonly following = new Map<WebSocket, Set<string>>();

  private constructor(folder: string) {
    this.folder = folder;
    this.quarantine = Quarantine.open(join(folder, 'quarantine'), 'server');
    this.server = createServer((request, response) => {
      this.answer(request, response).catch((thrown: unknown) => {
        if (!response.headersSent) response.writeHead(500);
        response.end(String(thrown));
      });
    });
    this.server.on('upgrade', (request, socket, head) => {
      this.requests.push(`WS ${request.url ?? ''}`);
      if (request.headers.authorization !== `Bearer ${this.token}`) {
        socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      this.sockets.handleUpgrade(request, socket, head, (ws) => this.greet(ws));
    });
  }

  static async start(): Promise<FakeRunner> {
    const runner = new FakeRunner(await mkdtemp(join(tmpdir(), 'sallyport-fake-')));
    await new Promise<void>((listening) => runner.server.listen(0, '127.0.0.1', listening));
    return runner;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** How many streams are open. */
  get streams(): number {
    return this.following.size;
  }

  /** A task whose log begins with `submitted`. */
  add(spec: TaskSpec, change: Partial<TaskView> = {}): void {
    const view: TaskView = {
      id: spec.id,
      title: spec.title,
      prompt: spec.prompt,
      source: {
        kind: 'snapshot',
        repository: { id: spec.repository.id, name: spec.repository.name },
        snapshot: spec.snapshot,
      },
      owner: { id: this.user.id, name: this.user.name },
      shared: false,
      priority: 0,
      switches: noSwitches,
      createdAt: spec.createdAt,
      stage: 'task',
      ...change,
    };
    this.tasks.set(spec.id, { spec, view, events: [], over: false });
    this.say(spec.id, { type: 'submitted', t: 1, spec });
    this.broadcast({ type: 'task', task: this.viewOf(spec.id) });
  }

  /** Something happens in a task. */
  say(id: string, ...bodies: UnnumberedEvent[]): void {
    const task = this.task(id);
    const events = bodies.map((body, i) => ({ n: task.events.length + 1 + i, ...body }));
    task.events.push(...events);
    for (const [socket, tasks] of this.following)
      if (tasks.has(id)) this.send(socket, { type: 'events', task: id, events });
  }

  /** The task ends as tasks do. */
  finish(id: string): void {
    this.say(
      id,
      { type: 'ended', t: 2, outcome: 'succeeded', message: 'Done.' },
      { type: 'sandbox_removed', t: 3 },
    );
    const task = this.task(id);
    task.over = true;
    for (const [socket, tasks] of this.following)
      if (tasks.has(id)) this.send(socket, { type: 'over', task: id });
    this.broadcast({ type: 'task', task: this.viewOf(id) });
  }

  /** As when its owner removed it. */
  remove(id: string): void {
    this.tasks.delete(id);
    this.broadcast({ type: 'removed', task: id });
  }

  broadcast(message: unknown): void {
    for (const socket of this.following.keys()) this.send(socket, message);
  }

  /** Ends all streams, with that code. */
  dropStreams(code = 1001): void {
    for (const socket of this.following.keys()) socket.close(code);
  }

  send(socket: WebSocket, message: unknown): void {
    if (socket.readyState === WebSocket.OPEN)
      socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  task(id: string): Task {
    const task = this.tasks.get(id);
    if (task === undefined) throw new Error(`The fake has no task ${id}`);
    return task;
  }

  viewOf(id: string): TaskView {
    const { view, events } = this.task(id);
    const state = foldAll(events as TaskEvent[]);
    return { ...view, ...(state === undefined ? {} : { summary: summaryOf(state) }) };
  }

  private greet(socket: WebSocket): void {
    this.following.set(socket, new Set());
    socket.on('close', () => this.following.delete(socket));
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => {
      const request = StreamRequest.parse(JSON.parse(data.toString()));
      const tasks = this.following.get(socket);
      if (request.type === 'unfollow') tasks?.delete(request.task);
      else if (this.onFollow?.(socket, request.task, request.after) !== true)
        this.follow(socket, request.task, request.after);
    });
    this.send(socket, { type: 'hello', version: this.version, user: this.user });
    this.send(socket, { type: 'tasks', tasks: [...this.tasks.keys()].map((id) => this.viewOf(id)) });
  }

  private follow(socket: WebSocket, id: string, after: number): void {
    const task = this.tasks.get(id);
    if (task === undefined) {
      const problem = problemOf(404, 'task_unknown');
      this.send(socket, { type: 'problem', task: id, problem });
      return;
    }
    this.following.get(socket)?.add(id);
    for (let at = after; at < task.events.length; at += this.perFrame)
      this.send(socket, { type: 'events', task: id, events: task.events.slice(at, at + this.perFrame) });
    if (task.over) this.send(socket, { type: 'over', task: id });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const route = `${request.method ?? ''} ${url.pathname}`;
    this.requests.push(route);
    if (this.onRequest?.(request, response) === true) return;
    const json = (body: unknown, status = 200): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (route === 'GET /api/v1/version') {
      json(this.version);
      return;
    }
    if (request.headers.authorization !== `Bearer ${this.token}`) {
      json(problemOf(401, 'unauthorized'), 401);
      return;
    }
    const body = async (): Promise<unknown> => JSON.parse((await collect(request)).toString()) as unknown;
    const [, id = '', what = ''] = /^\/api\/v1\/tasks\/([a-z0-9]+)\/?([a-z]*)$/.exec(url.pathname) ?? [];
    if (id !== '' && !this.tasks.has(id)) {
      json(problemOf(404, 'task_unknown'), 404);
      return;
    }
    const [, upload = ''] = /^\/api\/v1\/uploads\/([0-9a-f]+)$/.exec(url.pathname) ?? [];
    if (route === 'GET /api/v1/me') {
      const { id: who, name, role } = this.user;
      const user = { id: who, login: 'anna', name, role, disabled: false, createdAt: 1 };
      json({ user, scopes: ['tasks:read', 'tasks:write'], via: 'token' });
    } else if (route === 'POST /api/v1/uploads/known') {
      const { commits } = KnownCommitsRequest.parse(await body());
      const there = await Promise.all(commits.map((sha) => this.quarantine.has(sha)));
      json({ commits: commits.filter((_, i) => there[i]) });
    } else if (route === 'POST /api/v1/uploads') {
      const wanted = UploadRequest.parse(await body());
      const known = [...this.uploads].find(([, { request: old }]) => old.sha256 === wanted.sha256);
      const key = known?.[0] ?? randomBytes(8).toString('hex');
      if (known === undefined)
        this.uploads.set(key, { request: wanted, parts: Buffer.of(), complete: false });
      json(this.uploadState(key));
    } else if (upload !== '') json(await this.continueUpload(upload, request));
    else if (route === 'POST /api/v1/tasks') {
      const submission = Submission.parse(await body());
      this.keys.push(String(request.headers['idempotency-key']));
      this.take(submission);
      json(this.viewOf(submission.id ?? ''), 201);
    } else if (what === 'bundle') {
      const have = (url.searchParams.get('have') ?? '').split(',').filter((sha) => sha !== '');
      this.haves.push(have);
      const bytes = this.bundles.get(id) ?? (await collect(this.quarantine.bundle(id, have)));
      response.writeHead(200, { 'content-type': 'application/x-git-bundle' });
      for await (const piece of pieces(bytes, 1000)) response.write(piece);
      response.end();
    } else if (what === 'cancel') {
      this.say(
        id,
        { type: 'stopping', t: 2 },
        { type: 'ended', t: 2, outcome: 'stopped', message: 'Stopped.' },
      );
      json(this.viewOf(id));
    } else if (request.method === 'DELETE' && what === '') {
      this.remove(id);
      response.writeHead(204).end();
    } else json(problemOf(404, 'not_found'), 404);
  }

  private take(submission: Submission): void {
    const { id = '', source } = submission;
    if (this.tasks.has(id)) return;
    this.submissions.push(submission);
    if (source.kind !== 'snapshot') throw new Error('The fake takes snapshots only');
    this.add({
      id,
      title: submission.title ?? 'A task',
      prompt: submission.prompt,
      agent: { kind: 'claude-code' },
      // A path of its own machine, which means nothing to a client.
      repository: {
        id: `server-${source.repository.id}`.slice(0, 80),
        name: source.repository.name,
        path: '/etc',
      },
      snapshot: source.snapshot,
      branch: submission.branch ?? 'claude/x',
      identity: submission.identity ?? { name: 'x', email: 'x@example.com' },
      limits: defaultLimits,
      model: { label: "the runner's key", demonstration: false },
      ...(submission.egress === undefined
        ? {}
        : { egress: { mode: submission.egress.mode ?? 'list', rules: submission.egress.rules ?? [] } }),
      createdAt: 5,
    });
  }

  private uploadState(key: string): { id: string; offset: number; complete: boolean } {
    const { parts, complete } = this.uploads.get(key) ?? { parts: Buffer.of(), complete: false };
    return { id: key, offset: parts.length, complete };
  }

  private async continueUpload(key: string, request: IncomingMessage): Promise<unknown> {
    const upload = this.uploads.get(key);
    if (upload === undefined) throw new Error('no such upload');
    if (Number(request.headers['upload-offset']) !== upload.parts.length)
      throw new Error('not where it stands');
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        upload.parts = Buffer.concat([upload.parts, chunk]);
        this.uploadedBytes += chunk.length;
      }
    } catch {
      // What came is kept.
    }
    const { bytes, sha256, commit } = upload.request;
    if (upload.parts.length === bytes) {
      if (createHash('sha256').update(upload.parts).digest('hex') !== sha256) throw new Error('another hash');
      await this.quarantine.importBase(commit, pieces(upload.parts), {
        maxBytes: 1 << 30,
        timeoutMs: 60_000,
      });
      upload.complete = true;
    }
    return this.uploadState(key);
  }

  async close(): Promise<void> {
    for (const socket of this.following.keys()) socket.terminate();
    this.server.closeAllConnections();
    await new Promise((closed) => this.server.close(closed));
    await rm(this.folder, { recursive: true, force: true });
  }
}

function problemOf(status: number, code: string): Record<string, unknown> {
  return {
    type: `urn:sallyport:${code}`,
    title: code,
    status,
    detail: `It is ${code}.`,
    code,
    mend: 'Do it.',
  };
}
