import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { activation } from './activation.ts';
import { broker } from './broker.ts';
import { commit } from './commit.ts';
import { dashboardPaint } from './dashboardPaint.ts';
import { egress } from './egress.ts';
import { eventReplay } from './eventReplay.ts';
import { followers } from './followers.ts';
import type { Measure, Section, Tools } from './lib/measure.ts';
import { now } from './lib/numbers.ts';
import { type PageApart, renderApart, renderPage } from './lib/page.ts';
import { log } from './log.ts';
import { review } from './review.ts';
import { secretScan } from './secretScan.ts';
import { start } from './start.ts';
import { submissions } from './submissions.ts';
import { vsix } from './vsix.ts';

/** In their order: `start` is the last, because it leaves much to be removed. */
const measures: Record<string, Measure> = {
  commit,
  log,
  activation,
  vsix,
  broker,
  egress,
  secretScan,
  start,
};

/** Measures that need neither an engine nor an editor, at most a browser: they go by themselves, and have pages of their own. */
const apart: (PageApart & { measures: Record<string, Measure> })[] = [
  {
    name: 'runner',
    title: 'Benchmarks of the runner',
    about: 'Everything here is measured on the real parts of the server, over sockets of the loopback.',
    measures: { followers, submissions, eventReplay, dashboardPaint },
  },
  {
    name: 'review',
    title: 'Benchmarks of the review',
    about: "Everything here is measured on the panel's own page with its real host, in Chromium.",
    measures: { reviewPanel: review },
  },
];

/** True for names that all belong to one page apart; its own name is all of it. */
export function isApart(names: readonly string[]): boolean {
  return pageOf(names) !== undefined;
}

function pageOf(names: readonly string[]): (typeof apart)[number] | undefined {
  if (names.length === 0) return undefined;
  return apart.find((page) => names.every((name) => name === page.name || name in page.measures));
}

/** Takes the named measures of a page apart. That of all of them is docs/benchmarks-<name>.md. */
export async function measureApart(tools: Tools, names: readonly string[]): Promise<void> {
  const page = pageOf(names);
  if (page === undefined) return;
  const all = names.includes(page.name);
  const chosen = Object.entries(page.measures).filter(([name]) => all || names.includes(name));
  const sections = await takeAll(tools, chosen);
  const folder = all && !tools.quick ? 'docs' : 'out';
  const path = join(tools.root, folder, `benchmarks-${page.name}.md`);
  await publish(path, await renderApart(tools, page, sections));
}

/**
 * Takes the named measures, or all. The page of a run with all of them is docs/benchmarks.md; that of any other is
 * out/benchmarks.md, so that the numbers of one page are always from one run.
 */
export async function measure(tools: Tools, names: readonly string[]): Promise<void> {
  const unknown = names.find((name) => !(name in measures));
  if (unknown !== undefined) {
    const others = apart.flatMap((page) => [page.name, ...Object.keys(page.measures)]);
    const known = [...Object.keys(measures), ...others].join(', ');
    throw new Error(
      `There is no measure "${unknown}"; there are ${known}. Those of a page of their own go by themselves.`,
    );
  }
  const begin = now();
  const chosen = Object.entries(measures).filter(([name]) => names.length === 0 || names.includes(name));
  const sections = await takeAll(tools, chosen);
  const page = await renderPage(tools, sections, (now() - begin) / 60_000);
  const whole = names.length === 0 && !tools.quick;
  await publish(join(tools.root, whole ? 'docs' : 'out', 'benchmarks.md'), page);
}

async function takeAll(tools: Tools, chosen: readonly [string, Measure][]): Promise<Section[]> {
  const sections: Section[] = [];
  for (const [name, take] of chosen) {
    console.log(`\n▶ ${name}`);
    sections.push(await take(tools));
  }
  return sections;
}

async function publish(path: string, page: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, page);
  console.log(`\n${page}\n  Written to ${path}.`);
}
