import * as vscode from 'vscode';
import type { Tasks } from './tasks.ts';
import { blobScheme, parseBlob } from './view/blobUri.ts';

/** Bytes that are kept: an editor asks for the size and then for the content. */
const cacheBytes = 32 << 20;

/**
 * Files of tasks as read-only documents, straight from the quarantine. Nothing of them is ever written to the user's
 * disk. Bytes, not text, so that images show too.
 */
export class BlobFileSystem implements vscode.FileSystemProvider {
  private readonly tasks: Tasks;
  private readonly cache = new Map<string, Uint8Array>();
  private cached = 0;
  // A blob never changes.
  readonly onDidChangeFile: vscode.Event<vscode.FileChangeEvent[]> = () =>
    new vscode.Disposable(() => undefined);

  constructor(tasks: Tasks) {
    this.tasks = tasks;
  }

  register(): vscode.Disposable {
    return vscode.workspace.registerFileSystemProvider(blobScheme, this, {
      isCaseSensitive: true,
      isReadonly: true,
    });
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    const bytes = await this.readFile(uri);
    return {
      type: vscode.FileType.File,
      ctime: 0,
      mtime: 0,
      size: bytes.length,
      permissions: vscode.FilePermission.Readonly,
    };
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const address = parseBlob(uri.authority, uri.query);
    if (address === undefined) throw vscode.FileSystemError.FileNotFound(uri);
    if (address.kind === 'submodule') return new TextEncoder().encode(`Submodule at commit ${address.oid}\n`);
    const key = `${address.id}/${address.oid}`;
    const known = this.cache.get(key);
    if (known !== undefined) return known;
    try {
      const service = await this.tasks.open();
      const bytes = await service.blob(address.id, address.oid);
      this.keep(key, bytes);
      return bytes;
    } catch (thrown) {
      throw vscode.FileSystemError.Unavailable(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  readDirectory(): never {
    throw vscode.FileSystemError.NoPermissions('There are no folders here.');
  }
  createDirectory(): never {
    throw readOnly();
  }
  writeFile(): never {
    throw readOnly();
  }
  delete(): never {
    throw readOnly();
  }
  rename(): never {
    throw readOnly();
  }

  private keep(key: string, bytes: Uint8Array): void {
    this.cache.set(key, bytes);
    this.cached += bytes.length;
    for (const [oldest, old] of this.cache) {
      if (this.cached <= cacheBytes) return;
      this.cache.delete(oldest);
      this.cached -= old.length;
    }
  }
}

function readOnly(): vscode.FileSystemError {
  return vscode.FileSystemError.NoPermissions('What a task made is read-only here.');
}
