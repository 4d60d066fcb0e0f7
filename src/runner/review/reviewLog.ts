import { randomBytes } from 'node:crypto';
import { watch, type FSWatcher } from 'node:fs';
import { open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Emitter, type Event } from '../../base/event.ts';
import { isErrno, SallyportError } from '../../base/errors.ts';
import { fileLines } from '../../base/fileLines.ts';
import { syncFolder } from '../../base/syncFolder.ts';
import type { Disposable } from '../../base/disposable.ts';
import {
  emptyReview,
  parseReviewEvent,
  type LaterEvent,
  type ReviewBody,
  type ReviewEvent,
  type ReviewState,
} from '../../protocol/review.ts';
import { foldReviews } from '../../protocol/reviewState.ts';
import { condense } from './condense.ts';
import { removed, withLock } from './fileLock.ts';

/** Longest line and largest file that are read, in bytes: what is written here is far smaller. */
const maxLineBytes = 32 << 20;
const maxFileBytes = 512 << 20;
/** How much is read at once, in bytes. */
const readBytes = 1 << 20;
/** A file below this size is left as it is, in bytes. */
const condenseBytes = 2 << 20;
/** Between two looks where the system does not tell of a change, in milliseconds. */
const pollMs = 1500;

const fileName = 'review.ndjson';

/** Where in which file a reader is. */
interface Place {
  ino: number;
  /** Number of the file's first event: a condensed file begins with a later one. */
  first: number;
  /** Behind the last whole line that was read, in bytes. */
  offset: number;
}

const nowhere: Place = { ino: 0, first: 0, offset: 0 };

/**
 * The log of one review: a file of one JSON event per line, numbered, only ever appended to. Any number of processes append:
 * each under a lock, after it has read what the others wrote. What a killed one left of a line is cut off. A long file is
 * replaced by a shorter one that folds to the same state, whose events go on with the numbers.
 */
export class ReviewLog implements Disposable {
  private readonly folder: string;
  private readonly path: string;
  private place = nowhere;
  private folded: ReviewState = emptyReview;
  /** Holds what only a later version knows: it is not to be lost. */
  private hasLater = false;
  private condensedTo = 0;
  private working: Promise<unknown> = Promise.resolve();
  private listeners = 0;
  private stopWatching: (() => void) | undefined;
  private readonly changed = new Emitter<ReviewState>();
  private disposed = false;

  /** @param folder of the task; it must be there */
  constructor(folder: string) {
    this.folder = folder;
    this.path = join(folder, fileName);
  }

  /** The new state, whoever brought it about. While somebody listens, the file is watched. */
  readonly onDidChange: Event<ReviewState> = (listener) => {
    const listening = this.changed.event(listener);
    this.listeners++;
    this.watch();
    let gone = false;
    return {
      dispose: () => {
        if (gone) return;
        gone = true;
        listening.dispose();
        if (--this.listeners === 0) this.stopWatching?.();
      },
    };
  };

  /** What the file holds now. Throws `log_damaged`. */
  state(): Promise<ReviewState> {
    return this.inTurn(async () => {
      await this.catchUp();
      return this.folded;
    });
  }

  /**
   * Appends what is to be said of the newest state, all of it at once; nothing when that is nothing. Resolves when it is on
   * the disk. Throws `task_unknown`, `task_busy`, `disk_full`, `log_damaged`.
   */
  append(say: (state: ReviewState) => readonly ReviewBody[]): Promise<ReviewState> {
    return this.inTurn(async () => {
      try {
        return await withLock(join(this.folder, 'review.lock'), async () => {
          await this.catchUp();
          const bodies = say(this.folded);
          if (bodies.length > 0) await this.write(bodies);
          return this.folded;
        });
      } catch (thrown) {
        if (isErrno(thrown, 'ENOENT')) throw removed(thrown);
        throw thrown;
      }
    });
  }

  private async write(bodies: readonly ReviewBody[]): Promise<void> {
    const t = Date.now();
    let n = this.folded.lastEvent;
    const text = bodies.map((body) => `${JSON.stringify({ n: ++n, t, ...body })}\n`).join('');
    const file = await open(this.path, 'a', 0o600);
    try {
      const { size } = await file.stat();
      // What a killed writer left of a line.
      if (size > this.place.offset) await file.truncate(this.place.offset);
      try {
        await file.appendFile(text);
        await file.datasync();
      } catch (thrown) {
        await file.truncate(this.place.offset).catch(() => undefined);
        throw isErrno(thrown, 'ENOSPC', 'EDQUOT') ? full(this.path, thrown) : thrown;
      }
    } finally {
      await file.close();
    }
    if (this.place.offset === 0) await this.nameIsKept();
    await this.catchUp();
    await this.shorten();
  }

  /** Puts a shorter file in place of a long one. Only under the lock, and with everything read. */
  private async shorten(): Promise<void> {
    const size = this.place.offset;
    if (this.hasLater || size < condenseBytes || size < 4 * this.condensedTo) return;
    const bodies = condense(this.folded, Date.now());
    const count = this.folded.lastEvent - this.place.first + 1;
    this.condensedTo = size;
    if (bodies.length >= count) return;
    let n = this.folded.lastEvent - bodies.length;
    const text = bodies.map(({ t, ...body }) => `${JSON.stringify({ n: ++n, t, ...body })}\n`).join('');
    if (Buffer.byteLength(text) * 2 > size) return;
    const aside = `${this.path}.${randomBytes(6).toString('hex')}`;
    try {
      const file = await open(aside, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(aside, this.path);
    } catch (thrown) {
      // The long one is as good.
      await rm(aside, { force: true });
      if (!isErrno(thrown, 'ENOSPC', 'EDQUOT')) throw thrown;
      return;
    }
    await this.nameIsKept();
    const { ino, size: offset } = await stat(this.path);
    this.condensedTo = offset;
    this.place = { ino, first: this.folded.lastEvent - bodies.length + 1, offset };
  }

  /** Folds in what was appended since the last look, by whomever. */
  private async catchUp(): Promise<void> {
    const file = await open(this.path, 'r').catch((thrown: unknown) => {
      if (isErrno(thrown, 'ENOENT')) return undefined;
      throw thrown;
    });
    if (file === undefined) return;
    const before = this.folded.lastEvent;
    try {
      const { ino, size } = await file.stat();
      if (size > maxFileBytes) throw damaged(this.path, maxFileBytes);
      const first = await firstNumber(file);
      let { place, folded } = this;
      if (place.ino !== ino || place.first !== first || size < place.offset) {
        place = { ino, first, offset: 0 };
        folded = emptyReview;
        this.hasLater = false;
      }
      for await (const { events, end } of eventsOf(file, this.path, place.offset, size, folded.lastEvent)) {
        this.hasLater ||= events.some(({ type }) => type === 'later');
        folded = foldReviews(folded, events);
        place = { ...place, offset: end };
      }
      this.place = place;
      this.folded = folded;
    } finally {
      await file.close();
    }
    if (this.folded.lastEvent !== before) this.changed.fire(this.folded);
  }

  private watch(): void {
    if (this.stopWatching !== undefined || this.disposed) return;
    const look = (): void => void this.state().catch(() => undefined);
    let watcher: FSWatcher | undefined;
    try {
      watcher = watch(this.folder, (_, name) => {
        if (name === null || name === fileName) look();
      });
      watcher.on('error', () => undefined);
    } catch {
      // The poll is enough.
    }
    const timer = setInterval(look, pollMs);
    timer.unref();
    this.stopWatching = () => {
      clearInterval(timer);
      watcher?.close();
      this.stopWatching = undefined;
    };
    look();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.working.then(work);
    this.working = result.catch(() => undefined);
    return result;
  }

  /** A new name is on the disk when its folder is. What is in the file is what counts. */
  private async nameIsKept(): Promise<void> {
    await syncFolder(this.folder).catch(() => undefined);
  }

  dispose(): void {
    this.disposed = true;
    this.stopWatching?.();
    this.changed.dispose();
  }
}

interface Batch {
  events: (ReviewEvent | LaterEvent)[];
  /** Offset behind the last of them. */
  end: number;
}

/** The events of whole lines; an unfinished last one is left out. */
async function* eventsOf(
  file: FileHandle,
  path: string,
  from: number,
  size: number,
  lastNumber: number,
): AsyncGenerator<Batch> {
  let last = lastNumber;
  for await (const lines of fileLines(file, { from, to: size, readBytes, maxLineBytes })) {
    const events: Batch['events'] = [];
    for (const { bytes, offset, whole } of lines) {
      if (!whole) throw damaged(path, offset);
      const event = decode(bytes, path, offset);
      if (last !== 0 && event.n !== last + 1) throw damaged(path, offset);
      last = event.n;
      events.push(event);
    }
    yield { events, end: lines.at(-1)?.end ?? from };
  }
}

function decode(line: Uint8Array, path: string, offset: number): ReviewEvent | LaterEvent {
  try {
    return parseReviewEvent(JSON.parse(new TextDecoder().decode(line)));
  } catch (thrown) {
    throw damaged(path, offset, thrown);
  }
}

/** Of the file's first event, which stands at its head; 0 when there is none. */
async function firstNumber(file: FileHandle): Promise<number> {
  const head = Buffer.alloc(32);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  return Number(/^\{"n":(\d+),/.exec(head.toString('latin1', 0, bytesRead))?.[1] ?? 0);
}

function full(path: string, cause: unknown): SallyportError {
  return new SallyportError(
    'disk_full',
    `The disk that holds ${path} is full, so that was not noted.`,
    'Free some space and do it once more.',
    { cause },
  );
}

function damaged(path: string, offset: number, cause?: unknown): SallyportError {
  return new SallyportError(
    'log_damaged',
    `The log ${path} is damaged at byte ${offset}.`,
    'Move the file away to keep it: the review begins anew. The commits of the task are in the quarantine and not touched by this.',
    { cause },
  );
}
