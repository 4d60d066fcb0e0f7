import assert from 'node:assert/strict';
import { openForge } from '../../src/forge/openForge.ts';
import { BitbucketContract } from '../support/forgeFakes/bitbucket.ts';
import { BitbucketDataCenterContract } from '../support/forgeFakes/bitbucketDataCenter.ts';
import { GiteaContract } from '../support/forgeFakes/gitea.ts';
import { GitHubContract } from '../support/forgeFakes/github.ts';
import { GitLabContract } from '../support/forgeFakes/gitlab.ts';
import type { ContractForge } from '../support/forgeFakes/contractForge.ts';

/** What one forge has and the others have not. */
describe('forgeKinds', () => {
  const { signal } = new AbortController();
  let fake: ContractForge | undefined;

  afterEach(async () => {
    await fake?.close();
    assert.deepEqual(fake?.breaches, []);
  });

  async function opened<T extends ContractForge>(made: T): Promise<T> {
    fake = made;
    await made.open();
    made.add('octo/app');
    return made;
  }

  const wish = { repository: 'octo/app', branch: 'x', base: 'main', title: 'A', body: 'B', draft: true };

  describe('of GitHub', () => {
    it('claims nothing good of checks when the token sees one kind of them only', async () => {
      const github = await opened(new GitHubContract());
      const pull = github.addPull({ checks: ['passed', 'passed'] });
      github.instead = ({ path }, response) => {
        if (!path.includes('/check-runs')) return false;
        response.writeHead(403).end('{"message": "Resource not accessible"}');
        return true;
      };
      const forge = github.client();
      const read = await forge.pullRequest('octo/app', 1, signal);
      await assert.rejects(forge.checks('octo/app', read, signal), { code: 'forge_refused' });
      pull.checks = ['passed', 'failed'];
      assert.equal(await forge.checks('octo/app', read, signal), 'failed');
    });

    it('names the fork where one owner has both repositories', async () => {
      const github = await opened(new GitHubContract());
      github.add('octo/fork', { parent: 'octo/app' });
      await github.client().openPullRequest({ ...wish, headRepository: 'octo/fork' }, signal);
      assert.equal(github.pulls[0]?.headRepository, 'octo/fork');
    });

    it('says what a draft was refused for', async () => {
      const github = await opened(new GitHubContract());
      github.addPull({ draft: true });
      github.instead = ({ path }, response) => {
        if (path !== '/api/graphql') return false;
        response.writeHead(200).end('{"data": null, "errors": [{"message": "Not \\u001b[31mallowed"}]}');
        return true;
      };
      await assert.rejects(github.client().markReady('octo/app', 1, signal), {
        code: 'forge_refused',
        message: /It said: Not allowed/,
      });
    });
  });

  describe('of GitLab', () => {
    it('works with projects in groups of groups', async () => {
      const gitlab = await opened(new GitLabContract());
      gitlab.add('a/b/c/app');
      const forge = gitlab.client();
      const inGroups = { ...wish, repository: 'a/b/c/app' };
      assert.equal((await forge.openPullRequest(inGroups, signal)).state, 'draft');
      assert.equal((await forge.repository('a/b/c/app', signal)).name, 'a/b/c/app');
      assert.equal(forge.repositoryAt('https://forge.example.com/a/b/c/app.git'), 'a/b/c/app');
      assert.equal(forge.repositoryAt('https://forge.example.com/a/b/-/merge_requests'), undefined);
    });

    it('knows a new branch by the pattern that guards it, where it is told', async () => {
      const gitlab = await opened(new GitLabContract());
      gitlab.add('octo/guarded', { guarded: ['other', 'main', 'release/*'] });
      gitlab.pageSize = 1;
      const forge = gitlab.client();
      assert.equal(await forge.isProtected('octo/guarded', 'release/1', signal), true);
      assert.equal(await forge.isProtected('octo/guarded', 'new', signal), false);
      gitlab.add('octo/silent', { guarded: ['release/*'], tellsGuards: false });
      assert.equal(await forge.isProtected('octo/silent', 'release/1', signal), undefined);
    });

    it('takes every mark of a draft off, and leaves words that only look like one', async () => {
      const gitlab = await opened(new GitLabContract());
      const pull = gitlab.addPull({ title: '[Draft] DRAFT: (draft) Draft the notes', draft: true });
      const forge = gitlab.client();
      assert.equal((await forge.pullRequest('octo/app', 1, signal)).title, 'Draft the notes');
      assert.equal((await forge.markReady('octo/app', 1, signal)).state, 'open');
      assert.equal(pull.title, 'Draft the notes');
      gitlab.addPull({ title: 'Draft:', draft: true });
      await assert.rejects(forge.markReady('octo/app', 2, signal), { message: /still takes .* for a draft/ });
      await forge.changePullRequest('octo/app', 1, { title: 'Draft: not at all' }, signal);
      assert.equal(pull.title, 'not at all');
      assert.equal(pull.draft, false);
    });

    it('calls one that is just being merged open', async () => {
      const gitlab = await opened(new GitLabContract());
      gitlab.addPull();
      const view = JSON.stringify({
        iid: 1,
        web_url: 'https://forge.example.com/x',
        state: 'locked',
        title: 'A',
        source_branch: 'x',
        target_branch: 'main',
        target_project_id: 1,
      });
      gitlab.instead = (_, response) => {
        response.writeHead(200).end(view);
        return true;
      };
      assert.equal((await gitlab.client().pullRequest('octo/app', 1, signal)).state, 'open');
    });
  });

  describe('of Gitea', () => {
    it('looks through the pages for the pull request of a branch, and past forks that are gone', async () => {
      const gitea = await opened(new GiteaContract());
      for (let i = 0; i < 120; i++) gitea.addPull({ branch: `b${i}`, headRepository: 'eve/gone' });
      gitea.addPull({ branch: 'b1' });
      const found = await gitea.client().findPullRequest({ repository: 'octo/app', branch: 'b1' }, signal);
      assert.equal(found?.number, 121);
      assert.equal(gitea.requests.length, 3);
    });

    it('believes a newer one what a draft is, and says when it cannot take the mark off', async () => {
      const gitea = await opened(new GiteaContract());
      gitea.saysDraft = true;
      const pull = gitea.addPull({ title: 'Entwurf: A', draft: true });
      const forge = gitea.client();
      assert.equal((await forge.pullRequest('octo/app', 1, signal)).state, 'draft');
      // By a mark that its operator has made up.
      Object.defineProperty(pull, 'draft', { get: () => true, set: () => undefined });
      await assert.rejects(forge.markReady('octo/app', 1, signal), {
        code: 'forge_refused',
        message: /still takes .* for a draft/,
      });
    });

    it('names no default branch of an empty repository', async () => {
      const gitea = await opened(new GiteaContract());
      gitea.add('octo/empty', { branches: [] });
      assert.equal((await gitea.client().repository('octo/empty', signal)).defaultBranch, undefined);
    });
  });

  describe('of Bitbucket', () => {
    it('knows guards by pattern and by kind of branch, where it is told', async () => {
      const bitbucket = await opened(new BitbucketContract());
      bitbucket.add('octo/guarded', { guarded: ['hotfix/*', 'v1'] });
      bitbucket.modelGuards = ['development', 'release', 'production'];
      const forge = bitbucket.client();
      const guarded = (branch: string) => forge.isProtected('octo/guarded', branch, signal);
      for (const branch of ['hotfix/a/b', 'v1', 'main', 'release/2'])
        assert.equal(await guarded(branch), true, branch);
      for (const branch of ['v10', 'feature/x', 'releases'])
        assert.equal(await guarded(branch), false, branch);
      bitbucket.add('octo/silent', { tellsGuards: false });
      assert.equal(await forge.isProtected('octo/silent', 'main', signal), undefined);
    });

    it('takes an API token with its account, and an access token without one', async () => {
      const bitbucket = await opened(new BitbucketContract());
      const { place, token } = bitbucket;
      const mine = openForge(place, { token, user: 'ada@example.com', owner: 'user' });
      assert.equal((await mine.repository('octo/app', signal)).name, 'octo/app');
      assert.equal(mine.credential.user, 'x-bitbucket-api-token-auth');
      assert.equal(bitbucket.client().credential.user, 'x-token-auth');
    });

    it('lets no name of a branch say more in a query than its name', async () => {
      const bitbucket = await opened(new BitbucketContract());
      const branch = 'x"OR"1"="1';
      await assert.rejects(bitbucket.client().findPullRequest({ repository: 'octo/app', branch }, signal));
      const [asked] = bitbucket.requests;
      const query = new URL(asked?.path ?? '', 'http://x').searchParams.get('q');
      assert.equal(query, String.raw`state="OPEN" AND source.branch.name="x\"OR\"1\"=\"1"`);
    });
  });

  describe('of Bitbucket Data Center', () => {
    it('knows guards by name and pattern, and says where it cannot know', async () => {
      const server = await opened(new BitbucketDataCenterContract());
      server.add('octo/guarded', { guarded: ['refs/heads/v1', 'hotfix/*', 'refs/heads/release/*'] });
      const forge = server.client();
      const guarded = (branch: string) => forge.isProtected('octo/guarded', branch, signal);
      for (const branch of ['v1', 'hotfix/a', 'of/hotfix/a/b', 'release/2'])
        assert.equal(await guarded(branch), true, branch);
      for (const branch of ['v10', 'of/release/2', 'feature/x'])
        assert.equal(await guarded(branch), false, branch);
      server.modelGuards = ['FEATURE'];
      assert.equal(await guarded('v1'), true);
      assert.equal(await guarded('feature/x'), undefined);
      server.add('octo/silent', { tellsGuards: false });
      assert.equal(await forge.isProtected('octo/silent', 'main', signal), undefined);
    });

    it('changes nothing that somebody else has changed meanwhile', async () => {
      const server = await opened(new BitbucketDataCenterContract());
      const pull = server.addPull();
      const forge = server.client();
      server.twist = (values) =>
        typeof values === 'object' && values !== null && 'version' in values
          ? { ...values, version: 7 }
          : values;
      const changing = forge.changePullRequest('octo/app', 1, { body: 'Mine' }, signal);
      await assert.rejects(changing, { code: 'forge_refused', message: /out-of-date/ });
      assert.equal(pull.body, 'Words');
    });

    it('names a repository of a person, and no default branch of an empty one', async () => {
      const server = await opened(new BitbucketDataCenterContract());
      server.add('~ada/app', { parent: 'octo/app', branches: [] });
      const forge = server.client();
      const { name, parent, defaultBranch } = await forge.repository('~ada/app', signal);
      assert.deepEqual([name, parent, defaultBranch], ['~ada/app', 'octo/app', undefined]);
      assert.equal(forge.urlOf('~ada/app'), 'https://forge.example.com/scm/~ada/app.git');
      for (const bad of ['~/app', '~../app', '~~ada/app', 'octo/~app', '~ada/../app'])
        await assert.rejects(forge.repository(bad, signal), { code: 'invalid_input' }, bad);
    });
  });

  it('is tested by forges that refuse what breaks their documents', async () => {
    const gitea = await opened(new GiteaContract());
    const ask = async (method: string, path: string, body?: object): Promise<string> => {
      const headers = {
        authorization: `token ${gitea.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      };
      const text = body === undefined ? {} : { body: JSON.stringify(body) };
      await (await fetch(`${gitea.apiUrl}${path}`, { method, headers, ...text })).arrayBuffer();
      return gitea.breaches.splice(0).join();
    };
    assert.equal(await ask('GET', '/repos/octo/app/pulls?state=open'), '');
    assert.match(await ask('GET', '/repos/octo/app/pulls?state=opened'), /query state breaks/);
    assert.match(await ask('GET', '/repos/octo/app/pulls?head=x'), /query has head/);
    assert.match(await ask('GET', '/repos/octo/app/pulls/x'), /path index breaks/);
    assert.match(await ask('DELETE', '/repos/octo/app'), /not in the document/);
    assert.match(await ask('POST', '/repos/octo/app/pulls', { title: 1 }), /body breaks .*string/);
    assert.match(await ask('POST', '/repos/octo/app/pulls', { draft: true }), /body has draft/);
  });
});
