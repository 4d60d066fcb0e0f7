import { git, gitStream } from '../git/process.ts';

export interface Bundle {
  /** Nothing when none of the wanted commits exists. */
  data: AsyncIterable<Uint8Array> | undefined;
  /** Wanted commits that are not there (any more). */
  missing: string[];
}

/** A version 2 git bundle of `want`, thin against `have`. */
export async function makeBundle(
  folder: string,
  want: readonly string[],
  have: readonly string[],
  signal?: AbortSignal,
): Promise<Bundle> {
  const there = await existingCommits(folder, [...want, ...have], signal);
  const wants = [...new Set(want)].filter((sha) => there.has(sha));
  const haves = [...new Set(have)].filter((sha) => there.has(sha));
  const missing = want.filter((sha) => !there.has(sha));
  return { data: wants.length === 0 ? undefined : write(folder, wants, haves, signal), missing };
}

async function* write(
  folder: string,
  wants: string[],
  haves: string[],
  signal?: AbortSignal,
): AsyncIterable<Uint8Array> {
  // Version 2 of the format cannot say that objects are named by SHA-256.
  const sha256 = wants[0]?.length === 64;
  const header = [
    ...(sha256 ? ['# v3 git bundle', '@object-format=sha256'] : ['# v2 git bundle']),
    ...haves.map((sha) => `-${sha} `),
    ...wants.map((sha) => `${sha} refs/sallyport/commits/${sha}`),
  ];
  yield new TextEncoder().encode(`${header.join('\n')}\n\n`);
  const revisions = [...wants, ...haves.map((sha) => `^${sha}`)];
  yield* gitStream(['pack-objects', '--quiet', '--thin', '--revs', '--stdout', '--delta-base-offset'], {
    cwd: folder,
    input: `${revisions.join('\n')}\n`,
    signal,
  }).stdout;
}

/** Those of `names` that are commits in the repository. */
export async function existingCommits(
  folder: string,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<Set<string>> {
  if (names.length === 0) return new Set();
  const { stdout } = await git(['cat-file', '--batch-check=%(objectname) %(objecttype)'], {
    cwd: folder,
    input: `${names.join('\n')}\n`,
    signal,
  });
  const there = new Set<string>();
  for (const line of stdout.toString('latin1').split('\n')) {
    const [name, type] = line.split(' ');
    if (name !== undefined && type === 'commit') there.add(name);
  }
  return there;
}
