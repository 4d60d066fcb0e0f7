import type { Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import type { AcceptTarget } from '../../protocol/review.ts';
import { foldPath } from '../foldPath.ts';
import { namedReason } from '../gateNames.ts';
import { git, gitStream } from '../process.ts';
import { readHead } from '../repository.ts';
import { fields, isRegular, modes, type Change, type Side } from './entries.ts';
import { clean } from './filters.ts';
import { inParallel } from './inParallel.ts';
import { bytesOf, shownPath, type GitPath } from './paths.ts';
import { looksForRenames, renamesBetween, type Rename } from './renames.ts';
import type { Scratch } from './scratch.ts';

/** More new files of the user's than this are not compared with those that are gone; nor larger ones together, in bytes. */
const maxNew = 10_000;
const maxAlike = 1_000;
const maxAlikeBytes = 256 << 20;

/**
 * The files that the task changes and that the user has renamed since, by their old names. Only those are followed whose new
 * name the gate would not hold back, or for the same reason as the old one: it was the old one that was looked at.
 */
export async function usersRenames(
  scratch: Scratch,
  base: string,
  changes: readonly Change[],
  target: AcceptTarget,
): Promise<Map<GitPath, GitPath>> {
  const edited = new Map<GitPath, Side>();
  const taken = new Set<GitPath>();
  for (const { path, before, after } of changes) {
    taken.add(path);
    if (isRegular(before) && isRegular(after)) edited.set(path, before);
  }
  if (target.kind === 'branch' || edited.size === 0) return new Map();
  const renames =
    target.kind === 'tree' ? await inFiles(scratch, base, edited) : await onBranch(scratch, base);
  return new Map(
    renames
      .filter(({ from, to }) => edited.has(from) && !taken.has(to) && !isHeldBack(from, to))
      .map(({ from, to }) => [from, to]),
  );
}

function isHeldBack(from: GitPath, to: GitPath): boolean {
  const [old, now] = [from, to].map((path) => namedReason(foldPath(shownPath(path)))?.kind);
  return now !== undefined && now !== old;
}

async function onBranch(scratch: Scratch, base: string): Promise<Rename[]> {
  if (!(await looksForRenames(scratch))) return [];
  const head = await readHead(scratch.asUser(), scratch.repository.workTree);
  return await renamesBetween(base, head, scratch.options);
}

/** Renames in the work tree, whether git was told of them or not. */
async function inFiles(
  scratch: Scratch,
  base: string,
  edited: ReadonlyMap<GitPath, Side>,
): Promise<Rename[]> {
  const gone = await missing(scratch, edited);
  if (gone.size === 0 || !(await looksForRenames(scratch))) return [];
  const alike = await likely(scratch, await newFiles(scratch, base), gone);
  if (alike.length === 0) return [];
  const names = await clean(scratch, alike);
  const entries: [GitPath, Side][] = [...gone.keys()].map((path) => [path, undefined]);
  for (const [index, path] of alike.entries()) {
    const oid = names[index];
    if (oid !== undefined) entries.push([path, { mode: modes.file, oid }]);
  }
  return await renamesBetween(base, await scratch.treeWith(base, entries), scratch.options);
}

async function missing(
  scratch: Scratch,
  edited: ReadonlyMap<GitPath, Side>,
): Promise<ReadonlyMap<GitPath, Side>> {
  const gone = new Map<GitPath, Side>();
  await inParallel(edited, async ([path, side]) => {
    const info = await infoOf(scratch, path);
    if (info === undefined || info.isDirectory()) gone.set(path, side);
  });
  return gone;
}

async function infoOf(scratch: Scratch, path: GitPath): Promise<Stats | undefined> {
  const folder = Buffer.from(`${scratch.repository.workTree}/`);
  return await lstat(Buffer.concat([folder, bytesOf(path)])).catch(() => undefined);
}

/** What is neither in the base nor ignored; nothing where that is too much to be compared. */
async function newFiles(scratch: Scratch, base: string): Promise<GitPath[]> {
  const options = scratch.asUserReading();
  const added = ['diff-index', '--cached', '--no-renames', '--diff-filter=A', '--name-only', '-z', base];
  const found: GitPath[] = [];
  for (const args of [added, ['ls-files', '--others', '--exclude-standard', '-z']]) {
    for await (const path of fields(gitStream(args, options).stdout)) {
      // A repository of its own.
      if (path.endsWith('/')) continue;
      found.push(path);
      if (found.length > maxNew) return [];
    }
  }
  return found;
}

/** Those of them that are large enough, and small enough, to be half of one that is gone. */
async function likely(
  scratch: Scratch,
  found: readonly GitPath[],
  gone: ReadonlyMap<GitPath, Side>,
): Promise<GitPath[]> {
  const { stdout } = await git(['cat-file', '--batch-check=%(objectsize)'], {
    ...scratch.options,
    input: [...gone.values()].map((side) => `${side?.oid ?? ''}\n`).join(''),
  });
  const sizes = stdout.toString().trim().split('\n').map(Number);
  const alike: { path: GitPath; size: number }[] = [];
  await inParallel(found, async (path) => {
    const info = await infoOf(scratch, path);
    if (info?.isFile() !== true) return;
    // Half of the lines are the same, and line endings may differ.
    if (sizes.some((size) => info.size <= size * 3 + 64 && size <= info.size * 3 + 64))
      alike.push({ path, size: info.size });
  });
  const bytes = alike.reduce((sum, { size }) => sum + size, 0);
  return alike.length > maxAlike || bytes > maxAlikeBytes ? [] : alike.map(({ path }) => path).sort();
}
