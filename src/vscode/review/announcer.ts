import * as vscode from 'vscode';

/** Milliseconds that a result stays in the status bar. */
const shownMs = 6000;

/**
 * Says what an action has done, without taking the user's hands off: in the status bar, as a live region, so that a screen
 * reader reads it.
 */
export class Announcer implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem(
    'sallyport.review',
    vscode.StatusBarAlignment.Left,
    -1,
  );
  private timer: NodeJS.Timeout | undefined;
  /** The newest result. */
  last = '';

  constructor() {
    this.item.name = 'Sallyport Review';
  }

  say(text: string): void {
    clearTimeout(this.timer);
    this.last = text;
    // An icon's name in it stays text.
    this.item.text = text.replaceAll('$(', '$\u2060(');
    this.item.accessibilityInformation = { label: text, role: 'status' };
    this.item.show();
    this.timer = setTimeout(() => this.item.hide(), shownMs);
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.item.dispose();
  }
}
