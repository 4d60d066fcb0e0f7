import * as vscode from 'vscode';
import { DisposableStore } from '../../base/disposable.ts';
import type { ReviewFile, ReviewState } from '../../protocol/review.ts';
import { hasSide, parseReview, type ReviewAddress, reviewScheme } from '../view/reviewUri.ts';
import type { ReviewChange, Reviews } from './reviews.ts';

/** Documents that are followed; an editor that is open asks for its own again. */
const followed = 500;
/** Bytes that are kept: an editor asks for the size and then for the content. */
const keptBytes = 16 << 20;

const submodule = '160000';
const link = '120000';

interface Shown {
  uri: vscode.Uri;
  address: ReviewAddress;
  /** What the content depends on. */
  made: string;
  /** Grows with each change. Not a time: only that it grows matters to VS Code, and it has to be the same after a reload. */
  mtime: number;
  bytes: Uint8Array | undefined;
}

/**
 * The right side of a review as documents that can be written: reading gives the task's file without what is rejected,
 * saving is an answer to the task. So the editor's own means to take a hunk back, to type and to undo are those of the
 * review. An editor with unsaved changes is never written over: VS Code asks when both have changed.
 */
export class ReviewFileSystem implements vscode.FileSystemProvider, vscode.Disposable {
  private readonly reviews: Reviews;
  private readonly onProblem: (thrown: unknown) => void;
  private readonly store = new DisposableStore();
  private readonly changes = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.changes.event;
  private readonly shown = new Map<string, Shown>();

  constructor(reviews: Reviews, onProblem: (thrown: unknown) => void) {
    this.reviews = reviews;
    this.onProblem = onProblem;
    this.store.add(this.changes);
    this.store.add(
      reviews.onDidChange((change) => {
        this.follow(change).catch(this.onProblem);
      }),
    );
  }

  register(): vscode.Disposable {
    return vscode.workspace.registerFileSystemProvider(reviewScheme, this, { isCaseSensitive: true });
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    const address = addressOf(uri);
    if (address.file === undefined) return statOf(0, 0, true);
    const { file, shown } = await this.find(uri, address);
    const bytes = await this.read(file, shown);
    return statOf(shown.mtime, bytes.length, isFixed(file));
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const address = addressOf(uri);
    if (address.file === undefined) return new Uint8Array();
    const { file, shown } = await this.find(uri, address);
    return await this.read(file, shown);
  }

  async writeFile(uri: vscode.Uri, content: Uint8Array): Promise<void> {
    const address = addressOf(uri);
    if (address.file === undefined) throw vscode.FileSystemError.NoPermissions('There is no file here.');
    const { file, shown } = await this.find(uri, address);
    if (isFixed(file))
      throw vscode.FileSystemError.NoPermissions('Only the content of a text file can be edited here.');
    try {
      const review = await this.reviews.of(address.id);
      await review.edit(address.scope, file.id, content);
      const { diff, state } = await this.reviews.load(address.id, address.scope);
      const now = diff.files.find(({ id }) => id === file.id);
      // The very bytes that were saved: what is read next must not differ from what the editor holds.
      Object.assign(shown, {
        made: now === undefined ? 'gone' : madeOf(now, state),
        mtime: shown.mtime + 1,
        bytes: content,
      });
    } catch (thrown) {
      throw unavailable(thrown);
    }
  }

  readDirectory(): never {
    throw vscode.FileSystemError.NoPermissions('There are no folders here.');
  }
  createDirectory(): never {
    throw refused();
  }
  delete(): never {
    throw refused();
  }
  rename(): never {
    throw refused();
  }

  dispose(): void {
    this.store.dispose();
    this.shown.clear();
  }

  private async find(uri: vscode.Uri, address: ReviewAddress): Promise<{ file: ReviewFile; shown: Shown }> {
    const key = uri.toString();
    try {
      const { diff, state } = await this.reviews.load(address.id, address.scope);
      const file = diff.files.find(({ id }) => id === address.file);
      if (file === undefined) throw vscode.FileSystemError.FileNotFound(uri);
      const made = madeOf(file, state);
      const known = this.shown.get(key);
      const least = state.lastEvent * 1000 + diff.files.length;
      const shown: Shown =
        known === undefined
          ? { uri, address, made, mtime: least, bytes: undefined }
          : known.made === made
            ? known
            : { ...known, made, mtime: Math.max(known.mtime + 1, least), bytes: undefined };
      this.shown.delete(key);
      this.shown.set(key, shown);
      for (const oldest of this.shown.keys()) {
        if (this.shown.size <= followed) break;
        this.shown.delete(oldest);
      }
      return { file, shown };
    } catch (thrown) {
      if (thrown instanceof vscode.FileSystemError) throw thrown;
      throw unavailable(thrown);
    }
  }

  private async read(file: ReviewFile, shown: Shown): Promise<Uint8Array> {
    if (shown.bytes !== undefined) return shown.bytes;
    const { id, scope } = shown.address;
    let bytes: Uint8Array;
    if (file.newMode === submodule) bytes = new TextEncoder().encode(`Submodule at commit ${file.newBlob}\n`);
    else if (isGone(file, this.reviews.stateNow(id))) bytes = new Uint8Array();
    else {
      try {
        bytes = await (await this.reviews.of(id)).content(scope, file.id);
      } catch (thrown) {
        throw unavailable(thrown);
      }
    }
    shown.bytes = bytes;
    let kept = 0;
    for (const one of [...this.shown.values()].reverse()) {
      kept += one.bytes?.length ?? 0;
      if (kept > keptBytes && one !== shown) one.bytes = undefined;
    }
    return bytes;
  }

  /** Tells editors of the documents whose content is another one now. */
  private async follow({ id }: ReviewChange): Promise<void> {
    const events: vscode.FileChangeEvent[] = [];
    for (const shown of [...this.shown.values()]) {
      if (shown.address.id !== id) continue;
      const { diff, state } = await this.reviews.load(id, shown.address.scope);
      const file = diff.files.find((one) => one.id === shown.address.file);
      const made = file === undefined ? 'gone' : madeOf(file, state);
      if (made === shown.made) continue;
      Object.assign(shown, { made, mtime: shown.mtime + 1, bytes: undefined });
      events.push({ type: vscode.FileChangeType.Changed, uri: shown.uri });
    }
    if (events.length > 0) this.changes.fire(events);
  }
}

function addressOf(uri: vscode.Uri): ReviewAddress {
  const address = parseReview(uri.authority, uri.query);
  if (address === undefined) throw vscode.FileSystemError.FileNotFound(uri);
  return address;
}

/** What the content of a document depends on: the task's file (or the user's in its place), and what is rejected of it. */
function madeOf(file: ReviewFile, state: ReviewState): string {
  const rejected = file.parts.filter(({ id }) => state.verdicts[id] === 'rejected').map(({ id }) => id);
  return [file.newBlob, file.newMode, ...rejected].join(' ');
}

/** True where the task deletes the file, and the user lets it. */
function isGone(file: ReviewFile, state: ReviewState | undefined): boolean {
  return !hasSide(file.newBlob) && file.parts.every(({ id }) => state?.verdicts[id] !== 'rejected');
}

/** True for what is no text that could be edited. */
function isFixed(file: ReviewFile): boolean {
  return file.binary || !hasSide(file.newBlob) || [submodule, link].some((mode) => file.newMode === mode);
}

function statOf(mtime: number, size: number, fixed: boolean): vscode.FileStat {
  return {
    type: vscode.FileType.File,
    ctime: 0,
    mtime,
    size,
    ...(fixed ? { permissions: vscode.FilePermission.Readonly } : {}),
  };
}

function unavailable(thrown: unknown): vscode.FileSystemError {
  return vscode.FileSystemError.Unavailable(thrown instanceof Error ? thrown.message : String(thrown));
}

function refused(): vscode.FileSystemError {
  return vscode.FileSystemError.NoPermissions('A review has no files to make, move or delete.');
}
