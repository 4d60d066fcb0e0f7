import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { judge, runAttacks, type Strong, type Verdicts } from '../support/attack.ts';
import { AttackRange } from '../support/attackRange.ts';
import { engineKinds } from '../support/engines.ts';

for (const kind of engineKinds) {
  describe(`promise 3 on ${kind}: nothing leads out of the container, for root neither`, function () {
    this.timeout('5m');
    let range: AttackRange;
    let folder: string;
    let bait: ChildProcess | undefined;
    const weak = new Map<string, Verdicts>();
    const strong: Strong[] = [];

    before(async () => {
      range = await AttackRange.open(kind);
      folder = await mkdtemp(join(tmpdir(), 'sallyport-bait-'));
      const hostFile = join(folder, 'bait');
      await writeFile(hostFile, 'a file of the host', { mode: 0o644 });
      const hostMark = `bait-${randomBytes(8).toString('hex')}`;
      bait = spawn('tail', ['-f', '/dev/null'], { argv0: hostMark, stdio: 'ignore' });
      const volume = await range.weak.volume();
      const worlds = {
        plain: await range.weak.start({}),
        admin: await range.weak.start({ almighty: true }),
        hostpid: await range.weak.start({ almighty: true, pids: 'host' }),
        beside: await range.weak.start({ almighty: true, pids: `container:${range.task.gateway}` }),
        devices: await range.weak.start({ devices: ['/dev/kmsg', '/dev/fuse', '/dev/loop-control'] }),
        shared: await range.weak.start({ binds: [`${volume}:/run/sallyport`] }),
        host: await range.weak.start({ binds: [`${folder}:/mnt`] }),
      };
      const args = { hostFile, hostMark };
      for (const [world, container] of Object.entries(worlds)) {
        const more = { world, privilegedKernel: true };
        weak.set(world, await runAttacks(range.engine, container, 'isolation.py', { ...args, ...more }));
      }
      for (const user of ['1000:1000', '0:0']) {
        const verdicts = await runAttacks(range.engine, range.task.sandbox, 'isolation.py', args, user);
        strong.push({ by: user === '0:0' ? 'root' : 'the agent', verdicts });
      }
    });
    after(async () => {
      bait?.kill('SIGKILL');
      await range.close();
      await rm(folder, { recursive: true, force: true });
    });

    judge('isolation.py', () => ({ weak, strong }));
  });
}
