import * as vscode from 'vscode';
import { safeLine } from '../protocol/safeText.ts';
import type { Runners } from './runners.ts';
import { noticeText } from './view/noticeText.ts';
import type { Place } from './view/places.ts';

/**
 * Says when a runner needs its user, once: the sign-in was refused, or the versions do not fit. That one is away is no news: it
 * is tried again, and the tree shows it. Only the window that the user looks at says it.
 */
export class RunnerNotices implements vscode.Disposable {
  private readonly runners: Runners;
  private readonly listening: vscode.Disposable;
  /** What was told, by runner; forgotten when it answers again. */
  private readonly told = new Map<string, string>();

  constructor(runners: Runners) {
    this.runners = runners;
    const look = (): void => this.look();
    this.listening = vscode.Disposable.from(
      runners.onDidChange(look),
      vscode.window.onDidChangeWindowState(look),
    );
  }

  dispose(): void {
    this.listening.dispose();
  }

  private look(): void {
    for (const place of this.runners.places()) {
      const { kind } = place.status;
      if (kind === 'online') this.told.delete(place.id);
      if ((kind !== 'refused' && kind !== 'version') || this.told.get(place.id) === kind) continue;
      if (!vscode.window.state.focused) continue;
      this.told.set(place.id, kind);
      void this.tell(place);
    }
  }

  private async tell({ id, name, status }: Place): Promise<void> {
    if (status.kind !== 'refused' && status.kind !== 'version') return;
    const signIn = 'Sign In Again';
    const again = 'Reconnect';
    const runners = 'Runners…';
    const text = noticeText(safeLine(`${name}: ${status.error.message} ${status.error.mend}`, 500));
    const picked = await vscode.window.showWarningMessage(
      text,
      status.kind === 'refused' ? signIn : again,
      runners,
    );
    if (picked === signIn) await vscode.commands.executeCommand('sallyport.signInRunner', id);
    else if (picked === again) await vscode.commands.executeCommand('sallyport.reconnectRunner', id);
    else if (picked === runners) await vscode.commands.executeCommand('sallyport.runners');
  }
}
