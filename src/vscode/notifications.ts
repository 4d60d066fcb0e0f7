import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { NoticeBoard } from './noticeBoard.ts';
import type { Tasks } from './tasks.ts';
import { type News, newsOf, type Stage, stageOf, waitingNews } from './view/news.ts';
import { isHere } from './workspace.ts';

/** Commits that come within this time, and the end that follows them, are one piece of news, in milliseconds. */
const usualGatherMs = 1500;

/** Says what needs the user, once: commits to look at, something to answer, the end. Nothing while the task's panel is seen. */
export class Notifications implements vscode.Disposable {
  private readonly store = new DisposableStore();
  private readonly isVisible: (id: string) => boolean;
  private readonly tasks: Tasks;
  private readonly board: NoticeBoard;
  private readonly gatherMs: number;
  /** What was known of a task when it was last heard of. */
  private readonly known = new Map<string, Stage>();
  /** Tasks whose commits were told of since the user last looked at them. */
  private readonly told = new Set<string>();
  private readonly gathering = new Map<string, NodeJS.Timeout>();

  constructor(
    tasks: Tasks,
    board: NoticeBoard,
    isVisible: (id: string) => boolean,
    gatherMs = usualGatherMs,
  ) {
    this.gatherMs = gatherMs;
    this.tasks = tasks;
    this.board = board;
    this.isVisible = isVisible;
    this.store.add(tasks.onDidOpen(() => this.takeStock()));
    this.store.add(tasks.onDidChange((state) => this.changed(state)));
    this.store.add(tasks.onDidRemove((id) => this.forget(id)));
    this.store.add(vscode.window.tabGroups.onDidChangeTabs(() => this.look()));
  }

  dispose(): void {
    for (const timer of this.gathering.values()) clearTimeout(timer);
    this.gathering.clear();
    this.store.dispose();
  }

  /** What happened before is no news. What waits for the user is, unless it was told before the editor was closed. */
  private takeStock(): void {
    for (const state of this.tasks.list()) {
      if (this.known.has(state.spec.id)) continue;
      this.known.set(state.spec.id, stageOf(state, undefined));
      if (isHere(state.spec.repository.path)) this.tell(state.spec.id, waitingNews(state, { waits: [] }));
    }
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
    if (!this.tasks.isOpen) return;
    const news = newsOf(state, before, now);
    if (news?.kind === 'commit') this.gather(id, before?.commits ?? 0);
    else this.tell(id, news);
  }

  private tell(id: string, news: News | undefined): void {
    if (news === undefined) return;
    if (this.isVisible(id)) {
      this.told.delete(id);
      void this.board.seen(id, news.key);
      return;
    }
    void this.post(id, news);
  }

  private gather(id: string, before: number): void {
    if (this.gathering.has(id)) return;
    const timer = setTimeout(() => {
      this.gathering.delete(id);
      const [state, stage] = [this.tasks.get(id), this.known.get(id)];
      if (state === undefined || stage === undefined) return;
      // The user knows that there are commits, and has not looked yet; or is told to come anyway.
      if ((this.told.has(id) && !this.isVisible(id)) || stage.waits.length > 0) return;
      const news = newsOf(state, { ...stage, commits: before }, stage);
      if (news?.kind !== 'commit') return;
      if (!this.isVisible(id)) this.told.add(id);
      this.tell(id, news);
    }, this.gatherMs);
    this.gathering.set(id, timer);
  }

  private async post(id: string, news: News): Promise<void> {
    const { kind, key, notice } = news;
    const picked = await this.board.post({
      kind,
      keys: [key],
      task: id,
      repositoryPath: this.tasks.get(id)?.spec.repository.path ?? '',
      make: () =>
        this.isCurrent(id, news)
          ? { ...notice, actions: notice.actions.map(({ title }) => title) }
          : undefined,
    });
    const action = notice.actions.find(({ title }) => title === picked);
    if (action === undefined) return;
    this.told.delete(id);
    await vscode.commands.executeCommand(action.command, id);
  }

  /** Another window may have answered meanwhile, and the user may look at the task by now. */
  private isCurrent(id: string, { kind, key }: News): boolean {
    const stage = this.known.get(id);
    if (stage === undefined || this.isVisible(id)) return false;
    if (kind === 'waiting') return stage.waits.includes(key);
    return kind === 'commit' || key === `end/${stage.ends}`;
  }

  private look(): void {
    for (const id of this.told) if (this.isVisible(id)) this.told.delete(id);
  }

  private forget(id: string): void {
    clearTimeout(this.gathering.get(id));
    this.gathering.delete(id);
    this.known.delete(id);
    this.told.delete(id);
    void this.board.forget(id);
  }
}
