import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Files of a process that was killed are cleared away after this time, in milliseconds. */
const leftoverAge = 60 * 60_000;

/** Clears away what killed processes left in a folder, of the names that match. */
export async function clearLeftovers(folder: string, pattern: RegExp): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((each) => pattern.test(each))) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > leftoverAge)
      await rm(path, { recursive: true, force: true });
  }
}
