// The demonstration repository: a small Node.js project with one honest bug and a test that shows it.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { capture } from './processes.mjs';
import { Refusal } from './say.mjs';

const packageJson = `{
  "name": "stats",
  "version": "0.1.0",
  "description": "A few statistics for lists of numbers.",
  "type": "module",
  "private": true,
  "license": "MIT",
  "scripts": {
    "test": "node --test"
  }
}
`;

const readme = `# stats

A few statistics for lists of numbers.

\`\`\`js
import { mean, median } from './src/stats.js';

mean([1, 2, 6]); // 3
median([5, 1, 3]); // 3
\`\`\`

Run the tests with \`npm test\`. One of them fails: \`median\` is wrong for lists of even length.
`;

const ignore = `node_modules/
coverage/
.env
`;

const mean = `/** The arithmetic mean. */
export function mean(numbers) {
  if (numbers.length === 0) throw new RangeError('mean of an empty list');
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
`;

const median = `
/** The middle number, when the numbers are put in order. */
export function median(numbers) {
  if (numbers.length === 0) throw new RangeError('median of an empty list');
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
`;

const meanTests = `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mean } from '../src/stats.js';

test('mean of some numbers', () => {
  assert.equal(mean([1, 2, 6]), 3);
});

test('mean of nothing is refused', () => {
  assert.throws(() => mean([]), RangeError);
});
`;

const medianTest = `
test('median of an odd number of numbers', () => {
  assert.equal(median([5, 1, 3]), 3);
});
`;

const failingTest = `
test('median of an even number of numbers is the mean of the middle two', () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
});
`;

const bothImported = meanTests.replace('{ mean }', '{ mean, median }');

const history = [
  {
    message: 'Start the project',
    date: '2025-03-03T09:12:00+01:00',
    files: {
      'package.json': packageJson,
      '.gitignore': ignore,
      'README.md': '# stats\n\nA few statistics for lists of numbers.\n',
    },
  },
  {
    message: 'Add mean',
    date: '2025-03-03T10:40:00+01:00',
    files: { 'src/stats.js': mean, 'test/stats.test.js': meanTests },
  },
  {
    message: 'Add median',
    date: '2025-03-04T14:05:00+01:00',
    files: { 'src/stats.js': mean + median, 'test/stats.test.js': bothImported + medianTest },
  },
  {
    message: 'Show with a test that median is wrong for even lengths',
    date: '2025-03-05T08:30:00+01:00',
    files: { 'README.md': readme, 'test/stats.test.js': bothImported + medianTest + failingTest },
  },
];

/**
 * Makes the demonstration repository, unless it is there. A folder that holds something else is refused.
 * @returns {Promise<'created' | 'reused'>}
 */
export async function createDemoRepository(folder) {
  if (existsSync(join(folder, '.git'))) return 'reused';
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new Refusal(
      `${folder} holds something that is no git repository.`,
      'Choose another folder with --repo DIR.',
    );
  }
  mkdirSync(folder, { recursive: true });
  const git = (args, date) =>
    capture(['git', ...args], {
      cwd: folder,
      env: {
        ...withoutGit(process.env),
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_AUTHOR_NAME: 'Ada Demo',
        GIT_AUTHOR_EMAIL: 'ada@example.com',
        GIT_COMMITTER_NAME: 'Ada Demo',
        GIT_COMMITTER_EMAIL: 'ada@example.com',
        ...(date === undefined ? {} : { GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date }),
      },
    });
  await git(['init', '--quiet', '--initial-branch=main']);
  // An author of its own, so that a machine without a git identity can commit here too.
  await git(['config', 'user.name', 'Ada Demo']);
  await git(['config', 'user.email', 'ada@example.com']);
  for (const { message, date, files } of history) {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    await git(['add', '--all']);
    await git(['commit', '--quiet', '--no-verify', '--message', message], date);
  }
  return 'created';
}

/** Without what would point git at another repository. */
function withoutGit(env) {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('GIT_')));
}
