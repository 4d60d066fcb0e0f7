import { DatabaseSync } from 'node:sqlite';
import { SallyportError } from '../base/errors.ts';
import { migrations } from './migrations.ts';

/**
 * Opens the server's store, and brings it up to date: each migration once, in a transaction of its own. Throws
 * `runner_version` for a store that a newer server has written.
 */
export function openStore(path: string): DatabaseSync {
  const store = new DatabaseSync(path);
  store.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;',
  );
  const found = Number(store.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (found > migrations.length) {
    store.close();
    throw new SallyportError(
      'runner_version',
      `The data is of a newer version of the runner (${found}, and this one knows ${migrations.length}).`,
      'Start the newer version, or restore a backup that was made before.',
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < found) continue;
    store.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${index + 1}; COMMIT;`);
  }
  return store;
}
