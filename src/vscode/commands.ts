import * as vscode from 'vscode';
import { TaskId } from '../protocol/grammar.ts';
import type { PanelAction } from '../protocol/panelMessages.ts';
import { hasEnded, type TaskState, isAsking, isInTurn } from '../protocol/taskState.ts';
import { acceptAsBranch } from './acceptAsBranch.ts';
import { askBudget } from './budget.ts';
import { choose, type Chosen, Target } from './chooseTask.ts';
import { setCredential } from './credentialCommands.ts';
import { pickCredential } from './credentialList.ts';
import { askToCallModel, doctor } from './doctor.ts';
import type { Models } from './models.ts';
import { editNetworkRules } from './networkRules.ts';
import { newTask, newTaskFromEditor } from './newTask.ts';
import type { TaskPanels } from './panels.ts';
import { attempt } from './problems.ts';
import { commitLeftovers } from './review/leftovers.ts';
import { hasLeftovers, reviewCommands, scopeOf } from './review/reviewCommands.ts';
import type { ReviewFeature } from './review/reviewFeature.ts';
import { removeTask } from './removeTask.ts';
import { runnerCommands } from './runnerCommands.ts';
import type { RunnerStore } from './runnerStore.ts';
import type { CredentialStore } from './secrets.ts';
import { showDiff } from './showDiff.ts';
import type { SignIn } from './signIn.ts';
import type { Tasks } from './tasks.ts';
import { sendMessage, takesMessages } from './messages.ts';
import { answerAgent } from './questions.ts';
import { openTerminal } from './terminals.ts';
import type { TextDocuments } from './texts.ts';
import { readArguments } from './view/newTaskArguments.ts';
import { folderPaths } from './workspace.ts';

export interface CommandSurroundings {
  tasks: Tasks;
  panels: TaskPanels;
  credentials: CredentialStore;
  models: Models;
  extensionUri: vscode.Uri;
  log: vscode.LogOutputChannel;
  texts: TextDocuments;
  /** What the welcome view says about the model may be out of date. */
  modelChanged: () => void;
  /** Of the workspace that is open. */
  memory: vscode.Memento;
  store: RunnerStore;
  signIn: SignIn;
  review: ReviewFeature;
}

/** Every command of the manifest. */
export function registerCommands(around: CommandSurroundings): vscode.Disposable[] {
  const { tasks, panels, credentials, models, log, texts } = around;
  const openDocs = async (): Promise<void> => {
    const page = vscode.Uri.joinPath(around.extensionUri, 'media', 'credentials.md');
    await vscode.commands.executeCommand('markdown.showPreview', page);
  };
  const choosing = { tasks, models, store: credentials, openDocs, memory: around.memory };
  const register = (name: string, run: (...args: unknown[]) => unknown): vscode.Disposable =>
    vscode.commands.registerCommand(`sallyport.${name}`, (...args: unknown[]) =>
      attempt(async () => await run(...args), log),
    );
  const onTask = (
    name: string,
    ask: string,
    fits: (state: TaskState) => boolean,
    run: (chosen: Chosen) => Promise<unknown>,
  ): vscode.Disposable =>
    register(name, async (argument) => {
      const chosen = await choose(tasks, argument, ask, fits);
      return chosen === undefined ? undefined : run(chosen);
    });
  const started = (state: TaskState | undefined): string | undefined => {
    if (state === undefined) return undefined;
    panels.show(state.spec.id);
    return state.spec.id;
  };
  const any = (): boolean => true;
  const withResult = (state: TaskState): boolean =>
    tasks.hasResult(state.spec.id) || state.leftovers !== undefined;

  return [
    register('newTask', (argument) => {
      const said = readArguments(argument);
      // Another try goes on with what was answered already.
      return attempt(async () => started(await newTask(choosing, said)), log);
    }),
    register('startFromEditor', async () => started(await newTaskFromEditor(choosing))),
    onTask('open', 'Open which task?', any, ({ state }) => {
      panels.show(state.spec.id);
      return Promise.resolve();
    }),
    onTask('showLog', 'Show the log of which task?', any, ({ state }) => {
      panels.show(state.spec.id, 'log');
      return Promise.resolve();
    }),
    onTask('showNetwork', 'Show the network requests of which task?', any, ({ state }) => {
      panels.show(state.spec.id, 'network');
      return Promise.resolve();
    }),
    onTask(
      'setBudget',
      'Set the budget of which task?',
      (state) => !hasEnded(state),
      ({ state }) => askBudget(tasks, state),
    ),
    register('editNetworkRules', (argument) => {
      const id = TaskId.safeParse(argument);
      const path = id.success ? tasks.get(id.data)?.spec.repository.path : undefined;
      return editNetworkRules(tasks, path);
    }),
    register('credentials', async () => {
      await pickCredential(choosing, folderPaths()[0]);
      around.modelChanged();
    }),
    register('openCredentialDocs', openDocs),
    onTask('showDiff', 'Show the diff of which task?', withResult, (chosen) => showDiff(tasks, chosen)),
    onTask(
      'stop',
      'Stop which task?',
      (state) => !hasEnded(state),
      async ({ state }) => {
        const service = await tasks.open();
        await vscode.window.withProgress(
          { location: vscode.ProgressLocation.Window, title: 'Sallyport: stopping the task' },
          () => service.stop(state.spec.id),
        );
      },
    ),
    onTask(
      'acceptAsBranch',
      'Accept which task?',
      (state) => tasks.hasResult(state.spec.id),
      ({ state }) => acceptAsBranch(tasks, state),
    ),
    onTask('remove', 'Remove which task?', any, ({ state }) => removeTask(tasks, state)),
    register('copyCommitId', async (argument) => {
      const target = Target.safeParse(argument);
      if (target.success && typeof target.data !== 'string' && target.data.sha !== undefined) {
        await vscode.env.clipboard.writeText(target.data.sha);
      }
    }),
    register('doctor', async (argument) => {
      const callModel = await askToCallModel(argument);
      return callModel === undefined ? undefined : await doctor(tasks, texts, callModel);
    }),
    register('setCredential', async () => {
      if (!(await setCredential(credentials))) return false;
      around.modelChanged();
      void vscode.window.showInformationMessage(
        'The credential is kept in the secret storage. New tasks use it.',
      );
      return true;
    }),
    register('removeCredential', async () => {
      const had = await credentials.remove();
      around.modelChanged();
      void vscode.window.showInformationMessage(
        had ? 'The credential was removed.' : 'There was no stored credential.',
      );
      return had;
    }),
    register('useDemonstration', async () => {
      await vscode.workspace
        .getConfiguration('sallyport')
        .update('model.source', 'demonstration', vscode.ConfigurationTarget.Global);
      around.modelChanged();
      void vscode.window.showInformationMessage(
        'New tasks use the demonstration model: a script that plays one small piece of work. Change it by the setting sallyport.model.source.',
      );
    }),
    register('showOutput', () => {
      log.show();
      return Promise.resolve();
    }),
    onTask('answerAgent', 'Answer the agent of which task?', isAsking, ({ state }) =>
      answerAgent(tasks, state, texts),
    ),
    onTask('interrupt', 'Interrupt the agent of which task?', isInTurn, async ({ state }) =>
      (await tasks.open()).interrupt(state.spec.id),
    ),
    onTask('sendMessage', 'Send a message to which task?', takesMessages, async ({ state }) =>
      started(await sendMessage(tasks, state)),
    ),
    onTask(
      'openTerminal',
      'Open a terminal in the sandbox of which task?',
      (state) => !hasEnded(state),
      ({ state }) => openTerminal(tasks, state),
    ),
    register('reviewChanges', async (argument) => {
      const chosen = await choose(tasks, argument, 'Review the changes of which task?', withResult);
      if (chosen === undefined) return;
      const { id } = chosen.state.spec;
      await around.review.open({ id, scope: scopeOf(argument, chosen, tasks.hasResult(id)) });
    }),
    onTask('commitLeftovers', 'Commit the leftovers of which task?', hasLeftovers, ({ state }) =>
      commitLeftovers(tasks, state),
    ),
    ...Object.entries(runnerCommands(around)).map(([name, run]) => register(name, run)),
    ...Object.entries(reviewCommands(around.review)).map(([name, run]) => register(name, run)),
  ];
}

/** Carries out what was pressed in a panel. */
export function actOf(action: PanelAction, id: string): void {
  void vscode.commands.executeCommand(`sallyport.${action}`, id);
}
