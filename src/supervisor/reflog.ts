import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A commit that a reflog says somebody made or went to. */
export interface ReflogEntry {
  sha: string;
  /** Undefined in the log of HEAD, and where a branch begins: its first commit was mostly made elsewhere. */
  branch?: string;
}

/** Reads what was appended to reflogs since the last time, so that a commit that was amended at once is seen too. */
export class ReflogReader {
  private readonly gitDir: string;
  private readonly positions = new Map<string, { inode: number; offset: number }>();
  private held: ReflogEntry[] = [];

  constructor(gitDir: string) {
    this.gitDir = gitDir;
  }

  /** True when the last reading kept something back for the next. */
  get holds(): boolean {
    return this.held.length > 0;
  }

  /**
   * What is new. git writes a commit into the log of HEAD first and then into that of its branch, so what no branch has
   * claimed yet is kept back for one reading.
   */
  async read(): Promise<ReflogEntry[]> {
    const named: ReflogEntry[] = [];
    const unnamed: ReflogEntry[] = [];
    const heads = join(this.gitDir, 'logs', 'refs', 'heads');
    for (const path of await filesBelow(heads)) {
      const branch = path.slice(heads.length + 1);
      for (const { sha, begins } of await this.appended(path)) {
        if (begins) unnamed.push({ sha });
        else named.push({ sha, branch });
      }
    }
    const worktrees = join(this.gitDir, 'worktrees');
    const owners = [this.gitDir, ...(await names(worktrees)).map((name) => join(worktrees, name))];
    for (const owner of owners) {
      for (const { sha } of await this.appended(join(owner, 'logs', 'HEAD'))) unnamed.push({ sha });
    }
    const entries = [...this.held, ...named];
    const claimed = new Set(entries.map(({ sha }) => sha));
    this.held = unnamed.filter(({ sha }) => !claimed.has(sha));
    return entries;
  }

  private async appended(path: string): Promise<ReflogLine[]> {
    try {
      const { ino: inode, size } = await stat(path);
      const known = this.positions.get(path);
      // A log that was rewritten is read again from its start: what is known already does no harm.
      const from = known !== undefined && known.inode === inode && known.offset <= size ? known.offset : 0;
      if (from === size) return [];
      const file = await open(path);
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
        const text = buffer.toString('latin1', 0, bytesRead);
        // A line that is still being written is left for the next time.
        const end = text.lastIndexOf('\n') + 1;
        this.positions.set(path, { inode, offset: from + end });
        return parseReflog(text.slice(0, end));
      } finally {
        await file.close();
      }
    } catch {
      return [];
    }
  }
}

interface ReflogLine {
  sha: string;
  /** There was no value before. */
  begins: boolean;
}

/** The new values of a reflog's lines, oldest first, without deletions. */
export function parseReflog(text: string): ReflogLine[] {
  const lines: ReflogLine[] = [];
  for (const [, before = '', sha = ''] of text.matchAll(
    /^([0-9a-f]{40,64}) ([0-9a-f]{40}|[0-9a-f]{64}) /gm,
  )) {
    if (!/^0+$/.test(sha)) lines.push({ sha, begins: /^0+$/.test(before) });
  }
  return lines;
}

/** All files below a folder, by path; none where there is no such folder. Links are not followed. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** The names in a folder; none where there is no such folder. */
export async function names(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => []);
}
