import { statfs } from 'node:fs/promises';

/** Less than this is left on a full disk, in bytes. */
const fullDiskBytes = 1 << 20;

/** True when the disk of one of the folders is full; one that cannot be looked at is not. */
export async function isDiskFull(folders: readonly string[]): Promise<boolean> {
  for (const folder of folders) {
    const { bavail, bsize } = await statfs(folder).catch(() => ({ bavail: 1, bsize: fullDiskBytes }));
    if (bavail * bsize < fullDiskBytes) return true;
  }
  return false;
}
