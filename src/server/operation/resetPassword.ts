import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SallyportError } from '../../base/errors.ts';
import { createAudit } from '../auth/audit.ts';
import { Passwords } from '../auth/passwords.ts';
import { randomText } from '../auth/secretText.ts';
import { Sessions } from '../auth/sessions.ts';
import { Users } from '../auth/users.ts';
import { openStore } from '../store.ts';

/**
 * For whoever has the data folder: a new password for a user, also while a server works on it, and for one who is disabled.
 * All sessions of that user end. Resolves to the password. Throws `not_found`.
 */
export async function resetPassword(dataFolder: string, login: string): Promise<string> {
  const path = join(dataFolder, 'runner.sqlite');
  if (!existsSync(path)) throw missing(`There is no data of a runner in ${dataFolder}.`);
  const store = openStore(path);
  try {
    const users = new Users(store, Date.now);
    const user = users.byLogin(login.trim().toLowerCase());
    if (user === undefined) {
      const known = users.list().map((one) => one.login);
      throw missing(`There is no user "${login}".`, `There are: ${known.join(', ') || 'none'}.`);
    }
    // 128 bits of it are enough, and can still be typed.
    const password = randomText().slice(0, 22);
    users.setPassword(user.id, await new Passwords().hash(password));
    users.change(user.id, { disabled: false });
    new Sessions(store, 0, Date.now).endAll(user.id);
    createAudit(store, Date.now).record({
      address: 'this machine',
      action: 'password_reset',
      subject: user.login,
    });
    return password;
  } finally {
    store.close();
  }
}

function missing(message: string, mend = 'Look at SALLYPORT_HOME.'): SallyportError {
  return new SallyportError('not_found', message, mend);
}
