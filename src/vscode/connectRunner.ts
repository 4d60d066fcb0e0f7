import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import { readRunnerAddress } from '../remote/runnerAddress.ts';
import { type RunnerRecord, runnerId, type RunnerStore } from './runnerStore.ts';
import { readPolicy } from './settings.ts';
import { toSignal } from './signals.ts';
import type { SignIn } from './signIn.ts';
import { noticeText } from './view/noticeText.ts';
import { freeName } from './view/places.ts';

export interface ConnectSurroundings {
  store: RunnerStore;
  signIn: SignIn;
}

/** What keybindings and other extensions can say instead of being asked. */
const ConnectArguments = z.object({
  url: z.optional(z.string().check(z.maxLength(2000))),
  token: z.optional(z.string().check(z.maxLength(1000))),
  name: z.optional(z.string().check(z.trim(), z.minLength(1), z.maxLength(90))),
});
type ConnectArguments = z.infer<typeof ConnectArguments>;

/** Throws `invalid_input` for what was meant and does not fit; what a menu passes along means nothing. */
export function readConnectArguments(argument: unknown): ConnectArguments {
  if (typeof argument !== 'object' || argument === null || !('url' in argument)) return {};
  const read = ConnectArguments.safeParse(argument);
  if (read.success) return read.data;
  throw new SallyportError(
    'invalid_input',
    'The arguments of sallyport.connectRunner do not fit.',
    'They are url, token and name, all optional.',
  );
}

/** Asks for a runner and signs in to it. The name of the runner; undefined when the user leaves. */
export async function connectRunner(
  { store, signIn }: ConnectSurroundings,
  said: ConnectArguments,
): Promise<string | undefined> {
  const typed = said.url ?? (await askAddress());
  if (typed === undefined) return undefined;
  const url = readRunnerAddress(typed);
  await checkVersion(url);
  const id = runnerId(url);
  const known = store.list().find((one) => one.id === id);
  const others = store.list().filter((one) => one.id !== id);
  const name =
    said.name ??
    known?.name ??
    freeName(
      url,
      others.map((one) => one.name),
    );
  const record: RunnerRecord = { id, url: url.href, name };
  const user = await authenticate({ store, signIn }, record, said.token);
  if (user === undefined) return undefined;
  const start = 'New Task';
  void vscode.window
    .showInformationMessage(
      noticeText(
        `Connected to ${safeLine(name, 60)} as ${safeLine(user.name, 60)} (${user.role}). New tasks can run there.`,
      ),
      start,
    )
    .then((picked) =>
      picked === start ? vscode.commands.executeCommand('sallyport.newTask', { runner: id }) : undefined,
    );
  return name;
}

/** Gets a new token for a runner that is connected. Undefined when the user leaves. */
export async function signInAgain(
  around: ConnectSurroundings,
  record: RunnerRecord,
): Promise<string | undefined> {
  await checkVersion(new URL(record.url));
  const user = await authenticate(around, record, undefined);
  if (user === undefined) return undefined;
  void vscode.window.showInformationMessage(
    noticeText(`Signed in to ${safeLine(record.name, 60)} as ${safeLine(user.name, 60)} (${user.role}).`),
  );
  return record.name;
}

async function authenticate(
  { store, signIn }: ConnectSurroundings,
  record: RunnerRecord,
  given: string | undefined,
): Promise<{ name: string; role: string } | undefined> {
  const token = given ?? (await askToken(signIn, record));
  if (token === undefined) return undefined;
  const { user } = await working(`Signing in to ${new URL(record.url).host}`, async (signal) => {
    const { checkRunner } = await import('./runnerAccess.ts');
    return await checkRunner({ url: record.url, token, policy: readPolicy }, signal);
  });
  await store.set(record, token);
  return user;
}

/** Throws what is wrong with the address, or with what answers there. */
async function checkVersion(runner: URL): Promise<void> {
  await working(`Asking ${runner.host}`, async (signal) => {
    const { runnerVersion } = await import('./runnerAccess.ts');
    return await runnerVersion({ runner, policy: readPolicy(), signal });
  });
}

async function askAddress(): Promise<string | undefined> {
  const typed = await vscode.window.showInputBox({
    title: 'Connect to Runner: Address',
    prompt: 'https, or http for a runner on this machine.',
    placeHolder: 'https://runner.example.com',
    ignoreFocusOut: true,
    validateInput: (text) => {
      if (text.trim() === '') return undefined;
      try {
        readRunnerAddress(text);
        return undefined;
      } catch (thrown) {
        const { message, mend } = asSallyportError(thrown);
        return `${message} ${mend}`;
      }
    },
  });
  return typed === undefined || typed.trim() === '' ? undefined : typed;
}

async function askToken(signIn: SignIn, { url, name }: RunnerRecord): Promise<string | undefined> {
  const browser = {
    label: '$(globe) Sign In Through the Browser',
    detail: 'A page of the runner asks whether this editor may come in.',
  };
  const paste = {
    label: '$(key) Paste a Token',
    detail: 'One that you made in the dashboard of the runner. It begins with slp_.',
  };
  const picked = await vscode.window.showQuickPick([browser, paste], {
    title: `Connect to ${safeLine(name, 60)}: Sign In`,
    placeHolder: 'The token is kept in the secret storage of the editor.',
    ignoreFocusOut: true,
  });
  if (picked === undefined) return undefined;
  if (picked === paste) return await pasteToken(url);
  const runner = new URL(url);
  const back = await signIn.run(runner);
  if (back === undefined) return undefined;
  return await working(`Signing in to ${runner.host}`, async (signal) => {
    const { exchangeCode } = await import('./runnerAccess.ts');
    return await exchangeCode({ runner, policy: readPolicy(), signal }, back.code, back.handshake.verifier);
  });
}

async function pasteToken(url: string): Promise<string | undefined> {
  const typed = await vscode.window.showInputBox({
    title: 'Connect to Runner: Token',
    prompt: `Made in ${new URL('dashboard/tokens', url).href}. Kept in the secret storage of the editor.`,
    placeHolder: 'slp_…',
    password: true,
    ignoreFocusOut: true,
    validateInput: (text) =>
      text.trim() === '' || /^[\x21-\x7e]{8,1000}$/.test(text.trim())
        ? undefined
        : 'A token is one word of letters, digits and signs.',
  });
  const token = typed?.trim();
  return token === '' ? undefined : token;
}

async function working<T>(title: string, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: `Sallyport: ${title}…`, cancellable: true },
    (_progress, token) => run(toSignal(token)),
  );
}
