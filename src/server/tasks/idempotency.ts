import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { TaskId } from '../../protocol/grammar.ts';

/** How long a key is remembered, in milliseconds. */
export const keyMs = 24 * 60 * 60_000;

const Stored = z.object({ body_hash: z.string(), task: TaskId, at: z.number() });

/** The keys with which users repeat a submission that they do not know to have arrived. Each user has keys of their own. */
export class IdempotencyKeys {
  private readonly store: DatabaseSync;
  private readonly now: () => number;

  constructor(store: DatabaseSync, now: () => number) {
    this.store = store;
    this.now = now;
  }

  /** The task of the same submission with that key. Throws `conflict` when it was another submission. */
  find(user: string, key: string, hash: string): TaskId | undefined {
    const raw = this.store.prepare('SELECT * FROM idempotency WHERE user = ? AND key = ?').get(user, key);
    if (raw === undefined) return undefined;
    const { body_hash, task, at } = Stored.parse(raw);
    if (this.isOver(at)) return undefined;
    if (body_hash === hash) return task;
    throw new SallyportError(
      'conflict',
      'The idempotency key was used for another submission.',
      'Use a new key for each submission, and the same one only to repeat it as it was.',
    );
  }

  remember(user: string, key: string, hash: string, task: TaskId): void {
    this.store
      .prepare('INSERT OR REPLACE INTO idempotency (user, key, body_hash, task, at) VALUES (?, ?, ?, ?, ?)')
      .run(user, key, hash, task, this.now());
  }

  forgetTask(task: TaskId): void {
    this.store.prepare('DELETE FROM idempotency WHERE task = ?').run(task);
  }

  sweep(): void {
    // A clock that was set back makes no key last longer than it would from now on.
    this.store
      .prepare('DELETE FROM idempotency WHERE at < ? OR at > ?')
      .run(this.now() - keyMs, this.now() + keyMs);
  }

  private isOver(at: number): boolean {
    return Math.abs(this.now() - at) >= keyMs;
  }
}
