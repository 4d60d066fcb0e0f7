import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { linkObjects } from './link.ts';
import { git, gitStream, type GitOptions } from './process.ts';
import { alternate, receivePack, type Store } from './receive.ts';
import type { Repository } from './repository.ts';

/** A store that the history of the user's repository is brought into, and what is there of it. */
export interface HistoryStore extends Store {
  options(signal?: AbortSignal): GitOptions;
  has(object: string, signal?: AbortSignal): Promise<boolean>;
}

/**
 * Brings in HEAD of the user's repository with its history: by links where that is possible.
 * @param bases the commits of it that were brought in before
 */
export async function bringHistory(
  store: HistoryStore,
  repository: Repository,
  bases: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const theirs = join(repository.commonDir, 'objects');
  // Links bring in what is in the store itself; what it borrows from others has to be copied.
  const borrows = (await readFile(join(theirs, 'info', 'alternates'), 'utf8').catch(() => '')).trim() !== '';
  if (bases.length === 0 && !borrows) await linkObjects(theirs, store.objects, signal);
  if (bases.length > 0 || !(await store.has(`${repository.head}^{tree}`, signal)))
    await copyFrom(store, theirs, repository.head, bases, signal);
}

/** Copies a commit's history out of a store of the user's, reading its objects only: no program of it is run. */
async function copyFrom(
  store: HistoryStore,
  objects: string,
  head: string,
  bases: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const packing = gitStream(['pack-objects', '--revs', '--stdout', '--thin', '--delta-base-offset', '-q'], {
    ...store.options(signal),
    env: alternate(objects),
    input: [head, ...bases.map((sha) => `^${sha}`)].map((line) => `${line}\n`).join(''),
  });
  // Not strict: the user's history may hold defects of old tools, and is the user's.
  await receivePack(store, packing.stdout, { strict: false, tips: [head], signal });
}

/** Upper estimate of what a snapshot of the repository takes in a store, in bytes; the history is brought in once. */
export async function bytesNeeded(
  repository: Repository,
  hasHistory: boolean,
  signal?: AbortSignal,
): Promise<number> {
  const options: GitOptions = { gitDir: repository.gitDir, cwd: repository.workTree, mode: 'user', signal };
  const [counted, listed] = await Promise.all([
    git(['count-objects', '-v'], options),
    git(['ls-tree', '-r', '-z', '--long', 'HEAD'], options),
  ]);
  let tree = 0;
  for (const entry of listed.stdout.toString('latin1').split('\0')) {
    tree += Number(/^\S+ \S+ \S+ +(\d+)\t/.exec(entry)?.[1] ?? 0);
  }
  return (hasHistory ? 0 : kibibytes(counted.stdout.toString())) + 2 * tree;
}

function kibibytes(counted: string): number {
  const values = [...counted.matchAll(/^(?:size|size-pack): (\d+)$/gm)].map((match) => Number(match[1]));
  return values.reduce((sum, value) => sum + value, 0) * 1024;
}
