import assert from 'node:assert/strict';
import { AuthServer, Browser } from '../support/authServer.ts';
import { FakeGithub } from '../support/fakeGithubLogin.ts';

describe('sign-in with GitHub', () => {
  let server: AuthServer;
  let github: FakeGithub;
  let browser: Browser;
  let settings: NonNullable<AuthServer['config']['github']>;

  beforeEach(async () => {
    github = new FakeGithub();
    const baseUrl = await github.listen();
    settings = {
      clientId: 'client',
      clientSecret: 'secret',
      baseUrl,
      apiUrl: baseUrl,
      allowedUsers: ['OCTOCAT'],
      allowedOrganizations: [],
    };
    server = await AuthServer.start({ github: settings });
    browser = new Browser(server);
  });
  afterEach(async () => {
    await server.stop();
    github.stop();
  });

  const begin = async (who = browser, query = ''): Promise<URL> => {
    const begun = await who.get(`/auth/github${query}`);
    assert.equal(begun.status, 302, begun.text);
    return github.consent(begun.headers.location ?? '');
  };
  const back = (url: URL, who = browser): ReturnType<Browser['get']> => who.get(url.pathname + url.search);

  it('makes a user of an account on the list, and goes on where it should', async () => {
    await server.setUp();
    const url = await begin(browser, '?next=/connect?state=1');
    assert.deepEqual(
      [github.asked.get('redirect_uri'), github.asked.get('scope')],
      [`${server.origin}/auth/github/callback`, ''],
    );
    const answer = await back(url);
    assert.deepEqual([answer.status, answer.headers.location], [303, '/connect?state=1']);
    const me = await browser.get('/api/v1/me');
    assert.deepEqual(
      [me.at('user', 'login'), me.at('user', 'name'), me.at('user', 'role')],
      ['octocat', 'Octo Cat', 'member'],
    );
    // The second time it is the same user.
    await back(await begin(new Browser(server)), browser);
    assert.equal(server.auth.users.list().length, 2);
  });

  it('knows an account by its number: one of the same name is somebody else', async () => {
    const ada = await server.setUp();
    await ada.post('/api/v1/users', { login: 'octocat', role: 'admin' });
    await back(await begin());
    const me = await browser.get('/api/v1/me');
    assert.deepEqual([me.at('user', 'login'), me.at('user', 'role')], ['octocat.github.42', 'member']);
    github.account.login = 'renamed';
    settings.allowedUsers = ['renamed'];
    const again = new Browser(server);
    await back(await begin(again), again);
    assert.equal((await again.get('/api/v1/me')).at('user', 'id'), me.at('user', 'id'));
  });

  it('lets members of an organisation in, once they are active', async () => {
    await server.setUp();
    settings.allowedUsers = [];
    settings.allowedOrganizations = ['other', 'acme'];
    const refused = await back(await begin());
    assert.equal(refused.status, 403);
    assert.match(refused.text, /The GitHub account Octocat may not use this server/);
    assert.equal(github.asked.get('scope'), 'read:org');
    github.memberships = { acme: 'pending' };
    assert.equal((await back(await begin())).status, 403);
    github.memberships = { acme: 'active' };
    assert.equal((await back(await begin())).status, 303);
  });

  it('takes nobody whose state, code, browser or time is another', async () => {
    await server.setUp();
    const url = await begin();
    const forged = new URL(url);
    forged.searchParams.set('state', 'x'.repeat(43));
    assert.equal((await back(forged)).status, 403);
    // That attempt has used up what the browser had brought.
    assert.equal((await back(url)).status, 403);
    assert.equal((await back(await begin(), new Browser(server))).status, 403);
    const another = await begin();
    another.searchParams.set('code', 'made-up');
    assert.equal((await back(another)).status, 403);
    const late = await begin();
    server.now += 10 * 60_000;
    assert.equal((await back(late)).status, 403);
    const denied = await browser.get('/auth/github/callback?error=access_denied&state=x');
    assert.equal(denied.status, 403);
    assert.equal((await browser.get('/api/v1/me')).status, 401);
    assert.equal(server.auth.users.list().length, 1);
  });

  it('takes no code of another sign-in (PKCE)', async () => {
    await server.setUp();
    const stolen = await begin(new Browser(server));
    const own = await begin();
    own.searchParams.set('code', stolen.searchParams.get('code') ?? '');
    assert.equal((await back(own)).status, 403);
  });

  it('refuses a user who is disabled, and shows a page, whose text is text', async () => {
    const ada = await server.setUp();
    await back(await begin());
    const id = (await browser.get('/api/v1/me')).textAt('user', 'id');
    await ada.send('PATCH', `/api/v1/users/${id}`, { json: { disabled: true } });
    const refused = await back(await begin());
    assert.equal(refused.status, 403);
    assert.match(String(refused.headers['content-type']), /^text\/html/);
    assert.doesNotMatch(refused.text, /<script/);
  });

  it('waits for the set-up, says when GitHub is down, and is not there where it is not set up', async () => {
    assert.equal((await browser.get('/auth/github')).status, 409);
    await server.setUp();
    const url = await begin();
    github.down = true;
    assert.equal((await back(url)).status, 502);
    delete server.config.github;
    assert.equal((await browser.get('/auth/github')).status, 404);
  });
});
