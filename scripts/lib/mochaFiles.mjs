// Runs files of mocha tests, each in a process of its own, several side by side.
//
// Why processes of their own: starting a program costs a process the more the larger it is (fork copies its page tables),
// and these tests start programs all the time. One process for all files grows to more than a gigabyte, and then pays some
// 100 ms for each git where a small one pays 5.
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join, relative } from 'node:path';
import { root } from './bootstrap.mjs';
import { run } from './processes.mjs';
import { dim, duration, say } from './say.mjs';

const reporter = join(root, 'scripts', 'lib', 'countingReporter.mjs');

/**
 * @typedef {{ test: string, error: string }} Told a test with what it said
 * @typedef {{ passed: number, failed: Told[], pending: string[], again: Told[], open: string[] }} Counts
 */

/**
 * Runs all files, shows the output of each when it ended, and adds up what they counted. A file that does not come to its
 * end counts as one failed test, with the end of its output.
 * @param {string[]} files
 * @param {object} options
 * @param {string} options.folder takes the counts of each file
 * @param {string[]} [options.first] names of those that take longest
 * @param {string[]} [options.alone] names of those that keep the whole machine busy: they run after the others, one by one
 * @param {string[]} [options.options] mocha's
 * @param {number} [options.jobs] how many files run at a time: as many as there are processors and one more, but no more than that
 * @param {NodeJS.ProcessEnv} [options.env]
 * @param {number} options.limitMs for all together
 * @returns {Promise<Counts>}
 */
export async function runFiles(
  files,
  { folder, first = [], alone = [], options = [], jobs = 8, env, limitMs },
) {
  mkdirSync(folder, { recursive: true });
  const end = Date.now() + limitMs;
  const total = { passed: 0, failed: [], pending: [], again: [], open: [] };
  const times = [];
  let interrupted = false;
  const interrupt = () => (interrupted = true);
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  const work = async (waiting) => {
    for (let file = waiting.shift(); file !== undefined && !interrupted; file = waiting.shift()) {
      const start = Date.now();
      const counts = await runFile(file, { folder, options, env, limitMs: Math.max(1, end - start) });
      times.push({ file, time: Date.now() - start });
      total.passed += counts.passed;
      for (const list of ['failed', 'pending', 'again', 'open']) total[list].push(...counts[list]);
    }
  };
  const workers = Math.min(jobs, availableParallelism() + 1);
  const [together, apart] = [false, true].map((is) =>
    inOrder(
      files.filter((file) => alone.includes(nameOf(file)) === is),
      first,
    ),
  );
  await Promise.all(Array.from({ length: workers }, () => work(together)));
  await work(apart);
  process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  const slowest = times.sort((a, b) => b.time - a.time).slice(0, 5);
  const told = slowest.map(({ file, time }) => `${nameOf(file)} ${duration(time)}`);
  say(dim(`The longest of ${files.length} files, ${workers} at a time: ${told.join(', ')}`));
  return total;
}

/** @returns {Promise<Counts>} */
async function runFile(file, { folder, options, env, limitMs }) {
  const name = relative(root, file);
  const output = join(folder, `${name.replaceAll(/[/\\]/g, '-')}.json`);
  rmSync(output, { force: true });
  const start = Date.now();
  let text = '';
  const argv = [
    ...[process.execPath, join(root, 'node_modules', 'mocha', 'bin', 'mocha.js')],
    ...(process.stdout.isTTY ? ['--color'] : []),
    ...[...options, '--reporter', reporter, '--reporter-option', `output=${output}`, file],
  ];
  const code = await run(argv, { cwd: root, env, limitMs, tell: (chunk) => (text += chunk) });
  console.log(`\n${dim(`${name} (${duration(Date.now() - start)})`)}\n${text.trim()}`);
  const counts = read(output);
  if (counts === undefined) return failure(name, `did not come to its end (exit code ${code})\n${text}`);
  const seen = counts.passed + counts.failed.length + counts.pending.length;
  if (seen === 0) return failure(name, 'ran no test');
  if (counts.open.length > 0) counts.open = [`${name}: ${counts.open.join(', ')}`];
  if (code !== 0 && counts.failed.length === 0)
    counts.failed.push({ test: name, error: `exit code ${code}` });
  return counts;
}

/** The longest first, as far as it is known or the size of a file tells, so that none begins when the others are done. */
function inOrder(files, first) {
  const weigh = (file) => {
    const place = first.indexOf(nameOf(file));
    return place === -1 ? statSync(file).size : Number.MAX_SAFE_INTEGER - place;
  };
  const weights = new Map(files.map((file) => [file, weigh(file)]));
  return files.toSorted((a, b) => weights.get(b) - weights.get(a));
}

function nameOf(file) {
  return basename(file, '.test.ts');
}

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function failure(name, text) {
  return { passed: 0, failed: [{ test: name, error: text.slice(-4000) }], pending: [], again: [], open: [] };
}
