import { createHash } from 'node:crypto';
import { readParts, type Edits, type PartsDiff } from '../../git/parts/readParts.ts';
import { inOrder } from '../../git/parts/reviewFiles.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { CommitRange } from '../../protocol/ranges.ts';
import type { ReviewDiff, ReviewScope } from '../../protocol/review.ts';
import { SharedWork } from '../sharedWork.ts';
import { PairCache } from './pairCache.ts';

/** How many diffs are kept for the next who asks. */
const kept = 4;

interface Entry {
  work: SharedWork<never>;
  parts: PartsDiff | undefined;
}

/** The diffs of one task, each computed once for all that ask at the same time, and the newest kept. */
export class ReviewDiffs {
  private readonly quarantine: Quarantine;
  private readonly entries = new Map<string, Entry>();
  private readonly pairs = new PairCache();

  constructor(quarantine: Quarantine) {
    this.quarantine = quarantine;
  }

  async parts(
    range: CommitRange,
    edits: Edits,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<PartsDiff> {
    const key = `${range.from} ${range.to} ${fingerprintOf(edits)}`;
    const entry = this.entries.get(key) ?? this.begin(range, edits);
    // The newest stand last.
    this.entries.delete(key);
    this.entries.set(key, entry);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= kept) break;
      this.entries.delete(oldest);
    }
    if (entry.parts === undefined) await entry.work.join(() => undefined, signal);
    if (entry.parts === undefined) throw new Error('The diff was not read');
    return entry.parts;
  }

  private begin({ from, to }: CommitRange, edits: Edits): Entry {
    const entry: Entry = {
      parts: undefined,
      work: new SharedWork(async (_, signal) => {
        entry.parts = await readParts(this.quarantine, from, to, {
          edits,
          signal,
          compare: this.pairs.compare,
        });
      }),
    };
    return entry;
  }

  /** Gives back the memory. */
  clear(): void {
    this.entries.clear();
    this.pairs.clear();
  }
}

export function diffOf(scope: ReviewScope, { from, to, files, further }: PartsDiff): ReviewDiff {
  const all = inOrder(files.map(({ file }) => file));
  return { scope, from, to, files: all, ...(further > 0 ? { further } : {}) };
}

function fingerprintOf(edits: Edits): string {
  if (edits.size === 0) return '';
  const hash = createHash('sha256');
  for (const [file, some] of [...edits].sort(([a], [b]) => (a < b ? -1 : 1)))
    for (const { original, content, edit, revived } of some) {
      const { kind, by, why = '' } = edit;
      hash.update(`${file} ${original} ${content} ${kind} ${by} ${why} ${revived !== undefined}\n`);
    }
  return hash.digest('hex');
}
