import type { WebSocket } from '@fastify/websocket';
import { pause } from '../../base/pause.ts';
import { asSallyportError, SallyportError } from '../../base/errors.ts';
import { type StreamMessage, StreamRequest, type TaskView } from '../../protocol/runnerApi.ts';
import { versionOf } from '../http/health.ts';
import { problemOf } from '../http/problem.ts';
import type { Principal } from '../principal.ts';
import type { Follow } from './follow.ts';
import { farewells, type StreamHub } from './hub.ts';
import { SocketClient } from './socketClient.ts';

/** So many changed tasks are told in one turn. */
const tasksPerTurn = 50;

/** The WebSocket of one client: the tasks that its user may see, their changes, and the events of those it follows. */
export class StreamSocket {
  private readonly hub: StreamHub;
  private readonly client: SocketClient;
  private readonly follows = new Map<string, Follow>();
  private readonly visible: Set<string>;
  /** The newest word on a task that is not sent yet; undefined for one that is gone. */
  private readonly pending = new Map<string, TaskView | undefined>();
  private telling = false;

  constructor(hub: StreamHub, socket: WebSocket, principal: Principal) {
    this.hub = hub;
    this.client = new SocketClient(hub, socket, principal, {
      message: (text) => this.take(text),
      renewed: () => this.renewed(),
      changed: (view) => this.changed(view),
      removed: (id) => this.removed(id),
    });
    const { tasks, version } = hub.context;
    this.client.signal.addEventListener('abort', () => {
      for (const follow of [...this.follows.values()]) follow.dispose();
      this.follows.clear();
      this.pending.clear();
    });
    const { id, name, role } = principal.user;
    this.say({ type: 'hello', version: versionOf(version), user: { id, name, role } });
    const all = tasks.all(principal.user);
    this.visible = new Set(all.map((view) => view.id));
    this.say({ type: 'tasks', tasks: all });
  }

  private say(message: StreamMessage): void {
    this.client.sink.send(Buffer.from(JSON.stringify(message)));
  }

  private take(text: string): void {
    const request = StreamRequest.safeParse(jsonOf(text));
    if (!request.success) {
      this.client.close(farewells.badMessage);
      return;
    }
    const { task } = request.data;
    this.follows.get(task)?.dispose();
    this.follows.delete(task);
    if (request.data.type === 'unfollow') return;
    try {
      if (this.follows.size >= this.hub.limits.followsPerSocket) {
        throw new SallyportError(
          'too_many_requests',
          `One stream follows ${this.hub.limits.followsPerSocket} tasks at most.`,
          'Unfollow some, or open another stream.',
        );
      }
      const follow = this.hub.follow(this.client.connection, task, request.data.after);
      this.follows.set(task, follow);
      void this.tell(follow);
    } catch (thrown) {
      this.say({ type: 'problem', task, problem: problemOf(thrown) });
    }
  }

  private async tell(follow: Follow): Promise<void> {
    const { task } = follow;
    const current = (): boolean => !this.client.signal.aborted && this.follows.get(task) === follow;
    try {
      while (current() && (await follow.ready()) === 'more') await this.tellNext(follow, current);
      if (current()) this.say({ type: 'over', task });
    } catch (thrown) {
      if (current()) this.say({ type: 'problem', task, problem: problemOf(thrown) });
      const error = asSallyportError(thrown);
      if (error.code === 'internal') this.hub.context.log.error(`Following ${task}: ${error.message}`);
    } finally {
      follow.dispose();
      if (this.follows.get(task) === follow) this.follows.delete(task);
    }
  }

  /** Apart from the loop around it, which would hold on to what was sent last for as long as it waits. */
  private async tellNext(follow: Follow, current: () => boolean): Promise<void> {
    const { sink } = this.client;
    const end = await sink.turn();
    try {
      for (const batch of current() ? await follow.next() : []) {
        if (!current()) break;
        sink.send(batch.frame(follow.task));
        this.hub.sent(batch.count);
      }
    } finally {
      end();
    }
  }

  private changed(view: TaskView): void {
    if (this.hub.context.tasks.mayRead(this.client.connection.user, view)) {
      this.visible.add(view.id);
      this.note(view.id, view);
    } else this.removed(view.id);
  }

  private removed(id: string): void {
    if (this.visible.delete(id)) this.note(id, undefined);
  }

  /** The user has another role, and with it may see other tasks. */
  private renewed(): void {
    const all = new Map(
      this.hub.context.tasks.all(this.client.connection.user).map((view) => [view.id, view]),
    );
    for (const id of [...this.visible]) if (!all.has(id)) this.removed(id);
    for (const view of all.values()) if (!this.visible.has(view.id)) this.changed(view);
  }

  /** What waits to be told is the newest word on each task, however slow the reader is. */
  private note(id: string, view: TaskView | undefined): void {
    this.pending.set(id, view);
    if (!this.telling) void this.tellTasks();
  }

  /** The first change goes out at once, and those that follow it shortly go together. */
  private async tellTasks(): Promise<void> {
    const { sink, signal } = this.client;
    this.telling = true;
    while (this.pending.size > 0) {
      const end = await sink.turn();
      for (const [id, view] of [...this.pending].slice(0, tasksPerTurn)) {
        this.pending.delete(id);
        if (view === undefined) this.say({ type: 'removed', task: id });
        else sink.send(this.hub.taskMessage(view));
      }
      end();
      // Never all clients at the same moment.
      if (this.pending.size === 0) await pause(this.hub.limits.changesMs * (0.5 + Math.random()), signal);
    }
    this.telling = false;
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
