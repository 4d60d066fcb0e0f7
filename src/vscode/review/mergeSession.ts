import * as vscode from 'vscode';
import * as z from 'zod/mini';
import { DisposableStore } from '../../base/disposable.ts';
import { SallyportError } from '../../base/errors.ts';
import { plural } from '../../protocol/words.ts';
import type { MergeConflict } from '../../runner/review/taskReview.ts';
import { shownPath } from '../view/reviewUri.ts';
import { isTextConflict, type MergeSide, mergeParts, mergeScheme, parseMerge } from '../view/reviewMerge.ts';
import type { Announcer } from './announcer.ts';

/** VS Code's own command behind the merge editor of its git extension. */
const openMergeEditor = '_open.mergeEditor';
/** What its own *Complete Merge* does; gives nothing where another editor is in front. */
const completeInEditor = 'mergeEditor.acceptMerge';
const Completion = z.object({ successful: z.boolean() });

interface Open {
  number: number;
  conflicts: readonly MergeConflict[];
  /** What the user made of each, by its place; `null` is no file. */
  results: Map<number, Uint8Array | null>;
  done: Set<number>;
  finish: (merged: ReadonlyMap<string, Uint8Array | undefined>) => Promise<unknown>;
}

/**
 * The merge of what the user and the task have both changed: each file in VS Code's merge editor, on documents of ours, until
 * all are done. Only then is anything written; there is at most one such merge at a time.
 */
export class MergeSessions implements vscode.FileSystemProvider, vscode.Disposable {
  private readonly announcer: Announcer;
  private readonly store = new DisposableStore();
  private readonly changes = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.changes.event;
  private open: Open | undefined;
  private count = 0;
  private saves = 0;

  constructor(announcer: Announcer) {
    this.announcer = announcer;
    this.store.add(this.changes);
  }

  register(): vscode.Disposable {
    return vscode.workspace.registerFileSystemProvider(mergeScheme, this, { isCaseSensitive: true });
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

  /** Begins a merge, and opens its first file. One that was begun before is given up: nothing of it was written. */
  async begin(conflicts: readonly MergeConflict[], finish: Open['finish']): Promise<void> {
    await this.cancel();
    this.count += 1;
    this.open = { number: this.count, conflicts, results: new Map(), done: new Set(), finish };
    await vscode.commands.executeCommand('setContext', 'sallyport.review.merging', true);
    const names = conflicts.slice(0, 3).map(({ path }) => shownPath(path));
    const more =
      conflicts.length > 3 ? ` and ${plural(conflicts.length - 3, 'more file', 'more files')}` : '';
    void vscode.window.showInformationMessage(
      `You and the task have both changed ${names.join(', ')}${more}. Nothing is written before you have merged ${conflicts.length === 1 ? 'it' : 'them'}: complete each file, then choose Finish Accept.`,
    );
    await this.next();
  }

  /** Opens the next file that is not merged. */
  async next(): Promise<void> {
    const { open } = this;
    const at = open?.conflicts.findIndex((_, index) => !open.done.has(index)) ?? -1;
    if (open !== undefined && at !== -1) await this.show(open, at);
  }

  /** The file of the merge editor in front is as the user wants it. */
  async complete(uri: vscode.Uri | undefined): Promise<void> {
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
    const bytes = this.readFile(result);
    if (/^(<{7}|>{7})( |$)/m.test(new TextDecoder().decode(bytes))) {
      throw new SallyportError(
        'conflict',
        'Conflict markers are left in this file.',
        'Choose what is to stay at each of them, then complete it again.',
      );
    }
    open.results.set(address.at, bytes);
    open.done.add(address.at);
    if (!ended.success) await closeTabsOf(result);
    const left = this.waiting.length;
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
    const merged = new Map<string, Uint8Array | undefined>();
    for (const [at, { path }] of open.conflicts.entries())
      merged.set(path, open.results.get(at) ?? undefined);
    const outcome = await open.finish(merged);
    // What changed meanwhile has begun another merge; that one stays.
    if (this.open === open) await this.end();
    return outcome;
  }

  /** Gives it up; nothing was written. */
  async cancel(): Promise<void> {
    if (this.open === undefined) return;
    await this.end();
    this.announcer.say('The accept is cancelled. Nothing was changed.');
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  stat(uri: vscode.Uri): vscode.FileStat {
    const { bytes, side } = this.find(uri);
    return {
      type: vscode.FileType.File,
      ctime: 0,
      mtime: this.saves,
      size: bytes.length,
      ...(side === 'result' ? {} : { permissions: vscode.FilePermission.Readonly }),
    };
  }

  readFile(uri: vscode.Uri): Uint8Array {
    return this.find(uri).bytes;
  }

  writeFile(uri: vscode.Uri, content: Uint8Array): void {
    const { open, at, side } = this.find(uri);
    if (side !== 'result') throw vscode.FileSystemError.NoPermissions('This side of a merge is read-only.');
    this.saves += 1;
    open.results.set(at, content);
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

  private current(): Open {
    if (this.open !== undefined) return this.open;
    throw new SallyportError('invalid_input', 'No merge is under way.', 'Accept something first.');
  }

  private find(uri: vscode.Uri): { open: Open; at: number; side: MergeSide; bytes: Uint8Array } {
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

  private uri(open: Open, at: number, side: MergeSide): vscode.Uri {
    return vscode.Uri.from(mergeParts(open.number, at, side, open.conflicts[at]?.path ?? ''));
  }

  private async show(open: Open, at: number): Promise<void> {
    const conflict = open.conflicts[at];
    if (conflict === undefined) return;
    if (!isTextConflict(conflict)) {
      await this.askSide(open, at, conflict);
      return;
    }
    const [base, current, incoming, result] = (['base', 'current', 'incoming', 'result'] as const).map(
      (side) => this.uri(open, at, side),
    );
    const known = await vscode.commands.getCommands(false);
    if (known.includes(openMergeEditor)) {
      await vscode.commands.executeCommand(openMergeEditor, {
        base,
        input1: { uri: current, title: 'Yours', description: 'in your repository now', detail: '' },
        input2: { uri: incoming, title: "The Task's", description: 'what you accepted', detail: '' },
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
  private async askSide(open: Open, at: number, { path, current, incoming }: MergeConflict): Promise<void> {
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
    if (this.waiting.length > 0) await this.next();
    else await vscode.commands.executeCommand('sallyport.review.finishAccept');
  }

  private async end(): Promise<void> {
    this.open = undefined;
    await vscode.commands.executeCommand('setContext', 'sallyport.review.merging', false);
    const stale = vscode.window.tabGroups.all
      .flatMap(({ tabs }) => tabs)
      .filter(({ input }) => urisOf(input).some(({ scheme }) => scheme === mergeScheme));
    if (stale.length > 0) await vscode.window.tabGroups.close(stale);
  }
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
