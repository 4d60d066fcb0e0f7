import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAudit } from '../../src/server/auth/audit.ts';
import { Passwords } from '../../src/server/auth/passwords.ts';
import { Sessions } from '../../src/server/auth/sessions.ts';
import { Users } from '../../src/server/auth/users.ts';
import { resetPassword } from '../../src/server/operation/resetPassword.ts';
import { openStore } from '../../src/server/store.ts';

describe('a password that is forgotten', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-reset-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is replaced by whoever has the data folder, also while a server works on it', async () => {
    const store = openStore(join(folder, 'runner.sqlite'));
    try {
      const users = new Users(store, Date.now);
      const { id } = users.create({ login: 'ada', role: 'admin' });
      users.create({ login: 'root', role: 'admin' });
      users.change(id, { disabled: true });
      const sessions = new Sessions(store, 60_000, Date.now);
      const { secret } = sessions.start(id, 'a browser');
      const password = await resetPassword(folder, ' ADA ');
      const user = users.get(id);
      assert.equal(await new Passwords().verify(password, user.password ?? undefined), true);
      assert.equal(user.disabled, 0);
      assert.equal(sessions.find(secret), undefined);
      const [entry] = createAudit(store, Date.now).list({ limit: 1 }).entries;
      assert.deepEqual([entry?.action, entry?.subject], ['password_reset', 'ada']);
      assert.equal(JSON.stringify(entry).includes(password), false);
      await assert.rejects(resetPassword(folder, 'eve'), /There is no user "eve"/);
    } finally {
      store.close();
    }
  });

  it('is not looked for where there is no data, and nothing is made there', async () => {
    await assert.rejects(resetPassword(folder, 'ada'), /There is no data of a runner/);
    await assert.rejects(resetPassword(join(folder, 'nowhere'), 'ada'), /There is no data of a runner/);
  });
});
