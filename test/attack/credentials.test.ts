import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { judge, output, runAttacks, type Strong, type Verdicts } from '../support/attack.ts';
import { AttackRange } from '../support/attackRange.ts';
import { engineKinds } from '../support/engines.ts';

for (const kind of engineKinds) {
  describe(`promise 1 on ${kind}: no credential is readable in the sandbox`, function () {
    this.timeout('5m');
    let range: AttackRange;
    let careless: string;
    const weak = new Map<string, Verdicts>();
    const strong: Strong[] = [];

    before(async () => {
      range = await AttackRange.open(kind);
      const { secret, bench } = range;
      const volume = await range.weak.volume();
      careless = await range.weak.start({
        env: { ANTHROPIC_API_KEY: secret },
        binds: [`${volume}:/run/sallyport`],
        command: ['sh', '-c', 'tail -f /dev/null', secret],
      });
      await output(range.engine, careless, ['python3', '-c', plant, secret]);
      const worlds = {
        careless,
        beside: await range.weak.start({
          pids: `container:${range.task.gateway}`,
          capabilities: ['SYS_PTRACE'],
        }),
        host: await range.weak.start({ binds: [`${bench.data}:/host${bench.data}:ro`] }),
      };
      const args = { secret, dataFolder: bench.data };
      for (const [world, container] of Object.entries(worlds)) {
        const more = { world, privilegedKernel: true };
        weak.set(world, await runAttacks(range.engine, container, 'credentials.py', { ...args, ...more }));
      }
      for (const user of ['1000:1000', '0:0']) {
        const verdicts = await runAttacks(range.engine, range.task.sandbox, 'credentials.py', args, user);
        strong.push({ by: user === '0:0' ? 'root' : 'the agent', verdicts });
      }
    });
    after(() => range.close());

    judge('credentials.py', () => ({ weak, strong }));

    it('the gateway did use the credential, so there was something to find', () => {
      assert.ok(range.seen.some(({ headers }) => headers['x-api-key'] === range.secret));
    });

    it('what the engine tells of its containers and images holds no credential', async () => {
      assert.ok((await range.weak.inspection(careless)).includes(range.secret), 'cannot fail');
      for (const container of [range.task.sandbox, range.task.gateway]) {
        const told = await range.weak.inspection(container);
        assert.ok(!told.includes(range.secret));
        assert.ok(!told.includes(range.task.token), "the task's token is told");
      }
      assert.ok(!(await range.weak.imageHistory()).includes(range.secret));
    });

    it('nothing on the disk of the host holds the credential, and the token is readable for its owner alone', async () => {
      const files = await readdir(range.bench.data, { recursive: true, withFileTypes: true });
      const contents = await Promise.all(
        files
          .filter((file) => file.isFile())
          .map(
            async (file) => [file.name, await readFile(join(file.parentPath, file.name), 'latin1')] as const,
          ),
      );
      assert.ok(contents.some(([name, text]) => name === 'token' && text === range.task.token));
      assert.deepEqual(
        contents.filter(([, text]) => text.includes(range.secret)).map(([name]) => name),
        [],
      );
      const log = await range.bench.logText(range.task.id);
      assert.ok(log.length > 100 && !log.includes(range.task.token));
    });

    it('what the gateway prints holds neither credential nor token', async () => {
      const over = new AbortController();
      const parts: Uint8Array[] = [];
      const printed = (): string => Buffer.concat(parts).toString('latin1');
      // What has come by then, and what comes soon after it.
      let enough = setTimeout(() => over.abort(), 60_000);
      let isThere = false;
      try {
        for await (const part of range.engine.logs(range.task.gateway, over.signal)) {
          parts.push(part);
          if (isThere || !/v1\/messages/.test(printed())) continue;
          isThere = true;
          clearTimeout(enough);
          enough = setTimeout(() => over.abort(), 1500);
        }
      } catch (thrown) {
        if (!over.signal.aborted) throw thrown;
      } finally {
        clearTimeout(enough);
      }
      const text = printed();
      assert.match(text, /v1\/messages/, 'the log is empty, so this cannot fail');
      assert.ok(!text.includes(range.secret) && !text.includes(range.task.token));
    });
  });
}

/** Puts its argument where a careless set-up leaves a key. */
const plant = `
import ctypes, os, subprocess, sys
secret = sys.argv[1]
open('/run/sallyport/key', 'w').write(secret)
open('/tmp/open-key', 'w').write(secret)
os.makedirs('/root/.aws', exist_ok=True)
open('/root/.aws/credentials', 'w').write(secret)
subprocess.Popen(['sleep', '1000'], stdin=open('/tmp/open-key'), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
libc = ctypes.CDLL(None)
number = 217 if os.uname().machine == 'aarch64' else 248
libc.syscall(number + 2, 8, -4, -3)
key = libc.syscall(number, b'user', b'sallyport-credential', secret.encode(), len(secret), -4)
libc.syscall(number + 2, 5, key, 0x3f3f3f3f)
libc.syscall(number + 2, 15, key, 300)
`;
