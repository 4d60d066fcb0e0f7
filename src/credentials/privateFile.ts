import { randomBytes } from 'node:crypto';
import {
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isErrno } from '../base/errors.ts';
import { syncFolder } from '../base/syncFolder.ts';

export type PrivateText = { text: string } | { absent: true } | { unreadable: string };

/** More than this is no file of settings. */
const maxBytes = 8 << 20;

/** A file's text, that it is not there, or why it cannot be read: a phrase without any of its content. */
export async function readPrivate(path: string): Promise<PrivateText> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes) return { unreadable: `it is larger than ${maxBytes >> 20} MiB` };
    return { text: (await readFile(path, 'utf8')).replace(/^\uFEFF/, '') };
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ENOTDIR')) return { absent: true };
    if (isErrno(thrown, 'EACCES', 'EPERM')) return { unreadable: 'this user may not read it' };
    if (isErrno(thrown, 'EISDIR')) return { unreadable: 'it is a folder' };
    if (isErrno(thrown, 'ELOOP')) return { unreadable: 'its symbolic link leads nowhere' };
    return { unreadable: 'it cannot be read' };
  }
}

/** The value of a JSON text, or undefined. The error of JSON.parse quotes what it read, so nobody gets to see it. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** A file that can be replaced as a whole, proven before what it is to hold exists. */
export interface Replacement {
  commit(text: string): Promise<void>;
  /** Twice is harmless, and so is after `commit`. */
  discard(): Promise<void>;
}

/**
 * Prepares to replace a file atomically: a new file in the same folder, of the same size, only for its owner. When this
 * resolves, the folder can be written and the disk has room. A symbolic link stays, its target is replaced.
 * Whoever calls it holds the lock of that file: what a killed process left aside is removed.
 */
export async function prepareReplacement(path: string): Promise<Replacement> {
  const target = await realpath(path);
  const folder = dirname(target);
  const prefix = `${basename(target)}.sallyport-`;
  for (const name of await readdir(folder)) {
    if (name.startsWith(prefix)) await rm(join(folder, name), { force: true });
  }
  const aside = join(folder, `${prefix}${randomBytes(6).toString('hex')}`);
  const handle = await open(aside, 'wx', 0o600);
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await handle.close();
  };
  const discard = async (): Promise<void> => {
    await close();
    await rm(aside, { force: true });
  };
  try {
    const { size, uid, gid } = await stat(target);
    // Whoever works as root for somebody else must not take the file away from them.
    if (process.getuid?.() === 0 && (uid !== 0 || gid !== 0)) await handle.chown(uid, gid);
    await write(handle, ' '.repeat(size + 4096));
  } catch (thrown) {
    await discard();
    throw thrown;
  }
  return {
    commit: async (text) => {
      await write(handle, text);
      await close();
      try {
        await rename(aside, target);
      } catch (thrown) {
        // A file that is mounted by itself, as in a container, cannot be replaced; what it is to hold must not be lost.
        if (!isErrno(thrown, 'EBUSY', 'EXDEV')) throw thrown;
        await writeFile(target, text, { flush: true });
        await rm(aside, { force: true });
      }
      // So that the new name is on the disk too, where that can be had.
      await syncFolder(folder).catch(() => undefined);
    },
    discard,
  };
}

async function write(handle: FileHandle, text: string): Promise<void> {
  const bytes = Buffer.from(text, 'utf8');
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, done);
    done += bytesWritten;
  }
  await handle.truncate(bytes.length);
  await handle.sync();
}
