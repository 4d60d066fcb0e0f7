import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskService } from '../../src/runner/taskService.ts';
import { engines } from '../support/engines.ts';
import { assertWhole, bash, Bench } from '../support/tasks.ts';

const run = promisify(execFile);

/** A disk of a few megabytes, made of memory. */
async function smallDisk(
  megabytes: number,
): Promise<{ path: string; grow: (to: number) => Promise<void>; dispose: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'sallyport-disk-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path]);
  return {
    path,
    grow: async (to) => {
      await run('mount', ['-o', `remount,size=${to}m`, path]);
    },
    dispose: async () => {
      await run('umount', ['-l', path]);
      await rm(path, { recursive: true, force: true });
    },
  };
}

async function trouble(service: TaskService): Promise<SallyportError> {
  return await new Promise((resolve) => service.onTrouble(resolve));
}

describe('a disk that is full', () => {
  it('holds up log and imports of a task, says so, and loses nothing', async () => {
    const disk = await smallDisk(3);
    const data = join(disk.path, 'data');
    await mkdir(data);
    const { docker } = await engines();
    const bench = await Bench.open(docker, { data });
    try {
      const repositoryPath = await bench.repository();
      const told = trouble(bench.service);
      const long = 'All work and no play makes Jack a dull boy.\n'.repeat(50_000);
      const { spec } = await bench.submit(
        [
          { text: long, ...bash('head -c 4000000 /dev/urandom > big && git add big && git commit -qm Big') },
          { text: long },
        ],
        { repositoryPath },
      );
      const error = await told;
      assert.ok(error instanceof SallyportError);
      assert.equal(error.code, 'disk_full');
      assert.notEqual(error.mend, '');
      await disk.grow(200);
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.equal(bench.state(spec.id).phase, 'succeeded');
      assert.equal(
        events.filter((event) => event.type === 'text' && event.text === long.trimEnd()).length +
          events.filter((event) => event.type === 'text' && event.text === long).length,
        2,
      );
      assert.equal(bench.state(spec.id).imported.length, 1);
      assert.deepEqual(await bench.remains(), []);
    } finally {
      await bench.close();
      await disk.dispose();
    }
  });

  it('refuses a task that has no room at all, and leaves nothing half made', async () => {
    const disk = await smallDisk(1);
    const data = join(disk.path, 'data');
    await mkdir(data);
    const { docker } = await engines();
    const bench = await Bench.open(docker, { data });
    try {
      const repositoryPath = await bench.repository();
      await run('sh', ['-c', 'head -c 3000000 /dev/urandom > big && git add -A && git commit -qm Big'], {
        cwd: repositoryPath,
      });
      await run('sh', ['-c', 'dd if=/dev/zero of="$1/fill" bs=64k 2>/dev/null; true', 'sh', disk.path]);
      await assert.rejects(
        bench.submit([], { repositoryPath }),
        (thrown: unknown) =>
          thrown instanceof SallyportError && ['repository_too_large', 'disk_full'].includes(thrown.code),
      );
      assert.deepEqual(bench.service.tasks(), []);
    } finally {
      await bench.close();
      await disk.dispose();
    }
  });
});
