import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { type Role, Scope, scopesOf, type TokenView } from '../../protocol/runnerApi.ts';
import { digestOf, randomId, randomText } from './secretText.ts';

const Row = z.object({
  id: z.string(),
  user: z.string(),
  name: z.string(),
  prefix: z.string(),
  scopes: z.string(),
  kind: z.enum(['named', 'single']),
  created_at: z.number(),
  expires_at: z.nullable(z.number()),
  last_used_at: z.nullable(z.number()),
});
export type TokenRow = z.infer<typeof Row>;

const columns = 'id, user, name, prefix, scopes, kind, created_at, expires_at, last_used_at';
const grammar = /^slp_[A-Za-z0-9_-]{43}$/;
/** As many characters as its owner knows it by; 48 bits of its 256. */
const prefixLength = 12;
const day = 24 * 60 * 60_000;
const usedEveryMs = 60_000;
const maxPerUser = 200;

interface NewToken {
  user: string;
  role: Role;
  name: string;
  /** Reading and writing tasks, as far as the role has it, when it is not said. */
  scopes?: readonly Scope[] | undefined;
  /** 90 days when it is not said; null for never. */
  expiresAt?: number | null | undefined;
  /** `single`: the one of `POST /token/generate`, of which a user has one at most. */
  kind?: 'named' | 'single';
}

/** API tokens: `slp_` and 256 bits. The text is given out once; what is stored is its hash. */
export class Tokens {
  private readonly store: DatabaseSync;
  private readonly now: () => number;

  constructor(store: DatabaseSync, now: () => number) {
    this.store = store;
    this.now = now;
  }

  /** Throws `forbidden` for a scope that the role does not have, `invalid_input` for a time that is over, `conflict`. */
  create({ user, role, name, scopes, expiresAt, kind = 'named' }: NewToken): {
    token: string;
    row: TokenRow;
  } {
    const now = this.now();
    const wanted = scopes ?? scopesOf[role].filter((scope) => scope.startsWith('tasks:'));
    const beyond = wanted.find((scope) => !scopesOf[role].includes(scope));
    if (beyond !== undefined) {
      throw new SallyportError(
        'forbidden',
        `Your role does not have the right "${beyond}", so no token of yours can.`,
        'Leave it out, or ask an administrator.',
      );
    }
    const end = expiresAt === undefined ? now + 90 * day : expiresAt;
    if (end !== null && end <= now) {
      throw new SallyportError(
        'invalid_input',
        'The token would have expired already.',
        'Choose a later time.',
      );
    }
    if (kind === 'single') this.endSingle(user);
    this.store.prepare('DELETE FROM tokens WHERE user = ? AND expires_at <= ?').run(user, now - 30 * day);
    if (this.list(user).length >= maxPerUser) {
      throw new SallyportError(
        'conflict',
        `You have ${maxPerUser} tokens, and that is the most.`,
        'Revoke those that are not used any more.',
      );
    }
    const [id, token] = [randomId(), `slp_${randomText()}`];
    const kept = Scope.options.filter((scope) => wanted.includes(scope)).join(' ');
    this.store
      .prepare(`INSERT INTO tokens (hash, ${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)`)
      .run(digestOf(token), id, user, name, token.slice(0, prefixLength), kept, kind, now, end);
    return { token, row: this.one('id', id) ?? unreachable() };
  }

  /** The token with this text, if it is good; its last use is written down, once a minute at most. */
  find(token: string): TokenRow | undefined {
    if (!grammar.test(token)) return undefined;
    // It is looked up by its hash, of which nobody can choose the first characters: how long that takes says nothing.
    const row = this.valid(this.one('hash', digestOf(token)));
    if (row === undefined) return undefined;
    const now = this.now();
    if (row.last_used_at === null || Math.abs(now - row.last_used_at) >= usedEveryMs) {
      this.store.prepare('UPDATE tokens SET last_used_at = ? WHERE id = ?').run(now, row.id);
    }
    return row;
  }

  byId(id: string): TokenRow | undefined {
    return this.valid(this.one('id', id));
  }

  /** Those that have expired too, for a month. */
  list(user: string): TokenRow[] {
    return this.store
      .prepare(`SELECT ${columns} FROM tokens WHERE user = ? ORDER BY created_at DESC, id`)
      .all(user)
      .map((row) => Row.parse(row));
  }

  /** Of any state; for those who revoke it. */
  get(id: string): TokenRow | undefined {
    return this.one('id', id);
  }

  /** The one that `POST /token/generate` made last. */
  single(user: string): TokenRow | undefined {
    return this.list(user).find((row) => row.kind === 'single' && this.valid(row) !== undefined);
  }

  end(id: string): void {
    this.store.prepare('DELETE FROM tokens WHERE id = ?').run(id);
  }

  endSingle(user: string): void {
    this.store.prepare("DELETE FROM tokens WHERE user = ? AND kind = 'single'").run(user);
  }

  private valid(row: TokenRow | undefined): TokenRow | undefined {
    return row?.expires_at != null && row.expires_at <= this.now() ? undefined : row;
  }

  private one(column: 'hash' | 'id', value: string): TokenRow | undefined {
    const row = this.store.prepare(`SELECT ${columns} FROM tokens WHERE ${column} = ?`).get(value);
    return row === undefined ? undefined : Row.parse(row);
  }
}

/** What the token may do now: never more than its owner. */
export function scopesOfToken(row: TokenRow, role: Role): Set<Scope> {
  const kept = row.scopes.split(' ');
  return new Set(scopesOf[role].filter((scope) => kept.includes(scope)));
}

export function viewOfToken(row: TokenRow): TokenView {
  const kept = row.scopes.split(' ');
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    scopes: Scope.options.filter((scope) => kept.includes(scope)),
    createdAt: row.created_at,
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
    ...(row.last_used_at === null ? {} : { lastUsedAt: row.last_used_at }),
  };
}

function unreachable(): never {
  throw new Error('What was just inserted is not there.');
}
