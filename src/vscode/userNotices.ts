import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import { egressQuestions, type EgressQuestion } from '../protocol/egressQuestions.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import { raiseBudget } from './budget.ts';
import { answerEgress } from './egressAnswers.ts';
import type { NoticeBoard } from './noticeBoard.ts';
import type { Tasks } from './tasks.ts';
import { type EgressNotice, egressNotice, pausedNotice } from './view/egressNotice.ts';
import { QuestionQueue } from './view/questionQueue.ts';
import { isHere } from './workspace.ts';

export interface NoticeSurroundings {
  tasks: Tasks;
  board: NoticeBoard;
  /** The panel of a task asks the same in its own way. */
  isVisible: (id: string) => boolean;
  showNetwork: (id: string) => void;
  onProblem: (thrown: unknown) => void;
}

/**
 * Asks the user where a task cannot go on, or not as it wants to: hosts that no rule lets through, budgets that are used up.
 * Only in the window that has the task's workspace open, so that two windows do not ask the same.
 */
export class UserNotices implements vscode.Disposable {
  private readonly around: NoticeSurroundings;
  private readonly store = new DisposableStore();
  private readonly queues = new Map<string, QuestionQueue>();
  /** Tasks, and `day` for all of them, whose pause was told. */
  private readonly paused = new Set<string>();

  constructor(around: NoticeSurroundings) {
    this.around = around;
    const { tasks } = around;
    this.store.add(tasks.onDidOpen(() => this.takeStock()));
    this.store.add(tasks.onDidChange((state) => this.changed(state)));
    this.store.add(tasks.onDidRemove((id) => this.forget(id)));
  }

  dispose(): void {
    for (const queue of this.queues.values()) queue.dispose();
    this.store.dispose();
  }

  /** What was refused before this window looked is no news; what waits is. */
  private takeStock(): void {
    for (const state of this.around.tasks.list()) {
      if (hasEnded(state)) continue;
      this.queue(state.spec.id).skip(egressQuestions(state).filter(({ waiting }) => waiting === 0));
      this.changed(state);
    }
  }

  private changed(state: TaskState): void {
    const { id, repository } = state.spec;
    if (hasEnded(state)) {
      this.forget(id);
      return;
    }
    if (!this.around.tasks.isOpen || !isHere(repository.path)) return;
    const visible = this.around.isVisible(id);
    const questions = egressQuestions(state);
    if (questions.length > 0) {
      const queue = this.queue(id);
      if (visible) queue.skip(questions);
      queue.update(questions);
    }
    if (state.paused === undefined) {
      this.paused.delete(id);
      const ofDay = this.around.tasks.list().some(({ paused }) => paused?.scope === 'day');
      if (!ofDay) this.paused.delete('day');
    } else if (!visible) void this.tellPause(state);
  }

  private queue(id: string): QuestionQueue {
    const known = this.queues.get(id);
    if (known !== undefined) return known;
    const queue = new QuestionQueue((questions) => this.ask(id, questions).catch(this.around.onProblem));
    this.queues.set(id, queue);
    return queue;
  }

  private forget(id: string): void {
    this.queues.get(id)?.dispose();
    this.queues.delete(id);
    this.paused.delete(id);
  }

  private async ask(id: string, questions: readonly EgressQuestion[]): Promise<void> {
    const state = this.around.tasks.get(id);
    if (state === undefined) return;
    let notice: EgressNotice | undefined;
    const picked = await this.around.board.post({
      kind: 'network',
      task: id,
      keys: questions.map(hostKey),
      repositoryPath: state.spec.repository.path,
      make: (keys) => {
        const now = this.around.tasks.get(id);
        const open = questions.filter((question) => keys.includes(hostKey(question)));
        if (now === undefined || hasEnded(now) || open.length === 0) return undefined;
        notice = egressNotice(state, open);
        return { level: 'warning', text: notice.text, actions: notice.buttons.map(({ title }) => title) };
      },
    });
    const button = notice?.buttons.find(({ title }) => title === picked);
    if (button === undefined) return;
    if (button.answers === undefined) this.around.showNetwork(id);
    for (const answer of button.answers ?? []) await answerEgress(this.around.tasks, state, answer);
  }

  private async tellPause(state: TaskState): Promise<void> {
    const { id, repository } = state.spec;
    const notice = pausedNotice(state);
    if (notice === undefined) return;
    const ofDay = notice.scope === 'day';
    const told = ofDay ? 'day' : id;
    if (this.paused.has(told)) return;
    this.paused.add(told);
    try {
      const choose = 'Choose…';
      const stop = 'Stop Task';
      const limit = `paused/${state.paused?.limitUsd ?? 0}`;
      const picked = await this.around.board.post({
        kind: 'budget',
        task: told,
        keys: [ofDay ? `${new Date().toISOString().slice(0, 10)}/${limit}` : limit],
        repositoryPath: repository.path,
        make: () =>
          this.around.tasks.get(id)?.paused === undefined
            ? undefined
            : { level: 'warning', text: notice.text, actions: [notice.raise, choose, stop] },
      });
      if (picked === notice.raise) await raiseBudget(this.around.tasks, id, notice.scope, notice.raised);
      else if (picked === choose) await vscode.commands.executeCommand('sallyport.setBudget', id);
      else if (picked === stop) await vscode.commands.executeCommand('sallyport.stop', id);
    } catch (thrown) {
      this.around.onProblem(thrown);
    }
  }
}

function hostKey({ host, port }: EgressQuestion): string {
  return `network/${host}:${port}`;
}
