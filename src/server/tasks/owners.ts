import type { DatabaseSync, StatementSync } from 'node:sqlite';
import * as z from 'zod/mini';
import { Role } from '../../protocol/runnerApi.ts';
import type { User } from '../principal.ts';

const StoredUser = z.object({ id: z.string(), login: z.string(), name: z.string(), role: Role });

/** Users, as the owners of tasks. */
export class Owners {
  private readonly byId: StatementSync;
  private readonly firstOfAll: StatementSync;

  constructor(store: DatabaseSync) {
    this.byId = store.prepare('SELECT id, login, name, role FROM users WHERE id = ?');
    this.firstOfAll = store.prepare(
      "SELECT id, login, name, role FROM users WHERE role = 'admin' ORDER BY created_at, id LIMIT 1",
    );
  }

  get(id: string): User | undefined {
    return read(this.byId.get(id));
  }

  /** Undefined before the first one is made. */
  firstAdministrator(): User | undefined {
    return read(this.firstOfAll.get());
  }
}

function read(row: unknown): User | undefined {
  const found = StoredUser.safeParse(row);
  return found.success ? found.data : undefined;
}
