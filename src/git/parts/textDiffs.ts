import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../../base/errors.ts';
import { emptyTree } from '../diff.ts';
import { git, gitStream, type GitOptions } from '../process.ts';
import type { Quarantine } from '../quarantine.ts';
import { alternate } from '../receive.ts';
import { contextLines, readPatch, type TextDiff } from './patchReader.ts';

/** The contents of one file: undefined where it is absent or no file of text. */
export interface Pair {
  old: string | undefined;
  new: string | undefined;
}

/** A larger file counts as binary, in bytes. */
const maxTextBytes = 16 << 20;
/** How much is compared in all, both sides, in bytes. */
const maxComparedBytes = 512 << 20;
const timeoutMs = 120_000;

/** `unread`: nobody looked into it, because together the files are too large. */
export type PairDiff = TextDiff & { unread: boolean };

/**
 * What git says of the contents of many pairs of files, in one run: they are laid side by side in two trees of numbered files,
 * which is also how an edit of the user's stands in for a file. The trees are written aside, and gone afterwards.
 */
export async function textDiffs(
  quarantine: Quarantine,
  pairs: readonly Pair[],
  signal: AbortSignal | undefined,
): Promise<PairDiff[]> {
  const results = pairs.map((): PairDiff => ({ ...empty, hunks: [], unread: false }));
  const compared = await choose(quarantine, pairs, results, signal);
  if (compared.length === 0) return results;
  const folder = await quarantine.temporaryFolder();
  try {
    const objects = join(folder, 'objects');
    await mkdir(objects);
    const options: GitOptions = {
      ...quarantine.options(signal),
      bounded: true,
      timeoutMs,
      env: { GIT_OBJECT_DIRECTORY: objects, ...alternate(quarantine.objects) },
    };
    const trees = [listing(compared, (pair) => pair.old), listing(compared, (pair) => pair.new)];
    const made = await git(['mktree', '--batch', '--missing'], { ...options, input: trees.join('\n') });
    const [from = emptyTree, to = emptyTree] = made.stdout.toString().trim().split('\n');
    const args = [
      'diff-tree',
      '-p',
      `-U${contextLines}`,
      '-r',
      '--no-renames',
      '--no-prefix',
      '--full-index',
    ];
    args.push(
      '--inter-hunk-context=0',
      '--no-color',
      '--no-ext-diff',
      '--no-textconv',
      '--diff-algorithm=myers',
    );
    const found = await readPatch(gitStream([...args, from, to], options).stdout, (index) => {
      const pair = pairs[index];
      return pair?.old !== undefined && pair.new !== undefined;
    });
    for (const [index, diff] of found) results[index] = { ...diff, unread: false };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return results;
}

const empty: TextDiff = { binary: false, added: 0, removed: 0, hunks: [], hidden: undefined };

type Numbered = Pair & { index: number };

/** Those that are compared; says of the others why they are not. */
async function choose(
  quarantine: Quarantine,
  pairs: readonly Pair[],
  results: PairDiff[],
  signal: AbortSignal | undefined,
): Promise<Numbered[]> {
  const sizes = await blobSizes(
    quarantine,
    pairs.flatMap((pair) => [pair.old, pair.new]).filter((oid) => oid !== undefined),
    signal,
  );
  const chosen: Numbered[] = [];
  let total = 0;
  for (const [index, pair] of pairs.entries()) {
    if (pair.old === pair.new) continue;
    const each = [pair.old, pair.new].map((oid) => (oid === undefined ? 0 : (sizes.get(oid) ?? 0)));
    const size = (each[0] ?? 0) + (each[1] ?? 0);
    const result = results[index];
    if (result !== undefined && Math.max(...each) > maxTextBytes) result.binary = true;
    else if (result !== undefined && total + size > maxComparedBytes)
      Object.assign(result, { binary: true, unread: true });
    else {
      total += size;
      chosen.push({ ...pair, index });
    }
  }
  return chosen;
}

async function blobSizes(
  quarantine: Quarantine,
  oids: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  if (oids.length === 0) return sizes;
  const { stdout } = await git(['cat-file', '--batch-check', '--buffer'], {
    ...quarantine.options(signal),
    bounded: true,
    input: `${[...new Set(oids)].join('\n')}\n`,
  });
  for (const line of stdout.toString('latin1').trimEnd().split('\n')) {
    const [, oid, size] = /^([0-9a-f]+) blob ([0-9]+)$/.exec(line) ?? [];
    if (oid === undefined) {
      throw new SallyportError(
        'git_failed',
        `A content is not in the quarantine: ${line}.`,
        'Check it with "git fsck"; a new task starts from the repository itself.',
      );
    }
    sizes.set(oid, Number(size));
  }
  return sizes;
}

function listing(pairs: readonly Numbered[], side: (pair: Pair) => string | undefined): string {
  return pairs
    .map((pair) => [side(pair), String(pair.index).padStart(8, '0')] as const)
    .filter(([oid]) => oid !== undefined)
    .map(([oid, name]) => `100644 blob ${oid}\t${name}\n`)
    .join('');
}
