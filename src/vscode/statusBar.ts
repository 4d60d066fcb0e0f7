import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import type { Tasks } from './tasks.ts';
import { statusView } from './view/statusView.ts';

/** A word in the status bar, only while tasks run: how many, what they cost, and whether one waits for the user. */
export class StatusBar implements vscode.Disposable {
  private readonly store = new DisposableStore();
  private readonly item: vscode.StatusBarItem;
  private readonly tasks: Tasks;
  private shown = '';

  constructor(tasks: Tasks) {
    this.tasks = tasks;
    this.item = vscode.window.createStatusBarItem('sallyport.running', vscode.StatusBarAlignment.Left, 0);
    this.item.name = 'Sallyport Tasks';
    this.item.command = 'sallyport.tasks.focus';
    this.store.add(this.item);
    this.store.add(tasks.onDidChange(() => this.update()));
    this.store.add(tasks.onDidRemove(() => this.update()));
    this.store.add(tasks.onDidOpen(() => this.update()));
  }

  dispose(): void {
    this.store.dispose();
  }

  private update(): void {
    const view = statusView(this.tasks.list());
    const text = JSON.stringify(view);
    if (text === this.shown) return;
    this.shown = text;
    if (view === undefined) {
      this.item.hide();
      return;
    }
    this.item.text = view.text;
    this.item.tooltip = view.tooltip;
    this.item.backgroundColor = view.waits
      ? new vscode.ThemeColor('statusBarItem.warningBackground')
      : undefined;
    this.item.accessibilityInformation = { label: view.accessibility };
    this.item.show();
  }
}
