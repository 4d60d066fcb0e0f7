import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { DisposableStore } from '../base/disposable.ts';
import { TaskId } from '../protocol/grammar.ts';
import { safeLine } from '../protocol/safeText.ts';
import { type PanelSurroundings, type PanelView, TaskPanel } from './taskPanel.ts';

export const panelType = 'sallyport.task';

/** What survives a reload of the window in VS Code's keeping; the rest of it is the webview's own. */
const Saved = z.looseObject({ id: TaskId });

/** The panels: one for a task. */
export class TaskPanels implements vscode.WebviewPanelSerializer, vscode.Disposable {
  private readonly around: PanelSurroundings;
  private readonly open = new Map<string, TaskPanel>();
  private readonly store = new DisposableStore();

  constructor(around: PanelSurroundings) {
    this.around = around;
    this.store.add(around.tasks.onDidChange((state) => this.open.get(state.spec.id)?.stateChanged()));
    this.store.add(around.tasks.onDidRemove((id) => this.open.get(id)?.dispose()));
    this.store.add(
      around.tasks.runners.onDidChange(() => {
        for (const panel of this.open.values()) panel.stateChanged();
      }),
    );
  }

  register(): vscode.Disposable {
    return vscode.window.registerWebviewPanelSerializer(panelType, this);
  }

  /** Shows the panel of a task, and makes it where there is none; with `wanted` that part of it. */
  show(id: string, wanted?: PanelView['tab'] | PanelView): void {
    const view = typeof wanted === 'string' ? { tab: wanted } : wanted;
    const known = this.open.get(id);
    if (known !== undefined) {
      known.reveal(view);
      return;
    }
    const title = safeLine(this.around.tasks.get(id)?.spec.title ?? 'Task', 40);
    const panel = vscode.window.createWebviewPanel(panelType, title, vscode.ViewColumn.Active, {
      enableFindWidget: false,
      retainContextWhenHidden: false,
    });
    this.adopt(id, panel, view);
  }

  isVisible(id: string): boolean {
    return this.open.get(id)?.visible === true;
  }

  deserializeWebviewPanel(panel: vscode.WebviewPanel, state: unknown): Promise<void> {
    const saved = Saved.safeParse(state);
    if (saved.success) this.adopt(saved.data.id, panel);
    else panel.dispose();
    return Promise.resolve();
  }

  dispose(): void {
    this.store.dispose();
    for (const panel of [...this.open.values()]) panel.dispose();
  }

  private adopt(id: string, panel: vscode.WebviewPanel, view?: PanelView): void {
    const task = new TaskPanel(id, panel, this.around, (started) => this.show(started));
    if (view !== undefined) task.reveal(view);
    this.open.set(id, task);
    panel.onDidDispose(() => {
      task.dispose();
      if (this.open.get(id) === task) this.open.delete(id);
    });
  }
}
