import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { SecretsFound } from '../../src/runner/secretsFound.ts';
import { type EngineKind, engines } from './engines.ts';
import type { Bench } from './tasks.ts';
import { assertWhole, bash, gitIn, type Turns } from './tasks.ts';

const root = resolve(import.meta.dirname, '..', '..');

const commitTwo: Turns = [
  { text: 'I begin.', ...bash('echo one > one.txt && git add one.txt && git commit -qm "Add one"') },
  bash('printf "two\\n" >> README.md && git commit -qam "Change the readme"'),
  { text: 'Both are done.' },
];

/** The agent refuses to run a long `sleep`. */
const forever = 'tail -f /dev/null';

function types(events: readonly TaskEvent[]): string[] {
  return events.map((event) => event.type);
}

function ended(events: readonly TaskEvent[]): Extract<TaskEvent, { type: 'ended' }> {
  const found = events.find((event) => event.type === 'ended');
  assert.ok(found, `no end in ${types(events).join(' ')}`);
  return found;
}

/** Everything under .git but the objects, and the tree: what must not change before an accept. */
async function fingerprint(repository: string): Promise<string> {
  const script =
    'cd "$1" && find . -path ./.git/objects -prune -o -type f -print0 | sort -z | xargs -0 sha256sum; find .git/objects -type f | sort; stat -c "%n %Y %s" .git/index';
  const child = spawn('sh', ['-c', script, 'sh', repository], { stdio: ['ignore', 'pipe', 'inherit'] });
  const parts: Buffer[] = [];
  for await (const part of child.stdout) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

/** A kind of runner that the promises hold for. */
export interface RunnerKind {
  title: string;
  engine: EngineKind;
  /** How its user is made. */
  Kind: typeof Bench;
  /** Reached over the network: the user's machine has no engine. */
  remote: boolean;
}

/** What every runner promises, tried for real. */
export function runnerSuite({ title, engine: name, Kind, remote }: RunnerKind): void {
  describe(`runner on ${title}`, function () {
    this.timeout('3m');
    let bench: Bench;
    let address: string;

    before(async () => {
      address = (await engines())[name];
      bench = await Kind.open(address);
      // The image, so that no test pays for it.
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([{ text: 'ready' }], { repositoryPath });
      assert.equal(ended(await bench.events(spec.id)).outcome, 'succeeded', bench.log.join('\n'));
    });
    after(() => bench.close());

    it('takes a prompt to commits in the quarantine, and leaves nothing behind', async () => {
      const repositoryPath = await bench.repository();
      await writeFile(join(repositoryPath, 'README.md'), '# Test, edited\n');
      await writeFile(join(repositoryPath, 'notes.txt'), 'untracked\n');
      const before = await fingerprint(repositoryPath);
      const { spec } = await bench.submit(commitTwo, { repositoryPath, snapshot: 'tracked' });
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.equal(ended(events).outcome, 'succeeded');
      const order = [
        'submitted',
        'started',
        'workspace',
        'egress',
        'session',
        'tool_use',
        'commit',
        'result',
        'ended',
        'sandbox_removed',
      ];
      const first = order.map((type) => types(events).indexOf(type));
      assert.deepEqual(
        first,
        [...first].sort((a, b) => a - b),
        types(events).join(' '),
      );
      const egress = events.find((event) => event.type === 'egress');
      assert.ok(egress?.type === 'egress' && egress.closed && egress.checks.length > 3);

      const state = bench.state(spec.id);
      assert.deepEqual(
        state.commits.map((commit) => commit.subject),
        ['Add one', 'Change the readme'],
      );
      assert.equal(state.commits[0]?.author, 'Ada Lovelace');
      assert.deepEqual(state.pendingImports, []);
      const result = bench.service.result(spec.id);
      assert.ok(result);
      const changes = await bench.service.changes(spec.id);
      assert.deepEqual(changes.map(({ path, status }) => `${status} ${path}`).sort(), [
        'added one.txt',
        'modified README.md',
      ]);
      const { text } = await bench.service.patch(spec.id);
      assert.match(text, /^ # Test, edited$/m);
      assert.doesNotMatch(text, /notes\.txt/);
      assert.equal(await fingerprint(repositoryPath), before);
      assert.deepEqual(await bench.remains(), []);

      await bench.service.acceptAsBranch(spec.id, 'accepted');
      assert.equal(await gitIn(repositoryPath, 'rev-parse', 'accepted'), result.to);
      assert.equal(
        await gitIn(repositoryPath, 'log', '--format=%s', 'main..accepted'),
        'Change the readme\nAdd one\nSallyport snapshot: uncommitted changes',
      );
      assert.equal(await gitIn(repositoryPath, 'symbolic-ref', 'HEAD'), 'refs/heads/main');
      await bench.service.remove(spec.id);
      assert.equal(bench.service.task(spec.id), undefined);
    });

    it('shows no credential to the sandbox, and a real service gets it', async () => {
      const secret = 'sk-ant-api03-THISISTHESECRETOFTHETEST';
      const seen: (string | undefined)[] = [];
      const server = createServer((request, response) => {
        seen.push(request.headers['x-api-key'] as string | undefined);
        request.resume();
        response.writeHead(401, { 'content-type': 'application/json' });
        response.end(
          JSON.stringify({
            type: 'error',
            error: { type: 'authentication_error', message: 'invalid x-api-key' },
          }),
        );
      }).listen(0, '0.0.0.0');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      try {
        const repositoryPath = await bench.repository();
        bench.demonstration = false;
        bench.upstream = {
          kind: 'anthropic',
          baseUrl: `http://host.${name === 'docker' ? 'docker' : 'containers'}.internal:${port}`,
          auth: { type: 'api_key', value: secret },
        };
        const { spec } = await bench.service.submit({ prompt: 'Do it.', snapshot: 'head', repositoryPath });
        const engine = await bench.engine();
        const inside = await bench.events(spec.id, (event) => event.type === 'session');
        assert.ok(inside.length > 0);
        const all = await engine.list({ 'dev.sallyport.task': spec.id });
        for (const container of all) {
          const exec = await engine
            .exec(container.id, [
              'sh',
              '-c',
              'cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; env; find / -xdev -type f -newer /etc/hostname -size -200k -exec cat {} + 2>/dev/null',
            ])
            .catch(() => undefined);
          if (exec === undefined) continue;
          const parts: Uint8Array[] = [];
          for await (const part of exec.stdout) parts.push(part);
          const text = Buffer.concat(parts).toString('latin1');
          assert.ok(text.length > 100, 'nothing was read');
          assert.ok(!text.includes(secret), `the credential can be read in ${container.name}`);
        }
        assert.ok(!JSON.stringify(all).includes(secret));
        engine.dispose();
        const events = await bench.events(spec.id);
        assert.equal(ended(events).kind, 'auth_refused', JSON.stringify(ended(events)));
        assert.ok(seen.length > 0 && seen.every((key) => key === secret));
        assert.ok(!(await bench.logText(spec.id)).includes(secret));
      } finally {
        bench.demonstration = true;
        server.close();
      }
    });

    it('lets nothing out of the sandbox but the model', async () => {
      const repositoryPath = await bench.repository();
      const tries = [
        'curl -sS -m 3 --noproxy "*" http://1.1.1.1/',
        'curl -sS -m 3 --noproxy "*" http://169.254.169.254/',
        'curl -sS -m 3 --noproxy "*" http://172.17.0.1:2375/version',
        'getent hosts example.com',
        'curl -sS -m 3 --unix-socket /run/sallyport/model.sock http://x/v1/files',
        'touch /run/sallyport/mine',
      ];
      const script = tries
        .map(
          (command, i) =>
            `${command} >/dev/null 2>&1 && test "$(${command} 2>/dev/null | grep -c error)" = 0 && echo OPEN${i}`,
        )
        .join('; ');
      const { spec } = await bench.submit(
        [bash(`${script}; ls /sys/class/net; echo tried`), { text: 'ok' }],
        { repositoryPath },
      );
      const results = (await bench.events(spec.id)).flatMap((event) =>
        event.type === 'tool_result' ? event.text : [],
      );
      assert.equal(results.length, 1);
      assert.match(results[0] ?? '', /^lo\ntried$/m);
      assert.doesNotMatch(results[0] ?? '', /OPEN/);
    });

    it('stops a running agent and still brings in what it made', async () => {
      const repositoryPath = await bench.repository();
      const turns = [bash('echo x > x && git add x && git commit -qm Half && echo y > y'), bash(forever)];
      const { spec } = await bench.submit(turns, { repositoryPath });
      await bench.events(spec.id, (event) => event.type === 'imported');
      await bench.service.stop(spec.id);
      await bench.service.stop(spec.id);
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.equal(ended(events).outcome, 'stopped');
      assert.deepEqual(
        bench.state(spec.id).commits.map((commit) => commit.subject),
        ['Half'],
      );
      assert.deepEqual(
        bench.state(spec.id).leftovers?.files.map((file) => file.path),
        ['y'],
      );
      assert.ok(bench.service.leftovers(spec.id));
      assert.deepEqual(await bench.remains(), []);
    });

    it('stops while the image is being built', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'sallyport-image-'));
      await cp(join(root, 'container'), folder, { recursive: true });
      await writeFile(
        join(folder, 'Dockerfile'),
        `ARG BASE=debian:trixie-slim\nFROM \${BASE}\nRUN echo ${Date.now()} && sleep 300\n`,
      );
      const slow = await Kind.open(address, { containerFolder: folder });
      try {
        const repositoryPath = await slow.repository();
        const { spec } = await slow.submit([], { repositoryPath });
        await slow.events(spec.id, (event) => event.type === 'progress' && /sleep 300/.test(event.text));
        await slow.service.stop(spec.id);
        const events = await slow.events(spec.id);
        assert.equal(ended(events).outcome, 'stopped');
        assert.deepEqual(await slow.remains(), []);
      } finally {
        await slow.close();
        await rm(folder, { recursive: true, force: true });
      }
    });

    it('stops at any moment of the preparation, with a log that is whole and nothing left', async () => {
      const repositoryPath = await bench.repository();
      for (const delay of [0, 20, 60, 120, 200, 300, 450, 600, 800, 1000, 1300, 1600]) {
        const { spec } = await bench.submit([bash(forever)], { repositoryPath });
        await new Promise((passed) => setTimeout(passed, delay));
        await bench.service.stop(spec.id);
        const events = await bench.events(spec.id);
        assertWhole(events);
        assert.equal(ended(events).outcome, 'stopped', `after ${delay} ms`);
        assert.equal(types(events).filter((type) => type === 'ended').length, 1, `after ${delay} ms`);
      }
      assert.deepEqual(await bench.remains(), []);
    });

    it('ends an agent that hangs, at its time limit', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([bash(forever)], { repositoryPath, limits: { timeMs: 4000 } });
      assert.equal(ended(await bench.events(spec.id)).outcome, 'timed_out');
    });

    it('tells the real exit code of an agent that ends at once', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([], { repositoryPath, agentArgs: ['--no-such-option'] });
      const events = await bench.events(spec.id);
      assert.deepEqual(
        { outcome: ended(events).outcome, kind: ended(events).kind, exitCode: ended(events).exitCode },
        { outcome: 'failed', kind: 'exit', exitCode: 1 },
      );
      assert.ok(events.some((event) => event.type === 'output' && event.text?.includes('no-such-option')));
    });

    it('tells that the memory limit ended the agent', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([{ text: 'x' }], {
        repositoryPath,
        limits: { memoryBytes: 96 * 2 ** 20 },
      });
      const end = ended(await bench.events(spec.id));
      assert.equal(end.kind, 'out_of_memory', JSON.stringify(end));
      assert.deepEqual(await bench.remains(), []);
    });

    it('brings in a thousand commits, each once and in order', async () => {
      const repositoryPath = await bench.repository();
      const loop = 'for i in $(seq 1000); do git commit -q --allow-empty -m "Commit $i"; done';
      const { spec } = await bench.submit([bash(loop), { text: 'ok' }], { repositoryPath });
      const events = await bench.events(spec.id);
      assertWhole(events);
      const { commits, pendingImports, imported } = bench.state(spec.id);
      assert.deepEqual(
        commits.map((commit) => commit.subject),
        Array.from({ length: 1000 }, (_, i) => `Commit ${i + 1}`),
      );
      assert.deepEqual(pendingImports, []);
      assert.equal(imported.length, 1000);
      const log = await gitIn(
        join(bench.data, 'quarantine', `${spec.repository.id}.git`),
        'rev-list',
        '--count',
        `${spec.snapshot.commit}..${bench.service.result(spec.id)?.to ?? ''}`,
      );
      assert.equal(log, '1000');
    });

    it('keeps amended and detached commits, and those of other branches', async () => {
      const repositoryPath = await bench.repository();
      const script =
        'git commit -q --allow-empty -m First && sleep 0.3 && git commit -q --amend --allow-empty -m Second && sleep 0.3 && git checkout -q --detach && git commit -q --allow-empty -m Detached && sleep 0.3 && git checkout -q -b other && git commit -q --allow-empty -m Other';
      const { spec } = await bench.submit([bash(script), { text: 'ok' }], { repositoryPath });
      await bench.events(spec.id);
      const { commits, imported } = bench.state(spec.id);
      assert.deepEqual(
        commits.map((commit) => commit.subject),
        ['First', 'Second', 'Detached', 'Other'],
      );
      assert.deepEqual(imported.length, 4);
    });

    it('passes a text of 10 MB and odd characters whole', async () => {
      const repositoryPath = await bench.repository();
      const text = `\u001b[31mred\u001b]52;c;aGFjaw==\u0007 ${'0123456789abcdé\n'.repeat(640_000)}`;
      const { spec } = await bench.submit([{ text }], { repositoryPath });
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.ok(
        events.some((event) => event.type === 'text' && event.text === text),
        'the text is not in the log',
      );
    });

    it('works on a repository with hostile names', async () => {
      const names = ['-rf', "it's", 'say "hi"', 'new\nline', ' lead', 'é/ü.txt', '$(touch x)', 'a;b'];
      const repositoryPath = await bench.repository(
        Object.fromEntries(names.map((file) => [file, `${file}\n`])),
      );
      const script =
        'for f in ./*; do test -f "$f" && echo more >> "$f"; done; printf x > "$(printf "caf\\351")"; git add -A && git commit -qm Names';
      const { spec } = await bench.submit([bash(script), { text: 'ok' }], { repositoryPath });
      assert.equal(ended(await bench.events(spec.id)).outcome, 'succeeded');
      const changes = await bench.service.changes(spec.id);
      assert.deepEqual(
        changes.map((change) => change.path).sort(),
        [...names.filter((file) => !file.includes('/')), 'caf\ufffd'].sort(),
      );
    });

    it('starts a gateway again that was killed', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit(
        [bash('sleep 3'), bash('git commit -q --allow-empty -m After'), { text: 'ok' }],
        { repositoryPath },
      );
      await bench.events(spec.id, (event) => event.type === 'tool_use');
      const engine = await bench.engine();
      const [gateway] = await engine.list({ 'dev.sallyport.task': spec.id, 'dev.sallyport.role': 'gateway' });
      assert.ok(gateway);
      await engine.stop(gateway.id, 0);
      engine.dispose();
      const events = await bench.events(spec.id);
      assert.equal(ended(events).outcome, 'succeeded', JSON.stringify(ended(events)));
      assert.equal(bench.state(spec.id).commits.length, 1);
    });

    it('tells that a sandbox was removed from outside', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([bash(forever)], { repositoryPath });
      await bench.events(spec.id, (event) => event.type === 'tool_use');
      const engine = await bench.engine();
      const [sandbox] = await engine.list({ 'dev.sallyport.task': spec.id, 'dev.sallyport.role': 'sandbox' });
      await engine.remove(sandbox!.id);
      engine.dispose();
      // Podman kills first and removes then: in between the sandbox may have been revived.
      const { kind } = ended(await bench.events(spec.id));
      assert.ok(kind === 'sandbox_lost' || (name === 'podman' && kind === 'engine_gone'), kind);
      assert.deepEqual(await bench.remains(), []);
    });

    it('revives a killed sandbox to bring out what is in it', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit(
        [bash('git commit -q --allow-empty -m Early && echo left > left.txt'), bash(forever)],
        { repositoryPath },
      );
      await bench.events(spec.id, (event) => event.type === 'commit');
      await bench.events(spec.id, (event) => event.type === 'tool_result');
      const engine = await bench.engine();
      const [sandbox] = await engine.list({ 'dev.sallyport.task': spec.id, 'dev.sallyport.role': 'sandbox' });
      await engine.stop(sandbox!.id, 0);
      engine.dispose();
      const events = await bench.events(spec.id);
      assert.equal(ended(events).outcome, 'failed', JSON.stringify(ended(events)));
      const state = bench.state(spec.id);
      assert.deepEqual(
        state.commits.map((commit) => commit.subject),
        ['Early'],
      );
      assert.deepEqual(
        state.leftovers?.files.map((file) => file.path),
        ['left.txt'],
      );
      assert.deepEqual(state.pendingImports, []);
      assert.deepEqual(await bench.remains(), []);
    });

    it('finds a task again after this process was killed, with its whole log', async () => {
      const repositoryPath = await bench.repository();
      const home = await mkdtemp(join(tmpdir(), 'sallyport-home-'));
      const file = remote ? '../support/remoteBench.ts' : '../support/tasks.ts';
      const script = `import { ${Kind.name} as Kind } from ${JSON.stringify(new URL(file, import.meta.url).href)};
        const bench = await Kind.open(${JSON.stringify(address)}, { data: ${JSON.stringify(home)} });
        const bash = (command) => ({ tools: [{ name: 'Bash', input: { command } }] });
        const turns = Array.from({ length: 6 }, (_, i) => bash('sleep 0.5; git commit -q --allow-empty -m "Commit ' + i + '"'));
        const { spec } = await bench.submit([...turns, { text: 'ok' }], { repositoryPath: ${JSON.stringify(repositoryPath)} });
        await bench.events(spec.id, (event) => event.type === 'imported');
        console.log(spec.id);
        await new Promise(() => setInterval(() => {}, 1000));`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      child.kill('SIGKILL');
      const id = line.toString().trim();
      await new Promise((passed) => setTimeout(passed, 1000));
      const again = await Kind.open(address, { data: home });
      try {
        await again.service.open();
        const events = await again.events(id);
        assertWhole(events);
        assert.equal(ended(events).outcome, 'succeeded');
        assert.deepEqual(
          again.state(id).commits.map((commit) => commit.subject),
          Array.from({ length: 6 }, (_, i) => `Commit ${i}`),
        );
        assert.equal(again.state(id).imported.length, 6);
        assert.deepEqual(await again.remains(), []);
      } finally {
        await again.close();
      }
    });

    it('ends a task whose sandbox was revived and never told what to do, and brings in its commits', async () => {
      const own = await Kind.open(address);
      const engine = await own.engine();
      try {
        const repositoryPath = await own.repository();
        const { spec } = await own.submit([bash('git commit -q --allow-empty -m Early'), bash(forever)], {
          repositoryPath,
        });
        await own.events(spec.id, (event) => event.type === 'imported');
        await own.leave();
        const labels = { 'dev.sallyport.task': spec.id, 'dev.sallyport.role': 'sandbox' };
        const [sandbox] = await engine.list(labels);
        assert.ok(sandbox);
        const late = ['git', '-C', '/workspace', 'commit', '-q', '--allow-empty', '-m', 'Late'];
        assert.equal((await (await engine.exec(sandbox.id, late)).done).exitCode, 0);
        await engine.stop(sandbox.id, 0);
        await engine.start(sandbox.id);
        await own.reopen();
        const events = await own.events(spec.id, undefined, AbortSignal.timeout(120_000));
        assertWhole(events);
        assert.deepEqual([ended(events).outcome, ended(events).kind], ['failed', 'engine_gone']);
        assert.deepEqual(
          own.state(spec.id).commits.map((commit) => commit.subject),
          ['Early', 'Late'],
        );
        assert.equal(own.state(spec.id).imported.length, 2);
        assert.deepEqual(await own.remains(), []);
      } finally {
        engine.dispose();
        await own.close();
      }
    });

    it('lets a sandbox go on that was paused by a process that was killed', async () => {
      const own = await Kind.open(address);
      const engine = await own.engine();
      try {
        const repositoryPath = await own.repository();
        const { spec } = await own.submit(
          [bash('sleep 4; git commit -q --allow-empty -m Late'), { text: 'ok' }],
          { repositoryPath },
        );
        await own.events(spec.id, (event) => event.type === 'tool_use');
        await own.leave();
        const labels = { 'dev.sallyport.task': spec.id, 'dev.sallyport.role': 'sandbox' };
        const [sandbox] = await engine.list(labels);
        assert.ok(sandbox);
        await engine.pause(sandbox.id);
        await own.reopen();
        const events = await own.events(spec.id, undefined, AbortSignal.timeout(120_000));
        assertWhole(events);
        assert.equal(ended(events).outcome, 'succeeded');
        assert.equal(own.state(spec.id).imported.length, 1);
      } finally {
        engine.dispose();
        await own.close();
      }
    });

    // Files are lost on the machine with the engine; what a client then does is tried without one.
    const here = remote ? undefined : it;
    here?.('takes a task up again from its labels when its files are lost', async () => {
      const own = await Kind.open(address);
      try {
        const repositoryPath = await own.repository();
        const { spec } = await own.submit(
          [bash('sleep 4; git commit -q --allow-empty -m Late'), { text: 'ok' }],
          { repositoryPath },
        );
        await own.events(spec.id, (event) => event.type === 'tool_use');
        await own.leave();
        await rm(join(own.home, 'tasks', spec.id), { recursive: true, force: true });
        await own.reopen();
        for (let i = 0; i < 1000 && own.service.task(spec.id) === undefined; i++)
          await new Promise((passed) => setTimeout(passed, 100));
        const events = await own.events(spec.id);
        assertWhole(events);
        assert.equal(ended(events).outcome, 'succeeded');
        assert.deepEqual(
          own.state(spec.id).commits.map((commit) => commit.subject),
          ['Late'],
        );
        assert.ok(events.some((event) => event.type === 'started' && event.spec.prompt === 'Do it.'));
      } finally {
        await own.close();
      }
    });

    it('lets a second window watch and stop the same task', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([bash(forever)], { repositoryPath });
      await bench.events(spec.id, (event) => event.type === 'tool_use');
      const second = await bench.another();
      await second.open();
      const seen: TaskEvent[] = [];
      const watching = (async () => {
        for await (const batch of second.events(spec.id, 0, new AbortController().signal))
          seen.push(...batch);
      })();
      await second.stop(spec.id);
      await watching;
      second.dispose();
      assertWhole(seen);
      assert.equal(ended(seen).outcome, 'stopped');
      assert.deepEqual(seen, await bench.events(spec.id));
    });

    it('refuses an evil commit, keeps the sandbox, and removes it only by force', async () => {
      const own = await Kind.open(address);
      try {
        const repositoryPath = await own.repository();
        const evil =
          'b=$(echo evil | git hash-object -w --stdin); t=$(printf "100644 blob $b\\tconfig\\n" | git mktree); t=$(printf "040000 tree $t\\t.GIT\\n" | git mktree); git update-ref HEAD $(git commit-tree -p HEAD -m Evil $t)';
        const { spec } = await own.submit([bash(evil), { text: 'ok' }], { repositoryPath });
        await own.events(spec.id, (event) => event.type === 'import_failed');
        for (let i = 0; i < 1000 && own.state(spec.id).endedAt === undefined; i++)
          await new Promise((passed) => setTimeout(passed, 100));
        assert.equal(own.state(spec.id).importFailure?.code, 'import_refused');
        await assert.rejects(
          own.service.remove(spec.id),
          (thrown: unknown) => thrown instanceof SallyportError && thrown.code === 'commits_not_imported',
        );
        assert.notDeepEqual(await own.remains(), []);
        await own.service.remove(spec.id, { force: true });
        assert.deepEqual(await own.remains(), []);
      } finally {
        await own.close();
      }
    });

    it('ends a task that floods its log, and still brings in what it committed', async () => {
      const own = await Kind.open(address);
      try {
        own.logBytes = 1 << 20;
        await own.reopen();
        const repositoryPath = await own.repository();
        const flood = "head -c 8000000 /dev/zero | tr '\\0' x | fold -w 200 > /proc/1/fd/1";
        const { spec } = await own.submit(
          [bash('git commit -q --allow-empty -m Early'), bash(`${flood}; ${forever}`)],
          { repositoryPath },
        );
        const events = await own.events(spec.id);
        assert.equal(ended(events).kind, 'log_limit', JSON.stringify(ended(events)));
        assert.equal(events.filter((event) => event.type === 'ended').length, 1);
        assert.deepEqual(
          own.state(spec.id).commits.map((commit) => commit.subject),
          ['Early'],
        );
        assert.equal(own.state(spec.id).imported.length, 1);
        const bytes = (await own.logText(spec.id)).length;
        assert.ok(bytes > 1 << 20 && bytes < 3 << 20, String(bytes));
        assert.deepEqual(await own.remains(), []);
      } finally {
        await own.close();
      }
    });

    it('asks about likely keys before anything is sent, and remembers what was accepted', async () => {
      const key = ['AKIA', 'Q3EGRIP7ZCKW5T2M'].join('');
      const repositoryPath = await bench.repository({ 'config.ini': `aws_access_key_id = ${key}\n` });
      const before = bench.service.tasks().length;
      await assert.rejects(bench.submit([{ text: 'ok' }], { repositoryPath }), (thrown: unknown) => {
        assert.ok(thrown instanceof SecretsFound);
        assert.deepEqual(
          thrown.findings.map(({ path, line }) => `${path}:${line}`),
          ['config.ini:1'],
        );
        assert.ok(!JSON.stringify([thrown, thrown.message]).includes(key));
        return true;
      });
      assert.equal(bench.service.tasks().length, before);
      for (const secrets of ['accept', 'ask'] as const) {
        const { spec } = await bench.submit([{ text: 'ok' }], { repositoryPath, secrets });
        assert.equal(ended(await bench.events(spec.id)).outcome, 'succeeded', secrets);
      }
      const { acceptedSecrets } = await bench.service.workspaceSettings(repositoryPath);
      assert.equal(acceptedSecrets.length, 1);
      assert.ok(!acceptedSecrets[0]?.includes(key));
    });

    it('refuses to remove a running task, and bad prompts', async () => {
      const repositoryPath = await bench.repository();
      const code = (wanted: string) => (thrown: unknown) =>
        thrown instanceof SallyportError && thrown.code === wanted && thrown.mend !== '';
      await assert.rejects(
        bench.service.submit({ prompt: ' \n', snapshot: 'head', repositoryPath }),
        code('prompt_empty'),
      );
      await assert.rejects(
        bench.service.submit({ prompt: 'x'.repeat(100_001), snapshot: 'head', repositoryPath }),
        code('prompt_too_long'),
      );
      await assert.rejects(
        bench.service.submit({ prompt: 'x', snapshot: 'head', repositoryPath, branch: '../evil' }),
        code('invalid_branch'),
      );
      const { spec } = await bench.submit([bash(forever)], {
        repositoryPath,
        prompt: `--help ${'x'.repeat(99_000)}`,
      });
      await bench.events(spec.id, (event) => event.type === 'tool_use');
      await assert.rejects(bench.service.remove(spec.id), code('task_busy'));
      await bench.service.remove(spec.id, { force: true });
      assert.deepEqual(await bench.remains(), []);
    });

    it('runs several tasks at once, each in its own sandbox', async () => {
      const repositoryPath = await bench.repository();
      const all = await Promise.all(
        Array.from({ length: 4 }, (_, i) =>
          bench.submit([bash(`git commit -q --allow-empty -m "Task" && hostname`), { text: `${i}` }], {
            repositoryPath,
          }),
        ),
      );
      const logs = await Promise.all(all.map(({ spec }) => bench.events(spec.id)));
      assert.ok(logs.every((events) => ended(events).outcome === 'succeeded'));
      assert.equal(new Set(all.map(({ spec }) => spec.branch)).size, 4);
      assert.deepEqual(await bench.remains(), []);
    });
  });
}
