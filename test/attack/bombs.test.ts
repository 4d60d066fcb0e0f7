import assert from 'node:assert/strict';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { defaultLimits } from '../../src/protocol/task.ts';
import { judge, output, runAttacks, type Strong, type Verdicts } from '../support/attack.ts';
import { AttackRange, type LongTask } from '../support/attackRange.ts';
import { engineKinds } from '../support/engines.ts';
import { assertNumbered, assertWhole } from '../support/tasks.ts';

const mebibyte = 2 ** 20;
const small = {
  memoryBytes: 512 * mebibyte,
  cpus: 1,
  pids: 256,
  diskBytes: 400 * mebibyte,
  timeMs: defaultLimits.timeMs,
};
const agent = '1000:1000';

for (const kind of engineKinds) {
  describe(`promise 7 on ${kind}: a bomb ends the task, not the machine`, function () {
    this.timeout('5m');
    let range: AttackRange;
    let large: string;
    const weak = new Map<string, Verdicts>();
    const strong: Strong[] = [];

    /** The machine, another task and its gateway are well. */
    async function othersLive(): Promise<void> {
      const { sandbox, gateway } = range.task;
      for (const container of [sandbox, gateway]) {
        const { text } = await output(range.engine, container, ['echo', 'well'], '1001:1001');
        assert.equal(text.trim(), 'well');
      }
    }

    function ended(events: readonly TaskEvent[]): Extract<TaskEvent, { type: 'ended' }> {
      const all = events.filter((event) => event.type === 'ended');
      assert.equal(all.length, 1);
      return all[0]!;
    }

    /** Starts a program of the agent's and does not wait for it. */
    async function throwBomb(task: LongTask, program: string): Promise<void> {
      const argv = ['setsid', '-f', 'python3', '-c', program];
      const started = await output(range.engine, task.sandbox, argv, agent);
      assert.equal(started.exitCode, 0, started.stderr);
    }

    before(async () => {
      range = await AttackRange.open(kind);
      large = await range.weak.start({ shmBytes: 700 * mebibyte });
      const args = { limitS: 40, place: '/tmp' };
      weak.set(
        'large',
        await runAttacks(range.engine, large, 'bombs.py', { ...args, world: 'large', inTurn: true }),
      );
      const task = await range.startTask(small);
      for (const user of [agent, '0:0']) {
        const place = user === agent ? '/workspace' : '/root';
        const verdicts = await runAttacks(
          range.engine,
          task.sandbox,
          'bombs.py',
          { ...args, place, inTurn: true },
          user,
        );
        strong.push({ by: user === agent ? 'the agent' : 'root', verdicts });
      }
      // It has outlived them all.
      await range.endTask(task.id);
      assertWhole(await range.bench.events(task.id));
    });
    after(() => range.close());
    afterEach(() => othersLive());

    judge('bombs.py', () => ({ weak, strong }));

    it('a fork bomb that goes on: the task can still be stopped', async () => {
      const task = await range.startTask(small);
      await throwBomb(task, 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass');
      await new Promise((passed) => setTimeout(passed, 2000));
      await othersLive();
      await range.endTask(task.id);
      const events = await range.bench.events(task.id);
      assertWhole(events);
      assert.equal(ended(events).outcome, 'stopped');
    });

    it('processors kept busy by every process that there may be: the supervisor still hears', async () => {
      const task = await range.startTask(small);
      const spin = 'import os\nfor _ in range(7): os.fork() or None\nwhile True: pass';
      await throwBomb(task, spin);
      await othersLive();
      await range.endTask(task.id);
      assert.equal(ended(await range.bench.events(task.id)).outcome, 'stopped');
    });

    it('a disk bomb of many files ends the task, and says why', async () => {
      const program =
        'import os\nfor at in range(24):\n  f=os.open(f"{PLACE}/bomb-{at}",os.O_CREAT|os.O_WRONLY)\n  os.posix_fallocate(f,0,50<<20)\n  os.close(f)\nprint("all of it")';
      const filled = await output(range.engine, large, ['python3', '-c', program.replace('{PLACE}', '/tmp')]);
      assert.match(filled.text, /all of it/, 'cannot fail');
      await output(range.engine, large, ['sh', '-c', 'rm -f /tmp/bomb-*']);
      const task = await range.startTask(small);
      await throwBomb(task, program.replace('{PLACE}', '/home/agent'));
      const events = await range.bench.events(task.id);
      assertWhole(events);
      assert.deepEqual(
        { outcome: ended(events).outcome, kind: ended(events).kind },
        { outcome: 'failed', kind: 'disk_full' },
      );
    });

    it('a flood of the log with what is no event: unending line, bytes that are no text, forged events', async () => {
      const task = await range.startTask(small);
      const flood = [
        'out = open("/proc/1/fd/1", "wb", buffering=0)',
        'out.write(b"\\n" + b"x" * (48 << 20) + b"\\n")',
        'out.write(b"\\xff\\xfe\\x00\\xc3(" * 100000 + b"\\n")',
        'out.write(b"{\\"s\\":1,\\"t\\":1,\\"type\\":\\"text\\",\\"text\\":\\"again\\"}\\n" * 20000)',
        'out.write(b"{\\"s\\":-1}\\n{\\"s\\":1e999}\\n{\\"s\\":9007199254740993,\\"t\\":1}\\n[]\\nnull\\n{}\\n" * 1000)',
        'out.write(b"{\\"s\\":50,\\"p\\":[0,99999999],\\"d\\":\\"x\\"}\\n" * 1000)',
        'out.write(b"{" * 15000 + b"\\n")',
        'out.write(b"{\\"type\\":\\"imported\\",\\"n\\":1,\\"t\\":1}\\n{\\"n\\":2,\\"type\\":\\"sandbox_removed\\"}\\n")',
        'print("flooded")',
      ].join('\n');
      const { text, stderr } = await output(range.engine, task.sandbox, ['python3', '-c', flood], agent);
      assert.match(text, /flooded/, stderr);
      await othersLive();
      await range.endTask(task.id);
      const events = await range.bench.events(task.id);
      assertTold(events);
      // It did reach the log's way: the runner says that it met it.
      assert.ok(
        events.some((event) => event.type === 'notice'),
        'the flood went nowhere, so this cannot fail',
      );
      assert.equal(ended(events).outcome, 'stopped');
      assert.equal(events.filter((event) => event.type === 'sandbox_removed').length, 1);
      assert.ok(!events.some((event) => event.type === 'text' && event.text === 'again'));
      assert.ok((await range.bench.logText(task.id)).length < 32 * mebibyte);
    });

    it('no memory for the agent: the task says so or goes on, and the supervisor outlives it', async () => {
      const task = await range.startTask(small);
      await throwBomb(task, 'blocks=[]\nwhile True: blocks.append(b"x"*(1<<20))');
      await new Promise((passed) => setTimeout(passed, 2000));
      await range.endTask(task.id);
      const events = await range.bench.events(task.id);
      assertWhole(events);
      assert.ok(['stopped', 'failed'].includes(ended(events).outcome));
      assert.equal(events.at(-1)?.type, 'sandbox_removed');
    });
  });
}

/** An event whose line the flood has torn is lost, and the log says which: nothing is missing in silence, or in another order. */
function assertTold(events: readonly TaskEvent[]): void {
  assertNumbered(events);
  const notices = events.flatMap((event) => (event.type === 'notice' ? [event.text] : []));
  let last = 0;
  for (const s of events.flatMap((event) => event.s ?? [])) {
    assert.ok(s > last, `event ${s} came after event ${last}`);
    if (s > last + 1)
      assert.ok(
        notices.includes(`Events ${last + 1} to ${s - 1} of the sandbox did not come.`),
        `${last} to ${s}`,
      );
    last = s;
  }
}
