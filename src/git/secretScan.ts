/** A likely key in what a sandbox would get. */
export interface SecretFinding {
  path: string;
  /** From 1. */
  line: number;
  /** What it looks like, for people: "AWS access key". Never the value. */
  kind: string;
  /** The first and last characters, the middle hidden. */
  hint: string;
  /** Stable for the same value at the same path; not the value, and nothing it could be guessed from. */
  fingerprint: string;
  tracked: boolean;
}
