import * as vscode from 'vscode';
import { DisposableStore } from '../base/disposable.ts';
import type { Event } from '../base/event.ts';
import type { ReviewState } from '../protocol/review.ts';
import { safeLine } from '../protocol/safeText.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import { plural } from '../protocol/words.ts';
import type { Tasks } from './tasks.ts';
import { placeWords, thisMachine } from './view/places.ts';
import { branchView, lastPushes, pullRequestBadge, pullRequestView } from './view/publishItems.ts';
import {
  commitView,
  placeOf,
  groupTasks,
  type ItemView,
  leftoversView,
  runningCount,
  taskView,
  waitingCount,
} from './view/taskView.ts';

/** A node of the tree. The same task is the same object as long as the tree lives, so that a refresh finds it again. */
export type Node =
  /** A runner, also this machine; only where there are several. */
  | { kind: 'runner'; id: string }
  /** Tasks of repositories that are not open here, of one runner. */
  | { kind: 'elsewhere'; runner: string }
  | { kind: 'task'; id: string }
  | { kind: 'commit'; id: string; sha: string }
  | { kind: 'leftovers'; id: string }
  /** Where its commits were pushed to. */
  | { kind: 'branch'; id: string; remote: string; branch: string }
  | { kind: 'pullRequest'; id: string };

/** What the tree needs of the reviews. */
export interface ReviewStates {
  readonly onDidChange: Event<{ id: string }>;
  stateNow(id: string): ReviewState | undefined;
  state(id: string): Promise<ReviewState>;
}

/** Of how many tasks the reviews are read for the tree, and how many branches of one are shown. */
const maxReviews = 100;
const maxBranches = 5;

/** Milliseconds in which changes are gathered before the tree is drawn again. */
const settleMs = 100;

export class TaskTree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  private readonly tasks: Tasks;
  private readonly onProblem: (thrown: unknown) => void;
  private readonly store = new DisposableStore();
  private readonly changes = new vscode.EventEmitter<Node | Node[] | undefined>();
  readonly onDidChangeTreeData = this.changes.event;
  private readonly places = new Map<string, { runner: Node; elsewhere: Node }>();
  private readonly nodes = new Map<string, Node>();
  private readonly stale = new Set<string>();
  private all = false;
  private settling: NodeJS.Timeout | undefined;
  private ticking: NodeJS.Timeout | undefined;
  private view: vscode.TreeView<Node> | undefined;

  private reviews: ReviewStates | undefined;
  /** Tasks whose review was asked for, so that it is asked for once. */
  private readonly asked = new Set<string>();

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
    this.reviews = reviews;
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
        .map(({ id }) => this.placeNodes(id).runner);
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
    if (node.kind === 'runner') return this.runnerItem(node.id);
    if (node.kind === 'elsewhere') {
      const item = new vscode.TreeItem(
        'Other Repositories',
        this.groups(node.runner).here.length === 0
          ? vscode.TreeItemCollapsibleState.Expanded
          : vscode.TreeItemCollapsibleState.Collapsed,
      );
      item.id = `elsewhere/${node.runner}`;
      item.contextValue = 'elsewhere';
      return item;
    }
    const state = this.tasks.get(node.id);
    if (state === undefined) return new vscode.TreeItem('');
    if (node.kind === 'task') {
      const children = state.commits.length > 0 || state.leftovers !== undefined;
      const where = this.tasks.whereabouts(node.id);
      const view = taskView(state, Date.now(), this.tasks.hasResult(node.id), where);
      const badge = pullRequestBadge(this.reviewOf(node.id)?.pullRequest);
      if (badge !== '') {
        view.description = `${badge} · ${view.description}`;
        view.accessibility = `${view.accessibility}, pull request ${badge}`;
      }
      const item = toItem(
        view,
        children ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.None,
      );
      item.id = node.id;
      item.command = { command: 'sallyport.open', title: 'Open Task', arguments: [node] };
      return item;
    }
    if (node.kind === 'commit') {
      const commit = state.commits.find(({ sha }) => sha === node.sha);
      if (commit === undefined) return new vscode.TreeItem(node.sha);
      const place = placeOf(state, node.sha);
      const item = toItem(commitView(commit, place), vscode.TreeItemCollapsibleState.None);
      item.id = `${node.id}/${node.sha}`;
      if (place === 'imported')
        item.command = { command: 'sallyport.showDiff', title: 'Show Diff', arguments: [node] };
      return item;
    }
    if (node.kind === 'branch' || node.kind === 'pullRequest') return this.publishedItem(node);
    const view = leftoversView(state);
    const item =
      view === undefined ? new vscode.TreeItem('') : toItem(view, vscode.TreeItemCollapsibleState.None);
    item.id = `${node.id}/leftovers`;
    item.command = { command: 'sallyport.showDiff', title: 'Show Diff', arguments: [node] };
    return item;
  }

  getParent(node: Node): Node | undefined {
    if (node.kind === 'runner') return undefined;
    const above = (place: string): Node | undefined =>
      this.tasks.runners.isEmpty ? undefined : this.placeNodes(place).runner;
    if (node.kind === 'elsewhere') return above(node.runner);
    if (node.kind !== 'task') return this.taskNode(node.id);
    const place = this.tasks.placeOf(node.id)?.id ?? thisMachine;
    const isElsewhere = this.groups(place).elsewhere.some((task) => task.spec.id === node.id);
    return isElsewhere ? this.placeNodes(place).elsewhere : above(place);
  }

  taskNode(id: string): Node {
    const known = this.nodes.get(id);
    if (known !== undefined) return known;
    const node: Node = { kind: 'task', id };
    this.nodes.set(id, node);
    return node;
  }

  dispose(): void {
    clearTimeout(this.settling);
    clearInterval(this.ticking);
    this.ticking = undefined;
    this.store.dispose();
  }

  /** What is known of a review without waiting; it is asked for where it can say something. */
  private reviewOf(id: string): ReviewState | undefined {
    const known = this.reviews?.stateNow(id);
    if (known !== undefined || !this.tasks.hasResult(id) || this.asked.has(id)) return known;
    if (this.asked.size >= maxReviews) return undefined;
    this.asked.add(id);
    void this.reviews?.state(id).then(
      () => this.redraw(id),
      () => undefined,
    );
    return undefined;
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
    if (node.kind === 'pullRequest') {
      if (review?.pullRequest === undefined) return new vscode.TreeItem('');
      const item = toItem(pullRequestView(review.pullRequest), vscode.TreeItemCollapsibleState.None);
      item.id = `${node.id}/pullRequest`;
      item.command = { command: 'sallyport.openPullRequest', title: 'Open Pull Request', arguments: [node] };
      return item;
    }
    const push = review?.pushes.findLast(
      ({ remote, branch }) => remote === node.remote && branch === node.branch,
    );
    if (push === undefined) return new vscode.TreeItem(node.branch);
    const newest = this.tasks.get(node.id)?.imported ?? [];
    // What was made out of the review is none of the task's commits, and stays what it is.
    const current = !newest.includes(push.commit) || this.tasks.isNewest(node.id, push.commit);
    const item = toItem(branchView(push, current), vscode.TreeItemCollapsibleState.None);
    item.id = `${node.id}/branch/${node.remote}/${node.branch}`;
    return item;
  }

  private redraw(id: string): void {
    if (this.nodes.has(id)) this.stale.add(id);
    this.settle();
  }

  private placeNodes(id: string): { runner: Node; elsewhere: Node } {
    const known = this.places.get(id);
    if (known !== undefined) return known;
    const made: { runner: Node; elsewhere: Node } = {
      runner: { kind: 'runner', id },
      elsewhere: { kind: 'elsewhere', runner: id },
    };
    this.places.set(id, made);
    return made;
  }

  private tasksOf(place: string): Node[] {
    const { here, elsewhere } = this.groups(place);
    const own = here.map((task) => this.taskNode(task.spec.id));
    return elsewhere.length === 0 ? own : [...own, this.placeNodes(place).elsewhere];
  }

  private runnerItem(id: string): vscode.TreeItem {
    const place = this.tasks.runners.place(id);
    if (place === undefined) return new vscode.TreeItem('');
    const { description, tooltip, icon, color, contextValue } = placeWords(place, Date.now());
    const count = this.tasksOf(id).length;
    const label = safeLine(place.name, 60);
    const words = description === '' && count === 0 ? 'no tasks' : description;
    const item = toItem(
      {
        label,
        description: words,
        tooltip,
        icon,
        ...(color === undefined ? {} : { color }),
        contextValue,
        accessibility: `Runner ${label}${words === '' ? '' : `, ${words}`}`,
      },
      count === 0 ? vscode.TreeItemCollapsibleState.None : vscode.TreeItemCollapsibleState.Expanded,
    );
    // Another one as soon as it has tasks: as the same it would stay as closed as it was without any.
    item.id = `runner/${id}/${count === 0 ? 'empty' : 'tasks'}`;
    return item;
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
    if (this.nodes.has(state.spec.id)) this.stale.add(state.spec.id);
    else this.all = true;
    this.settle();
  }

  private forget(id: string): void {
    this.nodes.delete(id);
    this.asked.delete(id);
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

export function toItem(view: ItemView, collapsible: vscode.TreeItemCollapsibleState): vscode.TreeItem {
  const item = new vscode.TreeItem(view.label, collapsible);
  item.description = view.description;
  // A plain string: VS Code would read Markdown only from a MarkdownString.
  item.tooltip = view.tooltip;
  item.iconPath = new vscode.ThemeIcon(
    view.icon,
    view.color === undefined ? undefined : new vscode.ThemeColor(view.color),
  );
  item.contextValue = view.contextValue;
  item.accessibilityInformation = { label: view.accessibility };
  return item;
}
