import { chmod, copyFile, mkdir, rm, stat, utimes } from 'node:fs/promises';
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

/**
 * Writes to `file` what the index becomes with these entries. The index itself is only read. Git sees an empty work tree
 * meanwhile: it would look into files that are as young as the index, by attributes that it finds in the new entries, and so run a filter
 * that nobody accepted. In exchange the new index is as old as the old one: git takes such files for possibly changed, and must go
 * on to do so.
 */
export async function indexWith(
  repository: { gitDir: string },
  file: string,
  entries: Iterable<readonly [GitPath, Side]>,
  signal?: AbortSignal,
): Promise<void> {
  const { gitDir } = repository;
  const from = join(gitDir, 'index');
  const old = await stat(from).catch((thrown: unknown) => {
    // A repository without an index is one where everything is about to be deleted.
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  });
  if (old !== undefined) await copyFile(from, file);
  const nowhere = `${file}.nowhere`;
  await mkdir(nowhere);
  try {
    await git(['update-index', '-z', '--index-info'], {
      mode: 'user',
      cwd: nowhere,
      gitDir,
      workTree: nowhere,
      signal,
      env: { GIT_INDEX_FILE: file },
      input: indexInfo(entries),
    });
  } finally {
    await rm(nowhere, { recursive: true, force: true });
  }
  if (old === undefined) return;
  await chmod(file, old.mode & 0o777);
  const seconds = Math.floor(old.mtimeMs) / 1000;
  await utimes(file, seconds, seconds);
}
