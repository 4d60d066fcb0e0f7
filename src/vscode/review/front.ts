import * as vscode from 'vscode';

/** What was opened in tabs of which the editor does not say what they show: two images side by side. */
const opened = new WeakMap<vscode.Tab, vscode.Uri>();
const remembered = new vscode.EventEmitter<void>();

/** Keeps what the tab in front shows. */
export function rememberFront(uri: vscode.Uri): void {
  const tab = activeTab();
  if (tab === undefined) return;
  opened.set(tab, uri);
  remembered.fire();
}

/** The document that is in front, in whatever editor: an image, and a file that is no text, are in none of text. */
export function inFront(): vscode.Uri | undefined {
  const editor = vscode.window.activeTextEditor;
  if (editor !== undefined) return editor.document.uri;
  const tab = activeTab();
  if (tab === undefined) return undefined;
  const { input } = tab;
  if (input instanceof vscode.TabInputText || input instanceof vscode.TabInputCustom) return input.uri;
  return input instanceof vscode.TabInputTextDiff ? input.modified : opened.get(tab);
}

/** Calls the listener when another document may be in front. */
export function onDidChangeFront(listener: () => void): vscode.Disposable {
  return vscode.Disposable.from(
    vscode.window.onDidChangeActiveTextEditor(listener),
    vscode.window.tabGroups.onDidChangeTabs(listener),
    vscode.window.tabGroups.onDidChangeTabGroups(listener),
    remembered.event(listener),
  );
}

function activeTab(): vscode.Tab | undefined {
  return vscode.window.tabGroups.activeTabGroup.activeTab;
}
