import { setTimeout as sleep } from 'node:timers/promises';
import * as vscode from 'vscode';
import type { NoticeClaims } from './noticeClaims.ts';
import { ringBell, suggestBell } from './noticeSound.ts';
import { rings, showsNotices } from './settings.ts';
import type { NoticeKind } from './view/notices.ts';
import { isHere } from './workspace.ts';

export interface Posting {
  kind: NoticeKind;
  task: string;
  /** Names of what is told, within the task. Each is told once, in one of all windows. */
  keys: readonly string[];
  /** Of the task: the window that has it open goes first. */
  repositoryPath: string;
  /** Asked when it is this window's turn, with the keys that nobody has told; nothing is told when it has become void. */
  make: (
    keys: readonly string[],
  ) => { level: 'info' | 'warning' | 'error'; text: string; actions: string[] } | undefined;
}

type Present = (
  level: 'info' | 'warning' | 'error',
  text: string,
  actions: readonly string[],
) => Thenable<string | undefined>;

const never = "Don't Show Again";
/** How long a window waits for one that is nearer to the task, in milliseconds. */
const usualTurns = { here: 0, hereInBackground: 200, elsewhere: 600, elsewhereInBackground: 1200 };

/**
 * Where every notification of a task goes through: one quiet one for each thing, in one window, unless its kind is switched
 * off; with a sound, if the user wants one.
 */
export class NoticeBoard implements vscode.Disposable {
  private readonly claims: NoticeClaims;
  private readonly turns: typeof usualTurns;
  private readonly leaving = new AbortController();
  private readonly listening: vscode.Disposable;
  /** Shows it and resolves to the action that was chosen. A test puts its own in this place. */
  present: Present = (level, text, actions) =>
    ({
      info: vscode.window.showInformationMessage,
      warning: vscode.window.showWarningMessage,
      error: vscode.window.showErrorMessage,
    })[level](text, ...actions);
  /** Makes the sound. */
  ring: () => void = ringBell;

  constructor(claims: NoticeClaims, turns = usualTurns) {
    this.claims = claims;
    this.turns = turns;
    this.listening = vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('sallyport.notificationSound') && rings())
        void suggestBell((text, action) => this.present('info', text, [action]));
    });
  }

  dispose(): void {
    this.leaving.abort();
    this.listening.dispose();
  }

  /** Resolves to the action that was chosen, when the notice is gone; undefined also when it was not shown. */
  async post(posting: Posting): Promise<string | undefined> {
    if (!showsNotices(posting.kind)) return undefined;
    const { focused } = vscode.window.state;
    const { turns } = this;
    const near = isHere(posting.repositoryPath);
    const turn = near
      ? turns[focused ? 'here' : 'hereInBackground']
      : turns[focused ? 'elsewhere' : 'elsewhereInBackground'];
    await sleep(turn, undefined, { signal: this.leaving.signal }).catch(() => undefined);
    if (this.leaving.signal.aborted || posting.make(posting.keys) === undefined) return undefined;
    const won: string[] = [];
    for (const key of posting.keys) if (await this.claims.claim(posting.task, key)) won.push(key);
    const made = won.length === 0 ? undefined : posting.make(won);
    if (made === undefined) return undefined;
    if (rings()) this.ring();
    const picked = await this.present(made.level, made.text, [...made.actions, never]);
    if (picked === never) await switchOff(posting.kind);
    return picked === never ? undefined : picked;
  }

  /** The user sees it here, and is to be told nowhere. */
  async seen(task: string, key: string): Promise<void> {
    await this.claims.claim(task, key);
  }

  async forget(task: string): Promise<void> {
    await this.claims.forget(task);
  }
}

async function switchOff(kind: NoticeKind): Promise<void> {
  const configuration = vscode.workspace.getConfiguration('sallyport');
  const set: unknown = configuration.inspect('notifications')?.globalValue;
  const before = typeof set === 'object' && set !== null ? set : {};
  await configuration.update(
    'notifications',
    { ...before, [kind]: false },
    vscode.ConfigurationTarget.Global,
  );
}
