import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Engine } from '../../src/engine/engine.ts';
import type { Terminal } from '../../src/protocol/terminal.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { cleanUp, engineKinds, engines, realEngine, smallImage, testLabels } from '../support/engines.ts';
import { Bench, bash } from '../support/tasks.ts';
import { Screen } from '../support/terminals.ts';

const size = { cols: 80, rows: 24 };
const forever = 'tail -f /dev/null';

/** A size is told apart from what is typed, and can come a little later. */
async function sized(screen: Screen, wanted: string): Promise<void> {
  await screen.type(`until [ "$(stty size)" = "${wanted}" ]; do sleep 0.05; done; stty size\n`);
  await screen.until(new RegExp(`^${wanted}\\r\\n`, 'm'));
}

for (const name of engineKinds) {
  describe(`terminal of an engine on ${name}`, function () {
    this.timeout('60s');
    let engine: Engine;
    let id: string;

    before(async () => {
      engine = await realEngine(name);
      id = await engine.create({
        name: `sallyport-test-terminal-${process.pid}`,
        image: smallImage,
        command: ['tail', '-f', '/dev/null'],
        env: { BELOW: 'container' },
        labels: testLabels,
        network: 'none',
        limits: { memoryBytes: 128 << 20, cpus: 1, pids: 64 },
        volumes: [],
      });
      await engine.start(id);
    });
    after(async () => {
      await cleanUp(engine);
      engine.dispose();
    });

    it('is a terminal of the wanted size, user, folder and environment, and takes what is typed', async () => {
      const terminal = await engine.terminal(id, ['/bin/sh'], {
        size: { cols: 91, rows: 37 },
        user: '1000:1000',
        env: { MINE: 'a b\n"c"' },
        workingDir: '/tmp',
      });
      const screen = new Screen(terminal);
      await screen.type('tty -s && echo "on a ""terminal"; stty size; id -u; pwd; echo "$BELOW/$MINE"\n');
      await screen.until(/on a terminal\r\n37 91\r\n1000\r\n\/tmp\r\ncontainer\/a b\r\n"c"\r\n/);
      await terminal.resize({ cols: 100, rows: 50 });
      await screen.type('stty size\n');
      await screen.until(/50 100\r\n/);
      // The control characters of a terminal work.
      await screen.type('sleep 1000\n');
      await delay(300);
      await screen.type('\u0003');
      await screen.type('echo "broken ""off"\n');
      await screen.until(/broken off/);
      await screen.type('exit 7\n');
      assert.equal(await terminal.ended, 7);
    });

    it('holds the program while nobody reads, and loses nothing', async () => {
      const terminal = await engine.terminal(id, ['sh', '-c', 'seq 1 300000; touch /tmp/through'], {
        size,
      });
      await delay(1500);
      const { stdout, done } = await engine.exec(id, ['ls', '/tmp']);
      let listed = '';
      for await (const part of stdout) listed += Buffer.from(part).toString();
      await done;
      assert.doesNotMatch(listed, /through/);
      const parts: Uint8Array[] = [];
      for await (const part of terminal.output) parts.push(part);
      const numbers = Buffer.concat(parts).toString().trim().split('\r\n');
      assert.deepEqual([numbers.length, numbers.at(-1)], [300_000, '300000']);
      assert.equal(await terminal.ended, 0);
    });

    it('ends when its signal aborts, and is refused by a container that does not run', async () => {
      const abort = new AbortController();
      const terminal = await engine.terminal(id, ['/bin/sh'], { size, signal: abort.signal });
      abort.abort();
      await assert.rejects(terminal.ended, { name: 'AbortError' });
      const other = await engine.create({
        name: `sallyport-test-terminal-${process.pid}-still`,
        image: smallImage,
        command: ['true'],
        env: {},
        labels: testLabels,
        network: 'none',
        limits: { memoryBytes: 64 << 20, cpus: 1, pids: 16 },
        volumes: [],
      });
      await assert.rejects(engine.terminal(other, ['/bin/sh'], { size }), { code: 'sandbox_failed' });
    });
  });

  describe(`terminal of a task on ${name}`, function () {
    this.timeout('2m');
    let bench: Bench;
    let repositoryPath: string;

    before(async () => {
      bench = await Bench.open((await engines())[name]);
      bench.policy = { ...defaultPolicy, egress: { mode: 'closed', rules: [] } };
      repositoryPath = await bench.repository();
    });
    after(() => bench.close());

    const running = async (command = forever): Promise<string> => {
      const { spec } = await bench.submit([bash(command)], { repositoryPath });
      await bench.events(spec.id, ({ type }) => type === 'tool_use');
      return spec.id;
    };
    const open = async (id: string, wanted = size): Promise<{ terminal: Terminal; screen: Screen }> => {
      const terminal = await bench.service.terminal(id, wanted);
      return { terminal, screen: new Screen(terminal) };
    };

    it('is a shell beside the agent, in its workspace, as its user, with its ways to the network', async () => {
      const id = await running(`echo from the agent > note.txt; ${forever}`);
      const { terminal, screen } = await open(id);
      await screen.type(
        'id -u; pwd; cat note.txt; echo "<$HTTPS_PROXY>"; cat /proc/$$/comm; git log --oneline | wc -l\n',
      );
      await screen.until(
        /1000\r\n(?:.*\r\n)*?\/workspace\r\nfrom the agent\r\n<http:\/\/127\.0\.0\.1:\d+>\r\nbash\r\n1\r\n/,
      );
      // What is committed by hand is the task's like the agent's own.
      await screen.type('git add . && git commit -qm "By hand"\n');
      await bench.events(id, ({ type }) => type === 'imported');
      assert.equal(bench.state(id).commits[0]?.subject, 'By hand');
      await screen.type('exit 3\n');
      assert.deepEqual(await terminal.ended, { reason: 'exit', code: 3 });
      // The next one is a new shell.
      const again = await open(id);
      await again.screen.type('echo "once ""more"\n');
      await again.screen.until(/once more/);
      await bench.service.stop(id);
      assert.deepEqual(await again.terminal.ended, { reason: 'gone' });
      await bench.events(id);
      await assert.rejects(bench.service.terminal(id, size), { code: 'conflict' });
    });

    it('shows the same to two viewers, what was before to a later one, in the smallest size', async () => {
      const id = await running();
      const first = await open(id, { cols: 120, rows: 40 });
      await first.screen.type('echo "first ""line"\n');
      await first.screen.until(/first line/);
      const second = await open(id, { cols: 90, rows: 50 });
      await second.screen.until(/first line/);
      await sized(second.screen, '40 90');
      await first.screen.until(/40 90\r\n/);
      second.terminal.dispose();
      second.terminal.dispose();
      assert.deepEqual(await second.terminal.ended, { reason: 'left' });
      await sized(first.screen, '40 120');
      first.terminal.resize({ cols: 60, rows: 20 });
      await sized(first.screen, '20 60');
      // The shell is there while nobody looks, and still after.
      await first.screen.type('mine=kept\n');
      first.terminal.dispose();
      const third = await open(id);
      await third.screen.type('echo "<$mine>"\n');
      await third.screen.until(/<kept>/);
      await bench.service.stop(id);
      await bench.events(id);
    });

    it('ends with a sandbox that is killed', async () => {
      const id = await running();
      const { terminal, screen } = await open(id);
      await screen.type('echo "I ""am"\n');
      await screen.until(/I am/);
      const engine = await bench.engine();
      const [sandbox] = await engine.list({ 'dev.sallyport.task': id, 'dev.sallyport.role': 'sandbox' });
      assert.ok(sandbox);
      await engine.stop(sandbox.id, 0);
      engine.dispose();
      assert.deepEqual(await terminal.ended, { reason: 'gone' });
      await bench.events(id);
    });
  });
}
