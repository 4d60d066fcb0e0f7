import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { hostRemotes, readPushUrl } from '../../src/git/hostRemotes.ts';
import { lookAtRemote, pushFromHost, type HostPushOptions } from '../../src/git/hostPush.ts';
import { offeredUrl, serverWords } from '../../src/git/serverWords.ts';
import { wholeSwitches } from '../../src/protocol/switches.ts';
import { PublishBench } from '../support/publishBench.ts';
import { SallyportError } from '../../src/base/errors.ts';
import { PushBench } from '../support/pushBench.ts';
import { GitServer } from '../support/gitServer.ts';
import type { GitRepo } from '../support/gitRepo.ts';
import { withoutAgents } from '../support/sshServer.ts';

const user = withoutAgents();
const password = 'hunter2-is-the-password';

describe('pushes of the host', function () {
  this.timeout('60s');
  let server: GitServer;
  let bench: PushBench;
  let bare: GitRepo;
  let commit: string;
  let ran: string;

  beforeEach(async () => {
    server = await GitServer.open();
    bench = await PushBench.open();
    bare = server.bare('octo/app');
    bench.user.git('push', '-q', bare.path, 'main');
    commit = await bench.commit({ 'a.txt': 'a\n' });
    ran = join(bench.folder.path, 'ran');
  });
  afterEach(async () => {
    await server.close();
    bench.dispose();
  });

  const options = async (more: Partial<HostPushOptions> = {}): Promise<HostPushOptions> => ({
    repository: bench.repository,
    quarantine: bench.quarantine,
    remote: await bench.remote(`${server.url('octo/app')}.git`),
    commit,
    branch: 'claude/work',
    env: user,
    ...more,
  });

  /** A program that leaves a trace. */
  function trap(name: string): string {
    const path = join(bench.folder.path, name);
    writeFileSync(path, `#!/bin/sh\ntouch ${ran}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  it('run no program that a remote’s address names', async () => {
    const evil = trap('evil');
    const urls = [
      `ext::${evil} %S`,
      `ext::sh -c "touch ${ran}"`,
      `fd::3`,
      `EXT::${evil}`,
      `foo+ext::${evil}`,
      `ssh://-oProxyCommand=touch\${IFS}${ran}/x`,
      `ssh://-oProxyCommand=${evil}/x`,
      `-oProxyCommand=${evil}:x`,
      `ssh://git@-oProxyCommand=${evil}/x`,
      `ssh://-lroot@host/x`,
      `host:-x`,
      `--upload-pack=${evil}`,
      `--receive-pack=${evil}`,
      `git://localhost:${server.port}/x`,
      `ftp://localhost/x`,
      `https://`,
      `https://exa mple/x`,
      `./evil.git`,
      `sub/evil.git`,
      `file:///`,
      `https://localhost/a\u0007b`,
    ];
    for (const url of urls) {
      assert.equal(typeof readPushUrl(url, bench.user.path), url === 'file:///' ? 'object' : 'string', url);
      // Also when somebody has got past that.
      const remote = { name: 'origin', url, shown: 'x', kind: 'https', host: 'localhost' } as const;
      await assert.rejects(pushFromHost(await options({ remote, timeoutMs: 5000 })), SallyportError, url);
    }
    assert.equal(existsSync(ran), false);
    assert.equal(bare.git('for-each-ref', '--format=%(refname)'), 'refs/heads/main');
  });

  it('run nothing of a repository that accepted files could have made', async () => {
    const inside = join(bench.user.path, 'vendor', 'evil.git');
    mkdirSync(join(inside, 'hooks'), { recursive: true });
    bench.user.git('init', '-q', '--bare', inside);
    writeFileSync(join(inside, 'hooks', 'pre-receive'), `#!/bin/sh\ntouch ${ran}\n`);
    chmodSync(join(inside, 'hooks', 'pre-receive'), 0o755);
    const link = join(bench.folder.path, 'elsewhere');
    symlinkSync(bench.user.path, link);
    for (const url of [
      join(link, 'vendor', 'evil.git'),
      'vendor/evil.git',
      './vendor/evil.git',
      inside,
      `file://${inside}`,
      'x/../vendor/evil.git',
    ]) {
      bench.user.git('config', '--replace-all', 'remote.origin.url', url);
      const { remotes, refused } = await hostRemotes(bench.repository);
      assert.deepEqual(remotes, [], url);
      assert.match(refused[0]?.why ?? '', /in the work tree/);
    }
    assert.equal(existsSync(ran), false);
  });

  it('run no hook, helper, editor, pager or program that the repository’s configuration has for a push', async () => {
    const evil = trap('evil');
    const config: [string, string][] = [
      ['core.fsmonitor', evil],
      ['core.hooksPath', bench.folder.path],
      ['remote.origin.receivepack', evil],
      ['remote.origin.uploadpack', evil],
      ['remote.origin.vcs', 'evil'],
      ['pack.packObjectsHook', evil],
      ['core.alternateRefsCommand', evil],
      ['core.pager', evil],
      ['pager.push', evil],
      ['pager.ls-remote', evil],
      ['core.editor', evil],
      ['protocol.ext.allow', 'always'],
      ['protocol.allow', 'always'],
      ['push.recurseSubmodules', 'on-demand'],
      ['push.followTags', 'true'],
      ['remote.origin.mirror', 'true'],
      ['remote.origin.push', '+refs/*:refs/*'],
      ['alias.push', `!${evil}`],
      ['alias.ls-remote', `!${evil}`],
      ['trace2.eventTarget', join(bench.folder.path, 'trace')],
    ];
    bench.user.git('tag', 'secret-tag');
    bench.user.git('branch', 'secret-branch');
    const given = await options();
    for (const [key, value] of config) bench.user.git('config', key, value);
    const hooks = join(bench.user.path, '.git', 'hooks');
    mkdirSync(hooks, { recursive: true });
    for (const name of ['pre-push', 'reference-transaction', 'post-index-change', 'fsmonitor-watchman'])
      writeFileSync(join(hooks, name), `#!/bin/sh\ntouch ${ran}\n`, { mode: 0o755 });
    await pushFromHost(given);
    assert.equal(existsSync(ran), false);
    assert.equal(
      bare.git('for-each-ref', '--format=%(refname)'),
      'refs/heads/claude/work\nrefs/heads/main',
      'nothing but the branch',
    );
  });

  it('take no branch name for an option, a second refspec, a force or a deletion', async () => {
    const names = [
      '--force',
      '-f',
      '--mirror',
      ':main',
      'a:main',
      'a b',
      '--exec=x',
      'refs/heads/main',
      'x..y',
      '',
    ];
    for (const branch of names)
      await assert.rejects(pushFromHost(await options({ branch })), { code: 'invalid_branch' }, branch);
    for (const wrong of ['HEAD', '--all', '', 'main', '+'.padEnd(40, 'a'), `${commit}:refs/heads/main`]) {
      await assert.rejects(pushFromHost(await options({ commit: wrong })), { code: 'invalid_input' }, wrong);
      await assert.rejects(
        pushFromHost(await options({ overwrite: wrong })),
        { code: 'invalid_input' },
        wrong,
      );
    }
    assert.equal(bare.git('rev-parse', 'main'), bench.base);
    assert.deepEqual(
      server.seen.filter(({ url }) => url.includes('receive-pack')),
      [],
    );
  });

  it('force nothing, whatever the configuration says, and overwrite nothing that has moved', async () => {
    const given = await options();
    await pushFromHost(given);
    bench.user.git('config', 'remote.origin.push', `+${bench.base}:refs/heads/claude/work`);
    bench.user.git('config', 'push.useForceIfIncludes', 'true');
    bench.agent.git('reset', '-q', '--hard', bench.base);
    const other = await bench.commit({ 'b.txt': 'b\n' }, 'Other');
    await assert.rejects(pushFromHost({ ...given, commit: other }), { code: 'push_refused' });
    // Between the look and the push somebody moves it.
    const moved = bare.commitOf(bare.tree([]), [commit]);
    let advertised = 0;
    server.instead = ({ url = '' }) => {
      if (url.includes('service=git-receive-pack') && advertised++ === 0)
        bare.git('update-ref', 'refs/heads/claude/work', moved);
      return false;
    };
    await assert.rejects(pushFromHost({ ...given, commit: other, overwrite: commit }), {
      code: 'push_refused',
      message: /has moved since you looked/,
    });
    assert.equal(bare.git('rev-parse', 'claude/work'), moved);
  });

  it('follow no redirect, and show no password to where it leads', async () => {
    const seen: (string | undefined)[] = [];
    const stranger = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    });
    stranger.listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    try {
      const { port } = stranger.address() as AddressInfo;
      bench.user.git(
        'config',
        'credential.helper',
        `!f() { echo username=ada; echo password=${password}; }; f`,
      );
      bench.user.git('config', 'http.followRedirects', 'true');
      for (const status of [301, 302, 307, 308]) {
        server.instead = ({ url = '' }, response) => {
          response.writeHead(status, { location: `http://127.0.0.1:${port}${url}` }).end();
          return true;
        };
        await assert.rejects(pushFromHost(await options()), {
          code: 'repository_not_found',
          message: /has moved/,
        });
      }
      assert.deepEqual(seen, []);
    } finally {
      stranger.close();
    }
  });

  it('show no password of an address or a helper in errors, in words, or in arguments of ours', async () => {
    server.credential = `ada:${password}`;
    const secretUrl = `http://ada:${password}@${server.host}/octo/app.git`;
    const seen = watchArguments(bench.folder.path);
    const given = await options({ remote: await bench.remote(secretUrl), env: seen.env });
    assert.equal(JSON.stringify([given.remote.shown, given.remote.host]).includes(password), false);
    await pushFromHost(given);
    assert.equal(bare.git('rev-parse', 'claude/work'), commit);
    const lines = seen.lines();
    assert.ok(
      lines.some((line) => line.startsWith('push ')),
      'the watch saw nothing',
    );
    assert.deepEqual(
      lines.filter((line) => line.includes(password)),
      [],
    );
    server.credential = 'ada:another';
    for (const remote of [given.remote, await bench.remote(`http://ada:${password}@localhost:9/x.git`)]) {
      const failed = await pushFromHost({ ...given, remote, branch: 'claude/two' }).then(
        () => assert.fail('it went through'),
        (thrown: unknown) => thrown,
      );
      assert.ok(failed instanceof SallyportError);
      assert.equal(
        `${failed.message} ${failed.mend} ${String(failed.cause)} ${failed.stack ?? ''}`.includes(password),
        false,
      );
    }
  });

  it('believe no text of a server: escapes, other hosts, tricks in addresses', async () => {
    const lines = [
      '\\033]0;title\\007\\033[2J\\033[31mred',
      'https://localhost.evil.example.com/pull/new/x',
      'https://localhost@evil.example.com/',
      'https://user:pw@localhost/x',
      'javascript:alert(1) http://localhost/x data:text/html,x',
      'https://evil.example.com/?https://localhost/',
      'vscode://localhost/x command:workbench.action.quit',
      '[click](https://localhost/" onclick="x")',
    ];
    server.hook(bare, lines.map((line) => `printf '%b\\n' '${line}' >&2`).join('\n'));
    const { words, url } = await pushFromHost(await options());
    // Its own host, and without the user that stood there.
    assert.equal(url, 'https://localhost/x');
    assert.equal(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/.test(words.join('\n')), false);
    assert.ok(words.includes('red'));
    const flood = 'remote: x\n'.repeat(100_000);
    assert.ok(serverWords(flood).join('').length < 30_000);
    assert.equal(offeredUrl(['https://LOCALHOST/ok.'], 'localhost'), 'https://localhost/ok');
    assert.equal(
      offeredUrl(['https://github.com/a/b/pull/new/x'], 'ssh.github.com'),
      'https://github.com/a/b/pull/new/x',
    );
    assert.equal(offeredUrl(['https://github.com/x'], 'ssh.github.com.evil.example'), undefined);
  });

  it('are not held up by a server that floods or does not end', async () => {
    server.instead = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' });
      const line = `${'a'.repeat(40)} refs/heads/${'b'.repeat(100)}\n`;
      const packet = (line.length + 4).toString(16).padStart(4, '0') + line;
      const more = (): void => {
        while (!response.destroyed && response.write(packet.repeat(1000))) continue;
        if (!response.destroyed) response.once('drain', more);
      };
      response.write('001e# service=git-upload-pack\n0000');
      more();
      return true;
    };
    await assert.rejects(lookAtRemote(await options({ timeoutMs: 3000 })), SallyportError);
  });
});

describe('a task of a hostile runner', function () {
  this.timeout('60s');

  it('pushes nothing by claiming that its user has set switches', async () => {
    const switches = wholeSwitches({ autoPush: true, draftEarly: true, autoPullRequest: true });
    const bench = await PublishBench.open({ 'README.md': '# Test\n' }, { switches }, false);
    try {
      await bench.work.commit('One', { 'a.ts': '1\n' });
      bench.work.end();
      await bench.publisher.bySwitches(() => Promise.resolve(bench.token), new AbortController().signal);
      assert.equal(bench.bare.git('for-each-ref', '--format=%(refname)'), 'refs/heads/main');
      assert.deepEqual(bench.server.seen, []);
      assert.deepEqual(bench.forge.requests, []);
    } finally {
      await bench.close();
    }
  });
});

/** A git in front of the real one, which writes down with what arguments it was called. */
function watchArguments(folder: string): { env: Record<string, string | undefined>; lines: () => string[] } {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  const log = join(folder, 'arguments');
  writeFileSync(log, '');
  const path = process.env.PATH ?? '';
  const real = path
    .split(':')
    .map((at) => join(at, 'git'))
    .find((at) => existsSync(at) && readdirSync(join(at, '..')).includes('git'));
  writeFileSync(
    join(bin, 'git'),
    `#!/bin/sh\nprintf '%s ' "$@" >> ${log}\necho >> ${log}\nexec ${real ?? 'git'} "$@"\n`,
    {
      mode: 0o755,
    },
  );
  process.env.PATH = `${bin}:${path}`;
  return {
    env: { ...user, PATH: `${bin}:${path}` },
    lines: () => {
      process.env.PATH = path;
      return readFileSync(log, 'utf8').split('\n');
    },
  };
}
