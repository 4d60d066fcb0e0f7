import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { watch } from 'node:fs';
import { join } from 'node:path';
import { Emitter } from '../base/event.ts';
import { isErrno, SallyportError } from '../base/errors.ts';
import { fileLines } from '../base/fileLines.ts';
import { parseTaskEvent, type TaskEvent, type TaskEventBody } from '../protocol/taskEvent.ts';
import { numberAtHead, offsetBefore } from './logSearch.ts';

/** Longest line of a log file that is read, in bytes: an assembled event is smaller. */
const maxLineBytes = 160 << 20;
/** How much is read at once, and with it the size of a batch, in bytes. */
const readBytes = 1 << 17;
/** How much a follower may have before it that it has not taken yet; one that has more reads it from the file. */
const queueBytes = 1 << 18;

/** What was appended at once, and its size in the file. */
interface Appended {
  events: readonly TaskEvent[];
  bytes: number;
}

export type UnnumberedEvent = TaskEventBody & { t: number; s?: number; g?: number };

/**
 * A task's event log: a file of one JSON event per line, only ever appended to. An event is shown to readers after it
 * is in the file, so that what was once shown is never lost. One process appends (see ownership); any number read.
 */
export class TaskLog {
  readonly path: string;
  private lastNumber = 0;
  private size = 0;
  private file: FileHandle | undefined;
  private writing: Promise<void> = Promise.resolve();
  private waiting: TaskEvent[] = [];
  private closed = false;
  private readonly appended = new Emitter<readonly TaskEvent[]>();
  private readonly sized = new Emitter<Appended>();
  private readonly trouble = new Emitter<SallyportError | undefined>();

  /** Batches, after they are in the file. */
  readonly onAppend = this.appended.event;
  /** The disk is full: said when it begins, and with undefined when it is over. Appending waits meanwhile. */
  readonly onTrouble = this.trouble.event;

  private constructor(path: string) {
    this.path = path;
  }

  /** Reads the log once, and says where it is damaged. */
  static async open(folder: string): Promise<TaskLog> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const log = new TaskLog(join(folder, 'events.ndjson'));
    await log.catchUp(() => undefined);
    return log;
  }

  /** A log that nobody writes to any more: it is read when somebody asks for its events. */
  static openFinished(folder: string): TaskLog {
    return new TaskLog(join(folder, 'events.ndjson'));
  }

  /** Size of what is in the file, in bytes. */
  get bytes(): number {
    return this.size;
  }

  /**
   * Makes this process the writer. What a killed writer left of a line is cut off: it was never shown.
   * The newest events of the former writer are read in first and given to `onEvent`.
   */
  async beginWriting(onEvent: (event: TaskEvent) => void): Promise<void> {
    this.file ??= await open(this.path, 'a', 0o600);
    await this.catchUp(onEvent);
    await this.file.truncate(this.size);
  }

  /** Lets another process be the writer, after what is under way is in the file. */
  async endWriting(): Promise<void> {
    await this.writing;
    const { file } = this;
    this.file = undefined;
    await file?.close();
  }

  /** Numbers the events and writes them; resolves when they are in the file. Waits out a full disk. */
  append(bodies: readonly UnnumberedEvent[]): Promise<void> {
    if (this.file === undefined || this.closed) throw new Error('The log is not open for writing');
    for (const body of bodies) {
      const { t, s, g, ...rest } = body;
      const by = { ...(s === undefined ? {} : { s }), ...(g === undefined ? {} : { g }) };
      this.waiting.push({ n: ++this.lastNumber, t, ...by, ...rest });
    }
    this.writing = this.writing.then(() => this.flush());
    return this.writing;
  }

  private async flush(): Promise<void> {
    const batch = this.waiting;
    if (batch.length === 0 || this.file === undefined) return;
    this.waiting = [];
    const bytes = Buffer.from(batch.map((event) => `${JSON.stringify(event)}\n`).join(''));
    await this.writeAll(this.file, bytes);
    this.size += bytes.length;
    this.tell({ events: batch, bytes: bytes.length });
  }

  private tell(appended: Appended): void {
    this.appended.fire(appended.events);
    this.sized.fire(appended);
  }

  private async writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
    let done = 0;
    let full = false;
    while (done < bytes.length) {
      try {
        done += (await file.write(bytes, done)).bytesWritten;
      } catch (thrown) {
        if (!isErrno(thrown, 'ENOSPC', 'EDQUOT') || this.closed) throw thrown;
        if (!full) this.trouble.fire(diskFull(this.path));
        full = true;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
    if (full) this.trouble.fire(undefined);
  }

  /** Reads what was appended by another process. */
  private async catchUp(onEvent: (event: TaskEvent) => void): Promise<void> {
    for await (const { event, offset, end } of readEvents(this.path, this.size)) {
      if (event.n !== this.lastNumber + 1) throw damaged(this.path, offset);
      this.lastNumber = event.n;
      this.size = end;
      onEvent(event);
    }
  }

  /** The events after number `after` that are in the file now, in batches. Where in the file they begin costs nothing. */
  async *read(after: number): AsyncGenerator<TaskEvent[], void> {
    let batch: TaskEvent[] = [];
    let bytes = 0;
    for await (const { event, offset, end } of readEvents(this.path, 0, after)) {
      batch.push(event);
      bytes += end - offset;
      if (bytes >= readBytes) {
        yield batch;
        batch = [];
        bytes = 0;
      }
    }
    if (batch.length > 0) yield batch;
  }

  /** The events after number `after`, then the live ones until `signal` aborts. A slow reader costs no memory. */
  async *follow(after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[], void> {
    let next = after;
    let fresh: TaskEvent[] = [];
    let freshBytes = 0;
    let behind = true;
    let wake: (() => void) | undefined;
    const subscription = this.sized.event(({ events, bytes }) => {
      freshBytes += bytes;
      // What is too much to be kept is read from the file again.
      if (freshBytes > queueBytes && fresh.length > 0) behind = true;
      if (behind) fresh = [];
      else for (const event of events) fresh.push(event);
      wake?.();
    });
    const aborted = (): void => wake?.();
    signal.addEventListener('abort', aborted);
    try {
      while (!signal.aborted) {
        if (behind) {
          behind = false;
          fresh = [];
          freshBytes = 0;
          for await (const batch of this.read(next)) {
            next = batch.at(-1)?.n ?? next;
            yield batch;
          }
          continue;
        }
        const batch = fresh.filter((event) => event.n > next);
        fresh = [];
        freshBytes = 0;
        if (batch.length > 0) {
          if (batch[0]?.n !== next + 1) {
            behind = true;
            continue;
          }
          next = batch.at(-1)?.n ?? next;
          yield batch;
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (signal.aborted) resolve();
        });
        wake = undefined;
      }
    } finally {
      subscription.dispose();
      signal.removeEventListener('abort', aborted);
    }
  }

  /**
   * Reads along while another process writes: calls `onAppend` for what it appends, until `signal` aborts. `tick` is
   * called about every second, to see whether the writer is still there.
   */
  async readAlong(tick: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    let wake: (() => void) | undefined;
    const watcher = watch(this.path, () => wake?.());
    watcher.on('error', () => undefined);
    try {
      while (!signal.aborted) {
        const batch: TaskEvent[] = [];
        const before = this.size;
        await this.catchUp((event) => batch.push(event));
        if (batch.length > 0) this.tell({ events: batch, bytes: this.size - before });
        else if (await tick()) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, 1000).unref();
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    } finally {
      watcher.close();
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.writing.catch(() => undefined);
    await this.file?.close();
    this.file = undefined;
  }
}

interface Placed {
  event: TaskEvent;
  offset: number;
  /** Offset behind the event's newline. */
  end: number;
}

/**
 * Reads the events after number `after` from whole lines, `offset` being the start of one; an unfinished last line is
 * left out.
 */
async function* readEvents(path: string, offset: number, after = 0): AsyncGenerator<Placed, void> {
  const file = await open(path, 'r').catch((thrown: unknown) => {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  });
  if (file === undefined) return;
  try {
    const { size } = await file.stat();
    if (size <= offset) return;
    const from = after === 0 ? offset : await offsetBefore(file, { from: offset, to: size }, after + 1);
    yield* eventsOf(file, path, from, size, after);
  } finally {
    await file.close();
  }
}

async function* eventsOf(
  file: FileHandle,
  path: string,
  from: number,
  size: number,
  after: number,
): AsyncGenerator<Placed, void> {
  let last: number | undefined;
  for await (const lines of fileLines(file, { from, to: size, readBytes, maxLineBytes })) {
    for (const { bytes, offset, end, whole } of lines) {
      if (!whole) throw damaged(path, offset);
      const number = numberAtHead(bytes);
      // What comes before is not what was asked for: its number is all that is read of it.
      if (number !== undefined && number <= after) {
        if (last !== undefined && number !== last + 1) throw damaged(path, offset);
        last = number;
        continue;
      }
      const event = decode(bytes, path, offset);
      if (last !== undefined && event.n !== last + 1) throw damaged(path, offset);
      last = event.n;
      if (event.n > after) yield { event, offset, end };
    }
  }
}

function decode(line: Uint8Array, path: string, offset: number): TaskEvent {
  try {
    return parseTaskEvent(JSON.parse(new TextDecoder().decode(line)));
  } catch (thrown) {
    throw damaged(path, offset, thrown);
  }
}

function damaged(path: string, offset: number, cause?: unknown): SallyportError {
  return new SallyportError(
    'log_damaged',
    `The log ${path} is damaged at byte ${offset}.`,
    'Move the file away to keep it; the commits of the task are in the quarantine and not touched by this.',
    { cause },
  );
}

function diskFull(path: string): SallyportError {
  return new SallyportError(
    'disk_full',
    `The disk that holds ${path} is full.`,
    'Free some space: the task goes on in its sandbox, and its log is completed as soon as there is room.',
  );
}
