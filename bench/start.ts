import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TaskEvent } from '../src/protocol/taskEvent.ts';
import { bash, Bench } from '../test/support/tasks.ts';
import { docker, dockerOk } from './lib/docker.ts';
import type { Section, Tools } from './lib/measure.ts';
import { mega, median, ms, now, p95, ratio, thousands } from './lib/numbers.ts';
import { aRepositoryOf, sizeOf } from './lib/repositories.ts';

/**
 * `keep` leaves the sandboxes standing until everything is measured. ext4 looks at every inode that was deleted in the last
 * minutes before it gives out a new one, so that sandboxes of many files would pay for the removal of those before them.
 */
const sizes = [
  { files: 200, rounds: 7, keep: false },
  { files: 10_000, rounds: 5, keep: true },
  { files: 50_000, rounds: 3, keep: true },
];

/** The parts of a start, each from the moment before it to its own. */
const parts = [
  'snapshot',
  'image check',
  'containers',
  'bundle, clone, checkout',
  'proof of egress',
  'boot of the agent',
] as const;
type Part = (typeof parts)[number];

interface Start {
  /** From the call of `submit` to the reader's first `session` event, and to its first `text`. */
  session: number;
  text: number;
  parts: Record<Part, number>;
}

/** From submit to the agent's first line. */
export async function start(tools: Tools): Promise<Section> {
  const standing: Bench[] = [];
  try {
    return await take(tools, standing);
  } finally {
    for (const bench of standing) await close(bench);
  }
}

async function close(bench: Bench): Promise<void> {
  await bench.close();
  await rm(bench.data, { recursive: true, force: true });
}

async function take(tools: Tools, standing: Bench[]): Promise<Section> {
  const chosen = tools.quick ? [{ files: 200, rounds: 2, keep: true }] : sizes;
  const rows: string[][] = [];
  const partRows: string[][] = [];
  const floorRows: string[][] = [];
  const repositories: string[] = [];
  const targets: Section['targets'][number][] = [];
  for (const { files, rounds, keep } of chosen) {
    const repositoryPath = await aRepositoryOf(tools, files);
    const { tree, pack } = await sizeOf(repositoryPath);
    repositories.push(`${thousands(files)} files: ${mega(tree)} MB of files, ${mega(pack)} MB packed`);
    const floors = { run: [] as number[], version: [] as number[], bare: [] as number[] };
    const first: Start[] = [];
    const later: Start[] = [];
    for (let round = 0; round < rounds; round++) {
      tools.say(`${thousands(files)} files, round ${round + 1} of ${rounds}`);
      floors.run.push((await dockerOk(tools, ...bare, tools.image, 'true')).ms);
      floors.version.push((await dockerOk(tools, ...bare, tools.image, 'claude', '--version')).ms);
      floors.bare.push((await docker(tools, ...bare, ...noModel, tools.image, ...agent)).firstMs);
      const data = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
      const bench = await Bench.open(tools.engine, { data });
      standing.push(bench);
      first.push(await once(bench, repositoryPath));
      later.push(await once(bench, repositoryPath));
      if (!keep) await close(standing.pop() ?? bench);
    }
    for (const [label, starts] of [
      ['first use', first],
      ['later', later],
    ] as const) {
      const sessions = starts.map(({ session }) => session);
      const found = median(sessions);
      rows.push([
        `${thousands(files)}, ${label}`,
        ms(found),
        ms(p95(sessions)),
        ms(median(starts.map(({ text }) => text))),
        ratio(found, median(floors.version)),
        ratio(found, median(floors.bare)),
      ]);
      partRows.push([
        `${thousands(files)}, ${label}`,
        ...parts.map((part) => ms(median(starts.map((one) => one.parts[part])))),
      ]);
    }
    floorRows.push([
      thousands(files),
      ms(median(floors.run)),
      ms(median(floors.version)),
      ms(median(floors.bare)),
    ]);
    const goal = { 200: 1.2, 10_000: 1.5, 50_000: 2 }[files];
    if (goal !== undefined) {
      const measured = median(later.map(({ session }) => session)) / median(floors.bare);
      targets.push({
        what: `First line of the agent, ${thousands(files)} files, against \`claude -p\` in a bare container`,
        target: `≤ ${goal} ×`,
        measured: `${measured.toFixed(2)} ×`,
        met: measured <= goal,
      });
    }
  }
  return {
    title: 'Start',
    how: [
      'From the call of `TaskService.submit` to the first `session` event that a reader of the task gets: the line with ' +
        'which the Claude Code command line begins. The floor is `docker run --rm --network none IMAGE claude --version`; ' +
        'the peer is `claude -p … --output-format stream-json` as the command of a bare container (no workspace, no ' +
        'gateway, no proof), up to its first line. Floors, first use (the quarantine is empty) and later use took turns ' +
        `in each round; ${chosen.map(({ files, rounds }) => `${rounds} rounds at ${thousands(files)} files`).join(', ')}.`,
      `Repositories of words by chance: ${repositories.join('; ')}.`,
      'Large sandboxes stay until all are measured: on ext4 the creation of files is many times slower in the minutes ' +
        'after as many were deleted, and one that is removed would slow down the next. For the same reason a second run ' +
        'within five minutes shows slower checkouts.',
      'The last table parts the start by the events of the task, each part by its median.',
    ],
    tables: [
      {
        head: [
          'Files',
          'first line, median',
          'p95',
          'first text',
          'of `claude --version`',
          'of bare `claude -p`',
        ],
        rows,
      },
      {
        head: [
          'Floors, in the rounds of',
          '`docker run --rm IMAGE true`',
          '`claude --version`',
          'bare `claude -p`',
        ],
        rows: floorRows,
      },
      { head: ['Files', ...parts], rows: partRows },
    ],
    targets,
  };
}

const bare = ['run', '--rm', '--network', 'none', '--entrypoint', ''];
/** A model that refuses at once: the first line comes before the first request. */
const noModel = [
  ...['-e', 'ANTHROPIC_BASE_URL=http://127.0.0.1:9', '-e', 'ANTHROPIC_AUTH_TOKEN=none'],
  ...['-e', 'CLAUDE_CODE_MAX_RETRIES=0', '-e', 'ANTHROPIC_MODEL=none'],
];
const agent = [
  'claude',
  '-p',
  'Hello',
  '--output-format',
  'stream-json',
  '--verbose',
  '--dangerously-skip-permissions',
];

async function once(bench: Bench, repositoryPath: string): Promise<Start> {
  const begin = now();
  const turns = [{ text: 'Hello.', ...bash('tail -f /dev/null') }];
  const { spec } = await bench.submit(turns, { repositoryPath });
  const at: Partial<Record<'session' | 'text', number>> = {};
  const events = await bench.events(spec.id, ({ type }) => {
    if (type === 'session' || type === 'text') at[type] ??= now();
    return type === 'text';
  });
  const { session, text } = at;
  if (session === undefined || text === undefined) throw new Error(failed(events, bench));
  const time = (found: (event: TaskEvent) => boolean): number => events.find(found)?.t ?? Number.NaN;
  const moments = [
    begin,
    time(({ type }) => type === 'submitted'),
    time((event) => event.type === 'progress' && event.stage === 'sandbox'),
    time(({ type }) => type === 'started'),
    time(({ type }) => type === 'workspace'),
    time(({ type }) => type === 'egress'),
    session,
  ];
  const durations = parts.map((part, index) => [
    part,
    (moments[index + 1] ?? Number.NaN) - (moments[index] ?? Number.NaN),
  ]);
  return {
    session: session - begin,
    text: text - begin,
    parts: Object.fromEntries(durations) as Record<Part, number>,
  };
}

function failed(events: readonly TaskEvent[], bench: Bench): string {
  const end = events.find(({ type }) => type === 'ended');
  return `The agent said nothing: ${JSON.stringify(end)}\n${bench.log.join('\n')}`;
}
