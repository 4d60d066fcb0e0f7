import * as vscode from 'vscode';
import { DisposableStore } from '../../base/disposable.ts';
import type { FileId, PartId } from '../../protocol/review.ts';
import { linesOf } from '../view/reviewLines.ts';
import { reviewScheme } from '../view/reviewUri.ts';
import type { Places } from './places.ts';
import type { Reviews } from './reviews.ts';
import type { Subject } from './session.ts';

/** A part of a file, as commands name it. */
export interface PartTarget {
  subject: Subject;
  file: FileId;
  part: PartId;
}

/** Buttons over each hunk. VS Code shows them in a diff where the setting `diffEditor.codeLens` is on. */
export class HunkLenses implements vscode.CodeLensProvider, vscode.Disposable {
  private readonly places: Places;
  private readonly store = new DisposableStore();
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeCodeLenses = this.changes.event;

  constructor(places: Places, reviews: Reviews) {
    this.places = places;
    this.store.add(this.changes);
    this.store.add(reviews.onDidChange(() => this.changes.fire()));
    // They were left out while it was not saved.
    this.store.add(
      vscode.workspace.onDidSaveTextDocument(({ uri }) => {
        if (uri.scheme === reviewScheme) this.changes.fire();
      }),
    );
  }

  register(): vscode.Disposable {
    return vscode.languages.registerCodeLensProvider({ scheme: reviewScheme }, this);
  }

  async provideCodeLenses(document: vscode.TextDocument): Promise<vscode.CodeLens[]> {
    const place = await this.places.of(document.uri);
    // While something is typed the lines are others than those of the review.
    if (place === undefined || document.isDirty) return [];
    return place.hunks.flatMap((hunk) => {
      const at = Math.min(linesOf(hunk).first - 1, Math.max(0, document.lineCount - 1));
      const target: PartTarget = { subject: place.subject, file: place.file.id, part: hunk.part.id };
      const lens = (title: string, command: string, tooltip: string): vscode.CodeLens =>
        new vscode.CodeLens(new vscode.Range(at, 0, at, 0), {
          title,
          tooltip,
          command: `sallyport.review.${command}`,
          arguments: [target],
        });
      const accept = lens('$(check) Accept', 'acceptHunk', 'Accept this hunk');
      const reject = lens('$(x) Reject', 'rejectHunk', 'Reject this hunk');
      const back = (title: string): vscode.CodeLens =>
        lens(title, 'restoreHunk', 'Take back what was decided about this hunk');
      if (hunk.verdict === 'accepted') return [back('$(pass-filled) Accepted: Take Back'), reject];
      if (hunk.verdict === 'rejected') return [back('$(circle-slash) Rejected: Restore')];
      return [accept, reject];
    });
  }

  dispose(): void {
    this.store.dispose();
  }
}
