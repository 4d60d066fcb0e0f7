import assert from 'node:assert/strict';
import { BitbucketContract } from '../support/forgeFakes/bitbucket.ts';
import { BitbucketDataCenterContract } from '../support/forgeFakes/bitbucketDataCenter.ts';
import type { ContractForge } from '../support/forgeFakes/contractForge.ts';
import { gaps } from '../support/forgeFakes/gaps.ts';
import { GiteaContract } from '../support/forgeFakes/gitea.ts';
import { GitHubContract } from '../support/forgeFakes/github.ts';
import { GitLabContract } from '../support/forgeFakes/gitlab.ts';
import { OpenApi, type ContractRequest } from '../support/forgeFakes/openApi.ts';

const headers = { accept: 'application/json', 'user-agent': 'x', 'content-type': 'application/json' };

function request(method: string, path: string, body?: unknown, type?: string): ContractRequest {
  return {
    method,
    path,
    body,
    headers: { ...headers, ...(type === undefined ? {} : { 'content-type': type }) },
  };
}

function wrongWith(document: OpenApi, one: ContractRequest): string {
  const read = document.read(one);
  return typeof read === 'string' ? read : 'nothing';
}

/** A pull request that fits, in each forge's words. */
const fitting: Record<string, { path: string; body: Record<string, unknown>; wrong?: string }> = {
  github: { path: '/repos/octo/app/pulls', body: { title: 'A', head: 'x', base: 'main', draft: true } },
  gitlab: {
    path: '/projects/octo%2Fapp/merge_requests',
    body: { title: 'A', source_branch: 'x', target_branch: 'main' },
  },
  gitea: { path: '/repos/octo/app/pulls', body: { title: 'A', head: 'x', base: 'main' } },
  bitbucket: {
    path: '/repositories/octo/app/pullrequests',
    body: { type: 'pullrequest', title: 'A', source: { branch: { name: 'x' } } },
  },
  'bitbucket-data-center': {
    path: '/api/latest/projects/octo/repos/app/pull-requests',
    body: { title: 'A', fromRef: { id: 'refs/heads/x' }, toRef: { id: 'refs/heads/main' } },
    wrong: 'limit=many',
  },
};

describe('forgeDocuments', () => {
  for (const [name, { path, body, wrong = 'state=ajar' }] of Object.entries(fitting))
    it(`${name}: refuse another method, path, parameter, field, type and kind of body`, () => {
      const document = new OpenApi(name);
      const read = document.read(request('POST', path, body));
      assert.ok(typeof read !== 'string', typeof read === 'string' ? read : '');
      const { operation } = read;
      const refused: [ContractRequest, RegExp][] = [
        [request('DELETE', path), /is not in the document/],
        [request('POST', `${path}/more`, body), /is not in the document/],
        [request('POST', `${path}?force=true`, body), /the query has force/],
        [request('GET', `${path}?${wrong}`), /query \w+ breaks/],
        [request('POST', path, { ...body, colour: 'red' }), /the body has colour/],
        [request('POST', path, { ...body, title: 1 }), /the body breaks/],
        [request('POST', path, body, 'text/html'), /no body that is text\/html/],
      ];
      for (const [one, why] of refused) assert.match(wrongWith(document, one), why);
      assert.throws(() => document.answer(operation, 201, { title: 7 }), /breaks post/);
      assert.throws(() => document.answer(operation, 299, {}), /no answer 299/);
    });

  it('look into what is inside a body', () => {
    const document = new OpenApi('bitbucket');
    const { path, body } = fitting.bitbucket ?? { path: '', body: {} };
    const source = { branch: { name: 'x', colour: 'red' } };
    const wrong = wrongWith(document, request('POST', path, { ...body, source }));
    assert.match(wrong, /has source\.branch\.colour/);
  });

  it('describe all that is asked for, but what is listed with a reason', async () => {
    const made: ContractForge[] = [
      new GitHubContract(),
      new GitLabContract(),
      new GiteaContract(),
      new BitbucketContract(),
      new BitbucketDataCenterContract(),
    ];
    const needed = new Set<unknown>();
    for (const fake of made) {
      await fake.open();
      try {
        await askAll(fake);
        assert.deepEqual(fake.breaches, []);
        for (const gap of fake.document.needed) needed.add(gap);
      } finally {
        await fake.close();
      }
    }
    assert.deepEqual(
      gaps.filter((gap) => !needed.has(gap)),
      [],
    );
  });
});

/** Each of the questions, and the second page of every list. */
async function askAll(fake: ContractForge): Promise<void> {
  const { signal } = new AbortController();
  const wish = { repository: 'octo/app', branch: 'x', base: 'main', title: 'A', body: 'B', draft: true };
  fake.add('octo/app', { guarded: ['a', 'b'] });
  fake.add('ada/app', { parent: 'octo/app' });
  fake.add('eve/app', { parent: 'octo/app' });
  const forge = fake.client();
  const pull = await forge.openPullRequest(wish, signal);
  await forge.openPullRequest({ ...wish, headRepository: 'ada/app' }, signal);
  fake.pageSize = 1;
  await forge.findPullRequest({ ...wish, headRepository: 'eve/app' }, signal);
  await forge.isProtected('octo/app', 'new', signal);
  await forge.changePullRequest('octo/app', pull.number, { title: 'C', body: 'D' }, signal);
  await forge.markReady('octo/app', pull.number, signal);
  const [held] = fake.pulls;
  if (held !== undefined) held.checks = ['passed', 'passed', 'passed'];
  await forge.checks('octo/app', await forge.pullRequest('octo/app', pull.number, signal), signal);
}
