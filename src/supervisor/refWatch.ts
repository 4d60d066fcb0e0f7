import { watch, type FSWatcher } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disposable } from '../base/disposable.ts';

/** Names in `.git` itself that tell of a ref; the rest (index, lock files) changes with every command. */
const telling = new Set(['HEAD', 'packed-refs', 'refs', 'logs', 'worktrees']);

/** Watches the folders in which git keeps refs and reflogs. Hooks could be switched off; this cannot. */
export class RefWatch implements Disposable {
  private readonly gitDir: string;
  private readonly onChange: () => void;
  private readonly watchers = new Map<string, { inode: number; watcher: FSWatcher }>();
  private disposed = false;

  constructor(gitDir: string, onChange: () => void) {
    this.gitDir = gitDir;
    this.onChange = onChange;
  }

  /**
   * Watches folders that are new, and no longer those that are gone. Resolves to false when not everything could be
   * watched (the kernel's limit of watches).
   */
  async sync(): Promise<boolean> {
    const folders = [
      this.gitDir,
      ...(await foldersFrom(join(this.gitDir, 'refs'))),
      ...(await foldersFrom(join(this.gitDir, 'logs'))),
      ...(await foldersFrom(join(this.gitDir, 'worktrees'))),
    ];
    const inodes = new Map<string, number>();
    for (const folder of folders) {
      const found = await stat(folder).catch(() => undefined);
      if (found !== undefined) inodes.set(folder, found.ino);
    }
    if (this.disposed) return true;
    for (const [folder, { inode, watcher }] of this.watchers) {
      if (inodes.get(folder) === inode) continue;
      watcher.close();
      this.watchers.delete(folder);
    }
    let complete = true;
    for (const [folder, inode] of inodes) {
      if (!this.watchers.has(folder) && !this.add(folder, inode)) complete = false;
    }
    return complete;
  }

  private add(folder: string, inode: number): boolean {
    try {
      const watcher = watch(folder, (_, name) => {
        if (name === null || (folder === this.gitDir ? telling.has(name) : !name.endsWith('.lock')))
          this.onChange();
      });
      watcher.on('error', () => {
        watcher.close();
        if (this.watchers.get(folder)?.watcher === watcher) this.watchers.delete(folder);
      });
      this.watchers.set(folder, { inode, watcher });
      return true;
    } catch {
      return false;
    }
  }

  dispose(): void {
    this.disposed = true;
    for (const { watcher } of this.watchers.values()) watcher.close();
    this.watchers.clear();
  }
}

async function foldersFrom(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => undefined);
  if (entries === undefined) return [];
  return [
    folder,
    ...entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name)),
  ];
}
