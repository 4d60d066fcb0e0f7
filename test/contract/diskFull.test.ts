import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { ensurePackages } from '../../scripts/lib/engine.mjs';
import { SallyportError } from '../../src/base/errors.ts';
import { concat } from '../../src/base/lines.ts';
import type { ContainerSpec, Engine } from '../../src/engine/engine.ts';
import { watchDisk } from '../../src/runner/diskWatch.ts';
import type { TaskService } from '../../src/runner/taskService.ts';
import {
  cleanUp,
  engineKinds,
  engines,
  privateEngine,
  realEngine,
  smallImage,
  testLabels,
} from '../support/engines.ts';
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

const never = new AbortController().signal;
const giga = 2 ** 30;

let counter = 0;

function specOf(command: string[], change: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name: `sallyport-disk-${process.pid}-${++counter}`,
    image: smallImage,
    command,
    user: '1000:1000',
    env: {},
    labels: testLabels,
    network: 'none',
    limits: { memoryBytes: giga, cpus: 2, pids: 64, diskBytes: 100 * giga },
    volumes: [],
    ...change,
  };
}

/** Writes as fast as the machine can, each file below every limit of a file, until the disk says no. */
const writer =
  'for i in $(seq 1000000); do head -c 16M /dev/zero >> /tmp/$((i / 4)) || { echo full; exit 7; }; done';

async function started(engine: Engine, spec: ContainerSpec): Promise<string> {
  const id = await engine.create(spec);
  await engine.start(id);
  return id;
}

/** A sandbox that runs `script`, and what stands for its gateway. */
async function pair(engine: Engine, script: string) {
  const gateway = await started(
    engine,
    specOf(['sleep', '600'], { user: '1001:1001', readonlyRoot: true, syscalls: 'service' }),
  );
  const sandbox = await started(engine, specOf(['bash', '-c', script]));
  return {
    sandbox,
    gateway,
    dispose: async () => {
      await engine.remove(sandbox);
      await engine.remove(gateway);
    },
  };
}

/** Resolves to the container's exit code once it has ended. */
async function endOf(engine: Engine, id: string): Promise<number | undefined> {
  await engine.wait(id);
  return (await engine.inspect(id))?.exitCode;
}

for (const kind of engineKinds) {
  describe(`disk watch on ${kind}`, function () {
    this.timeout(120_000);
    let engine: Engine;
    before(async () => {
      engine = await realEngine(kind);
      await cleanUp(engine);
      const recipe = {
        tag: 'localhost/sallyport/test:disk',
        base: smallImage,
        dockerfile: `FROM ${smallImage}\n`,
        files: [],
        buildArgs: {},
      };
      await engine.ensureImage(recipe, () => undefined);
    });
    after(async () => {
      await cleanUp(engine);
      engine.dispose();
    });

    it('ends a sandbox that writes more than its limit', async () => {
      const { sandbox, gateway, dispose } = await pair(engine, writer);
      const over = await watchDisk(engine, { sandbox, gateway, limitBytes: giga / 4 }, never);
      assert.equal(over?.why, 'limit');
      assert.ok((over.writtenBytes ?? 0) >= giga / 4);
      assert.match(over.message, /256 MiB/);
      assert.equal(await endOf(engine, sandbox), 137);
      await dispose();
    });

    it('does so without a gateway that could be asked', async () => {
      const { sandbox, gateway, dispose } = await pair(engine, writer);
      await engine.remove(gateway);
      const over = await watchDisk(engine, { sandbox, gateway, limitBytes: giga / 4 }, never);
      assert.equal(over?.why, 'limit');
      assert.equal(await endOf(engine, sandbox), 137);
      await dispose();
    });

    it('leaves a sandbox that writes less alone, and ends with it or when asked to', async () => {
      const { sandbox, gateway, dispose } = await pair(
        engine,
        'head -c 20M /dev/zero > /tmp/a; sleep 3; exit 5',
      );
      const asked = new AbortController();
      const watches = [never, asked.signal].map((signal) =>
        watchDisk(engine, { sandbox, gateway, limitBytes: giga }, signal),
      );
      asked.abort();
      assert.equal(await watches[1], undefined);
      assert.equal(await watches[0], undefined);
      assert.equal(await endOf(engine, sandbox), 5);
      // Nothing of the watch goes on in the gateway.
      const programs = async () => {
        const exec = await engine.exec(gateway, ['bash', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "']);
        const parts: Uint8Array[] = [];
        for await (const part of exec.stdout) parts.push(part);
        return Buffer.from(concat(parts)).toString();
      };
      for (let left = 600; (await programs()).includes('stat -f -c'); left--) {
        assert.ok(left > 0, await programs());
        await new Promise((done) => setTimeout(done, 100));
      }
      await dispose();
    });
  });
}

describe('an engine on a small disk', function () {
  this.timeout(240_000);

  /** A file system of 4 GB in a file, of the kind on which Docker may be able to limit a layer; this one cannot. */
  async function xfsDisk(): Promise<{
    path: string;
    free: () => Promise<number>;
    dispose: () => Promise<void>;
  }> {
    await ensurePackages(['xfsprogs'], { why: 'The test makes a small disk', log: () => undefined });
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-xfs-'));
    const [image, path] = [join(folder, 'image'), join(folder, 'disk')];
    await mkdir(path);
    await run('truncate', ['-s', '4G', image]);
    await run('mkfs.xfs', ['-q', image]);
    await run('mount', ['-o', 'loop', image, path]);
    return {
      path,
      free: async () => {
        const { bavail, bsize } = await statfs(path);
        return bavail * bsize;
      },
      dispose: async () => {
        await run('umount', ['-l', path]);
        await rm(folder, { recursive: true, force: true });
      },
    };
  }

  it('keeps its reserve against a fast writer, which fills the disk where nobody watches', async () => {
    const disk = await xfsDisk();
    const own = await privateEngine('docker', { folder: join(disk.path, 'engine') });
    try {
      const { engine } = own;
      assert.equal(engine.info.backingFilesystem, 'xfs');
      const socketPath = engine.info.address.replace('unix://', '');
      const from = new Docker({ socketPath: (await engines()).docker.replace('unix://', '') });
      const loading = await new Docker({ socketPath }).loadImage(await from.getImage(smallImage).get());
      await new Promise((done) => loading.on('end', done).resume());

      const guarded = await pair(engine, writer);
      const over = await watchDisk(
        engine,
        { ...guarded, limitBytes: 100 * giga, reserveBytes: 2 * giga },
        never,
      );
      assert.equal(over?.why, 'engine');
      assert.equal(await endOf(engine, guarded.sandbox), 137);
      const left = await disk.free();
      assert.ok(left > giga / 4, `${left} bytes were left`);
      await guarded.dispose();

      const unguarded = await pair(engine, writer);
      assert.equal(await endOf(engine, unguarded.sandbox), 7);
      assert.ok((await disk.free()) < 64 << 20);
      await unguarded.dispose();
    } finally {
      await own.dispose();
      await disk.dispose();
    }
  });

  /** A file system with room for few files. */
  async function fewFiles(
    files: number,
  ): Promise<{ path: string; free: () => Promise<number>; dispose: () => Promise<void> }> {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-ext4-'));
    const [image, path] = [join(folder, 'image'), join(folder, 'disk')];
    await mkdir(path);
    await run('truncate', ['-s', '4G', image]);
    await run('mkfs.ext4', ['-q', '-N', String(files), image]);
    await run('mount', ['-o', 'loop', image, path]);
    return {
      path,
      free: async () => (await statfs(path)).ffree,
      dispose: async () => {
        await run('umount', ['-l', path]);
        await rm(folder, { recursive: true, force: true });
      },
    };
  }

  it('keeps files free against a loop that makes empty ones, and leaves its neighbour alone', async () => {
    const disk = await fewFiles(300_000);
    const own = await privateEngine('docker', { folder: join(disk.path, 'engine') });
    try {
      const { engine } = own;
      const socketPath = engine.info.address.replace('unix://', '');
      const from = new Docker({ socketPath: (await engines()).docker.replace('unix://', '') });
      const loading = await new Docker({ socketPath }).loadImage(await from.getImage(smallImage).get());
      await new Promise((done) => loading.on('end', done).resume());
      const loop = (folder: string): string =>
        `perl -e 'for ($i = 0; ; $i++) { open(F, ">", "${folder}/$i") or exit 7 }'`;
      const limitBytes = 100 * giga;

      // A neighbour that makes none is left alone, and the one that makes them is ended for it.
      const quiet = await pair(engine, 'sleep 600');
      const guarded = await pair(engine, `mkdir /tmp/many; ${loop('/tmp/many')}`);
      const leaving = new AbortController();
      const neighbour = watchDisk(engine, { ...quiet, limitBytes, reserveFiles: 200_000 }, leaving.signal);
      const over = await watchDisk(engine, { ...guarded, limitBytes, reserveFiles: 200_000 }, never);
      assert.equal(over?.why, 'files');
      assert.equal(await endOf(engine, guarded.sandbox), 137);
      assert.ok((await disk.free()) > 1000, `${await disk.free()} files were left`);
      await guarded.dispose();
      assert.equal((await engine.inspect(quiet.sandbox))?.status, 'running');
      leaving.abort();
      assert.equal(await neighbour, undefined);
      await quiet.dispose();

      const unguarded = await pair(engine, `mkdir /tmp/many; ${loop('/tmp/many')}`);
      assert.equal(await endOf(engine, unguarded.sandbox), 7);
      assert.ok((await disk.free()) < 100);
      await unguarded.dispose();
    } finally {
      await own.dispose();
      await disk.dispose();
    }
  });

  it('ends a task at its disk limit, and brings in what it had committed', async () => {
    const { docker } = await engines();
    const bench = await Bench.open(docker);
    try {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit(
        [
          bash('git commit -q --allow-empty -m Before'),
          bash('for i in $(seq 100000); do head -c 16M /dev/zero > /tmp/fill-$i || exit 1; done'),
          { text: 'never' },
        ],
        { repositoryPath, limits: { diskBytes: giga / 4 } },
      );
      const events = await bench.events(spec.id);
      assertWhole(events);
      const end = events.find((event) => event.type === 'ended');
      assert.ok(end);
      assert.deepEqual([end.outcome, end.kind], ['failed', 'disk_full'], JSON.stringify(end));
      assert.match(end.message, /disk limit of 256 MiB/);
      assert.equal(bench.state(spec.id).imported.length, 1);
      assert.deepEqual(await bench.remains(), []);
    } finally {
      await bench.close();
    }
  });
});
