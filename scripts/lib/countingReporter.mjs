// A mocha reporter: Spec on the terminal, and the counts as JSON in the file that the option `output` names
// (or SALLYPORT_TEST_COUNTS). The file is there only when the run came to its end.
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const output = options?.reporterOptions?.output ?? process.env.SALLYPORT_TEST_COUNTS;
    if (output === undefined) return;
    const counts = { passed: 0, failed: [], pending: [], again: [] };
    runner.on('pass', () => counts.passed++);
    const told = (test, error) => ({ test: test.fullTitle(), error: String(error?.message ?? error) });
    runner.on('fail', (test, error) => counts.failed.push(told(test, error)));
    // What failed and is tried once more, with why: a second attempt hides nothing.
    runner.on('retry', (test, error) => counts.again.push(told(test, error)));
    runner.on('pending', (test) => counts.pending.push(test.fullTitle()));
    runner.once('end', () => writeFileSync(output, JSON.stringify(counts)));
  }
}
