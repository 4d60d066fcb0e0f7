import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import type { EgressPolicy } from '../../src/protocol/egress.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { Registry } from '../support/registry.ts';
import { assertWhole, bash, Bench, only, printed } from '../support/tasks.ts';

/** Says the status and the body of an answer on one line, whatever it is. */
function get(url: string, ...options: string[]): string {
  return `curl -sS -m 30 ${options.join(' ')} -w ' [%{http_code}]\\n' ${url}`;
}

for (const name of engineKinds) {
  describe(`egress on ${name}`, () => {
    const host = `host.${name === 'docker' ? 'docker' : 'containers'}.internal`;
    let bench: Bench;
    let address: string;
    let registry: Registry;
    let base: string;
    let rule: string;
    let repositoryPath: string;

    before(async () => {
      address = (await engines())[name];
      bench = await Bench.open(address);
      registry = await Registry.open(host);
      base = `http://${host}:${registry.port}`;
      rule = `${host}:${registry.port} private`;
      repositoryPath = await bench.repository();
    });
    after(async () => {
      registry.close();
      await bench.close();
    });
    beforeEach(() => policy({ mode: 'list', rules: [] }));

    function policy(egress: EgressPolicy, holdMs = 0): void {
      bench.policy = { ...defaultPolicy, egress, holdMs };
    }

    /** Resolves when the task's log holds an event of that kind. */
    async function until(id: string, type: TaskEvent['type'], text = ''): Promise<void> {
      await bench.events(id, (event) => event.type === type && JSON.stringify(event).includes(text));
    }

    it('lets npm, pip, git and curl reach what a rule names, and tells of each request', async () => {
      policy({ mode: 'list', rules: [rule, `${host}:${registry.tlsPort} private`] });
      const npm = `npm install --prefix /tmp/n --registry ${base}/npm/ sallyport-demo >/tmp/npm.log 2>&1 || cat /tmp/npm.log; node -p 'require("/tmp/n/node_modules/sallyport-demo")'`;
      const pip = `pip download -q --no-deps -d /tmp/p --index-url ${base}/simple --trusted-host ${host} sallyport-demo && ls /tmp/p`;
      const git = `git clone -q ${base}/demo.git /tmp/g && git -C /tmp/g log --format=%s`;
      const tls = get(`https://${host}:${registry.tlsPort}/hello`, '-k');
      const { spec } = await bench.submit(
        [bash(npm), bash(pip), bash(git), bash(get(`${base}/hello`)), bash(tls), { text: 'ok' }],
        { repositoryPath },
      );
      const events = await bench.events(spec.id);
      assertWhole(events);
      const [npmSaid, pipSaid, gitSaid, curlSaid, tlsSaid] = printed(events);
      assert.match(npmSaid ?? '', /^from npm$/m);
      assert.match(pipSaid ?? '', /^sallyport_demo-1\.0-py3-none-any\.whl$/m);
      assert.match(gitSaid ?? '', /^Hello$/m);
      assert.match(curlSaid ?? '', /hello from outside\n \[200\]/);
      assert.match(tlsSaid ?? '', /hello from outside\n \[200\]/);

      const requests = only(events, 'request').filter(({ kind }) => kind !== 'model');
      assert.ok(
        requests.every(({ verdict }) => verdict === 'allowed'),
        JSON.stringify(requests),
      );
      const hello = requests.find(({ path }) => path === '/hello');
      assert.deepEqual(
        [hello?.kind, hello?.host, hello?.port, hello?.method, hello?.status],
        ['http', host, registry.port, 'GET', 200],
      );
      assert.ok((hello?.bytesIn ?? 0) >= 'hello from outside\n'.length);
      const tunnel = requests.find(({ kind }) => kind === 'tunnel');
      assert.deepEqual([tunnel?.host, tunnel?.port, tunnel?.path], [host, registry.tlsPort, undefined]);
      assert.ok((tunnel?.bytesIn ?? 0) > 500);
      const { counts } = bench.state(spec.id).egress;
      assert.deepEqual([counts.blocked, counts.failed], [0, 0]);
      assert.ok(registry.seen.includes('https GET /hello'));
      assert.deepEqual(await bench.remains(), []);
    });

    it('refuses the rest with a sentence, and says so in the log', async () => {
      policy({ mode: 'list', rules: [rule] });
      const before = registry.seen.length;
      const tries = [
        get('http://elsewhere.example.com/x'),
        get(`${base}/hello`, '-X', 'POST', '-d', 'secret=1'),
        get('https://elsewhere.example.com/x', '2>&1'),
        get('http://169.254.169.254/latest/meta-data/'),
        get('http://127.0.0.1:1/x', '--noproxy', "''"),
      ];
      const { spec } = await bench.submit([bash(tries.join('; ')), { text: 'ok' }], { repositoryPath });
      const events = await bench.events(spec.id);
      assertWhole(events);
      const [said = ''] = printed(events);
      assert.match(said, /blocked by Sallyport.*elsewhere\.example\.com[^]*\[403\]/i);
      assert.match(said, /ask the user/i);
      assert.match(said, /403/);
      const blocked = only(events, 'request').filter(({ verdict }) => verdict === 'blocked');
      assert.deepEqual(
        blocked.map((entry) => entry.host),
        ['elsewhere.example.com', host, 'elsewhere.example.com', '169.254.169.254', '127.0.0.1'],
      );
      assert.equal(blocked[0]?.askable, true);
      assert.notEqual(blocked[3]?.askable, true);
      assert.equal(registry.seen.length, before);
      assert.equal(bench.state(spec.id).egress.counts.blocked, 5);
    });

    it('lets a waiting request through when the user allows it, and the next ones at once', async () => {
      policy({ mode: 'list', rules: [] }, 60_000);
      const { spec } = await bench.submit(
        [bash(get(`${base}/hello`)), bash(get(`${base}/hello`)), { text: 'ok' }],
        { repositoryPath },
      );
      await until(spec.id, 'request_waiting', host);
      assert.deepEqual(
        bench.state(spec.id).egress.waiting.map(({ port }) => port),
        [registry.port],
      );
      await bench.service.answerEgress(spec.id, { allow: 'workspace', rule });
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.match(printed(events)[0] ?? '', /hello from outside\n \[200\]/);
      assert.match(printed(events)[1] ?? '', /hello from outside\n \[200\]/);
      assert.equal(only(events, 'request_waiting').length, 1);
      assert.equal(only(events, 'egress_allowed').length, 1);
      assert.ok(!events.some((event) => event.type === 'notice' && /started again/.test(event.text)));
      assert.deepEqual(bench.state(spec.id).egress.waiting, []);

      // For the next task of the workspace it is a rule.
      assert.deepEqual((await bench.service.workspaceSettings(repositoryPath)).egressRules, [rule]);
      const next = await bench.submit([bash(get(`${base}/hello`)), { text: 'ok' }], { repositoryPath });
      const after = await bench.events(next.spec.id);
      assert.match(printed(after)[0] ?? '', /\[200\]/);
      assert.equal(only(after, 'request_waiting').length, 0);
      await bench.service.changeWorkspaceSettings(repositoryPath, { egressRules: [] });
    });

    it('ends the waiting when the user refuses, and asks no more about that host', async () => {
      policy({ mode: 'list', rules: [] }, 60_000);
      const again = get('http://no.example.com/');
      const { spec } = await bench.submit([bash(again), bash(again), { text: 'ok' }], { repositoryPath });
      await until(spec.id, 'request_waiting', 'no.example.com');
      await bench.service.answerEgress(spec.id, { refuse: 'no.example.com' });
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.ok(
        printed(events).every((text) => text.includes('[403]')),
        printed(events).join('\n'),
      );
      assert.equal(only(events, 'request_waiting').length, 1);
      await assert.rejects(
        bench.service.answerEgress(spec.id, { allow: 'task', rule: '10.0.0.1' }),
        (thrown: unknown) => thrown instanceof SallyportError && thrown.code === 'invalid_rule',
      );
    });

    it('lets nothing through when closed, and every public name when open', async () => {
      policy({ mode: 'closed', rules: [rule] }, 60_000);
      const closed = await bench.submit([bash(get(`${base}/hello`)), { text: 'ok' }], { repositoryPath });
      const inClosed = await bench.events(closed.spec.id);
      assert.match(printed(inClosed)[0] ?? '', /\[403\]/);
      assert.equal(only(inClosed, 'request_waiting').length, 0);

      policy({ mode: 'list', rules: [] }, 60_000);
      const open = await bench.submit(
        [
          bash(`${get(`${base}/hello`)}; ${get('http://there-is-no-such-host.example.com/')}`),
          { text: 'ok' },
        ],
        { repositoryPath, egress: { mode: 'open', rules: [rule] } },
      );
      const inOpen = await bench.events(open.spec.id);
      assert.match(printed(inOpen)[0] ?? '', /hello from outside\n \[200\]/);
      const [, unknown] = only(inOpen, 'request').filter(({ kind }) => kind === 'http');
      assert.equal(unknown?.verdict, 'failed', JSON.stringify(unknown));
    });

    it('takes an answer from a second window, once', async () => {
      policy({ mode: 'list', rules: [] }, 60_000);
      const { spec } = await bench.submit([bash(get(`${base}/hello`)), { text: 'ok' }], { repositoryPath });
      await until(spec.id, 'request_waiting');
      const second = await bench.another();
      try {
        await second.open();
        await Promise.all([
          second.answerEgress(spec.id, { allow: 'task', rule }),
          second.answerEgress(spec.id, { allow: 'task', rule }),
          second.setBudget(spec.id, 7),
        ]);
        assert.equal(second.task(spec.id)?.budgetUsd, 7);
        const events = await bench.events(spec.id);
        assertWhole(events);
        assert.match(printed(events)[0] ?? '', /\[200\]/);
        assert.equal(only(events, 'egress_allowed').length, 1);
        assert.equal(only(events, 'budget_set').length, 1);
      } finally {
        second.dispose();
      }
    });

    it('keeps ledger and answers over a killed gateway', async () => {
      const { spec } = await bench.submit(
        [
          bash(`${get(`${base}/hello`)}; ${get('http://one.example.com/')}`),
          bash(
            `sleep 4; ${get(`${base}/hello`, '--retry', '30', '--retry-all-errors', '--retry-delay', '1')}`,
          ),
          { text: 'ok' },
        ],
        { repositoryPath },
      );
      await until(spec.id, 'tool_result');
      await bench.service.answerEgress(spec.id, { allow: 'task', rule });
      const engine = await bench.engine();
      const [gateway] = await engine.list({ 'dev.sallyport.task': spec.id, 'dev.sallyport.role': 'gateway' });
      assert.ok(gateway);
      await engine.stop(gateway.id, 0);
      engine.dispose();
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.match(printed(events)[1] ?? '', /hello from outside\n \[200\]/);
      const hosts = only(events, 'request')
        .filter(({ kind }) => kind === 'http')
        .map((entry) => `${entry.verdict} ${entry.host}`);
      assert.deepEqual(hosts, [`blocked ${host}`, 'blocked one.example.com', `allowed ${host}`]);
    });

    it('misses no request while no process attends to the task', async () => {
      const home = await mkdtemp(join(tmpdir(), 'sallyport-home-'));
      const script = `import { Bench } from ${JSON.stringify(new URL('../support/tasks.ts', import.meta.url).href)};
        const bench = await Bench.open(${JSON.stringify(address)}, { data: ${JSON.stringify(home)} });
        bench.policy = { ...bench.policy, egress: { mode: 'list', rules: [] }, holdMs: 0 };
        const command = 'for i in 1 2 3 4 5 6 7 8; do curl -s http://h$i.example.com/; sleep 0.4; done';
        const { spec } = await bench.submit(
          [{ tools: [{ name: 'Bash', input: { command } }] }, { text: 'ok' }],
          { repositoryPath: ${JSON.stringify(repositoryPath)} });
        await bench.events(spec.id, (event) => event.type === 'request' && event.host === 'h2.example.com');
        console.log(spec.id);
        await new Promise(() => setInterval(() => {}, 1000));`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      child.kill('SIGKILL');
      const id = line.toString().trim();
      const again = await Bench.open(address, { data: home });
      try {
        again.upstream = { kind: 'scripted', turns: [] };
        await again.service.open();
        const events = await again.events(id);
        assertWhole(events);
        assert.deepEqual(
          only(events, 'request')
            .filter(({ kind }) => kind === 'http')
            .map((entry) => entry.host),
          Array.from({ length: 8 }, (_, i) => `h${i + 1}.example.com`),
        );
        assert.deepEqual(await again.remains(), []);
      } finally {
        await again.close();
      }
    });
  }).timeout(90_000);
}
