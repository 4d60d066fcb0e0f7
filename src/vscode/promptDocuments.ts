import * as vscode from 'vscode';
import type { NewTaskArguments } from './view/newTaskArguments.ts';

/** What is said of a prompt that came with a link. */
const linkWords = 'A link from outside of the editor wrote this. Read it before you start it.';

/** What a prompt document was opened for. */
type PromptDocument = Pick<NewTaskArguments, 'branch' | 'origin'> & { folder: string };

/** By document. */
const promptFolders = new Map<string, PromptDocument>();

/** Undefined for a document that was opened for something else. */
export function promptDocument(document: vscode.TextDocument): PromptDocument | undefined {
  return promptFolders.get(document.uri.toString());
}

/** Keeps the buttons of prompt documents, and of no others. */
export function watchPromptDocuments(): vscode.Disposable {
  const update = (editor: vscode.TextEditor | undefined): void => {
    const open = editor !== undefined && promptFolders.has(editor.document.uri.toString());
    void vscode.commands.executeCommand('setContext', 'sallyport.promptOpen', open);
  };
  return vscode.Disposable.from(
    vscode.window.onDidChangeActiveTextEditor(update),
    vscode.languages.registerCodeLensProvider(
      { scheme: 'untitled', language: 'markdown' },
      { provideCodeLenses },
    ),
    vscode.workspace.onDidCloseTextDocument((document) => promptFolders.delete(document.uri.toString())),
  );
}

function provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
  const known = promptDocument(document);
  if (known === undefined) return [];
  const title = `$(play) Start Task (${process.platform === 'darwin' ? 'Cmd' : 'Ctrl'}+Enter)`;
  const top = new vscode.Range(0, 0, 0, 0);
  const start = new vscode.CodeLens(top, { title, command: 'sallyport.startFromEditor' });
  if (known.origin === undefined) return [start];
  const branch = known.branch === undefined ? '' : ` Branch: ${known.branch}.`;
  const warning = `$(warning) ${linkWords}${branch}`;
  return [start, new vscode.CodeLens(top, { title: warning, command: '' })];
}

/** Opens an editor with the prompt of a task in that folder. */
export async function openPromptDocument(
  folder: string,
  text: string,
  said: Pick<NewTaskArguments, 'branch' | 'origin'> = {},
): Promise<void> {
  const document = await vscode.workspace.openTextDocument({
    language: 'markdown',
    content: text,
  });
  const { branch, origin } = said;
  promptFolders.set(document.uri.toString(), {
    folder,
    ...(branch === undefined ? {} : { branch }),
    ...(origin === undefined ? {} : { origin }),
  });
  const editor = await vscode.window.showTextDocument(document);
  const end = document.lineAt(document.lineCount - 1).range.end;
  editor.selection = new vscode.Selection(end, end);
  await vscode.commands.executeCommand('setContext', 'sallyport.promptOpen', true);
}
