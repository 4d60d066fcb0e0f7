import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fetchCommit, type FetchOptions } from '../../src/git/fetchUrl.ts';
import { flush, pktLine } from '../../src/git/pktLine.ts';
import { pushBranch, type PushOptions } from '../../src/git/pushUrl.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { temporaryFolder, GitRepo } from '../support/gitRepo.ts';
import { GitServer } from '../support/gitServer.ts';

describe('gitFetchUrl', () => {
  let server: GitServer;
  let folder: ReturnType<typeof temporaryFolder>;
  let quarantine: Quarantine;
  let bare: GitRepo;

  beforeEach(async () => {
    server = await GitServer.open();
    folder = temporaryFolder();
    quarantine = Quarantine.open(folder.path, 'the-repository');
    bare = server.filled('octo/app', { 'README.md': '# App\n', 'src/a.txt': 'one\n' });
  });
  afterEach(async () => {
    await server.close();
    folder.dispose();
  });

  function remote(name = 'octo/app'): Pick<FetchOptions, 'quarantine' | 'url' | 'privateHosts' | 'signal'> {
    return {
      quarantine,
      url: server.url(name),
      privateHosts: ['localhost'],
      signal: new AbortController().signal,
    };
  }
  const fetched = (change: Partial<FetchOptions> = {}) => fetchCommit({ ...remote(), ...change });
  const credential = () => ({ origin: server.origin, user: 'x-access-token', password: 'the-secret' });

  /** A commit on top of another, in the quarantine only. */
  function commitOn(parent: string, message: string): string {
    const repository = new GitRepo(quarantine.gitDir, { init: false });
    const tree = repository.git('rev-parse', `${parent}^{tree}`);
    const author = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.com'];
    return repository.git(...author, 'commit-tree', '-p', parent, '-m', message, tree);
  }

  const push = (commit: string, change: Partial<PushOptions> = {}) =>
    pushBranch({ ...remote(), commit, branch: 'claude/work', ...change });

  /** The work tree from which the server's repository was filled. */
  const work = () => new GitRepo(join(server.folder.path, 'work', 'octo/app'), { init: false });

  describe('fetch', () => {
    it('brings the default branch with its history, and keeps it', async () => {
      const second = (work().write('src/b.txt', 'two\n'), work().commit('Second'));
      work().git('push', '--quiet', bare.path, 'main');
      assert.deepEqual(await fetched(), { commit: second, headBranch: 'main' });
      assert.deepEqual(await quarantine.bases(), [second]);
      const there = new GitRepo(quarantine.gitDir, { init: false });
      assert.equal(there.git('log', '--format=%s', second), 'Second\nFirst');
      assert.equal(there.git('show', `${second}:src/b.txt`), 'two');
    });

    it('brings only what is new, and nothing when all is here', async () => {
      await fetched();
      const packs = () =>
        readdirSync(join(quarantine.objects, 'pack')).filter((name) => name.endsWith('.pack')).length;
      assert.equal(packs(), 1);
      await fetched();
      assert.equal(packs(), 1);
      const posts = () => server.seen.filter(({ method }) => method === 'POST').length;
      assert.equal(posts(), 1);
      work().write('src/c.txt', 'three\n');
      const third = work().commit('Third');
      work().git('push', '--quiet', bare.path, 'main');
      assert.equal((await fetched()).commit, third);
      assert.equal(packs(), 2);
    });

    it('looks over what a forge keeps besides branches, however much that is', async () => {
      const sha = bare.git('rev-parse', 'main');
      const lines = Array.from({ length: 250_000 }, (_, n) => pktLine(`${sha} refs/pull/${n}/head\n`));
      server.instead = (request, response) => {
        if (request.method !== 'GET') return false;
        const first = pktLine(`${sha} HEAD\0side-band-64k ofs-delta symref=HEAD:refs/heads/main\n`);
        const main = pktLine(`${sha} refs/heads/main\n`);
        response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' });
        response.end(
          Buffer.concat([pktLine('# service=git-upload-pack\n'), flush, first, main, ...lines, flush]),
        );
        return true;
      };
      assert.deepEqual(await fetched(), { commit: sha, headBranch: 'main' });
    });

    it('brings another branch, and says which there are when it is not there', async () => {
      work().git('checkout', '-q', '-b', 'release/2');
      work().write('x', 'x');
      const commit = work().commit('Release');
      work().git('push', '--quiet', bare.path, 'release/2');
      assert.deepEqual(await fetched({ branch: 'release/2' }), { commit, headBranch: 'release/2' });
      await assert.rejects(fetched({ branch: 'relaese' }), {
        code: 'invalid_branch',
        mend: 'It has main, release/2.',
      });
    });

    it('says that a repository is empty, and that there is none', async () => {
      server.bare('octo/empty');
      await assert.rejects(fetched({ url: server.url('octo/empty') }), { code: 'no_commit' });
      await assert.rejects(fetched({ url: server.url('octo/nothing') }), { code: 'repository_not_found' });
    });

    it('takes a repository whose default branch was removed only by the name of another', async () => {
      bare.git('symbolic-ref', 'HEAD', 'refs/heads/gone');
      await assert.rejects(fetched(), { code: 'invalid_branch', message: /no default branch/ });
      assert.equal((await fetched({ branch: 'main' })).headBranch, 'main');
    });

    it('shows its credential, and tells the two kinds of refusal apart', async () => {
      server.credential = 'x-access-token:the-secret';
      await assert.rejects(fetched(), {
        code: 'repository_not_found',
        message: /without a credential/,
        mend: /needs a token/,
      });
      const wrong = { ...credential(), password: 'another' };
      await assert.rejects(fetched({ credential: wrong }), (error: Error) => {
        assert.match(error.message, /does not show it to this credential/);
        assert.doesNotMatch(JSON.stringify(error), /another/);
        return true;
      });
      assert.equal((await fetched({ credential: credential() })).headBranch, 'main');
    });

    it('is bounded in bytes and in time', async () => {
      const noise = Array.from({ length: 40_000 }, () => Math.random()).join('\n');
      work().write('big.txt', noise);
      work().commit('Big');
      work().git('push', '--quiet', bare.path, 'main');
      await assert.rejects(fetched({ maxBytes: 50_000 }), {
        code: 'repository_too_large',
        message: /has more than/,
      });
      server.instead = (request) => request.method === 'POST';
      await assert.rejects(fetched({ timeoutMs: 300 }), {
        code: 'repository_too_large',
        message: /longer than/,
      });
      assert.deepEqual(await quarantine.bases(), []);
    });

    it('ends with its signal', async () => {
      server.instead = () => true;
      const ending = new AbortController();
      const fetching = fetched({ signal: ending.signal });
      setTimeout(() => ending.abort(), 50);
      await assert.rejects(fetching, { code: 'cancelled' });
    });

    it('says that a host is unknown, does not answer, or has no git there', async () => {
      const resolve = () => Promise.reject(Object.assign(new Error('x'), { code: 'ENOTFOUND' }));
      await assert.rejects(fetched({ url: 'https://nowhere.example.com/a/b', resolve }), {
        code: 'repository_unreachable',
        message: 'The host nowhere.example.com could not be found.',
      });
      const closed = createServer().listen(0, '127.0.0.1');
      await new Promise((go) => closed.once('listening', go));
      const { port } = closed.address() as AddressInfo;
      await new Promise((go) => closed.close(go));
      await assert.rejects(fetched({ url: `http://localhost:${port}/a/b` }), {
        code: 'repository_unreachable',
        message: /ECONNREFUSED/,
      });
      server.instead = (_, response) => {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>');
        return true;
      };
      await assert.rejects(fetched(), { code: 'repository_not_found', message: /no git repository/ });
      server.instead = (_, response) => {
        response.writeHead(503).end();
        return true;
      };
      await assert.rejects(fetched(), { code: 'repository_unreachable', message: /HTTP 503/ });
    });

    it('follows a renamed repository on the same host, and pushes to where it is', async () => {
      server.instead = (request, response) => {
        const renamed = request.url?.replace('/octo/old/', '/octo/app/');
        if (renamed === undefined || renamed === request.url) return false;
        response.writeHead(301, { location: renamed }).end();
        return true;
      };
      const { commit } = await fetched({ url: server.url('octo/old') });
      const next = commitOn(commit, 'Next');
      await push(next, { url: server.url('octo/old') });
      assert.equal(bare.git('rev-parse', 'claude/work'), next);
    });

    it('takes histories with the harmless defects of old tools', async () => {
      const commit = work().git('rev-parse', 'HEAD');
      const tree = work().git('rev-parse', 'HEAD^{tree}');
      const odd = work()
        .raw(
          ['hash-object', '-t', 'commit', '-w', '--literally', '--stdin'],
          `tree ${tree}\nparent ${commit}\nauthor Ada<ada@example.com> 1 +0000\ncommitter Ada <ada@example.com> 1 +051800\n\nOld\n`,
        )
        .toString()
        .trim();
      work().git('push', '--quiet', bare.path, `${odd}:refs/heads/main`);
      assert.equal((await fetched()).commit, odd);
    });
  });

  describe('push', () => {
    it('makes the branch, moves it forward, and does nothing when it is there', async () => {
      const { commit } = await fetched();
      const one = commitOn(commit, 'One');
      assert.equal((await push(one)).changed, true);
      const two = commitOn(one, 'Two');
      assert.equal((await push(two)).changed, true);
      assert.equal((await push(two)).changed, false);
      assert.equal(bare.git('log', '--format=%s', 'claude/work'), 'Two\nOne\nFirst');
      assert.equal(bare.git('rev-parse', 'main'), commit);
    });

    it('sends a large pack in pieces', async () => {
      const { commit } = await fetched();
      const there = new GitRepo(quarantine.gitDir, { init: false });
      const noise = Buffer.from(Array.from({ length: 3 << 20 }, () => Math.floor(Math.random() * 256)));
      const blob = there.raw(['hash-object', '-w', '--stdin'], noise).toString().trim();
      const tree = there.raw(['mktree'], `100644 blob ${blob}\tbig\n`).toString().trim();
      const author = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.com'];
      const big = there.git(...author, 'commit-tree', '-p', commit, '-m', 'Big', tree);
      await push(big);
      assert.equal(bare.raw(['cat-file', 'blob', `${big}:big`]).equals(noise), true);
    });

    it('never goes onto the default branch', async () => {
      const { commit } = await fetched();
      const next = commitOn(commit, 'Next');
      await assert.rejects(push(next, { branch: 'main' }), {
        code: 'invalid_branch',
        message: /default branch/,
      });
      assert.equal(bare.git('rev-parse', 'main'), commit);
      server.bare('octo/empty');
      await assert.rejects(push(next, { url: server.url('octo/empty') }), { code: 'invalid_branch' });
      // A server that does not say which branch HEAD is.
      server.instead = ({ url = '' }, response) => {
        if (!url.includes('info/refs?service=git-upload-pack')) return false;
        const refs = [`${commit} HEAD\0side-band-64k\n`, `${commit} refs/heads/main\n`].map(pktLine);
        response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' });
        response.end(Buffer.concat([pktLine('# service=git-upload-pack\n'), flush, ...refs, flush]));
        return true;
      };
      await assert.rejects(push(next, { branch: 'main' }), {
        code: 'invalid_branch',
        message: /default branch/,
      });
      await push(next);
    });

    it('takes nothing away without a lease, and only what the lease names', async () => {
      const { commit } = await fetched();
      const one = commitOn(commit, 'One');
      const other = commitOn(commit, 'Other');
      await push(one);
      await assert.rejects(push(other), { code: 'push_refused', message: /would take away/ });
      await assert.rejects(push(other, { lease: { at: [one], rewrite: false } }), {
        code: 'push_refused',
        message: /would take away/,
      });
      await assert.rejects(push(other, { lease: { at: [commit], rewrite: true } }), {
        code: 'push_refused',
        message: /not of this task/,
      });
      await push(other, { lease: { at: [one], rewrite: true } });
      assert.equal(bare.git('rev-parse', 'claude/work'), other);
      const next = commitOn(other, 'Next');
      await assert.rejects(push(next, { lease: { at: [], rewrite: false } }), {
        message: /not of this task/,
      });
    });

    it('loses against somebody who moves the branch in the same moment', async () => {
      const { commit } = await fetched();
      const one = commitOn(commit, 'One');
      await push(one);
      const two = commitOn(one, 'Two');
      const theirs = (work().write('t', 't'), work().commit('Theirs'));
      server.instead = (request) => {
        // Between our look and our push.
        if (request.method === 'POST' && request.url?.endsWith('git-receive-pack') === true)
          work().git('push', '--quiet', '--force', bare.path, `${theirs}:refs/heads/claude/work`);
        return false;
      };
      await assert.rejects(push(two), { code: 'push_refused' });
      assert.equal(bare.git('rev-parse', 'claude/work'), theirs);
    });

    it('tells what the server said when it refuses', async () => {
      const { commit } = await fetched();
      server.hook(bare, 'printf "Branch names begin with feature/\\n\\033[31mred\\033[0m\\n" >&2; exit 1');
      await assert.rejects(push(commitOn(commit, 'One')), (error: Error) => {
        assert.match(error.message, /did not take the branch claude\/work: pre-receive hook declined/);
        assert.match(error.message, /Branch names begin with feature\//);
        assert.doesNotMatch(error.message, /\x1b/);
        return true;
      });
    });

    it('says that this credential may not push', async () => {
      const { commit } = await fetched();
      server.mayPush = false;
      await assert.rejects(push(commitOn(commit, 'One'), { credential: credential() }), {
        code: 'push_refused',
        mend: /right to write/,
      });
    });

    it('pushes only what is in the quarantine', async () => {
      await fetched();
      await assert.rejects(push('a'.repeat(40)), { code: 'push_refused', message: /not in the quarantine/ });
    });
  });
});
