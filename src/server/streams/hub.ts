import { asSallyportError, SallyportError } from '../../base/errors.ts';
import { DisposableStore, type Disposable } from '../../base/disposable.ts';
import { closeCodes, type StreamMessage, type TaskView } from '../../protocol/runnerApi.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import type { ServerContext } from '../context.ts';
import { notFound } from '../http/problem.ts';
import type { Principal, User } from '../principal.ts';
import { TaskBroadcast } from './broadcast.ts';
import { Follow } from './follow.ts';
import { type StreamLimits, streamLimits } from './limits.ts';

/** Why a server ends a stream: the code of a WebSocket's close, and what it means. */
export interface Farewell {
  code: number;
  reason: string;
}

export const farewells = {
  unauthorized: { code: closeCodes.unauthorized, reason: 'The credential is not valid any more.' },
  forbidden: { code: closeCodes.forbidden, reason: 'The credential may not read tasks any more.' },
  tooSlow: { code: closeCodes.tooSlow, reason: 'The reader did not keep up.' },
  badMessage: { code: closeCodes.badMessage, reason: 'The message is none that this server knows.' },
  silent: { code: 1001, reason: 'The client did not answer.' },
  goingAway: { code: 1001, reason: 'The server is closing.' },
} as const satisfies Record<string, Farewell>;

/** What the hub has to do with whoever holds a stream open. */
export interface StreamClient {
  /** Looked at every second or so; says why the stream is to end. */
  look(): Farewell | undefined;
  /** The user has become another one, in name or role. */
  renewed(): void;
  /** A task is new or another one, whether this reader may see it or not. */
  changed(view: TaskView): void;
  removed(id: string): void;
  close(farewell: Farewell): void;
}

/** One open stream: who reads, as it is known now, and which tasks. */
export class Connection implements Disposable {
  principal: Principal;
  readonly client: StreamClient;
  /** What ends when the reader may not see a task any more. */
  readonly guarded = new Map<string, Set<(thrown: unknown) => void>>();
  private readonly onDispose: (connection: Connection) => void;

  constructor(principal: Principal, client: StreamClient, onDispose: (connection: Connection) => void) {
    this.principal = principal;
    this.client = client;
    this.onDispose = onDispose;
  }

  get user(): User {
    return this.principal.user;
  }

  /** Calls `onLost` when the task is removed, or is not for this reader any more. */
  guard(task: string, onLost: (thrown: unknown) => void): Disposable {
    const all = this.guarded.get(task) ?? new Set();
    this.guarded.set(task, all.add(onLost));
    return {
      dispose: () => {
        all.delete(onLost);
        if (all.size === 0) this.guarded.delete(task);
      },
    };
  }

  lose(task: string): void {
    for (const onLost of [...(this.guarded.get(task) ?? [])]) onLost(notFound(`task ${task}`));
  }

  dispose(): void {
    this.onDispose(this);
  }
}

/** Counted since the server started, but for what is open now. */
export interface StreamCounters {
  /** WebSockets and other streams that are open now. */
  open: number;
  /** Tasks whose log is being read for somebody now. */
  tasks: number;
  /** Events, each as often as it was sent. */
  eventsSent: number;
  /** Readers that were closed because they did not keep up. */
  slowClosed: number;
}

type Needs = Pick<ServerContext, 'tasks' | 'auth' | 'log' | 'version'>;

interface Shared {
  broadcast: TaskBroadcast;
  follows: Map<Follow, Connection>;
}

/** Everything that is open towards readers: one live reading of a log for all who follow it, and who they are. */
export class StreamHub implements Disposable {
  readonly context: Needs;
  readonly limits: StreamLimits;
  private readonly shared = new Map<string, Shared>();
  private readonly connections = new Set<Connection>();
  private readonly perUser = new Map<string, number>();
  private readonly undo = new DisposableStore();
  private readonly encoded = new WeakMap<TaskView, Buffer>();
  private eventsSent = 0;
  private slowClosed = 0;
  private disposed = false;

  constructor(context: Needs, limits: Partial<StreamLimits> = {}) {
    this.context = context;
    this.limits = { ...streamLimits, ...limits };
    const { tasks } = context;
    this.undo.add(tasks.onDidChange((view) => this.changed(view)));
    this.undo.add(tasks.onDidRemove((id) => this.removed(id)));
    const sweep = setInterval(() => this.sweep(), this.limits.sweepMs);
    sweep.unref();
    this.undo.add({ dispose: () => clearInterval(sweep) });
  }

  /** Registers an open stream. Throws `too_many_requests`. */
  connect(principal: Principal, client: StreamClient): Connection {
    const { id } = principal.user;
    const mine = this.perUser.get(id) ?? 0;
    if (mine >= this.limits.connectionsPerUser || this.connections.size >= this.limits.connections) {
      throw new SallyportError(
        'too_many_requests',
        'Too many streams are open.',
        'Close some; one stream can follow many tasks.',
      );
    }
    if (this.disposed)
      throw new SallyportError('cancelled', 'The server is closing.', 'Connect again in a moment.');
    this.perUser.set(id, mine + 1);
    const connection = new Connection(principal, client, (one) => {
      if (!this.connections.delete(one)) return;
      const left = (this.perUser.get(id) ?? 1) - 1;
      if (left > 0) this.perUser.set(id, left);
      else this.perUser.delete(id);
    });
    this.connections.add(connection);
    return connection;
  }

  /** Follows a task for somebody. Throws `task_unknown`. `until` ends it there, though the log may go on. */
  follow(connection: Connection, id: string, after: number, until?: number): Follow {
    const { tasks } = this.context;
    const view = tasks.get(connection.user, id);
    let shared = this.shared.get(id);
    if (shared === undefined || shared.broadcast.ended) {
      const last = Number(view.state?.['lastEvent'] ?? view.summary?.lastEvent ?? 0);
      const fresh: Shared = { broadcast: new TaskBroadcast(last, this.limits), follows: new Map() };
      this.shared.set(id, fresh);
      void fresh.broadcast
        .run((from, signal) => this.readForAll(id, fresh, connection.user, from, signal))
        .then(() => this.forget(id, fresh));
      shared = fresh;
    }
    const mine = shared;
    const guard = connection.guard(id, (thrown) => follow.fail(thrown));
    const follow = new Follow({
      task: id,
      after,
      until,
      broadcast: mine.broadcast,
      read: (from, signal) => tasks.events(connection.user, id, from, signal),
      onDispose: () => {
        guard.dispose();
        mine.follows.delete(follow);
        if (mine.follows.size > 0) return;
        mine.broadcast.dispose();
        this.forget(id, mine);
      },
    });
    mine.follows.set(follow, connection);
    return follow;
  }

  /** The log as one of the followers may read it; when that one may not any more, as another may. */
  private async *readForAll(
    id: string,
    { follows }: Shared,
    first: User,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent[], void> {
    const { tasks } = this.context;
    const refused = new Set<string>();
    let last = after;
    for (let user = first; ;) {
      try {
        for await (const events of tasks.events(user, id, last, signal)) {
          last = events.at(-1)?.n ?? last;
          yield events;
        }
        return;
      } catch (thrown) {
        const { code } = asSallyportError(thrown);
        refused.add(user.id);
        const others = [...follows.values()].filter((one) => !refused.has(one.user.id));
        const other = others.find((one) => this.mayRead(one.user, id));
        if ((code !== 'task_unknown' && code !== 'forbidden') || other === undefined) throw thrown;
        user = other.user;
      }
    }
  }

  private mayRead(user: User, id: string): boolean {
    try {
      this.context.tasks.get(user, id);
      return true;
    } catch {
      return false;
    }
  }

  counters(): StreamCounters {
    return {
      open: this.connections.size,
      tasks: this.shared.size,
      eventsSent: this.eventsSent,
      slowClosed: this.slowClosed,
    };
  }

  /** The message `task` of the stream socket, without the task's state: encoded once for all who get it. */
  taskMessage(view: TaskView): Buffer {
    const known = this.encoded.get(view);
    if (known !== undefined) return known;
    const { state: _, ...task } = view;
    const bytes = Buffer.from(JSON.stringify({ type: 'task', task } satisfies StreamMessage));
    this.encoded.set(view, bytes);
    return bytes;
  }

  sent(events: number): void {
    this.eventsSent += events;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.undo.dispose();
    for (const { client } of [...this.connections]) client.close(farewells.goingAway);
    for (const { broadcast } of this.shared.values()) broadcast.dispose();
    this.shared.clear();
  }

  private forget(id: string, shared: Shared): void {
    if (this.shared.get(id) === shared) this.shared.delete(id);
  }

  private changed(view: TaskView): void {
    for (const connection of this.connections) {
      connection.client.changed(view);
      if (!connection.guarded.has(view.id)) continue;
      if (!this.context.tasks.mayRead(connection.user, view)) connection.lose(view.id);
    }
  }

  private removed(id: string): void {
    for (const connection of this.connections) {
      connection.client.removed(id);
      connection.lose(id);
    }
  }

  /** Ends what is stalled, and what is open for somebody who may not any more. */
  private sweep(): void {
    const known = new Map<string, Principal | undefined>();
    for (const connection of [...this.connections]) {
      const farewell = this.rightsOf(connection, known) ?? connection.client.look();
      if (farewell === undefined) continue;
      if (farewell.code === closeCodes.tooSlow) this.slowClosed += 1;
      connection.client.close(farewell);
    }
  }

  private rightsOf(connection: Connection, known: Map<string, Principal | undefined>): Farewell | undefined {
    const { principal } = connection;
    const key = `${principal.via} ${principal.credential}`;
    if (!known.has(key)) {
      try {
        known.set(key, this.context.auth.renew(principal));
      } catch (thrown) {
        // What cannot be asked for now is asked for again.
        this.context.log.warn(`A credential could not be looked at: ${asSallyportError(thrown).message}`);
        known.set(key, principal);
      }
    }
    const renewed = known.get(key);
    if (renewed === undefined) return farewells.unauthorized;
    if (!renewed.scopes.has('tasks:read')) return farewells.forbidden;
    const { user } = principal;
    connection.principal = renewed;
    if (renewed.user.role === user.role && renewed.user.name === user.name) return undefined;
    this.relook(connection);
    connection.client.renewed();
    return undefined;
  }

  /** After a change of the role: what may not be seen any more is lost. */
  private relook(connection: Connection): void {
    for (const id of [...connection.guarded.keys()]) {
      if (!this.mayRead(connection.user, id)) connection.lose(id);
    }
  }
}

const hubs = new WeakMap<object, StreamHub>();

/** The hub of a server, made when it is first asked for. */
export function streamsOf(context: ServerContext): StreamHub {
  return hubs.get(context) ?? adoptHub(context, new StreamHub(context));
}

/** Gives a server its hub, where it is to be another than the usual one. */
export function adoptHub(context: ServerContext, hub: StreamHub): StreamHub {
  hubs.set(context, hub);
  return hub;
}
