import assert from 'node:assert/strict';
import { AuthServer, Browser, password } from '../support/authServer.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

describe('sign-in', () => {
  let server: AuthServer;
  let ada: Browser;

  beforeEach(async () => {
    server = await AuthServer.start();
    ada = await server.setUp();
  });
  afterEach(() => server.stop());

  describe('of the first administrator', () => {
    it('makes an administrator, and signs them in', async () => {
      const state = await ada.get('/auth/state');
      assert.equal(state.at('needsSetUp'), false);
      assert.equal(state.at('me', 'user', 'login'), 'ada');
      assert.deepEqual(state.at('me', 'scopes'), ['tasks:read', 'tasks:write', 'account', 'admin']);
      assert.equal((await ada.post('/probe/admin')).status, 200);
      assert.equal(server.auth.setUpLink(), undefined);
    });

    it('takes no secret by any other way than the link', async () => {
      const fresh = await AuthServer.start();
      try {
        const state = await new Browser(fresh).get('/auth/state');
        assert.equal(
          state.text,
          '{"needsSetUp":true,"ways":{"password":true,"magicLink":false,"github":false}}',
        );
        const link = fresh.auth.setUpLink() ?? '';
        assert.equal(fresh.auth.setUpLink(), link);
        assert.match(link, /^http:\/\/localhost:\d+\/setup#[\w-]{43}$/);
        const short = { secret: new URL(link).hash.slice(1), login: 'ada', password: 'short' };
        const answer = await new Browser(fresh).post('/auth/setup', short);
        assert.equal(answer.status, 400);
        assert.match(answer.textAt('detail'), /at least 8 characters/);
        // A mistake does not use the secret up.
        assert.equal((await new Browser(fresh).post('/auth/setup', { ...short, password })).status, 201);
      } finally {
        await fresh.stop();
      }
    });
  });

  describe('with a password', () => {
    it('works whatever the case of the login, and not with another password', async () => {
      assert.equal((await new Browser(server).post('/auth/login', { login: ' ADA ', password })).status, 200);
      const wrong = await new Browser(server).post('/auth/login', { login: 'ada', password: `${password}!` });
      assert.deepEqual([wrong.status, wrong.headers['set-cookie']], [401, undefined]);
    });

    it('ends with the sign-out, for that browser alone', async () => {
      const other = await server.signIn('ada');
      assert.equal((await ada.post('/auth/logout')).status, 204);
      assert.equal((await ada.get('/probe')).status, 401);
      assert.equal((await other.get('/probe')).status, 200);
    });

    it('is changed with the old one, and other sessions end', async () => {
      const [other, bearer] = [await server.signIn('ada'), await ada.token()];
      const wrong = await ada.post('/auth/password', {
        current: 'not it at all',
        password: 'another password',
      });
      assert.equal(wrong.status, 403);
      assert.equal((await ada.post('/auth/password', { password: 'another password' })).status, 403);
      assert.equal((await ada.post('/auth/password', { current: password, password: 'short' })).status, 400);
      const good = await ada.post('/auth/password', { current: password, password: 'another password' });
      assert.equal(good.status, 204);
      assert.deepEqual([(await ada.get('/probe')).status, (await other.get('/probe')).status], [200, 401]);
      const authorization = `Bearer ${bearer}`;
      const byToken = await server.ask('POST', '/auth/password', {
        json: { current: 'another password', password },
        headers: { authorization },
      });
      assert.equal(byToken.status, 403);
      assert.equal((await new Browser(server).post('/auth/login', { login: 'ada', password })).status, 401);
      await server.signIn('ada', 'another password');
    });

    it('tells nothing of whether anybody is signed in with a cookie that is not good any more', async () => {
      const stale = new Browser(server);
      for (const [name, value] of ada.cookies) stale.cookies.set(name, value);
      await ada.post('/auth/logout');
      // Such a browser can sign in again.
      assert.equal((await stale.get('/auth/state')).status, 200);
      assert.equal((await stale.post('/auth/login', { login: 'ada', password })).status, 200);
    });
  });

  describe('for as long as', () => {
    it('the session is used, and a week at most', async () => {
      for (let n = 0; n < 6; n++) {
        server.now += day;
        assert.equal((await ada.get('/probe')).status, 200, `day ${n + 1}`);
      }
      server.now += day - 1;
      assert.equal((await ada.get('/probe')).status, 200);
      server.now += 1;
      assert.equal((await ada.get('/probe')).status, 401);
    });

    it('it is not left alone for a quarter of that', async () => {
      server.now += 1.75 * day - 1;
      assert.equal((await ada.get('/probe')).status, 200);
      server.now += 1.75 * day;
      assert.equal((await ada.get('/probe')).status, 401);
    });

    it('nobody signs it out from another browser', async () => {
      const other = await server.signIn('ada');
      const list = await ada.get('/api/v1/sessions');
      const sessions = list.at('sessions') as { id: string; current: boolean }[];
      assert.deepEqual(sessions.map(({ current }) => current).sort(), [false, true]);
      const theirs = sessions.find(({ current }) => !current)?.id ?? '';
      assert.equal((await ada.send('DELETE', `/api/v1/sessions/${theirs}`)).status, 204);
      assert.equal((await other.get('/probe')).status, 401);
      assert.equal((await ada.send('DELETE', `/api/v1/sessions/${theirs}`)).status, 404);
      assert.equal((await ada.get('/probe')).status, 200);
    });

    it('nobody signs out everywhere else', async () => {
      const [other, here] = [await server.signIn('ada'), await server.signIn('ada')];
      assert.equal((await here.send('DELETE', '/api/v1/sessions')).status, 204);
      const all = [ada, other, here].map((browser) => browser.get('/probe').then(({ status }) => status));
      assert.deepEqual(await Promise.all(all), [401, 401, 200]);
    });

    it('there are not too many', async () => {
      for (let n = 0; n < 105; n++)
        server.auth.sessions.start(server.auth.users.byLogin('ada')?.id ?? '', 'x');
      const list = await server.signIn('ada').then((browser) => browser.get('/api/v1/sessions'));
      assert.equal((list.at('sessions') as unknown[]).length, 100);
    });
  });

  describe('of a user', () => {
    it('gives what the role has, and follows its change at once', async () => {
      const [bob, eve] = [
        await server.user(ada, 'bob', 'member'),
        await server.user(ada, 'eve@example.com', 'viewer'),
      ];
      const all = async (browser: Browser): Promise<number[]> =>
        Promise.all([browser.get('/probe'), browser.post('/probe'), browser.post('/probe/admin')]).then(
          (answers) => answers.map(({ status }) => status),
        );
      assert.deepEqual(await all(bob), [200, 200, 403]);
      assert.deepEqual(await all(eve), [200, 403, 403]);
      const id = (await eve.get('/api/v1/me')).textAt('user', 'id');
      assert.equal((await ada.send('PATCH', `/api/v1/users/${id}`, { json: { role: 'admin' } })).status, 200);
      assert.deepEqual(await all(eve), [200, 200, 200]);
    });

    it('is for administrators to change, and each login is there once', async () => {
      const bob = await server.user(ada, 'bob', 'member');
      const id = (await bob.get('/api/v1/me')).textAt('user', 'id');
      for (const [method, path, json] of [
        ['GET', '/api/v1/users', undefined],
        ['POST', '/api/v1/users', { login: 'x', role: 'admin' }],
        ['PATCH', `/api/v1/users/${id}`, { role: 'admin' }],
        ['DELETE', `/api/v1/users/${id}`, undefined],
        ['GET', '/api/v1/audit', undefined],
      ] as const) {
        assert.equal((await bob.send(method, path, { json })).status, 403, `${method} ${path}`);
      }
      assert.equal((await ada.post('/api/v1/users', { login: 'BOB', role: 'viewer' })).status, 409);
      assert.equal((await ada.post('/api/v1/users', { login: 'a b', role: 'viewer' })).status, 400);
      const list = (await ada.get('/api/v1/users')).at('users') as { login: string }[];
      assert.deepEqual(
        list.map(({ login }) => login),
        ['ada', 'bob'],
      );
      assert.doesNotMatch((await ada.get('/api/v1/users')).text, /argon2/);
      assert.equal((await ada.get(`/api/v1/users/${id}`)).at('login'), 'bob');
      assert.equal((await ada.get('/api/v1/users/00')).status, 404);
    });

    it('can be reset by an administrator, who cannot so change the own password', async () => {
      const bob = await server.user(ada, 'bob', 'member');
      const id = (await bob.get('/api/v1/me')).textAt('user', 'id');
      const own = (await ada.get('/api/v1/me')).textAt('user', 'id');
      assert.equal(
        (await ada.send('PATCH', `/api/v1/users/${own}`, { json: { password: 'another one' } })).status,
        403,
      );
      assert.equal(
        (await ada.send('PATCH', `/api/v1/users/${id}`, { json: { password: 'another one' } })).status,
        200,
      );
      assert.equal((await bob.get('/probe')).status, 401);
      await server.signIn('bob', 'another one');
    });

    it('leaves an administrator, whatever happens', async () => {
      const bob = await server.user(ada, 'bob', 'admin');
      const [one, other] = await Promise.all(
        [ada, bob].map((browser) => browser.get('/api/v1/me').then((me) => me.textAt('user', 'id'))),
      );
      const change = (browser: Browser, id: string | undefined, json: object): Promise<number> =>
        browser.send('PATCH', `/api/v1/users/${id ?? ''}`, { json }).then(({ status }) => status);
      // Each takes the rights of the other, at the same moment: one of them stays.
      const answers = await Promise.all([
        change(ada, other, { role: 'member' }),
        change(bob, one, { role: 'member' }),
      ]);
      assert.equal(answers.filter((status) => status === 200).length, 1, String(answers));
      const [left, id] = (await ada.get('/api/v1/users')).status === 200 ? [ada, one] : [bob, other];
      for (const json of [{ role: 'viewer' }, { disabled: true }])
        assert.equal(await change(left, id, json), 409);
      assert.equal((await left.send('DELETE', `/api/v1/users/${id ?? ''}`)).status, 409);
      assert.equal((await left.post('/probe/admin')).status, 200);
    });

    it('can be removed only while no task belongs to them', async () => {
      const bob = await server.user(ada, 'bob', 'member');
      const id = (await bob.get('/api/v1/me')).textAt('user', 'id');
      const columns = server.store.prepare('PRAGMA table_info(tasks)').all();
      const values = columns.map(({ name, type }) => (name === 'owner' ? id : type === 'INTEGER' ? 0 : ''));
      server.store.prepare(`INSERT INTO tasks VALUES (${columns.map(() => '?').join(', ')})`).run(...values);
      const refused = await ada.send('DELETE', `/api/v1/users/${id}`);
      assert.equal(refused.status, 409);
      assert.match(refused.textAt('detail'), /One task belongs to bob/);
      assert.match(refused.textAt('mend'), /Disable the user instead/);
      server.store.exec('DELETE FROM tasks');
      assert.equal((await ada.send('DELETE', `/api/v1/users/${id}`)).status, 204);
      assert.equal((await bob.get('/probe')).status, 401);
      assert.equal((await ada.send('DELETE', `/api/v1/users/${id}`)).status, 404);
      const [last] = server.audit.list({ limit: 1 }).entries;
      assert.deepEqual([last?.action, last?.login, last?.subject], ['user_removed', 'ada', 'bob']);
    });
  });

  describe('by a token', () => {
    const bearer = (token: string): { headers: Record<string, string> } => ({
      headers: { authorization: `Bearer ${token}` },
    });

    it('is shown once, and known by its first characters, in two headers', async () => {
      const made = await ada.post('/api/v1/tokens', { name: 'CI', scopes: ['tasks:read'] });
      const token = made.textAt('token');
      assert.match(token, /^slp_[\w-]{43}$/);
      const list = await ada.get('/api/v1/tokens');
      assert.doesNotMatch(list.text, new RegExp(token.slice(4)));
      assert.equal(list.at('tokens', 0, 'prefix'), token.slice(0, 12));
      assert.equal(list.at('tokens', 0, 'lastUsedAt'), undefined);
      assert.equal((await server.ask('GET', '/probe', bearer(token))).at('who'), 'ada');
      assert.equal((await server.ask('GET', '/probe', { headers: { 'x-api-key': token } })).at('who'), 'ada');
      assert.equal(
        (await server.ask('GET', '/probe', { headers: { authorization: `bearer ${token}` } })).status,
        200,
      );
      const stored = JSON.stringify(server.store.prepare('SELECT * FROM tokens').all());
      assert.doesNotMatch(stored, new RegExp(token.slice(12)));
    });

    it('may do what it is for, and no more than its owner may now', async () => {
      const bob = await server.user(ada, 'bob', 'member');
      const [reads, writes] = [await bob.token({ scopes: ['tasks:read'] }), await bob.token()];
      assert.equal((await server.ask('POST', '/probe', bearer(reads))).status, 403);
      assert.equal((await server.ask('POST', '/probe', bearer(writes))).status, 200);
      assert.equal((await server.ask('GET', '/api/v1/tokens', bearer(writes))).status, 403);
      const id = (await bob.get('/api/v1/me')).textAt('user', 'id');
      await ada.send('PATCH', `/api/v1/users/${id}`, { json: { role: 'viewer' } });
      assert.equal((await server.ask('POST', '/probe', bearer(writes))).status, 403);
      const me = await server.ask('GET', '/api/v1/me', bearer(writes));
      assert.deepEqual([me.at('scopes'), me.at('via')], [['tasks:read'], 'token']);
    });

    it('ends when it expires, after 90 days if nothing else is said, or when it is revoked', async () => {
      const [short, usual, never] = [
        await ada.token({ expiresAt: server.now + hour }),
        await ada.token(),
        await ada.token({ expiresAt: null }),
      ];
      const statuses = (): Promise<number[]> =>
        Promise.all(
          [short, usual, never].map((token) =>
            server.ask('GET', '/probe', bearer(token)).then(({ status }) => status),
          ),
        );
      assert.deepEqual(await statuses(), [200, 200, 200]);
      server.now += hour;
      assert.deepEqual(await statuses(), [401, 200, 200]);
      server.now += 90 * day;
      assert.deepEqual(await statuses(), [401, 401, 200]);
      const again = await server.signIn('ada');
      const list = (await again.get('/api/v1/tokens')).at('tokens') as { id: string; expiresAt?: number }[];
      const id = list.find(({ expiresAt }) => expiresAt === undefined)?.id ?? '';
      assert.equal((await again.send('DELETE', `/api/v1/tokens/${id}`)).status, 204);
      assert.deepEqual(await statuses(), [401, 401, 401]);
      assert.equal((await again.post('/api/v1/tokens', { name: 'x', expiresAt: server.now })).status, 400);
    });

    it('says when it was last used, to the minute', async () => {
      const token = await ada.token();
      const used = async (): Promise<unknown> =>
        (await ada.get('/api/v1/tokens')).at('tokens', 0, 'lastUsedAt');
      await server.ask('GET', '/probe', bearer(token));
      const first = server.now;
      server.now += minute - 1;
      await server.ask('GET', '/probe', bearer(token));
      assert.equal(await used(), first);
      server.now += 1;
      await server.ask('GET', '/probe', bearer(token));
      assert.equal(await used(), server.now);
    });

    it('ends itself by the sign-out', async () => {
      const token = await ada.token();
      assert.equal((await server.ask('POST', '/auth/logout', bearer(token))).status, 204);
      assert.equal((await server.ask('GET', '/probe', bearer(token))).status, 401);
      assert.equal((await ada.get('/probe')).status, 200);
    });

    it('of others is seen and revoked by administrators only', async () => {
      const [bob, eve] = [await server.user(ada, 'bob', 'member'), await server.user(ada, 'eve', 'member')];
      await bob.token();
      const who = (await bob.get('/api/v1/me')).textAt('user', 'id');
      const id = (await bob.get('/api/v1/tokens')).textAt('tokens', 0, 'id');
      assert.equal((await eve.get(`/api/v1/tokens?user=${who}`)).status, 403);
      assert.equal((await eve.send('DELETE', `/api/v1/tokens/${id}`)).status, 404);
      assert.equal((await ada.get(`/api/v1/tokens?user=${who}`)).at('tokens', 0, 'id'), id);
      assert.equal((await ada.send('DELETE', `/api/v1/tokens/${id}`)).status, 204);
    });

    it('of the compatible kind is one for each user', async () => {
      assert.deepEqual([(await ada.get('/token')).text], ['{"exists":false}']);
      const generate = (): Promise<string> =>
        ada.post('/token/generate').then((answer) => answer.textAt('token'));
      const [first, second] = [await generate(), await generate()];
      const status = async (token: string): Promise<number> =>
        (await server.ask('GET', '/probe', bearer(token))).status;
      assert.deepEqual([await status(first), await status(second)], [401, 200]);
      assert.equal((await ada.get('/token')).at('token'), `${second.slice(0, 12)}…`);
      assert.equal((await server.ask('POST', '/token/generate', bearer(second))).status, 403);
      for (const method of ['GET', 'DELETE']) assert.equal((await server.ask(method, '/token')).status, 401);
      const named = await ada.token();
      assert.equal((await ada.send('DELETE', '/token')).status, 200);
      assert.deepEqual([await status(second), await status(named)], [401, 200]);
      assert.equal((await server.ask('DELETE', '/token', bearer(named))).status, 200);
      assert.equal(await status(named), 401);
    });
  });

  describe('of a socket', () => {
    it('is looked at anew as long as it is open', async () => {
      const bob = await server.user(ada, 'bob', 'member');
      const socket = await server.socket({ cookie: bob.cookie, origin: server.origin });
      if (typeof socket === 'number') throw new Error(`refused with ${socket}`);
      const ask = async (): Promise<string> => {
        const answered = new Promise<string>((resolve) =>
          socket.once('message', (data: Buffer) => resolve(data.toString())),
        );
        socket.send('?');
        return await answered;
      };
      assert.equal(await ask(), 'bob');
      await bob.post('/auth/logout');
      assert.equal(await ask(), 'gone');
      socket.terminate();
    });
  });

  describe('is written down', () => {
    it('with who and from where, newest first, page by page, and no secret in it', async () => {
      await server.user(ada, 'bob', 'member');
      await new Browser(server).post(
        '/auth/login',
        { login: 'hunter2-typed-as-login', password: 'hunter3-password' },
        { from: '203.0.113.9' },
      );
      await new Browser(server).post(
        '/auth/login',
        { login: 'bob', password: 'hunter3-password' },
        { from: '203.0.113.9' },
      );
      const token = await ada.token({ name: 'CI' });
      const first = await ada.get('/api/v1/audit?limit=2');
      const second = await ada.get(`/api/v1/audit?limit=2&before=${String(first.at('next'))}`);
      const actions = [
        ...(first.at('entries') as { action: string }[]),
        ...(second.at('entries') as { action: string }[]),
      ];
      assert.deepEqual(
        actions.map(({ action }) => action),
        ['token_created', 'sign_in_failed', 'sign_in_failed', 'sign_in'],
      );
      assert.deepEqual(
        [first.at('entries', 1, 'address'), first.at('entries', 1, 'login')],
        ['203.0.113.9', 'bob'],
      );
      assert.deepEqual(server.actions().slice(0, 3), ['set_up', 'sign_in', 'user_created']);
      const everything = (await ada.get('/api/v1/audit?limit=500')).text;
      for (const secret of [token, 'hunter2', 'hunter3', password])
        assert.equal(everything.includes(secret), false, secret);
      for (const bad of ['limit=0', 'limit=501', 'before=x'])
        assert.equal((await ada.get(`/api/v1/audit?${bad}`)).status, 400);
    });

    it('in a bounded number of lines', () => {
      const before = server.store.prepare('SELECT count(*) AS n FROM audit').get()?.['n'];
      assert.equal(before, 2);
      for (let n = 0; n < 100_700; n += 1) {
        // The numbers count up as if there had been so many.
        if (n % 500 > 5 && n < 100_000) continue;
        server.store.prepare('UPDATE sqlite_sequence SET seq = ? WHERE name = ?').run(n, 'audit');
        server.store.prepare('DELETE FROM audit WHERE n = ?').run(n + 1);
        server.audit.record({ address: 'a\u202e\u001b[31m', action: 'x', subject: 's'.repeat(10_000) });
      }
      const oldest = Number(server.store.prepare('SELECT min(n) AS n FROM audit').get()?.['n']);
      assert.ok(oldest > 500 && oldest <= 1000, String(oldest));
      const [last] = server.audit.list({ limit: 1 }).entries;
      assert.deepEqual([last?.address, last?.subject.length], ['a  [31m', 300]);
    });
  });

  describe('of a program', () => {
    const verifier = 'a'.repeat(64);
    // base64url of the SHA-256 of that.
    const challenge = '_-BU_nrgy23GXDr5th1SCfQ5hR20PQulmXM33xVGaOs';
    const request = {
      callback: 'vscode://sallyport.sallyport/signed-in?windowId=1',
      challenge,
      state: 'st&te',
      name: 'VS Code on laptop',
    };

    it('takes a code from the browser to the program, which gets a token for it', async () => {
      const bob = await server.user(ada, 'bob', 'member');
      const grant = await bob.post('/auth/grants', request);
      assert.equal(grant.status, 201, grant.text);
      const redirect = new URL(grant.textAt('redirect'));
      assert.deepEqual(
        [redirect.protocol, redirect.host, redirect.pathname],
        ['vscode:', 'sallyport.sallyport', '/signed-in'],
      );
      assert.deepEqual(
        [redirect.searchParams.get('state'), redirect.searchParams.get('windowId')],
        ['st&te', '1'],
      );
      const code = redirect.searchParams.get('code');
      const exchanged = await server.ask('POST', '/auth/exchange', { json: { code, verifier } });
      assert.equal(exchanged.status, 201, exchanged.text);
      assert.equal(exchanged.at('user', 'login'), 'bob');
      assert.equal(exchanged.at('view', 'name'), 'VS Code on laptop');
      const headers = { authorization: `Bearer ${exchanged.textAt('token')}` };
      assert.equal((await server.ask('POST', '/probe', { headers })).status, 200);
      assert.equal((await server.ask('POST', '/auth/exchange', { json: { code, verifier } })).status, 401);
    });

    it('is refused late, with another secret, for another callback, and for a user who is disabled', async () => {
      const bob = await server.user(ada, 'bob', 'member');
      const code = (): Promise<string> =>
        bob.post('/auth/grants', request).then((answer) => answer.textAt('code'));
      const exchange = (json: object): Promise<number> =>
        server.ask('POST', '/auth/exchange', { json }).then(({ status }) => status);
      const late = await code();
      server.now += minute;
      assert.equal(await exchange({ code: late, verifier }), 401);
      const burnt = await code();
      assert.equal(await exchange({ code: burnt, verifier: 'b'.repeat(64) }), 401);
      // The one who guessed wrong has used it up.
      assert.equal(await exchange({ code: burnt, verifier }), 401);
      assert.equal(
        (await bob.post('/auth/grants', { ...request, callback: 'https://evil.example/' })).status,
        400,
      );
      assert.equal((await bob.post('/auth/grants', { ...request, challenge: verifier })).status, 400);
      const token = await bob.token({ scopes: ['account'] });
      const byToken = await server.ask('POST', '/auth/grants', {
        json: request,
        headers: { authorization: `Bearer ${token}` },
      });
      assert.equal(byToken.status, 403);
      const left = await code();
      const id = (await bob.get('/api/v1/me')).textAt('user', 'id');
      await ada.send('PATCH', `/api/v1/users/${id}`, { json: { disabled: true } });
      assert.equal(await exchange({ code: left, verifier }), 401);
    });

    it('waits for a few at most', async () => {
      const statuses = [];
      for (let n = 0; n < 11; n++) statuses.push((await ada.post('/auth/grants', request)).status);
      assert.deepEqual([statuses.at(9), statuses.at(10)], [201, 429]);
      server.now += minute;
      assert.equal((await ada.post('/auth/grants', request)).status, 201);
    });
  });

  it('reads no body that is larger than these can be', async () => {
    for (const path of [
      '/auth/login',
      '/auth/setup',
      '/auth/magic-link',
      '/auth/exchange',
      '/api/v1/tokens',
      '/auth/logout',
    ]) {
      const answer = await ada.post(path, { login: 'x'.repeat(20_000), password });
      assert.equal(answer.status, 413, path);
    }
  });
});
