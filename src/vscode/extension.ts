import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { ModelSources } from '../runner/modelSources.ts';
import type { ResolvedModel, TaskService } from '../runner/taskService.ts';
import { defaultDataRoot } from '../runner/dataFolder.ts';
import { BlobFileSystem } from './blobs.ts';
import { actOf, registerCommands } from './commands.ts';
import { LanguageModelTools } from './languageModelTool.ts';
import { localSources, Models } from './models.ts';
import { NoticeBoard } from './noticeBoard.ts';
import { NoticeClaims } from './noticeClaims.ts';
import { Notifications } from './notifications.ts';
import { TaskPanels } from './panels.ts';
import { watchPromptDocuments } from './promptDocuments.ts';
import { Reviews } from './review/reviews.ts';
import { showProblem } from './problems.ts';
import { ReviewFeature } from './review/reviewFeature.ts';
import { PublishFeature } from './publishFeature.ts';
import { RunnerNotices } from './runnerNotices.ts';
import { Runners } from './runners.ts';
import { RunnerStore } from './runnerStore.ts';
import { SignIn } from './signIn.ts';
import { CredentialStore } from './secrets.ts';
import { readPolicy, readSettings } from './settings.ts';
import { StatusBar } from './statusBar.ts';
import { Tasks } from './tasks.ts';
import { TextDocuments } from './texts.ts';
import { TaskTree } from './tree.ts';
import { firstReady } from './view/credentialItems.ts';
import { Links } from './taskLink.ts';
import { UserNotices } from './userNotices.ts';
import { updateRepositoryContext } from './welcome.ts';
import { folderPaths } from './workspace.ts';

/** What the tests of the extension host get. Nothing of it is there in a user's window. */
export interface TestSeam {
  tasks: Tasks;
  tree: TaskTree;
  credentials: CredentialStore;
  runners: RunnerStore;
  signIn: SignIn;
  publish: PublishFeature;
  review: ReviewFeature;
  notices: NoticeBoard;
  /** Whether the panel of a task is in front. */
  isVisible: (id: string) => boolean;
  links: Links;
  tools: LanguageModelTools;
  /** From now on this is the task service, as long as none was asked for. */
  useService: (make: () => Promise<TaskService>) => void;
  /** The same for what finds credentials. */
  useModels: (make: () => Promise<ModelSources>) => void;
}

/** Registers, and does nothing else: no engine, no socket, no file is asked before somebody looks. */
export function activate(context: vscode.ExtensionContext): TestSeam | undefined {
  const log = vscode.window.createOutputChannel('Sallyport', { log: true });
  const credentials = new CredentialStore(context.secrets);
  const dataRoot = (): string => readSettings().dataFolder || defaultDataRoot();
  let makeModels = (): Promise<ModelSources> => localSources(credentials);
  const models = new Models(() => makeModels());
  let make = async (): Promise<TaskService> => {
    const { createTaskService } = await import('../runner/localTasks.ts');
    const service = await createTaskService({
      dataFolder: dataRoot(),
      distFolder: join(context.extensionPath, 'dist'),
      containerFolder: join(context.extensionPath, 'container'),
      engineSetting: () => readSettings().engineSocket || undefined,
      policy: readPolicy,
      credentials: (path) => modelOf(models, service, path),
      modelSources: models,
      log,
    });
    return service;
  };

  const onProblem = (thrown: unknown, retry?: () => unknown): void => void showProblem(thrown, log, retry);
  const store = new RunnerStore(context.globalState, context.secrets);
  const runners = new Runners({
    store,
    make: async (record) => {
      const { createRemoteTaskService } = await import('./runnerAccess.ts');
      return await createRemoteTaskService({
        url: record.url,
        token: () => store.token(record),
        dataFolder: dataRoot(),
        policy: readPolicy,
        log,
      });
    },
    log,
    onProblem,
  });
  const signIn = new SignIn(context.extension.id, log);
  const tasks = new Tasks(() => make(), runners);
  const tree = new TaskTree(tasks, onProblem);
  const texts = new TextDocuments();
  const reviews = new Reviews(tasks);
  context.subscriptions.push(reviews);
  const panels = new TaskPanels({
    reviews,
    texts,
    tasks,
    extensionUri: context.extensionUri,
    log,
    act: actOf,
    onProblem,
  });
  const review = new ReviewFeature({
    tasks,
    reviews,
    extensionUri: context.extensionUri,
    mergeFolder: context.storageUri,
    memory: context.workspaceState,
    onProblem,
  });
  const publish = new PublishFeature({
    tasks,
    reviews,
    tree,
    secrets: context.secrets,
    memory: context.globalState,
    log,
  });
  const tools = new LanguageModelTools(tasks, log);
  const links = new Links(signIn, log, onProblem);
  const notices = new NoticeBoard(new NoticeClaims(dataRoot));
  const modelChanged = (): void => void updateModelContext(models);
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
    review,
    publish,
    new StatusBar(tasks),
    notices,
    new Notifications(tasks, notices, (id) => panels.isVisible(id)),
    new UserNotices({
      tasks,
      board: notices,
      isVisible: (id) => panels.isVisible(id),
      showNetwork: (id) => panels.show(id, 'network'),
      onProblem,
    }),
    credentials,
    credentials.onDidChange(modelChanged),
    store,
    runners,
    new RunnerNotices(runners),
    signIn,
    links,
    vscode.window.registerUriHandler(links),
    tools,
    watchPromptDocuments(),
    tasks.onTrouble((error) => onProblem(error)),
    vscode.workspace.onDidChangeWorkspaceFolders(look),
    vscode.workspace.onDidChangeConfiguration((event) => {
      const about = (...keys: string[]): boolean =>
        keys.some((key) => event.affectsConfiguration(`sallyport.${key}`));
      if (about('model', 'credentials', 'bedrock', 'vertex')) modelChanged();
      if (about('budget') && tasks.isOpen) {
        void tasks
          .open()
          .then((service) => service.budgetsChanged())
          .catch(onProblem);
      }
    }),
    view.onDidChangeVisibility(({ visible }) => {
      if (visible) look();
    }),
    ...registerCommands({
      texts,
      tasks,
      panels,
      credentials,
      models,
      log,
      modelChanged,
      extensionUri: context.extensionUri,
      memory: context.workspaceState,
      store,
      signIn,
      review,
    }),
  );
  if (view.visible) look();
  const test = context.extensionMode === vscode.ExtensionMode.Test;
  if (!test) void reopenTasks(dataRoot(), tasks, log);
  if (!test) return undefined;
  return {
    tasks,
    tree,
    credentials,
    runners: store,
    signIn,
    review,
    publish,
    notices,
    isVisible: (id) => panels.isVisible(id),
    links,
    tools,
    useService: (other) => {
      make = other;
    },
    useModels: (other) => {
      makeModels = other;
    },
  };
}

/**
 * Takes tasks up again that were running when the editor was closed, and connects to the runners that the user has. Without
 * any of either, this is one look into a folder.
 */
async function reopenTasks(root: string, tasks: Tasks, log: vscode.LogOutputChannel): Promise<void> {
  const entries = await readdir(join(root, 'tasks')).catch(() => []);
  if (entries.length === 0 && tasks.runners.isEmpty) return;
  await tasks
    .open()
    .catch((thrown: unknown) => log.warn(thrown instanceof Error ? thrown.message : String(thrown)));
}

/** The credential for tasks of a repository: the one that was chosen for it. Without a path that of the open folder. */
async function modelOf(
  models: Models,
  service: TaskService,
  path: string | undefined,
): Promise<ResolvedModel> {
  if (path !== undefined) return await models.choose((await service.workspaceSettings(path)).credential);
  // Asked for no task, such as by the doctor: the open folder need not be a repository.
  const [folder] = folderPaths();
  const settings =
    folder === undefined ? undefined : await service.workspaceSettings(folder).catch(() => undefined);
  return await models.choose(settings?.credential);
}

async function updateModelContext(models: Models): Promise<void> {
  const known = await models.list().then(
    (sources) => firstReady(sources) !== undefined,
    () => false,
  );
  const found = known || readSettings().modelSource === 'demonstration';
  await vscode.commands.executeCommand('setContext', 'sallyport.model', found ? 'found' : 'none');
}
