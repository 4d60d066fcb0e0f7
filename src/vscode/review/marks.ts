import * as vscode from 'vscode';
import { DisposableStore } from '../../base/disposable.ts';
import { blobScheme } from '../view/blobUri.ts';
import { findHidden } from '../view/reviewHidden.ts';
import { linesOf, type PlacedHunk } from '../view/reviewLines.ts';
import { reviewScheme } from '../view/reviewUri.ts';
import type { Places } from './places.ts';
import type { Reviews } from './reviews.ts';

/** Milliseconds of quiet after which an editor is marked anew. */
const settleMs = 80;

/**
 * What editors of a review show besides VS Code's own diff: which hunks are accepted, rejected, or came back, and every
 * character that cannot be seen, whatever the user's own settings say of those.
 */
export class Marks implements vscode.Disposable {
  private readonly places: Places;
  private readonly reviews: Reviews;
  private readonly onProblem: (thrown: unknown) => void;
  private readonly store = new DisposableStore();
  private readonly types: Record<
    'accepted' | 'rejected' | 'returned' | 'hidden',
    vscode.TextEditorDecorationType
  >;
  private settling: NodeJS.Timeout | undefined;

  constructor(places: Places, reviews: Reviews, media: vscode.Uri, onProblem: (thrown: unknown) => void) {
    this.places = places;
    this.reviews = reviews;
    this.onProblem = onProblem;
    this.types = {
      accepted: hunkType(media, 'accepted', 'charts.green', '✓ accepted'),
      rejected: hunkType(media, 'rejected', 'charts.red', '✗ rejected'),
      returned: hunkType(media, 'returned', 'charts.yellow', '↺ came back'),
      // The text itself is drawn at each place.
      hidden: vscode.window.createTextEditorDecorationType({
        overviewRulerColor: new vscode.ThemeColor('editorWarning.foreground'),
        overviewRulerLane: vscode.OverviewRulerLane.Right,
      }),
    };
    for (const type of Object.values(this.types)) this.store.add(type);
    const again = (): void => this.settle();
    this.store.add(vscode.window.onDidChangeVisibleTextEditors(again));
    this.store.add(
      vscode.workspace.onDidChangeTextDocument(({ document }) => {
        if (isOurs(document.uri)) this.settle();
      }),
    );
    this.store.add(reviews.onDidChange(again));
  }

  /** Marks the editors that can be seen, now. */
  async draw(): Promise<void> {
    for (const editor of vscode.window.visibleTextEditors) {
      if (isOurs(editor.document.uri)) await this.drawOne(editor);
    }
  }

  dispose(): void {
    clearTimeout(this.settling);
    this.store.dispose();
  }

  private settle(): void {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.draw().catch(this.onProblem);
    }, settleMs);
  }

  private async drawOne(editor: vscode.TextEditor): Promise<void> {
    const { document } = editor;
    editor.setDecorations(this.types.hidden, hiddenIn(document.getText()));
    const place = await this.places.of(document.uri).catch(() => undefined);
    if (place === undefined) return;
    const { returned } = await this.reviews.load(place.subject.id, place.subject.scope);
    const of = (fits: (hunk: PlacedHunk) => boolean, label: string): vscode.DecorationOptions[] =>
      place.hunks.filter(fits).map((hunk) => ({
        range: rangeOf(hunk, document),
        // A plain string would be read as Markdown; this one holds no text of the agent's.
        hoverMessage: label,
      }));
    const back = ({ part, verdict }: PlacedHunk): boolean => returned.has(part.id) && verdict !== 'accepted';
    editor.setDecorations(
      this.types.accepted,
      of(({ verdict }) => verdict === 'accepted', 'This change is accepted.'),
    );
    editor.setDecorations(
      this.types.rejected,
      of((hunk) => hunk.verdict === 'rejected' && !back(hunk), 'A change was rejected here.'),
    );
    editor.setDecorations(
      this.types.returned,
      of(back, 'You rejected this change and told the agent so; it is here again as it was.'),
    );
  }
}

export function rangeOf(
  hunk: Pick<PlacedHunk, 'start' | 'lines'>,
  document: vscode.TextDocument,
): vscode.Range {
  const { first, last } = linesOf(hunk);
  const end = Math.max(0, document.lineCount - 1);
  const from = Math.min(first - 1, end);
  const to = hunk.lines === 0 ? from : Math.min(last - 1, end);
  return new vscode.Range(from, 0, to, document.lineAt(to).text.length);
}

function hiddenIn(text: string): vscode.DecorationOptions[] {
  return findHidden(text).map(({ line, start, end, shown }) => ({
    range: new vscode.Range(line, start, line, end),
    hoverMessage: `A character that cannot be seen: ${shown}`,
    renderOptions: {
      before: {
        contentText: shown,
        color: new vscode.ThemeColor('editorWarning.foreground'),
        border: '1px solid',
        borderColor: new vscode.ThemeColor('editorWarning.foreground'),
        margin: '0 1px',
      },
    },
  }));
}

function isOurs({ scheme }: vscode.Uri): boolean {
  return scheme === reviewScheme || scheme === blobScheme;
}

function hunkType(
  media: vscode.Uri,
  name: string,
  color: string,
  text: string,
): vscode.TextEditorDecorationType {
  const icon = (theme: string): vscode.Uri => vscode.Uri.joinPath(media, 'review', `${name}-${theme}.svg`);
  return vscode.window.createTextEditorDecorationType({
    isWholeLine: true,
    overviewRulerColor: new vscode.ThemeColor(color),
    overviewRulerLane: vscode.OverviewRulerLane.Left,
    gutterIconSize: 'contain',
    light: { gutterIconPath: icon('light') },
    dark: { gutterIconPath: icon('dark') },
    after: { contentText: text, color: new vscode.ThemeColor(color), margin: '0 0 0 2em' },
  });
}
