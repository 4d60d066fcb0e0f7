import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { SecretsFound } from '../runner/secretsFound.ts';
import type { SubmitRequest } from '../runner/taskService.ts';
import { confirmedModel } from './credentialChoice.ts';
import type { CredentialSurroundings } from './credentialList.ts';
import {
  askMode,
  askPlace,
  askSnapshot,
  askSwitches,
  promptBox,
  wantedSwitches,
} from './newTaskQuestions.ts';
import { openPromptDocument, promptDocument } from './promptDocuments.ts';
import { askAboutSecrets } from './secretsQuestion.ts';
import { readPolicy, readSettings } from './settings.ts';
import { toSignal } from './signals.ts';
import type { Tasks } from './tasks.ts';
import { egressOf, needsEditor, type NewTaskArguments } from './view/newTaskArguments.ts';
import { abilitiesOf, defaultPlace, findPlace, type Place, thisMachinePlace } from './view/places.ts';
import { anySwitch, asksToPush, switchesOf, uploadWords } from './view/taskOptions.ts';
import { pickFolder } from './workspace.ts';

export interface NewTaskSurroundings extends CredentialSurroundings {
  /** Of the workspace that is open. */
  memory: vscode.Memento;
}

/** Where the last task of this workspace ran. */
const placeKey = 'sallyport.runner';

/** Prompts of tasks that could not be started, by folder: they are there when the next one is written. */
const drafts = new Map<string, string>();

/**
 * Asks for what is not said, and starts a task. Undefined when the user leaves. What was answered is kept in `said`, so that
 * another try does not ask for it again.
 */
export async function newTask(
  around: NewTaskSurroundings,
  said: NewTaskArguments,
): Promise<TaskState | undefined> {
  if (!vscode.workspace.isTrusted) {
    await vscode.commands.executeCommand('workbench.trust.manage');
    throw new SallyportError(
      'invalid_input',
      'In Restricted Mode no task can be started.',
      'Trust this workspace first: git reads the configuration of its repository.',
    );
  }
  // A setting that cannot be right is told before anything is asked.
  readPolicy();
  const folder = (said.folder ??= await pickFolder('New Task: which repository?'));
  if (folder === undefined) return undefined;
  checkPlace(around, said);
  said.prompt ??= await askPrompt(around, folder, said);
  if (said.prompt === undefined) return undefined;
  const place = placeFor(around, said);
  const abilities = abilitiesOf(place);
  if (asksToPush(said.switches) && !abilities.pushes) {
    throw new SallyportError(
      'invalid_input',
      'A task that is sent to a runner from here has no repository at a forge to push to.',
      'Push its branch from here when you have looked at it, or start it from its URL in the dashboard of the runner.',
    );
  }
  const { prompt } = said;
  const { checkPrompt } = await import('../runner/localTasks.ts');
  checkPrompt(prompt);
  drafts.set(folder, prompt);
  const settings = readSettings();
  said.snapshot ??= settings.snapshot === 'ask' ? await askSnapshot(folder) : settings.snapshot;
  if (said.snapshot === undefined) return undefined;
  const model = said.model ?? (settings.modelName === '' ? undefined : settings.modelName);
  const chosen = abilities.needsCredential
    ? await confirmedModel(around, folder, model)
    : { model: undefined };
  if (chosen === undefined) return undefined;
  const named = said.model ?? chosen.model ?? model;
  const switches = switchesOf(wantedSwitches(said, abilities.pushes), abilities.pushes);
  const state = await submit(around.tasks, place, {
    repositoryPath: folder,
    prompt,
    snapshot: said.snapshot,
    limits: settings.limits,
    secrets: 'ask',
    ...(named === undefined ? {} : { model: named }),
    ...(said.branch === undefined ? {} : { branch: said.branch }),
    ...(said.egress === undefined ? {} : { egress: egressOf(said.egress) }),
    ...(said.budgetUsd === undefined ? {} : { budgetUsd: said.budgetUsd }),
    ...(settings.conversation ? { conversation: true, permissions: settings.permissions } : {}),
    ...(anySwitch(switches) ? { switches } : {}),
    // The container is the runner's own affair; what is set for this machine's means nothing there.
    ...(abilities.needsCredential ? {} : { isolation: { readonlyRoot: false } }),
  });
  if (state !== undefined) drafts.delete(folder);
  else tellOfDraft(folder, prompt);
  return state;
}

/** Throws `not_found` for a runner that somebody meant and that is not there. */
function checkPlace({ tasks }: NewTaskSurroundings, { runner }: NewTaskArguments): void {
  if (runner === undefined || findPlace(tasks.runners.places(), runner) !== undefined) return;
  throw new SallyportError(
    'not_found',
    `There is no runner ${safeLine(runner, 100)}.`,
    'Connect to it first, or name another one.',
  );
}

function placeFor({ tasks, memory }: NewTaskSurroundings, { runner }: NewTaskArguments): Place {
  const remembered = memory.get<unknown>(placeKey);
  const places = tasks.runners.places();
  const last = typeof remembered === 'string' ? remembered : undefined;
  return defaultPlace(places, runner, last, readSettings().defaultRunner) ?? thisMachinePlace;
}

/** Undefined when the user does not want to send what was found. */
async function submit(tasks: Tasks, place: Place, request: SubmitRequest): Promise<TaskState | undefined> {
  try {
    return await vscode.window.withProgress(
      {
        location: vscode.ProgressLocation.Notification,
        title: 'Sallyport: taking a snapshot of the repository…',
        cancellable: true,
      },
      async (progress, token) => {
        const service = await tasks.open();
        const following = tasks.runners.onProgress((now) => progress.report({ message: uploadWords(now) }));
        try {
          return await service.submitTo(place.id, request, toSignal(token));
        } finally {
          following.dispose();
        }
      },
    );
  } catch (thrown) {
    if (!(thrown instanceof SecretsFound) || request.secrets !== 'ask') throw thrown;
    const secrets = await askAboutSecrets(thrown, request.repositoryPath);
    return secrets === undefined ? undefined : await submit(tasks, place, { ...request, secrets });
  }
}

function tellOfDraft(folder: string, prompt: string): void {
  const edit = 'Edit Prompt';
  void vscode.window
    .showInformationMessage('The task was not started. Its prompt is kept.', edit)
    .then(async (picked) => {
      if (picked === edit) await openPromptDocument(folder, prompt);
    });
}

/** Starts a task from the prompt in the active editor. */
export async function newTaskFromEditor(around: NewTaskSurroundings): Promise<TaskState | undefined> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) return undefined;
  const { document } = editor;
  const known = promptDocument(document);
  const state = await newTask(around, {
    prompt: document.getText().trim(),
    ...(known === undefined ? {} : { folder: known.folder }),
    ...(known?.branch === undefined ? {} : { branch: known.branch }),
  });
  // The prompt is in the task now. A document that was opened for it has served, and nobody is asked to save it.
  if (state !== undefined && known !== undefined && vscode.window.activeTextEditor?.document === document) {
    await vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor');
  }
  return state;
}

/** One line in the input box. Its buttons choose the runner and the network, and move what is written to an editor, where a prompt can be long. */
async function askPrompt(
  around: NewTaskSurroundings,
  folder: string,
  said: NewTaskArguments,
): Promise<string | undefined> {
  const { draft } = said;
  if (needsEditor(said)) {
    await openPromptDocument(folder, draft ?? '', said);
    return undefined;
  }
  for (let value = draft ?? drafts.get(folder) ?? ''; ;) {
    const place = placeFor(around, said);
    const places = around.tasks.runners.places();
    const step = await promptBox(value, said, place, places.length > 1);
    if (step === undefined || step.do === 'start') return step?.value;
    value = step.value;
    switch (step.do) {
      case 'edit':
        await openPromptDocument(folder, value, said);
        return undefined;
      case 'network': {
        const mode = await askMode(said.egress?.mode);
        if (mode !== undefined) said.egress = { ...said.egress, mode };
        break;
      }
      case 'runner': {
        const chosen = await askPlace(places, place);
        if (chosen === undefined) break;
        said.runner = chosen.id;
        await around.memory.update(placeKey, chosen.id);
        break;
      }
      case 'options':
        said.switches = (await askSwitches(said, abilitiesOf(place).pushes)) ?? said.switches;
        break;
    }
  }
}
