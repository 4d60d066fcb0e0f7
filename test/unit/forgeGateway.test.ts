import assert from 'node:assert/strict';
import { forgeCall } from '../../src/gateway/forgeCall.ts';
import type { Answer } from '../support/modelGateway.ts';
import { ModelGateway } from '../support/modelGateway.ts';
import { ForgeFake, forgeSecrets } from '../support/forgeFake.ts';

describe('forgeGateway', () => {
  let gateway: ModelGateway;
  let fake: ForgeFake;

  beforeEach(async () => {
    gateway = await ModelGateway.open();
    fake = await ForgeFake.open();
    fake.repositories.push({
      name: 'octo/app',
      description: 'The app',
      files: { 'README.md': '# App\n', 'a b.txt': 'x' },
    });
    await gateway.listen(
      { kind: 'scripted', turns: [] },
      { forge: { apiUrl: fake.apiUrl, token: fake.token } },
    );
  });
  afterEach(async () => {
    gateway.close();
    await fake.close();
  });

  const read = (path: string): Promise<Answer> => gateway.ask(path, { method: 'GET' });
  const json = (answer: Answer): unknown => JSON.parse(answer.text);

  it('reads repositories, their files and branches, with a token that the sandbox does not see', async () => {
    const mine = await read('/forge/user/repos?per_page=10&sort=pushed');
    assert.equal(mine.status, 200);
    const repository = {
      full_name: 'octo/app',
      description: 'The app',
      private: true,
      archived: false,
      fork: false,
      default_branch: 'main',
      language: 'TypeScript',
      topics: ['test'],
      pushed_at: '2026-01-01T00:00:00Z',
    };
    assert.deepEqual(json(mine), [repository]);
    assert.deepEqual(json(await read('/forge/search/repositories?q=app')), {
      total_count: 1,
      items: [repository],
    });
    assert.deepEqual(json(await read('/forge/repos/octo/app')), repository);
    assert.deepEqual(json(await read('/forge/repos/octo/app/readme')), {
      name: 'README.md',
      path: 'README.md',
      type: 'file',
      size: 6,
      encoding: 'base64',
      content: Buffer.from('# App\n').toString('base64'),
    });
    assert.equal((json(await read('/forge/repos/octo/app/contents')) as unknown[]).length, 2);
    assert.equal((await read('/forge/repos/octo/app/contents/a%20b.txt?ref=main')).status, 200);
    assert.deepEqual(json(await read('/forge/repos/octo/app/branches')), [{ name: 'main', protected: true }]);
    assert.ok(fake.requests.every(({ authorization }) => authorization === `Bearer ${fake.token}`));
    assert.equal(fake.requests[0]?.path, '/user/repos?per_page=10&sort=pushed');
    for (const secret of [fake.token, forgeSecrets.clone, forgeSecrets.download])
      assert.ok(!gateway.printed.includes(secret) && !mine.text.includes(secret));
  });

  it('writes every request into the ledger, as one of the forge', async () => {
    await read('/forge/repos/octo/app/readme?ref=main');
    await read('/forge/user/emails');
    await gateway.until('request', 2);
    const [good, bad] = gateway.saidOf('request');
    assert.deepEqual(
      [good?.kind, good?.host, good?.port, good?.method, good?.path, good?.verdict, good?.status],
      ['forge', 'localhost', fake.port, 'GET', '/repos/octo/app/readme?ref=main', 'allowed', 200],
    );
    assert.ok((good?.bytesIn ?? 0) > 0);
    assert.deepEqual([bad?.kind, bad?.verdict, bad?.status], ['forge', 'blocked', 403]);
  });

  it("passes on what the forge says of a failure, and hides a failure of the runner's token", async () => {
    const missing = await read('/forge/repos/octo/none');
    assert.equal(missing.status, 404);
    assert.deepEqual(json(missing), { message: 'Not Found' });
    fake.token = 'another';
    const refused = await read('/forge/user/repos');
    assert.equal(refused.status, 502);
    assert.match(refused.text, /administrator can renew/);
    await fake.close();
    const gone = await read('/forge/user/repos');
    assert.equal(gone.status, 502);
    assert.match(gone.text, /could not be reached/);
    fake = await ForgeFake.open();
  });

  it('bounds what one answer brings, and how many are asked for at once', async () => {
    fake.instead = (_, response) => {
      response.writeHead(200).end(`"${'x'.repeat(9 << 20)}"`);
      return true;
    };
    const large = await read('/forge/user/repos');
    assert.equal(large.status, 502);
    assert.match(large.text, /longer than/);
    const open: (() => void)[] = [];
    fake.instead = (_, response) => {
      open.push(() => response.writeHead(404).end('{"message":"Not Found"}'));
      return true;
    };
    const answers = Array.from({ length: 12 }, () => read('/forge/user/repos'));
    const turnedAway = async (): Promise<number> => {
      await gateway.until('request', 7);
      return gateway.saidOf('request').filter(({ status }) => status === 429).length;
    };
    assert.equal(await turnedAway(), 6);
    while (open.length < 6) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const go of open) go();
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    assert.equal(statuses.filter((status) => status === 429).length, 6);
    assert.equal(statuses.filter((status) => status === 404).length, 6);
  });

  it('lets nothing through for a task without a forge', async () => {
    await gateway.listen({ kind: 'scripted', turns: [] });
    const answer = await read('/forge/user/repos');
    assert.equal(answer.status, 403);
    assert.match(answer.text, /may not read the forge/);
    assert.deepEqual(fake.requests, []);
  });

  it('writes paths and queries anew, and takes none that could be read in two ways', () => {
    const path = (asked: string, query = ''): string | undefined => {
      const call = forgeCall('GET', asked, query);
      return typeof call === 'string' ? undefined : call.path;
    };
    assert.equal(
      path('/repos/o/n/contents/src/a+b%23.ts', '?ref=x%26y'),
      '/repos/o/n/contents/src/a%2Bb%23.ts?ref=x%26y',
    );
    assert.equal(path('/repos/o/n/contents/'), '/repos/o/n/contents');
    assert.equal(path('/repos/o/.github'), '/repos/o/.github');
    for (const wrong of [
      '',
      '/',
      '/user',
      '/user/repos/',
      '/user/keys',
      '/repos',
      '/repos/o',
      '/repos/o/..',
      '/repos/../user',
      '/repos/o/n/',
      '/repos/o/n/actions/secrets',
      '/repos/o/n/contents/../../x',
      '/repos/o/n/contents/%2e%2e/x',
      '/repos/o/n/contents/a%2f..%2fb',
      '/repos/o/n/contents/%252e%252e/x',
      '/repos/o/n/contents/a%5cb',
      '/repos/o/n/contents/a//b',
      '/repos/o/n/contents/..;/b',
      '/repos/o/n/contents/%',
      '/repos/o/n/contents/%00',
      '/repos/o%2fn/x/y',
      '//repos/o/n',
      '/repos/o/n/branches/main/protection',
      '/repos/o/n/readme/sub',
      '/search/code',
    ])
      assert.equal(path(wrong), undefined, wrong);
    assert.equal(path('/repos/o/n', '?x=1'), undefined);
    assert.equal(path('/user/repos', '?page=1&page=2'), undefined);
    assert.equal(path('/user/repos', '?access_token=x'), undefined);
    assert.equal(path('/search/repositories', `?q=${'x'.repeat(501)}`), undefined);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'])
      assert.equal(typeof forgeCall(method, '/user/repos', ''), 'string', method);
  });
});
