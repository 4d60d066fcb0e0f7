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
import { renderPage, renderRunnerPage } from './lib/page.ts';
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
  review,
  start,
};

/** Of the runner's server; they need neither an engine nor an editor, at most a browser, and have a page of their own. */
const runnerMeasures: Record<string, Measure> = { followers, submissions, eventReplay, dashboardPaint };

/** True for names that all belong to the runner's server; `runner` is all of them. */
export function isOfRunner(names: readonly string[]): boolean {
  return names.length > 0 && names.every((name) => name === 'runner' || name in runnerMeasures);
}

/** Takes the named measures of the runner's server. The page of all of them is docs/benchmarks-runner.md. */
export async function measureRunner(tools: Tools, names: readonly string[]): Promise<void> {
  const all = names.includes('runner');
  const chosen = Object.entries(runnerMeasures).filter(([name]) => all || names.includes(name));
  const sections = await takeAll(tools, chosen);
  const folder = all && !tools.quick ? 'docs' : 'out';
  await publish(join(tools.root, folder, 'benchmarks-runner.md'), await renderRunnerPage(tools, sections));
}

/**
 * Takes the named measures, or all. The page of a run with all of them is docs/benchmarks.md; that of any other is
 * out/benchmarks.md, so that the numbers of one page are always from one run.
 */
export async function measure(tools: Tools, names: readonly string[]): Promise<void> {
  const unknown = names.find((name) => !(name in measures));
  if (unknown !== undefined) {
    const known = [...Object.keys(measures), 'runner', ...Object.keys(runnerMeasures)].join(', ');
    throw new Error(
      `There is no measure "${unknown}"; there are ${known}. Those of the runner go by themselves.`,
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
