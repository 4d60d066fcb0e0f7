import { SallyportError } from '../base/errors.ts';
import { Sha } from '../protocol/grammar.ts';
import { parseRawNumstat, rawNumstatArgs, type RawChange } from './log.ts';
import { git, gitStream, type GitOptions } from './process.ts';
import type { Quarantine } from './quarantine.ts';

/** The tree without files: what a first commit is compared with. */
export const emptyTree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

export type DetailedChange = RawChange;

/** The files that differ between two commits or trees. */
export async function changedFiles(
  quarantine: Quarantine,
  from: string,
  to: string,
  signal?: AbortSignal,
): Promise<DetailedChange[]> {
  const args = ['diff-tree', '-r', ...rawNumstatArgs, object(from), object(to)];
  return parseRawNumstat((await git(args, { ...quarantine.options(signal), bounded: true })).stdout);
}

/** How changes are looked for: in what time, in milliseconds, and among how many names for renames; git's own limit without it. */
interface ChangeOptions {
  signal?: AbortSignal | undefined;
  timeoutMs: number;
  renameLimit?: number;
}

/** As `changedFiles`, without counts of lines: comparing everything once more for them would take twice as long. */
export async function rawChanges(
  quarantine: Quarantine,
  from: string,
  to: string,
  { signal, timeoutMs, renameLimit }: ChangeOptions,
): Promise<RawChange[]> {
  const raw = rawNumstatArgs.filter((argument) => argument !== '--numstat');
  const limit = renameLimit === undefined ? [] : [`-l${renameLimit}`];
  const args = ['diff-tree', '-r', ...raw, ...limit, object(from), object(to)];
  const { stdout } = await git(args, { ...quarantine.options(signal), bounded: true, timeoutMs });
  return parseRawNumstat(stdout);
}

/**
 * The unified diff between two commits or trees, with renames; odd paths are quoted as git does.
 * @param options `maxBytes`: where to cut it off, 16 MiB by default
 */
export async function patch(
  quarantine: Quarantine,
  from: string,
  to: string,
  options: { maxBytes?: number; signal?: AbortSignal | undefined } = {},
): Promise<{ text: Buffer; truncated: boolean }> {
  const { maxBytes = 16 << 20, signal } = options;
  const args = [
    'diff-tree',
    '-r',
    '-p',
    '-M',
    '--full-index',
    '--no-color',
    '--no-ext-diff',
    '--no-textconv',
  ];
  args.push(
    '--unified=3',
    '--src-prefix=a/',
    '--dst-prefix=b/',
    '--submodule=short',
    object(from),
    object(to),
  );
  const parts: Uint8Array[] = [];
  let size = 0;
  // git reads an added file whole to say that it is binary. What a sandbox sends is limited in size, and the user's own
  // files may be larger.
  const unlimited: GitOptions = {
    ...quarantine.options(signal),
    bounded: true,
    env: { GIT_ALLOC_LIMIT: undefined },
  };
  for await (const chunk of gitStream(args, unlimited).stdout) {
    parts.push(chunk.subarray(0, maxBytes - size));
    size += chunk.length;
    if (size > maxBytes) return { text: Buffer.concat(parts), truncated: true };
  }
  return { text: Buffer.concat(parts), truncated: false };
}

/** The content of a blob; fails with `git_failed` when it is longer than `maxBytes`. */
export async function blob(
  quarantine: Quarantine,
  oid: string,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const { stdout } = await git(['cat-file', 'blob', object(oid)], {
    ...quarantine.options(signal),
    bounded: true,
    maxBytes,
  });
  return stdout;
}

/** Throws `invalid_input` for what is no object name. */
export function object(name: string): string {
  const parsed = Sha.safeParse(name);
  if (parsed.success) return parsed.data;
  throw new SallyportError('invalid_input', `Not an object name: ${JSON.stringify(name)}.`, 'Report this.');
}
