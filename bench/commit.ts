import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TaskEvent } from '../src/protocol/taskEvent.ts';
import { aRepository, bash } from '../test/support/tasks.ts';
import { docker, dockerOk } from './lib/docker.ts';
import { type Editor, withEditor } from './lib/editor.ts';
import type { Section, Tools } from './lib/measure.ts';
import { median, ms, p95, ratio } from './lib/numbers.ts';
import { watchCommits } from './lib/probes.ts';

const goal = 100;
/** Rest after a commit, in seconds. */
const rest = 0.7;

interface Times {
  /** Each from the moment of the commit, in milliseconds. */
  announced: number;
  visible: number;
  imported: number;
  /** From the announcement to the quarantine. */
  importing: number;
}

/** From a commit in the sandbox to its card in the panel. */
export async function commit(tools: Tools): Promise<Section> {
  const count = tools.quick ? 10 : 50;
  const repositoryPath = await aRepository();
  const name = `sallyport-bench-${process.pid}`;
  try {
    const times = await withEditor(tools, (editor) => take(tools, editor, repositoryPath, count));
    await dockerOk(
      tools,
      ...['run', '-d', '--rm', '--network', 'none', '--name', name, tools.image, 'tail', '-f', '/dev/null'],
    );
    const peer: number[] = [];
    for (let i = 0; i < 20; i++) peer.push((await dockerOk(tools, 'exec', name, 'true')).ms);
    const of = median(peer);
    const row = (what: string, values: readonly number[]): string[] => [
      what,
      ms(median(values)),
      ms(p95(values)),
      ratio(median(values), of),
    ];
    const visible = times.map((one) => one.visible);
    const imported = times.map((one) => one.imported);
    return {
      title: 'Commit to panel',
      how: [
        `${count} commits of one changed file each, ${rest} s apart, made by the agent's shell in one task that runs in the ` +
          'extension host. The moment of a commit is the time that the file system gives to the branch’s ref; all clocks ' +
          'are the one of the machine. Visible is the moment at which the card of the commit is in the page of the ' +
          'panel, in Chromium, through VS Code’s own way to a webview. It does not wait for the import, so neither does ' +
          'its target. Imported is the `imported` event: the commit is in the quarantine, and its diff can be read. ' +
          'The peer is `docker exec CONTAINER true`, 20 times afterwards.',
      ],
      tables: [
        {
          head: ['From the commit until it is', 'median', 'p95', 'of `docker exec true`'],
          rows: [
            row(
              'announced by the supervisor',
              times.map((one) => one.announced),
            ),
            row('visible in the panel', visible),
            row('imported', imported),
            row(
              'imported, from the announcement on',
              times.map((one) => one.importing),
            ),
            row('peer: `docker exec CONTAINER true`', peer),
          ],
        },
      ],
      targets: [
        {
          what: 'Card of a commit in the panel, median',
          target: `< ${goal} ms`,
          measured: ms(median(visible)),
          met: median(visible) < goal,
        },
        {
          what: 'Card of a commit in the panel, 95th percentile',
          target: `< ${goal} ms`,
          measured: ms(p95(visible)),
          met: p95(visible) < goal,
        },
        {
          what: 'Commit in the quarantine, against `docker exec CONTAINER true`',
          target: '≤ 2.5 ×',
          measured: ratio(median(imported), of),
          met: median(imported) <= 2.5 * of,
        },
      ],
    };
  } finally {
    await docker(tools, 'rm', '-f', name);
    await rm(repositoryPath, { recursive: true, force: true });
  }
}

async function take(tools: Tools, editor: Editor, repositoryPath: string, count: number): Promise<Times[]> {
  await editor.ask('service', { engine: tools.engine, containerFolder: join(tools.root, 'container') });
  // Time for the panel to be drawn before the first commit.
  const script = [
    'ref=.git/$(git symbolic-ref HEAD); perl -e "select undef, undef, undef, 6"',
    `for i in $(seq ${count}); do echo $i > counter.txt; git add counter.txt; git commit -qm "Commit $i"`,
    `echo "$i $(stat -c %.9Y $ref)"; sleep ${rest}; done`,
  ].join('; ');
  const { id } = await editor.ask('task', {
    repositoryPath,
    prompt: 'Make some commits.',
    turns: [bash(script), { text: 'Done.' }],
  });
  const panel = await editor.panel();
  await panel.evaluate(watchCommits);
  const { events } = await editor.ask('events', { id, only: ['commit', 'imported', 'tool_result', 'ended'] });
  const seen = await panel.evaluate<Record<string, number>>('globalThis.benchSeen');
  return timesOf(events, seen, count);
}

function timesOf(events: readonly TaskEvent[], seen: Record<string, number>, count: number): Times[] {
  const printed = events.flatMap((event) => (event.type === 'tool_result' ? [event.text] : [])).join('\n');
  const made = new Map(
    [...printed.matchAll(/^(\d+) (\d+\.\d+)$/gm)].map(([, i = '', at]) => [i, Number(at) * 1000]),
  );
  const importedAt = new Map(
    events.flatMap((event) =>
      event.type === 'imported' ? event.tips.map((sha) => [sha, event.t] as const) : [],
    ),
  );
  const times = events.flatMap((event) => {
    if (event.type !== 'commit') return [];
    const number = /^Commit (\d+)$/.exec(event.commit.subject)?.[1] ?? '';
    const moment = made.get(number);
    const visible = seen[number];
    const imported = importedAt.get(event.commit.sha);
    if (moment === undefined || visible === undefined || imported === undefined) return [];
    return [
      {
        announced: event.t - moment,
        visible: visible - moment,
        imported: imported - moment,
        importing: imported - event.t,
      },
    ];
  });
  if (times.length !== count) {
    const end = JSON.stringify(events.find(({ type }) => type === 'ended'));
    throw new Error(
      `Of ${count} commits ${made.size} were made, ${Object.keys(seen).length} seen, ${times.length} whole: ${end} ${printed.slice(0, 400)}`,
    );
  }
  return times;
}
