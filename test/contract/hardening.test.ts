import assert from 'node:assert/strict';
import Docker from 'dockerode';
import { concat } from '../../src/base/lines.ts';
import type { ContainerSpec, ContainerState, Engine, ImageRecipe } from '../../src/engine/engine.ts';
import type { ByteStream } from '../../src/protocol/runner.ts';
import {
  cleanUp,
  engineKinds,
  engines,
  privateEngine,
  realEngine,
  smallImage,
  testLabels,
} from '../support/engines.ts';
import { attempts, attemptsProgram, socketcallProgram } from '../support/syscalls.ts';

const never = new AbortController().signal;

let counter = 0;
const unique = (): string => `sallyport-hard-${process.pid}-${++counter}`;

function specOf(command: string[], change: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    name: unique(),
    image: smallImage,
    command,
    user: '1000:1000',
    env: {},
    labels: testLabels,
    network: 'none',
    limits: { memoryBytes: 256 << 20, cpus: 2, pids: 128, diskBytes: 64 << 20 },
    volumes: [],
    ...change,
  };
}

async function collect(stream: ByteStream): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.from(concat(parts)).toString();
}

for (const kind of engineKinds) {
  describe(`hardening on ${kind}`, function () {
    this.timeout(120_000);
    let engine: Engine;
    let docker: Docker;

    before(async function () {
      this.timeout(600_000);
      engine = await realEngine(kind);
      docker = new Docker({ socketPath: (await engines())[kind].replace('unix://', '') });
      await cleanUp(engine);
      const recipe: ImageRecipe = {
        tag: 'localhost/sallyport/test:hardening',
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

    async function finish(id: string): Promise<{ out: string; state: ContainerState }> {
      const log = collect(engine.logs(id, never));
      await engine.start(id);
      await engine.wait(id);
      const out = await log;
      const state = await engine.inspect(id);
      assert.ok(state);
      return { out, state };
    }

    async function run(command: string[], change: Partial<ContainerSpec> = {}) {
      const id = await engine.create(specOf(command, change));
      const result = await finish(id);
      await engine.remove(id);
      return result;
    }
    const shell = (script: string, change: Partial<ContainerSpec> = {}) =>
      run(['bash', '-c', script], change);

    /** The same without our walls: root with the capabilities for it and no seccomp, in a container of nobody's making but this test's. */
    async function unwalled(command: string[]): Promise<{ out: string; state: ContainerState }> {
      const { id } = await docker.createContainer({
        name: unique(),
        Image: smallImage,
        Entrypoint: [],
        Cmd: command,
        Labels: testLabels,
        HostConfig: {
          CapAdd: [
            ...['SYS_ADMIN', 'SYS_CHROOT', 'SYS_PTRACE', 'SYSLOG', 'NET_RAW', 'NET_ADMIN'],
            'DAC_READ_SEARCH',
          ],
          SecurityOpt: ['seccomp=unconfined'],
          NetworkMode: 'none',
          // Engines read the log of this driver as they read a sandbox's.
          LogConfig: kind === 'docker' ? { Type: 'local', Config: {} } : { Type: 'k8s-file', Config: {} },
        },
      });
      const result = await finish(id);
      await engine.remove(id);
      return result;
    }

    const numbersOf = (out: string): number[] => out.trim().split('\n').map(Number);

    describe('system calls', () => {
      it('answers each as the profile says, to a user and to root', async () => {
        for (const user of ['1000:1000', '0:0']) {
          const { out } = await run(['perl', '-e', attemptsProgram()], { user });
          const seen = numbersOf(out);
          assert.deepEqual(
            attempts.map(({ what }, index) => [what, seen[index]]),
            attempts.map(({ what, behind }) => [what, behind]),
          );
        }
      });

      it('is what refuses them: without the walls the kernel itself answers', async () => {
        const seen = numbersOf((await unwalled(['perl', '-e', attemptsProgram()])).out);
        assert.equal(seen.length, attempts.length);
        const refusedAnyway = attempts.filter(({ behind }, index) => behind !== 0 && seen[index] === behind);
        assert.deepEqual(
          refusedAnyway.map(({ what }) => what),
          [],
        );
      });

      it('leaves no way through the calls of 32 bits', async function () {
        if (process.arch !== 'x64') return this.skip();
        const program = socketcallProgram().toString('hex');
        const script = `printf '${program.replaceAll(/../g, '\\x$&')}' > /tmp/p && chmod +x /tmp/p && exec /tmp/p`;
        assert.equal((await shell(script)).state.exitCode, 38);
        const open = (await unwalled(['bash', '-c', script])).state.exitCode;
        assert.ok(open === 97 || open === 253, `exit code ${open}`);
      });

      it('takes debugging from a service', async () => {
        const { out } = await run(['perl', '-e', attemptsProgram()], { syscalls: 'service' });
        const seen = numbersOf(out);
        assert.deepEqual(
          attempts.filter(({ behind }, index) => seen[index] !== behind).map(({ what }) => what),
          ['ptrace'],
        );
      });
    });

    describe('limits', () => {
      it('are set for core files, open files and the size of a file', async () => {
        const { out } = await shell(
          'for l in c n f; do ulimit -S$l; done; ulimit -Hn; head -c 70M /dev/zero > /tmp/big; echo $?; stat -c %s /tmp/big',
        );
        const [core, files, size, most, code, written] = out.trim().split('\n').map(Number);
        assert.deepEqual([core, files, most], [0, 1024, 16_384]);
        // In blocks of 1024.
        assert.equal(size, 64 << 10);
        assert.notEqual(code, 0);
        assert.equal(written, 64 << 20);
      });

      it('tells nothing of the task, and gives no device and no group', async () => {
        const { out } = await shell(
          'cat /proc/sys/kernel/hostname; id -G; find /dev -type b | wc -l; ls /dev/kvm /dev/mem /dev/net/tun 2>/dev/null | wc -l',
        );
        assert.deepEqual(out.trim().split('\n'), ['sandbox', '1000', '0', '0']);
      });
    });

    describe('disk', () => {
      it('tells what a container wrote, in its layer and in its kept folders', async () => {
        const id = await engine.create(
          specOf(
            [
              'bash',
              '-c',
              'head -c 5M /dev/urandom > /tmp/one; head -c 7M /dev/urandom > /kept/two; sleep 60',
            ],
            {
              user: '0:0',
              kept: ['/kept'],
            },
          ),
        );
        assert.equal(await engine.written(id), 0);
        await engine.start(id);
        const megabytes = async () => Math.floor(((await engine.written(id)) ?? 0) / 1e6);
        for (let left = 600; (await megabytes()) < 12; left--) {
          assert.ok(left > 0, `${await engine.written(id)} bytes`);
          await new Promise((done) => setTimeout(done, 100));
        }
        assert.equal(await megabytes(), 12);
        await engine.remove(id);
        assert.equal(await engine.written(id), undefined);
      });
    });

    describe('a read-only root', () => {
      it('can be written only where it is said, and keeps the work over a restart', async () => {
        const recipe: ImageRecipe = {
          tag: `localhost/sallyport/test:${unique()}`,
          base: smallImage,
          dockerfile: `FROM ${smallImage}\nRUN install -d -o 1000 -g 1000 /workspace /home/agent && echo dot > /home/agent/.profile && chown 1000:1000 /home/agent/.profile\n`,
          files: [],
          buildArgs: {},
        };
        await engine.ensureImage(recipe, () => undefined);
        const write = [
          'cat /home/agent/.profile && echo kept > /workspace/work && touch /home/agent/x && echo gone > /tmp/scratch',
          'printf "#!/bin/sh\\necho runs\\n" > /tmp/tool && chmod +x /tmp/tool && /tmp/tool',
          'df -B1 --output=size /tmp | tail -1 | tr -d " "',
        ].join('; ');
        /** Volumes that an engine named; those of tasks have names. */
        const nameless = async (): Promise<string[]> =>
          (await engine.listVolumes({}))
            .map((one) => one.name)
            .filter((one) => /^[0-9a-f]{64}$/.test(one))
            .sort();
        // Podman makes a folder in memory of /run by itself.
        const escape =
          'for p in / /etc /usr/bin /opt /var/lib /home /srv /usr/local; do touch $p/x 2>/dev/null && echo "wrote $p"; done; true';
        const volumesBefore = await nameless();
        const id = await engine.create(
          specOf(['sleep', '600'], {
            image: recipe.tag,
            readonlyRoot: true,
            kept: ['/workspace', '/home/agent'],
            scratch: [{ path: '/tmp', bytes: 8 << 20 }],
          }),
        );
        const inside = async (script: string, user = '1000:1000') => {
          const exec = await engine.exec(id, ['bash', '-c', script], { user });
          return (await collect(exec.stdout)).trim().split('\n');
        };
        await engine.start(id);
        assert.deepEqual(await inside(write), ['dot', 'runs', String(8 << 20)]);
        assert.deepEqual(await inside(escape), ['']);
        assert.deepEqual(await inside(escape, '0:0'), ['']);
        await engine.stop(id, 0);
        await engine.start(id);
        assert.deepEqual(await inside('cat /home/agent/.profile /workspace/work; ls /tmp'), ['dot', 'kept']);
        await engine.remove(id);
        assert.deepEqual(await nameless(), volumesBefore);
        await docker.getImage(recipe.tag).remove();
      });
    });

    describe('a runtime by name', () => {
      it('is refused before anything is made when the engine does not know it', async () => {
        const spec = specOf(['true'], { runtime: 'no-such-runtime' });
        await assert.rejects(engine.create(spec), { code: 'invalid_input', message: /no-such-runtime/ });
        assert.equal(await engine.inspect(spec.name), undefined);
      });

      it('is taken when the engine knows it', async () => {
        assert.ok(engine.info.runtimes.includes('runc'), engine.info.runtimes.join());
        assert.equal((await shell('echo up', { runtime: 'runc' })).out, 'up\n');
      });
    });

    it('says what it can hold', () => {
      const { seccomp, ignoredLimits, cgroupVersion, storageDriver } = engine.info;
      assert.deepEqual({ seccomp, ignoredLimits }, { seccomp: true, ignoredLimits: [] });
      assert.ok(cgroupVersion === 1 || cgroupVersion === 2);
      assert.match(storageDriver, /^overlay/);
    });
  });
}

describe('a runtime under a name of its own', function () {
  this.timeout(120_000);

  it('is what a container runs with, and only when it is named', async () => {
    const own = await privateEngine('docker', { args: ['--add-runtime', 'other=/usr/sbin/runc'] });
    try {
      const { engine } = own;
      assert.ok(engine.info.runtimes.includes('other'));
      const socketPath = engine.info.address.replace('unix://', '');
      const mine = new Docker({ socketPath });
      const from = new Docker({ socketPath: (await engines()).docker.replace('unix://', '') });
      const loading = await mine.loadImage(await from.getImage(smallImage).get());
      await new Promise((done) => loading.on('end', done).resume());
      for (const change of [{ runtime: 'other' }, {}]) {
        const id = await engine.create(specOf(['true'], change));
        await engine.start(id);
        await engine.wait(id);
        const { HostConfig } = await mine.getContainer(id).inspect();
        assert.equal(HostConfig.Runtime, change.runtime ?? 'runc');
        assert.equal((await engine.inspect(id))?.exitCode, 0);
        await engine.remove(id);
      }
    } finally {
      await own.dispose();
    }
  });
});
