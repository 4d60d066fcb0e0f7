import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import type { ReviewState } from '../protocol/review.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import { plural } from '../protocol/words.ts';
import {
  branchItem,
  commitItem,
  elsewhereItem,
  leftoversItem,
  pullRequestItem,
  runnerItem,
  taskItem,
} from './taskItems.ts';
import { type Node, TaskNodes } from './taskNodes.ts';
import type { Tasks } from './tasks.ts';
import { type ReviewStates, TreeReviews } from './treeReviews.ts';
import { thisMachine } from './view/places.ts';
import { lastPushes } from './view/publishItems.ts';
import { groupTasks, runningCount, waitingCount } from './view/taskView.ts';

/** How many branches of a task are shown. */
const maxBranches = 5;

/** Milliseconds in which changes are gathered before the tree is drawn again. */
const settleMs = 100;

export class TaskTree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  private readonly tasks: Tasks;
  private readonly onProblem: (thrown: unknown) => void;
  private readonly store = new DisposableStore();
  private readonly changes = new vscode.EventEmitter<Node | Node[] | undefined>();
  readonly onDidChangeTreeData = this.changes.event;
  private readonly nodes = new TaskNodes();
  private readonly stale = new Set<string>();
  private all = false;
  private settling: NodeJS.Timeout | undefined;
  private ticking: NodeJS.Timeout | undefined;
  private view: vscode.TreeView<Node> | undefined;

  private reviews: TreeReviews | undefined;

  constructor(tasks: Tasks, onProblem: (thrown: unknown) => void) {
    this.tasks = tasks;
    this.onProblem = onProblem;
    this.store.add(tasks.onDidChange((state) => this.mark(state)));
    this.store.add(tasks.onDidRemove((id) => this.forget(id)));
    this.store.add(tasks.onDidOpen(() => this.refresh()));
    this.store.add(tasks.runners.onDidChange(() => this.refresh()));
    this.store.add(vscode.workspace.onDidChangeWorkspaceFolders(() => this.refresh()));
    this.store.add(this.changes);
  }

  /** Shows itself in the view of the manifest. */
  register(): vscode.TreeView<Node> {
    const view = vscode.window.createTreeView('sallyport.tasks', {
      treeDataProvider: this,
      showCollapseAll: true,
    });
    this.view = view;
    this.store.add(view);
    this.store.add(view.onDidChangeVisibility(() => this.tick()));
    return view;
  }

  /** What the badge of the view says: how many tasks wait for the user. */
  get waiting(): number {
    return this.view?.badge?.value ?? 0;
  }

  /** Shows where tasks were pushed to. Their reviews are asked for when they are first drawn. */
  follow(reviews: ReviewStates): void {
    this.reviews = new TreeReviews(reviews, (id) => this.redraw(id));
    this.store.add(reviews.onDidChange(({ id }) => this.redraw(id)));
  }

  refresh(): void {
    this.all = true;
    this.settle();
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (node === undefined) {
      // The view is looked at: this is when the tasks are wanted. A failure is told once, and the view stays empty.
      if (!this.tasks.isOpen) {
        try {
          await this.tasks.open();
        } catch (thrown) {
          this.onProblem(thrown);
          return [];
        }
      }
      this.badge();
      if (this.tasks.runners.isEmpty) return this.tasksOf(thisMachine);
      // This machine without a task says nothing beside its runners.
      return this.tasks.runners
        .places()
        .filter(({ id }) => id !== thisMachine || this.tasksOf(id).length > 0)
        .map(({ id }) => this.nodes.place(id).runner);
    }
    if (node.kind === 'runner') return this.tasksOf(node.id);
    if (node.kind === 'elsewhere')
      return this.groups(node.runner).elsewhere.map((task) => this.taskNode(task.spec.id));
    if (node.kind !== 'task') return [];
    const state = this.tasks.get(node.id);
    if (state === undefined) return [];
    const commits: Node[] = state.commits.map(({ sha }) => ({ kind: 'commit', id: node.id, sha }));
    const left: Node[] = state.leftovers === undefined ? [] : [{ kind: 'leftovers', id: node.id }];
    return [...commits, ...left, ...this.published(node.id)];
  }

  getTreeItem(node: Node): vscode.TreeItem {
    switch (node.kind) {
      case 'runner':
        return this.runnerItem(node.id);
      case 'elsewhere':
        return elsewhereItem(node.runner, this.groups(node.runner).here.length === 0);
      case 'task':
      case 'commit':
      case 'leftovers':
      case 'branch':
      case 'pullRequest': {
        const state = this.tasks.get(node.id);
        if (state === undefined) return new vscode.TreeItem('');
        if (node.kind === 'commit') return commitItem(state, node);
        if (node.kind === 'leftovers') return leftoversItem(state, node);
        if (node.kind !== 'task') return this.publishedItem(node);
        return taskItem(state, node, {
          hasResult: this.tasks.hasResult(node.id),
          where: this.tasks.whereabouts(node.id),
          pullRequest: this.reviewOf(node.id)?.pullRequest,
        });
      }
    }
  }

  getParent(node: Node): Node | undefined {
    if (node.kind === 'runner') return undefined;
    const above = (place: string): Node | undefined =>
      this.tasks.runners.isEmpty ? undefined : this.nodes.place(place).runner;
    if (node.kind === 'elsewhere') return above(node.runner);
    if (node.kind !== 'task') return this.taskNode(node.id);
    const place = this.tasks.placeOf(node.id)?.id ?? thisMachine;
    const isElsewhere = this.groups(place).elsewhere.some((task) => task.spec.id === node.id);
    return isElsewhere ? this.nodes.place(place).elsewhere : above(place);
  }

  taskNode(id: string): Node {
    return this.nodes.task(id);
  }

  dispose(): void {
    clearTimeout(this.settling);
    clearInterval(this.ticking);
    this.ticking = undefined;
    this.store.dispose();
  }

  private reviewOf(id: string): ReviewState | undefined {
    return this.reviews?.now(id, this.tasks.hasResult(id));
  }

  private published(id: string): Node[] {
    const review = this.reviewOf(id);
    if (review === undefined) return [];
    const branches: Node[] = lastPushes(review)
      .slice(-maxBranches)
      .map(({ remote, branch }) => ({ kind: 'branch', id, remote, branch }));
    return review.pullRequest === undefined ? branches : [...branches, { kind: 'pullRequest', id }];
  }

  private publishedItem(node: Extract<Node, { kind: 'branch' | 'pullRequest' }>): vscode.TreeItem {
    const review = this.reviewOf(node.id);
    if (node.kind === 'pullRequest') return pullRequestItem(review?.pullRequest, node);
    const push = review?.pushes.findLast(
      ({ remote, branch }) => remote === node.remote && branch === node.branch,
    );
    const imported = this.tasks.get(node.id)?.imported ?? [];
    // What was made out of the review is none of the task's commits, and stays what it is.
    const current =
      push !== undefined && (!imported.includes(push.commit) || this.tasks.isNewest(node.id, push.commit));
    return branchItem(push, current, node);
  }

  private redraw(id: string): void {
    if (this.nodes.hasTask(id)) this.stale.add(id);
    this.settle();
  }

  private tasksOf(place: string): Node[] {
    const { here, elsewhere } = this.groups(place);
    const own = here.map((task) => this.taskNode(task.spec.id));
    return elsewhere.length === 0 ? own : [...own, this.nodes.place(place).elsewhere];
  }

  private runnerItem(id: string): vscode.TreeItem {
    const place = this.tasks.runners.place(id);
    return place === undefined ? new vscode.TreeItem('') : runnerItem(place, this.tasksOf(id).length);
  }

  private groups(place: string): { here: TaskState[]; elsewhere: TaskState[] } {
    const folders = vscode.workspace.workspaceFolders ?? [];
    return groupTasks(
      this.tasks.listOf(place),
      folders.filter(({ uri }) => uri.scheme === 'file').map(({ uri }) => uri.fsPath),
    );
  }

  private mark(state: TaskState): void {
    // A task that the tree does not show yet changes the list, not only its own line.
    if (this.nodes.hasTask(state.spec.id)) this.stale.add(state.spec.id);
    else this.all = true;
    this.settle();
  }

  private forget(id: string): void {
    this.nodes.forgetTask(id);
    this.reviews?.forget(id);
    this.refresh();
  }

  private settle(): void {
    this.settling ??= setTimeout(() => {
      this.settling = undefined;
      const nodes = [...this.stale].map((id) => this.taskNode(id));
      this.stale.clear();
      this.badge();
      if (this.all) this.changes.fire(undefined);
      else if (nodes.length > 0) this.changes.fire(nodes);
      this.all = false;
    }, settleMs);
  }

  private badge(): void {
    const waiting = waitingCount(this.tasks.list());
    if (this.view !== undefined) {
      this.view.badge =
        waiting === 0
          ? undefined
          : {
              value: waiting,
              tooltip: `${plural(waiting, 'task')} ${waiting === 1 ? 'waits' : 'wait'} for you`,
            };
    }
    this.tick();
  }

  /** Lets the running times move on, of running tasks only, and only while somebody can see them. */
  private tick(): void {
    const wanted = this.view?.visible === true && runningCount(this.tasks.list()) > 0;
    if (!wanted) {
      clearInterval(this.ticking);
      this.ticking = undefined;
      return;
    }
    this.ticking ??= setInterval(() => {
      const running = this.tasks.list().filter((task) => !hasEnded(task));
      this.changes.fire(running.map((task) => this.taskNode(task.spec.id)));
    }, 1000);
  }
}
