import { access, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { concat } from '../base/lines.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { git, type GitOptions } from './process.ts';
import { checkShape, shapeLimits, tooMany } from './shape.ts';

/** A place where git keeps objects and refs. */
export interface Store {
  gitDir: string;
  objects: string;
}

export interface ReceiveOptions {
  /** Checks every object as `git fsck` does; a warning of it is an error. */
  strict: boolean;
  /** Findings of that check that are none, by git's names of them. */
  tolerate?: readonly string[];
  /** Commits that must be there with all that they reach. */
  tips: readonly string[];
  /** Of the pack as it comes, and of what it takes in the store. */
  maxBytes?: number | undefined;
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** The variable that lets git read objects from a second store as well. */
export function alternate(...objects: string[]): { GIT_ALTERNATE_OBJECT_DIRECTORIES: string } {
  const separator = process.platform === 'win32' ? ';' : ':';
  const quoted = objects.map((path) => `"${path.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`);
  return { GIT_ALTERNATE_OBJECT_DIRECTORIES: quoted.join(separator) };
}

/**
 * Takes a pack into a store, or nothing of it. It is unpacked and checked in a folder of its own, as git's own
 * receive-pack does, so that no object can be seen in the store before everything is known to be right. The folder's name
 * is one that `git prune` clears away, should this process be killed. Creates no ref. Throws what `git` throws.
 * Resolves to the bytes that it takes in the store.
 */
export async function receivePack(store: Store, pack: ByteStream, options: ReceiveOptions): Promise<number> {
  const { strict, tolerate = [], tips, maxBytes, timeoutMs, signal } = options;
  const deadline = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
  const incoming = await mkdtemp(join(store.objects, 'tmp_objdir-sallyport-'));
  const base = (): GitOptions => ({
    gitDir: store.gitDir,
    env: { GIT_OBJECT_DIRECTORY: incoming, ...alternate(store.objects) },
    signal,
    bounded: strict,
    ...(deadline === undefined ? {} : { timeoutMs: Math.max(1, deadline - performance.now()) }),
  });
  try {
    await mkdir(join(incoming, 'pack'));
    const args = [
      'index-pack',
      '--stdin',
      '--fix-thin',
      ...(strict
        ? [['--strict', tolerate.map((id) => `${id}=ignore`).join()].filter(Boolean).join('=')]
        : []),
      ...(maxBytes === undefined ? [] : [`--max-input-size=${maxBytes}`]),
    ];
    const input = strict ? countedPack(pack, shapeLimits.objects) : pack;
    await git(args, { ...base(), input });
    const packs = join(incoming, 'pack');
    // What a thin pack builds on is added to it: a few bytes can call in much.
    const size = await sizeOf(packs);
    if (maxBytes !== undefined && size > maxBytes)
      throw new SallyportError(
        'git_failed',
        `it takes ${size} bytes, and ${maxBytes} are allowed`,
        'Make it smaller.',
      );
    if (strict) await checkShape(packs, base());
    await checkConnected(tips, base());
    await migrate(packs, join(store.objects, 'pack'));
    return size;
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
}

/** The same bytes. Fails when the pack says that it holds too many objects: git makes room for all before it reads one. */
async function* countedPack(pack: ByteStream, limit: number): AsyncGenerator<Uint8Array> {
  let head: Uint8Array | undefined = new Uint8Array();
  for await (const chunk of pack) {
    if (head !== undefined) {
      head = concat([head, chunk.subarray(0, 12)]);
      if (head.length >= 12) {
        const objects = new DataView(head.buffer, head.byteOffset).getUint32(8);
        if (objects > limit) throw tooMany(objects, limit);
        head = undefined;
      }
    }
    yield chunk;
  }
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Fails unless all tips are commits and everything they reach is there. What refs reach is taken as whole. */
export async function checkConnected(tips: readonly string[], options: GitOptions): Promise<void> {
  if (tips.length === 0) return;
  const kinds = await objectKinds(tips, options);
  for (const sha of tips) {
    const kind = kinds.get(sha);
    if (kind === 'commit') continue;
    const what = kind === undefined ? 'is missing' : `is a ${kind}, not a commit`;
    throw new SallyportError('git_failed', `Object ${sha} ${what}.`, 'Check the repository with "git fsck".');
  }
  await git(['rev-list', '--objects', '--quiet', '--stdin', '--not', '--all'], {
    ...options,
    input: tips.map((sha) => `${sha}\n`).join(''),
  });
}

/** The kinds of those objects that are there. */
export async function objectKinds(
  shas: readonly string[],
  options: GitOptions,
): Promise<Map<string, string>> {
  const kinds = new Map<string, string>();
  if (shas.length === 0) return kinds;
  const { stdout } = await git(['cat-file', '--batch-check=%(objectname) %(objecttype)', '--buffer'], {
    ...options,
    input: shas.map((sha) => `${sha}\n`).join(''),
  });
  for (const line of stdout.toString().split('\n')) {
    const [sha = '', kind = ''] = line.split(' ');
    if (kind !== '' && kind !== 'missing') kinds.set(sha, kind);
  }
  return kinds;
}

/** The index comes last: a pack without one is not seen. */
async function migrate(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  const files = (await readdir(from)).filter((name) => name.startsWith('pack-'));
  for (const name of [
    ...files.filter((n) => !n.endsWith('.idx')),
    ...files.filter((n) => n.endsWith('.idx')),
  ]) {
    // A pack is named by its content, so one of the same name is the same.
    if (await missing(join(to, name))) await rename(join(from, name), join(to, name));
  }
}

async function missing(path: string): Promise<boolean> {
  return await access(path).then(
    () => false,
    () => true,
  );
}
