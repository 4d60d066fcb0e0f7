import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { proxyEnvironment, writeProxyFiles } from '../../src/supervisor/proxyEnvironment.ts';
import { AheadOfTime } from '../support/aheadOfTime.ts';
import { temporaryFolder } from '../support/gitRepo.ts';
import { ofType, Sandbox } from '../support/sandbox.ts';

describe('supervisorProxy', () => {
  const url = 'http://127.0.0.1:34567';

  it('names the proxy to every kind of program, and never for the sandbox itself', () => {
    const { env, files } = proxyEnvironment(url, '/home/agent');
    for (const name of [
      'HTTP_PROXY',
      'HTTPS_PROXY',
      'http_proxy',
      'https_proxy',
      'PIP_PROXY',
      'npm_config_proxy',
    ])
      assert.equal(env[name], url, name);
    for (const name of ['NO_PROXY', 'no_proxy', 'npm_config_noproxy'])
      assert.deepEqual(env[name]?.split(','), ['localhost', '127.0.0.1', '::1'], name);
    // Only HTTP gets through.
    assert.ok(!Object.keys(env).some((name) => /^all_proxy$/i.test(name)));
    for (const name of [
      'SSL_CERT_FILE',
      'NODE_EXTRA_CA_CERTS',
      'PIP_CERT',
      'GIT_SSL_CAINFO',
      'CARGO_HTTP_CAINFO',
    ])
      assert.equal(env[name], '/etc/ssl/certs/ca-certificates.crt', name);
    assert.match(env['JAVA_TOOL_OPTIONS'] ?? '', /-Dhttps\.proxyHost=127\.0\.0\.1 -Dhttps\.proxyPort=34567/);
    const file = (end: string): string => files.find(({ path }) => path.endsWith(end))?.content ?? '';
    assert.equal(env['APT_CONFIG'], files[0]?.path);
    assert.match(file('apt.conf'), /^Acquire::https::Proxy "http:\/\/127\.0\.0\.1:34567";$/m);
    assert.match(file('settings.xml'), /<host>127\.0\.0\.1<\/host><port>34567<\/port>/);
    assert.match(file('gradle.properties'), /^systemProp\.https\.proxyPort=34567$/m);
  });

  it("writes settings only where the image brings none, and leaves an image's own alone", async () => {
    const folder = temporaryFolder();
    try {
      mkdirSync(join(folder.path, '.m2'));
      writeFileSync(join(folder.path, '.m2', 'settings.xml'), '<own/>');
      const { files } = proxyEnvironment(url, folder.path);
      await writeProxyFiles(files);
      await writeProxyFiles(files);
      assert.equal(readFileSync(join(folder.path, '.m2', 'settings.xml'), 'utf8'), '<own/>');
      assert.ok(statSync(join(folder.path, '.gradle', 'gradle.properties')).size > 0);
    } finally {
      folder.dispose();
    }
  });

  describe('in a sandbox', () => {
    let sandbox: Sandbox;
    beforeEach(() => (sandbox = new Sandbox()));
    afterEach(() => sandbox.dispose());

    it('the agent reaches the proxy for the world, and the model without it', async () => {
      const events = await sandbox.run(
        'curl -s http://elsewhere.example.com/x; echo; curl -s "$BASE_URL/v1"; echo; echo "$OK"',
      );
      assert.deepEqual(
        ofType(events, 'output').map(({ text }) => text),
        ['proxied http://elsewhere.example.com/x', 'hello from the gateway'],
      );
    });

    it('the time limit does not run while the clock is stopped, and then runs on', async () => {
      await sandbox.listen();
      const limits = { ...sandbox.spec('').limits, timeMs: 600_000 };
      const time = new AheadOfTime();
      try {
        await sandbox.ask({ op: 'clock', running: false });
        await sandbox.start('echo up; until [ -e ../go ]; do sleep 0.05; done; echo on; sleep 60', {
          limits,
        });
        await sandbox.until((events) => ofType(events, 'output')[0]);
        time.pass(700_000);
        await sandbox.ask({ op: 'clock', running: false });
        await sandbox.ask({ op: 'clock', running: true });
        writeFileSync(join(sandbox.workspace.path, '..', 'go'), '');
        await sandbox.until((events) => ofType(events, 'output')[1]);
        time.pass(700_000);
        await sandbox.ask({ op: 'clock', running: false });
        await sandbox.ask({ op: 'clock', running: true });
        await sandbox.supervisor.over;
        assert.equal(ofType(sandbox.events(), 'ended')[0]?.outcome, 'timed_out');
      } finally {
        time.dispose();
      }
    });

    it('a task whose clock is stopped can be stopped', async () => {
      await sandbox.listen();
      await sandbox.start('sleep 60');
      await sandbox.ask({ op: 'clock', running: false });
      await sandbox.ask({ op: 'stop' });
      await sandbox.supervisor.over;
      assert.equal(ofType(sandbox.events(), 'ended')[0]?.outcome, 'stopped');
    });
  });
});
