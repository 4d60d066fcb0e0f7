import type { ReviewFile } from '../../protocol/review.ts';

/** Those of the hand-off gate first; what is by path stays so. */
export function inOrder(files: readonly ReviewFile[]): ReviewFile[] {
  return [...files.filter(({ gate }) => gate.length > 0), ...files.filter(({ gate }) => gate.length === 0)];
}
