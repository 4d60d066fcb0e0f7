import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import { chooseModel, type ChosenModel } from '../credentials/discover.ts';
import type { TaskService } from '../runner/taskService.ts';
import { defaultDataRoot } from '../runner/dataFolder.ts';
import { BlobFileSystem } from './blobs.ts';
import { actOf, registerCommands } from './commands.ts';
import { watchPromptDocuments } from './newTask.ts';
import { Notifications } from './notifications.ts';
import { TaskPanels } from './panels.ts';
import { showProblem } from './problems.ts';
import { CredentialStore } from './secrets.ts';
import { readSettings } from './settings.ts';
import { StatusBar } from './statusBar.ts';
import { Tasks } from './tasks.ts';
import { TextDocuments } from './texts.ts';
import { TaskTree } from './tree.ts';
import { updateRepositoryContext } from './welcome.ts';
import { defaultPolicy } from '../runner/userPolicy.ts';

/** What the tests of the extension host get. Nothing of it is there in a user's window. */
export interface TestSeam {
  tasks: Tasks;
  tree: TaskTree;
  credentials: CredentialStore;
  /** From now on this is the task service, as long as none was asked for. */
  useService: (make: () => Promise<TaskService>) => void;
}

/** Registers, and does nothing else: no engine, no socket, no file is asked before somebody looks. */
export function activate(context: vscode.ExtensionContext): TestSeam | undefined {
  const log = vscode.window.createOutputChannel('Sallyport', { log: true });
  const credentials = new CredentialStore(context.secrets);
  const dataRoot = (): string => readSettings().dataFolder || defaultDataRoot();
  const model = async (): Promise<ChosenModel> =>
    chooseModel(readSettings().modelSource, process.env, await credentials.get());
  let make = async (): Promise<TaskService> => {
    const { createTaskService } = await import('../runner/localTasks.ts');
    return createTaskService({
      dataFolder: dataRoot(),
      distFolder: join(context.extensionPath, 'dist'),
      containerFolder: join(context.extensionPath, 'container'),
      engineSetting: () => readSettings().engineSocket || undefined,
      policy: () => defaultPolicy,
      credentials: model,
      log,
    });
  };

  const tasks = new Tasks(() => make());
  const onProblem = (thrown: unknown): void => void showProblem(thrown, log);
  const tree = new TaskTree(tasks, onProblem);
  const texts = new TextDocuments();
  const panels = new TaskPanels({
    texts,
    tasks,
    extensionUri: context.extensionUri,
    log,
    act: actOf,
    onProblem,
  });
  const modelChanged = (): void => void updateModelContext(model);
  const view = tree.register();
  const look = (): void => {
    void updateRepositoryContext();
    modelChanged();
  };
  context.subscriptions.push(
    log,
    tasks,
    tree,
    panels,
    panels.register(),
    texts.register(),
    new BlobFileSystem(tasks).register(),
    new StatusBar(tasks),
    new Notifications(tasks, (id) => panels.isVisible(id)),
    watchPromptDocuments(),
    tasks.onTrouble(onProblem),
    vscode.workspace.onDidChangeWorkspaceFolders(look),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('sallyport.model')) modelChanged();
    }),
    view.onDidChangeVisibility(({ visible }) => {
      if (visible) look();
    }),
    ...registerCommands({ texts, tasks, panels, credentials, log, modelChanged }),
  );
  if (view.visible) look();
  const test = context.extensionMode === vscode.ExtensionMode.Test;
  if (!test) void reopenTasks(dataRoot(), tasks, log);
  if (!test) return undefined;
  return {
    tasks,
    tree,
    credentials,
    useService: (other) => {
      make = other;
    },
  };
}

/** Takes tasks up again that were running when the editor was closed. Without any, this is one look into a folder. */
async function reopenTasks(root: string, tasks: Tasks, log: vscode.LogOutputChannel): Promise<void> {
  const entries = await readdir(join(root, 'tasks')).catch(() => []);
  if (entries.length === 0) return;
  await tasks
    .open()
    .catch((thrown: unknown) => log.warn(thrown instanceof Error ? thrown.message : String(thrown)));
}

async function updateModelContext(model: () => Promise<ChosenModel>): Promise<void> {
  const known = await model().then(
    () => 'found',
    () => 'none',
  );
  await vscode.commands.executeCommand('setContext', 'sallyport.model', known);
}
