import type { FileEdit, PartId, ReviewDiff, ReviewFile, ReviewState } from '../../protocol/review.ts';
import { isReviewed, isTaken, openGate, remarksOf, verdictOf } from '../../protocol/reviewState.ts';

/** How a file stands: what was decided about all of its parts together. */
export type FileVerdict = 'open' | 'accepted' | 'rejected' | 'mixed' | 'partly' | 'taken';

/** All that a view has to know of one file; two that are equal look the same. */
export interface FileStanding {
  verdict: FileVerdict;
  reviewed: boolean;
  /** Parts of it were rejected and sent back, and are here again as they were. */
  returned: boolean;
  /** The user wrote a content of their own in its place. */
  edit: FileEdit | undefined;
  /** Remarks that are drafts, and that the agent has. */
  drafts: number;
  sent: number;
}

/** `mixed` where all is decided, one part this way and another that way; `partly` where something is left to decide. */
export function verdictOfFile(file: Pick<ReviewFile, 'parts'>, state: ReviewState): FileVerdict {
  const { parts } = file;
  const isSettled = ({ id }: { id: PartId }): boolean =>
    isTaken(state, id) || state.verdicts[id] === 'rejected';
  const taken = parts.some(({ id }) => isTaken(state, id));
  if (taken && parts.every(isSettled)) return 'taken';
  const verdict = verdictOf(state, file);
  if (verdict === 'none') return taken ? 'partly' : 'open';
  if (verdict !== 'mixed') return verdict;
  return parts.every(({ id }) => state.verdicts[id] !== undefined) ? 'mixed' : 'partly';
}

export function standingOf(
  file: ReviewFile,
  state: ReviewState,
  returned: ReadonlySet<PartId>,
): FileStanding {
  const remarks = remarksOf(state, file.id);
  return {
    verdict: verdictOfFile(file, state),
    reviewed: isReviewed(state, file),
    returned: file.parts.some(({ id }) => returned.has(id)),
    edit: file.edit,
    drafts: remarks.filter((remark) => remark.state === 'draft').length,
    sent: remarks.filter((remark) => remark.state === 'sent').length,
  };
}

/** True for a file that the user is done with: read, or decided, or taken over. */
export function isDone({ verdict, reviewed }: Pick<FileStanding, 'verdict' | 'reviewed'>): boolean {
  return reviewed || (verdict !== 'open' && verdict !== 'partly');
}

export interface Progress {
  files: number;
  done: number;
  /** Files of the gate's list without a verdict on each of their parts. */
  gateOpen: number;
  rejectedParts: number;
  drafts: number;
}

export function progressOf(diff: ReviewDiff, state: ReviewState): Progress {
  let done = 0;
  let rejectedParts = 0;
  for (const file of diff.files) {
    const verdict = verdictOfFile(file, state);
    if (isDone({ verdict, reviewed: isReviewed(state, file) })) done += 1;
    rejectedParts += file.parts.filter(({ id }) => state.verdicts[id] === 'rejected').length;
  }
  return {
    files: diff.files.length,
    done,
    gateOpen: openGate(state, diff.files).length,
    rejectedParts,
    drafts: state.remarks.filter((remark) => remark.state === 'draft').length,
  };
}

export type Filter = 'unreviewed' | 'gate' | 'rejected' | 'returned';

/** True for a file that stays in a list with this filter. */
export function passes(
  filter: Filter | undefined,
  file: Pick<ReviewFile, 'gate' | 'parts'>,
  standing: FileStanding,
  state: ReviewState,
): boolean {
  switch (filter) {
    case undefined:
      return true;
    case 'unreviewed':
      return !isDone(standing);
    case 'gate':
      return file.gate.length > 0;
    case 'rejected':
      return file.parts.some(({ id }) => state.verdicts[id] === 'rejected');
    case 'returned':
      return standing.returned;
  }
}
