import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';
import { digestOf, randomId, randomText } from './secretText.ts';

const Row = z.object({
  id: z.string(),
  user: z.string(),
  created_at: z.number(),
  expires_at: z.number(),
  last_seen_at: z.number(),
  agent: z.string(),
});
export type SessionRow = z.infer<typeof Row>;

const columns = 'id, user, created_at, expires_at, last_seen_at, agent';
/** A session that nobody uses ends after this part of its life. */
const idlePart = 1 / 4;
const touchEveryMs = 60_000;
const maxPerUser = 100;

/**
 * Sessions of browsers. Only the hash of what the cookie holds is stored. A session ends `sessionMs` after the sign-in at
 * the latest, and a quarter of that after it was last used.
 */
export class Sessions {
  private readonly store: DatabaseSync;
  private readonly sessionMs: number;
  private readonly now: () => number;

  constructor(store: DatabaseSync, sessionMs: number, now: () => number) {
    this.store = store;
    this.sessionMs = sessionMs;
    this.now = now;
  }

  /** Always a new one, whatever the browser had shown. @returns its id, and the secret for the cookie */
  start(user: string, agent: string): { id: string; secret: string } {
    const [id, secret, now] = [randomId(), randomText(), this.now()];
    this.store.prepare('DELETE FROM sessions WHERE expires_at <= ?').run(now);
    this.store
      .prepare(
        'DELETE FROM sessions WHERE user = ?1 AND id NOT IN (SELECT id FROM sessions WHERE user = ?1 ORDER BY last_seen_at DESC LIMIT ?2)',
      )
      .run(user, maxPerUser - 1);
    this.store
      .prepare(`INSERT INTO sessions (hash, ${columns}) VALUES (?, ?, ?, ?, ?, ?, ?)`)
      .run(digestOf(secret), id, user, now, this.expiry(now, now), now, cleanAgent(agent));
    return { id, secret };
  }

  /** The session of that cookie, if it is good; it is kept going by that. */
  find(secret: string): SessionRow | undefined {
    const session = this.valid('hash', digestOf(secret));
    if (session === undefined) return undefined;
    const now = this.now();
    if (now - session.last_seen_at < touchEveryMs) return session;
    const expires_at = this.expiry(session.created_at, now);
    this.store
      .prepare('UPDATE sessions SET last_seen_at = ?, expires_at = ? WHERE id = ?')
      .run(now, expires_at, session.id);
    return { ...session, last_seen_at: now, expires_at };
  }

  byId(id: string): SessionRow | undefined {
    return this.valid('id', id);
  }

  list(user: string): SessionRow[] {
    const sql = `SELECT ${columns} FROM sessions WHERE user = ? AND expires_at > ? ORDER BY last_seen_at DESC`;
    return this.store
      .prepare(sql)
      .all(user, this.now())
      .map((row) => Row.parse(row));
  }

  /** False when there is none. */
  end(id: string): boolean {
    return this.store.prepare('DELETE FROM sessions WHERE id = ?').run(id).changes > 0;
  }

  endAll(user: string, but = ''): void {
    this.store.prepare('DELETE FROM sessions WHERE user = ? AND id <> ?').run(user, but);
  }

  private expiry(createdAt: number, now: number): number {
    return Math.min(createdAt + this.sessionMs, now + this.sessionMs * idlePart);
  }

  private valid(column: 'hash' | 'id', value: string): SessionRow | undefined {
    const row = this.store.prepare(`SELECT ${columns} FROM sessions WHERE ${column} = ?`).get(value);
    if (row === undefined) return undefined;
    const session = Row.parse(row);
    return session.expires_at > this.now() ? session : undefined;
  }
}

/** What a browser calls itself is shown in lists. */
function cleanAgent(agent: string): string {
  return agent.replaceAll(/[^\x20-\x7e]/g, '').slice(0, 200);
}
