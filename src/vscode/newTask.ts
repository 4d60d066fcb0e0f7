import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { SnapshotMode } from '../protocol/task.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { readSettings } from './settings.ts';
import type { Tasks } from './tasks.ts';
import { countUncommitted } from './uncommitted.ts';
import { problemWithPrompt } from './view/prompt.ts';
import { snapshotChoices } from './view/snapshotChoices.ts';

/** What other extensions, keybindings and tests can say instead of being asked. */
export const NewTaskArguments = z.object({
  prompt: z.optional(z.string()),
  snapshot: z.optional(SnapshotMode),
  folder: z.optional(z.string()),
  model: z.optional(z.string()),
  branch: z.optional(z.string()),
});
export type NewTaskArguments = z.infer<typeof NewTaskArguments>;

/** Asks for what is not said, and starts a task. Undefined when the user leaves. */
export async function newTask(tasks: Tasks, said: NewTaskArguments): Promise<TaskState | undefined> {
  if (!vscode.workspace.isTrusted) {
    await vscode.commands.executeCommand('workbench.trust.manage');
    throw new SallyportError(
      'invalid_input',
      'In Restricted Mode no task can be started.',
      'Trust this workspace first: git reads the configuration of its repository.',
    );
  }
  const folder = said.folder ?? (await pickFolder());
  if (folder === undefined) return undefined;
  const prompt = said.prompt ?? (await askPrompt(folder));
  if (prompt === undefined) return undefined;
  const { checkPrompt } = await import('../runner/localTasks.ts');
  checkPrompt(prompt);
  const settings = readSettings();
  const snapshot =
    said.snapshot ?? (settings.snapshot === 'ask' ? await askSnapshot(folder) : settings.snapshot);
  if (snapshot === undefined) return undefined;
  const model = said.model ?? (settings.modelName === '' ? undefined : settings.modelName);
  return vscode.window.withProgress(
    {
      location: vscode.ProgressLocation.Notification,
      title: 'Sallyport: taking a snapshot of the repository…',
      cancellable: true,
    },
    async (_progress, token) => {
      const service = await tasks.open();
      return service.submit(
        {
          repositoryPath: folder,
          prompt,
          snapshot,
          limits: settings.limits,
          ...(model === undefined ? {} : { model }),
          ...(said.branch === undefined ? {} : { branch: said.branch }),
        },
        toSignal(token),
      );
    },
  );
}

/** Starts a task from the prompt in the active editor. */
export async function newTaskFromEditor(tasks: Tasks): Promise<TaskState | undefined> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) return undefined;
  const { document } = editor;
  const folder = promptFolders.get(document.uri.toString());
  const state = await newTask(tasks, {
    prompt: document.getText().trim(),
    ...(folder === undefined ? {} : { folder }),
  });
  // The prompt is in the task now. A document that was opened for it has served, and nobody is asked to save it.
  if (state !== undefined && folder !== undefined && vscode.window.activeTextEditor?.document === document) {
    await vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor');
  }
  return state;
}

/** For which folder a prompt document was opened. */
const promptFolders = new Map<string, string>();

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
  if (!promptFolders.has(document.uri.toString())) return [];
  const title = `$(play) Start Task (${process.platform === 'darwin' ? 'Cmd' : 'Ctrl'}+Enter)`;
  const top = new vscode.Range(0, 0, 0, 0);
  return [new vscode.CodeLens(top, { title, command: 'sallyport.startFromEditor' })];
}

async function openPromptDocument(folder: string, text: string): Promise<void> {
  const document = await vscode.workspace.openTextDocument({
    language: 'markdown',
    content: text,
  });
  promptFolders.set(document.uri.toString(), folder);
  const editor = await vscode.window.showTextDocument(document);
  const end = document.lineAt(document.lineCount - 1).range.end;
  editor.selection = new vscode.Selection(end, end);
  await vscode.commands.executeCommand('setContext', 'sallyport.promptOpen', true);
}

async function pickFolder(): Promise<string | undefined> {
  const folders = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === 'file');
  const [first, ...more] = folders;
  if (first === undefined) {
    throw new SallyportError(
      'no_repository',
      'No folder is open.',
      'Open a folder with a git repository first.',
    );
  }
  if (more.length === 0) return first.uri.fsPath;
  const picked = await vscode.window.showQuickPick(
    folders.map(({ name, uri }) => ({ label: name, description: uri.fsPath, path: uri.fsPath })),
    { title: 'New Task: which repository?', matchOnDescription: true },
  );
  return picked?.path;
}

/** One line in the input box; its button moves what is written to an editor, where a prompt can be long. */
function askPrompt(folder: string): Promise<string | undefined> {
  const box = vscode.window.createInputBox();
  const inEditor: vscode.QuickInputButton = {
    iconPath: new vscode.ThemeIcon('edit'),
    tooltip: 'Write in an Editor',
  };
  box.title = 'New Task';
  box.placeholder = 'What is to be done? The agent works on a private copy.';
  box.prompt = 'Enter starts the task. For a long prompt use the pencil.';
  box.buttons = [inEditor];
  box.ignoreFocusOut = true;
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  box.onDidChangeValue((value) => {
    box.validationMessage = value.trim() === '' ? undefined : problemWithPrompt(value);
  });
  box.onDidAccept(() => {
    const problem = problemWithPrompt(box.value);
    if (problem === undefined) {
      resolve(box.value.trim());
      box.hide();
    } else box.validationMessage = problem;
  });
  box.onDidTriggerButton(() => {
    void openPromptDocument(folder, box.value);
    box.hide();
  });
  box.onDidHide(() => {
    resolve(undefined);
    box.dispose();
  });
  box.show();
  return promise;
}

/** Asks only where there is something to choose. */
async function askSnapshot(folder: string): Promise<SnapshotMode | undefined> {
  const uncommitted = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Window, title: 'Sallyport: looking for uncommitted changes' },
    () => countUncommitted(folder),
  );
  const choices = snapshotChoices(uncommitted);
  if (choices.length === 1) return choices[0]?.mode;
  const picked = await vscode.window.showQuickPick(choices, {
    title: 'New Task: start from…',
    placeHolder: 'There are uncommitted changes. What may the agent have?',
    ignoreFocusOut: true,
  });
  return picked?.mode;
}

export function toSignal(token: vscode.CancellationToken): AbortSignal {
  const controller = new AbortController();
  if (token.isCancellationRequested) controller.abort();
  token.onCancellationRequested(() => controller.abort());
  return controller.signal;
}
