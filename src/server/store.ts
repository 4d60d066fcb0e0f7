import { DatabaseSync } from 'node:sqlite';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { migrations } from './migrations.ts';

/**
 * Opens the server's store, and brings it up to date: each migration once, in a transaction of its own, so that one that
 * fails leaves the store as it was. Throws `runner_version` for a store that a newer server has written, and
 * `server_misconfigured` where a migration fails.
 */
export function openStore(path: string, steps: readonly string[] = migrations): DatabaseSync {
  const store = new DatabaseSync(path);
  store.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;',
  );
  const found = Number(store.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (found > steps.length) {
    store.close();
    throw new SallyportError(
      'runner_version',
      `The data is of a newer version of the runner (${found}, and this one knows ${steps.length}).`,
      'Start the newer version, or restore a backup that was made before.',
    );
  }
  for (const [index, sql] of steps.entries()) {
    if (index < found) continue;
    try {
      store.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${index + 1}; COMMIT;`);
    } catch (thrown) {
      // What was half done goes with the connection.
      store.close();
      throw new SallyportError(
        'server_misconfigured',
        `The data could not be brought from version ${index} to ${index + 1}: ${asSallyportError(thrown).message}.`,
        'The data is as it was; start the version that wrote it, and report this.',
        { cause: thrown },
      );
    }
  }
  return store;
}

/** Does all of it or nothing. Throws what `work` or the store throws. */
export function atomically<T>(store: DatabaseSync, work: () => T): T {
  store.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    store.exec('COMMIT');
    return result;
  } catch (thrown) {
    try {
      store.exec('ROLLBACK');
    } catch {
      // A store whose disk is full has gone back by itself.
    }
    throw thrown;
  }
}
