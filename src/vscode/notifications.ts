import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Tasks } from './tasks.ts';
import { newsOf, type Stage, stageOf } from './view/news.ts';
import { endNotice, firstCommitNotice, type Notice } from './view/notices.ts';

/** Says what needs the user, once: a first commit to look at, and the end. Nothing while the task's panel is seen. */
export class Notifications implements vscode.Disposable {
  private readonly store = new DisposableStore();
  private readonly isVisible: (id: string) => boolean;
  private readonly tasks: Tasks;
  /** What was known of a task when it was last heard of. */
  private readonly known = new Map<string, Stage>();

  constructor(tasks: Tasks, isVisible: (id: string) => boolean) {
    this.tasks = tasks;
    this.isVisible = isVisible;
    this.store.add(tasks.onDidOpen(() => this.takeStock()));
    this.store.add(tasks.onDidChange((state) => this.changed(state)));
    this.store.add(tasks.onDidRemove((id) => this.known.delete(id)));
  }

  dispose(): void {
    this.store.dispose();
  }

  private takeStock(): void {
    for (const state of this.tasks.list())
      if (!this.known.has(state.spec.id)) this.known.set(state.spec.id, stageOf(state, undefined));
  }

  private changed(state: TaskState): void {
    const { id } = state.spec;
    const before = this.known.get(id);
    const now = stageOf(
      state,
      before === undefined ? (this.tasks.isOpen ? Date.now() : undefined) : before.turnedUp,
    );
    this.known.set(id, now);
    // While the tasks are loaded they change too, and nothing of that is news.
    if (!this.tasks.isOpen || this.isVisible(id)) return;
    const news = newsOf(state, before, now);
    const notice =
      news === 'end' ? endNotice(state) : news === 'commit' ? firstCommitNotice(state) : undefined;
    if (notice !== undefined) void this.show(notice, id);
  }

  private async show(notice: Notice, id: string): Promise<void> {
    const show = {
      info: vscode.window.showInformationMessage,
      warning: vscode.window.showWarningMessage,
      error: vscode.window.showErrorMessage,
    };
    const picked = await show[notice.level](notice.text, ...notice.actions.map(({ title }) => title));
    const action = notice.actions.find(({ title }) => title === picked);
    if (action !== undefined) await vscode.commands.executeCommand(action.command, id);
  }
}
