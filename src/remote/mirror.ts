import { appendFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, isAbort, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import { Quarantine } from '../git/quarantine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import { isAtRest, type TaskState } from '../protocol/taskState.ts';
import { readFinalState, writeFinalState } from '../runner/finalState.ts';
import { claim } from '../runner/ownership.ts';
import { foldAll } from '../protocol/foldTask.ts';
import { TaskLog } from '../runner/taskLog.ts';
import type { Backoff } from './backoff.ts';
import { bringsCommits } from './bringing.ts';
import { EventQueue } from './eventQueue.ts';
import { MirrorCommits } from './mirrorCommits.ts';
import { mirroredEvent } from './mirroredEvent.ts';
import { readOrigin, type MirrorFolder, type Origin } from './mirrorFolder.ts';

/** What a mirror needs of its runner. */
export interface MirrorSource {
  folder: MirrorFolder;
  /** Root of the quarantines of this machine's own repositories. */
  quarantineRoot: string;
  log: Logger;
  backoff: Backoff;
  bundle(id: TaskId, have: readonly string[], signal: AbortSignal): Promise<ByteStream>;
  /** Asks for the events after number `after`, then live; what was asked before counts no more. */
  follow(id: TaskId, after: number): void;
  unfollow(id: TaskId): void;
  /** Bytes that were taken in, or given up again when negative. */
  account(bytes: number): void;
}

/** A mirror that is longer is not continued, in bytes: a task's own log ends at a gibibyte. */
const maxLogBytes = 3 * 2 ** 29;
/** After a gap the events are asked for anew, after this time, in milliseconds, and so often at most. */
const gapPatience = 1000;
const maxGaps = 5;

/**
 * What this machine has of one task of a runner: its log, with the runner's own numbers, and its commits. An event is in
 * the mirror when it is in the file; one that says that commits are there, when they are in the quarantine here.
 */
export class Mirror implements Disposable {
  readonly id: TaskId;
  readonly origin: Origin | undefined;
  private readonly folder: string;
  private readonly source: MirrorSource;
  private log: TaskLog | undefined;
  private current: TaskState | undefined;
  private release: (() => Promise<void>) | undefined;
  private owning: Promise<boolean> | undefined;
  /** Undefined while nothing is asked for; `held` when enough is waiting. */
  private following: 'yes' | 'held' | undefined;
  /** The runner has said that nothing more comes. */
  private ended = false;
  /** Number of the last event that had come before this connection. */
  private before = 0;
  /** Number of the next event that is taken. */
  private next = 1;
  private readonly queue: EventQueue;
  /** Another window writes the mirror. */
  private reading = false;
  private working: Promise<void> | undefined;
  private gaps = 0;
  private gapTimer: NodeJS.Timeout | undefined;
  private commits: MirrorCommits | undefined;
  private readonly over = new AbortController();
  /** Ends those who read a log that counts no more. */
  private former = new AbortController();
  private readonly changed = new Emitter<TaskState>();
  private readonly trouble = new Emitter<SallyportError>();
  readonly onDidChange = this.changed.event;
  readonly onTrouble = this.trouble.event;

  private constructor(id: TaskId, source: MirrorSource, origin: Origin | undefined) {
    this.id = id;
    this.source = source;
    this.origin = origin;
    this.folder = join(source.folder.tasks, id);
    this.queue = new EventQueue((bytes) => source.account(bytes));
  }

  /** Reads what there is; nothing is asked of the runner. */
  static async open(id: TaskId, source: MirrorSource): Promise<Mirror> {
    const folder = join(source.folder.tasks, id);
    const mirror = new Mirror(id, source, await readOrigin(folder));
    await mirror.load();
    return mirror;
  }

  private async load(): Promise<void> {
    const known = await readFinalState(this.folder);
    if (known !== undefined) {
      this.current = known;
      this.log = TaskLog.openFinished(this.folder);
      this.listen(this.log);
      return;
    }
    this.log = await this.openLog();
    this.listen(this.log);
    for await (const batch of this.log.read(0)) this.current = foldAll(batch, this.current);
    this.before = this.current?.lastEvent ?? 0;
  }

  /** A damaged mirror is moved away: the runner has the log. */
  private async openLog(): Promise<TaskLog> {
    try {
      return await TaskLog.open(this.folder);
    } catch (thrown) {
      if (!(thrown instanceof SallyportError) || thrown.code !== 'log_damaged') throw thrown;
      this.source.log.warn(`${thrown.message} It is fetched from the runner again.`);
      await rename(join(this.folder, 'events.ndjson'), join(this.folder, `damaged-${Date.now()}.ndjson`));
      return await TaskLog.open(this.folder);
    }
  }

  private listen(log: TaskLog): void {
    log.onAppend((events) => {
      this.current = foldAll(events, this.current);
      if (this.current !== undefined) this.changed.fire(this.current);
    });
    log.onTrouble((error) => {
      if (error !== undefined) this.trouble.fire(error);
    });
  }

  /** Undefined before the first event. */
  get state(): TaskState | undefined {
    return this.current;
  }

  /** True when nothing is missing of what the runner had, as its list says. */
  isComplete(lastEvent: number | undefined): boolean {
    const { current } = this;
    return current !== undefined && isAtRest(current) && current.lastEvent >= (lastEvent ?? 0);
  }

  /**
   * True when there was more here before this connection than the runner has now, so that its numbers mean other events.
   * The window that writes the mirror sees to it.
   */
  isAhead(lastEvent: number): boolean {
    return !this.reading && this.before > lastEvent && this.current?.sandboxRemoved === false;
  }

  /** The runner has begun the log anew, out of a backup or of what was left of the sandbox. What was here is kept aside. */
  async beginAnew(): Promise<void> {
    this.following = undefined;
    this.queue.clear();
    await this.working?.catch(() => undefined);
    await this.owning?.catch(() => undefined);
    this.release ??= await claim(join(this.folder, 'owner'));
    const { log } = this;
    if (this.release === undefined || log === undefined) return;
    await log.close();
    await rename(log.path, join(this.folder, `former-${Date.now()}.ndjson`));
    await this.letGo();
    this.current = undefined;
    this.commits = undefined;
    this.former.abort();
    this.former = new AbortController();
    await this.load();
  }

  quarantine(): Quarantine {
    const { current } = this;
    if (current === undefined) throw notYet(this.id);
    const root = this.origin === undefined ? this.source.folder.quarantine : this.source.quarantineRoot;
    return Quarantine.open(root, current.spec.repository.id);
  }

  /** What is in the mirror after number `after`, then what comes. Ends early when the runner begins the log anew. */
  async *batches(after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[], void> {
    const { log } = this;
    const isWhole = (last: number): boolean =>
      this.current !== undefined && isAtRest(this.current) && last >= this.current.lastEvent;
    if (log === undefined || isWhole(after)) return;
    for await (const batch of log.follow(
      after,
      AbortSignal.any([signal, this.over.signal, this.former.signal]),
    )) {
      yield batch;
      if (isWhole(batch.at(-1)?.n ?? 0)) return;
    }
  }

  /** Begins to follow the runner, or goes on after a new connection; where another window does so already, reads along. */
  async follow(): Promise<void> {
    if (this.over.signal.aborted) return;
    // One claim at a time: a second one of this process would take the first for another window's.
    this.owning ??= this.own().finally(() => (this.owning = undefined));
    if (!(await this.owning)) return;
    this.gaps = 0;
    this.ended = false;
    this.resume();
  }

  /** The connection is gone, or the runner has stopped to tell: what comes next comes after a new `follow`. */
  pause(): void {
    this.following = undefined;
    this.before = Math.max(this.next - 1, this.current?.lastEvent ?? 0);
  }

  /** Becomes the writer of the mirror, or reads along; says which. */
  private async own(): Promise<boolean> {
    if (this.release !== undefined) return true;
    const path = join(this.folder, 'owner');
    const release = await claim(path);
    if (release === undefined) {
      if (!this.reading) void this.readAlong(path);
      return false;
    }
    try {
      if (this.current?.sandboxRemoved === true) {
        // It was taken for finished, and there is more of it.
        this.log = await this.openLog();
        this.listen(this.log);
      }
      await this.log?.beginWriting((event) => (this.current = foldAll([event], this.current)));
      this.next = (this.current?.lastEvent ?? 0) + 1;
    } catch (thrown) {
      await release();
      throw thrown;
    }
    this.release = release;
    if (this.over.signal.aborted) await this.letGo();
    return !this.over.signal.aborted;
  }

  private async readAlong(path: string): Promise<void> {
    this.reading = true;
    let mine: (() => Promise<void>) | undefined;
    const { log } = this;
    const tick = async (): Promise<boolean> => {
      if (this.current !== undefined && isAtRest(this.current)) return true;
      mine = await claim(path);
      return mine !== undefined;
    };
    try {
      if (log === undefined) return;
      // It can be watched only when it is there; the writer has claimed it, and may not have made it yet.
      await appendFile(log.path, '', { mode: 0o600 });
      await log.readAlong(tick, this.over.signal);
    } catch (thrown) {
      if (!isAbort(thrown))
        this.source.log.warn(`Reading along with ${this.id}: ${asSallyportError(thrown).message}`);
    } finally {
      this.reading = false;
    }
    if (mine === undefined) return;
    await mine();
    await this.follow().catch((thrown: unknown) =>
      this.source.log.warn(`Following ${this.id}: ${asSallyportError(thrown).message}`),
    );
  }

  private resume(): void {
    if (this.over.signal.aborted) return;
    if (this.queue.isFull) {
      this.following = 'held';
      return;
    }
    this.following = 'yes';
    this.source.follow(this.id, this.next - 1);
  }

  /** Takes events of a frame that was so many bytes long. What does not fit is not taken. */
  take(events: readonly unknown[], frameBytes: number): void {
    if (this.following !== 'yes') return;
    const bytes = Math.ceil(frameBytes / Math.max(1, events.length));
    for (const json of events) {
      let event: TaskEvent;
      try {
        event = mirroredEvent(json, this.id, this.origin);
      } catch (thrown) {
        this.distrust(thrown instanceof Error ? thrown.message : String(thrown));
        break;
      }
      // What was on its way already when it was asked for again.
      if (event.n < this.next) continue;
      if (event.n > this.next) {
        this.missed();
        break;
      }
      this.next++;
      this.gaps = 0;
      clearTimeout(this.gapTimer);
      this.gapTimer = undefined;
      this.queue.push(event, bytes);
    }
    if (this.queue.isFull && this.isFollowing()) {
      this.following = 'held';
      this.source.unfollow(this.id);
    }
    this.work();
  }

  private isFollowing(): boolean {
    return this.following === 'yes';
  }

  /** Nothing more will come. */
  end(): void {
    if (this.following !== 'yes') return;
    this.ended = true;
    this.work();
  }

  private missed(): void {
    if (this.gapTimer !== undefined) return;
    this.gapTimer = setTimeout(() => {
      this.gapTimer = undefined;
      if (this.following !== 'yes') return;
      if (this.gaps++ >= maxGaps) this.distrust('events are missing in it');
      else this.resume();
    }, gapPatience);
    this.gapTimer.unref();
  }

  /** The rest of the log is left aside until the next connection; what came before stays. */
  private distrust(why: string): void {
    this.following = undefined;
    this.source.unfollow(this.id);
    this.trouble.fire(
      new SallyportError(
        'log_damaged',
        `The runner's log of the task ${this.id} cannot be followed: ${why}.`,
        'What came before is kept. Update the runner and Sallyport to the same version; if it stays so, do not trust the runner.',
      ),
    );
  }

  private work(): void {
    this.working ??= this.drain()
      .catch((thrown: unknown) => {
        if (isAbort(thrown) || this.over.signal.aborted) return;
        this.distrust(asSallyportError(thrown).message);
      })
      .finally(() => {
        this.working = undefined;
        if (!this.queue.isEmpty && !this.over.signal.aborted) this.work();
      });
  }

  private async drain(): Promise<void> {
    const { signal } = this.over;
    while (!this.queue.isEmpty && !signal.aborted) {
      const { events, bytes } = this.queue.part();
      const [first] = events;
      if (first !== undefined && bringsCommits(first))
        await this.append([await this.arriving().bring(first, signal)]);
      else await this.append(events);
      this.queue.written(bytes);
      if (this.following === 'held' && this.queue.hasRoom) this.resume();
    }
    if (this.ended && !signal.aborted && this.queue.isEmpty) await this.finish();
  }

  private async append(events: readonly TaskEvent[]): Promise<void> {
    const { log } = this;
    if (log === undefined || this.over.signal.aborted) return;
    if (log.bytes > maxLogBytes) throw new Error(`it is longer than ${maxLogBytes} bytes`);
    // The log numbers them by itself: each is the next one of what is in it.
    await log.append(events);
  }

  private arriving(): MirrorCommits {
    if (this.current === undefined) throw notYet(this.id);
    this.commits ??= new MirrorCommits(this.current.spec, this.quarantine(), this.source, (error) =>
      this.trouble.fire(error),
    );
    return this.commits;
  }

  private async finish(): Promise<void> {
    this.following = undefined;
    this.source.unfollow(this.id);
    const { current } = this;
    if (current?.sandboxRemoved !== true) return;
    await writeFinalState(this.folder, current).catch((thrown: unknown) =>
      this.source.log.debug(`No final state for ${this.id}: ${asSallyportError(thrown).message}`),
    );
    await this.letGo();
  }

  private async letGo(): Promise<void> {
    const { release } = this;
    this.release = undefined;
    await this.log?.close();
    await release?.();
  }

  /** Ends what is under way; resolves when nothing of it touches the folder any more. */
  async close(): Promise<void> {
    this.over.abort();
    this.following = undefined;
    clearTimeout(this.gapTimer);
    this.queue.clear();
    await this.working?.catch(() => undefined);
    await this.owning?.catch(() => undefined);
    await this.letGo();
  }

  dispose(): void {
    void this.close().catch(() => undefined);
    this.changed.dispose();
    this.trouble.dispose();
  }
}

function notYet(id: TaskId): SallyportError {
  return new SallyportError(
    'task_unknown',
    `Nothing has come of the task ${id} yet.`,
    'Wait until the runner is reached.',
  );
}
