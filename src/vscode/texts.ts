import * as vscode from 'vscode';

const scheme = 'sallyport-text';

/** How many texts are kept for their editors. */
const kept = 20;

/** Read-only text in an editor: nothing to save, nothing to be run. */
export class TextDocuments implements vscode.TextDocumentContentProvider {
  private readonly texts = new Map<string, string>();
  private last = 0;

  register(): vscode.Disposable {
    return vscode.workspace.registerTextDocumentContentProvider(scheme, this);
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return (
      this.texts.get(uri.query) ?? 'This text is not there any more. Open it again from where it came.\n'
    );
  }

  /** @param name title of the editor; its extension chooses the language */
  async show(name: string, text: string): Promise<void> {
    this.last += 1;
    const key = String(this.last);
    this.texts.set(key, text);
    for (const oldest of this.texts.keys()) {
      if (this.texts.size <= kept) break;
      this.texts.delete(oldest);
    }
    const uri = vscode.Uri.from({ scheme, path: `/${name}`, query: key });
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri), { preview: true });
  }
}
