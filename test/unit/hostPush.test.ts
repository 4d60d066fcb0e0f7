import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostVariables, sshCommand, sshMayAsk } from '../../src/git/hostGit.ts';
import { hostRemotes, someRemote } from '../../src/git/hostRemotes.ts';
import { lookAtRemote, pushFromHost, type HostPushOptions } from '../../src/git/hostPush.ts';
import { GitServer } from '../support/gitServer.ts';
import { fingerprint, type GitRepo } from '../support/gitRepo.ts';
import { PushBench } from '../support/pushBench.ts';
import { SshServer, withoutAgents } from '../support/sshServer.ts';

const user = withoutAgents();

describe('a push from the host over HTTP', () => {
  let server: GitServer;
  let bench: PushBench;
  let bare: GitRepo;
  let url: string;
  let commit: string;

  beforeEach(async () => {
    server = await GitServer.open();
    bench = await PushBench.open();
    bare = server.bare('octo/app');
    url = `${server.url('octo/app')}.git`;
    bench.user.git('push', '-q', bare.path, 'main');
    commit = await bench.commit({ 'lib/new.ts': 'export {};\n' });
  });
  afterEach(async () => {
    await server.close();
    bench.dispose();
  });

  const options = async (more: Partial<HostPushOptions> = {}): Promise<HostPushOptions> => ({
    repository: bench.repository,
    quarantine: bench.quarantine,
    remote: await bench.remote(url),
    commit,
    branch: 'claude/work',
    env: user,
    ...more,
  });

  it('makes the branch at the commit, and changes nothing of the user’s repository', async () => {
    const given = await options();
    const before = fingerprint(bench.user.path);
    const lines: string[] = [];
    const pushed = await pushFromHost({ ...given, onProgress: (line) => lines.push(line) });
    assert.deepEqual(pushed, { changed: true, words: [] });
    assert.equal(bare.git('rev-parse', 'claude/work'), commit);
    assert.deepEqual(fingerprint(bench.user.path), before);
    assert.ok(
      lines.some((line) => /^Writing objects: +\d+%/.test(line)),
      `no progress in ${JSON.stringify(lines)}`,
    );
    assert.deepEqual(await pushFromHost(given), { changed: false, words: [] });
    assert.equal(bare.git('tag'), '');
  });

  it('runs no hook of the user’s repository, pushes no tag and no other branch', async () => {
    const hook = join(bench.user.path, '.git', 'hooks', 'pre-push');
    mkdirSync(join(bench.user.path, '.git', 'hooks'), { recursive: true });
    writeFileSync(hook, `#!/bin/sh\ntouch ${join(bench.folder.path, 'ran')}\n`);
    chmodSync(hook, 0o755);
    bench.user.git('tag', '-a', 'v1', '-m', 'one');
    bench.user.git('config', 'push.followTags', 'true');
    bench.user.git('branch', 'private');
    await pushFromHost(await options());
    assert.equal(existsSync(join(bench.folder.path, 'ran')), false);
    assert.equal(bare.git('for-each-ref', '--format=%(refname)'), 'refs/heads/claude/work\nrefs/heads/main');
  });

  it('asks twice for the default branch, for a protected one, and for the first of an empty repository', async () => {
    const given = await options({ branch: 'main' });
    await assert.rejects(pushFromHost(given), {
      code: 'push_protected',
      message: /main is the default branch/,
    });
    assert.equal(bare.git('rev-parse', 'main'), bench.base);
    await assert.rejects(pushFromHost({ ...given, branch: 'stable', protectedBranches: ['stable'] }), {
      code: 'push_protected',
      message: /protected branch at the forge/,
    });
    const empty = server.bare('octo/empty');
    const nothing = await bench.remote(`${server.url('octo/empty')}.git`);
    await assert.rejects(pushFromHost({ ...given, remote: nothing, branch: 'claude/x' }), {
      code: 'push_protected',
      message: /first branch becomes the default/,
    });
    assert.equal(empty.git('for-each-ref'), '');
    await pushFromHost({ ...given, protectedToo: true });
    assert.equal(bare.git('rev-parse', 'main'), commit);
  });

  it('takes the usual names for the default branch where the server does not say', async () => {
    bare.git('symbolic-ref', 'HEAD', 'refs/heads/gone');
    const given = await options({ branch: 'main' });
    const look = await lookAtRemote(given);
    assert.equal(look.defaultBranch, undefined);
    assert.deepEqual([...look.branches], [['main', bench.base]]);
    await assert.rejects(pushFromHost(given), { code: 'push_protected', message: /may be it/ });
    await pushFromHost({ ...given, branch: 'claude/work' });
  });

  it('takes nothing away without a yes to the very commit that is given up', async () => {
    await pushFromHost(await options());
    const theirs = commit;
    bench.agent.git('reset', '-q', '--hard', bench.base);
    commit = await bench.commit({ 'other.ts': '1\n' }, 'Another way');
    const given = await options();
    await assert.rejects(pushFromHost(given), { code: 'push_refused', message: /would take away/ });
    await assert.rejects(pushFromHost({ ...given, overwrite: bench.base }), {
      code: 'push_refused',
      message: /has moved since you looked/,
    });
    assert.equal(bare.git('rev-parse', 'claude/work'), theirs);
    await pushFromHost({ ...given, overwrite: theirs });
    assert.equal(bare.git('rev-parse', 'claude/work'), commit);
  });

  it('tells what a hook of the server said, and that a branch is protected', async () => {
    server.hook(bare, 'echo "Ticket number missing" >&2; printf "\\033[31mred\\033[0m\\n" >&2; exit 1');
    await assert.rejects(pushFromHost(await options()), {
      code: 'push_refused',
      message:
        'localhost did not take the branch claude/work (pre-receive hook declined). It said: Ticket number missing red',
    });
    server.hook(bare, 'echo "GH006: Protected branch update failed" >&2; exit 1');
    await assert.rejects(pushFromHost(await options()), {
      code: 'push_refused',
      message: /^localhost protects the branch claude\/work/,
      mend: /open a pull request/,
    });
  });

  it('offers the address that the server gave, if it is one of its own', async () => {
    server.hook(
      bare,
      'echo "Create a pull request for claude/work on https://evil.example.com/x by visiting:" >&2; echo "     https://localhost/octo/app/pull/new/claude/work" >&2',
    );
    const pushed = await pushFromHost(await options());
    assert.equal(pushed.url, 'https://localhost/octo/app/pull/new/claude/work');
    assert.equal(pushed.words.length, 2);
  });

  it('uses the credential helper of the user, and says where none or a wrong one is found', async () => {
    server.credential = 'ada:hunter22';
    await assert.rejects(pushFromHost(await options()), {
      code: 'push_unauthorized',
      message: 'git has no credential for localhost.',
      mend: /credential helper/,
    });
    bench.user.git('config', 'credential.helper', '!f() { echo username=ada; echo password=wrong; }; f');
    await assert.rejects(pushFromHost(await options()), {
      code: 'push_unauthorized',
      message: /does not let your credential push/,
    });
    bench.user.git('config', 'credential.helper', '!f() { echo username=ada; echo password=hunter22; }; f');
    await pushFromHost(await options());
    assert.equal(bare.git('rev-parse', 'claude/work'), commit);
    server.mayPush = false;
    await assert.rejects(pushFromHost(await options({ branch: 'claude/two' })), {
      code: 'push_unauthorized',
      message: /does not let your credential push/,
    });
  });

  it('says that a server is not there, or that a repository is not', async () => {
    url = 'http://localhost:9/octo/app.git';
    await assert.rejects(pushFromHost(await options()), { code: 'repository_unreachable' });
    url = `${server.url('octo/nothing')}.git`;
    await assert.rejects(pushFromHost(await options()), { code: 'repository_not_found' });
    url = 'https://no-such-host.invalid/octo/app.git';
    await assert.rejects(pushFromHost(await options()), { code: 'repository_unreachable' });
  });

  it('ends when it is cancelled, and when its time is up', async () => {
    server.instead = () => true;
    const given = await options();
    const late = assert.rejects(pushFromHost({ ...given, signal: AbortSignal.timeout(300) }), {
      code: 'cancelled',
    });
    await late;
    await assert.rejects(lookAtRemote({ ...given, timeoutMs: 300 }), { code: 'repository_unreachable' });
  });

  it('follows pushurl and insteadOf of the user’s configuration', async () => {
    bench.user.git('config', `url.${server.origin}/.insteadOf`, 'forge:');
    bench.user.git('config', 'remote.origin.url', 'https://example.com/read-only.git');
    bench.user.git('config', 'remote.origin.pushurl', 'forge:octo/app.git');
    const { remotes } = await hostRemotes(bench.repository);
    assert.deepEqual(
      remotes.map(({ shown }) => shown),
      [`${server.origin}/octo/app.git`],
    );
    await pushFromHost({ ...(await options()), remote: remotes[0]! });
    assert.equal(bare.git('rev-parse', 'claude/work'), commit);
  });

  it('says that there is nothing to push to', async () => {
    assert.throws(() => someRemote({ remotes: [], refused: [] }, 'app'), {
      code: 'no_remote',
      message: /has no remote/,
    });
    bench.user.git('config', 'remote.odd.url', 'ext::sh -c date');
    const found = await hostRemotes(bench.repository);
    assert.throws(() => someRemote(found, 'app'), {
      code: 'no_remote',
      message: /odd of app cannot be pushed to/,
    });
  });

  it('says that a name is taken by a folder of branches', async () => {
    bare.git('branch', 'claude/work/one', 'main');
    await assert.rejects(pushFromHost(await options()), {
      code: 'invalid_branch',
      message: /beside the branch/,
    });
  });
});

describe('a push from the host over ssh', function () {
  let server: SshServer;
  let bench: PushBench;
  let bare: GitRepo;
  let given: HostPushOptions;

  before(async () => {
    server = await SshServer.open();
  });
  after(() => server.close());
  beforeEach(async () => {
    bench = await PushBench.open();
    bare = server.bare(`app-${Date.now()}`);
    bench.user.git('push', '-q', bare.path, 'main');
    const commit = await bench.commit({ 'a.txt': 'a\n' });
    const remote = await bench.remote(
      server.url(
        bare.path
          .split('/')
          .at(-1)!
          .replace(/\.git$/, ''),
      ),
    );
    const { repository, quarantine } = bench;
    given = { repository, quarantine, remote, commit, branch: 'claude/work', env: server.environment() };
  });
  afterEach(() => bench.dispose());

  it('makes the branch, and tells what a hook of the server says', async () => {
    assert.equal(given.remote.kind, 'ssh');
    assert.equal(given.remote.host, '127.0.0.1');
    assert.doesNotMatch(given.remote.shown, /@/);
    await pushFromHost(given);
    assert.equal(bare.git('rev-parse', 'claude/work'), given.commit);
    bare.write('hooks/update', '#!/bin/sh\necho "no more of these"\nexit 1\n');
    chmodSync(join(bare.path, 'hooks/update'), 0o755);
    await assert.rejects(pushFromHost({ ...given, branch: 'claude/two' }), {
      code: 'push_refused',
      message: /\(hook declined\)\. It said: no more of these/,
    });
  });

  it('asks twice for the default branch', async () => {
    await assert.rejects(pushFromHost({ ...given, branch: 'main' }), { code: 'push_protected' });
    await pushFromHost({ ...given, branch: 'main', protectedToo: true });
    assert.equal(bare.git('rev-parse', 'main'), given.commit);
  });

  it('sends nothing to a host whose key is not known, or another one', async () => {
    await assert.rejects(pushFromHost({ ...given, env: server.environment({ known: false }) }), {
      code: 'repository_unreachable',
      message: /does not know the host key of 127\.0\.0\.1/,
      mend: /compare the key/,
    });
    server.changeKnownKey();
    await assert.rejects(pushFromHost({ ...given, env: server.environment() }), {
      code: 'repository_unreachable',
      message: /is another than the one that ssh knows/,
    });
    assert.equal(bare.git('for-each-ref', '--format=%(refname)'), 'refs/heads/main');
  });

  it('says that no key was taken', async () => {
    const env = server.environment({ key: 'stranger', known: false });
    // The host's key was changed in the list by now; this user does not look at it.
    env.GIT_SSH_COMMAND = `${env.GIT_SSH_COMMAND ?? ''} -o StrictHostKeyChecking=no`;
    await assert.rejects(pushFromHost({ ...given, env }), {
      code: 'push_unauthorized',
      message: /took none of your ssh keys/,
    });
  });
});

describe('git for a push', () => {
  it('gets of the environment what says how the user reaches a server, and nothing that points elsewhere', () => {
    const env = {
      GIT_DIR: '/elsewhere',
      GIT_WORK_TREE: '/elsewhere',
      GIT_INDEX_FILE: '/elsewhere',
      GIT_ALLOW_PROTOCOL: 'ext',
      GIT_SSL_NO_VERIFY: '1',
      GIT_EXEC_PATH: '/elsewhere',
      GIT_SSL_CAINFO: '/etc/company.pem',
      GIT_SSH_COMMAND: 'ssh -i key',
      GIT_ASKPASS: '/somebody/asks',
    };
    assert.deepEqual(hostVariables(env), {
      GIT_SSL_CAINFO: '/etc/company.pem',
      GIT_SSH_COMMAND: 'ssh -i key',
      SSH_ASKPASS_REQUIRE: 'never',
      GIT_ALLOW_PROTOCOL: 'https:http:ssh:file',
    });
  });

  it('asks in the window where VS Code’s git listens, or a program of the user’s can', () => {
    const listening = {
      GIT_ASKPASS: '/code/askpass.sh',
      VSCODE_GIT_ASKPASS_MAIN: '/code/askpass-main.js',
      VSCODE_GIT_IPC_HANDLE: '/run/git.sock',
    };
    assert.equal(hostVariables(listening).GIT_ASKPASS, '/code/askpass.sh');
    assert.equal(sshMayAsk(listening), true);
    assert.equal(sshMayAsk({ SSH_ASKPASS: '/usr/bin/ksshaskpass', DISPLAY: ':0' }), true);
    assert.equal(sshMayAsk({ SSH_ASKPASS: '/usr/bin/ksshaskpass' }), false);
  });

  it('lets ssh fail rather than ask, and leaves another program alone', () => {
    const batch = '-o BatchMode=yes -o ConnectTimeout=20';
    assert.equal(sshCommand({}, undefined), `ssh ${batch}`);
    assert.equal(sshCommand({}, '/usr/bin/ssh -i mine'), `/usr/bin/ssh -i mine ${batch}`);
    assert.equal(sshCommand({ GIT_SSH_COMMAND: 'ssh -F none' }, 'other'), `ssh -F none ${batch}`);
    assert.equal(sshCommand({}, 'plink -batch'), undefined);
    assert.equal(sshCommand({ GIT_SSH: '/usr/bin/tortoiseplink' }, 'ssh'), undefined);
  });
});
