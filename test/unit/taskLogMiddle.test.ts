import assert from 'node:assert/strict';
import { appendFile, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { SallyportError } from '../../src/base/errors.ts';
import { parseTaskEvent, type TaskEvent } from '../../src/protocol/taskEvent.ts';
import { numberAtHead, offsetBefore } from '../../src/runner/logSearch.ts';
import { TaskLog, type UnnumberedEvent } from '../../src/runner/taskLog.ts';

const line = (n: number, text: string): string =>
  `${JSON.stringify({ n, t: 1, type: 'notice', level: 'info', text })}\n`;
const note = (text: string): UnnumberedEvent => ({ type: 'notice', level: 'info', text, t: 1 });

/** As nobody would do it: all of the file, from its beginning. */
async function naive(path: string, after: number): Promise<TaskEvent[]> {
  const whole = (await readFile(path, 'utf8')).split('\n').slice(0, -1);
  return whole.map((text) => parseTaskEvent(JSON.parse(text))).filter(({ n }) => n > after);
}

async function collect(source: AsyncIterable<TaskEvent[]>): Promise<TaskEvent[]> {
  const all: TaskEvent[] = [];
  for await (const batch of source) all.push(...batch);
  return all;
}

describe('reading a log from its middle', () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-log-'));
    path = join(folder, 'events.ndjson');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('gives what reading all of it would give, whatever its lines are', async () => {
    const length = fc.oneof(
      { weight: 20, arbitrary: fc.nat(300) },
      { weight: 4, arbitrary: fc.nat(20_000) },
      { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 400_000 }) },
    );
    // Texts that hold what a line begins with, and newlines, which are escaped in a line.
    const text = fc.constantFrom('x', 'é\u2028', '\n', '{"n":7,"t":1}\n', '\n{"n":99999,');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(length, text), { minLength: 1, maxLength: 120 }),
        fc.array(fc.double({ min: 0, max: 1.2, noNaN: true }), { minLength: 1, maxLength: 6 }),
        fc.nat(30),
        async (lines, places, cut) => {
          const whole = lines.map(([size, word], i) =>
            line(i + 1, word.repeat(Math.ceil(size / word.length))),
          );
          const torn = line(lines.length + 1, 'torn').slice(0, cut);
          await writeFile(path, whole.join('') + torn);
          const log = TaskLog.openFinished(folder);
          for (const place of places) {
            const after = Math.round(place * lines.length);
            assert.deepEqual(await collect(log.read(after)), await naive(path, after));
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('begins near what is asked for, with few and small reads', async () => {
    const count = 40_000;
    await writeFile(path, Array.from({ length: count }, (_, i) => line(i + 1, 'x'.repeat(i % 700))).join(''));
    const whole = await readFile(path);
    const file = await open(path);
    try {
      for (const n of [1, 2, 777, 20_000, 39_999, 40_000, 50_000]) {
        let bytes = 0;
        let reads = 0;
        const counting = {
          read: async (...args: [Buffer, number, number, number]) => {
            const done = await file.read(...args);
            bytes += done.bytesRead;
            reads += 1;
            return done;
          },
        } as unknown as typeof file;
        const offset = await offsetBefore(counting, { from: 0, to: whole.length }, n);
        const number = numberAtHead(whole.subarray(offset));
        assert.ok(number !== undefined && number <= n, `${number} for ${n}`);
        const skipped = whole.subarray(offset).indexOf(`{"n":${Math.min(n, count)},`);
        assert.ok(skipped >= 0 && skipped < 64 << 10, `${skipped} bytes before ${n}`);
        assert.ok(bytes < 128 << 10 && reads < 64, `${reads} reads of ${bytes} bytes`);
      }
    } finally {
      await file.close();
    }
  });

  it('does not read a long line again and again to get behind it', async () => {
    const long = 24 << 20;
    await writeFile(path, line(1, 'a') + line(2, 'b'.repeat(long)) + line(3, 'c'));
    const size = (await readFile(path)).length;
    const file = await open(path);
    let bytes = 0;
    const counting = {
      read: async (...args: [Buffer, number, number, number]) => {
        const done = await file.read(...args);
        bytes += done.bytesRead;
        return done;
      },
    } as unknown as typeof file;
    try {
      for (const n of [1, 2, 3]) await offsetBefore(counting, { from: 0, to: size }, n);
      assert.ok(bytes < 3 * 1.2 * long, `${bytes} bytes`);
    } finally {
      await file.close();
    }
    const log = TaskLog.openFinished(folder);
    assert.deepEqual(
      (await collect(log.read(1))).map(({ n }) => n),
      [2, 3],
    );
    assert.deepEqual(
      (await collect(log.read(2))).map(({ n }) => n),
      [3],
    );
  });

  it('comes upon damage, and says where it is', async () => {
    const good = Array.from({ length: 2000 }, (_, i) => line(i + 1, 'x'.repeat(200)));
    const damages: [string, string][] = [
      ['nonsense', 'nonsense\n'],
      ['a number that is not the next', line(7, 'again')],
      ['nothing', '\n'],
      ['zeros, as a disk leaves them', `${'\0'.repeat(300)}\n`],
    ];
    for (const [name, damage] of damages) {
      // In the middle, and as the last line.
      for (const at of [1000, 2000]) {
        await writeFile(path, [...good.slice(0, at), damage, ...good.slice(at)].join(''));
        const log = TaskLog.openFinished(folder);
        for (const after of [0, 500, 999]) {
          const seen: number[] = [];
          await assert.rejects(
            async () => {
              for await (const batch of log.read(after)) seen.push(...batch.map(({ n }) => n));
            },
            (thrown: unknown) => thrown instanceof SallyportError && thrown.code === 'log_damaged',
            `${name} at ${at}, after ${after}`,
          );
          assert.ok(seen.every((n, i) => n === after + 1 + i));
        }
      }
    }
  });

  it('goes on while the log grows, from wherever it begins, also with an event of its own size', async () => {
    const log = await TaskLog.open(folder);
    await log.beginWriting(() => undefined);
    const count = 4000;
    const over = new AbortController();
    const follow = async (after: number, lazy: boolean): Promise<number[]> => {
      const numbers: number[] = [];
      for await (const batch of log.follow(after, over.signal)) {
        numbers.push(...batch.map(({ n }) => n));
        if (lazy) await new Promise((resolve) => setTimeout(resolve, 3));
        if ((numbers.at(-1) ?? 0) >= count) break;
      }
      return numbers;
    };
    const readers: [number, Promise<number[]>][] = [];
    for (let i = 0; i < count / 10; i++) {
      const texts = Array.from({ length: 10 }, (_, j) => note('y'.repeat(i % 50 === j ? 300_000 : j * 100)));
      await log.append(texts);
      if (i % 80 === 0) readers.push([i * 5, follow(i * 5, i % 160 === 0)]);
    }
    for (const [after, reader] of readers) {
      assert.deepEqual(
        await reader,
        Array.from({ length: count - after }, (_, i) => after + 1 + i),
      );
    }
    over.abort();
    await log.close();
    await appendFile(path, '{"n":4001,"t":1,"ty');
    assert.equal((await collect(log.read(count - 3))).length, 3);
  });
});
