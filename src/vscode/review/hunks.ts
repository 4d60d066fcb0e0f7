import * as vscode from 'vscode';
import { SallyportError } from '../../base/errors.ts';
import type { Verdict } from '../../protocol/review.ts';
import { hunkBeside, hunksIn, linesOf, placeHunks, type PlacedHunk } from '../view/reviewLines.ts';
import { isDone, standingOf } from '../view/reviewProgress.ts';
import { shownPath } from '../view/reviewUri.ts';
import type { Announcer } from './announcer.ts';
import type { Decisions } from './decisions.ts';
import { inFront } from './front.ts';
import type { PartTarget } from './lenses.ts';
import { openChange } from './openChanges.ts';
import type { Place, Places } from './places.ts';
import type { Reviews } from './reviews.ts';

/** What is done at the cursor of an editor of a review. */
export class HunkActions {
  private readonly places: Places;
  private readonly reviews: Reviews;
  private readonly decisions: Decisions;
  private readonly announcer: Announcer;

  constructor(places: Places, reviews: Reviews, decisions: Decisions, announcer: Announcer) {
    this.places = places;
    this.reviews = reviews;
    this.decisions = decisions;
    this.announcer = announcer;
  }

  /** @param target a hunk that was pressed; without it those of the selection, or the one at the cursor */
  async decide(verdict: Verdict | null, target: PartTarget | undefined): Promise<void> {
    if (target !== undefined) {
      const { subject, file: id, part } = target;
      const { diff } = await this.reviews.load(subject.id, subject.scope);
      const file = diff.files.find((one) => one.id === id);
      if (file !== undefined) await this.decisions.decide(subject, { file, parts: [part] }, verdict);
      return;
    }
    const { editor, place } = await this.here();
    const { selection } = editor ?? {};
    // What has no lines is decided about as a whole.
    const chosen =
      selection === undefined
        ? place.file.parts
        : hunksIn(place.hunks, selection.start.line + 1, selection.end.line + 1).map(({ part }) => part);
    if (chosen.length === 0) {
      this.announcer.say('There is no change at the cursor.');
      return;
    }
    const parts = chosen.map(({ id }) => id);
    await this.decisions.decide(place.subject, { file: place.file, parts }, verdict);
  }

  /** To the nearest hunk without a verdict in this direction, in the next file that is not done where this one has none. */
  async goToHunk(step: 1 | -1): Promise<void> {
    const { editor, place } = await this.here();
    const open = (hunk: PlacedHunk): boolean => hunk.verdict === undefined;
    const found =
      editor === undefined
        ? undefined
        : hunkBeside(place.hunks, editor.selection.active.line + 1, step, open);
    if (editor === undefined || found === undefined) {
      await this.goToFile(step, place);
      return;
    }
    const at = new vscode.Position(Math.min(linesOf(found).first, editor.document.lineCount) - 1, 0);
    editor.selection = new vscode.Selection(at, at);
    editor.revealRange(new vscode.Range(at, at), vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    this.announcer.say(`Line ${at.line + 1}: ${found.part.added} added, ${found.part.removed} removed.`);
  }

  /** To the next file that is not done: not read, and not decided. */
  async goToFile(step: 1 | -1, from?: Place): Promise<void> {
    const place = from ?? (await this.here()).place;
    const { subject } = place;
    const { diff, state, returned } = await this.reviews.load(subject.id, subject.scope);
    const at = diff.files.findIndex(({ id }) => id === place.file.id);
    const rest = step === 1 ? diff.files.slice(at + 1) : diff.files.slice(0, at).reverse();
    const next = rest.find((file) => !isDone(standingOf(file, state, returned)));
    if (next === undefined) {
      this.announcer.say(
        step === 1
          ? 'No file after this one is left to review.'
          : 'No file before this one is left to review.',
      );
      return;
    }
    const hunks = placeHunks(next, state.verdicts).filter(({ verdict }) => verdict === undefined);
    const hunk = step === 1 ? hunks[0] : hunks.at(-1);
    await openChange(subject, next, hunk === undefined ? {} : { hunk });
    this.announcer.say(`${shownPath(next.path)}.`);
  }

  /**
   * What of the review is in front, with what was typed in it saved: its hunks are those of the review then. An image or
   * another binary file is in no text editor.
   */
  async here(): Promise<{ editor: vscode.TextEditor | undefined; place: Place }> {
    const uri = inFront();
    if (uri !== undefined && this.places.isOfReview(uri)) {
      const editor = vscode.window.activeTextEditor;
      if (editor?.document.isDirty === true) await editor.document.save();
      const place = await this.places.of(uri);
      if (place !== undefined) return { editor, place };
    }
    throw new SallyportError(
      'invalid_input',
      'No file of a review is in front.',
      'Open one from the Review view first.',
    );
  }
}
