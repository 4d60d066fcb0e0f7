import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { git, type GitOptions } from './process.ts';

/** Three versions of a text; without a base both sides have made the file. */
export interface Versions {
  base: Uint8Array | undefined;
  ours: Uint8Array;
  theirs: Uint8Array;
}

/** What the sides are called at conflict markers. */
export interface SideNames {
  base: string;
  ours: string;
  theirs: string;
}

/** With conflicts, `text` has git's markers at them; without text one of the versions is binary. */
export interface MergedLines {
  clean: boolean;
  text: Buffer | undefined;
}

/** Merges three versions line by line, by git's own rules. They are written into `folder` for as long as that takes. */
export async function mergeLines(
  { base, ours, theirs }: Versions,
  names: SideNames,
  folder: string,
  options: GitOptions,
): Promise<MergedLines> {
  const contents = [ours, base ?? new Uint8Array(), theirs];
  if (contents.some(isBinary)) return { clean: false, text: undefined };
  const files = contents.map(() => join(folder, `merge-${randomUUID()}`));
  try {
    for (const [index, file] of files.entries()) await writeFile(file, contents[index] ?? '', { flag: 'wx' });
    const labels = [names.ours, names.base, names.theirs].flatMap((name) => ['-L', name]);
    const { code, stdout } = await git(['merge-file', '-p', '-q', ...labels, ...files], {
      ...options,
      cwd: folder,
      // The number of conflicts.
      okCodes: Array.from({ length: 128 }, (_, each) => each),
    });
    return { clean: code === 0, text: stdout };
  } finally {
    for (const file of files) await rm(file, { force: true });
  }
}

/** As git takes it: a zero byte near the beginning. */
function isBinary(content: Uint8Array): boolean {
  return content.subarray(0, 8000).includes(0);
}
