import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { git } from '../git/process.ts';
import { commitLogArgs, parseCommitLog } from '../git/log.ts';
import type { FileChange } from '../protocol/taskEvent.ts';

/** Keeps the commit from being cleared away, and from being made twice. */
const ref = 'refs/sallyport/leftovers';

export interface Leftovers {
  commit: string;
  parent: string;
  files: FileChange[];
  /** How many are not listed. */
  moreFiles?: number;
}

/**
 * Keeps what is uncommitted (edits, deletions, untracked files that are not ignored) as a commit that is on no branch.
 * Index and files stay as they are. Undefined when everything is committed.
 * @param start the commit that stands in for HEAD when there is none
 */
export async function keepLeftovers(
  folder: string,
  start: string,
  signal?: AbortSignal,
): Promise<Leftovers | undefined> {
  const options = { cwd: folder, signal };
  const parent = (await revision('HEAD^{commit}')) ?? start;
  const temporary = await mkdtemp(join(tmpdir(), 'sallyport-index-'));
  try {
    const env = { GIT_INDEX_FILE: join(temporary, 'index') };
    // The agent's index knows which files are unchanged, and saves reading them all.
    await copyFile(join(folder, '.git', 'index'), env.GIT_INDEX_FILE).catch(() =>
      git(['read-tree', parent], { ...options, env }),
    );
    await git(['add', '--all', '--ignore-errors'], { ...options, env, okCodes: [0, 1] });
    const tree = line(await git(['write-tree'], { ...options, env }));
    if (tree === (await revision(`${parent}^{tree}`))) return undefined;
    const before = await revision(ref);
    const same =
      before !== undefined &&
      tree === (await revision(`${before}^{tree}`)) &&
      parent === (await revision(`${before}^`));
    const commit = same
      ? before
      : line(
          await git(
            ['commit-tree', '-p', parent, '-m', 'Uncommitted changes that the agent left', tree],
            options,
          ),
        );
    await git(['update-ref', ref, commit], options);
    const log = await git(commitLogArgs([commit], { noWalk: true }), options);
    const { files = [], moreFiles } = parseCommitLog(log.stdout)[0] ?? {};
    return { commit, parent, files, ...(moreFiles === undefined ? {} : { moreFiles }) };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }

  async function revision(name: string): Promise<string | undefined> {
    const result = await git(['rev-parse', '--quiet', '--verify', '--end-of-options', name], {
      ...options,
      okCodes: [0, 1, 128],
    });
    return result.code === 0 ? line(result) : undefined;
  }
}

function line(result: { stdout: Buffer }): string {
  return result.stdout.toString('utf8').trim();
}
