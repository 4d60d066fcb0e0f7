import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { isBranchName, TaskId } from '../protocol/grammar.ts';
import type { PanelAction } from '../protocol/panelMessages.ts';
import { safeLine } from '../protocol/safeText.ts';
import { hasEnded, type TaskState, isAsking, isInTurn } from '../protocol/taskState.ts';
import { phaseLabel, summary } from '../protocol/words.ts';
import type { Range } from '../runner/taskService.ts';
import { askBudget } from './budget.ts';
import { setCredential } from './credentialCommands.ts';
import { pickCredential } from './credentialList.ts';
import { askToCallModel, doctor } from './doctor.ts';
import { openDiff } from './editorDiff.ts';
import type { Models } from './models.ts';
import { editNetworkRules } from './networkRules.ts';
import { newTask, newTaskFromEditor, readArguments } from './newTask.ts';
import type { TaskPanels } from './panels.ts';
import { showProblem } from './problems.ts';
import { commitLeftovers } from './review/leftovers.ts';
import { hasLeftovers, reviewCommands, scopeOf } from './review/reviewCommands.ts';
import type { ReviewFeature } from './review/reviewFeature.ts';
import { runnerCommands } from './runnerCommands.ts';
import type { RunnerStore } from './runnerStore.ts';
import type { CredentialStore } from './secrets.ts';
import type { SignIn } from './signIn.ts';
import type { Tasks } from './tasks.ts';
import { sendMessage, takesMessages } from './messages.ts';
import { answerAgent } from './questions.ts';
import { openTerminal } from './terminals.ts';
import type { TextDocuments } from './texts.ts';
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

/** What a command is called with: a node of the tree, an id, or nothing from the palette. */
const Target = z.union([
  TaskId,
  z.looseObject({ id: TaskId, sha: z.optional(z.string()), kind: z.optional(z.string()) }),
]);

interface Chosen {
  state: TaskState;
  sha?: string;
  leftovers: boolean;
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
    vscode.commands.registerCommand(`sallyport.${name}`, async (...args: unknown[]) => {
      const attempt = async (): Promise<unknown> => {
        try {
          return await run(...args);
        } catch (thrown) {
          // Not awaited: a command must not hang on a message that nobody closes.
          void showProblem(thrown, log, attempt);
          return undefined;
        }
      };
      return attempt();
    });
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
    register('newTask', async (argument) => {
      const said = readArguments(argument);
      const attempt = async (): Promise<string | undefined> => {
        try {
          return started(await newTask(choosing, said));
        } catch (thrown) {
          // Another try goes on with what was answered already.
          void showProblem(thrown, log, attempt);
          return undefined;
        }
      };
      return await attempt();
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
    onTask('remove', 'Remove which task?', any, ({ state }) => remove(tasks, state)),
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

/** The task that a command is about: the one that it was called with, else one that the user picks. Throws `task_unknown`. */
export async function chooseTask(
  tasks: Tasks,
  argument: unknown,
  ask: string,
  fits: (state: TaskState) => boolean,
): Promise<TaskState | undefined> {
  return (await choose(tasks, argument, ask, fits))?.state;
}

async function choose(
  tasks: Tasks,
  argument: unknown,
  ask: string,
  fits: (state: TaskState) => boolean,
): Promise<Chosen | undefined> {
  const service = await tasks.open();
  const target = Target.safeParse(argument);
  if (target.success) {
    const id = typeof target.data === 'string' ? target.data : target.data.id;
    const state = service.task(id);
    if (state === undefined) {
      throw new SallyportError(
        'task_unknown',
        'This task does not exist any more.',
        'It may have been removed in another window.',
      );
    }
    if (typeof target.data === 'string') return { state, leftovers: false };
    const { sha, kind } = target.data;
    return { state, leftovers: kind === 'leftovers', ...(sha === undefined ? {} : { sha }) };
  }
  const now = Date.now();
  const candidates = service.tasks().filter(fits).toReversed();
  if (candidates.length === 0) {
    void vscode.window.showInformationMessage('There is no task for that.');
    return undefined;
  }
  const picked = await vscode.window.showQuickPick(
    candidates.map((state) => ({
      label: safeLine(state.spec.title),
      description: [tasks.whereabouts(state.spec.id)?.name, phaseLabel(state), summary(state, now)]
        .filter((text) => text !== undefined)
        .join(' · '),
      state,
    })),
    { placeHolder: ask, matchOnDescription: true },
  );
  return picked === undefined ? undefined : { state: picked.state, leftovers: false };
}

async function showDiff(tasks: Tasks, { state, sha, leftovers }: Chosen): Promise<void> {
  const { id, title } = state.spec;
  const name = safeLine(title, 60);
  const service = await tasks.open();
  let range: Range | undefined;
  let label = name;
  if (sha !== undefined) {
    const commit = state.commits.find((each) => each.sha === sha);
    const parent = commit?.parents[0];
    if (commit === undefined || parent === undefined) return;
    range = { from: parent, to: sha };
    label = `${sha.slice(0, 7)} ${safeLine(commit.subject, 60)}`;
  } else if (leftovers || service.result(id) === undefined) {
    range = service.leftovers(id);
    label = `Uncommitted edits of ${name}`;
    if (range === undefined) {
      void vscode.window.showInformationMessage('Nothing of this task is in the quarantine yet.');
      return;
    }
  }
  const shown = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Window, title: 'Sallyport: opening the diff' },
    () => openDiff(service, id, label, range),
  );
  if (!shown) void vscode.window.showInformationMessage('No file differs from the start of the task.');
}

async function acceptAsBranch(tasks: Tasks, state: TaskState): Promise<string | undefined> {
  const service = await tasks.open();
  const { id, branch: proposed, repository } = state.spec;
  if (service.result(id) === undefined) {
    throw new SallyportError(
      'invalid_input',
      'This task has no commit to accept yet.',
      'Wait for its first commit.',
    );
  }
  if (repository.path === '') {
    throw new SallyportError(
      'invalid_input',
      'This task was not sent from a repository of this machine, so there is none to make the branch in.',
      'Fetch the branch that the runner pushed, or accept the task where it was sent from.',
    );
  }
  const name = await vscode.window.showInputBox({
    title: 'Accept as Branch',
    prompt: `A new branch in ${repository.name}. Your files and your other branches stay as they are.`,
    value: proposed,
    ignoreFocusOut: true,
    validateInput: (text) =>
      isBranchName(text.trim()) ? undefined : 'Git does not take this as the name of a branch.',
  });
  if (name === undefined) return undefined;
  const { branch } = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Sallyport: creating the branch…' },
    () => service.acceptAsBranch(id, name.trim()),
  );
  const copy = 'Copy Branch Name';
  const sourceControl = 'Show Source Control';
  void vscode.window
    .showInformationMessage(
      `The branch ${branch} is in ${repository.name} now. Nothing else has changed.`,
      copy,
      sourceControl,
    )
    .then(async (picked) => {
      if (picked === copy) await vscode.env.clipboard.writeText(branch);
      else if (picked === sourceControl) await vscode.commands.executeCommand('workbench.view.scm');
    });
  return branch;
}

async function remove(tasks: Tasks, state: TaskState): Promise<boolean> {
  const service = await tasks.open();
  const { id, title } = state.spec;
  if (!hasEnded(state)) {
    throw new SallyportError('task_busy', 'This task is still at work.', 'Stop it first.');
  }
  const answer = 'Remove';
  const kept =
    state.commits.length > 0 ? ' Its commits are deleted too, unless you accepted them as a branch.' : '';
  const picked = await vscode.window.showWarningMessage(
    `Remove “${safeLine(title, 60)}”?`,
    { modal: true, detail: `Its log is deleted.${kept}` },
    answer,
  );
  if (picked !== answer) return false;
  try {
    await service.remove(id);
  } catch (thrown) {
    if (!(thrown instanceof SallyportError) || thrown.code !== 'commits_not_imported') throw thrown;
    const force = 'Remove and Lose Them';
    const again = await vscode.window.showWarningMessage(
      thrown.message,
      { modal: true, detail: thrown.mend },
      force,
    );
    if (again !== force) return false;
    await service.remove(id, { force: true });
  }
  return true;
}
