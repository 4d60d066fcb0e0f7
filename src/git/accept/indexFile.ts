import { chmod, copyFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../base/errors.ts';
import { git, gitStream, type GitOptions } from '../process.ts';
import { entry, fields, type Side } from './entries.ts';
import type { GitPath } from './paths.ts';
import { indexInfo } from './scratch.ts';

export interface IndexEntry {
  side: Side;
  /** Git is told not to look at the file, or that it is not to be in the work tree. */
  hidden?: 'assume-unchanged' | 'skip-worktree';
}

/** What the index has of these paths. */
export async function indexEntries(
  options: GitOptions,
  paths: { has(path: GitPath): boolean },
): Promise<Map<GitPath, IndexEntry>> {
  const found = new Map<GitPath, IndexEntry>();
  for await (const field of fields(gitStream(['ls-files', '-s', '-v', '-z'], options).stdout)) {
    const [, tag = '', mode = '', oid = '', path = ''] =
      /^([A-Za-z?]) ([0-7]{6}) ([0-9a-f]{40}) [0-3]\t([^]*)$/.exec(field) ?? [];
    if (path === '' || !paths.has(path)) continue;
    const hidden = tag.toUpperCase() === 'S' ? 'skip-worktree' : tag === 'h' ? 'assume-unchanged' : undefined;
    found.set(path, { side: entry(mode, oid), ...(hidden === undefined ? {} : { hidden }) });
  }
  return found;
}

/** Writes to `file` what the index becomes with these entries. The index itself is only read. */
export async function indexWith(
  repository: { workTree: string; gitDir: string },
  file: string,
  entries: Iterable<readonly [GitPath, Side]>,
  signal?: AbortSignal,
): Promise<void> {
  const { workTree, gitDir } = repository;
  const mode = await copyIndex(join(gitDir, 'index'), file);
  await git(['update-index', '-z', '--index-info'], {
    mode: 'user',
    cwd: workTree,
    gitDir,
    workTree,
    signal,
    env: { GIT_INDEX_FILE: file },
    input: indexInfo(entries),
  });
  if (mode !== undefined) await chmod(file, mode);
}

/** With its time: git takes a file that is as old as the index for possibly changed, and must go on to do so. */
async function copyIndex(from: string, to: string): Promise<number | undefined> {
  try {
    const { mtimeMs, mode } = await stat(from);
    await copyFile(from, to);
    const seconds = Math.floor(mtimeMs) / 1000;
    await utimes(to, seconds, seconds);
    return mode & 0o777;
  } catch (thrown) {
    // A repository without an index is one where everything is about to be deleted.
    if (!isErrno(thrown, 'ENOENT')) throw thrown;
    return undefined;
  }
}
