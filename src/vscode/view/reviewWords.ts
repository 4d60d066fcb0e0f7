import type { AcceptTarget, PartId, ReviewFile, ReviewScope } from '../../protocol/review.ts';
import { plural } from '../../protocol/words.ts';
import type { Filter, Progress } from './reviewProgress.ts';

/** Sentences of the review, the same wherever they are said. */

/** "3 of 12 done · 2 gate files open · 1 remark". */
export function progressWords(progress: Progress): string {
  return [
    progress.files === 0 ? 'nothing differs' : `${progress.done} of ${plural(progress.files, 'file')} done`,
    progress.gateOpen === 0 ? '' : `${progress.gateOpen} to look at first`,
    progress.drafts === 0 ? '' : plural(progress.drafts, 'remark'),
  ]
    .filter((text) => text !== '')
    .join(' · ');
}

export function scopeName(scope: ReviewScope): string {
  switch (scope.kind) {
    case 'all':
      return 'Everything';
    case 'turn':
      return `Turn ${scope.turn}`;
    case 'commit':
      return `Commit ${scope.sha.slice(0, 7)}`;
    case 'leftovers':
      return 'Uncommitted edits';
  }
}

export const filterNames: Record<Filter, string> = {
  unreviewed: 'Not Reviewed Yet',
  gate: 'Look at These First',
  rejected: 'With Something Rejected',
  returned: 'Came Back',
};

export interface AcceptPlan {
  files: number;
  /** Parts of these files that stay behind, because they are rejected or not accepted. */
  partsLeft: number;
  target: AcceptTarget;
  repository: string;
}

/** Parts of the chosen files that are not chosen. */
export function partsLeft(files: readonly Pick<ReviewFile, 'parts'>[], chosen: ReadonlySet<PartId>): number {
  return files.reduce((sum, { parts }) => sum + parts.filter(({ id }) => !chosen.has(id)).length, 0);
}

/** What will happen, in one sentence. */
export function acceptSentence({ files, partsLeft, target, repository }: AcceptPlan): string {
  const what = `${plural(files, 'file')}${partsLeft === 0 ? '' : ` without ${plural(partsLeft, 'part')}`}`;
  switch (target.kind) {
    case 'tree':
      return target.staged
        ? `${what} will be written to your working tree in ${repository} and staged; no commit is made.`
        : `${what} will be written to your working tree in ${repository}; nothing is staged or committed.`;
    case 'branch':
      return `${what} will be on the new branch ${target.branch} in ${repository}; your files stay as they are.`;
    case 'commits':
      return `${what} will be committed on your current branch in ${repository}, as the agent's own commits where all of them is taken.`;
  }
}

/** What has happened. */
export function acceptedSentence(files: number, target: AcceptTarget, repository: string): string {
  const what = `${plural(files, 'file')} ${files === 1 ? 'is' : 'are'}`;
  switch (target.kind) {
    case 'tree':
      return `${what} in your working tree in ${repository} now${target.staged ? ', and staged' : ''}.`;
    case 'branch':
      return `${what} on the branch ${target.branch} in ${repository} now. Nothing else has changed.`;
    case 'commits':
      return `${what} committed on your current branch in ${repository} now.`;
  }
}

/** A text in lines of at most so many characters, broken between words. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
