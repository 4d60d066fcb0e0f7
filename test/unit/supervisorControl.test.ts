import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import {
  carryControl,
  ControlFailure,
  listenControl,
  type ControlHandler,
} from '../../src/base/controlSocket.ts';
import { decodeFrames, encodeData, encodeFrame } from '../../src/base/frames.ts';
import { collect, GitRepo, pieces, temporaryFolder } from '../support/gitRepo.ts';
import { Sandbox } from '../support/sandbox.ts';
import { shaOf } from '../support/specs.ts';
import { parseDefaultGateway, proveEgressClosed } from '../../src/supervisor/egress.ts';
import { parseOomKills } from '../../src/supervisor/oomCounter.ts';

describe('supervisorControl', () => {
  describe('socket', () => {
    let folder: ReturnType<typeof temporaryFolder>;
    const ended: (() => void)[] = [];
    beforeEach(() => (folder = temporaryFolder()));
    afterEach(() => {
      for (const end of ended.splice(0)) end();
      folder.dispose();
    });
    const path = (): string => join(folder.path, 'control.sock');

    /** One request through the short process's own code; stdin stays open, as on engines that cannot close it. */
    async function ask(frames: AsyncIterable<Uint8Array>): Promise<{ data: Buffer; reply: unknown }> {
      const stdin = new PassThrough();
      const stdout = new PassThrough();
      const feeding = (async () => {
        for await (const frame of frames) stdin.write(frame);
      })();
      const carrying = carryControl(path(), stdin, stdout).finally(() => stdout.end());
      const data: Uint8Array[] = [];
      let reply: unknown;
      for await (const frame of decodeFrames(stdout)) {
        if (frame.kind === 'D') data.push(frame.data);
        if (frame.kind === 'J') reply = frame.json;
      }
      await carrying;
      await feeding;
      return { data: Buffer.concat(data), reply };
    }

    async function* request(json: unknown, data?: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
      yield encodeFrame({ kind: 'J', json });
      if (data !== undefined) yield* encodeData(data);
    }

    async function listen(handler: ControlHandler): Promise<void> {
      const control = await listenControl(path(), handler);
      ended.push(() => control.dispose());
    }

    it('carries a request with data there, and data and a reply back', async () => {
      const big = Buffer.alloc(5_000_000, 'abc');
      await listen(async ({ request: json, data, ...call }) => {
        const got = await collect(data);
        await call.send(pieces(got));
        return { ok: true, json, length: got.length };
      });
      assert.equal(statSync(path()).mode & 0o777, 0o600);
      const { data, reply } = await ask(request({ op: 'x' }, pieces(big, 70_000)));
      assert.deepEqual(reply, { ok: true, json: { op: 'x' }, length: big.length });
      assert.ok(data.equals(big));
    });

    it('waits for a main process that is slower', async () => {
      const asked = ask(request({ op: 'early' }));
      await new Promise((resolve) => setTimeout(resolve, 100));
      await listen(() => Promise.resolve({ ok: true }));
      assert.deepEqual((await asked).reply, { ok: true });
    });

    it('replies to what it refuses, also when the data is not read', async () => {
      await listen(() => Promise.reject(new ControlFailure('busy', 'Not now.')));
      const { reply } = await ask(request({ op: 'x' }, pieces(Buffer.alloc(3_000_000))));
      assert.deepEqual(reply, { ok: false, code: 'busy', message: 'Not now.' });
    });

    it('replies to bytes that are no frame', async () => {
      await listen(() => Promise.resolve({ ok: true }));
      const { reply } = await ask(pieces(Buffer.from('GET / HTTP/1.1\r\n\r\n')));
      assert.match(JSON.stringify(reply), /"ok":false.*Malformed frame/);
    });

    it('tells the handler when the requester goes away in the middle', async () => {
      const failed = new Promise<unknown>((resolve) => {
        void listen(async ({ data }) => {
          await collect(data).catch(resolve);
          return { ok: true };
        });
      });
      const half = Buffer.concat([
        encodeFrame({ kind: 'J', json: {} }),
        encodeFrame({ kind: 'D', data: Buffer.from('x') }),
      ]);
      const stdin = new PassThrough();
      stdin.end(half);
      await carryControl(path(), stdin, new PassThrough());
      assert.match(String(await failed), /ended too early/);
    });

    it('gives up when there is no main process', async () => {
      await assert.rejects(carryControl(path(), new PassThrough(), new PassThrough(), 50), {
        code: 'ENOENT',
      });
    });
  });

  describe('bundle', () => {
    let sandbox: Sandbox;
    beforeEach(() => (sandbox = new Sandbox()));
    afterEach(() => sandbox.dispose());

    it('gives what is new as a thin bundle that git takes, and lists what is missing', async () => {
      sandbox.repository.write('big', 'line\n'.repeat(10_000));
      const base = sandbox.repository.commit('big');
      await sandbox.listen();
      await sandbox.ask(
        {
          op: 'start',
          spec: sandbox.spec('for i in 1 2; do echo $i >> big; git commit -q -a -m c$i; done; echo "$OK"', {
            snapshot: { mode: 'head', commit: base, head: base },
          }),
          token: 't',
        },
        sandbox.bundle(),
      );
      await sandbox.supervisor.over;
      const tips = ['HEAD', 'HEAD~1'].map((name) => sandbox.workspace.git('rev-parse', name));
      const missing = shaOf('nowhere');
      const chunks: Uint8Array[] = [];
      const reply = await sandbox.ask(
        { op: 'bundle', want: [...tips, missing], have: [base, shaOf('unknown')] },
        undefined,
        (chunk) => chunks.push(chunk),
      );
      assert.deepEqual(reply, { ok: true, missing: [missing] });
      const bundle = Buffer.concat(chunks);
      assert.equal(
        bundle.subarray(0, bundle.indexOf('\n\n')).toString(),
        ['# v2 git bundle', `-${base} `, ...tips.map((tip) => `${tip} refs/sallyport/commits/${tip}`)].join(
          '\n',
        ),
      );
      assert.ok(bundle.length < 2000, 'only the differences');
      const file = sandbox.file('out.bundle', bundle);
      sandbox.repository.git('bundle', 'unbundle', file);
      sandbox.repository.git('fsck', '--strict');
      assert.equal(sandbox.repository.git('log', '--format=%s', `${base}..${tips[0]!}`), 'c2\nc1');
    });

    it('sends nothing where nothing is there', async () => {
      await sandbox.listen();
      await sandbox.start('echo "$OK"');
      await sandbox.supervisor.over;
      const blob = sandbox.workspace.git('rev-parse', 'HEAD:a.txt');
      const reply = await sandbox.ask({ op: 'bundle', want: [shaOf('x'), blob], have: [] }, undefined, () =>
        assert.fail(),
      );
      assert.deepEqual(reply, { ok: true, missing: [shaOf('x'), blob] });
    });

    it('takes a repository whose objects are named by SHA-256', async () => {
      const folder = temporaryFolder();
      try {
        const source = new GitRepo(join(folder.path, 'r'), { init: false });
        const { execFileSync } = await import('node:child_process');
        execFileSync('git', ['init', '--quiet', '--object-format=sha256', source.path]);
        source.write('a', 'b');
        source.git('-c', 'user.name=a', '-c', 'user.email=b', 'add', '.');
        source.git('-c', 'user.name=a', '-c', 'user.email=b', 'commit', '-qm', 'x');
        const commit = source.git('rev-parse', 'HEAD');
        const file = join(folder.path, 'b');
        source.git('bundle', 'create', '--quiet', file, 'HEAD');
        await sandbox.listen();
        const { readFileSync } = await import('node:fs');
        const spec = sandbox.spec('git commit -q --allow-empty -m y; echo "$OK"', {
          snapshot: { mode: 'head', commit, head: commit },
        });
        await sandbox.ask({ op: 'start', spec, token: 't' }, readFileSync(file));
        await sandbox.supervisor.over;
        const tip = sandbox.workspace.git('rev-parse', 'HEAD');
        const chunks: Uint8Array[] = [];
        await sandbox.ask({ op: 'bundle', want: [tip], have: [commit] }, undefined, (chunk) =>
          chunks.push(chunk),
        );
        source.write('../out', Buffer.concat(chunks));
        source.git('bundle', 'unbundle', join(folder.path, 'out'));
        assert.equal(source.git('log', '-1', '--format=%s', tip), 'y');
      } finally {
        folder.dispose();
      }
    });
  });

  it('reads the routing table and both kinds of memory counters', () => {
    const table = 'Iface\tDestination\tGateway\neth0\t000011AC\t00000000\neth0\t00000000\t010011AC\n';
    assert.equal(parseDefaultGateway(table), '172.17.0.1');
    assert.equal(parseDefaultGateway('Iface\tDestination\tGateway\n'), undefined);
    assert.equal(parseOomKills('low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n'), 2);
    assert.equal(parseOomKills('oom_kill_disable 0\nunder_oom 0\noom_kill 1\n'), 1);
    assert.equal(parseOomKills('under_oom 0\n'), undefined);
  });

  it('notices that this machine, which has a network interface, is not closed', async function () {
    const { networkInterfaces } = await import('node:os');
    const outward = Object.values(networkInterfaces())
      .flat()
      .some((address) => address?.internal === false);
    if (!outward) this.skip();
    const checks = await proveEgressClosed();
    assert.equal(checks.find(({ what }) => what === 'network interfaces')?.blocked, false);
    assert.ok(checks.length >= 7);
  });

  it('finds a network namespace closed that has only the loopback', function (done) {
    const module = new URL('../../src/supervisor/egress.ts', import.meta.url).pathname;
    const program = `import { proveEgressClosed } from ${JSON.stringify(module)}; console.log(JSON.stringify(await proveEgressClosed())); process.exit(0);`;
    const child = spawn(
      'unshare',
      ['--net', process.execPath, '--input-type=module-typescript', '-e', program],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    let text = '';
    child.stdout.on('data', (chunk) => (text += String(chunk)));
    child.once('error', () => this.skip());
    child.once('close', (code) => {
      if (code !== 0) this.skip();
      const checks = JSON.parse(text) as { blocked: boolean }[];
      assert.ok(checks.length >= 7);
      assert.deepEqual(
        checks.filter(({ blocked }) => !blocked),
        [],
      );
      done();
    });
  });
});
