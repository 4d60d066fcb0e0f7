import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../base/errors.ts';

/** Whatever was told so long ago is told of nobody any more, in milliseconds. */
const forgottenAfter = 90 * 24 * 60 * 60_000;

/** Which notices were told, for all windows and over reloads: a file each, which only the first one makes. */
export class NoticeClaims {
  private readonly folder: () => string;
  private cleared = false;

  /** @param dataFolder asked anew each time: it is a setting */
  constructor(dataFolder: () => string) {
    this.folder = () => join(dataFolder(), 'notices');
  }

  /** True for the first who asks. True as well where nothing can be written: told twice is better than not at all. */
  async claim(task: string, key: string): Promise<boolean> {
    const folder = join(this.folder(), hashed(task));
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(join(folder, hashed(key)), '', { flag: 'wx' });
      await this.clear();
      return true;
    } catch (thrown) {
      return !isErrno(thrown, 'EEXIST');
    }
  }

  /** Of a task that is removed. */
  async forget(task: string): Promise<void> {
    await rm(join(this.folder(), hashed(task)), { recursive: true, force: true }).catch(() => undefined);
  }

  /** Once in a window's life: tasks of a runner may be removed while nobody here looks. */
  private async clear(): Promise<void> {
    if (this.cleared) return;
    this.cleared = true;
    for (const name of await readdir(this.folder()).catch(() => [])) {
      const path = join(this.folder(), name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && Date.now() - found.mtimeMs > forgottenAfter)
        await rm(path, { recursive: true, force: true }).catch(() => undefined);
    }
  }
}

/** Neither a task's id nor a question's is a part of a path. */
function hashed(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 32);
}
