import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Passwords, wasmArgon2 } from '../../src/server/auth/passwords.ts';
import { digestOf, randomText } from '../../src/server/auth/secretText.ts';
import { type Answer, AuthServer, Browser, password } from '../support/authServer.ts';
import { linkIn, SmtpSink } from '../support/mailServices.ts';

const second = 1000;
const minute = 60 * second;

/** Each attack is tried once as its owner may do it, so that none fails for another reason than the wall. */
describe('promise 9: the runner answers nobody without a credential', function () {
  this.timeout('60s');
  let server: AuthServer;

  beforeEach(async () => {
    server = await AuthServer.start();
  });
  afterEach(() => server.stop());

  const statusOf = (answer: Promise<Answer>): Promise<number> => answer.then(({ status }) => status);
  const evil = 'http://evil.example';

  describe('the set-up', () => {
    const body = { login: 'mallory', password };
    const secretOf = (): string => new URL(server.auth.setUpLink() ?? 'none:').hash.slice(1);

    it('is not won by a stranger with no secret, or another, or a part of it', async () => {
      const secret = secretOf();
      const tries = [
        '',
        ' ',
        secret.slice(0, -1),
        `${secret}x`,
        secret.toLowerCase(),
        secret.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
        digestOf(secret),
        'undefined',
        randomText(),
      ];
      for (const tried of tries) {
        const answer = await server.ask('POST', '/auth/setup', { json: { ...body, secret: tried } });
        assert.equal(answer.status, 403, tried);
        assert.equal(answer.headers['set-cookie'], undefined);
      }
      assert.equal(await statusOf(server.ask('POST', '/auth/setup', { json: body })), 400);
      for (const secrets of [null, true, 1, {}, [secret]])
        assert.equal(
          await statusOf(server.ask('POST', '/auth/setup', { json: { ...body, secret: secrets } })),
          400,
        );
      assert.equal(server.auth.needsSetUp(), true);
      assert.equal(
        await statusOf(server.ask('POST', '/auth/setup', { json: { ...body, login: 'ada', secret } })),
        201,
      );
    });

    it('is not won before the secret was told to the log', async () => {
      for (const secret of ['', 'undefined', 'null'])
        assert.equal(await statusOf(server.ask('POST', '/auth/setup', { json: { ...body, secret } })), 403);
    });

    it('is slow to guess, and the owner comes in from elsewhere meanwhile', async () => {
      const secret = secretOf();
      const statuses = [];
      for (let n = 0; n < 20; n++)
        statuses.push(
          await statusOf(
            server.ask('POST', '/auth/setup', {
              json: { ...body, secret: randomText() },
              from: '203.0.113.66',
            }),
          ),
        );
      assert.ok(statuses.filter((status) => status === 429).length >= 9, String(statuses));
      const owner = await server.ask('POST', '/auth/setup', {
        json: { ...body, login: 'ada', secret },
        from: '203.0.113.5',
      });
      assert.equal(owner.status, 201);
    });

    it('makes one administrator, however many ask with the secret at the same moment', async () => {
      const secret = secretOf();
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          statusOf(
            server.ask('POST', '/auth/setup', {
              json: { ...body, login: `racer${n}`, secret },
              from: `203.0.113.${n}`,
            }),
          ),
        ),
      );
      assert.deepEqual(answers.sort(), [201, ...Array<number>(9).fill(409)]);
      assert.equal(server.auth.users.list().length, 1);
    });

    it('is over after it was used', async () => {
      const secret = secretOf();
      await server.setUp();
      assert.equal(await statusOf(server.ask('POST', '/auth/setup', { json: { ...body, secret } })), 409);
      assert.equal(server.auth.setUp.fits(secret), false);
      assert.equal(server.auth.setUpLink(), undefined);
    });

    it('is not made from a foreign page, and its secret stands in no answer', async () => {
      const secret = secretOf();
      const foreign = { json: { ...body, secret }, headers: { origin: evil } };
      assert.equal(await statusOf(server.ask('POST', '/auth/setup', foreign)), 403);
      for (const path of ['/auth/state', '/health', '/probe/public', '/auth/setup', '/nowhere'])
        assert.equal((await server.ask('GET', path)).text.includes(secret), false);
      assert.equal(server.auth.needsSetUp(), true);
    });
  });

  describe('a session', () => {
    it('is not fixed by who puts a cookie into the browser before the sign-in', async () => {
      const ada = await server.setUp();
      const mallory = await server.user(ada, 'mallory', 'member');
      // The victim's browser begins with the attacker's cookies.
      const victim = new Browser(server);
      for (const [name, value] of mallory.cookies) victim.cookies.set(name, value);
      await victim.post('/auth/login', { login: 'ada', password });
      assert.equal((await victim.get('/api/v1/me')).at('user', 'login'), 'ada');
      assert.notEqual(victim.cookies.get('sallyport'), mallory.cookies.get('sallyport'));
      // What the attacker knows is worth nothing, not even as before.
      assert.equal(await statusOf(mallory.get('/api/v1/me')), 401);
      victim.cookies.set('sallyport', 'chosen-by-mallory');
      await victim.post('/auth/login', { login: 'ada', password });
      assert.notEqual(victim.cookies.get('sallyport'), 'chosen-by-mallory');
    });

    it('is not taken from a cookie that was changed, made up, or read from the store', async () => {
      const ada = await server.setUp();
      const good = ada.cookies.get('sallyport') ?? '';
      const [secret = '', signature = ''] = good.split('.');
      const stored = String(server.store.prepare('SELECT hash FROM sessions').get()?.['hash']);
      const id = String(server.store.prepare('SELECT id FROM sessions').get()?.['id']);
      const tried = [
        ...Array.from(
          { length: good.length },
          (_, place) => good.slice(0, place) + (good[place] === 'A' ? 'B' : 'A') + good.slice(place + 1),
        ),
        secret,
        `${secret}.`,
        `.${signature}`,
        `${stored}.${signature}`,
        `${id}.${signature}`,
        `${randomText()}.${signature}`,
        `${secret}.${signature}.${signature}`,
        ada.cookies.get('sallyport-device') ?? '',
        "' OR 1=1 --",
        '',
      ];
      for (const cookie of tried) {
        // The last character of a signature holds two bits that say nothing; it is compared as text all the same.
        const headers = { cookie: `sallyport=${cookie}` };
        assert.equal(await statusOf(server.ask('GET', '/probe', { headers })), 401, cookie);
      }
      assert.equal(
        await statusOf(server.ask('GET', '/probe', { headers: { cookie: `sallyport=${good}` } })),
        200,
      );
    });

    it('over https is taken from no cookie that a neighbouring host or an open line could set', async () => {
      await server.stop();
      server = await AuthServer.start({ publicUrl: 'https://runner.example.com' });
      const ada = await server.setUp();
      const good = ada.cookies.get('__Host-sallyport') ?? '';
      assert.equal(
        await statusOf(server.ask('GET', '/probe', { headers: { cookie: `sallyport=${good}` } })),
        401,
      );
      assert.equal(
        await statusOf(server.ask('GET', '/probe', { headers: { cookie: `__Host-sallyport=${good}` } })),
        200,
      );
      const signedIn = await server.ask('POST', '/auth/login', { json: { login: 'ada', password } });
      for (const line of signedIn.headers['set-cookie'] ?? [])
        assert.match(line, /^__Host-[^;]+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax; Secure$/);
    });

    it('does nothing for a foreign page (CSRF)', async () => {
      const ada = await server.setUp();
      const { port } = new URL(server.origin);
      const foreign = [
        evil,
        'null',
        '',
        `http://localhost.evil.example:${port}`,
        `http://localhost:${Number(port) + 1}`,
        'http://localhost',
        `https://localhost:${port}`,
        `http://127.0.0.1:${port}`,
        `${server.origin}.evil.example`,
        `${server.origin}@evil.example`,
        `${server.origin}/`,
        `${server.origin}, ${evil}`,
        `http://evil.example/${server.origin}`,
        'vscode-webview://x',
        'file://',
      ];
      for (const origin of foreign) {
        for (const type of [
          'application/json',
          'text/plain',
          'application/x-www-form-urlencoded',
          'multipart/form-data; boundary=x',
        ]) {
          const headers = { cookie: ada.cookie, origin, 'content-type': type };
          const answer = await server.ask('POST', '/probe', {
            headers,
            body: type === 'application/json' ? '{}' : '',
          });
          assert.ok([403, 400].includes(answer.status), `${origin} ${type}: ${answer.status}`);
        }
      }
      assert.equal(
        await statusOf(server.ask('POST', '/probe', { headers: { cookie: ada.cookie } })),
        403,
        'no origin',
      );
      const referer = { cookie: ada.cookie, referer: `${server.origin}/dashboard` };
      assert.equal(await statusOf(server.ask('POST', '/probe', { headers: referer })), 403, 'only a referer');
      for (const method of ['PUT', 'PATCH', 'DELETE'])
        assert.ok(
          (await statusOf(
            server.ask(method, '/api/v1/tokens/00', { headers: { cookie: ada.cookie, origin: evil } }),
          )) >= 403,
        );
      const hidden = { cookie: ada.cookie, origin: evil, 'x-http-method-override': 'POST' };
      assert.equal(await statusOf(server.ask('GET', '/probe', { headers: hidden })), 200);
      assert.equal(server.changes, 0);
      assert.equal(await statusOf(ada.post('/probe')), 200);
      // Its own pages may be called by another name of the loopback.
      const own = { cookie: ada.cookie, host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` };
      assert.equal(await statusOf(server.ask('POST', '/probe', { headers: own })), 200);
      assert.equal(server.changes, 2);
    });

    it('is not begun by a foreign page, as its user or as another', async () => {
      await server.setUp();
      for (const origin of [evil, 'null']) {
        const answer = await server.ask('POST', '/auth/login', {
          json: { login: 'ada', password },
          headers: { origin },
        });
        assert.deepEqual([answer.status, answer.headers['set-cookie']], [403, undefined]);
      }
    });

    it('tells no foreign page what it could read: no answer allows another origin', async () => {
      const ada = await server.setUp();
      for (const method of ['GET', 'OPTIONS']) {
        const headers = { cookie: ada.cookie, origin: evil, 'access-control-request-method': 'POST' };
        const answer = await server.ask(method, '/api/v1/me', { headers });
        assert.equal(
          Object.keys(answer.headers).some((name) => name.startsWith('access-control-')),
          false,
        );
        assert.equal(answer.headers['cross-origin-resource-policy'], 'same-origin');
      }
    });
  });

  describe('a name that was made to lead here (DNS rebinding)', () => {
    it('gets nothing, even with everything else in order', async () => {
      const ada = await server.setUp();
      const token = await ada.token();
      const { port } = new URL(server.origin);
      for (const host of [
        `evil.example:${port}`,
        'evil.example',
        `localhost.evil.example:${port}`,
        `127.0.0.1.evil.example:${port}`,
        'localhost',
        `localhost:${Number(port) + 1}`,
        `192.0.2.1:${port}`,
        `[2001:db8::1]:${port}`,
        `localhost:${port}@evil.example`,
        `localhost:${port},evil.example`,
      ]) {
        for (const credential of [{}, { cookie: ada.cookie }, { authorization: `Bearer ${token}` }] as Record<
          string,
          string
        >[]) {
          for (const path of ['/probe', '/probe/public', '/auth/state', '/api/v1/me']) {
            const headers = { ...credential, host, origin: `http://${host}` };
            assert.equal(await statusOf(server.ask('GET', path, { headers })), 403, `${host} ${path}`);
          }
          assert.equal(
            await statusOf(
              server.ask('POST', '/probe', { headers: { ...credential, host, origin: `http://${host}` } }),
            ),
            403,
          );
          assert.equal(await server.socket({ ...credential, host, origin: `http://${host}` }), 403);
        }
      }
      assert.equal(server.changes, 0);
      assert.equal(await statusOf(server.ask('GET', '/probe', { headers: { cookie: ada.cookie } })), 200);
    });

    it('may ask whether the server is well, and is nobody then', async () => {
      const ada = await server.setUp();
      const headers = { host: '10.0.0.7:80', cookie: ada.cookie };
      const answer = await server.ask('GET', '/health', { headers });
      assert.deepEqual([answer.status, answer.text], [200, '{}']);
      assert.equal(
        (await server.ask('GET', '/health', { headers: { cookie: ada.cookie } })).at('who'),
        'ada',
      );
    });

    it('is not hidden in a request that names two hosts, or none', async () => {
      const ada = await server.setUp();
      const { host, port } = new URL(server.origin);
      const raw = async (head: string): Promise<string> => {
        const socket = connect(Number(port), '127.0.0.1');
        socket.write(`${head}\r\nCookie: ${ada.cookie}\r\nConnection: close\r\n\r\n`);
        let got = '';
        socket.on('data', (part: Buffer) => (got += part.toString()));
        await once(socket, 'close');
        return got.split(' ', 2)[1] ?? '';
      };
      assert.equal(await raw(`GET /probe HTTP/1.1\r\nHost: ${host}`), '200');
      for (const head of [
        `GET http://${host}/probe HTTP/1.1\r\nHost: evil.example`,
        `GET http://evil.example/probe HTTP/1.1\r\nHost: evil.example:${port}`,
        'GET /probe HTTP/1.0',
        'GET /probe HTTP/1.1',
        'GET /probe HTTP/1.1\r\nHost:',
        `GET /probe HTTP/1.1\r\nHost: evil.example\r\nX-Host: ${host}`,
      ])
        assert.ok(['400', '403', '404'].includes(await raw(head)), head);
    });

    it('is not believed for a header that only a proxy may send', async () => {
      await server.stop();
      server = await AuthServer.start({ trustedProxies: ['198.51.100.1'] });
      const headers = { host: 'evil.example', 'x-forwarded-host': new URL(server.origin).host };
      assert.equal(await statusOf(server.ask('GET', '/probe/public', { headers })), 403);
      await server.setUp();
      await server.ask('POST', '/auth/login', {
        json: { login: 'ada', password: 'wrong' },
        from: '203.0.113.5',
      });
      assert.equal(server.audit.list({ limit: 1 }).entries[0]?.address, '127.0.0.1');
    });
  });

  describe('a WebSocket', () => {
    it('is opened by the server’s own pages and by tokens, never by a foreign page', async () => {
      const ada = await server.setUp();
      const { cookie } = ada;
      const authorization = `Bearer ${await ada.token()}`;
      const { port } = new URL(server.origin);
      for (const headers of [
        { cookie, origin: evil },
        { cookie, origin: 'null' },
        { cookie, origin: `http://localhost:${Number(port) + 1}` },
        { cookie },
      ])
        assert.equal(await server.socket(headers), 403, JSON.stringify(headers));
      for (const headers of [
        {},
        { origin: server.origin },
        { cookie: 'sallyport=x', origin: server.origin },
        { authorization: 'Bearer slp_x' },
      ] as Record<string, string>[])
        assert.equal(await server.socket(headers), 401, JSON.stringify(headers));
      assert.equal(server.changes, 0);
      for (const headers of [{ cookie, origin: server.origin }, { authorization }]) {
        const socket = await server.socket(headers);
        if (typeof socket === 'number') throw new Error(`refused with ${socket}`);
        socket.terminate();
      }
    });
  });

  describe('a link in a mail', () => {
    let sink: SmtpSink;
    let victim: Browser;

    beforeEach(async () => {
      await server.stop();
      sink = new SmtpSink();
      const mail = { kind: 'smtp', url: await sink.listen(), from: 'runner@example.com' } as const;
      server = await AuthServer.start({ mail, allowedDomains: ['example.com'] });
      await server.setUp('root');
      victim = new Browser(server);
    });
    afterEach(() => sink.stop());

    const asked = async (
      headers: Record<string, string> = {},
      email = 'victim@example.com',
      browser = victim,
    ): Promise<string> => {
      const answer = await browser.post('/auth/magic-link', { email }, { headers });
      assert.equal(answer.status, 202, answer.text);
      return new URL(linkIn(sink.mails.at(-1)?.data ?? '')).pathname;
    };

    it('is worth nothing in another browser, however it got there', async () => {
      const path = await asked();
      const mallory = new Browser(server);
      assert.equal(await statusOf(mallory.get(path)), 403);
      assert.equal(await statusOf(mallory.post(path)), 403);
      // Not even in one that has asked for a link as well.
      await asked({}, 'mallory@example.com', mallory);
      assert.equal(await statusOf(mallory.post(path)), 403);
      mallory.cookies.set('sallyport-browser', randomText());
      assert.equal(await statusOf(mallory.post(path)), 403);
      assert.equal(await statusOf(mallory.get('/api/v1/me')), 401);
      assert.equal(await statusOf(victim.post(path)), 200);
    });

    it('signs in once, also where two use it at the same moment, and not late', async () => {
      const path = await asked();
      const twins = Array.from({ length: 8 }, () => {
        const twin = new Browser(server);
        for (const [name, value] of victim.cookies) twin.cookies.set(name, value);
        return twin;
      });
      const answers = await Promise.all(twins.map((twin) => statusOf(twin.post(path))));
      assert.deepEqual(answers.sort(), [200, ...Array<number>(7).fill(403)]);
      assert.equal(await statusOf(victim.post(path)), 403);
      const late = await asked();
      server.now += 10 * minute;
      assert.equal(await statusOf(victim.post(late)), 403);
      // Nor when the clock is set back to before it was made.
      server.now -= 60 * minute;
      assert.equal(await statusOf(victim.post(late)), 403);
    });

    it('is not used up by what only looks at it', async () => {
      const path = await asked();
      for (const browser of [victim, new Browser(server)])
        for (const method of ['GET', 'HEAD', 'GET']) await browser.send(method, path);
      assert.equal(await statusOf(victim.post(path)), 200);
    });

    it('leads to the public address, whatever the request calls the server', async () => {
      const { host } = new URL(server.origin);
      for (const headers of [
        { 'x-forwarded-proto': 'ftp', referer: evil },
        { forwarded: 'host=evil.example' },
        { 'x-forwarded-port': '1', 'x-original-host': 'evil.example' },
      ] as Record<string, string>[]) {
        await asked(headers, `x${sink.mails.length}@example.com`);
        const mail = sink.mails.at(-1)?.data ?? '';
        assert.equal(new URL(linkIn(mail)).host, host);
        assert.doesNotMatch(mail, /evil/);
      }
      const before = sink.mails.length;
      for (const headers of [{ host: 'evil.example' }, { 'x-forwarded-host': 'evil.example' }] as Record<
        string,
        string
      >[]) {
        const answer = await victim.post('/auth/magic-link', { email: 'v@example.com' }, { headers });
        assert.equal(answer.status, 403);
      }
      assert.equal(sink.mails.length, before);
    });

    it('is neither asked for nor used by a foreign page', async () => {
      const path = await asked();
      for (const origin of [evil, 'null']) {
        assert.equal(await statusOf(victim.post(path, undefined, { headers: { origin } })), 403);
        assert.equal(
          await statusOf(
            victim.post('/auth/magic-link', { email: 'v@example.com' }, { headers: { origin } }),
          ),
          403,
        );
      }
      assert.equal(await statusOf(victim.post(path)), 200);
    });

    it('is not kept from its owner by strangers who ask for it all the time', async () => {
      await victim.post(await asked());
      server.now += 10 * minute;
      const answers = [];
      for (let n = 0; n < 40; n++)
        answers.push(
          await statusOf(
            new Browser(server).post(
              '/auth/magic-link',
              { email: 'victim@example.com' },
              { from: `203.0.113.${n}` },
            ),
          ),
        );
      assert.equal(answers.filter((status) => status === 202).length, 10, 'nor is the mailbox flooded');
      assert.equal(await statusOf(victim.post(await asked())), 200);
    });

    it('is not guessed, and sends mail to nobody else', async () => {
      for (let n = 0; n < 5; n++)
        assert.equal(await statusOf(victim.post(`/auth/magic-link/${randomText()}`)), 403);
      for (const path of [
        '/auth/magic-link/x',
        '/auth/magic-link/%00',
        `/auth/magic-link/${'x'.repeat(5000)}`,
      ])
        assert.ok([400, 404, 414].includes(await statusOf(victim.post(path))), path);
      for (const email of [
        'victim@example.com,mallory@evil.example',
        'victim@example.com\nBcc: mallory@evil.example',
        'mallory@evil.example\u0000@example.com',
        'mallory@evil.example@example.com',
        '"mallory@evil.example "@example.com',
        '<mallory@evil.example>victim@example.com',
      ])
        assert.equal(await statusOf(victim.post('/auth/magic-link', { email })), 400, email);
      assert.equal(sink.mails.length, 0);
    });
  });

  describe('a token', () => {
    const bearer = (token: string): { headers: Record<string, string> } => ({
      headers: { authorization: `Bearer ${token}` },
    });

    it('is not found by trying, near or far, and trying keeps no good one out', async () => {
      const ada = await server.setUp();
      const good = await ada.token();
      const stored = String(server.store.prepare('SELECT hash FROM tokens').get()?.['hash']);
      const near = Array.from(
        { length: good.length },
        (_, place) => good.slice(0, place) + (good[place] === 'x' ? 'y' : 'x') + good.slice(place + 1),
      );
      const tried = [
        ...near,
        good.slice(0, -1),
        `${good}x`,
        good.toUpperCase(),
        stored,
        `slp_${stored}`,
        good.slice(0, 12),
        `${good.slice(0, 12)}%`,
        'slp_',
        '*',
        '%',
        "slp_' OR '1'='1",
        ...Array.from({ length: 20 }, () => `slp_${randomText()}`),
      ];
      const statuses = new Set<number>();
      const texts = new Set<string>();
      for (const token of tried) {
        const answer = await server.ask('GET', '/probe', bearer(token));
        statuses.add(answer.status);
        if (answer.status === 401) texts.add(answer.text);
        if (answer.status === 429) assert.ok(Number(answer.headers['retry-after']) >= 1);
      }
      assert.deepEqual([...statuses].sort(), [401, 429]);
      assert.equal(texts.size, 1, 'how near it was shows nowhere');
      assert.equal(await statusOf(server.ask('GET', '/probe', bearer(good))), 200);
    });

    it('that is not good is refused even where anybody may ask', async () => {
      const ada = await server.setUp();
      const good = await ada.token();
      const wrong: Record<string, string>[] = [
        { authorization: 'Bearer slp_x' },
        { authorization: 'Bearer' },
        { authorization: '' },
        { authorization: `Basic ${Buffer.from(`ada:${password}`).toString('base64')}` },
        { authorization: `Bearer ${good} x` },
        { authorization: `Token ${good}` },
        { 'x-api-key': '' },
        { 'x-api-key': `${good},${good}` },
        { authorization: `Bearer ${good}`, 'x-api-key': 'slp_x' },
        { authorization: 'Bearer slp_x', 'x-api-key': good },
        // A session beside it does not help either.
        { authorization: 'Bearer slp_x', cookie: ada.cookie },
      ];
      for (const headers of wrong) {
        for (const path of ['/probe/public', '/auth/state', '/probe', '/health'])
          assert.equal(
            await statusOf(server.ask('GET', path, { headers })),
            401,
            `${path} ${JSON.stringify(headers)}`,
          );
      }
      assert.equal(await statusOf(server.ask('GET', '/probe/public', bearer(good))), 200);
      assert.equal(
        await statusOf(
          server.ask('GET', '/probe', { headers: { ...bearer(good).headers, 'x-api-key': good } }),
        ),
        200,
      );
      for (const query of [`?token=${good}`, `?access_token=${good}`, `?api_key=${good}`])
        assert.equal(await statusOf(server.ask('GET', `/probe${query}`)), 401);
    });

    it('does not grow: no more rights, no more tokens, no session, no password, no program', async () => {
      const ada = await server.setUp();
      const bob = await server.user(ada, 'bob', 'member');
      const id = (await bob.get('/api/v1/me')).textAt('user', 'id');
      for (const scopes of [['admin'], ['tasks:read', 'admin'], ['everything'], [], ['tasks:read '], 'admin'])
        assert.ok(
          [400, 403].includes(await statusOf(bob.post('/api/v1/tokens', { name: 'x', scopes }))),
          JSON.stringify(scopes),
        );
      const grant = { callback: 'http://127.0.0.1:4000/', challenge: 'x'.repeat(43), state: 's', name: 'x' };
      const all = await ada.token({ scopes: ['tasks:read', 'tasks:write', 'account', 'admin'] });
      const little = await bob.token({ scopes: ['tasks:read'] });
      const account = await bob.token({ scopes: ['account'] });
      for (const token of [all, little, account]) {
        const ask = (method: string, path: string, json?: unknown): Promise<number> =>
          statusOf(server.ask(method, path, { ...bearer(token), json }));
        for (const [path, json] of [
          ['/api/v1/tokens', { name: 'more', scopes: ['tasks:read'] }],
          ['/auth/grants', grant],
          ['/auth/password', { current: password, password: 'another password' }],
          ['/token/generate', undefined],
        ] as const)
          assert.equal(await ask('POST', path, json), 403, path);
        if (token === all) continue;
        for (const [method, path, json] of [
          ['POST', '/probe', undefined],
          ['POST', '/probe/admin', undefined],
          ['GET', '/api/v1/users', undefined],
          ['PATCH', `/api/v1/users/${id}`, { role: 'admin' }],
          ['POST', '/api/v1/users', { login: 'more', role: 'admin', password }],
          ['GET', '/api/v1/audit', undefined],
        ] as const)
          assert.equal(await ask(method, path, json), 403, path);
      }
      // A session beside it lends it nothing.
      const both = { ...bearer(little).headers, cookie: ada.cookie, origin: server.origin };
      assert.equal(await statusOf(server.ask('POST', '/probe/admin', { headers: both })), 403);
      assert.equal(await statusOf(server.ask('POST', '/probe/admin', bearer(all))), 200);
      assert.equal(server.changes, 1);
      assert.equal(
        await statusOf(bob.send('PATCH', `/api/v1/users/${id}`, { json: { role: 'admin' } })),
        403,
      );
      const sneaky = await ada.post('/api/v1/users', {
        login: 'eve',
        role: 'viewer',
        disabled: false,
        id: 'x',
        password,
        github_id: '1',
        __proto__: { role: 'admin' },
      });
      assert.equal(sneaky.at('role'), 'viewer');
    });
  });

  describe('a password', () => {
    const login = (
      name: string,
      secret: string,
      from: string,
      browser = new Browser(server),
    ): Promise<Answer> => browser.post('/auth/login', { login: name, password: secret }, { from });

    it('is tried a few times, then the answer is to wait, for the right one too', async () => {
      await server.setUp();
      const answers: Answer[] = [];
      for (let n = 0; n < 12; n++) answers.push(await login('ada', `wrong password ${n}`, '203.0.113.66'));
      assert.deepEqual(new Set(answers.slice(0, 6).map(({ status }) => status)), new Set([401]));
      assert.deepEqual(new Set(answers.slice(6).map(({ status }) => status)), new Set([429]));
      const right = await login('ada', password, '203.0.113.66');
      assert.deepEqual([right.status, right.headers['retry-after']], [429, '1']);
      server.now += second;
      assert.equal((await login('ada', password, '203.0.113.66')).status, 200);
    });

    it('is not tried faster by many requests at once, or by spelling the login in other ways', async () => {
      await server.setUp();
      const burst = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          login([' ada', 'ADA', 'ada ', 'Ada'][n % 4] ?? '', `wrong ${n}`, '203.0.113.66'),
        ),
      );
      assert.equal(burst.filter(({ status }) => status === 401).length, 6);
    });

    it('cannot be tried from so many addresses that nothing holds, and one network is one address', async () => {
      await server.setUp();
      let tried = 0;
      for (let n = 0; n < 30; n++)
        tried +=
          (await login('ada', 'wrong password', `2001:db8:0:1::${n.toString(16)}`)).status === 401 ? 1 : 0;
      assert.equal(tried, 6);
      tried = 0;
      for (let n = 0; n < 80; n++)
        tried += (await login('ada', 'wrong password', `203.0.113.${n}`)).status === 401 ? 1 : 0;
      assert.ok(tried <= 51, String(tried));
    });

    it('that is tried by strangers locks no administrator out', async () => {
      const ada = await server.setUp();
      for (let n = 0; n < 80; n++) await login('ada', 'wrong password', `203.0.113.${n}`);
      assert.equal((await login('ada', password, '198.51.100.1')).status, 429);
      // The session goes on; and the browser in which ada has signed in before can do so again.
      assert.equal((await ada.post('/probe/admin')).status, 200);
      await ada.post('/auth/logout');
      assert.equal((await login('ada', password, '203.0.113.66', ada)).status, 200);
      // In any other, after a minute at most.
      server.now += minute;
      assert.equal((await login('ada', password, '198.51.100.1')).status, 200);
    });

    it('is not tried by way of the cookie of a known browser, stolen for another login or made up', async () => {
      const ada = await server.setUp();
      const mallory = await server.user(ada, 'mallory', 'member');
      const id = (await ada.get('/api/v1/me')).textAt('user', 'id');
      const statuses: number[] = [];
      for (let n = 0; n < 12; n++) {
        mallory.cookies.set(
          'sallyport-device',
          [mallory.cookies.get('sallyport-device') ?? '', `${id}.x`, `${id}.x.${'A'.repeat(43)}`][n % 3] ??
            '',
        );
        statuses.push((await login('ada', 'wrong password', '203.0.113.66', mallory)).status);
      }
      assert.equal(statuses.filter((status) => status === 401).length, 6, String(statuses));
    });

    it('tells nobody which users there are: same answer, same work', async () => {
      const ada = await server.setUp();
      await server.user(ada, 'bob', 'member');
      const disabled = await server.user(ada, 'gone', 'member');
      const id = (await disabled.get('/api/v1/me')).textAt('user', 'id');
      await ada.send('PATCH', `/api/v1/users/${id}`, { json: { disabled: true } });
      await ada.post('/api/v1/users', { login: 'nopassword@example.com', role: 'member' });
      let hashes = 0;
      const counted = new Passwords((...shape) => {
        hashes++;
        return wasmArgon2(...shape);
      });
      Object.assign(server.auth, { passwords: counted });
      const cases = [
        ['bob', 'wrong password'],
        ['nobody', 'wrong password'],
        ['gone', 'wrong password'],
        ['gone', password],
        ['nopassword@example.com', 'wrong password'],
        ['nopassword@example.com', ''],
        ["' OR 1=1 --", password],
      ] as const;
      const seen = new Set<string>();
      for (const [index, [name, secret]] of cases.entries()) {
        const answer = await login(name, secret, `203.0.113.${index}`);
        const { date: _, ...headers } = answer.headers;
        seen.add(JSON.stringify([answer.status, answer.text, headers]));
        assert.equal(hashes, index + 1, name);
      }
      assert.equal(seen.size, 1, [...seen].join('\n'));
      assert.equal((await login('bob', password, '203.0.113.99')).status, 200);
      // Being locked out tells nothing either.
      for (const name of ['bob', 'nobody']) {
        const statuses = [];
        for (let n = 0; n < 8; n++)
          statuses.push((await login(name, 'wrong password', `198.51.100.${name.length}`)).status);
        assert.deepEqual(statuses, [401, 401, 401, 401, 401, 401, 429, 429]);
      }
    });
  });

  describe('a user who is disabled', () => {
    it('has nothing from that moment on: no session, token, socket, program or new sign-in', async () => {
      const ada = await server.setUp();
      const bob = await server.user(ada, 'bob', 'admin');
      const id = (await bob.get('/api/v1/me')).textAt('user', 'id');
      const headers = { authorization: `Bearer ${await bob.token({ scopes: ['tasks:read', 'admin'] })}` };
      const socket = await server.socket({ cookie: bob.cookie, origin: server.origin });
      if (typeof socket === 'number') throw new Error(`refused with ${socket}`);
      const ask = async (): Promise<string> => {
        const answered = once(socket, 'message');
        socket.send('?');
        const [data] = (await answered) as [Buffer];
        return data.toString();
      };
      assert.equal(await ask(), 'bob');
      assert.equal(await statusOf(server.ask('GET', '/probe', { headers })), 200);
      await ada.send('PATCH', `/api/v1/users/${id}`, { json: { disabled: true } });
      assert.equal(await ask(), 'gone');
      socket.terminate();
      assert.equal(await statusOf(bob.get('/probe')), 401);
      assert.equal(await statusOf(server.ask('GET', '/probe', { headers })), 401);
      assert.equal(
        await statusOf(server.ask('PATCH', `/api/v1/users/${id}`, { headers, json: { disabled: false } })),
        401,
      );
      assert.equal(await server.socket(headers), 401);
      assert.equal(await statusOf(new Browser(server).post('/auth/login', { login: 'bob', password })), 401);
      // Sessions from before do not come back with the user.
      await ada.send('PATCH', `/api/v1/users/${id}`, { json: { disabled: false } });
      assert.equal(await statusOf(bob.get('/probe')), 401);
      await server.signIn('bob');
    });
  });

  it('a thief of the store finds no password, session, token or link in it', async () => {
    await server.stop();
    const sink = new SmtpSink();
    try {
      const mail = { kind: 'smtp', url: await sink.listen(), from: 'runner@example.com' } as const;
      server = await AuthServer.start({ mail, allowedDomains: ['example.com'] });
      const secret = new URL(server.auth.setUpLink() ?? 'none:').hash.slice(1);
      const ada = await server.setUp();
      const token = await ada.token();
      const asking = new Browser(server);
      await asking.post('/auth/magic-link', { email: 'bob@example.com' });
      const link =
        linkIn(sink.mails[0]?.data ?? '')
          .split('/')
          .at(-1) ?? '';
      const tables = server.store.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
      const everything = tables
        .map(({ name }) => JSON.stringify(server.store.prepare(`SELECT * FROM "${String(name)}"`).all()))
        .join('\n');
      assert.match(everything, /bob@example\.com/);
      const cookies = [...ada.cookies.values(), ...asking.cookies.values()].map(
        (value) => value.split('.')[0] ?? '',
      );
      const session = ada.cookies.get('sallyport')?.split('.')[0] ?? '';
      for (const one of [
        password,
        secret,
        token,
        token.slice(12),
        link,
        session,
        asking.cookies.get('sallyport-browser')?.split('.')[0] ?? '',
      ])
        assert.ok(one.length > 8 && !everything.includes(one), one);
      assert.ok(cookies.length >= 3);
      assert.equal(server.log.join('\n').includes(secret), false);
    } finally {
      sink.stop();
    }
  });
});
