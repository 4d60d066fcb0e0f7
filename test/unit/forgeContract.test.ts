import assert from 'node:assert/strict';
import { SallyportError } from '../../src/base/errors.ts';
import { TooManyRequests } from '../../src/forge/failures.ts';
import type { Forge, PullRequestWish } from '../../src/forge/forge.ts';
import { BitbucketContract } from '../support/forgeFakes/bitbucket.ts';
import { BitbucketDataCenterContract } from '../support/forgeFakes/bitbucketDataCenter.ts';
import type { ContractForge } from '../support/forgeFakes/contractForge.ts';
import { GiteaContract } from '../support/forgeFakes/gitea.ts';
import { GitHubContract } from '../support/forgeFakes/github.ts';
import { GitLabContract } from '../support/forgeFakes/gitlab.ts';

const kinds: [string, () => ContractForge][] = [
  ['GitHub', () => new GitHubContract()],
  ['GitLab', () => new GitLabContract()],
  ['Gitea', () => new GiteaContract()],
  ['Bitbucket', () => new BitbucketContract()],
  ['Data Center', () => new BitbucketDataCenterContract()],
];

const wish: PullRequestWish = {
  repository: 'octo/app',
  branch: 'claude/x',
  base: 'main',
  title: 'A title',
  body: 'A body\n\nwith `code`',
  draft: true,
};

for (const [name, make] of kinds) {
  describe(`forgeContract of ${name}`, () => {
    let fake: ContractForge;
    let forge: Forge;
    const { signal } = new AbortController();

    beforeEach(async () => {
      fake = await make().open();
      fake.add('octo/app');
      fake.add('ada/app', { parent: 'octo/app' });
      forge = fake.client();
    });
    afterEach(async () => {
      await fake.close();
      assert.deepEqual(fake.breaches, [], 'nothing broke the published document');
    });

    it('opens a draft, finds it again, and never opens a second', async () => {
      assert.equal(await forge.findPullRequest(wish, signal), undefined);
      const opened = await forge.openPullRequest(wish, signal);
      const { commit, ...rest } = opened;
      assert.deepEqual(rest, {
        number: 1,
        url: 'https://forge.example.com/octo/app/pull/1',
        state: 'draft',
        title: 'A title',
        body: 'A body\n\nwith `code`',
        branch: 'claude/x',
        base: 'main',
      });
      assert.match(commit ?? '', /^[0-9a-f]{12,40}$/);
      assert.equal(fake.pulls[0]?.draft, true);
      assert.deepEqual(await forge.findPullRequest(wish, signal), opened);
      assert.deepEqual(await forge.openPullRequest({ ...wish, title: 'Another' }, signal), opened);
      assert.deepEqual(await forge.pullRequest('octo/app', 1, signal), opened);
      assert.equal(fake.pulls.length, 1);
      assert.equal(fake.asked('POST').length, 1);
    });

    it('opens one that is ready, with a title that looks like a draft', async () => {
      const opened = await forge.openPullRequest({ ...wish, draft: false, title: 'Draft of notes' }, signal);
      assert.equal(opened.state, 'open');
      assert.equal(opened.title, 'Draft of notes');
      assert.equal(fake.pulls[0]?.draft, false);
    });

    it('takes the one that somebody else opened in the same moment', async () => {
      fake.instead = ({ method }) => {
        if (method === 'POST') fake.addPull({ number: 7 });
        return false;
      };
      assert.equal((await forge.openPullRequest(wish, signal)).number, 7);
      assert.equal(fake.pulls.length, 1);
    });

    it('changes title and body, and leaves a draft one', async () => {
      const pull = fake.addPull({ branch: 'claude/x', reviewers: ['{a-reviewer}'] });
      await forge.changePullRequest('octo/app', 1, { body: 'Another body' }, signal);
      assert.equal(pull.body, 'Another body');
      assert.equal(pull.title, 'Of somebody');
      assert.deepEqual(pull.reviewers, ['{a-reviewer}']);
      const draft = await forge.openPullRequest({ ...wish, branch: 'claude/y' }, signal);
      const changed = await forge.changePullRequest('octo/app', draft.number, { title: 'New' }, signal);
      assert.equal(changed.title, 'New');
      assert.equal(changed.body, wish.body);
      assert.equal(changed.state, 'draft');
      assert.equal(fake.pulls[1]?.draft, true);
    });

    it('takes the mark of a draft off, once, and tells merged from closed', async () => {
      const { number } = await forge.openPullRequest(wish, signal);
      const [pull] = fake.pulls;
      assert.ok(pull);
      pull.reviewers = ['{a-reviewer}'];
      const ready = await forge.markReady('octo/app', number, signal);
      assert.equal(ready.state, 'open');
      assert.equal(ready.title, 'A title');
      assert.equal(pull.draft, false);
      assert.equal(pull.title, 'A title');
      assert.equal(pull.body, wish.body);
      assert.deepEqual(pull.reviewers, ['{a-reviewer}']);
      const before = fake.requests.length;
      assert.equal((await forge.markReady('octo/app', number, signal)).state, 'open');
      assert.equal(fake.requests.length, before + 1);
      pull.state = 'closed';
      assert.equal((await forge.pullRequest('octo/app', number, signal)).state, 'closed');
      assert.equal((await forge.markReady('octo/app', number, signal)).state, 'closed');
      assert.equal(await forge.findPullRequest(wish, signal), undefined);
      pull.state = 'merged';
      assert.equal((await forge.pullRequest('octo/app', number, signal)).state, 'merged');
    });

    it('takes a repository for the same one however its name is written', async () => {
      const written = { ...wish, repository: 'Octo/App', headRepository: 'octo/APP' };
      await forge.openPullRequest(written, signal);
      assert.equal(fake.pulls[0]?.headRepository, 'octo/app');
      assert.equal((await forge.openPullRequest({ ...wish, headRepository: 'octo/app' }, signal)).number, 1);
      assert.equal(fake.pulls.length, 1);
    });

    it('opens one from a fork, and takes none of another fork for it', async () => {
      fake.add('eve/app', { parent: 'octo/app' });
      fake.addPull({ headRepository: 'eve/app', title: 'Of Eve' });
      const fromFork = { ...wish, headRepository: 'ada/app' };
      assert.equal(await forge.findPullRequest(wish, signal), undefined);
      assert.equal(await forge.findPullRequest(fromFork, signal), undefined);
      const opened = await forge.openPullRequest(fromFork, signal);
      assert.equal(opened.number, 2);
      assert.equal(fake.pulls[1]?.headRepository, 'ada/app');
      assert.equal(fake.pulls[1].repository, 'octo/app');
      assert.deepEqual(await forge.openPullRequest(fromFork, signal), opened);
      assert.equal(fake.pulls.length, 2);
    });

    it('tells what a repository is a fork of, and its default branch', async () => {
      fake.add('octo/other', { defaultBranch: 'trunk', private: false, branches: ['trunk'] });
      const { parent, defaultBranch } = await forge.repository('ada/app', signal);
      assert.deepEqual([parent, defaultBranch], ['octo/app', 'main']);
      const other = await forge.repository('octo/other', signal);
      assert.deepEqual(
        [other.name, other.parent, other.defaultBranch, other.private, other.archived],
        ['octo/other', undefined, 'trunk', false, false],
      );
    });

    it('tells which branches are guarded', async () => {
      fake.add('octo/guarded', { branches: ['main', 'a/b'], guarded: ['main'] });
      assert.equal(await forge.isProtected('octo/guarded', 'main', signal), true);
      assert.equal(await forge.isProtected('octo/guarded', 'a/b', signal), false);
      assert.equal(await forge.isProtected('octo/guarded', 'not-there', signal), false);
      await assert.rejects(forge.isProtected('octo/guarded', '../..', signal), { code: 'invalid_branch' });
    });

    it('tells what the checks say, failed first, over all pages', async () => {
      const pull = fake.addPull();
      const checks = async (): Promise<string> => {
        const read = await forge.pullRequest('octo/app', 1, signal);
        return await forge.checks('octo/app', read, signal);
      };
      assert.equal(await checks(), 'none');
      pull.checks = ['passed', 'passed'];
      assert.equal(await checks(), 'passed');
      pull.checks = ['passed', 'running', 'passed'];
      assert.equal(await checks(), 'running');
      fake.pageSize = 3;
      pull.checks = [...Array.from({ length: 16 }, () => 'passed' as const), 'running', 'passed', 'failed'];
      assert.equal(await checks(), 'failed');
    });

    it('tells each refusal with what to do about it, and never the token', async () => {
      fake.add('octo/read', { mayPush: false });
      const cases: [() => Promise<unknown>, { code: string; message?: RegExp; mend?: RegExp }][] = [
        [() => forge.repository('octo/none', signal), { code: 'repository_not_found', mend: /may see it/ }],
        [() => forge.pullRequest('octo/app', 99, signal), { code: 'repository_not_found' }],
        [
          () => forge.openPullRequest({ ...wish, repository: 'octo/read' }, signal),
          {
            code: 'forge_refused',
            message: /not allow that .*\(HTTP 40[13]\)\. It said: ./,
            mend: /^Give the token/,
          },
        ],
        [
          () => forge.openPullRequest({ ...wish, base: 'not-there' }, signal),
          // Data Center has no such pull request where it has no such branch.
          {
            code: fake.kind === 'bitbucket-data-center' ? 'repository_not_found' : 'forge_refused',
            message: /It said: .*base is invalid/,
          },
        ],
        [
          () => fake.client('a-wrong-token').repository('octo/app', signal),
          { code: 'forge_refused', message: /refused your token/, mend: /sign in again/ },
        ],
        [() => forge.repository('../app', signal), { code: 'invalid_input' }],
        [() => forge.repository('octo/app/../../x', signal), { code: 'invalid_input' }],
      ];
      for (const [ask, { code, message, mend }] of cases)
        await assert.rejects(ask(), (thrown: unknown) => {
          assert.ok(thrown instanceof SallyportError);
          assert.equal(thrown.code, code);
          if (message !== undefined) assert.match(thrown.message, message);
          if (mend !== undefined) assert.match(thrown.mend, mend);
          assert.doesNotMatch(`${thrown.message} ${thrown.stack ?? ''}`, /the-token-of|a-wrong-token/);
          return true;
        });
    });

    it('knows until when it may ask no more, and what may go better later', async () => {
      fake.instead = (_, response) => {
        response.writeHead(429, { 'retry-after': '600' }).end('{}');
        return true;
      };
      await assert.rejects(forge.repository('octo/app', signal), (thrown: unknown) => {
        assert.ok(thrown instanceof TooManyRequests);
        assert.ok(Math.abs(thrown.until - Date.now() - 600_000) < 60_000);
        return true;
      });
      for (const status of [500, 502, 503]) {
        fake.instead = (_, response) => {
          response.writeHead(status).end('<html>Bad Gateway</html>');
          return true;
        };
        await assert.rejects(forge.pullRequest('octo/app', 1, signal), { code: 'forge_unreachable' });
        await assert.rejects(forge.openPullRequest(wish, signal), { code: 'forge_unreachable' });
      }
      fake.instead = (_, response) => {
        response.destroy();
        return true;
      };
      await assert.rejects(forge.pullRequest('octo/app', 1, signal), { code: 'forge_unreachable' });
    });

    it('takes nonsense for no answer', async () => {
      for (const text of ['', '<html>', 'null', '[]', '{}', '[{}]', '{"values": [{}]}', '"text"']) {
        fake.instead = (_, response) => {
          response.writeHead(200).end(text);
          return true;
        };
        await assert.rejects(forge.repository('octo/app', signal), { code: 'forge_unreachable' }, text);
        await assert.rejects(forge.pullRequest('octo/app', 1, signal), { code: 'forge_unreachable' }, text);
      }
    });

    it('carries its token to no other host, and to nothing beside its API', async () => {
      const other = await make().open();
      try {
        for (const location of [`${other.apiUrl}/x`, `${fake.origin}/elsewhere`]) {
          fake.instead = (_, response) => {
            response.writeHead(307, { location }).end('{}');
            return true;
          };
          await assert.rejects(forge.repository('octo/app', signal), { message: /has moved/ });
          await assert.rejects(forge.openPullRequest(wish, signal), { message: /has moved/ });
        }
        assert.deepEqual(other.requests, []);
        const before = fake.requests.filter(({ path }) => path.includes('elsewhere'));
        assert.deepEqual(before, []);
      } finally {
        await other.close();
      }
    });

    it('reads no answer without an end', async () => {
      let sent = 0;
      fake.instead = (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const chunk = Buffer.alloc(1 << 20, ' ');
        const more = (): void => {
          while (!response.destroyed && sent < 400 << 20) {
            sent += chunk.length;
            if (!response.write(chunk)) return void response.once('drain', more);
          }
          response.end();
        };
        more();
        return true;
      };
      await assert.rejects(forge.repository('octo/app', signal), { message: /more than 16777216 bytes/ });
      assert.ok(sent < 200 << 20, `${sent} bytes were taken`);
    });

    it('ends with its signal', async () => {
      fake.instead = () => true;
      const ending = new AbortController();
      const asking = forge.repository('octo/app', ending.signal);
      setTimeout(() => ending.abort(), 20);
      await assert.rejects(asking, { code: 'cancelled' });
    });

    it('knows the addresses of its repositories', () => {
      const below = fake.kind === 'bitbucket-data-center' ? '/scm' : '';
      assert.equal(forge.repositoryAt(`https://forge.example.com${below}/octo/app.git`), 'octo/app');
      assert.equal(forge.urlOf('octo/app'), `https://forge.example.com${below}/octo/app.git`);
      for (const url of [
        `https://forge.example.com.evil.example${below}/octo/app`,
        `https://user@forge.example.com${below}/octo/app`,
        `http://forge.example.com${below}/octo/app`,
        `https://forge.example.com:8443${below}/octo/app`,
        `https://forge.example.com${below}/octo`,
        'git@forge.example.com:octo/app',
        '',
      ])
        assert.equal(forge.repositoryAt(url), undefined, url);
      assert.equal(forge.credential.origin, 'https://forge.example.com');
      assert.throws(() => forge.urlOf('../app'), { code: 'invalid_input' });
    });
  });
}
