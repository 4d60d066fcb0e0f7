import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import type { Engine } from '../../src/engine/engine.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { labelNames } from '../../src/runner/sandboxNames.ts';
import { chance } from '../support/chance.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { assertWhole, Bench } from '../support/tasks.ts';

const seed = Number(process.env.SALLYPORT_KILL_SEED ?? Date.now() % 1_000_000);
const commits = 6;
/** When a test gives up, in milliseconds: before its runner does, so that it still clears away and the run ends. */
const patience = 400_000;

/** A runner in a process of its own. It says each event after it has shown it, and goes on until it is killed. */
function runner(address: string, data: string, repositoryPath: string, id?: string): ChildProcess {
  const script = `import { Bench, bash } from ${JSON.stringify(new URL('../support/tasks.ts', import.meta.url).href)};
    const bench = await Bench.open(${JSON.stringify(address)}, { data: ${JSON.stringify(data)} });
    const turns = Array.from({ length: ${commits} }, (_, i) => bash('sleep 0.6; git commit -q --allow-empty -m "Commit ' + i + '"'));
    // A gateway that is made anew goes on with the same script.
    bench.upstream = { kind: 'scripted', turns: [...turns, { text: 'ok' }] };
    await bench.service.open();
    const id = ${JSON.stringify(id)} ?? (await bench.submit([...turns, { text: 'ok' }], { repositoryPath: ${JSON.stringify(repositoryPath)} })).spec.id;
    console.log(JSON.stringify({ id }));
    for await (const batch of bench.service.events(id, 0, new AbortController().signal))
      for (const event of batch) console.log(JSON.stringify({ event }));
    await new Promise(() => setInterval(() => {}, 1000));`;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

for (const kind of engineKinds) {
  describe(`promise 8 on ${kind}: no kill loses a commit or an event that was shown`, function () {
    this.timeout('8m');

    before(async () => {
      // The image, so that every kill meets the task and not its making.
      const bench = await Bench.open((await engines())[kind]);
      try {
        const repositoryPath = await bench.repository();
        const { spec } = await bench.submit([{ text: 'ready' }], { repositoryPath });
        await bench.events(spec.id, undefined, AbortSignal.timeout(patience));
      } finally {
        await bench.close();
      }
    });

    it(`runner, gateway and sandbox are killed at moments of chance (SALLYPORT_KILL_SEED=${seed})`, async () => {
      const random = chance(seed);
      const address = (await engines())[kind];
      const data = await mkdtemp(join(tmpdir(), 'sallyport-home-'));
      const bench = await Bench.open(address, { data });
      const engine = await bench.engine();
      const shown = new Map<number, TaskEvent>();
      const changed: TaskEvent[] = [];
      let id: string | undefined;
      let child: ChildProcess | undefined;
      const late = AbortSignal.timeout(patience);
      try {
        const repositoryPath = await bench.repository();
        for (let round = 0; round < 4; round++) {
          child = runner(address, data, repositoryPath, id);
          const gone = once(child, 'exit');
          assert.ok(child.stdout);
          const lines = createInterface({ input: child.stdout });
          lines.on('line', (line) => {
            const said = JSON.parse(line) as { id?: string; event?: TaskEvent };
            id = said.id ?? id;
            if (said.event === undefined) return;
            const before = shown.get(said.event.n);
            if (before !== undefined && !isDeepStrictEqual(before, said.event)) changed.push(said.event);
            shown.set(said.event.n, said.event);
          });
          while (id === undefined && child.exitCode === null) await pause(20, undefined, { signal: late });
          await pause(500 + random(3000));
          // In every round the runner, first at any moment of the preparation; before it, by turns, one of the two containers.
          const role = ([undefined, 'gateway', 'sandbox'] as const)[round];
          // A task whose gateway ends while it is prepared fails, and a sandbox that is revived runs no agent: so these kills
          // wait for something that could be lost.
          const awaited = { gateway: 'session', sandbox: 'commit' } as const;
          const isAwaited = ({ type }: TaskEvent): boolean => role !== undefined && type === awaited[role];
          while (role !== undefined && ![...shown.values()].some(isAwaited))
            await pause(50, undefined, { signal: late });
          if (role !== undefined) await killContainer(engine, id ?? '', role);
          await pause(random(400));
          child.kill('SIGKILL');
          await gone;
        }
        assert.ok(id);
        assert.ok(shown.size > 5, `only ${shown.size} events were shown`);
        await bench.service.open();
        const events = await bench.events(id, undefined, late);
        assertWhole(events);
        assert.deepEqual(changed, [], 'events that were shown have changed');
        for (const [n, event] of shown) assert.deepEqual(events[n - 1], event, `event ${n}`);
        const announced = events.flatMap((event) => (event.type === 'commit' ? [event.commit.sha] : []));
        const state = bench.state(id);
        assert.deepEqual(state.pendingImports, []);
        for (const sha of announced)
          assert.ok(state.imported.includes(sha), `commit ${sha} was shown and is lost`);
        assert.ok(announced.length > 0, JSON.stringify(events.slice(-12)));
        assert.deepEqual(await bench.remains(), []);
      } finally {
        child?.kill('SIGKILL');
        engine.dispose();
        await bench.close();
      }
    });

    it('the agent and the supervisor are killed from inside', async () => {
      const bench = await Bench.open((await engines())[kind]);
      try {
        const repositoryPath = await bench.repository();
        // Everything of its own user's: the agent, the supervisor, and the shell that does it.
        const script = 'git commit -q --allow-empty -m Early; sleep 1; kill -9 -1';
        const { spec } = await bench.submit(
          [{ tools: [{ name: 'Bash', input: { command: script } }] }, { text: 'ok' }],
          { repositoryPath },
        );
        const events = await bench.events(spec.id, undefined, AbortSignal.timeout(patience));
        assertWhole(events);
        const end = events.find((event) => event.type === 'ended');
        assert.equal(end?.outcome, 'failed', JSON.stringify(end));
        const state = bench.state(spec.id);
        assert.deepEqual(
          state.commits.map((commit) => commit.subject),
          ['Early'],
        );
        assert.deepEqual(state.pendingImports, []);
        assert.equal(state.imported.length, 1);
      } finally {
        await bench.close();
      }
    });
  });
}

/** As when the machine's memory runs out: without a word, and without time for anything. */
async function killContainer(engine: Engine, task: string, role: 'gateway' | 'sandbox'): Promise<void> {
  const [found] = await engine.list({ [labelNames.task]: task, [labelNames.role]: role });
  if (found !== undefined) await engine.stop(found.id, 0);
}
