import assert from 'node:assert/strict';
import { TooManyRequests } from '../../src/forge/failures.ts';
import { GitHub } from '../../src/forge/github.ts';
import { ForgeFake } from '../support/forgeFake.ts';

describe('forgeGitHub', () => {
  let fake: ForgeFake;
  let forge: GitHub;
  const signal = new AbortController().signal;

  beforeEach(async () => {
    fake = await ForgeFake.open();
    fake.repositories.push(
      { name: 'octo/app', description: 'The app' },
      { name: 'octo/site', mayPush: false },
    );
    forge = new GitHub({ apiUrl: fake.apiUrl, webUrl: 'https://forge.example.com', token: fake.token });
  });
  afterEach(() => fake.close());

  const wish = {
    repository: 'octo/app',
    branch: 'claude/x',
    base: 'main',
    title: 'A title',
    body: 'A body',
    draft: true,
  };

  it('lists what the token may see, page by page, and no more than is asked for', async () => {
    for (let i = 0; i < 240; i++) fake.repositories.push({ name: `octo/r${i}` });
    const all = await forge.repositories(1000, signal);
    assert.equal(all.repositories.length, 242);
    assert.equal(all.more, false);
    assert.equal(fake.requests.length, 3);
    assert.deepEqual(all.repositories[0], {
      name: 'octo/app',
      description: 'The app',
      private: true,
      archived: false,
      mayPush: true,
      defaultBranch: 'main',
    });
    const some = await forge.repositories(150, signal);
    assert.equal(some.repositories.length, 150);
    assert.equal(some.more, true);
  });

  it('tells the addresses of its own repositories from all others', () => {
    for (const good of [
      'https://forge.example.com/octo/app',
      'https://forge.example.com/octo/app.git',
      'https://forge.example.com:443/octo/app/',
    ])
      assert.equal(forge.repositoryAt(good), 'octo/app', good);
    for (const bad of [
      'https://forge.example.com.evil.example/octo/app',
      'https://evil.example/forge.example.com/octo/app',
      'https://forge.example.com@evil.example/octo/app',
      'https://user@forge.example.com/octo/app',
      'http://forge.example.com/octo/app',
      'https://forge.example.com:8443/octo/app',
      'https://forge.example.com/octo/app/pulls',
      'https://forge.example.com/octo',
      'https://forge.example.com/octo/app?x=y',
      'git@forge.example.com:octo/app.git',
      'ssh://git@forge.example.com/octo/app',
      '../octo/app',
      '',
    ])
      assert.equal(forge.repositoryAt(bad), undefined, bad);
    assert.equal(forge.urlOf('octo/app'), 'https://forge.example.com/octo/app.git');
    assert.throws(() => forge.urlOf('../app'), { code: 'invalid_input' });
  });

  it('opens one pull request for a branch, however often it is asked to', async () => {
    const first = await forge.openPullRequest(wish, signal);
    assert.deepEqual(first, {
      number: 1,
      url: 'https://forge.example.com/octo/app/pull/1',
      state: 'draft',
      title: 'A title',
      body: 'A body',
      branch: 'claude/x',
      base: 'main',
      commit: 'c'.repeat(40),
    });
    assert.deepEqual(await forge.openPullRequest(wish, signal), first);
    assert.equal(fake.pulls.length, 1);
  });

  it('takes the one that somebody else opened in the same moment', async () => {
    let raced = false;
    fake.instead = ({ method, body }) => {
      if (method !== 'POST' || raced) return false;
      raced = true;
      const { head, base, title } = body as typeof wish & { head: string };
      fake.pulls.push({
        number: 7,
        repository: 'octo/app',
        head,
        base,
        title,
        body: '',
        draft: true,
        state: 'open',
        merged: false,
      });
      return false;
    };
    assert.equal((await forge.openPullRequest(wish, signal)).number, 7);
  });

  it('changes the body, takes the mark of a draft off, and tells merged from closed', async () => {
    const { number } = await forge.openPullRequest(wish, signal);
    const changed = await forge.changePullRequest('octo/app', number, { body: 'Another' }, signal);
    assert.equal(changed.body, 'Another');
    assert.equal(changed.title, 'A title');
    assert.equal((await forge.markReady('octo/app', number, signal)).state, 'open');
    assert.equal((await forge.markReady('octo/app', number, signal)).state, 'open');
    assert.equal(fake.requests.filter(({ path }) => path === '/api/graphql').length, 1);
    Object.assign(fake.pulls[0] ?? {}, { state: 'closed' });
    assert.equal((await forge.pullRequest('octo/app', number, signal)).state, 'closed');
    Object.assign(fake.pulls[0] ?? {}, { merged: true });
    assert.equal((await forge.pullRequest('octo/app', number, signal)).state, 'merged');
  });

  it('asks the GraphQL API of github.com below its REST API', async () => {
    forge = new GitHub({
      apiUrl: `http://localhost:${fake.port}`,
      webUrl: 'https://forge.example.com',
      token: fake.token,
    });
    const { number } = await forge.openPullRequest(wish, signal);
    await assert.rejects(forge.markReady('octo/app', number, signal));
    assert.equal(fake.requests.at(-1)?.path, '/graphql');
  });

  it('tells each refusal with what to do about it', async () => {
    await assert.rejects(forge.repository('octo/none', signal), {
      code: 'repository_not_found',
      mend: 'Check the name, and that the token may see it.',
    });
    await assert.rejects(forge.openPullRequest({ ...wish, repository: 'octo/site' }, signal), {
      code: 'forge_refused',
      message: /not allow that .* Resource not accessible/,
      mend: /pull requests/,
    });
    fake.instead = (_, response) => {
      response
        .writeHead(422)
        .end(JSON.stringify({ message: 'Validation Failed', errors: [{ message: 'No commits' }] }));
      return true;
    };
    await assert.rejects(forge.repository('octo/app', signal), {
      code: 'forge_refused',
      message: /Validation Failed; No commits/,
    });
    fake.instead = () => false;
    fake.token = 'another';
    await assert.rejects(
      forge.repository('octo/app', signal),
      (error: Error & { code: string; mend: string }) => {
        assert.equal(error.code, 'forge_refused');
        assert.match(error.mend, /sets a new one/);
        assert.doesNotMatch(`${error.message} ${error.stack ?? ''}`, /ghs_/);
        return true;
      },
    );
  });

  it('knows until when it may ask no more', async () => {
    const reset = Math.ceil(Date.now() / 1000) + 600;
    const limits: [number, Record<string, string>][] = [
      [403, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': `${reset}` }],
      [429, { 'retry-after': '600' }],
      [403, { 'retry-after': '600' }],
    ];
    for (const [status, headers] of limits) {
      fake.instead = (_, response) => {
        response.writeHead(status, headers).end('{"message":"API rate limit exceeded"}');
        return true;
      };
      await assert.rejects(forge.repository('octo/app', signal), (error: Error) => {
        assert.ok(error instanceof TooManyRequests);
        assert.ok(Math.abs(error.until - reset * 1000) < 60_000, `${error.until}`);
        return true;
      });
    }
  });

  it('takes failures and nonsense of the forge for what may go better later', async () => {
    for (const [status, text] of [
      [502, 'Bad Gateway'],
      [200, '<html>'],
      [200, '{"full_name": "../../etc", "private": true}'],
      [200, '[]'],
    ] as const) {
      fake.instead = (_, response) => {
        response.writeHead(status).end(text);
        return true;
      };
      await assert.rejects(forge.repository('octo/app', signal), { code: 'forge_unreachable' }, text);
    }
    fake.instead = (_, response) => {
      response.destroy();
      return true;
    };
    await assert.rejects(forge.repository('octo/app', signal), { code: 'forge_unreachable' });
  });

  it('carries its token to no other host: neither a redirect nor a next page', async () => {
    const other = await ForgeFake.open();
    try {
      fake.instead = (_, response) => {
        response.writeHead(301, { location: `${other.apiUrl}/repos/octo/app` }).end();
        return true;
      };
      await assert.rejects(forge.repository('octo/app', signal), { message: /has moved/ });
      fake.instead = (_, response) => {
        response.setHeader('link', `<${other.apiUrl}/user/repos?page=2>; rel="next"`);
        return false;
      };
      await assert.rejects(forge.repositories(1000, signal), { message: /another host/ });
      assert.deepEqual(other.requests, []);
    } finally {
      await other.close();
    }
  });

  it('ends with its signal', async () => {
    fake.instead = () => true;
    const ending = new AbortController();
    const asking = forge.repository('octo/app', ending.signal);
    setTimeout(() => ending.abort(), 50);
    await assert.rejects(asking, { code: 'cancelled' });
  });
});
