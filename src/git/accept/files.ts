import { chmod, chown, copyFile, link, open, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../base/errors.ts';
import type { State } from './journal.ts';
import type { Found, Place } from './workTree.ts';

export function stateOf(found: Found): State | undefined {
  if (found.kind === 'absent') return { kind: 'absent' };
  // A folder stands for no file.
  if (found.kind === 'folder') return { kind: 'absent' };
  if (found.kind === 'link') return { kind: 'link', target: found.target.toString('latin1') };
  if (found.kind === 'file') return { kind: 'file', sha256: found.sha256, mode: found.mode };
  return undefined;
}

export function sameState(a: State | undefined, b: State): boolean {
  if (a?.kind !== b.kind) return false;
  if (a.kind === 'file' && b.kind === 'file') return a.sha256 === b.sha256 && a.mode === b.mode;
  if (a.kind === 'link' && b.kind === 'link') return a.target === b.target;
  return true;
}

/** Puts a finished file where none is. Throws EEXIST when one is: nothing is ever overwritten by this. */
export async function putNew(file: string, place: Place, aside: string): Promise<void> {
  try {
    await link(file, place.path);
  } catch (thrown) {
    if (!isErrno(thrown, 'EXDEV', 'EPERM', 'ENOTSUP', 'ENOSYS', 'EMLINK')) throw thrown;
    // The name is taken first, by an empty file that only this process knows of.
    await (await open(place.path, 'wx', 0o600)).close();
    await putOver(file, place, aside);
  }
}

/** Puts a finished file in the place of another, in one step. */
export async function putOver(file: string, place: Place, aside: string): Promise<void> {
  try {
    await rename(file, place.path);
  } catch (thrown) {
    if (!isErrno(thrown, 'EXDEV')) throw thrown;
    const near = Buffer.concat([place.folder, Buffer.from(`/${aside}`)]);
    await copyFile(file, near);
    const handle = await open(near, 'r+');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(near, place.path);
    await rm(file, { force: true });
  }
}

export async function putLink(target: string, place: Place, over: string | undefined): Promise<void> {
  const bytes = Buffer.from(target, 'latin1');
  if (over === undefined) {
    await symlink(bytes, place.path);
    return;
  }
  const near = Buffer.concat([place.folder, Buffer.from(`/${over}`)]);
  await rm(near, { force: true });
  await symlink(bytes, near);
  await rename(near, place.path);
}

/** The name that is used beside a file while it is replaced, where the git folder is on another disk. */
export function asideName(id: string, index: number): string {
  return `.sallyport-${id}-${index}`;
}

/** Gives a new file the mode and, where this process may, the owner of the one that it replaces. */
export async function likeOld(
  file: string,
  mode: number,
  owner: { uid: number; gid: number } | undefined,
): Promise<void> {
  if (owner !== undefined && process.getuid?.() === 0) await chown(file, owner.uid, owner.gid);
  await chmod(file, mode);
}

/** The mode of a file that becomes a program, or is none any more, as far as its owner lets others at it. */
export function modeAs(mode: number, program: boolean): number {
  const plain = mode & 0o777;
  if (((plain & 0o100) !== 0) === program) return plain;
  return program ? plain | ((plain & 0o444) >> 2) : plain & ~0o111;
}

export function stagedPath(folder: string, index: number): string {
  return join(folder, `file-${index}`);
}
