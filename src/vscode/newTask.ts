import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { EgressMode, EgressRuleText } from '../protocol/egress.ts';
import { Switches } from '../protocol/runnerApi.ts';
import { safeLine } from '../protocol/safeText.ts';
import { SnapshotMode } from '../protocol/task.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { SecretsFound } from '../runner/secretsFound.ts';
import type { SubmitRequest } from '../runner/taskService.ts';
import { confirmedModel } from './credentialChoice.ts';
import type { CredentialSurroundings } from './credentialList.ts';
import { askAboutSecrets } from './secretsQuestion.ts';
import { readPolicy, readSettings } from './settings.ts';
import { toSignal } from './signals.ts';
import type { Tasks } from './tasks.ts';
import { countUncommitted } from './uncommitted.ts';
import { egressChoices, networkLine } from './view/egressChoices.ts';
import {
  abilitiesOf,
  awayWords,
  defaultPlace,
  findPlace,
  type Place,
  placeIcon,
  placeWords,
  thisMachinePlace,
} from './view/places.ts';
import { problemWithPrompt } from './view/prompt.ts';
import { snapshotChoices } from './view/snapshotChoices.ts';
import { anySwitch, asksToPush, switchChoices, switchesOf, uploadWords } from './view/taskOptions.ts';
import { pickFolder } from './workspace.ts';

/** What other extensions, keybindings and tests can say instead of being asked. */
const NewTaskArguments = z.object({
  prompt: z.optional(z.string()),
  /** Stands in the form when it opens, and starts nothing. */
  draft: z.optional(z.string()),
  /** Who wrote the draft, where that was not the user. */
  origin: z.optional(z.literal('link')),
  snapshot: z.optional(SnapshotMode),
  folder: z.optional(z.string()),
  model: z.optional(z.string()),
  branch: z.optional(z.string()),
  egress: z.optional(z.object({ mode: z.optional(EgressMode), rules: z.optional(z.array(EgressRuleText)) })),
  budgetUsd: z.optional(z.number().check(z.positive())),
  /** Id, name or address. */
  runner: z.optional(z.string()),
  switches: z.optional(z.partial(Switches)),
});
export type NewTaskArguments = z.infer<typeof NewTaskArguments>;

/**
 * Reads what the command was called with. What a menu passes along means nothing.
 * @throws SallyportError invalid_input where somebody meant something by it that does not fit
 */
export function readArguments(argument: unknown): NewTaskArguments {
  if (typeof argument !== 'object' || argument === null) return {};
  const known = Object.keys(NewTaskArguments.shape).some((key) => key in argument);
  if (!known) return {};
  const read = NewTaskArguments.safeParse(argument);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw new SallyportError(
    'invalid_input',
    `The arguments of sallyport.newTask do not fit: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
    'They are prompt, draft, snapshot, folder, model, branch, egress, budgetUsd, runner and switches, all optional.',
  );
}

export interface NewTaskSurroundings extends CredentialSurroundings {
  /** Of the workspace that is open. */
  memory: vscode.Memento;
}

/** Where the last task of this workspace ran. */
const placeKey = 'sallyport.runner';

/** Longest draft that is shown in one line, in characters. */
const maxLine = 200;
/** What is said of a prompt that came with a link. */
const linkWords = 'A link from outside of the editor wrote this. Read it before you start it.';

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

/** Those of this task; else those of the settings, which are about pushing from this machine. */
function wantedSwitches({ switches }: NewTaskArguments, pushes: boolean): NewTaskArguments['switches'] {
  return switches ?? (pushes ? readSettings().switches : undefined);
}

function egressOf({
  mode,
  rules,
}: NonNullable<NewTaskArguments['egress']>): SubmitRequest['egress'] & object {
  return { ...(mode === undefined ? {} : { mode }), ...(rules === undefined ? {} : { rules }) };
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
  const known = promptFolders.get(document.uri.toString());
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

/** What a prompt document was opened for. */
type PromptDocument = Pick<NewTaskArguments, 'branch' | 'origin'> & { folder: string };

/** By document. */
const promptFolders = new Map<string, PromptDocument>();

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
  const known = promptFolders.get(document.uri.toString());
  if (known === undefined) return [];
  const title = `$(play) Start Task (${process.platform === 'darwin' ? 'Cmd' : 'Ctrl'}+Enter)`;
  const top = new vscode.Range(0, 0, 0, 0);
  const start = new vscode.CodeLens(top, { title, command: 'sallyport.startFromEditor' });
  if (known.origin === undefined) return [start];
  const branch = known.branch === undefined ? '' : ` Branch: ${known.branch}.`;
  const warning = `$(warning) ${linkWords}${branch}`;
  return [start, new vscode.CodeLens(top, { title: warning, command: '' })];
}

async function openPromptDocument(
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

/** One line in the input box. Its buttons choose the runner and the network, and move what is written to an editor, where a prompt can be long. */
async function askPrompt(
  around: NewTaskSurroundings,
  folder: string,
  said: NewTaskArguments,
): Promise<string | undefined> {
  const { draft } = said;
  const fits = draft === undefined || (!draft.includes('\n') && draft.length <= maxLine);
  if (!fits || said.origin === 'link') {
    // One line would not show all of it; and a link must not put a text where the next Enter of somebody who types starts it.
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

type Step = { do: 'start' | 'edit' | 'network' | 'runner' | 'options'; value: string };

function promptBox(
  value: string,
  said: NewTaskArguments,
  place: Place,
  several: boolean,
): Promise<Step | undefined> {
  const box = vscode.window.createInputBox();
  const used = said.egress?.mode ?? readSettings().policy.mode;
  const button = (icon: string, tooltip: string): vscode.QuickInputButton => ({
    iconPath: new vscode.ThemeIcon(icon),
    tooltip,
  });
  const what: (readonly [Step['do'], vscode.QuickInputButton])[] = [];
  if (several) what.push(['runner', button(placeIcon(place), 'Runner of This Task…')]);
  const { pushes } = abilitiesOf(place);
  const wanted = wantedSwitches(said, pushes);
  what.push(['options', button(anySwitch(wanted) ? 'settings' : 'settings-gear', 'Task Options…')]);
  what.push(
    [
      'network',
      button(used === 'closed' ? 'lock' : used === 'open' ? 'unlock' : 'globe', 'Network of This Task…'),
    ],
    ['edit', button('edit', 'Write in an Editor')],
  );
  const away = awayWords(place);
  box.title = several ? `New Task on ${safeLine(place.name, 60)}` : 'New Task';
  box.value = value;
  box.valueSelection = [value.length, value.length];
  box.placeholder = 'What is to be done? The agent works on a private copy.';
  box.prompt = `${away === '' ? '' : `${away} `}${networkLine(used)}${asksToPush(wanted) ? ' Its commits are pushed by themselves.' : ''} Enter starts the task; for a long prompt use the pencil.`;
  box.buttons = what.map(([, shown]) => shown);
  box.ignoreFocusOut = true;
  const { promise, resolve } = Promise.withResolvers<Step | undefined>();
  box.onDidChangeValue((text) => {
    box.validationMessage = text.trim() === '' ? undefined : problemWithPrompt(text);
  });
  box.onDidAccept(() => {
    const problem = problemWithPrompt(box.value);
    if (problem === undefined) {
      resolve({ do: 'start', value: box.value.trim() });
      box.hide();
    } else box.validationMessage = problem;
  });
  box.onDidTriggerButton((pressed) => {
    const step = what.find(([, shown]) => shown === pressed)?.[0];
    if (step === undefined) return;
    resolve({ do: step, value: box.value });
    box.hide();
  });
  box.onDidHide(() => {
    resolve(undefined);
    box.dispose();
  });
  box.show();
  return promise;
}

async function askPlace(places: readonly Place[], current: Place): Promise<Place | undefined> {
  const now = Date.now();
  const items = places.map((place) => {
    const { description } = placeWords(place, now);
    const words = [place.id === current.id ? 'chosen' : '', description].filter((text) => text !== '');
    return {
      label: `$(${placeIcon(place)}) ${safeLine(place.name, 60)}`,
      description: words.join(' · '),
      detail: place.url === undefined ? 'The container engine of this machine.' : safeLine(place.url, 200),
      place,
    };
  });
  const picked = await vscode.window.showQuickPick(items, {
    title: 'New Task: where does it run?',
    placeHolder: 'Remembered for this workspace.',
    ignoreFocusOut: true,
  });
  return picked?.place;
}

async function askSwitches(
  said: NewTaskArguments,
  pushes: boolean,
): Promise<NewTaskArguments['switches'] | undefined> {
  const picked = await vscode.window.showQuickPick(
    switchChoices(wantedSwitches(said, pushes), pushes).map((choice) => ({ ...choice })),
    {
      title: 'Task Options',
      placeHolder: 'Of this one task. Nothing, unless you check it.',
      canPickMany: true,
      ignoreFocusOut: true,
    },
  );
  return picked === undefined ? undefined : Object.fromEntries(picked.map(({ key }) => [key, true]));
}

async function askMode(current: EgressMode | undefined): Promise<EgressMode | undefined> {
  const used = current ?? readSettings().policy.mode;
  const picked = await vscode.window.showQuickPick(egressChoices(used), {
    title: 'New Task: what may it reach?',
    placeHolder: 'Besides the model. Only for this task.',
    ignoreFocusOut: true,
  });
  return picked?.mode;
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
