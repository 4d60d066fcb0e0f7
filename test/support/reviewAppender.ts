import { ReviewLog } from '../../src/runner/review/reviewLog.ts';

/**
 * A process that appends to the review in the folder that it is given: marks named by its own name and a number, some at a
 * time, each written to stdout once it is in the log.
 */
const [folder = '', name = '', count = '0', size = '1'] = process.argv.slice(2);
const log = new ReviewLog(folder);
for (let i = 0; i < Number(count); i++) {
  const mark = `${name} ${i} `.padEnd(Math.min(64, Number(size)), '.');
  await log.append(() => [
    { type: 'reviewed', fingerprints: [mark], on: true },
    { type: 'reviewed', fingerprints: [`${mark}!`.slice(-64)], on: true },
  ]);
  process.stdout.write(`${mark}\n`);
}
