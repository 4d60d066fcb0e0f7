import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import { hasEnded } from '../protocol/taskState.ts';
import { plural } from '../protocol/words.ts';
import { connectRunner, readConnectArguments, signInAgain } from './connectRunner.ts';
import type { RunnerRecord, RunnerStore } from './runnerStore.ts';
import type { SignIn } from './signIn.ts';
import type { Tasks } from './tasks.ts';
import { findPlace, type Place, placeWords, thisMachine } from './view/places.ts';

export interface RunnerSurroundings {
  tasks: Tasks;
  store: RunnerStore;
  signIn: SignIn;
}

/** A node of the tree, or the id, name or address of a runner. */
const Target = z.union([z.string(), z.looseObject({ kind: z.literal('runner'), id: z.string() })]);

/** The commands about runners, by their names without `sallyport.`. */
export function runnerCommands(
  around: RunnerSurroundings,
): Record<string, (argument: unknown) => Promise<unknown>> {
  const { tasks, store } = around;
  return {
    connectRunner: async (argument) => {
      const said = readConnectArguments(argument);
      const name = await connectRunner(around, said);
      if (name !== undefined) await tasks.open();
      return name;
    },
    signInRunner: async (argument) => {
      const signedOut = ({ status }: Place): boolean => status.kind === 'refused';
      const record = await chooseRunner(around, argument, 'Sign in to which runner?', signedOut);
      return record === undefined ? undefined : await signInAgain(around, record);
    },
    disconnectRunner: async (argument) => {
      const record = await chooseRunner(around, argument, 'Disconnect which runner?');
      return record === undefined ? false : await disconnect(around, record);
    },
    reconnectRunner: async (argument) => {
      const away = ({ status }: Place): boolean => status.kind !== 'online';
      const record = await chooseRunner(around, argument, 'Reconnect to which runner?', away);
      if (record === undefined) return;
      await tasks.open();
      tasks.runners.reconnect(record.id);
    },
    renameRunner: async (argument) => {
      const record = await chooseRunner(around, argument, 'Rename which runner?');
      if (record !== undefined) await rename(store, record);
    },
    openDashboard: async (argument) => {
      const record = await chooseRunner(around, argument, 'Open the dashboard of which runner?');
      if (record !== undefined)
        await vscode.env.openExternal(vscode.Uri.parse(new URL('dashboard', record.url).href, true));
    },
    runners: () => showRunners(tasks),
  };
}

/** The one that is meant; asked for where several are possible. Undefined when the user leaves. */
async function chooseRunner(
  { tasks, store }: RunnerSurroundings,
  argument: unknown,
  ask: string,
  likely: (place: Place) => boolean = () => true,
): Promise<RunnerRecord | undefined> {
  const remote = tasks.runners.places().filter(({ id }) => id !== thisMachine);
  const recordOf = (place: Place): RunnerRecord | undefined => store.list().find(({ id }) => id === place.id);
  const target = Target.safeParse(argument);
  if (target.success) {
    const named = typeof target.data === 'string' ? target.data : target.data.id;
    // A panel names its task.
    const wish = tasks.placeOf(named)?.id ?? named;
    const found = findPlace(remote, wish);
    if (found !== undefined) return recordOf(found);
    throw new SallyportError(
      'not_found',
      'This runner is not connected.',
      'It may have been disconnected in another window.',
    );
  }
  if (remote.length === 0) {
    const connect = 'Connect to Runner…';
    void vscode.window
      .showInformationMessage('No runner is connected.', connect)
      .then((picked) =>
        picked === connect ? vscode.commands.executeCommand('sallyport.connectRunner') : undefined,
      );
    return undefined;
  }
  const fitting = remote.filter(likely);
  const candidates = fitting.length > 0 ? fitting : remote;
  const [only, ...more] = candidates;
  if (only !== undefined && more.length === 0) return recordOf(only);
  const picked = await vscode.window.showQuickPick(candidates.map(itemOf), { placeHolder: ask });
  return picked === undefined ? undefined : recordOf(picked.place);
}

type Item = vscode.QuickPickItem & { place: Place };

function itemOf(place: Place): Item {
  const { icon, description } = placeWords(place, Date.now());
  return {
    label: `$(${icon}) ${safeLine(place.name, 60)}`,
    description: [description, place.url].filter((text) => text !== undefined && text !== '').join(' · '),
    place,
  };
}

/** Says what stays, because nothing of it is undone by leaving. */
async function disconnect({ tasks, store }: RunnerSurroundings, record: RunnerRecord): Promise<boolean> {
  const name = safeLine(record.name, 60);
  const running = tasks
    .list()
    .filter((state) => !hasEnded(state) && tasks.placeOf(state.spec.id)?.id === record.id).length;
  const goOn =
    running === 0 ? '' : ` ${plural(running, 'task')} of it ${running === 1 ? 'goes' : 'go'} on there.`;
  const answer = 'Disconnect';
  const tokens = 'Disconnect and Open Tokens';
  const picked = await vscode.window.showWarningMessage(
    `Disconnect ${name}?`,
    {
      modal: true,
      detail:
        `Its tasks are no longer shown in this editor.${goOn} This editor forgets its token, but the runner still takes it ` +
        'until it expires: revoke it under Tokens in the dashboard. What was read stays in the data folder, and what you ' +
        'accepted stays in your repositories.',
    },
    answer,
    tokens,
  );
  if (picked === undefined) return false;
  await store.remove(record.id);
  if (picked === tokens)
    await vscode.env.openExternal(vscode.Uri.parse(new URL('dashboard/tokens', record.url).href, true));
  return true;
}

async function rename(store: RunnerStore, { id, name }: RunnerRecord): Promise<void> {
  const others = store.list().filter((one) => one.id !== id);
  const typed = await vscode.window.showInputBox({
    title: 'Rename Runner',
    prompt: 'Only in this editor.',
    value: name,
    validateInput: (text) => {
      const wanted = text.trim();
      if (wanted === '' || wanted.length > 90) return 'A name has 1 to 90 characters.';
      return others.some((one) => one.name === wanted) ? 'Another runner has this name.' : undefined;
    },
  });
  const wanted = typed?.trim();
  if (wanted !== undefined && wanted !== '' && wanted.length <= 90) await store.rename(id, wanted);
}

/** All runners with their status; what can be done with one comes next. */
async function showRunners(tasks: Tasks): Promise<void> {
  if (!tasks.runners.isEmpty) await tasks.open();
  const add: vscode.QuickPickItem = { label: '$(add) Connect to Runner…', alwaysShow: true };
  const line: vscode.QuickPickItem = { label: '', kind: vscode.QuickPickItemKind.Separator };
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem | Item>();
  const { promise, resolve } = Promise.withResolvers<vscode.QuickPickItem | Item | undefined>();
  const draw = (): void => {
    const active = pick.activeItems[0];
    const remote = tasks.runners.places().filter(({ id }) => id !== thisMachine);
    pick.items = remote.length === 0 ? [add] : [...remote.map(itemOf), line, add];
    const again = pick.items.find(
      (item) =>
        'place' in item && active !== undefined && 'place' in active && item.place.id === active.place.id,
    );
    if (again !== undefined) pick.activeItems = [again];
  };
  pick.title = 'Runners';
  pick.placeholder = 'Tasks run on this machine, and on these.';
  draw();
  const following = tasks.runners.onDidChange(draw);
  pick.onDidAccept(() => {
    resolve(pick.selectedItems[0]);
    pick.hide();
  });
  pick.onDidHide(() => {
    resolve(undefined);
    following.dispose();
    pick.dispose();
  });
  pick.show();
  const picked = await promise;
  if (picked === undefined) return;
  if ('place' in picked) await showActions(picked.place);
  else await vscode.commands.executeCommand('sallyport.connectRunner');
}

async function showActions({ id, name, status }: Place): Promise<void> {
  const action = (label: string, command: string): vscode.QuickPickItem & { command: string } => ({
    label,
    command,
  });
  const away = status.kind !== 'online';
  const picked = await vscode.window.showQuickPick(
    [
      ...(status.kind === 'refused' ? [action('$(key) Sign In Again', 'signInRunner')] : []),
      ...(away ? [action('$(refresh) Reconnect', 'reconnectRunner')] : []),
      ...(away ? [] : [action('$(add) New Task', 'newTask')]),
      action('$(link-external) Open Dashboard', 'openDashboard'),
      action('$(edit) Rename…', 'renameRunner'),
      ...(status.kind === 'refused' ? [] : [action('$(key) Sign In Again', 'signInRunner')]),
      action('$(debug-disconnect) Disconnect…', 'disconnectRunner'),
    ],
    { title: safeLine(name, 60), placeHolder: placeWords({ id, name, status }, Date.now()).description },
  );
  if (picked === undefined) return;
  const argument = picked.command === 'newTask' ? { runner: id } : id;
  await vscode.commands.executeCommand(`sallyport.${picked.command}`, argument);
}
