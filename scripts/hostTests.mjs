// `node scripts/hostTests.mjs [COUNTS]`: the suite of test/host inside the real extension host of VS Code's server, with
// the workbench in a real browser. COUNTS is the file for the counts of the tests.
import { resolve } from 'node:path';
import { bootstrap } from './lib/bootstrap.mjs';

await bootstrap();
const { main } = await import('./lib/say.mjs');
const { runHostTests } = await import('./lib/hostTests.mjs');

await main(() => {
  const [counts] = process.argv.slice(2);
  return runHostTests({ counts: counts === undefined ? undefined : resolve(counts) });
});
