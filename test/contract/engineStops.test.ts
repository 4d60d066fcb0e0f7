import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { startPrivateDocker } from '../../scripts/lib/engine.mjs';
import { sandboxRecipe } from '../../src/engine/imageRecipe.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { engines } from '../support/engines.ts';
import { assertWhole, bash, Bench, printed } from '../support/tasks.ts';

const root = resolve(import.meta.dirname, '..', '..');
const run = promisify(execFile);

/** The engine of these tests is one of their own, so that ending it disturbs nobody. */
describe('an engine that stops while a task runs', () => {
  let folder: string;
  let dockerd: { address: string; pid?: number | undefined };
  let bench: Bench;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-dockerd-'));
    const { docker } = await engines();
    const shared = await Bench.open(docker);
    const { spec } = await shared.submit([{ text: 'ready' }], { repositoryPath: await shared.repository() });
    await shared.events(spec.id);
    await shared.close();
    dockerd = await startPrivateDocker({ folder });
    const { tag } = await sandboxRecipe(join(root, 'dist'), join(root, 'container'));
    const copy = 'docker -H "$1" save "$3" | docker -H "$2" load';
    await run('sh', ['-c', copy, 'sh', docker, dockerd.address, tag]);
    bench = await Bench.open(dockerd.address);
  });

  after(async function () {
    this.timeout(60_000);
    await bench.close();
    process.kill(dockerd.pid!, 'SIGTERM');
    await new Promise((passed) => setTimeout(passed, 3000));
    // A dockerd that was killed leaves its folder mounted on itself.
    await run('umount', ['--lazy', join(folder, 'data')]).catch(() => undefined);
    await rm(folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 500 });
  });

  it('loses no commit and no event: the task is taken up when the engine is back', async () => {
    const repositoryPath = await bench.repository();
    const turns = [
      bash('git commit -q --allow-empty -m Early'),
      bash('echo left > left.txt; tail -f /dev/null'),
    ];
    const { spec } = await bench.submit(turns, { repositoryPath });
    await bench.events(spec.id, (event) => event.type === 'imported');
    let begun = 0;
    await bench.events(spec.id, (event) => event.type === 'tool_use' && ++begun === turns.length);
    await new Promise((passed) => setTimeout(passed, 1500));
    process.kill(dockerd.pid!, 'SIGKILL');
    const told = await bench.events(
      spec.id,
      (event) => event.type === 'notice' && /engine does not answer/.test(event.text),
    );
    assertWhole(told);
    dockerd = await startPrivateDocker({ folder });
    const events: TaskEvent[] = await bench.events(spec.id);
    assertWhole(events);
    assert.deepEqual(events.slice(0, told.length), told);
    const state = bench.state(spec.id);
    assert.equal(state.phase, 'failed');
    assert.equal(state.failure?.kind, 'engine_gone', JSON.stringify(state.failure));
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

  it('keeps the sandbox of a task that is over, which goes on in it when the engine is back', async () => {
    const keep = { conversationMs: 10 * 60_000, taskMs: 10 * 60_000, count: 5 };
    bench.policy = { ...defaultPolicy, egress: { mode: 'closed', rules: [] }, keep };
    const repositoryPath = await bench.repository();
    const turns = [bash('echo aside > /tmp/aside.txt; echo left > left.txt'), { text: 'First.' }];
    const { spec } = await bench.submit(turns, { repositoryPath });
    const first = await bench.events(spec.id);
    assert.equal(first.at(-1)?.type, 'sandbox_kept');
    process.kill(dockerd.pid!, 'SIGKILL');
    await new Promise((passed) => setTimeout(passed, 500));
    bench.upstream = {
      kind: 'scripted',
      turns: [...turns, bash('cat /tmp/aside.txt left.txt'), { text: 'Second.' }],
    };
    // Asked for while the engine is away it cannot go on, and loses nothing by that.
    await bench.service.followUp(spec.id, 'Too early.');
    await bench.events(spec.id, (event) => event.type === 'ended' && event.n > first.length);
    assert.equal(bench.state(spec.id).failure?.kind, 'engine_gone');
    dockerd = await startPrivateDocker({ folder });
    await bench.service.followUp(spec.id, 'Go on.');
    const events = await bench.events(spec.id);
    assertWhole(events);
    assert.deepEqual(events.slice(0, first.length), first);
    assert.equal(bench.state(spec.id).phase, 'succeeded', JSON.stringify(events.slice(first.length)));
    assert.equal(printed(events).at(-1), 'aside\nleft');
    await bench.service.remove(spec.id);
    assert.deepEqual(await bench.remains(), []);
  });
});
