import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TaskLog } from '../src/runner/taskLog.ts';
import { ada, StreamServer } from '../test/support/streamServer.ts';
import type { Section, Tools } from './lib/measure.ts';
import { mega, median, ms, now, p95, ratio, thousands } from './lib/numbers.ts';

const goalMs = 50;
/** How much memory the reading of half a log may take, in bytes: some batches, and garbage. */
const flatBytes = 64 << 20;

interface Big {
  folder: string;
  path: string;
  bytes: number;
  events: number;
  /** Of its middle. */
  middle: { n: number; offset: number };
}

/** A long log is read from its middle: when the first event is there, and what the rest takes. */
export async function eventReplay(tools: Tools): Promise<Section> {
  const size = tools.quick ? 64 << 20 : 2 ** 30;
  const rounds = tools.quick ? 10 : 50;
  const big = await write(size, tools);
  const server = await StreamServer.start();
  try {
    const log = TaskLog.openFinished(big.folder);
    const id = await server.tasks.addFinished(ada, big.path, big.events);
    const times = { tail: [] as number[], read: [] as number[], http: [] as number[], last: [] as number[] };
    tools.say('The first event behind the middle');
    // In turns, so that all have the same machine.
    for (let round = -3; round < rounds; round++) {
      // Never twice the same place.
      const n = big.middle.n + (round + 3) * 97;
      const tail = await timed(() => tailOf(big.path, big.middle.offset));
      const read = await timed(async () => {
        for await (const batch of log.read(n)) {
          expect(batch[0]?.n, n + 1);
          return;
        }
      });
      const last = await timed(async () => {
        for await (const batch of log.read(big.events - 1)) expect(batch[0]?.n, big.events);
      });
      const http = await timed(() => firstOver(server, id, n));
      if (round < 0) continue;
      times.tail.push(tail);
      times.read.push(read);
      times.last.push(last);
      times.http.push(http);
    }
    tools.say('All of the second half');
    const half = await peakOf(log, big.middle.n);
    const tenth = await peakOf(log, Math.round(big.events * 0.9));
    const row = (name: string, values: readonly number[]): string[] => [
      name,
      ms(median(values)),
      ms(p95(values)),
      ratio(median(values), median(times.tail)),
    ];
    return {
      title: 'Replay of a long log',
      how: [
        `A log of ${mega(big.bytes)} MB with ${thousands(big.events)} events of 100 to 4,000 characters, and one of 1 MB in every thousand; its pages are in memory. ${rounds} rounds in turns, each from another place just behind the middle. The floor is \`tail -c +OFFSET\`, which is told the place in bytes, up to its first output, and that is mostly the start of a process. Over HTTP it is a request \`GET …/events?after=N\` of a client in the same process up to the first whole event.`,
        'Memory is the most that the process had while it read to the end and threw away what it read, over what it had before; garbage is not collected by order.',
      ],
      tables: [
        {
          head: ['First event', 'median', 'p95', 'of `tail -c`'],
          rows: [
            row('floor: `tail -c +OFFSET`', times.tail),
            row('of the second half, from the log', times.read),
            row('the last one of all, from the log', times.last),
            row('of the second half, over HTTP', times.http),
          ],
        },
        {
          head: ['Read to the end', 'events', 'MB/s', 'memory'],
          rows: [
            [
              'the last tenth',
              thousands(tenth.events),
              mega((big.bytes * 0.1 * 1000) / tenth.ms),
              `${mega(tenth.peak)} MB`,
            ],
            [
              'the second half',
              thousands(half.events),
              mega((big.bytes * 0.5 * 1000) / half.ms),
              `${mega(half.peak)} MB`,
            ],
          ],
        },
      ],
      targets: [
        {
          what: `First event behind the middle of a log of ${mega(big.bytes)} MB, over HTTP, median`,
          target: `under ${goalMs} ms`,
          measured: ms(median(times.http)),
          met: median(times.http) < goalMs,
        },
        {
          what: 'Memory for reading half of it',
          target: `flat: at most ${mega(flatBytes)} MB`,
          measured: `${mega(half.peak)} MB`,
          met: half.peak <= flatBytes,
        },
      ],
    };
  } finally {
    await server.stop();
    await rm(big.folder, { recursive: true, force: true });
  }
}

async function write(size: number, tools: Tools): Promise<Big> {
  tools.say(`Writing a log of ${mega(size)} MB`);
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
  const path = join(folder, 'events.ndjson');
  const file = await open(path, 'w');
  const words = Array.from({ length: 100_000 }, () => Math.random().toString(36).slice(2, 8)).join(' ');
  let bytes = 0;
  let n = 0;
  let middle: Big['middle'] | undefined;
  try {
    while (bytes < size) {
      const lines: string[] = [];
      for (let length = 0; length < 4 << 20;) {
        n += 1;
        const long = n % 1000 === 0;
        const wanted = long ? 1 << 20 : 100 + Math.floor(Math.random() ** 3 * 3900);
        const from = Math.floor(Math.random() * (words.length - 4000));
        const text = long ? words.slice(0, 1000).repeat(1049) : words.slice(from, from + wanted);
        const line = `${JSON.stringify({ n, t: 1, s: n, type: 'text', text })}\n`;
        middle ??= bytes + length >= size / 2 ? { n, offset: bytes + length } : undefined;
        length += line.length;
        lines.push(line);
      }
      bytes += (await file.write(lines.join(''))).bytesWritten;
    }
  } finally {
    await file.close();
  }
  if (middle === undefined) throw new Error('The log has no middle');
  return { folder, path, bytes, events: n, middle };
}

async function timed(what: () => Promise<unknown>): Promise<number> {
  const begin = now();
  await what();
  return now() - begin;
}

function expect(found: number | undefined, wanted: number): void {
  if (found !== wanted) throw new Error(`Event ${String(found)} came, and not ${wanted}`);
}

async function tailOf(path: string, offset: number): Promise<void> {
  const child = spawn('tail', ['-c', `+${offset + 1}`, path], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout, 'data');
  const closed = once(child, 'close');
  child.stdout.destroy();
  child.kill();
  await closed;
}

async function firstOver(server: StreamServer, id: string, n: number): Promise<void> {
  const leaving = new AbortController();
  const answer = await server.fetch(`/api/v1/tasks/${id}/events?after=${n}`, { signal: leaving.signal });
  let text = '';
  try {
    for await (const chunk of answer.body ?? []) {
      text += Buffer.from(chunk as Uint8Array).toString();
      const end = text.indexOf('\n');
      if (end === -1) continue;
      expect((JSON.parse(text.slice(0, end)) as { n: number }).n, n + 1);
      return;
    }
  } finally {
    leaving.abort();
  }
  throw new Error('The answer ended before its first event');
}

/** Reads to the end, and looks at the memory meanwhile. */
async function peakOf(log: TaskLog, after: number): Promise<{ peak: number; ms: number; events: number }> {
  const { rss } = process.memoryUsage();
  let peak = 0;
  let events = 0;
  const begin = now();
  for await (const batch of log.read(after)) {
    events += batch.length;
    peak = Math.max(peak, process.memoryUsage.rss() - rss);
  }
  return { peak, ms: now() - begin, events };
}
