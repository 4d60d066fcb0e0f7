import * as vscode from 'vscode';
import { DisposableStore } from '../../base/disposable.ts';
import type { FileId, PartId, ReviewFile } from '../../protocol/review.ts';
import { openGate } from '../../protocol/reviewState.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { plural } from '../../protocol/words.ts';
import { toItem } from '../treeItem.ts';
import { type Folder, foldersOf } from '../view/reviewFolders.ts';
import { fileDecoration, fileItem, folderItem, gateItem, partItem, reasonItem } from '../view/reviewItems.ts';
import { isDone, progressOf } from '../view/reviewProgress.ts';
import { reviewScheme, parseReview, reviewParts, scopeWord } from '../view/reviewUri.ts';
import { filterNames, progressWords, scopeName } from '../view/reviewWords.ts';
import type { ReviewSession } from './session.ts';
import type { Reviews } from './reviews.ts';

/** A line of the review's tree. The same line is the same object as long as its subject is shown. */
export type ReviewNode =
  | { kind: 'gate' }
  | { kind: 'folder'; path: string }
  | { kind: 'file'; file: FileId }
  | { kind: 'part'; file: FileId; part: PartId }
  | { kind: 'reason'; file: FileId; at: number };

export const reviewView = 'sallyport.review';

/** The view *Review*: what is to be looked at first, then the files, below each of them its parts. */
export class ReviewTree
  implements vscode.TreeDataProvider<ReviewNode>, vscode.FileDecorationProvider, vscode.Disposable
{
  private readonly session: ReviewSession;
  private readonly reviews: Reviews;
  private readonly onProblem: (thrown: unknown) => void;
  private readonly store = new DisposableStore();
  private readonly changes = new vscode.EventEmitter<ReviewNode | ReviewNode[] | undefined>();
  private readonly decorations = new vscode.EventEmitter<vscode.Uri[] | undefined>();
  readonly onDidChangeTreeData = this.changes.event;
  readonly onDidChangeFileDecorations = this.decorations.event;
  private readonly nodes = new Map<string, ReviewNode>();
  private folders: Folder<ReviewFile> | undefined;
  private readonly byPath = new Map<string, Folder<ReviewFile>>();
  private view: vscode.TreeView<ReviewNode> | undefined;

  constructor(session: ReviewSession, reviews: Reviews, onProblem: (thrown: unknown) => void) {
    this.session = session;
    this.reviews = reviews;
    this.onProblem = onProblem;
    this.store.add(this.changes);
    this.store.add(this.decorations);
    this.store.add(
      session.onDidChange((change) => this.sessionChanged(change.kind === 'all' ? undefined : change.files)),
    );
  }

  register(): vscode.TreeView<ReviewNode> {
    const view = vscode.window.createTreeView(reviewView, {
      treeDataProvider: this,
      showCollapseAll: true,
      canSelectMany: true,
      // A folder's mark is that of its files, which the session knows better than the tree.
      manageCheckboxStateManually: true,
    });
    this.view = view;
    this.store.add(view);
    this.store.add(vscode.window.registerFileDecorationProvider(this));
    this.describe();
    return view;
  }

  /** What is selected, for commands that come from the keyboard. */
  get selection(): readonly ReviewNode[] {
    return this.view?.selection ?? [];
  }

  get badge(): number {
    return this.view?.badge?.value ?? 0;
  }

  get description(): string {
    return this.view?.description ?? '';
  }

  /** Selects the file that is in front, as the explorer does; not where it, or a part of it, is selected already. */
  async follow(front: vscode.Uri | undefined): Promise<void> {
    const { subject } = this.session;
    const address = front?.scheme === reviewScheme ? parseReview(front.authority, front.query) : undefined;
    if (this.view?.visible !== true || subject === undefined || address?.id !== subject.id) return;
    const { file } = address;
    if (file === undefined || scopeWord(address.scope) !== scopeWord(subject.scope)) return;
    if (this.selection.some((node) => 'file' in node && node.file === file)) return;
    // A filter may hide it.
    if (!this.session.files().some(({ id }) => id === file)) return;
    await this.view.reveal(this.node({ kind: 'file', file }), { select: true, focus: false });
  }

  async getChildren(node?: ReviewNode): Promise<ReviewNode[]> {
    if (node === undefined) {
      try {
        if ((await this.session.open()) === undefined) return [];
      } catch (thrown) {
        this.onProblem(thrown);
        return [];
      }
      this.describe();
      const files = this.session.files();
      const plain = files.filter(({ gate }) => gate.length === 0);
      const gate: ReviewNode[] = plain.length < files.length ? [this.node({ kind: 'gate' })] : [];
      if (this.session.layout === 'list') return [...gate, ...plain.map((file) => this.fileNode(file))];
      this.keepFolders(foldersOf(plain));
      return [...gate, ...this.inFolder('')];
    }
    switch (node.kind) {
      case 'gate':
        return this.gateFiles().map((file) => this.fileNode(file));
      case 'folder':
        return this.inFolder(node.path);
      case 'file': {
        const file = this.session.file(node.file);
        if (file === undefined) return [];
        const { id } = file;
        return [
          ...file.gate.map((_, at) => this.node({ kind: 'reason', file: id, at })),
          ...file.parts.map(({ id: part }) => this.node({ kind: 'part', file: id, part })),
        ];
      }
      case 'part':
      case 'reason':
        return [];
    }
  }

  getParent(node: ReviewNode): ReviewNode | undefined {
    if (node.kind === 'gate') return undefined;
    if (node.kind === 'part' || node.kind === 'reason') return this.node({ kind: 'file', file: node.file });
    const isFile = node.kind === 'file';
    const file = isFile ? this.session.file(node.file) : undefined;
    if (isFile && file !== undefined && file.gate.length > 0) return this.node({ kind: 'gate' });
    if (this.session.layout === 'list') return undefined;
    const path = isFile ? (file?.path ?? '') : node.path;
    // Folders that are joined have no line of their own.
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const above = path.slice(0, at);
      if (this.byPath.has(above)) return this.node({ kind: 'folder', path: above });
    }
    return undefined;
  }

  getTreeItem(node: ReviewNode): vscode.TreeItem {
    const { Collapsed, Expanded, None } = vscode.TreeItemCollapsibleState;
    const { now, subject } = this.session;
    if (now === undefined || subject === undefined) return new vscode.TreeItem('');
    const place = `${subject.id}/${scopeWord(subject.scope)}`;
    switch (node.kind) {
      case 'gate': {
        const files = this.gateFiles();
        const item = toItem(gateItem(files.length, openGate(now.state, files).length), Expanded);
        item.id = `${place}/gate`;
        return item;
      }
      case 'folder': {
        const folder = this.byPath.get(node.path);
        const all = folder?.all ?? [];
        const done = all.filter(({ id }) => this.isDone(id)).length;
        const item = toItem(folderItem(node.path, folder?.name ?? node.path, all.length, done), Expanded);
        item.iconPath = vscode.ThemeIcon.Folder;
        item.id = `${place}/folder/${node.path}`;
        item.checkboxState = checkbox(
          all.length > 0 && all.every(({ id }) => this.session.standing(id)?.reviewed === true),
          `Folder ${folder?.name ?? ''}`,
        );
        return item;
      }
      case 'file': {
        const file = this.session.file(node.file);
        const standing = this.session.standing(node.file);
        if (file === undefined || standing === undefined) return new vscode.TreeItem('');
        const inFolder = this.session.layout === 'tree' && file.gate.length === 0;
        const view = fileItem(file, standing, inFolder ? 'hidden' : 'shown');
        const item = toItem(view, Collapsed);
        if (view.icon === 'file') item.iconPath = vscode.ThemeIcon.File;
        item.resourceUri = vscode.Uri.from(reviewParts(subject.id, subject.scope, file));
        item.id = `${place}/file/${file.id}`;
        item.checkboxState = checkbox(standing.reviewed, safeLine(file.path, 200));
        item.command = { command: 'sallyport.review.open', title: 'Open Changes', arguments: [node] };
        return item;
      }
      case 'part': {
        const part = this.session.file(node.file)?.parts.find(({ id }) => id === node.part);
        if (part === undefined) return new vscode.TreeItem('');
        const item = toItem(partItem(part, now.state, now.returned), None);
        item.id = `${place}/file/${node.file}/${node.part}`;
        item.command = { command: 'sallyport.review.open', title: 'Open Changes', arguments: [node] };
        return item;
      }
      case 'reason': {
        const why = this.session.file(node.file)?.gate[node.at]?.why ?? '';
        const item = toItem(reasonItem(why), None);
        item.id = `${place}/file/${node.file}/reason/${node.at}`;
        return item;
      }
    }
  }

  provideFileDecoration(uri: vscode.Uri): vscode.FileDecoration | undefined {
    const { subject } = this.session;
    if (uri.scheme !== reviewScheme || subject === undefined) return undefined;
    const address = parseReview(uri.authority, uri.query);
    if (address?.file === undefined || address.id !== subject.id) return undefined;
    if (scopeWord(address.scope) !== scopeWord(subject.scope)) return undefined;
    const file = this.session.file(address.file);
    const standing = this.session.standing(address.file);
    if (file === undefined || standing === undefined) return undefined;
    const { badge, tooltip, color } = fileDecoration(file, standing);
    return new vscode.FileDecoration(badge, tooltip, new vscode.ThemeColor(color));
  }

  /** Files of a line: of a folder or of the group all that are below it. */
  filesOf(node: ReviewNode): ReviewFile[] {
    switch (node.kind) {
      case 'gate':
        return this.gateFiles();
      case 'folder':
        return this.byPath.get(node.path)?.all ?? [];
      case 'file':
      case 'part':
      case 'reason': {
        const file = this.session.file(node.file);
        return file === undefined ? [] : [file];
      }
    }
  }

  /** The same for several lines, each file once. */
  filesOfAll(nodes: readonly ReviewNode[]): ReviewFile[] {
    const files = nodes.flatMap((node) => this.filesOf(node));
    return [...new Map(files.map((file) => [file.id, file])).values()];
  }

  dispose(): void {
    this.store.dispose();
  }

  /** @param files those that stand otherwise than before; undefined when there may be others */
  private sessionChanged(files: readonly FileId[] | undefined): void {
    this.describe();
    const { subject } = this.session;
    if (files === undefined || subject === undefined || this.session.filter !== undefined) {
      if (files === undefined) this.nodes.clear();
      this.changes.fire(undefined);
      this.decorations.fire(undefined);
      return;
    }
    if (files.length === 0) return;
    const stale = new Set<ReviewNode>();
    const uris: vscode.Uri[] = [];
    for (const id of files) {
      const file = this.session.file(id);
      if (file === undefined) continue;
      uris.push(vscode.Uri.from(reviewParts(subject.id, subject.scope, file)));
      for (
        let node: ReviewNode | undefined = this.fileNode(file);
        node !== undefined;
        node = this.getParent(node)
      )
        stale.add(node);
    }
    this.changes.fire([...stale]);
    this.decorations.fire(uris);
  }

  private describe(): void {
    if (this.view === undefined) return;
    const { now, subject, filter } = this.session;
    if (subject === undefined) {
      this.view.description = this.view.message = '';
      this.view.badge = undefined;
      return;
    }
    const task = this.reviews.task(subject.id);
    const title = task === undefined ? '' : safeLine(task.spec.title, 30);
    const progress = now === undefined ? undefined : progressOf(now.diff, now.state);
    this.view.description = [
      progress === undefined ? '' : progressWords(progress),
      scopeName(subject.scope),
      title,
    ]
      .filter((text) => text !== '')
      .join(' · ');
    const further = now?.diff.further ?? 0;
    const conflicts = now?.diff.files.filter(({ edit }) => edit?.kind === 'conflict').length ?? 0;
    this.view.message = [
      filter === undefined ? '' : `Only: ${filterNames[filter]}`,
      now !== undefined && now.diff.files.length === 0 ? 'No file differs.' : '',
      conflicts === 0
        ? ''
        : `Your edit of ${plural(conflicts, 'file')} conflicts with the task's new version: Merge Your Edit is on ${conflicts === 1 ? 'its line' : 'their lines'}.`,
      further === 0 ? '' : `${plural(further, 'more file')} cannot be chosen here: accept whole commits.`,
    ]
      .filter((text) => text !== '')
      .join(' ');
    const left = progress === undefined ? 0 : progress.files - progress.done;
    this.view.badge = left === 0 ? undefined : { value: left, tooltip: `${plural(left, 'file')} to review` };
  }

  private gateFiles(): ReviewFile[] {
    return this.session.files().filter(({ gate }) => gate.length > 0);
  }

  private isDone(id: FileId): boolean {
    const standing = this.session.standing(id);
    return standing !== undefined && isDone(standing);
  }

  private keepFolders(root: Folder<ReviewFile>): void {
    this.folders = root;
    this.byPath.clear();
    const keep = (folder: Folder<ReviewFile>): void => {
      this.byPath.set(folder.path, folder);
      folder.folders.forEach(keep);
    };
    root.folders.forEach(keep);
  }

  private inFolder(path: string): ReviewNode[] {
    const folder = path === '' ? this.folders : this.byPath.get(path);
    if (folder === undefined) return [];
    return [
      ...folder.folders.map((one) => this.node({ kind: 'folder', path: one.path })),
      ...folder.files.map((file) => this.fileNode(file)),
    ];
  }

  private fileNode({ id }: ReviewFile): ReviewNode {
    return this.node({ kind: 'file', file: id });
  }

  private node(wanted: ReviewNode): ReviewNode {
    const key = JSON.stringify(Object.values(wanted));
    const known = this.nodes.get(key);
    if (known !== undefined) return known;
    this.nodes.set(key, wanted);
    return wanted;
  }
}

function checkbox(on: boolean, name: string): NonNullable<vscode.TreeItem['checkboxState']> {
  return {
    state: on ? vscode.TreeItemCheckboxState.Checked : vscode.TreeItemCheckboxState.Unchecked,
    tooltip: on ? 'Reviewed' : 'Mark as reviewed',
    accessibilityInformation: { label: `${name}, ${on ? 'reviewed' : 'not reviewed'}`, role: 'checkbox' },
  };
}
