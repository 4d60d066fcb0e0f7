import type { Role, StreamMessage, StreamRequest, TaskView } from '../../src/protocol/runnerApi.ts';
import { apiVersion, closeCodes } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';

/** Whoever is signed in. */
export interface Me {
  id: string;
  name: string;
  role: Role;
}

export interface Follower {
  /** Number of the last event that it has. */
  last(): number;
  events(events: readonly TaskEvent[]): void;
  /** All that the log will ever hold is through. */
  over(): void;
}

/** `lost`: it tries again by itself. `stale`: the server is too new for this page. */
export type Connection = 'connecting' | 'live' | 'lost' | 'stale';

/** As much of a WebSocket as is needed here. */
export interface Socket {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

/** First and longest wait before another attempt, in milliseconds. */
const firstWait = 500;
const longestWait = 15_000;

/**
 * The one stream of a page: all tasks that the user may see, every change, and the events of those that are followed.
 * A connection that is lost comes back by itself, and goes on after the last event that came.
 */
export class Live {
  readonly tasks = new Map<string, TaskView>();
  connection: Connection = 'connecting';
  /** All tasks are there. */
  complete = false;
  /** When the next attempt is made while the connection is lost, in milliseconds since the epoch. */
  nextAttempt = 0;
  onChange: () => void = () => undefined;
  onSignedOut: () => void = () => undefined;
  private readonly connect: () => Socket;
  private readonly stillSignedIn: () => Promise<boolean>;
  private readonly followers = new Map<string, Set<Follower>>();
  /** Tasks of whose log the server has said that no more comes for now. */
  private readonly over = new Set<string>();
  private socket: Socket | undefined;
  private greeted = false;
  /** What is known is from before this connection. */
  private outdated = true;
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopped = false;

  /** @param stillSignedIn asks the server in another way, when it does not take the connection */
  constructor(connect: () => Socket, stillSignedIn: () => Promise<boolean>) {
    this.connect = connect;
    this.stillSignedIn = stillSignedIn;
  }

  start(): void {
    this.stopped = false;
    this.connection = 'connecting';
    this.attempt();
  }

  /** Does not wait for the next attempt, such as when the machine is online again. */
  hurry(): void {
    if (this.stopped || this.socket !== undefined) return;
    this.attempt();
  }

  /**
   * Brings a task's events after `follower.last()`, now and live, and after each loss of the connection.
   * @returns ends it
   */
  follow(task: string, follower: Follower): () => void {
    const others = this.followers.get(task) ?? new Set();
    others.add(follower);
    this.followers.set(task, others);
    if (this.greeted) this.ask({ type: 'follow', task, after: follower.last() });
    return () => {
      if (!others.delete(follower) || others.size > 0) return;
      this.followers.delete(task);
      if (this.greeted) this.ask({ type: 'unfollow', task });
    };
  }

  /** What the server answered to a change that this page made; its stream says it again. */
  put(task: TaskView): void {
    this.tasks.set(task.id, withoutState(task));
    this.onChange();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.socket?.close();
    this.socket = undefined;
    this.greeted = false;
    this.complete = false;
    this.tasks.clear();
    this.followers.clear();
  }

  private attempt(): void {
    clearTimeout(this.timer);
    const socket = this.connect();
    this.socket = socket;
    this.greeted = false;
    socket.onmessage = ({ data }) => {
      if (this.socket === socket && typeof data === 'string') this.take(JSON.parse(data) as StreamMessage);
    };
    socket.onclose = ({ code }) => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      void this.closed(code);
    };
  }

  private async closed(code: number): Promise<void> {
    const greeted = this.greeted;
    this.greeted = false;
    if (this.stopped) return;
    if (code === closeCodes.unauthorized || (!greeted && !(await this.stillSignedIn()))) {
      this.onSignedOut();
      return;
    }
    if (this.isStopped() || this.socket !== undefined) return;
    const wait = Math.min(longestWait, firstWait * 2 ** this.failures) * (0.75 + Math.random() / 2);
    this.failures += 1;
    this.connection = 'lost';
    this.nextAttempt = Date.now() + wait;
    this.timer = setTimeout(() => this.attempt(), wait);
    this.onChange();
  }

  /** Asked anew after a wait. */
  private isStopped(): boolean {
    return this.stopped;
  }

  private take(message: StreamMessage): void {
    switch (message.type) {
      case 'hello':
        this.greeted = true;
        this.outdated = true;
        this.failures = 0;
        this.connection = message.version.oldestApi > apiVersion ? 'stale' : 'live';
        this.over.clear();
        for (const task of this.followers.keys()) this.followAgain(task);
        break;
      case 'tasks':
        // What was removed while the connection was lost is not among them.
        if (this.outdated) this.tasks.clear();
        this.outdated = false;
        for (const task of message.tasks) this.tasks.set(task.id, task);
        this.complete = true;
        break;
      case 'task': {
        const { id, summary } = message.task;
        this.tasks.set(id, withoutState(message.task));
        // A task that was over can go on: its log then goes on behind its end.
        if (this.over.has(id) && (summary?.lastEvent ?? 0) > this.lastOf(id)) this.followAgain(id);
        break;
      }
      case 'removed':
        this.tasks.delete(message.task);
        break;
      case 'events':
        for (const follower of this.followers.get(message.task) ?? []) follower.events(message.events);
        return;
      case 'over':
        this.over.add(message.task);
        for (const follower of this.followers.get(message.task) ?? []) follower.over();
        return;
      case 'problem':
        return;
    }
    this.onChange();
  }

  private followAgain(task: string): void {
    this.over.delete(task);
    if (this.followers.has(task)) this.ask({ type: 'follow', task, after: this.lastOf(task) });
  }

  private lastOf(task: string): number {
    return Math.min(...[...(this.followers.get(task) ?? [])].map((follower) => follower.last()));
  }

  private ask(request: StreamRequest): void {
    this.socket?.send(JSON.stringify(request));
  }
}

/** Lists need no state, and it can be large. */
function withoutState({ state: _, ...task }: TaskView): TaskView {
  return task;
}
