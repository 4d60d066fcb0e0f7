import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { isErrno } from '../base/errors.ts';
import { TaskId } from '../protocol/grammar.ts';

/** One answer of a model's. `g` is the number of the gateway's event, so that each is counted once however often it is told. */
const Entry = z.object({
  task: TaskId,
  g: z.int().check(z.positive()),
  usd: z.number().check(z.nonnegative()),
});
type Entry = z.infer<typeof Entry>;

interface Day {
  name: string;
  usd: number;
  seen: Set<string>;
  /** How much of the file is read, in bytes. */
  read: number;
}

/**
 * What all tasks of this user cost, by day (UTC): a file for each day, to which every process that attends to tasks
 * appends. A line is written in one piece, and begins with a newline: what a killed writer left of one ends there.
 */
export class SpendLedger {
  private readonly folder: string;
  /** The day that was asked for last. */
  private day: Day | undefined;
  private working: Promise<unknown> = Promise.resolve();

  constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * Counts one event, unless it is counted already. Rejects when the file cannot be written; it counts for this process
   * even so.
   * @param t milliseconds since the epoch: the day that it counts for
   */
  record(task: TaskId, g: number, usd: number, t: number): Promise<void> {
    return this.inTurn(async () => {
      const day = this.dayOf(t);
      if (!count(day, { task, g, usd })) return;
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      const file = await open(this.path(day), 'a', 0o600);
      try {
        await file.write(`\n${JSON.stringify({ task, g, usd } satisfies Entry)}\n`);
      } finally {
        await file.close();
      }
    });
  }

  /** What the day of `now` has cost so far, in US dollars, by whichever process. */
  total(now: number): Promise<number> {
    return this.inTurn(async () => {
      const day = this.dayOf(now);
      await this.catchUp(day);
      return day.usd;
    });
  }

  private dayOf(t: number): Day {
    const name = new Date(t).toISOString().slice(0, 10);
    if (this.day?.name !== name) this.day = { name, usd: 0, seen: new Set(), read: 0 };
    return this.day;
  }

  private path(day: Day): string {
    return join(this.folder, `${day.name}.ndjson`);
  }

  private async catchUp(day: Day): Promise<void> {
    let file: FileHandle;
    try {
      file = await open(this.path(day), 'r');
    } catch (thrown) {
      if (isErrno(thrown, 'ENOENT')) return;
      throw thrown;
    }
    try {
      const { size } = await file.stat();
      if (size <= day.read) return;
      const bytes = Buffer.alloc(size - day.read);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, day.read);
      const whole = bytes.subarray(0, bytes.subarray(0, bytesRead).lastIndexOf(10) + 1);
      for (const line of whole.toString('utf8').split('\n')) {
        const entry = read(line);
        if (entry !== undefined) count(day, entry);
      }
      day.read += whole.length;
    } finally {
      await file.close();
    }
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.working.then(work);
    this.working = result.catch(() => undefined);
    return result;
  }
}

function count(day: Day, { task, g, usd }: Entry): boolean {
  const key = `${task} ${g}`;
  if (day.seen.has(key)) return false;
  day.seen.add(key);
  day.usd += usd;
  return true;
}

/** Undefined for what a killed writer left, or somebody else wrote. */
function read(line: string): Entry | undefined {
  try {
    return Entry.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
