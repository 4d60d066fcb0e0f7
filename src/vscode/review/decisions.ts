import * as vscode from 'vscode';
import type { PartId, ReviewFile, Verdict } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { plural } from '../../protocol/words.ts';
import { shownPath } from '../view/reviewUri.ts';
import { wrapped } from '../view/reviewWords.ts';
import type { Announcer } from './announcer.ts';
import { openChange } from './openChanges.ts';
import type { Reviews } from './reviews.ts';
import type { Subject } from './session.ts';

/** What is decided about: whole files, or parts of one file. */
export type Chosen = { files: readonly ReviewFile[] } | { file: ReviewFile; parts: readonly PartId[] };

/** Characters that a line of a list shows. */
const reasonWidth = 72;

const words: Record<Verdict | 'open', string> = {
  accepted: 'Accepted',
  rejected: 'Rejected',
  open: 'Took back the decision on',
};

/** Carries verdicts and marks out, asks where a file is on the hand-off list, and says what was done. */
export class Decisions {
  private readonly reviews: Reviews;
  private readonly announcer: Announcer;

  constructor(reviews: Reviews, announcer: Announcer) {
    this.reviews = reviews;
    this.announcer = announcer;
  }

  /**
   * Files of the hand-off list are accepted one by one, each after a question that says why. Among several they are left out.
   * Resolves to false when nothing was decided.
   */
  async decide(subject: Subject, chosen: Chosen, verdict: Verdict | null): Promise<boolean> {
    const review = await this.reviews.of(subject.id);
    if ('parts' in chosen) {
      const { file, parts } = chosen;
      if (parts.length === 0) return false;
      if (verdict === 'accepted' && file.gate.length > 0 && !(await confirmGate(subject, file))) return false;
      await review.decide(subject.scope, { parts }, verdict);
      this.announcer.say(
        `${words[verdict ?? 'open']} ${plural(parts.length, 'part')} of ${shownPath(file.path)}.`,
      );
      return true;
    }
    const [only, ...more] = chosen.files;
    if (only === undefined) return false;
    if (more.length === 0) {
      if (verdict === 'accepted' && only.gate.length > 0 && !(await confirmGate(subject, only))) return false;
      await review.decide(subject.scope, { file: only.id }, verdict);
      this.announcer.say(`${words[verdict ?? 'open']} ${shownPath(only.path)}.`);
      return true;
    }
    const isInConflict = ({ edit }: ReviewFile): boolean => edit?.kind === 'conflict';
    const isFree = (file: ReviewFile): boolean => file.gate.length === 0 && !isInConflict(file);
    const kept = verdict === 'accepted' ? chosen.files.filter(isFree) : chosen.files;
    const conflicts = verdict === 'accepted' ? chosen.files.filter(isInConflict).length : 0;
    const left = chosen.files.length - kept.length - conflicts;
    const parts = kept.flatMap((file) => file.parts.map(({ id }) => id));
    if (parts.length > 0) await review.decide(subject.scope, { parts }, verdict);
    const rest =
      left === 0 ? '' : ` ${plural(left, 'file')} on the hand-off list must be accepted one by one.`;
    const inConflict =
      conflicts === 0 ? '' : ` Your edit of ${plural(conflicts, 'file')} must be merged or discarded first.`;
    this.announcer.say(`${words[verdict ?? 'open']} ${plural(kept.length, 'file')}.${rest}${inConflict}`);
    if (left + conflicts > 0) void vscode.window.showInformationMessage(this.announcer.last);
    return kept.length > 0;
  }

  async setReviewed(subject: Subject, files: readonly ReviewFile[], on: boolean): Promise<void> {
    if (files.length === 0) return;
    const review = await this.reviews.of(subject.id);
    await review.setReviewed(files, on);
    const [only, ...more] = files;
    const what =
      only !== undefined && more.length === 0 ? shownPath(only.path) : plural(files.length, 'file');
    this.announcer.say(`Marked ${what} as ${on ? 'reviewed' : 'not reviewed'}.`);
  }
}

/** The question that a file of the hand-off list needs. What Enter does at once is to look at it. */
export async function confirmGate(subject: Subject, file: ReviewFile): Promise<boolean> {
  const name = shownPath(file.path);
  const why = file.gate.flatMap((reason) => wrapped(safeLine(reason.why), reasonWidth));
  const picked = await vscode.window.showQuickPick<vscode.QuickPickItem & { answer?: 'look' | 'yes' }>(
    [
      { label: '$(diff) Look at It First', description: 'opens its changes', answer: 'look' },
      { label: '$(check) Accept This File', answer: 'yes' },
      { label: '$(x) Do Not Accept It Now' },
      { label: '', kind: vscode.QuickPickItemKind.Separator },
      // A line of a list does not wrap.
      ...why.map((line): vscode.QuickPickItem & { answer: 'look' } => ({ label: line, answer: 'look' })),
    ],
    { title: `Accept ${name}?`, placeHolder: why.join(' '), ignoreFocusOut: true },
  );
  if (picked?.answer === 'look') await openChange(subject, file, { preview: false });
  return picked?.answer === 'yes';
}
