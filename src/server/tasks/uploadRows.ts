import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';

const Stored = z.object({
  id: z.string(),
  user: z.string(),
  repository: z.string(),
  sha: z.string(),
  bytes: z.number(),
  sha256: z.string(),
  complete: z.number(),
  touched_at: z.number(),
});
/** An upload, as the store has it. Times are in milliseconds since the epoch. */
export type Upload = z.infer<typeof Stored>;

/** The uploads of a server, in its store. */
export class UploadRows {
  private readonly store: DatabaseSync;
  private readonly now: () => number;

  constructor(store: DatabaseSync, now: () => number) {
    this.store = store;
    this.now = now;
  }

  /** Begun now. */
  insert(upload: Omit<Upload, 'touched_at'>, repositoryName: string): Upload {
    const { id, user, repository, sha, bytes, sha256, complete } = upload;
    const touched_at = this.now();
    this.store
      .prepare(
        'INSERT INTO uploads (id, user, repository, name, sha, bytes, sha256, complete, touched_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      )
      .run(id, user, repository, repositoryName, sha, bytes, sha256, complete, touched_at);
    return { ...upload, touched_at };
  }

  all(): Upload[] {
    return this.select('1 = 1');
  }

  get(id: string): Upload | undefined {
    return this.select('id = ?', id)[0];
  }

  ofCommit(user: string, repository: string, sha: string): Upload[] {
    return this.select('user = ? AND repository = ? AND sha = ?', user, repository, sha);
  }

  /** What a user has begun and not finished. */
  begun(user: string): Upload[] {
    return this.select('user = ? AND complete = 0', user);
  }

  complete(): Upload[] {
    return this.select('complete = 1');
  }

  /** Somebody goes on with it. */
  touch(id: string): void {
    this.store.prepare('UPDATE uploads SET touched_at = ? WHERE id = ?').run(this.now(), id);
  }

  finish(id: string): void {
    this.store.prepare('UPDATE uploads SET complete = 1, touched_at = ? WHERE id = ?').run(this.now(), id);
  }

  delete(id: string): void {
    this.store.prepare('DELETE FROM uploads WHERE id = ?').run(id);
  }

  private select(where: string, ...values: string[]): Upload[] {
    const rows = this.store
      .prepare(`SELECT * FROM uploads WHERE ${where} ORDER BY touched_at`)
      .all(...values);
    return rows.map((row) => Stored.parse(row));
  }
}
