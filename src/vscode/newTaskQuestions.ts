import * as vscode from 'vscode';
import type { EgressMode } from '../protocol/egress.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { SnapshotMode } from '../protocol/task.ts';
import { readSettings } from './settings.ts';
import { countUncommitted } from './uncommitted.ts';
import { egressChoices, networkLine } from './view/egressChoices.ts';
import type { NewTaskArguments } from './view/newTaskArguments.ts';
import { abilitiesOf, awayWords, type Place, placeIcon, placeWords } from './view/places.ts';
import { problemWithPrompt } from './view/prompt.ts';
import { snapshotChoices } from './view/snapshotChoices.ts';
import { anySwitch, asksToPush, switchChoices } from './view/taskOptions.ts';

/** Those of this task; else those of the settings, which are about pushing from this machine. */
export function wantedSwitches(
  { switches }: NewTaskArguments,
  pushes: boolean,
): NewTaskArguments['switches'] {
  return switches ?? (pushes ? readSettings().switches : undefined);
}

/** What was pressed in the box, with what was written by then. */
export type Step = { do: 'start' | 'edit' | 'network' | 'runner' | 'options'; value: string };

export function promptBox(
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

export async function askPlace(places: readonly Place[], current: Place): Promise<Place | undefined> {
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

export async function askSwitches(
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

export async function askMode(current: EgressMode | undefined): Promise<EgressMode | undefined> {
  const used = current ?? readSettings().policy.mode;
  const picked = await vscode.window.showQuickPick(egressChoices(used), {
    title: 'New Task: what may it reach?',
    placeHolder: 'Besides the model. Only for this task.',
    ignoreFocusOut: true,
  });
  return picked?.mode;
}

/** Asks only where there is something to choose. */
export async function askSnapshot(folder: string): Promise<SnapshotMode | undefined> {
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
