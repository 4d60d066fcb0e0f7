import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { batches, readObjects } from './objects.ts';
import { git, type GitOptions } from './process.ts';

/**
 * Bounds of what a sandbox may send, so that no program that walks it later has to do more than a machine can. They lie
 * far above what is found in real repositories.
 */
export const shapeLimits = {
  /** Objects in one pack. */
  objects: 1_000_000,
  /** Files that a tree stands for, with those below its folders. Ten trees of a few bytes can stand for ten billion. */
  files: 2_000_000,
  /** Folders in folders. */
  depth: 256,
  /** Length of a path, in bytes. */
  path: 4096,
  /** Of a file's content, and of all that is in one pack, in bytes, unpacked. */
  content: 512 << 20,
  unpacked: 16 * 2 ** 30,
  /** Of one object that is not a file's content, in bytes. */
  structure: 64 << 20,
  /** Of all trees together, in bytes. */
  trees: 512 << 20,
} as const;
type ShapeLimits = Record<keyof typeof shapeLimits, number>;

/** What a tree stands for. */
interface Extent {
  files: number;
  depth: number;
  /** Longest path, in bytes. */
  path: number;
}

interface Tree {
  files: number;
  /** Longest name of a file, in bytes. */
  name: number;
  folders: { sha: string; name: number }[];
}

interface Listed {
  sha: string;
  size: number;
}

/** How much of trees is read at once, in bytes. */
const batchBytes = 16 << 20;
/** A name says all that is in a tree, so what was found once holds for every repository. */
const known = new Map<string, Extent>();
const maxKnown = 200_000;

/**
 * Checks the objects of the packs in a folder: their number, and how much their trees stand for. Fails with
 * `git_failed` and what is too much.
 * @param options of a git that sees these objects, and those that they build on
 */
export async function checkShape(
  packFolder: string,
  options: GitOptions,
  limits: ShapeLimits = shapeLimits,
): Promise<void> {
  const fresh = await packedObjects(packFolder, options);
  if (fresh.length > limits.objects) throw tooMany(fresh.length, limits.objects);
  const trees = new Map<string, Tree>();
  let bytes = 0;
  // Folders that came before are looked into as well: they count as much as new ones.
  for (let wave = fresh; wave.length > 0;) {
    const listed = await treesAmong(wave, options, limits);
    bytes += listed.reduce((sum, { size }) => sum + size, 0);
    if (bytes > limits.trees) throw refused(`its trees take more than ${limits.trees} bytes`);
    const found = await readTrees(listed, options);
    for (const [sha, tree] of found) trees.set(sha, tree);
    const inside = found.flatMap(([, tree]) => tree.folders.map(({ sha }) => sha));
    wave = [...new Set(inside)].filter((sha) => !trees.has(sha) && !known.has(sha));
  }
  if (known.size > maxKnown) known.clear();
  for (const sha of trees.keys()) measure(sha, trees, limits);
}

/** Works out a tree's extent from those below it, without recursion: they may be nested deeper than a stack is. */
function measure(root: string, trees: ReadonlyMap<string, Tree>, limits: ShapeLimits): void {
  const stack = [root];
  for (let sha = stack.at(-1); sha !== undefined; sha = stack.at(-1)) {
    const tree = trees.get(sha);
    // One that is missing is found by the check of connections.
    const waiting = tree?.folders.filter((folder) => trees.has(folder.sha) && !known.has(folder.sha)) ?? [];
    if (tree === undefined || known.has(sha)) stack.pop();
    else if (waiting.length > 0) stack.push(...waiting.map((folder) => folder.sha));
    else {
      known.set(sha, extentOf(tree, limits));
      stack.pop();
    }
    if (stack.length > limits.objects) throw refused('its trees are nested too deep');
  }
}

function extentOf(tree: Tree, limits: ShapeLimits): Extent {
  const extent: Extent = { files: tree.files, depth: 1, path: tree.name };
  for (const { sha, name } of tree.folders) {
    const below = known.get(sha) ?? { files: 0, depth: 0, path: 0 };
    extent.files += below.files;
    extent.depth = Math.max(extent.depth, 1 + below.depth);
    extent.path = Math.max(extent.path, name + 1 + below.path);
  }
  if (extent.files > limits.files) throw refused(`a tree of it stands for more than ${limits.files} files`);
  if (extent.depth > limits.depth) throw refused(`its folders are nested deeper than ${limits.depth}`);
  if (extent.path > limits.path) throw refused(`it holds a path that is longer than ${limits.path} bytes`);
  return extent;
}

async function packedObjects(packFolder: string, options: GitOptions): Promise<string[]> {
  const names: string[] = [];
  for (const name of (await readdir(packFolder)).filter((each) => each.endsWith('.idx'))) {
    const { stdout } = await git(['show-index'], {
      ...options,
      input: createReadStream(join(packFolder, name)),
    });
    for (const [, sha = ''] of stdout.toString('latin1').matchAll(/^\d+ ([0-9a-f]{40})/gm)) names.push(sha);
  }
  return names;
}

async function treesAmong(
  names: readonly string[],
  options: GitOptions,
  limits: ShapeLimits,
): Promise<Listed[]> {
  const { stdout } = await git(['cat-file', '--batch-check', '--buffer'], {
    ...options,
    input: names.map((sha) => `${sha}\n`).join(''),
  });
  const trees: Listed[] = [];
  const form = /^([0-9a-f]{40}) (tree|commit|tag|blob) (\d+)$/gm;
  let unpacked = 0;
  for (const [, sha = '', kind, size] of stdout.toString('latin1').matchAll(form)) {
    const longest = kind === 'blob' ? limits.content : limits.structure;
    if (Number(size) > longest) throw refused(`the ${kind} ${sha} is longer than ${longest} bytes`);
    unpacked += Number(size);
    if (unpacked > limits.unpacked) throw refused(`it is longer than ${limits.unpacked} bytes when unpacked`);
    if (kind === 'tree' && !known.has(sha)) trees.push({ sha, size: Number(size) });
  }
  return trees;
}

async function readTrees(listed: readonly Listed[], options: GitOptions): Promise<[string, Tree][]> {
  const trees: [string, Tree][] = [];
  for (const batch of batches(listed, batchBytes)) {
    const contents = await readObjects(
      batch.map(({ sha }) => sha),
      options,
    );
    for (const [index, { sha }] of batch.entries())
      trees.push([sha, parseTree(contents[index] ?? Buffer.alloc(0))]);
  }
  return trees;
}

function parseTree(bytes: Buffer): Tree {
  const tree: Tree = { files: 0, name: 0, folders: [] };
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const zero = bytes.indexOf(0, space);
    if (space === -1 || zero === -1) throw refused('it holds a tree that is malformed');
    const name = zero - space - 1;
    if (bytes.toString('latin1', at, space) === '40000') {
      tree.folders.push({ sha: bytes.toString('hex', zero + 1, zero + 21), name });
    } else {
      tree.files++;
      tree.name = Math.max(tree.name, name);
    }
    at = zero + 21;
  }
  return tree;
}

export function tooMany(objects: number, limit: number): SallyportError {
  return refused(`it holds ${objects.toLocaleString('en')} objects, more than ${limit.toLocaleString('en')}`);
}

function refused(message: string): SallyportError {
  return new SallyportError(
    'git_failed',
    message,
    'Look at what was made with git itself, where it was made.',
  );
}
