import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { Role, type UserView } from '../../protocol/runnerApi.ts';
import { notFound } from '../http/problem.ts';
import { atomically } from '../store.ts';
import { randomId } from './secretText.ts';

const Row = z.object({
  id: z.string(),
  login: z.string(),
  name: z.string(),
  role: Role,
  password: z.nullable(z.string()),
  github_id: z.nullable(z.string()),
  disabled: z.number(),
  created_at: z.number(),
  last_seen_at: z.nullable(z.number()),
});
export type UserRow = z.infer<typeof Row>;

interface NewUser {
  login: string;
  name?: string | undefined;
  role: Role;
  /** The hash. */
  password?: string | undefined;
  githubId?: string | undefined;
}

/** How far behind `last_seen_at` may be, in milliseconds. */
const seenEveryMs = 60_000;

/** The users of the server. There is always an administrator who is not disabled, once there was one. */
export class Users {
  private readonly store: DatabaseSync;
  private readonly now: () => number;
  private administered = false;

  constructor(store: DatabaseSync, now: () => number) {
    this.store = store;
    this.now = now;
  }

  hasAdministrator(): boolean {
    this.administered ||= this.administratorsBut('') > 0;
    return this.administered;
  }

  byId(id: string): UserRow | undefined {
    return this.one('id', id);
  }

  /** @param login in lower case */
  byLogin(login: string): UserRow | undefined {
    return this.one('login', login);
  }

  byGithubId(id: string): UserRow | undefined {
    return this.one('github_id', id);
  }

  list(): UserRow[] {
    return this.store
      .prepare('SELECT * FROM users ORDER BY login')
      .all()
      .map((row) => Row.parse(row));
  }

  /** Throws `conflict` for a login that is in use. */
  create({ login, name, role, password, githubId }: NewUser): UserRow {
    if (this.byLogin(login) !== undefined) {
      throw new SallyportError('conflict', `There is a user ${login} already.`, 'Choose another login.');
    }
    const id = randomId();
    this.store
      .prepare(
        'INSERT INTO users (id, login, name, role, password, github_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(id, login, name ?? login, role, password ?? null, githubId ?? null, this.now());
    return this.get(id);
  }

  /** The first administrator; undefined when there is one, also where two ask at the same moment. */
  createFirst(user: Omit<NewUser, 'role'>): UserRow | undefined {
    return atomically(this.store, () =>
      this.hasAdministrator() ? undefined : this.create({ ...user, role: 'admin' }),
    );
  }

  /** Throws `not_found`; `conflict` when nobody could administer the server any more. */
  change(
    id: string,
    change: { name?: string | undefined; role?: Role | undefined; disabled?: boolean | undefined },
  ): UserRow {
    return atomically(this.store, () => {
      const user = this.get(id);
      const role = change.role ?? user.role;
      const disabled = change.disabled ?? user.disabled !== 0;
      if (role !== 'admin' || disabled) this.keepAdministrator(user);
      this.store
        .prepare('UPDATE users SET name = ?, role = ?, disabled = ? WHERE id = ?')
        .run(change.name ?? user.name, role, disabled ? 1 : 0, id);
      return this.get(id);
    });
  }

  setPassword(id: string, hash: string): void {
    this.store.prepare('UPDATE users SET password = ? WHERE id = ?').run(hash, id);
  }

  /**
   * Removes a user with all sessions and tokens. Throws `not_found`; `conflict` for one whom tasks belong to, because
   * those would be nobody's, and for the last administrator.
   */
  remove(id: string): UserRow {
    return atomically(this.store, () => {
      const user = this.get(id);
      this.keepAdministrator(user);
      const count = this.store.prepare('SELECT count(*) AS n FROM tasks WHERE owner = ?').get(id)?.['n'];
      const tasks = Number(count ?? 0);
      if (tasks > 0) {
        throw new SallyportError(
          'conflict',
          `${tasks === 1 ? 'One task belongs' : `${tasks} tasks belong`} to ${user.login}.`,
          'Disable the user instead, which ends at once all that they may do; or remove the tasks first.',
        );
      }
      this.store.prepare('DELETE FROM users WHERE id = ?').run(id);
      return user;
    });
  }

  seen(user: UserRow): void {
    const now = this.now();
    if (user.last_seen_at !== null && Math.abs(now - user.last_seen_at) < seenEveryMs) return;
    this.store.prepare('UPDATE users SET last_seen_at = ? WHERE id = ?').run(now, user.id);
  }

  /** Throws `not_found`. */
  get(id: string): UserRow {
    const user = this.byId(id);
    if (user === undefined) throw notFound('such user');
    return user;
  }

  private one(column: 'id' | 'login' | 'github_id', value: string): UserRow | undefined {
    const row = this.store.prepare(`SELECT * FROM users WHERE ${column} = ?`).get(value);
    return row === undefined ? undefined : Row.parse(row);
  }

  private keepAdministrator(user: UserRow): void {
    if (user.role !== 'admin' || user.disabled !== 0 || this.administratorsBut(user.id) > 0) return;
    throw new SallyportError(
      'conflict',
      'This is the last administrator.',
      'Make another user administrator first.',
    );
  }

  private administratorsBut(id: string): number {
    const sql = "SELECT count(*) AS n FROM users WHERE role = 'admin' AND disabled = 0 AND id <> ?";
    return Number(this.store.prepare(sql).get(id)?.['n'] ?? 0);
  }
}

export function viewOfUser(row: UserRow): UserView {
  const { id, login, name, role, disabled, created_at, last_seen_at } = row;
  return {
    id,
    login,
    name,
    role,
    disabled: disabled !== 0,
    createdAt: created_at,
    ...(last_seen_at === null ? {} : { lastSeenAt: last_seen_at }),
  };
}
