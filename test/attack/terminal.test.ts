import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeFrame } from '../../src/base/frames.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState } from '../../src/protocol/taskState.ts';
import { Terminals } from '../../src/runner/terminals.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { FakeTerminal } from '../support/fakeTerminal.ts';
import { aSpec } from '../support/specs.ts';
import { bash, Bench, printed } from '../support/tasks.ts';
import { Screen } from '../support/terminals.ts';

const size = { cols: 200, rows: 50 };

/** What a process may, as the kernel has it, and whose limits it is under. */
const rights =
  'grep -E "^(Uid|Gid|NoNewPrivs|Seccomp|Cap[A-Z][a-z]+):" /proc/self/status | tr "\\t" " "; cat /proc/self/cgroup; for n in net pid mnt ipc uts user; do readlink /proc/self/ns/$n; done; ls /dev | grep -v -e pts -e console | tr "\\n" " "; awk "{print \\$2, \\$4}" /proc/self/mounts | grep -v "^/dev/console" | sort | md5sum';

for (const name of engineKinds) {
  describe(`attacks from the terminal on ${name}`, function () {
    this.timeout('2m');
    let bench: Bench;
    let repositoryPath: string;

    before(async () => {
      bench = await Bench.open((await engines())[name]);
      bench.policy = { ...defaultPolicy, egress: { mode: 'closed', rules: [] } };
      repositoryPath = await bench.repository();
    });
    after(() => bench.close());

    /** Runs a line in the terminal of a task; resolves to what it has printed. */
    async function typed(screen: Screen, line: string): Promise<string> {
      await screen.type(`stty -echo; echo "<""<"; ${line}; echo ">"">"\n`);
      const [, text = ''] = await screen.until(/<<\r\n([^]*?)>>\r\n/);
      return text.replaceAll('\r\n', '\n').trim();
    }

    it('has no right, no device, no namespace and no limit that the agent has not', async () => {
      const turns = [bash(rights), bash('until [ -e /tmp/go ]; do sleep 0.1; done')];
      const { spec } = await bench.submit(turns, { repositoryPath });
      const events = await bench.events(spec.id, (event) => event.type === 'tool_result');
      const ofAgent = printed(events)[0]?.trim();
      const terminal = await bench.service.terminal(spec.id, size);
      const screen = new Screen(terminal);
      assert.equal(await typed(screen, rights), ofAgent);
      assert.match(ofAgent ?? '', /NoNewPrivs: 1/);
      assert.match(ofAgent ?? '', /CapEff: 0{16}/);
      assert.match(ofAgent ?? '', /Uid: 1000 1000 1000 1000/);

      // Podman gives a program that comes later no groups at all.
      assert.match(await typed(screen, 'grep ^Groups: /proc/self/status'), /^Groups:\s*(?:1000)?\s*$/);

      // No way out but the loopback, and there only the gateway's.
      assert.equal(
        await typed(screen, 'cd /sys/class/net; echo *; cd; tail -n +2 /proc/net/route | wc -l'),
        'lo\n0',
      );
      const reach = (host: string): Promise<string> =>
        typed(screen, `timeout 3 bash -c 'exec 3<>/dev/tcp/${host}' 2>/dev/null && echo reached || echo not`);
      for (const host of ['1.1.1.1/443', '169.254.169.254/80', '172.17.0.1/22', 'example.com/80'])
        assert.equal(await reach(host), 'not', host);
      const refused = 'curl -sS -m 5 -o /dev/null -w "%{http_connect}" https://example.com 2>/dev/null';
      assert.match(await typed(screen, refused), /^403$/);

      // What root could do.
      for (const attempt of [
        'mount -t tmpfs none /mnt',
        'unshare -Ur true',
        'chown 0 /workspace',
        'su -c true',
        'mknod /tmp/disk b 8 0',
        'touch /run/sallyport/x',
        'ls /var/run/docker.sock /run/docker.sock /run/podman/podman.sock',
      ])
        assert.equal(
          await typed(screen, `${attempt} > /dev/null 2>&1 < /dev/null && echo done || echo no`),
          'no',
        );

      // No token in the shell's environment, not even the task's own.
      const token = (await readFile(join(bench.data, 'tasks', spec.id, 'token'), 'utf8')).trim();
      const environment = await typed(screen, 'cat /proc/$$/environ | tr "\\0" "\\n"');
      assert.match(environment, /^HTTPS_PROXY=http:\/\/127\.0\.0\.1:\d+$/m);
      assert.ok(!environment.includes(token));
      assert.doesNotMatch(environment, /token|secret|api_?key|password|ANTHROPIC/i);

      await bench.service.stop(spec.id);
      assert.deepEqual(await terminal.ended, { reason: 'gone' });
      await bench.events(spec.id);
      assert.deepEqual(await bench.remains(), []);
    });

    it('brings titles, clipboards and escapes to its viewers only, as bytes', async () => {
      const { spec } = await bench.submit([bash('until [ -e /tmp/go ]; do sleep 0.1; done')], {
        repositoryPath,
      });
      await bench.events(spec.id, (event) => event.type === 'tool_use');
      const terminal = await bench.service.terminal(spec.id, size);
      const screen = new Screen(terminal);
      const title = '$(touch /tmp/pwned-by-title)`id`;rm -rf ~';
      const evil = `\\033]0;${title}\\007\\033]52;c;cHduZWQ=\\007\\033]8;;command:workbench.action.quit\\007x\\033]8;;\\007\\033Pq\\033\\\\\\\\`;
      await screen.type(`printf '${evil}'; echo "sh""own"\n`);
      await screen.until(/\u001b\]0;\$\(touch [^]*\u001b\]52;c;[^]*shown/);
      await bench.service.stop(spec.id);
      await bench.events(spec.id);
      // Nothing that was shown is anywhere else: not in the log, not in the state, not in a name of the engine's.
      for (const text of [
        await bench.logText(spec.id),
        JSON.stringify(bench.state(spec.id)),
        bench.log.join('\n'),
      ])
        assert.ok(!text.includes('pwned-by-title'));
    });
  });
}

describe('attacks of a supervisor on whoever opens a terminal', () => {
  /** An engine whose sandbox answers as told. */
  function engineOf(shell: unknown): { engine: Engine; asked: unknown[][] } {
    const asked: unknown[][] = [];
    const sandbox = {
      id: 'sandbox',
      name: 'sandbox',
      labels: { 'dev.sallyport.role': 'sandbox' },
      status: 'running',
      oomKilled: false,
    };
    async function* answer(): AsyncIterable<Uint8Array> {
      yield encodeFrame({ kind: 'J', json: { ok: true, shell } });
      await Promise.resolve();
    }
    const engine: Pick<Engine, 'list' | 'exec' | 'inspect' | 'terminal'> = {
      list: () => Promise.resolve([sandbox as never]),
      inspect: () => Promise.resolve(sandbox as never),
      exec: () => Promise.resolve({ stdout: answer(), done: Promise.resolve({ exitCode: 0, stderr: '' }) }),
      terminal: (...args) => {
        asked.push(args);
        return Promise.resolve(new FakeTerminal());
      },
    };
    return { engine: engine as Engine, asked };
  }
  const state = reduce(initialState(aSpec(), 0), {
    type: 'workspace',
    branch: 'b',
    commit: aSpec().snapshot.commit,
    files: 1,
    ms: 1,
    n: 1,
    t: 1,
  });

  it('run no program but a shell, and as nobody but the agent', async () => {
    const good = { path: '/bin/bash', env: { PATH: '/bin', ODD: 'a\nb"; $(id)' } };
    const { engine, asked } = engineOf(good);
    const terminals = new Terminals(() => Promise.resolve(engine), 'home');
    (await terminals.view(state, size)).dispose();
    const [[id, argv, options] = []] = asked;
    assert.deepEqual([id, argv], ['sandbox', ['/bin/bash']]);
    const { user, workingDir, env } = options as Record<string, unknown>;
    assert.deepEqual([user, workingDir, env], ['1000:1000', '/workspace', good.env]);
    terminals.dispose();

    for (const shell of [
      undefined,
      'bash',
      { path: 'bash', env: {} },
      { path: '/bin/bash -c id', env: {} },
      { path: '/proc/self/exe', env: {} },
      { path: '/bin/../proc/self/fd/8', env: {} },
      { path: '/bin/bash\n', env: {} },
      { path: ['/bin/bash'], env: {} },
      { path: '/bin/sh', env: { 'A=B': 'x' } },
      { path: '/bin/sh', env: { A: 'x\0B=y' } },
      { path: '/bin/sh', env: { A: 'x'.repeat(40_000) } },
      { path: '/bin/sh', env: Object.fromEntries(Array.from({ length: 501 }, (_, i) => [`A${i}`, ''])) },
    ]) {
      const hostile = engineOf(shell);
      const opened = new Terminals(() => Promise.resolve(hostile.engine), 'home');
      await assert.rejects(opened.view(state, size), 'let in');
      assert.deepEqual(hostile.asked, []);
      opened.dispose();
    }
  });
});
