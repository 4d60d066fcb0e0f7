import { shownPath } from './reviewUri.ts';

/** Documents of a merge: three that can be read, and the result, which can be written. */
export const mergeScheme = 'sallyport-merge';

export type MergeSide = 'base' | 'current' | 'incoming' | 'result';

/** Which document: `session` counts merges, `at` is the place of the file among those of the merge. */
export interface MergeAddress {
  session: number;
  at: number;
  side: MergeSide;
}

export function mergeParts(
  session: number,
  at: number,
  side: MergeSide,
  path: string,
): { scheme: typeof mergeScheme; path: string; query: string } {
  return { scheme: mergeScheme, path: `/${shownPath(path)}`, query: `${session}.${at}.${side}` };
}

export function parseMerge(query: string): MergeAddress | undefined {
  const match = /^(\d{1,9})\.(\d{1,9})\.(base|current|incoming|result)$/.exec(query);
  if (match === null) return undefined;
  return { session: Number(match[1]), at: Number(match[2]), side: match[3] as MergeSide };
}

/** True for a file that can be merged by lines: text on both sides. */
export function isTextConflict(conflict: {
  current: Uint8Array | undefined;
  incoming: Uint8Array | undefined;
  marked: Uint8Array | undefined;
}): boolean {
  return conflict.marked !== undefined && conflict.current !== undefined && conflict.incoming !== undefined;
}
