import { createHash } from 'node:crypto';
import { constants, existsSync, type BigIntStats } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, type FileHandle } from 'node:fs/promises';
import { isErrno } from '../../base/errors.ts';
import { bytesOf, foldersOf, type GitPath } from './paths.ts';

/** A folder on the way to a path that is none, or that nothing is written into. */
export class Blocked extends Error {
  readonly at: GitPath;
  readonly why: 'link' | 'file' | 'repository' | 'double';

  constructor(at: GitPath, why: Blocked['why']) {
    super(`${why} at ${at}`);
    this.at = at;
    this.why = why;
  }
}

/** Where system calls find a path. Good only while its folder is held. */
export interface Place {
  path: Buffer;
  folder: Buffer;
}

/** What was seen of a file, to know later whether it was touched. */
export interface Stamp {
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  mode: bigint;
}

export interface Owner {
  uid: number;
  gid: number;
}

export type Found =
  | { kind: 'absent' }
  | { kind: 'file'; stamp: Stamp; sha256: string; oid: string; mode: number; owner: Owner }
  | { kind: 'link'; stamp: Stamp; target: Buffer }
  | { kind: 'folder'; mode: number }
  | { kind: 'other' };

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;
/** Linux gives every open folder a path of its own, which no renaming and no link on the way can change. */
const held = process.platform === 'linux' && existsSync('/proc/self/fd');
const slash = Buffer.from('/');

/**
 * The user's files. No link is followed on the way to one: each folder is opened in the one above it, which leads nowhere
 * else even while somebody swaps them; where the system cannot do that, each is looked at right before.
 */
export class WorkTree {
  readonly root: string;
  /** Names in folders, while `exact` looks go on. */
  private readonly names = new Map<GitPath, Set<string>>();

  constructor(root: string) {
    this.root = root;
  }

  /**
   * Runs `work` with the folder of a path held. Resolves to undefined when the folder is not there and is not to be made.
   * Throws Blocked.
   */
  async at<T>(
    path: GitPath,
    work: (place: Place) => Promise<T>,
    options: { make?: boolean; exact?: boolean } = {},
  ): Promise<T | undefined> {
    let handle: FileHandle | undefined = held ? await open(this.root, O_RDONLY | O_DIRECTORY) : undefined;
    let folder = placeOf(handle, Buffer.from(this.root));
    try {
      for (const each of foldersOf(path)) {
        const name = bytesOf(each.slice(each.lastIndexOf('/') + 1));
        if (options.exact === true) await this.checkName(folder, each);
        const next = join2(folder, name);
        if (options.make === true) {
          await mkdir(next).catch((thrown: unknown) => {
            if (!isErrno(thrown, 'EEXIST')) throw thrown;
          });
        }
        const inner = await enter(next, each);
        if (inner === undefined) return undefined;
        await handle?.close();
        handle = inner.handle;
        folder = placeOf(handle, next);
        if (await isThere(join2(folder, Buffer.from('.git')))) throw new Blocked(each, 'repository');
      }
      if (options.exact === true) await this.checkName(folder, path);
      return await work({ folder, path: join2(folder, bytesOf(path.slice(path.lastIndexOf('/') + 1))) });
    } finally {
      await handle?.close();
    }
  }

  /** What is at a path. With `exact`, a name that only this file system takes for the same throws Blocked. */
  async look(path: GitPath, options: { exact?: boolean } = {}): Promise<Found> {
    return (await this.at(path, async (place) => await foundAt(place.path), options)) ?? { kind: 'absent' };
  }

  /** Everything below a folder; undefined when there is more than `limit`. */
  async below(path: GitPath, limit: number): Promise<GitPath[] | undefined> {
    const found: GitPath[] = [];
    const waiting = [path];
    for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
      const at = folder;
      const entries = await this.at(`${at}/x`, async (place) => {
        return await readdir(place.folder, { encoding: 'buffer', withFileTypes: true });
      });
      for (const each of entries ?? []) {
        const inner = `${at}/${each.name.toString('latin1')}`;
        if (each.isDirectory()) waiting.push(inner);
        // An empty folder is nothing to git, and everything that is in the way to us.
        found.push(inner);
        if (found.length > limit) return undefined;
      }
    }
    return found;
  }

  /** A file system may find a name that is not the one that was asked for: of another case, or composed otherwise. */
  private async checkName(folder: Buffer, path: GitPath): Promise<void> {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')));
    const name = bytesOf(path.slice(path.lastIndexOf('/') + 1));
    if (!(await isThere(join2(folder, name)))) return;
    let names = this.names.get(parent);
    if (names === undefined) {
      names = new Set((await readdir(folder, { encoding: 'buffer' })).map(spelling));
      this.names.set(parent, names);
    }
    if (!names.has(spelling(name))) throw new Blocked(path, 'double');
  }
}

/** Some disks of a Mac keep names decomposed; git there takes both for one. */
function spelling(name: Buffer): string {
  return process.platform === 'darwin' ? name.toString('utf8').normalize('NFC') : name.toString('latin1');
}

async function enter(path: Buffer, name: GitPath): Promise<{ handle: FileHandle | undefined } | undefined> {
  try {
    if (held) return { handle: await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) };
    const found = await lstat(path);
    if (found.isDirectory()) return { handle: undefined };
    throw new Blocked(name, found.isSymbolicLink() ? 'link' : 'file');
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    if (!isErrno(thrown, 'ELOOP', 'ENOTDIR')) throw thrown;
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined) return undefined;
    throw new Blocked(name, found.isSymbolicLink() ? 'link' : 'file');
  }
}

function placeOf(handle: FileHandle | undefined, path: Buffer): Buffer {
  return handle === undefined ? path : Buffer.from(`/proc/self/fd/${handle.fd}`);
}

function join2(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, slash, name]);
}

export async function foundAt(path: Buffer | string): Promise<Found> {
  const stat = await lstat(path, { bigint: true }).catch((thrown: unknown) => {
    if (isErrno(thrown, 'ENOENT', 'ENOTDIR')) return undefined;
    throw thrown;
  });
  if (stat === undefined) return { kind: 'absent' };
  if (stat.isDirectory()) return { kind: 'folder', mode: Number(stat.mode & 0o7777n) };
  if (stat.isSymbolicLink())
    return { kind: 'link', stamp: stampOf(stat), target: await readlink(path, { encoding: 'buffer' }) };
  if (!stat.isFile()) return { kind: 'other' };
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    for (;;) {
      const before = await handle.stat({ bigint: true });
      if (!before.isFile()) return { kind: 'other' };
      const sha256 = createHash('sha256');
      const sha1 = createHash('sha1').update(`blob ${before.size}\0`);
      for await (const chunk of handle.createReadStream({ autoClose: false, start: 0 })) {
        sha256.update(chunk as Buffer);
        sha1.update(chunk as Buffer);
      }
      const stamp = stampOf(await handle.stat({ bigint: true }));
      // Written to while it was read: what was read is no version of it.
      if (!sameStamp(stamp, stampOf(before))) continue;
      const mode = Number(stamp.mode & 0o7777n);
      const owner = { uid: Number(before.uid), gid: Number(before.gid) };
      return { kind: 'file', stamp, owner, sha256: sha256.digest('hex'), oid: sha1.digest('hex'), mode };
    }
  } finally {
    await handle.close();
  }
}

export async function isThere(path: Buffer | string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}

export function stampOf(stat: BigIntStats): Stamp {
  return { ino: stat.ino, size: stat.size, mtimeNs: stat.mtimeNs, ctimeNs: stat.ctimeNs, mode: stat.mode };
}

export function sameStamp(a: Stamp, b: Stamp): boolean {
  return (
    a.ino === b.ino &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.mode === b.mode
  );
}
