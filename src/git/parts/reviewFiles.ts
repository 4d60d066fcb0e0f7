import type { ReviewFile } from '../../protocol/review.ts';
import type { Quarantine } from '../quarantine.ts';
import { readParts, type PartsOptions } from './readParts.ts';

/** What differs between two commits or trees, those of the hand-off gate first, then by path. See `readParts` for how many. */
export async function reviewFiles(
  quarantine: Quarantine,
  from: string,
  to: string,
  options: PartsOptions = {},
): Promise<ReviewFile[]> {
  return inOrder((await readParts(quarantine, from, to, options)).files.map(({ file }) => file));
}

/** Those of the gate first; what is by path stays so. */
export function inOrder(files: readonly ReviewFile[]): ReviewFile[] {
  return [...files.filter(({ gate }) => gate.length > 0), ...files.filter(({ gate }) => gate.length === 0)];
}
