import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import { plural } from '../protocol/words.ts';
import type { Tasks } from './tasks.ts';
import { runningCount } from './view/taskView.ts';

/** A word in the status bar, only while tasks run. */
export class StatusBar implements vscode.Disposable {
  private readonly store = new DisposableStore();
  private readonly item: vscode.StatusBarItem;
  private readonly tasks: Tasks;
  private shown = 0;

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
    const running = runningCount(this.tasks.list());
    if (running === this.shown) return;
    this.shown = running;
    if (running === 0) {
      this.item.hide();
      return;
    }
    this.item.text = `$(sync~spin) ${plural(running, 'task')}`;
    this.item.tooltip = `Sallyport: ${plural(running, 'task')} running. Click to see them.`;
    this.item.show();
  }
}
