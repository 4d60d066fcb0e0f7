import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SallyportError } from '../../src/base/errors.ts';
import { isAllowedEmail, linkMail } from '../../src/server/auth/magicLinks.ts';
import { emailOf, sendMail } from '../../src/server/auth/mail.ts';
import type { ServerConfig } from '../../src/server/config.ts';
import { AuthServer, Browser, password } from '../support/authServer.ts';
import { FakeResend, linkIn, SmtpSink } from '../support/mailServices.ts';

const minute = 60_000;
const page = { accept: 'text/html,application/xhtml+xml' };
const { signal } = new AbortController();

describe('e-mail addresses', () => {
  it('are plain ones, in lower case', () => {
    for (const good of [
      'ada@example.com',
      'a.b+c@sub.example.org',
      "o'neil@example.com",
      'x@xn--bcher-kva.example',
    ])
      assert.equal(emailOf(good), good);
    assert.equal(emailOf(' User@Company.COM '), 'user@company.com');
  });

  it('are no lists, names, comments, quotes, routes, or letters that turn into others', () => {
    for (const bad of [
      '',
      'ada',
      '@example.com',
      'ada@',
      'ada@localhost',
      'ada@example',
      'a@b@example.com',
      'ada@example.com,eve@evil.example',
      'ada@example.com eve@evil.example',
      'Ada <ada@example.com>',
      '"ada@evil.example"@example.com',
      'ada@example.com\nBcc: eve@evil.example',
      'ada@example.com\r\n.\r\nMAIL FROM:<x>',
      'ada(eve)@example.com',
      'ada@[127.0.0.1]',
      'ada@exam\u212ample.com',
      '\u212aate@example.com',
      'ada@example..com',
      '.ada@example.com',
      'a..b@example.com',
      `${'a'.repeat(65)}@example.com`,
      'ada@-example.com',
      'ada@example.com\u0000',
    ])
      assert.equal(emailOf(bad), undefined, JSON.stringify(bad));
  });

  it('never hold what could end a header or begin another address', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.emailAddress(),
          fc.string(),
          fc.string().map((text) => `${text}@example.com`),
        ),
        (text) => {
          const email = emailOf(text);
          assert.ok(email === undefined || /^[^\s<>,;:"()[\]\\@]+@[a-z0-9.-]+$/.test(email));
        },
      ),
    );
  });

  it('are allowed as the lists say, whatever the case; with no list only those of users', () => {
    const lists = { allowedEmails: ['Admin@Mycompany.com'], allowedDomains: ['Partner.org'] };
    for (const good of ['admin@mycompany.com', 'anybody@partner.org'])
      assert.equal(isAllowedEmail(lists, good, false), true);
    for (const bad of [
      'other@mycompany.com',
      'x@sub.partner.org',
      'x@evilpartner.org',
      'x@partner.org.evil.example',
      'partner.org@evil.example',
    ])
      assert.equal(isAllowedEmail(lists, bad, true), false, bad);
    const none = { allowedEmails: [], allowedDomains: [] };
    assert.equal(isAllowedEmail(none, 'x@example.com', false), false);
    assert.equal(isAllowedEmail(none, 'x@example.com', true), true);
  });
});

describe('mails', () => {
  let sink: SmtpSink;
  let smtp: ServerConfig['mail'] & { kind: 'smtp' };
  const mail = linkMail('ada@example.com', 'https://runner.example.com', 'x'.repeat(43));

  beforeEach(async () => {
    sink = new SmtpSink();
    smtp = { kind: 'smtp', url: await sink.listen(), from: 'Runner <runner@example.com>' };
  });
  afterEach(() => sink.stop());

  it('go out over SMTP, as text and as HTML', async () => {
    await sendMail(smtp, mail, signal);
    const [got] = sink.mails;
    assert.deepEqual([got?.from, got?.to, sink.mails.length], ['runner@example.com', ['ada@example.com'], 1]);
    assert.match(got?.data ?? '', /^Subject: Sign in to runner\.example\.com$/m);
    assert.match(got?.data ?? '', /^Content-Type: text\/plain/m);
    assert.match(got?.data ?? '', /^Content-Type: text\/html/m);
    assert.equal(linkIn(got?.data ?? ''), `https://runner.example.com/auth/magic-link/${'x'.repeat(43)}`);
  });

  it('go out over Resend', async () => {
    const resend = new FakeResend();
    try {
      const baseUrl = await resend.listen();
      const config = { kind: 'resend', apiKey: 're_123', from: 'runner@example.com', baseUrl } as const;
      await sendMail(config, mail, signal);
      const [{ url, authorization, body } = { url: '', authorization: '', body: {} }] = resend.requests;
      assert.deepEqual(
        [url, authorization, body['to'], body['from']],
        ['/emails', 'Bearer re_123', ['ada@example.com'], 'runner@example.com'],
      );
      assert.match(String(body['text']), /auth\/magic-link/);
      assert.match(String(body['html']), /<a href="https:\/\/runner/);
      resend.status = 403;
      await assert.rejects(
        sendMail(config, mail, signal),
        (error) =>
          error instanceof SallyportError &&
          error.code === 'mail_failed' &&
          !/re_123/.test(error.message + error.mend),
      );
    } finally {
      resend.stop();
    }
  });

  it('that cannot be sent say so, without a password in it', async () => {
    sink.verdict = '554 no';
    const url = smtp.url.replace('smtp://', 'smtp://user:hunter2@');
    for (const tried of [smtp, { ...smtp, url }, { ...smtp, url: 'smtp://127.0.0.1:1' }]) {
      await assert.rejects(
        sendMail(tried, mail, signal),
        (error) =>
          error instanceof SallyportError &&
          error.code === 'mail_failed' &&
          !error.message.includes('hunter2'),
      );
    }
    assert.equal(sink.mails.length, 0);
  });

  it('send no password over a line that somebody has kept open', async () => {
    // A name that leads to the loopback and is not known as such: the sink offers no TLS.
    const url = smtp.url.replace('smtp://127.0.0.1', 'smtp://user:hunter2@0.0.0.0');
    await assert.rejects(sendMail({ ...smtp, url }, mail, signal), /could not be sent/);
    assert.equal(sink.mails.length, 0);
  });

  it('take no second address and no further header', async () => {
    for (const bad of [
      { ...mail, to: 'ada@example.com, eve@evil.example' },
      { ...mail, to: 'ada@example.com\r\nBcc: eve@evil.example' },
      { ...mail, subject: 'Hello\r\nBcc: eve@evil.example' },
    ]) {
      await assert.rejects(sendMail(smtp, bad, signal), /no e-mail address/);
    }
    assert.equal(sink.mails.length, 0);
  });
});

describe('sign-in by a link in a mail', () => {
  let server: AuthServer;
  let sink: SmtpSink;
  let browser: Browser;

  beforeEach(async () => {
    sink = new SmtpSink();
    server = await AuthServer.start({
      mail: { kind: 'smtp', url: await sink.listen(), from: 'runner@example.com' },
      allowedEmails: ['ada@example.com'],
      allowedDomains: ['partner.example'],
    });
    browser = new Browser(server);
  });
  afterEach(async () => {
    await server.stop();
    sink.stop();
  });

  const ask = (email: string, from = browser): ReturnType<Browser['post']> =>
    from.post('/auth/magic-link', { email });
  const path = (): string => new URL(linkIn(sink.mails.at(-1)?.data ?? '')).pathname;

  it('signs in with the button of the page, and goes on where it should', async () => {
    await server.setUp('root');
    const answer = await browser.post('/auth/magic-link', {
      email: 'Ada@Example.com',
      next: '/dashboard/tokens',
    });
    assert.deepEqual([answer.status, answer.text], [202, '{"sent":true}']);
    assert.deepEqual(sink.mails[0]?.to, ['ada@example.com']);
    assert.equal(new URL(linkIn(sink.mails[0].data)).origin, server.origin);
    const shown = await browser.get(path());
    assert.equal(shown.status, 200);
    assert.match(shown.text, new RegExp(`<form method="post" enctype="text/plain" action="${path()}">`));
    assert.match(String(shown.headers['content-security-policy']), /default-src 'none'.*form-action 'self'/);
    const used = await browser.post(path(), undefined, {
      body: '',
      headers: { ...page, 'content-type': 'text/plain' },
    });
    assert.deepEqual([used.status, used.headers.location], [303, '/dashboard/tokens']);
    const me = await browser.get('/api/v1/me');
    assert.deepEqual([me.at('user', 'login'), me.at('user', 'role')], ['ada@example.com', 'member']);
    assert.deepEqual(server.actions().slice(-3), ['link_sent', 'user_created', 'sign_in']);
  });

  it('is for those on the lists, and says so as clients of such servers expect', async () => {
    await server.setUp('root');
    const refused = await ask('eve@evil.example');
    assert.equal(refused.status, 403);
    assert.match(String(refused.headers['content-type']), /^application\/problem\+json/);
    assert.deepEqual(
      [refused.at('error'), refused.at('detail')],
      ['Email address not allowed', 'Email address not allowed'],
    );
    assert.equal((await ask('Bob@PARTNER.example')).status, 202);
    assert.equal((await ask('no address')).status, 400);
    assert.equal(sink.mails.length, 1);
  });

  it('is for users alone where there is no list', async () => {
    server.config.allowedEmails = [];
    server.config.allowedDomains = [];
    const root = await server.setUp('root');
    assert.equal((await ask('carl@example.com')).status, 403);
    await root.post('/api/v1/users', { login: 'Carl@example.com', role: 'viewer' });
    assert.equal((await ask('carl@example.com')).status, 202);
    assert.equal((await browser.post(path())).at('user', 'role'), 'viewer');
  });

  it('waits for the set-up: nobody comes before the first administrator', async () => {
    assert.equal((await ask('ada@example.com')).status, 409);
    assert.equal(server.auth.needsSetUp(), true);
    assert.equal(sink.mails.length, 0);
  });

  it('is refused to a user who is disabled, also with a link from before', async () => {
    const root = await server.setUp('root');
    await ask('ada@example.com');
    const made = await root.post('/api/v1/users', { login: 'ada@example.com', role: 'member' });
    await root.send('PATCH', `/api/v1/users/${made.textAt('id')}`, { json: { disabled: true } });
    assert.equal((await browser.post(path())).status, 403);
    assert.equal((await ask('ada@example.com')).status, 403);
  });

  it('looks at the lists once more when the link is used', async () => {
    await server.setUp('root');
    await ask('ada@example.com');
    server.config.allowedEmails = [];
    assert.equal((await browser.post(path())).status, 403);
    assert.equal(server.auth.users.byLogin('ada@example.com'), undefined);
  });

  it('sends a few mails to one address, and a few for one asker', async () => {
    await server.setUp('root');
    const statuses = [];
    for (let n = 0; n < 4; n++) statuses.push((await ask('ada@example.com', new Browser(server))).status);
    assert.deepEqual(statuses, [202, 202, 202, 429]);
    const asked = [];
    for (let n = 0; n < 25; n++)
      asked.push(
        (await browser.post('/auth/magic-link', { email: `x${n}@partner.example` }, { from: '203.0.113.7' }))
          .status,
      );
    assert.deepEqual([asked.filter((status) => status === 202).length, asked.at(-1)], [20, 429]);
    const last = await browser.post(
      '/auth/magic-link',
      { email: 'y@partner.example' },
      { from: '203.0.113.7' },
    );
    assert.equal(last.headers['retry-after'], '600');
    server.now += 10 * minute;
    assert.equal((await ask('ada@example.com')).status, 202);
  });

  it('lets who came so set a password right away, and later only with the one before', async () => {
    await server.setUp('root');
    await ask('ada@example.com');
    await browser.post(path());
    server.now += 11 * minute;
    assert.equal((await browser.post('/auth/password', { password })).status, 403);
    await ask('ada@example.com');
    await browser.post(path());
    assert.equal((await browser.post('/auth/password', { password })).status, 204);
    assert.equal((await browser.post('/auth/password', { password: 'another one' })).status, 403);
    await server.signIn('ada@example.com');
  });

  it('says that the mail could not be sent', async () => {
    await server.setUp('root');
    sink.verdict = '554 no';
    const answer = await ask('ada@example.com');
    assert.deepEqual([answer.status, answer.at('code')], [502, 'mail_failed']);
  });

  it('is not there where the server sends no mail', async () => {
    delete server.config.mail;
    await server.setUp('root');
    assert.equal((await ask('ada@example.com')).status, 404);
  });
});
