import { git, type GitOptions } from './process.ts';

/** The contents of objects, in their order; all of them are held in memory. Throws when one is not there. */
export async function readObjects(shas: readonly string[], options: GitOptions): Promise<Buffer[]> {
  if (shas.length === 0) return [];
  const { stdout } = await git(['cat-file', '--batch', '--buffer'], {
    ...options,
    input: shas.map((sha) => `${sha}\n`).join(''),
  });
  const contents: Buffer[] = [];
  for (let at = 0; at < stdout.length;) {
    const end = stdout.indexOf(10, at);
    const size = Number(
      /^[0-9a-f]+ [a-z]+ (\d+)$/.exec(stdout.toString('latin1', at, end))?.[1] ?? Number.NaN,
    );
    if (end === -1 || Number.isNaN(size)) throw new Error('git printed something unexpected: not an object');
    contents.push(stdout.subarray(end + 1, end + 1 + size));
    at = end + 1 + size + 1;
  }
  return contents;
}

/** Cuts a list in pieces of at most so many bytes together, and at least one element. */
export function* batches<T extends { size: number }>(entries: readonly T[], bytes: number): Generator<T[]> {
  let batch: T[] = [];
  let size = 0;
  for (const entry of entries) {
    if (batch.length > 0 && size + entry.size > bytes) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(entry);
    size += entry.size;
  }
  if (batch.length > 0) yield batch;
}
