// A mocha reporter: Spec on the terminal, and the counts as JSON in the file that the option `output` names
// (or SALLYPORT_TEST_COUNTS). The file is there only when the run came to its end.
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const own = options?.reporterOptions?.output;
    const output = own ?? process.env.SALLYPORT_TEST_COUNTS;
    if (output === undefined) return;
    const counts = { passed: 0, failed: [], pending: [], again: [], open: [] };
    runner.on('pass', () => counts.passed++);
    const told = (test, error) => ({ test: test.fullTitle(), error: String(error?.message ?? error) });
    runner.on('fail', (test, error) => counts.failed.push(told(test, error)));
    // What failed and is tried once more, with why: a second attempt hides nothing.
    runner.on('retry', (test, error) => counts.again.push(told(test, error)));
    runner.on('pending', (test) => counts.pending.push(test.fullTitle()));
    runner.once('end', () => {
      writeFileSync(output, JSON.stringify(counts));
      if (own !== undefined) endAfterAll(output, counts);
    });
  }
}

/** How long a process may need for what its tests have left open, in milliseconds. */
const patience = 60_000;

/** Ends a process that is kept alive by what its tests have left open, and writes down what that was. */
function endAfterAll(output, counts) {
  const timer = setTimeout(() => {
    const open = process.getActiveResourcesInfo();
    writeFileSync(output, JSON.stringify({ ...counts, open }));
    process.exit(counts.failed.length > 0 ? 1 : 0);
  }, patience);
  timer.unref();
}
