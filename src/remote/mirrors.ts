import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import { Quarantine } from '../git/quarantine.ts';
import { TaskId } from '../protocol/grammar.ts';
import type { TaskView } from '../protocol/runnerApi.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { backoffDelay, type Backoff } from './backoff.ts';
import type { Connection } from './connection.ts';
import { Mirror, type MirrorSource } from './mirror.ts';
import { writeOrigin, type MirrorFolder } from './mirrorFolder.ts';
import type { RunnerHttp } from './runnerHttp.ts';
import { paths } from './runnerPaths.ts';
import type { RunnerSaid } from './streamMessage.ts';

/** How much of all tasks waits to be written before nothing more is read from the network, and when it is again, in bytes. */
const most = 64 << 20;
const few = 16 << 20;
/** How many logs of tasks that are over are fetched at once: the newest tasks come first. */
const catchingUp = 4;
/** A submission that the runner never answered is forgotten when it does not know it after this time, in milliseconds. */
const unansweredMs = 60 * 60_000;

export interface MirrorsParts {
  folder: MirrorFolder;
  /** Root of the quarantines of this machine's own repositories. */
  quarantineRoot: string;
  http: RunnerHttp;
  connection: Connection;
  backoff: Backoff;
  log: Logger;
  isSubmitting: (id: TaskId) => boolean;
}

/** The mirrors of a runner's tasks: which there are, and which are followed, as the runner's list says. */
export class Mirrors implements Disposable {
  private readonly parts: MirrorsParts;
  private readonly mirrors = new Map<TaskId, Mirror>();
  private readonly making = new Map<TaskId, Promise<Mirror>>();
  private readonly leaving = new Map<TaskId, Promise<void>>();
  private readonly views = new Map<TaskId, TaskView>();
  /** Tasks that are over and whose logs are to be fetched; with the last event of each. */
  private readonly wanted = new Map<TaskId, number>();
  private readonly fetching = new Map<TaskId, number>();
  private readonly retries = new Map<TaskId, { failures: number; timer?: NodeJS.Timeout }>();
  /** Those that are begun anew. */
  private readonly renewing = new Set<TaskId>();
  /** Those that were asked for on this connection. */
  private readonly isFollowed = new Set<TaskId>();
  private waiting = 0;
  private readonly over = new AbortController();
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<TaskId>();
  private readonly trouble = new Emitter<SallyportError>();
  private readonly viewed = new Emitter<TaskView>();

  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  readonly onTrouble = this.trouble.event;
  /** What the runner says of a task besides its log: whose it is, its pull request. */
  readonly onDidChangeView = this.viewed.event;

  constructor(parts: MirrorsParts) {
    this.parts = parts;
    const { connection } = parts;
    connection.onDidChangeStatus(({ kind }) => {
      if (kind !== 'online') this.disconnected();
    });
    connection.onMessage(({ message, bytes }) => this.hear(message, bytes));
  }

  get(id: TaskId): Mirror | undefined {
    return this.mirrors.get(id);
  }

  /** One in which there is something. Throws `task_unknown`. */
  found(id: TaskId): Mirror {
    const mirror = this.mirrors.get(id);
    if (mirror?.state !== undefined) return mirror;
    throw unknown(id);
  }

  /** Oldest first. */
  states(): TaskState[] {
    return [...this.mirrors.values()]
      .flatMap(({ state }) => state ?? [])
      .sort((a, b) => (a.spec.id < b.spec.id ? -1 : 1));
  }

  knownViews(): TaskView[] {
    return [...this.views.values()];
  }

  view(id: TaskId): TaskView | undefined {
    return this.views.get(id);
  }

  /** The runner has said this of a task. */
  say(view: TaskView): void {
    this.views.set(view.id, view);
    this.viewed.fire(view);
  }

  /** The runner has removed the task: so is its mirror, with its commits. */
  async drop(id: TaskId): Promise<void> {
    this.views.delete(id);
    await this.forget(id);
  }

  /** Reads what is there. Whoever listens hears of each task. */
  async load(): Promise<void> {
    // What killed processes left of looking at bundles.
    await rm(this.parts.folder.spool, { recursive: true, force: true });
    for (const name of (await readdir(this.parts.folder.tasks)).sort()) {
      if (!TaskId.safeParse(name).success) continue;
      try {
        const mirror = await this.mirror(name);
        if (mirror.state !== undefined) this.changed.fire(mirror.state);
      } catch (thrown) {
        const error = asSallyportError(thrown);
        this.parts.log.error(`The mirror of ${name} could not be read: ${error.message}`);
        this.trouble.fire(error);
      }
    }
  }

  /** The mirror of a task; made when there is none. */
  private mirror(id: TaskId): Promise<Mirror> {
    const known = this.mirrors.get(id);
    if (known !== undefined) return Promise.resolve(known);
    let making = this.making.get(id);
    if (making === undefined) {
      // One that is being removed has to be gone before it can come again.
      const gone = this.leaving.get(id) ?? Promise.resolve();
      making = gone.then(() => this.makeMirror(id)).finally(() => this.making.delete(id));
      this.making.set(id, making);
    }
    return making;
  }

  private async makeMirror(id: TaskId): Promise<Mirror> {
    const mirror = await Mirror.open(id, this.source());
    if (this.over.signal.aborted) {
      mirror.dispose();
      this.over.signal.throwIfAborted();
    }
    this.mirrors.set(id, mirror);
    mirror.onDidChange((state) => {
      const retry = this.retries.get(id);
      if (retry !== undefined) retry.failures = 0;
      this.changed.fire(state);
      this.caughtUp(id, state);
    });
    mirror.onTrouble((error) => {
      this.trouble.fire(error);
      this.fetchNext(id);
    });
    return mirror;
  }

  private source(): MirrorSource {
    return {
      folder: this.parts.folder,
      quarantineRoot: this.parts.quarantineRoot,
      log: this.parts.log,
      backoff: this.parts.backoff,
      bundle: (id, have, signal) =>
        this.parts.http.stream({
          method: 'GET',
          path: paths.bundle(id),
          query: have.length === 0 ? [] : [['have', have.join(',')]],
          signal,
        }),
      follow: (task, after) => this.parts.connection.send({ type: 'follow', task, after }),
      unfollow: (task) => this.parts.connection.send({ type: 'unfollow', task }),
      account: (bytes) => this.account(bytes),
    };
  }

  private account(bytes: number): void {
    const before = this.waiting;
    this.waiting += bytes;
    if (before < most && this.waiting >= most) this.parts.connection.hold();
    if (before > few && this.waiting <= few) this.parts.connection.release();
  }

  private hear(message: RunnerSaid, bytes: number): void {
    switch (message.type) {
      case 'tasks': {
        this.views.clear();
        const listed = new Set(message.tasks.map(({ id }) => id));
        // Newest first, as a user would look at them.
        for (const view of [...message.tasks].sort((a, b) => (a.id < b.id ? 1 : -1))) this.consider(view);
        void this.dropMissing(listed);
        return;
      }
      case 'task':
        this.consider(message.task);
        return;
      case 'removed':
        void this.drop(message.task);
        return;
      case 'events':
        this.mirrors.get(message.task)?.take(message.events, bytes);
        return;
      case 'over':
        this.mirrors.get(message.task)?.end();
        // Its log can go on: it is followed again when the runner says that there is more.
        this.isFollowed.delete(message.task);
        return;
      case 'problem':
        this.parts.log.warn(`The runner: ${message.problem.code}: ${message.problem.detail.slice(0, 500)}`);
        if (message.task !== undefined) this.followLater(message.task);
    }
  }

  private async beginAnew(mirror: Mirror): Promise<void> {
    const { id } = mirror;
    this.renewing.add(id);
    this.isFollowed.delete(id);
    this.trouble.fire(
      new SallyportError(
        'log_damaged',
        `The runner has less of the task ${id} than this machine: it was set back.`,
        'The log is fetched anew; what was here is kept beside it, and the commits stay.',
      ),
    );
    try {
      await mirror.beginAnew();
    } catch (thrown) {
      this.trouble.fire(asSallyportError(thrown));
    }
    this.renewing.delete(id);
    const view = this.views.get(id);
    if (view !== undefined && this.parts.connection.status.kind === 'online') this.consider(view);
  }

  private consider(view: TaskView): void {
    const { id, stage, summary } = view;
    this.say(view);
    // Before that there is no log.
    if (stage !== 'task' || this.renewing.has(id)) return;
    const last = summary?.lastEvent ?? 0;
    const known = this.mirrors.get(id);
    if (known !== undefined && summary !== undefined && known.isAhead(last)) {
      void this.beginAnew(known);
      return;
    }
    if (this.isFollowed.has(id) || known?.isComplete(last) === true) return;
    // A task that is over can wait; and one of a runner that has thousands has to.
    if (summary?.endedAt !== undefined) {
      if (!this.wanted.has(id) && !this.fetching.has(id)) this.wanted.set(id, last);
      this.fetchMore();
    } else void this.follow(id);
  }

  /** Follows a task on this connection; what goes wrong is told, and tried again. */
  async follow(id: TaskId): Promise<void> {
    if (this.isFollowed.has(id)) return;
    this.isFollowed.add(id);
    try {
      if (!this.mirrors.has(id)) await this.inherit(id);
      const mirror = await this.mirror(id);
      if (this.isFollowed.has(id)) await mirror.follow();
    } catch (thrown) {
      if (this.over.signal.aborted) return;
      const error = asSallyportError(thrown);
      this.parts.log.warn(`The mirror of ${id}: ${error.message}`);
      this.trouble.fire(error);
      this.followLater(id);
    }
  }

  /** A task that goes on from one that this machine submitted belongs to the same repository here. */
  private async inherit(id: TaskId): Promise<void> {
    const { retryOf, source } = this.views.get(id) ?? {};
    const before = retryOf === undefined ? undefined : this.mirrors.get(retryOf)?.origin;
    if (before === undefined || source?.kind !== 'snapshot') return;
    const { repository, snapshot } = source;
    if (repository.id !== before.repository.id) return;
    const quarantine = Quarantine.open(this.parts.quarantineRoot, repository.id);
    // The runner chose the id and the commit: neither may stand for something else that is here.
    if (!(await quarantine.has(snapshot.commit)) || (await quarantine.tips(id)).length > 0) return;
    await writeOrigin(join(this.parts.folder.tasks, id), { repository: before.repository, snapshot });
  }

  /** Tries it again, when the connection lasts so long. */
  private followLater(id: TaskId): void {
    this.mirrors.get(id)?.pause();
    this.isFollowed.delete(id);
    this.fetchNext(id);
    const retry = this.retries.get(id) ?? { failures: 0 };
    this.retries.set(id, retry);
    clearTimeout(retry.timer);
    retry.timer = setTimeout(
      () => {
        const view = this.views.get(id);
        if (view !== undefined && this.parts.connection.status.kind === 'online') this.consider(view);
      },
      backoffDelay(retry.failures++, this.parts.backoff),
    );
    retry.timer.unref();
  }

  private fetchMore(): void {
    for (const [id, last] of this.wanted) {
      if (this.fetching.size >= catchingUp) return;
      this.wanted.delete(id);
      this.fetching.set(id, last);
      void this.follow(id);
    }
  }

  private fetchNext(id: TaskId): void {
    if (this.fetching.delete(id)) this.fetchMore();
  }

  private caughtUp(id: TaskId, { lastEvent }: TaskState): void {
    if (lastEvent >= (this.fetching.get(id) ?? Infinity)) this.fetchNext(id);
  }

  private disconnected(): void {
    this.wanted.clear();
    this.fetching.clear();
    this.isFollowed.clear();
    for (const mirror of this.mirrors.values()) mirror.pause();
    for (const { timer } of this.retries.values()) clearTimeout(timer);
    this.retries.clear();
  }

  /**
   * What the runner does not list any more was removed, or is not shared any more. What this machine submitted itself is
   * kept all the same: a runner that lost its data must not take the user's with it.
   */
  private async dropMissing(listed: ReadonlySet<TaskId>): Promise<void> {
    for (const [id, mirror] of [...this.mirrors]) {
      if (listed.has(id) || this.parts.isSubmitting(id)) continue;
      if (mirror.origin === undefined) await this.forget(id);
      else if (mirror.state === undefined && (await this.isOld(id))) await this.forget(id);
    }
  }

  private async isOld(id: TaskId): Promise<boolean> {
    const found = await stat(join(this.parts.folder.tasks, id)).catch(() => undefined);
    return found === undefined || Date.now() - found.mtimeMs > unansweredMs;
  }

  /** Removes the mirror with its commits. */
  private forget(id: TaskId): Promise<void> {
    const before = this.leaving.get(id);
    if (before !== undefined) return before;
    const leaving = this.forgetNow(id).finally(() => this.leaving.delete(id));
    this.leaving.set(id, leaving);
    return leaving;
  }

  private async forgetNow(id: TaskId): Promise<void> {
    const mirror = this.mirrors.get(id);
    this.mirrors.delete(id);
    this.isFollowed.delete(id);
    this.wanted.delete(id);
    this.fetchNext(id);
    if (mirror === undefined) return;
    try {
      const had = mirror.state !== undefined;
      await mirror.close();
      if (had) await mirror.quarantine().removeTask(id);
      await rm(join(this.parts.folder.tasks, id), { recursive: true, force: true });
    } catch (thrown) {
      this.parts.log.error(`The mirror of ${id} was not removed: ${asSallyportError(thrown).message}`);
    } finally {
      mirror.dispose();
    }
    this.removed.fire(id);
  }

  /** Tasks go on; what is mirrored stays. */
  dispose(): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.disconnected();
    for (const mirror of this.mirrors.values()) mirror.dispose();
    for (const emitter of [this.changed, this.removed, this.trouble, this.viewed]) emitter.dispose();
  }
}

export function unknown(id: TaskId): SallyportError {
  return new SallyportError(
    'task_unknown',
    `There is no task ${id}.`,
    'It may have been removed; look at the list of tasks.',
  );
}
