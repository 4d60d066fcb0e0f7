import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import type { TaskSpec } from '../../src/protocol/task.ts';
import type { UnnumberedEvent } from '../../src/runner/taskLog.ts';
import { CuttingProxy } from '../support/cuttingProxy.ts';
import { anna, FakeRunner } from '../support/fakeRunner.ts';
import { aSpec } from '../support/specs.ts';
import { RemoteClient, until } from '../support/remoteClient.ts';

const text = (words: string): UnnumberedEvent => ({ type: 'text', text: words, t: 2, s: 1 });
const note = (words: string): UnnumberedEvent => ({ type: 'notice', level: 'info', text: words, t: 2 });

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1);
}

describe('mirror of a remote runner', function () {
  let runner: FakeRunner;
  let client: RemoteClient;

  beforeEach(async () => {
    runner = await FakeRunner.start();
    client = await RemoteClient.open(runner.url);
  });
  afterEach(async () => {
    await client.close();
    await runner.close();
  });

  function task(change: Partial<TaskSpec> = {}): string {
    const spec = aSpec(change);
    runner.add(spec);
    return spec.id;
  }

  it('has what the runner has, with its numbers and times, before and after it is opened again', async () => {
    const id = task();
    runner.say(id, note('before'));
    await client.service.open();
    await client.eventsUpTo(id, 2);
    runner.say(id, ...upTo(500).map((n) => note(`live ${n}`)));
    runner.finish(id);
    const events = await client.eventsUpTo(id, 504);
    assert.deepEqual(
      events.map(({ n }) => n),
      upTo(504),
    );
    assert.deepEqual(
      events.slice(1).map(({ t }) => t),
      (runner.task(id).events as { t: number }[]).slice(1).map(({ t }) => t),
    );
    assert.equal(client.service.task(id)?.phase, 'succeeded');
    await runner.close();
    await client.reopen();
    assert.deepEqual(await client.eventsUpTo(id, 504), events);
    runner = await FakeRunner.start();
  });

  it('has every event once and in order, however the connection breaks off', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ down: fc.integer({ min: 1, max: 60_000 }), burst: fc.integer({ min: 0, max: 60 }) }),
          {
            minLength: 1,
            maxLength: 12,
          },
        ),
        fc.integer({ min: 1, max: 70 }),
        async (cuts, perFrame) => {
          const proxy = await CuttingProxy.start(runner.port);
          const own = await RemoteClient.open(proxy.url);
          runner.perFrame = perFrame;
          try {
            const ids = [task(), task()];
            proxy.cuts = cuts.map(({ down }) => ({ down, up: Infinity }));
            await own.service.open();
            for (const { burst } of cuts) {
              for (const id of ids)
                for (let i = 0; i < burst; i++) runner.say(id, note(`${'é'.repeat(burst)} ${i}`));
              await new Promise((passed) => setTimeout(passed, 3));
            }
            for (const id of ids) {
              runner.finish(id);
              const wanted = runner.task(id).events as { n: number; text?: string }[];
              const events = await own.eventsUpTo(id, wanted.length);
              assert.deepEqual(
                events.map((event) => [event.n, event.type === 'notice' ? event.text : undefined]),
                wanted.map((event) => [event.n, event.text]),
              );
              const file = await readFile(
                join(
                  own.data,
                  'remote',
                  (await readdir(join(own.data, 'remote')))[0] ?? '',
                  'tasks',
                  id,
                  'events.ndjson',
                ),
                'utf8',
              );
              assert.equal(file.trimEnd().split('\n').length, wanted.length);
            }
          } finally {
            await own.close();
            await proxy.close();
            for (const id of [...runner.tasks.keys()]) runner.remove(id);
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it('goes on after its last event, and asks for nothing twice', async () => {
    const id = task();
    runner.say(id, ...upTo(300).map((n) => note(`${n}`)));
    await client.service.open();
    await client.eventsUpTo(id, 301);
    const asked: number[] = [];
    runner.onFollow = (_socket, _task, after) => {
      asked.push(after);
      return false;
    };
    runner.dropStreams();
    await until(() => asked.length > 0, 'a new follow');
    runner.say(id, note('after'));
    const events = await client.eventsUpTo(id, 302);
    assert.deepEqual(asked, [301]);
    assert.equal(events.length, 302);
  });

  it('does not ask for tasks again that it has whole', async () => {
    const id = task();
    runner.finish(id);
    await client.service.open();
    await client.eventsUpTo(id, 3);
    await until(() => client.service.task(id)?.sandboxRemoved === true, 'the end');
    await new Promise((passed) => setTimeout(passed, 100));
    const asked: string[] = [];
    runner.onFollow = (_socket, task) => {
      asked.push(task);
      return false;
    };
    await client.reopen();
    await client.status('online');
    const other = task();
    await client.eventsUpTo(other, 1);
    assert.deepEqual(asked, [other]);
  });

  it('works without the runner with what it has', async () => {
    const id = task({ title: 'Known' });
    runner.say(id, note('seen'));
    await client.service.open();
    await client.eventsUpTo(id, 2);
    const { port } = runner;
    await runner.close();
    await client.reopen();
    assert.deepEqual(
      client.service.tasks().map(({ spec }) => spec.title),
      ['Known'],
    );
    assert.equal((await client.eventsUpTo(id, 2)).length, 2);
    const status = await client.status('offline');
    assert.ok(
      status.kind === 'offline' && status.error.code === 'runner_unreachable',
      JSON.stringify(status),
    );
    await assert.rejects(client.service.stop(id), (thrown: { code: string; mend: string }) => {
      assert.equal(thrown.code, 'runner_unreachable');
      assert.notEqual(thrown.mend, '');
      return true;
    });
    await assert.rejects(client.service.remove(id), { code: 'runner_unreachable' });
    assert.ok(client.service.task(id), 'it is still there');
    assert.ok(port > 0);
    runner = await FakeRunner.start();
  });

  it('shows shared tasks of others, and says that they cannot be changed', async () => {
    const mine = task();
    const spec = aSpec({ title: 'Theirs' });
    runner.add(spec, { owner: { id: 'u2', name: 'Bert' }, shared: true });
    await client.service.open();
    await client.eventsUpTo(spec.id, 1);
    await client.eventsUpTo(mine, 1);
    assert.equal(client.service.mayChange(mine), true);
    assert.equal(client.service.mayChange(spec.id), false);
    assert.equal(client.service.view(spec.id)?.owner.name, 'Bert');
  });

  it('forgets what the runner says was removed, and what others do not share any more', async () => {
    const removed = task();
    const spec = aSpec();
    runner.add(spec, { owner: { id: 'u2', name: 'Bert' }, shared: true });
    await client.service.open();
    await client.eventsUpTo(removed, 1);
    await client.eventsUpTo(spec.id, 1);
    const gone: string[] = [];
    client.service.onDidRemove((id) => gone.push(id));
    runner.remove(removed);
    await until(() => gone.length === 1, 'the removal');
    runner.tasks.delete(spec.id);
    runner.dropStreams();
    await until(() => gone.length === 2, 'the second removal');
    assert.deepEqual(client.service.tasks(), []);
    assert.deepEqual(gone, [removed, spec.id]);
  });

  it('writes one mirror for two windows, and either may go', async () => {
    const id = task();
    await client.service.open();
    await client.eventsUpTo(id, 1);
    const second = await client.another();
    await second.open();
    runner.say(id, ...upTo(50).map((n) => note(`both ${n}`)));
    await until(() => second.task(id)?.lastEvent === 51, 'the second window');
    client.service.dispose();
    runner.say(id, ...upTo(50).map((n) => note(`one ${n}`)));
    await until(() => second.task(id)?.lastEvent === 101, 'the second window by itself');
    const numbers: number[] = [];
    const enough = new AbortController();
    for await (const batch of second.events(id, 0, enough.signal)) {
      numbers.push(...batch.map(({ n }) => n));
      if (numbers.length === 101) enough.abort();
    }
    assert.deepEqual(numbers, upTo(101));
    client.service = second;
  });

  const dropped = (): Promise<void> => {
    runner.dropStreams();
    return Promise.resolve();
  };
  for (const [when, again] of [
    ['while it was connected', () => dropped()],
    ['while nobody was there', () => client.reopen()],
  ] as const) {
    it(`begins anew where the runner was set back ${when}, and keeps what it had`, async () => {
      const id = task();
      runner.say(id, ...upTo(20).map((n) => note(`first ${n}`)));
      await client.service.open();
      await client.eventsUpTo(id, 21);
      const former = client.service
        .events(id, 21, new AbortController().signal)
        [Symbol.asyncIterator]()
        .next();
      runner.task(id).events.splice(5);
      await again();
      runner.say(id, note('second'));
      await until(() => client.service.task(id)?.lastEvent === 6, 'the shorter log', client.log);
      const events = await client.eventsUpTo(id, 6);
      assert.deepEqual(
        events.slice(1).map((event) => (event.type === 'notice' ? event.text : event.type)),
        ['first 1', 'first 2', 'first 3', 'first 4', 'second'],
      );
      assert.deepEqual((await former).done, true);
      const remote = join(client.data, 'remote');
      const names = await readdir(join(remote, (await readdir(remote))[0] ?? '', 'tasks', id));
      assert.ok(
        names.some((name) => name.startsWith('former-')),
        names.join(),
      );
      assert.ok(client.troubles.some((line) => line.includes('set back')));
    });
  }

  it('makes a damaged mirror anew', async () => {
    const id = task();
    runner.say(id, ...upTo(20).map((n) => note(`${n}`)));
    await client.service.open();
    await client.eventsUpTo(id, 21);
    client.service.dispose();
    await new Promise((passed) => setTimeout(passed, 50));
    const remote = join(client.data, 'remote');
    const file = join(remote, (await readdir(remote))[0] ?? '', 'tasks', id, 'events.ndjson');
    const lines = (await readFile(file, 'utf8')).split('\n');
    await writeFile(file, [...lines.slice(0, 5), '{"n":', ...lines.slice(6)].join('\n'));
    client.service = await client.another();
    await client.service.open();
    assert.deepEqual(
      (await client.eventsUpTo(id, 21)).map(({ n }) => n),
      upTo(21),
    );
  });

  it('keeps the order where an event is of a kind that it does not know', async () => {
    const id = task();
    await client.service.open();
    await client.eventsUpTo(id, 1);
    runner.say(id, { type: 'hologram', t: 4 } as unknown as UnnumberedEvent, note('after'));
    const events = await client.eventsUpTo(id, 3);
    const [, unknown, after] = events;
    assert.ok(unknown?.type === 'notice' && unknown.text.includes('"hologram"'));
    assert.ok(after?.type === 'notice' && after.text === 'after');
  });

  it('holds a runner up that says more than is written, and loses nothing', async function () {
    const id = task();
    await client.service.open();
    await client.eventsUpTo(id, 1);
    const long = 'x'.repeat(1 << 20);
    // 24 MiB at once, and 8 MiB are all that may wait.
    for (let i = 0; i < 24; i++) runner.say(id, text(`${i} ${long}`));
    const other = task();
    await client.eventsUpTo(other, 1);
    const events = await client.eventsUpTo(id, 25);
    assert.deepEqual(
      events.slice(1).map((event) => (event.type === 'text' ? Number.parseInt(event.text, 10) : -1)),
      upTo(24).map((n) => n - 1),
    );
  });

  it('tells the owner of a task apart from its role', async () => {
    runner.user = { ...anna, role: 'admin' };
    const spec = aSpec();
    runner.add(spec, { owner: { id: 'u2', name: 'Bert' } });
    await client.service.open();
    await client.eventsUpTo(spec.id, 1);
    assert.equal(client.service.mayChange(spec.id), true);
  });
});
