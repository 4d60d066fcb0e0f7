import { textDiffs, type Pair, type PairDiff } from '../../git/parts/textDiffs.ts';
import type { Quarantine } from '../../git/quarantine.ts';

/** How many comparisons of two contents are kept. */
const kept = 5000;

/**
 * What git said of pairs of contents, so that an edit, or a turn that changed a few files, does not have all of them compared
 * again. Where it was too much to be compared whole, nothing is kept: what is left out is then a matter of all pairs together.
 */
export class PairCache {
  private readonly known = new Map<string, PairDiff>();

  readonly compare = async (
    quarantine: Quarantine,
    pairs: readonly Pair[],
    signal: AbortSignal | undefined,
  ): Promise<PairDiff[]> => {
    const fresh = pairs.filter((pair) => !this.known.has(nameOf(pair)));
    const said = await textDiffs(quarantine, fresh, signal);
    if (said.some(({ unread }) => unread)) {
      this.known.clear();
      return fresh.length === pairs.length ? said : await textDiffs(quarantine, pairs, signal);
    }
    const found = new Map(fresh.map((pair, at) => [nameOf(pair), said[at]]));
    const all = pairs.map((pair) => this.known.get(nameOf(pair)) ?? found.get(nameOf(pair)));
    this.keep(pairs, all);
    return all.map((one) => {
      if (one === undefined) throw new Error('A pair was not compared');
      return one;
    });
  };

  /** The newest stand last. */
  private keep(pairs: readonly Pair[], all: readonly (PairDiff | undefined)[]): void {
    for (const [at, pair] of pairs.entries()) {
      const name = nameOf(pair);
      this.known.delete(name);
      const one = all[at];
      if (one !== undefined) this.known.set(name, one);
    }
    for (const oldest of this.known.keys()) {
      if (this.known.size <= kept) break;
      this.known.delete(oldest);
    }
  }

  clear(): void {
    this.known.clear();
  }
}

function nameOf({ old, new: fresh }: Pair): string {
  return `${old ?? ''} ${fresh ?? ''}`;
}
