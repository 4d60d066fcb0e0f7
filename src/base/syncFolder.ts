import { open, type FileHandle } from 'node:fs/promises';
import { isErrno } from './errors.ts';

/** Puts the names in a folder on the disk. Windows has no such thing, and needs none; nor has every file system. */
export async function syncFolder(path: string | Buffer): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    await handle.sync();
  } catch (thrown) {
    if (!isErrno(thrown, 'EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOENT', 'ENOTSUP')) throw thrown;
  } finally {
    await handle?.close();
  }
}
