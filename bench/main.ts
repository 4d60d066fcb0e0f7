import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { activation } from './activation.ts';
import { broker } from './broker.ts';
import { commit } from './commit.ts';
import { egress } from './egress.ts';
import type { Measure, Section, Tools } from './lib/measure.ts';
import { now } from './lib/numbers.ts';
import { renderPage } from './lib/page.ts';
import { log } from './log.ts';
import { secretScan } from './secretScan.ts';
import { start } from './start.ts';
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

/**
 * Takes the named measures, or all. The page of a run with all of them is docs/benchmarks.md; that of any other is
 * out/benchmarks.md, so that the numbers of one page are always from one run.
 */
export async function measure(tools: Tools, names: readonly string[]): Promise<void> {
  const unknown = names.find((name) => !(name in measures));
  if (unknown !== undefined) {
    throw new Error(`There is no measure "${unknown}"; there are ${Object.keys(measures).join(', ')}.`);
  }
  const begin = now();
  const sections: Section[] = [];
  for (const [name, take] of Object.entries(measures)) {
    if (names.length > 0 && !names.includes(name)) continue;
    console.log(`\n▶ ${name}`);
    sections.push(await take(tools));
  }
  const page = await renderPage(tools, sections, (now() - begin) / 60_000);
  const whole = names.length === 0 && !tools.quick;
  const path = join(tools.root, whole ? 'docs' : 'out', 'benchmarks.md');
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, page);
  console.log(`\n${page}\n  Written to ${path}.`);
}
