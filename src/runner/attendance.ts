import { join } from 'node:path';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import type { Quarantine } from '../git/quarantine.ts';
import { foldAll } from '../protocol/foldTask.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import { hasEnded, isAtRest, type TaskState } from '../protocol/taskState.ts';
import { writeFinalState } from './finalState.ts';
import { checkMayGoOn } from './goingOn.ts';
import { askPatience, elsewhere } from './otherOwner.ts';
import { claim } from './ownership.ts';
import type { Surroundings } from './surroundings.ts';
import { TaskLife } from './taskLife.ts';
import type { TaskLog } from './taskLog.ts';

/** A task of this machine, as this process has it. */
export interface TaskEntry {
  log: TaskLog;
  state: TaskState;
  quarantine: Quarantine;
  /** There while this process attends to it. */
  life?: TaskLife;
  /** There while this process is its owner. */
  release?: () => Promise<void>;
  /** Reads along with another process. */
  reading?: boolean;
  /** Ends the reading along with another process. */
  leaving: AbortController;
}

export interface AttendanceOptions {
  /** Where the tasks' folders are. */
  tasks: string;
  around: () => Surroundings;
  /** The state of a task is another. */
  changed: (state: TaskState) => void;
  /** Other processes that think a task at rest are to look at it again. */
  wake: (id: TaskId) => void;
  log: Logger;
}

/** How long a task that has ended may take until it is at rest, when somebody waits for that, in milliseconds. */
const restPatience = 30_000;
const restPollMs = 50;

/**
 * Who attends to which task: one process at a time owns one, and lives its life; the others read along, and take it over when the
 * owner is gone. A task at rest is nobody's: whoever wants it to go on, or its sandbox to go, claims it.
 */
export class Attendance {
  private readonly options: AttendanceOptions;
  private disposed = false;

  constructor(options: AttendanceOptions) {
    this.options = options;
  }

  /** Becomes the task's owner, or reads along while another process is. */
  async take(entry: TaskEntry): Promise<void> {
    if (entry.reading === true) return;
    const { id } = entry.state.spec;
    const release = await this.claim(id);
    if (release !== undefined) {
      await this.own(entry, release);
      return;
    }
    entry.reading = true;
    const tick = async (): Promise<boolean> => {
      if (isAtRest(entry.state)) return true;
      const mine = await this.claim(id);
      if (mine === undefined) return false;
      await this.own(entry, mine);
      return true;
    };
    entry.log
      .readAlong(tick, entry.leaving.signal)
      .catch((thrown: unknown) => {
        this.options.log.warn(`Reading along with ${id}: ${asSallyportError(thrown).message}`);
      })
      .finally(() => (entry.reading = false));
  }

  /** Attends to a task at rest, so that what is kept of it goes. Does nothing when another process has it. */
  async takeAtRest(entry: TaskEntry): Promise<void> {
    const release = await this.claim(entry.state.spec.id);
    if (release !== undefined) await this.own(entry, release, true);
  }

  /** @param anyhow attends to it also when it is at rest */
  private async own(entry: TaskEntry, release: () => Promise<void>, anyhow = false): Promise<void> {
    await this.hold(entry, release);
    if (isAtRest(entry.state) && (!anyhow || entry.state.sandboxRemoved)) await this.rest(entry);
    else this.attendAgain(entry);
  }

  /** What other processes have done with it is read in. */
  private async hold(entry: TaskEntry, release: () => Promise<void>): Promise<void> {
    entry.release = release;
    await entry.log.beginWriting((event) => this.fold(entry, [event]));
  }

  /** Lives the life of a task that this process owns. */
  attend(entry: TaskEntry, snapshot = snapshotOf(entry), began?: number): void {
    const life = this.lifeOf(entry, snapshot, began);
    entry.life = life;
    void life
      .run()
      .then(() => this.rest(entry))
      .then(() => this.options.wake(entry.state.spec.id));
  }

  /** With the turn that it had in the queue. */
  private attendAgain(entry: TaskEntry): void {
    this.attend(entry, snapshotOf(entry), entry.state.startedAt);
  }

  private lifeOf(entry: TaskEntry, snapshot: () => ByteStream, began?: number): TaskLife {
    return new TaskLife({
      state: entry.state,
      folder: join(this.options.tasks, entry.state.spec.id),
      log: entry.log,
      around: this.options.around(),
      quarantine: entry.quarantine,
      snapshot,
      began,
    });
  }

  private async rest(entry: TaskEntry): Promise<void> {
    const { state } = entry;
    if (!isAtRest(state)) return;
    delete entry.life;
    if (state.sandboxRemoved && !this.disposed) {
      await writeFinalState(join(this.options.tasks, state.spec.id), state).catch((thrown: unknown) => {
        this.options.log.debug(`No final state for ${state.spec.id}: ${asSallyportError(thrown).message}`);
      });
    }
    const { release } = entry;
    delete entry.release;
    await entry.log.endWriting();
    await release?.();
  }

  fold(entry: TaskEntry, events: readonly TaskEvent[]): void {
    const before = entry.state;
    entry.state = foldAll(events, before) ?? before;
    // Whoever takes a log up again reads it from its beginning.
    if (entry.state === before) return;
    entry.life?.fold(entry.state);
    this.options.changed(entry.state);
  }

  /**
   * Does something with a task at rest as its owner, after what other processes have done with it is read in. Whoever lets it
   * go on stays the owner. Throws `task_busy` when it is not at rest, or another process has it.
   */
  async atRest<T>(entry: TaskEntry, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    await this.claimAtRest(entry, signal ?? new AbortController().signal);
    try {
      return await work();
    } finally {
      if (entry.life === undefined) await this.rest(entry);
      this.options.wake(entry.state.spec.id);
    }
  }

  private async claimAtRest(entry: TaskEntry, signal: AbortSignal): Promise<void> {
    const { id } = entry.state.spec;
    const until = performance.now() + restPatience;
    while (performance.now() < until) {
      signal.throwIfAborted();
      if (!hasEnded(entry.state)) checkMayGoOn(entry.state);
      // What has just ended is being brought in and put away.
      const release =
        entry.life === undefined && entry.release === undefined ? await this.claim(id) : undefined;
      if (release !== undefined) {
        await this.hold(entry, release);
        if (isAtRest(entry.state)) return;
        // Another process let it go on, and has left it.
        this.attendAgain(entry);
        if (!hasEnded(entry.state)) checkMayGoOn(entry.state);
      }
      await pause(restPollMs, signal);
    }
    if (entry.life !== undefined) checkMayGoOn(entry.state);
    throw elsewhere(id);
  }

  /** Becomes the owner of a task that is to be removed. Throws `task_busy` when another process has it, or let it go on. */
  async claimForRemoval(entry: TaskEntry): Promise<void> {
    const { id } = entry.state.spec;
    let release: (() => Promise<void>) | undefined;
    // Whoever has just put it away lets go of it in a moment.
    for (let tries = 0; release === undefined; tries++) {
      if (tries > askPatience / restPollMs) throw elsewhere(id);
      if (tries > 0) await pause(restPollMs, entry.leaving.signal);
      release = await this.claim(id);
    }
    await this.hold(entry, release);
    if (!hasEnded(entry.state)) {
      this.attendAgain(entry);
      throw elsewhere(id);
    }
    if (!entry.state.sandboxRemoved) entry.life = this.lifeOf(entry, snapshotOf(entry));
  }

  private async claim(id: TaskId): Promise<(() => Promise<void>) | undefined> {
    const release = await claim(join(this.options.tasks, id, 'owner'));
    if (!this.disposed || release === undefined) return release;
    // Nobody is left to attend to it.
    await release();
    throw new SallyportError('cancelled', 'The tasks were closed.', 'Open them again.');
  }

  /** Leaves a task to itself; its sandbox goes on, and is found again. */
  leave(entry: TaskEntry): void {
    entry.life?.dispose();
    entry.leaving.abort();
    void entry.log.close().then(() => entry.release?.());
  }

  /** Nothing is claimed any more. */
  dispose(): void {
    this.disposed = true;
  }
}

function snapshotOf({ quarantine, state }: TaskEntry): () => ByteStream {
  return () => quarantine.snapshotBundle(state.spec.snapshot);
}
