import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { DisposableStore } from '../../base/disposable.ts';
import { SallyportError } from '../../base/errors.ts';
import { plural } from '../../protocol/words.ts';
import type { MergeConflict } from '../../runner/review/taskReview.ts';
import { shownPath } from '../view/reviewUri.ts';
import { isTextConflict, type MergeSide, mergeParts, mergeScheme, parseMerge } from '../view/reviewMerge.ts';
import type { Announcer } from './announcer.ts';
import type { Merging, MergePurpose, MergeStore } from './mergeStore.ts';

/** VS Code's own command behind the merge editor of its git extension. */
const openMergeEditor = '_open.mergeEditor';
/** What its own *Complete Merge* does; gives nothing where another editor is in front. */
const completeInEditor = 'mergeEditor.acceptMerge';
const Completion = z.object({ successful: z.boolean() });

/** What is done with a merge that is complete. */
type Finisher = (
  purpose: MergePurpose,
  merged: ReadonlyMap<string, Uint8Array | undefined>,
) => Promise<unknown>;

/**
 * The merge of what the user and the task have both changed: each file in VS Code's merge editor, on documents of ours, until
 * all are done. Only then is anything written; there is at most one such merge at a time, and it survives a reload.
 */
export class MergeSessions implements vscode.FileSystemProvider, vscode.Disposable {
  private readonly announcer: Announcer;
  private readonly store = new DisposableStore();
  private readonly changes = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.changes.event;
  /** Where the merge is kept over a reload; another place in tests. */
  kept: MergeStore;
  private open: Merging | undefined;
  private count = 0;
  /** The merge that was under way before a reload is read. */
  private restoring: Promise<void> = Promise.resolve();
  /** Who began the merge says what comes of it. */
  finisher: Finisher = () => Promise.reject(new Error('Nobody takes the merge'));

  constructor(announcer: Announcer, kept: MergeStore) {
    this.announcer = announcer;
    this.kept = kept;
    this.store.add(this.changes);
  }

  register(): vscode.Disposable {
    return vscode.workspace.registerFileSystemProvider(mergeScheme, this, { isCaseSensitive: true });
  }

  /**
   * Takes up the merge that was under way before the window was reloaded: its editors, which VS Code opens again, show what they
   * showed, and a notice offers to go on.
   */
  restore(): Promise<void> {
    this.restoring = this.kept.read().then((merging) => {
      if (merging === undefined || this.open !== undefined) return;
      this.open = merging;
      this.count = Math.max(this.count, merging.number);
      this.isMerging(true);
      const left = this.waiting.length;
      const merged = merging.conflicts.length - left;
      const go = left === 0 ? finishWord(merging) : 'Continue Merge';
      const cancel = cancelWord(merging);
      const said = `${reloadWords(merging)} ${merged} of ${plural(merging.conflicts.length, 'file')} ${merged === 1 ? 'is' : 'are'} merged. Nothing is written yet.`;
      void vscode.window.showInformationMessage(said, go, cancel).then((picked) => {
        if (picked === undefined || this.open !== merging) return;
        const name = picked === cancel ? 'cancelAccept' : left === 0 ? 'finishAccept' : 'completeMerge';
        void vscode.commands.executeCommand(`sallyport.review.${name}`);
      });
    });
    return this.restoring;
  }

  /** Of the merge that is under way: part of its documents' addresses. */
  get number(): number {
    return this.open?.number ?? 0;
  }

  get isOpen(): boolean {
    return this.open !== undefined;
  }

  /** Paths that wait for the user. */
  get waiting(): string[] {
    const { open } = this;
    return open === undefined
      ? []
      : open.conflicts.flatMap(({ path }, at) => (open.done.has(at) ? [] : [path]));
  }

  /**
   * Begins a merge, and opens its first file. One that was begun before is given up: nothing of it was written.
   * @param before what was made of conflicts that earlier tries of the same accept told
   */
  async begin(
    conflicts: readonly MergeConflict[],
    purpose: MergePurpose,
    before: Merging['before'] = new Map(),
  ): Promise<void> {
    await this.restoring;
    if (purpose.kind === 'edit' && this.open?.purpose.kind === 'accept') {
      throw new SallyportError(
        'conflict',
        'The merge of an accept is under way.',
        'Finish or cancel that one first.',
      );
    }
    await this.cancel();
    this.count += 1;
    const open: Merging = {
      number: this.count,
      saves: new Map(),
      purpose,
      conflicts,
      before,
      results: new Map(),
      done: new Set(),
    };
    this.open = open;
    this.isMerging(true);
    await this.kept.begin(open);
    void vscode.window.showInformationMessage(beginWords(open));
    await this.next();
  }

  private isMerging(on: boolean): void {
    void vscode.commands.executeCommand('setContext', 'sallyport.review.merging', on);
  }

  /** Opens the next file that is not merged. */
  async next(): Promise<void> {
    const { open } = this;
    const at = open?.conflicts.findIndex((_, index) => !open.done.has(index)) ?? -1;
    if (open !== undefined && at !== -1) await this.show(open, at);
  }

  /** The file of the merge editor in front is as the user wants it. */
  async complete(uri: vscode.Uri | undefined): Promise<void> {
    await this.restoring;
    const open = this.current();
    const address = [uri, vscode.window.activeTextEditor?.document.uri]
      .map((one) => (one?.scheme === mergeScheme ? parseMerge(one.query) : undefined))
      .find((one) => one?.session === open.number);
    if (address === undefined) {
      await this.next();
      return;
    }
    const result = this.uri(open, address.at, 'result');
    const document = vscode.workspace.textDocuments.find((one) => one.uri.toString() === result.toString());
    // VS Code's own end of a merge asks about conflicts that are left, saves, and closes the editor.
    const ended = Completion.safeParse(await vscode.commands.executeCommand(completeInEditor));
    if (ended.success && !ended.data.successful) return;
    if (!ended.success && document?.isDirty === true && !(await document.save())) return;
    const { bytes } = this.find(result);
    if (/^(<{7}|>{7})( |$)/m.test(new TextDecoder().decode(bytes))) {
      throw new SallyportError(
        'conflict',
        'Conflict markers are left in this file.',
        'Choose what is to stay at each of them, then complete it again.',
      );
    }
    open.results.set(address.at, bytes);
    open.done.add(address.at);
    await this.kept.result(open, address.at);
    if (!ended.success) await closeTabsOf(result);
    const left = this.waiting.length;
    if (left === 0 && open.purpose.kind === 'edit') {
      await this.finish();
      return;
    }
    this.announcer.say(
      left === 0
        ? 'Every file is merged. Finish Accept writes them.'
        : `${plural(left, 'file')} left to merge.`,
    );
    if (left > 0) {
      await this.next();
      return;
    }
    const go = 'Finish Accept';
    void vscode.window
      .showInformationMessage('Every file is merged. Nothing is written yet.', go, 'Cancel Accept')
      .then((picked) => {
        if (picked === go) void vscode.commands.executeCommand('sallyport.review.finishAccept');
        else if (picked !== undefined) void vscode.commands.executeCommand('sallyport.review.cancelAccept');
      });
  }

  /** Applies everything at once. */
  async finish(): Promise<unknown> {
    await this.restoring;
    const open = this.current();
    const [first, ...more] = this.waiting;
    if (first !== undefined) {
      await this.next();
      const others = more.length === 0 ? '' : ` and ${plural(more.length, 'more file', 'more files')}`;
      throw new SallyportError(
        'conflict',
        `${shownPath(first)}${others} ${more.length === 0 ? 'is' : 'are'} not merged yet.`,
        'Complete each file with the check mark of its editor, then finish again.',
      );
    }
    const merged = new Map(open.before);
    for (const [at, { path }] of open.conflicts.entries())
      merged.set(path, open.results.get(at) ?? undefined);
    const outcome = await this.finisher(open.purpose, merged);
    // What changed meanwhile has begun another merge; that one stays.
    if (this.open === open) await this.end();
    return outcome;
  }

  /** Gives it up; nothing was written. */
  async cancel(): Promise<void> {
    await this.restoring;
    const { open } = this;
    if (open === undefined) return;
    await this.end();
    this.announcer.say(
      open.purpose.kind === 'accept'
        ? 'The accept is cancelled. Nothing was changed.'
        : 'The merge is cancelled. Your edit is as it was.',
    );
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    await this.restoring;
    const { bytes, side, open, at } = this.find(uri);
    return {
      type: vscode.FileType.File,
      ctime: 0,
      // Of this result alone: the save of another file must not look like a change of this one.
      mtime: side === 'result' ? (open.saves.get(at) ?? 0) : 0,
      size: bytes.length,
      ...(side === 'result' ? {} : { permissions: vscode.FilePermission.Readonly }),
    };
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    await this.restoring;
    return this.find(uri).bytes;
  }

  async writeFile(uri: vscode.Uri, content: Uint8Array): Promise<void> {
    await this.restoring;
    const { open, at, side } = this.find(uri);
    if (side !== 'result') throw vscode.FileSystemError.NoPermissions('This side of a merge is read-only.');
    open.saves.set(at, (open.saves.get(at) ?? 0) + 1);
    open.results.set(at, content);
    await this.kept.result(open, at);
    this.changes.fire([{ type: vscode.FileChangeType.Changed, uri }]);
  }

  readDirectory(): never {
    throw vscode.FileSystemError.NoPermissions('There are no folders here.');
  }
  createDirectory(): never {
    throw vscode.FileSystemError.NoPermissions('There are no folders here.');
  }
  delete(): never {
    throw vscode.FileSystemError.NoPermissions('A merge has no files to delete.');
  }
  rename(): never {
    throw vscode.FileSystemError.NoPermissions('A merge has no files to move.');
  }

  dispose(): void {
    this.open = undefined;
    this.store.dispose();
  }

  private current(): Merging {
    if (this.open !== undefined) return this.open;
    throw new SallyportError('invalid_input', 'No merge is under way.', 'Accept something first.');
  }

  private find(uri: vscode.Uri): { open: Merging; at: number; side: MergeSide; bytes: Uint8Array } {
    const address = parseMerge(uri.query);
    const { open } = this;
    const conflict = address === undefined ? undefined : open?.conflicts[address.at];
    if (open === undefined || address?.session !== open.number || conflict === undefined)
      throw vscode.FileSystemError.FileNotFound(uri);
    const { at, side } = address;
    const bytes =
      side === 'result' ? (open.results.get(at) ?? conflict.marked ?? conflict.current) : conflict[side];
    return { open, at, side, bytes: bytes ?? new Uint8Array() };
  }

  private uri(open: Merging, at: number, side: MergeSide): vscode.Uri {
    return vscode.Uri.from(mergeParts(open.number, at, side, open.conflicts[at]?.path ?? ''));
  }

  private async show(open: Merging, at: number): Promise<void> {
    const conflict = open.conflicts[at];
    if (conflict === undefined) return;
    if (!isTextConflict(conflict)) {
      await this.askSide(open, at, conflict);
      return;
    }
    const [base, current, incoming, result] = (['base', 'current', 'incoming', 'result'] as const).map(
      (side) => this.uri(open, at, side),
    );
    const isEdit = open.purpose.kind === 'edit';
    const known = await vscode.commands.getCommands(false);
    if (known.includes(openMergeEditor)) {
      await vscode.commands.executeCommand(openMergeEditor, {
        base,
        input1: {
          uri: current,
          title: 'Yours',
          description: isEdit ? 'your edit' : 'in your repository now',
          detail: '',
        },
        input2: {
          uri: incoming,
          title: "The Task's",
          description: isEdit ? 'its new version' : 'what you accepted',
          detail: '',
        },
        output: result,
      });
      return;
    }
    // Without it: both sides beside each other, and the result with the markers of git below.
    await vscode.commands.executeCommand(
      'vscode.diff',
      current,
      incoming,
      `${shownPath(conflict.path)}: Yours ↔ The Task's`,
    );
    if (result !== undefined)
      await vscode.window.showTextDocument(result, { viewColumn: vscode.ViewColumn.Beside, preview: false });
  }

  /** What cannot be merged by lines is one side or the other. */
  private async askSide(
    open: Merging,
    at: number,
    { path, current, incoming }: MergeConflict,
  ): Promise<void> {
    const words = (content: Uint8Array | undefined): string =>
      content === undefined ? 'The file is deleted.' : `${plural(content.length, 'byte')}.`;
    const picked = await vscode.window.showQuickPick(
      [
        { label: 'Keep Yours', detail: words(current), content: current },
        { label: "Take the Task's", detail: words(incoming), content: incoming },
      ],
      {
        title: `${shownPath(path)} Cannot Be Merged by Lines`,
        placeHolder: 'Both have changed it. Nothing is written before every file is merged.',
        ignoreFocusOut: true,
      },
    );
    if (picked === undefined || this.open !== open) return;
    open.results.set(at, picked.content ?? null);
    open.done.add(at);
    await this.kept.result(open, at);
    if (this.waiting.length > 0) await this.next();
    else if (open.purpose.kind === 'edit') await this.finish();
    else await vscode.commands.executeCommand('sallyport.review.finishAccept');
  }

  private async end(): Promise<void> {
    this.open = undefined;
    this.isMerging(false);
    await this.kept.end();
    const stale = vscode.window.tabGroups.all
      .flatMap(({ tabs }) => tabs)
      .filter(({ input }) => urisOf(input).some(({ scheme }) => scheme === mergeScheme));
    if (stale.length > 0) await vscode.window.tabGroups.close(stale);
  }
}

function beginWords({ conflicts, purpose }: Merging): string {
  const names = conflicts.slice(0, 3).map(({ path }) => shownPath(path));
  if (purpose.kind === 'edit')
    return `You and the task have both changed ${names.join(', ')}. Your edit stays as it is before you have completed the merge.`;
  const more = conflicts.length > 3 ? ` and ${plural(conflicts.length - 3, 'more file', 'more files')}` : '';
  return `You and the task have both changed ${names.join(', ')}${more}. Nothing is written before you have merged ${conflicts.length === 1 ? 'it' : 'them'}: complete each file, then choose Finish Accept.`;
}

function reloadWords({ purpose }: Merging): string {
  return purpose.kind === 'edit'
    ? 'The merge of your edit goes on where it was.'
    : 'The merge of an accept goes on where it was.';
}

function finishWord({ purpose }: Merging): string {
  return purpose.kind === 'edit' ? 'Finish Merge' : 'Finish Accept';
}

function cancelWord({ purpose }: Merging): string {
  return purpose.kind === 'edit' ? 'Cancel Merge' : 'Cancel Accept';
}

async function closeTabsOf(uri: vscode.Uri): Promise<void> {
  const tabs = vscode.window.tabGroups.all
    .flatMap((group) => group.tabs)
    .filter(({ input }) => urisOf(input).some((one) => one.toString() === uri.toString()));
  if (tabs.length > 0) await vscode.window.tabGroups.close(tabs);
}

function urisOf(input: unknown): vscode.Uri[] {
  if (input instanceof vscode.TabInputText) return [input.uri];
  if (input instanceof vscode.TabInputTextDiff) return [input.original, input.modified];
  return [];
}
