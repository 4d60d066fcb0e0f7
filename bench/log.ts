import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Frame } from 'playwright-core';
import { LineSplitter } from '../src/base/lines.ts';
import { connectEngine } from '../src/engine/connect.ts';
import type { Engine } from '../src/engine/engine.ts';
import { WireDecoder } from '../src/protocol/wire.ts';
import { TaskLog, type UnnumberedEvent } from '../src/runner/taskLog.ts';
import { aRepository, Bench } from '../test/support/tasks.ts';
import { docker } from './lib/docker.ts';
import { withEditor } from './lib/editor.ts';
import { flooder, floodImage, type Load } from './lib/flood.ts';
import type { Section, Table, Target, Tools } from './lib/measure.ts';
import { mega, median, ms, now, p95, pause, ratio, thousands } from './lib/numbers.ts';
import { type Flow, type Held, heldEvents, watchFlow } from './lib/probes.ts';

const goal = 20e6;
const longFrame = 50;

/** What one way of reading took in. */
interface Taken {
  bytes: number;
  lines: number;
  /** From the first byte to the last. */
  ms: number;
  lost: number;
}

interface Way {
  name: string;
  read: (engine: Engine, id: string, lines: number) => Promise<Taken>;
}

/** What the log carries in a second, stage by stage, and what the panel does meanwhile. */
export async function log(tools: Tools): Promise<Section> {
  const loads: { name: string; load: Load }[] = [
    { name: 'short', load: { size: 150, bytes: tools.quick ? 4e6 : 32e6 } },
    { name: 'long', load: { size: 4000, bytes: tools.quick ? 8e6 : 64e6 } },
  ];
  const rounds = tools.quick ? 1 : 3;
  const tables: Table[] = [];
  const targets: Target[] = [];
  const repositoryPath = await aRepository();
  const image = await floodImage(tools);
  const engine = await connectEngine({ setting: tools.engine });
  try {
    for (const { name, load } of loads) {
      const rows = await stages(tools, engine, load, rounds, name);
      rows.push(await wholeRunner(tools, image.folder, repositoryPath, load, name));
      tables.push({
        head: [`Stage, ${name} events`, 'MB/s, median', 'lines/s', 'of `docker logs -f`', 'lost'],
        rows: withRatios(rows),
      });
    }
    for (const { name, load } of loads) {
      tools.say(`Panel, ${name} events`);
      const shown = await panel(tools, image.folder, repositoryPath, load);
      tables.push(shown.table(name));
      targets.push(...shown.targets(name));
    }
  } finally {
    engine.dispose();
    await image.dispose();
    await rm(repositoryPath, { recursive: true, force: true });
  }
  return {
    title: 'Log throughput',
    how: [
      `Text events of ${loads.map(({ name, load }) => `${thousands(load.size)} (${name})`).join(' and ')} bytes of text, ` +
        `${loads.map(({ name, load }) => `${mega(load.bytes)} MB of the ${name}`).join(' and ')} ones. For the stages a ` +
        'container of the sandbox image, hardened and with the log driver of a sandbox (`local`), prints them in the wire ' +
        'format as fast as it can; each stage holds the ones above it, and is timed from its first byte to its last, ' +
        `${rounds} rounds in turns. "Follow" reads the engine's log file (as after a reconnection), "attach" the ` +
        'stream of a container that had not started yet. The peer is `docker logs -f` of such a container into a ' +
        'pipe whose reader throws it away.',
      'For the whole runner and the panel the sandbox image has a program in the place of the `claude` command that ' +
        'prints the messages of the Claude Code command line as fast as they are taken; supervisor, engine, runner, log ' +
        'file, extension host, VS Code’s way to the webview, and the panel are the product’s. Megabytes are those of ' +
        'the lines on the way: of the sandbox’s stdout in the stages, of the log file in the whole runner, of the ' +
        'batches that the panel took in. Nothing lost means: as many events as were said, numbered without a gap, with ' +
        'every character of their texts. Frames are those of the panel’s page while the log flowed, by ' +
        '`requestAnimationFrame`; Chromium draws them on the processor, and shares it with all the rest.',
    ],
    tables,
    targets,
  };
}

interface Row {
  name: string;
  taken: Taken[];
}

async function stages(
  tools: Tools,
  engine: Engine,
  load: Load,
  rounds: number,
  label: string,
): Promise<Row[]> {
  const ways = waysOf(tools);
  const rows: Row[] = ways.map(({ name }) => ({ name, taken: [] }));
  for (let round = 0; round < rounds; round++) {
    tools.say(`Stages, ${label} events, round ${round + 1} of ${rounds}`);
    for (const [index, way] of ways.entries()) {
      const id = await engine.create(
        flooder(tools, load, `sallyport-bench-${process.pid}-${round}-${index}`),
      );
      try {
        rows[index]?.taken.push(await way.read(engine, id, Math.floor(load.bytes / load.size)));
      } finally {
        await engine.remove(id);
      }
    }
  }
  return rows;
}

function waysOf(tools: Tools): Way[] {
  return [
    {
      name: 'peer: `docker logs -f`',
      read: async (engine, id, lines) => {
        await engine.start(id);
        const { bytes, streamMs } = await docker(tools, 'logs', '-f', id);
        return { bytes, lines, ms: streamMs, lost: 0 };
      },
    },
    { name: 'engine, follow', read: (engine, id, lines) => bytesOnly(engine, id, lines, 'follow') },
    { name: 'engine, attach', read: (engine, id, lines) => bytesOnly(engine, id, lines, 'attach') },
    {
      name: '… and decoder, follow',
      read: (engine, id, lines) => decoded(engine, id, lines, 'follow', () => Promise.resolve()),
    },
    {
      name: '… and decoder, attach',
      read: (engine, id, lines) => decoded(engine, id, lines, 'attach', () => Promise.resolve()),
    },
    { name: '… and log file, follow', read: (engine, id, lines) => intoFile(engine, id, lines, 'follow') },
    { name: '… and log file, attach', read: (engine, id, lines) => intoFile(engine, id, lines, 'attach') },
  ];
}

type How = 'attach' | 'follow';

async function* bytesOf(engine: Engine, id: string, how: How): AsyncGenerator<Uint8Array, void> {
  const never = new AbortController().signal;
  if (how === 'follow') await engine.start(id);
  const source = engine.logs(id, never);
  if (how === 'attach') await engine.start(id);
  yield* source;
}

async function bytesOnly(engine: Engine, id: string, lines: number, how: How): Promise<Taken> {
  let bytes = 0;
  let first = 0;
  let last = 0;
  for await (const piece of bytesOf(engine, id, how)) {
    last = now();
    first ||= last;
    bytes += piece.length;
  }
  return { bytes, lines, ms: last - first, lost: 0 };
}

/** As the runner reads a sandbox. */
async function decoded(
  engine: Engine,
  id: string,
  lines: number,
  how: How,
  take: (events: UnnumberedEvent[]) => Promise<void>,
): Promise<Taken> {
  const decoder = new WireDecoder();
  let batch: UnnumberedEvent[] = [];
  let bytes = 0;
  let events = 0;
  let first = 0;
  let last = 0;
  const splitter = new LineSplitter((line) => {
    for (const item of decoder.push(line)) if (item.kind === 'event') batch.push(item.event);
  }, 32 << 10);
  for await (const piece of bytesOf(engine, id, how)) {
    first ||= now();
    bytes += piece.length;
    splitter.push(piece);
    events += batch.length;
    const taken = batch;
    batch = [];
    if (taken.length > 0) await take(taken);
    last = now();
  }
  return { bytes, lines, ms: last - first, lost: lines - events };
}

async function intoFile(engine: Engine, id: string, lines: number, how: How): Promise<Taken> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
  const file = await TaskLog.open(folder);
  try {
    await file.beginWriting(() => undefined);
    return await decoded(engine, id, lines, how, (events) => file.append(events));
  } finally {
    await file.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A whole task without a window: supervisor, engine, runner, log file. */
async function wholeRunner(
  tools: Tools,
  containerFolder: string,
  repositoryPath: string,
  load: Load,
  label: string,
): Promise<Row> {
  tools.say(`Whole runner, ${label} events`);
  const bench = await Bench.open(tools.engine, { containerFolder });
  try {
    const { spec } = await bench.submit([], { repositoryPath, prompt: `flood ${load.bytes} ${load.size}` });
    let first = 0;
    let last = 0;
    let count = 0;
    for await (const batch of bench.service.events(spec.id, 0, new AbortController().signal)) {
      const texts = batch.filter(({ type }) => type === 'text').length;
      if (texts === 0) continue;
      last = now();
      first ||= last;
      count += texts;
    }
    const lines = Math.floor(load.bytes / load.size);
    const { size } = await stat(join(bench.data, 'tasks', spec.id, 'events.ndjson'));
    return {
      name: 'whole runner, with supervisor and a reader',
      taken: [{ bytes: size, lines, ms: last - first, lost: lines - count }],
    };
  } finally {
    await bench.close();
  }
}

function withRatios(rows: readonly Row[]): string[][] {
  const speed = ({ taken }: Row): number => median(taken.map(({ bytes, ms: time }) => (bytes / time) * 1000));
  const peer = rows[0] === undefined ? Number.NaN : speed(rows[0]);
  return rows.map((row) => [
    row.name,
    mega(speed(row)),
    thousands(median(row.taken.map(({ lines, ms: time }) => (lines / time) * 1000))),
    ratio(speed(row), peer),
    thousands(row.taken.reduce((sum, { lost }) => sum + lost, 0)),
  ]);
}

interface Shown {
  table: (label: string) => Table;
  targets: (label: string) => Target[];
}

/** The same task in the extension host, with its panel in view. */
async function panel(
  tools: Tools,
  containerFolder: string,
  repositoryPath: string,
  load: Load,
): Promise<Shown> {
  return await withEditor(tools, async (editor) => {
    await editor.ask('service', { engine: tools.engine, containerFolder });
    const prompt = `flood ${load.bytes} ${load.size}`;
    const { id } = await editor.ask('task', { repositoryPath, prompt, turns: [] });
    const frame = await editor.panel();
    await frame.evaluate(watchFlow);
    const { count } = await editor.ask('events', { id, only: [] });
    const held = await settled(frame, count);
    const flow = await frame.evaluate<Flow>('globalThis.benchFlow');
    return shown(load, count, held, flow);
  });
}

/** Waits until the panel holds all events, or gets no further ones for a while. */
async function settled(frame: Frame, count: number): Promise<Held> {
  const patience = 10_000;
  let held = await frame.evaluate<Held>(heldEvents);
  for (let last = now(); held.count < count && now() - last < patience;) {
    await pause(500);
    const next = await frame.evaluate<Held>(heldEvents);
    if (next.count > held.count) last = now();
    held = next;
  }
  return held;
}

/** A batch of this many bytes is no longer from before the flood. */
const floodBatch = 20_000;
/** How long before the flood the frames are looked at for comparison, in milliseconds. */
const quietMs = 3000;

function shown(load: Load, count: number, held: Held, flow: Flow): Shown {
  const lines = Math.floor(load.bytes / load.size);
  const flood = flow.batches.slice(flow.batches.findIndex(([, bytes]) => bytes >= floodBatch));
  const bytes = flood.reduce((sum, [, length]) => sum + length, 0);
  const first = flood[0]?.[0] ?? Number.NaN;
  const last = flood.at(-1)?.[0] ?? Number.NaN;
  const time = last - first;
  const during = flow.frames.filter(([at]) => at >= first && at <= last).map(([, length]) => length);
  const before = flow.frames
    .filter(([at]) => at >= first - quietMs && at < first)
    .map(([, length]) => length);
  const tasks = flow.tasks.filter(([at]) => at >= first && at <= last).map(([, length]) => length);
  const speed = (bytes / time) * 1000;
  const long = during.filter((length) => length > longFrame);
  const lost = count - held.count;
  const whole = lost === 0 && held.whole && held.text === lines * load.size;
  const longest = Math.max(0, ...during);
  return {
    table: (label) => ({
      head: [`Panel in view, ${label} events`, 'while the log flowed', '3 s before'],
      rows: [
        ['MB/s taken in', mega(speed), ''],
        ['lines/s', thousands((lines / time) * 1000), ''],
        ['events lost', thousands(lost), ''],
        ['frames', thousands(during.length), thousands(before.length)],
        ['frame, median', ms(median(during)), ms(median(before))],
        ['frame, p95', ms(p95(during)), ms(p95(before))],
        ['longest frame', ms(longest), ms(Math.max(0, ...before))],
        [
          `frames over ${longFrame} ms`,
          thousands(long.length),
          thousands(before.filter((length) => length > longFrame).length),
        ],
        ['scripts over 50 ms', `${tasks.length}, longest ${ms(Math.max(0, ...tasks))}`, ''],
      ],
    }),
    targets: (label) => [
      {
        what: `Log to the panel, ${label} events`,
        target: '≥ 20 MB/s, nothing lost',
        measured: `${mega(speed)} MB/s, ${whole ? 'nothing' : `${thousands(lost)} events`} lost`,
        met: speed >= goal && whole,
      },
      {
        what: `Frames of the panel meanwhile, ${label} events`,
        target: `none over ${longFrame} ms`,
        measured: `${long.length} of ${during.length}, longest ${ms(longest)}`,
        met: long.length === 0,
      },
    ],
  };
}
