/** A file that both sides have changed; each side is undefined where it has no such file. Contents are as git stores them. */
export interface MergeConflict {
  /** Bytes that are no UTF-8 stand as U+FFFD. */
  path: string;
  base: Uint8Array | undefined;
  /** What is in the user's repository now. */
  current: Uint8Array | undefined;
  /** What was accepted. */
  incoming: Uint8Array | undefined;
  /** Both, with git's conflict markers; undefined where it is no text. */
  marked: Uint8Array | undefined;
}
