import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, link, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const looseFolder = /^[0-9a-f]{2}$/;
const looseFile = /^[0-9a-f]{38}$/;
const packFile = /^pack-[0-9a-f]{40}\.(pack|rev|idx)$/;

/**
 * Brings all objects of one store into another by hard links, or by copies where the file system has none to give.
 * Git never changes an object file in place, so that two stores can share them. What is there already stays. Safe to
 * break off, to repeat, and to run twice at once: a file appears whole, and a pack's index after its pack.
 */
export async function linkObjects(from: string, to: string, signal?: AbortSignal): Promise<void> {
  // Loose objects first: those that a concurrent repack moves away meanwhile are found in its pack.
  for (const folder of (await readdir(from)).filter((name) => looseFolder.test(name))) {
    signal?.throwIfAborted();
    const files = (await list(join(from, folder))).filter((name) => looseFile.test(name));
    if (files.length > 0) await mkdir(join(to, folder), { recursive: true });
    await Promise.all(files.map((name) => bring(join(from, folder, name), join(to, folder, name))));
  }
  await mkdir(join(to, 'pack'), { recursive: true });
  const names = (await list(join(from, 'pack'))).filter((name) => packFile.test(name));
  const order = ['.pack', '.rev', '.idx'];
  for (const suffix of order) {
    for (const name of names.filter((each) => each.endsWith(suffix))) {
      signal?.throwIfAborted();
      // Kept packs are left alone by `git repack`, which would otherwise write a second copy of the user's history.
      if (suffix === '.idx') await writeFile(join(to, 'pack', name.replace(/idx$/, 'keep')), '');
      await bring(join(from, 'pack', name), join(to, 'pack', name));
    }
  }
}

async function bring(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === 'EEXIST' || code === 'ENOENT') return;
    const temporary = `${to.replace(/[^/\\]*$/, '')}tmp_obj_${randomBytes(6).toString('hex')}`;
    try {
      await copyFile(from, temporary, constants.COPYFILE_FICLONE);
      await rename(temporary, to);
    } catch (failed) {
      await rm(temporary, { force: true });
      if ((failed as NodeJS.ErrnoException).code !== 'ENOENT') throw failed;
    }
  }
}

async function list(folder: string): Promise<string[]> {
  return await readdir(folder).catch((thrown: unknown) => {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw thrown;
  });
}
