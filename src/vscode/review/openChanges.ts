import * as vscode from 'vscode';
import type { ReviewFile } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { type PlacedHunk, linesOf } from '../view/reviewLines.ts';
import { hasSide, reviewParts, reviewSides, shownPath } from '../view/reviewUri.ts';
import { scopeName } from '../view/reviewWords.ts';
import { rememberFront } from './front.ts';
import type { Subject } from './session.ts';

/** Opens one file: a diff, or the one side that there is of an image or another binary file. */
export async function openChange(
  subject: Subject,
  file: ReviewFile,
  options: { hunk?: PlacedHunk; preserveFocus?: boolean; preview?: boolean } = {},
): Promise<void> {
  const { hunk, preserveFocus = false, preview = true } = options;
  const name = shownPath(file.path).split('/').at(-1) ?? '';
  const title = `${name} (${scopeName(subject.scope)})`;
  const shown: vscode.TextDocumentShowOptions = { preview, preserveFocus };
  if (hunk !== undefined) {
    const at = new vscode.Position(linesOf(hunk).first - 1, 0);
    shown.selection = new vscode.Range(at, at);
  }
  const oneSided = file.binary && !(hasSide(file.oldBlob) && hasSide(file.newBlob));
  const { original, modified } = reviewSides(subject.id, subject.scope, file, !oneSided);
  if (original === undefined)
    await vscode.commands.executeCommand('vscode.open', vscode.Uri.from(modified), shown, title);
  else if (oneSided)
    await vscode.commands.executeCommand('vscode.open', vscode.Uri.from(original), shown, title);
  else {
    const sides = [vscode.Uri.from(original), vscode.Uri.from(modified)];
    await vscode.commands.executeCommand('vscode.diff', ...sides, title, shown);
    if (file.binary) rememberFront(vscode.Uri.from(modified));
  }
}

/** Opens many files in one editor. */
export async function openChanges(
  subject: Subject,
  files: readonly ReviewFile[],
  title: string,
): Promise<void> {
  const resources = files.map((file) => {
    const { original, modified } = reviewSides(subject.id, subject.scope, file, false);
    return [
      vscode.Uri.from(reviewParts(subject.id, subject.scope, file)),
      original === undefined ? undefined : vscode.Uri.from(original),
      hasSide(file.newBlob) ? vscode.Uri.from(modified) : undefined,
    ];
  });
  await vscode.commands.executeCommand('vscode.changes', safeLine(title, 100), resources);
}
