import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';
import type { AuditPage } from '../../protocol/accounts.ts';
import type { Audit } from '../context.ts';

const Row = z.object({
  n: z.number(),
  at: z.number(),
  user: z.nullable(z.string()),
  login: z.nullable(z.string()),
  address: z.string(),
  action: z.string(),
  subject: z.string(),
  detail: z.string(),
});

/** Entries that are kept; and how many more there may be before the oldest go. */
const kept = 100_000;
const slack = 500;

/** The audit log: who did what, from where. */
export class AuditLog implements Audit {
  private readonly store: DatabaseSync;
  private readonly now: () => number;
  private readonly kept: number;

  constructor(store: DatabaseSync, now: () => number, most = kept) {
    this.store = store;
    this.now = now;
    this.kept = most;
  }

  record({ user, address, action, subject, detail }: Parameters<Audit['record']>[0]): void {
    // The login is written down as it is now, so that it can be read when the user is gone.
    const { lastInsertRowid } = this.store
      .prepare(
        `INSERT INTO audit (at, user, login, address, action, subject, detail)
         VALUES (?1, ?2, (SELECT login FROM users WHERE id = ?2), ?3, ?4, ?5, ?6)`,
      )
      .run(
        this.now(),
        user ?? null,
        clean(address, 100),
        clean(action, 100),
        clean(subject ?? '', 300),
        clean(detail ?? '', 1000),
      );
    const n = Number(lastInsertRowid);
    if (n % Math.min(slack, this.kept) === 0) {
      this.store.prepare('DELETE FROM audit WHERE n <= ?').run(n - this.kept);
    }
  }

  /** Newest first; `next` is what to ask for as `before`. */
  list({ before, limit }: { before?: number | undefined; limit: number }): AuditPage {
    const rows = this.store
      .prepare('SELECT * FROM audit WHERE n < ? ORDER BY n DESC LIMIT ?')
      .all(before ?? Number.MAX_SAFE_INTEGER, limit + 1)
      .map((row) => Row.parse(row));
    const entries = rows.slice(0, limit).map(({ user, login, ...rest }) => ({
      ...rest,
      ...(user === null ? {} : { user }),
      ...(login === null ? {} : { login }),
    }));
    const last = entries.at(-1)?.n;
    return { entries, ...(rows.length > limit && last !== undefined ? { next: last } : {}) };
  }
}

export function createAudit(store: DatabaseSync, now: () => number): AuditLog {
  return new AuditLog(store, now);
}

/** Text of one line, that no terminal obeys. */
function clean(text: string, most: number): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ').slice(0, most);
}
