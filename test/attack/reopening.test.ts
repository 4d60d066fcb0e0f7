import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { isAtRest } from '../../src/protocol/taskState.ts';
import { defaultPolicy, type UserPolicy } from '../../src/runner/userPolicy.ts';
import { chance } from '../support/chance.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { assertNumbered, bash, Bench, only, printed, type Turns } from '../support/tasks.ts';

const seed = Number(process.env.SALLYPORT_KILL_SEED ?? Date.now() % 1_000_000);
/** How often the task goes on, and how often whoever attends to it is killed each time. */
const times = 2;
const kills = 2;
const patience = 330_000;

const turns: Turns = Array.from({ length: times + 1 }, (_, i) => [
  bash(`cat /tmp/count; echo ${i} >> /tmp/count; git commit -q --allow-empty -m "Commit ${i}"; sleep 0.5`),
  { text: `Done ${i}.` },
]).flat();

/** A runner in a process of its own: has the task go on for the `time`-th time, unless it did, and says each event. */
function runner(address: string, data: string, policy: UserPolicy, id: string, time: number): ChildProcess {
  const script = `import { Bench } from ${JSON.stringify(new URL('../support/tasks.ts', import.meta.url).href)};
    const bench = await Bench.open(${JSON.stringify(address)}, { data: ${JSON.stringify(data)} });
    bench.policy = ${JSON.stringify(policy)};
    bench.upstream = { kind: 'scripted', turns: ${JSON.stringify(turns)} };
    await bench.service.open();
    console.log(JSON.stringify({ open: true }));
    if (bench.state(${JSON.stringify(id)}).reopened < ${time})
      await bench.service.followUp(${JSON.stringify(id)}, 'Go on ${time}.');
    for await (const batch of bench.service.events(${JSON.stringify(id)}, 0, new AbortController().signal))
      for (const event of batch) console.log(JSON.stringify({ event }));
    await new Promise(() => setInterval(() => {}, 1000));`;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

for (const kind of engineKinds) {
  describe(`promise 8 on ${kind}: no kill loses anything of a task that goes on after its end`, function () {
    this.timeout('6m');

    for (const place of ['the kept sandbox', 'a new sandbox'] as const) {
      it(`in ${place}, killed at moments of chance (SALLYPORT_KILL_SEED=${seed})`, async () => {
        const random = chance(seed + place.length);
        const address = (await engines())[kind];
        const data = await mkdtemp(join(tmpdir(), 'sallyport-home-'));
        const keepMs = place === 'the kept sandbox' ? 10 * 60_000 : 0;
        const keep = { conversationMs: keepMs, taskMs: keepMs, count: 5 };
        const policy = { ...defaultPolicy, egress: { mode: 'closed' as const, rules: [] }, keep };
        const bench = await Bench.open(address, { data });
        bench.policy = policy;
        const late = AbortSignal.timeout(patience);
        const shown = new Map<number, TaskEvent>();
        let child: ChildProcess | undefined;
        try {
          const { spec } = await bench.submit(turns, { repositoryPath: await bench.repository() });
          const { id } = spec;
          await bench.events(id, undefined, late);
          for (let time = 1; time <= times; time++) {
            for (let kill = 0; kill < kills; kill++) {
              child = runner(address, data, policy, id, time);
              const gone = once(child, 'exit');
              assert.ok(child.stdout);
              const opened = Promise.withResolvers<undefined>();
              createInterface({ input: child.stdout }).on('line', (line) => {
                const said = JSON.parse(line) as { open?: true; event?: TaskEvent };
                if (said.open === true) opened.resolve(undefined);
                if (said.event === undefined) return;
                const { event } = said;
                if (shown.has(event.n)) assert.deepEqual(event, shown.get(event.n));
                shown.set(event.n, event);
              });
              await Promise.race([opened.promise, gone]);
              await pause(random(2500));
              child.kill('SIGKILL');
              await gone;
            }
            await bench.reopen();
            if (bench.state(id).reopened < time) await bench.service.followUp(id, `Go on ${time}.`);
            await bench.events(id, undefined, late);
            assert.ok(isAtRest(bench.state(id)));
            await bench.leave();
          }
          await bench.reopen();
          const events = await bench.events(id, undefined, late);
          assertNumbered(events);
          for (const [n, event] of shown) assert.deepEqual(events[n - 1], event, `event ${n}`);
          assert.deepEqual(
            only(events, 'reopened').map(({ text }) => text),
            Array.from({ length: times }, (_, i) => `Go on ${i + 1}.`),
          );
          assert.deepEqual(
            only(events, 'ended').map(({ outcome, message }) =>
              outcome === 'succeeded' ? outcome : message,
            ),
            Array.from({ length: times + 1 }, () => 'succeeded'),
          );
          const state = bench.state(id);
          assert.deepEqual(state.pendingImports, []);
          // Each prompt reached the agent once, and all that it did is there.
          assert.deepEqual(
            state.commits.map(({ subject }) => subject),
            Array.from({ length: times + 1 }, (_, i) => `Commit ${i}`),
          );
          assert.deepEqual(
            only(events, 'text').map(({ text }) => text),
            Array.from({ length: times + 1 }, (_, i) => `Done ${i}.`),
          );
          assert.deepEqual(
            state.checkpoints.map(({ turn }) => turn),
            Array.from({ length: times + 1 }, (_, i) => i + 1),
          );
          if (keepMs > 0) assert.match(printed(events).at(-1) ?? '', /^0\n1/);
          await bench.service.remove(id);
          assert.deepEqual(await bench.remains(), []);
        } finally {
          child?.kill('SIGKILL');
          await bench.close();
        }
      });
    }
  });
}
