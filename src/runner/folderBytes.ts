import { opendir, lstat } from 'node:fs/promises';
import { join } from 'node:path';

/** What a folder takes on disk, in bytes, as far as it can be summed up within `ms` milliseconds. Links are not followed. */
export async function folderBytes(folder: string, ms: number): Promise<{ bytes: number; whole: boolean }> {
  const end = Date.now() + ms;
  const counted = new Set<bigint>();
  let bytes = 0;
  const waiting = [folder];
  for (let next; (next = waiting.pop()) !== undefined;) {
    // A folder that goes away meanwhile takes nothing.
    const entries = await opendir(next).catch(() => undefined);
    if (entries === undefined) continue;
    for await (const entry of entries) {
      if (Date.now() > end) return { bytes, whole: false };
      const path = join(next, entry.name);
      if (entry.isDirectory()) {
        waiting.push(path);
        continue;
      }
      const stats = await lstat(path, { bigint: true }).catch(() => undefined);
      if (stats === undefined || counted.has(stats.ino)) continue;
      if (stats.nlink > 1n) counted.add(stats.ino);
      // Windows counts no blocks.
      bytes += Number(stats.blocks > 0n ? stats.blocks * 512n : stats.size);
    }
  }
  return { bytes, whole: true };
}
