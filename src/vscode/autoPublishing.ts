import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import type { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { AutoPublisher } from '../runner/publishing/autoPublish.ts';
import type { ForgeAccounts } from './forgeAccounts.ts';
import { forgeHosts } from './settings.ts';
import type { Tasks } from './tasks.ts';
import { noticeText } from './view/noticeText.ts';

/** Carries out the switches of this machine's tasks while the editor runs, in a workspace that is trusted. */
export class AutoPublishing implements vscode.Disposable {
  private readonly tasks: Tasks;
  private readonly accounts: ForgeAccounts;
  private readonly log: vscode.LogOutputChannel;
  private readonly store = new DisposableStore();
  private started = false;

  constructor(tasks: Tasks, accounts: ForgeAccounts, log: vscode.LogOutputChannel) {
    this.tasks = tasks;
    this.accounts = accounts;
    this.log = log;
    this.store.add(tasks.onDidOpen(() => this.start()));
    this.store.add(vscode.workspace.onDidGrantWorkspaceTrust(() => this.start()));
  }

  dispose(): void {
    this.store.dispose();
  }

  private start(): void {
    const { tasks, log } = this;
    if (this.started || !tasks.isOpen || !vscode.workspace.isTrusted) return;
    this.started = true;
    this.store.add(
      new AutoPublisher({
        onDidChange: tasks.onDidChange,
        onDidRemove: tasks.onDidRemove,
        tasks: () => tasks.list(),
        publish: async (id, signal) => {
          const publishing = (await tasks.open()).publishing(id, forgeHosts);
          await publishing.bySwitches((forge) => this.accounts.confirmed(forge), signal);
        },
        tell: (state, problem) => this.tell(state, problem),
        log,
      }),
    );
  }

  private tell({ spec }: TaskState, { message, mend }: SallyportError): void {
    const push = 'Push Branch…';
    const open = 'Open Task';
    void vscode.window
      .showWarningMessage(
        noticeText(safeLine(`“${safeLine(spec.title, 60)}”: ${message} ${mend}`, 2000)),
        push,
        open,
      )
      .then(async (picked) => {
        if (picked === push) await vscode.commands.executeCommand('sallyport.pushBranch', spec.id);
        else if (picked === open) await vscode.commands.executeCommand('sallyport.open', spec.id);
      });
  }
}
