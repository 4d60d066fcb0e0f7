import { commitLogArgs, parseCommitLog } from '../../git/log.ts';
import { git } from '../../git/process.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { ReviewDiff } from '../../protocol/review.ts';
import type { Commit } from '../../protocol/taskEvent.ts';

const maxCommits = 2000;
const maxBytes = 64 << 20;

/**
 * Paths that the commits of a range have touched, and that the diff of the whole range does not show: what was there in between,
 * and leaves with the history. Of the newest 2000 commits.
 */
export async function onlyInHistory(
  quarantine: Quarantine,
  { from, to, files }: Pick<ReviewDiff, 'from' | 'to' | 'files'>,
  signal?: AbortSignal,
): Promise<string[]> {
  const args = [
    'log',
    '-z',
    '--format=',
    '--name-only',
    '--no-renames',
    '--diff-merges=first-parent',
    '--no-show-signature',
    '--no-notes',
    '--no-ext-diff',
    '--no-textconv',
    `--max-count=${maxCommits}`,
    '--end-of-options',
    to,
    `^${from}`,
    '--',
  ];
  const { stdout } = await git(args, { ...quarantine.options(signal), bounded: true, maxBytes });
  const shown = new Set(files.flatMap(({ path, from: old }) => (old === undefined ? [path] : [path, old])));
  const touched = new Set(
    stdout
      .toString()
      .split('\0')
      .map((path) => path.replace(/^\n/, ''))
      .filter((path) => path !== ''),
  );
  return [...touched].filter((path) => !shown.has(path));
}

/** How many commits of the first one's history are in none of the others'; what is not here counts for nothing. */
export async function missingCommits(
  quarantine: Quarantine,
  commit: string,
  have: readonly string[],
  signal?: AbortSignal,
): Promise<number> {
  const known = await quarantine.known(have.slice(0, maxCommits), signal);
  const input = [commit, ...known.map((sha) => `^${sha}`)].map((line) => `${line}\n`).join('');
  const { stdout } = await git(['rev-list', '--count', '--stdin'], { ...quarantine.options(signal), input });
  return Number.parseInt(stdout.toString());
}

/** True where one commit is in the history of another; false also where the older one is not here. */
export async function isOlder(
  quarantine: Quarantine,
  older: string,
  newer: string,
  env: Record<string, string>,
  signal?: AbortSignal,
): Promise<boolean> {
  const options = { ...quarantine.options(signal), env, okCodes: [0, 1, 128] };
  return (await git(['merge-base', '--is-ancestor', older, newer], options)).code === 0;
}

/** The commits of a range, oldest first: the newest 500. @param env lets git read further objects */
export async function newCommits(
  quarantine: Quarantine,
  { from, to }: { from: string; to: string },
  env: Record<string, string>,
  signal?: AbortSignal,
): Promise<Commit[]> {
  const args = commitLogArgs([to, `^${from}`], { maxCount: 500 });
  const { stdout } = await git(args, { ...quarantine.options(signal), env, bounded: true, maxBytes });
  return parseCommitLog(stdout).reverse();
}
