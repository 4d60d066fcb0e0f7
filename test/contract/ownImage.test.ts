import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { proxyArguments } from '../../src/engine/imageRecipe.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { IsolationWish } from '../../src/runner/isolation.ts';
import type { Turns } from '../support/tasks.ts';
import { bash, Bench, only, printed } from '../support/tasks.ts';
import { engineKinds, engines, smallImage } from '../support/engines.ts';

const withGit = 'localhost/sallyport/test:own-git';
const script = (text: string): Uint8Array => Buffer.from(`#!/bin/sh\n${text}\n`);

/** What a sandbox has of its walls, seen from inside; and who it is. */
const walls =
  'grep -E "^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; id -u; id -g; ls /sys/class/net; env | grep -ci evil; touch /opt/sallyport/x 2>&1; touch /run/sallyport/x 2>&1; ulimit -c';

for (const name of engineKinds) {
  describe(`images of the user's on ${name}`, function () {
    // Images are built, which takes an engine without layers of its own long.
    this.timeout(120_000);
    let bench: Bench;

    before(async () => {
      bench = await Bench.open((await engines())[name]);
      await build(withGit, smallImage, [
        'RUN apt-get -q update && apt-get -q install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*',
        'COPY marker node /usr/local/bin/',
      ]);
    });
    after(() => bench.close());

    /** Built on the engine under that very tag, as a user would have done. */
    async function build(tag: string, base: string, lines: string[]): Promise<void> {
      const engine = await bench.engine();
      try {
        await engine.ensureImage(
          {
            tag,
            base,
            dockerfile: [`FROM ${base}`, ...lines, ''].join('\n'),
            files: [
              { path: 'marker', content: script('echo marker of the image'), mode: 0o755 },
              { path: 'node', content: script('echo node of the image'), mode: 0o755 },
              ...['workspace', 'home/agent', 'run/sallyport', 'opt/sallyport/bin'].map((folder) => ({
                path: `root/${folder}/left`,
                content: Buffer.from('left'),
              })),
            ],
            buildArgs: proxyArguments(process.env),
          },
          () => undefined,
        );
      } finally {
        engine.dispose();
      }
    }

    async function run(
      isolation: Partial<IsolationWish>,
      turns: Turns,
      files?: Record<string, string>,
    ): Promise<{
      events: TaskEvent[];
      end: Extract<TaskEvent, { type: 'ended' }>;
      folder: string;
      id: string;
    }> {
      const folder = await bench.repository(files);
      const { spec } = await bench.submit(turns, {
        repositoryPath: folder,
        isolation: { readonlyRoot: false, ...isolation },
      });
      const events = await bench.events(spec.id);
      const [end] = only(events, 'ended');
      assert.ok(end, bench.log.join('\n'));
      return { events, end, folder, id: spec.id };
    }

    it('run a whole task, with their own tools before ours, and leave nothing behind', async () => {
      const { events, end, id } = await run({ image: withGit, readonlyRoot: true }, [
        bash('marker; node; pwd; echo $HOME; echo $PATH; claude --version'),
        bash(walls),
        bash(
          'echo one > one.txt && git add . && git commit -qm "Add one" && touch left.txt && touch ~/y && touch /x; ls -A',
        ),
        { text: 'Done.' },
      ]);
      assert.equal(end.outcome, 'succeeded', JSON.stringify(end));
      const [tools = '', seen = '', files = ''] = printed(events);
      assert.match(tools, /^marker of the image\nnode of the image\n\/workspace\n\/home\/agent\n/);
      assert.match(tools, /\/usr\/local\/bin.*:\/opt\/sallyport\/bin\n/);
      assertWalls(seen);
      assert.match(files, /Read-only file system/);
      assert.match(files, /\.git\nREADME\.md\nleft\.txt\none\.txt/);
      const [egress] = only(events, 'egress');
      assert.equal(egress?.closed, true);
      const { commits, imported } = bench.state(id);
      assert.deepEqual(
        commits.map(({ subject, sha }) => [subject, imported.includes(sha)]),
        [['Add one', true]],
      );
      assert.deepEqual(await bench.remains(), []);
    });

    it('end a task whose container cannot be started, and leave nothing behind', async () => {
      const image = 'localhost/sallyport/test:own-unstartable';
      await build(image, withGit, ['RUN rm -rf /workspace && echo file > /workspace']);
      const { end } = await run({ image }, [{ text: 'Done.' }]);
      assert.equal(end.outcome, 'failed', JSON.stringify(end));
      assert.deepEqual(await bench.remains(), []);
    });

    it('change nothing of the walls, whatever they say of themselves', async () => {
      const image = 'localhost/sallyport/test:own-evil';
      // Few steps: an engine without layers copies the whole image for each.
      await build(image, withGit, [
        'COPY root/ /',
        'ENV ANTHROPIC_API_KEY=evil CLAUDE_CODE_USE_BEDROCK=evil NODE_OPTIONS=--require=/evil LD_PRELOAD=/evil.so HOME=/evil JAVA_HOME=/java',
        'ENTRYPOINT ["/evil"]',
        'HEALTHCHECK --interval=1s CMD touch /tmp/healthy',
        'USER root',
        'VOLUME /workspace',
      ]);
      const { events, end } = await run({ image }, [
        bash(walls),
        bash('ls -A; ls -A ~; echo $JAVA_HOME; pwd; sleep 2; ls /tmp/healthy 2>&1; true'),
        { text: 'Done.' },
      ]);
      assert.equal(end.outcome, 'succeeded', JSON.stringify(end));
      const [seen = '', rest = ''] = printed(events);
      assertWalls(seen);
      assert.match(rest, /^\.git\nREADME\.md\n/);
      // Podman fills the empty workspace from the image; nothing of ours is replaced by that.
      if (name === 'docker') assert.doesNotMatch(rest, /left/);
      assert.match(rest, /\n\/java\n\/workspace\n/);
      assert.match(rest, /No such file/);
      assert.deepEqual(await bench.remains(), []);
    });

    it('are built from a Dockerfile of the repository, once for the same content', async () => {
      const files = {
        'tools/Dockerfile': `FROM ${withGit}\nCOPY . /context/\nRUN ls -A /context > /listing\n`,
        'tools/.dockerignore': '*.secret\n!kept.secret\n',
        'tools/one.txt': `one ${String(process.pid)}\n`,
        'tools/a.secret': 'a\n',
        'tools/kept.secret': 'k\n',
      };
      const turns: Turns = [bash('cat /listing'), { text: 'Done.' }];
      const first = await run({ dockerfile: 'tools/Dockerfile' }, turns, files);
      assert.equal(first.end.outcome, 'succeeded', JSON.stringify(first.end));
      assert.match(printed(first.events)[0] ?? '', /one\.txt/);
      assert.match(printed(first.events)[0] ?? '', /kept\.secret/);
      assert.doesNotMatch(printed(first.events)[0] ?? '', /a\.secret/);
      const steps = (events: TaskEvent[]): number =>
        only(events, 'progress').filter(({ text }) => text.startsWith('Step')).length;
      assert.ok(steps(first.events) > 0, 'no progress was told');
      const second = await run({ dockerfile: 'tools/Dockerfile' }, turns, files);
      assert.equal(second.end.outcome, 'succeeded');
      assert.equal(steps(second.events), 0);
    });

    it('are told with a mend where they cannot be used', async () => {
      const refused = async (isolation: Partial<IsolationWish>, files?: Record<string, string>) => {
        const { end } = await run(isolation, [{ text: 'Never.' }], files);
        assert.equal(end.outcome, 'failed');
        assert.equal(end.kind, 'image', JSON.stringify(end));
        assert.ok(end.mend);
        return end.message;
      };
      assert.match(await refused({ image: smallImage }), /no git/);
      assert.match(
        await refused({ image: 'localhost:1/none/such:1' }),
        /localhost:1\/none\/such:1 is not on the engine and cannot be pulled/,
      );
      const broken = { 'tools/Dockerfile': `FROM ${withGit}\nRUN echo the reason; exit 7\n` };
      assert.match(await refused({ dockerfile: 'tools/Dockerfile' }, broken), /the reason/);
      const musl = 'localhost/sallyport/test:own-musl';
      await build(musl, withGit, ['RUN rm -f /lib64/ld-linux-* /lib/ld-linux-*']);
      assert.match(await refused({ image: musl }), /no GNU C library/);
      const volume = 'localhost/sallyport/test:own-volume';
      await build(volume, withGit, ['VOLUME /opt/sallyport/bin']);
      assert.match(await refused({ image: volume }), /declares a volume at \/opt\/sallyport\/bin/);
      assert.deepEqual(await bench.remains(), []);
    });
  });
}

for (const name of engineKinds) {
  describe(`mounts on ${name}`, function () {
    this.timeout(60_000);
    let bench: Bench;
    let data: string;

    before(async () => {
      bench = await Bench.open((await engines())[name]);
      // Behind a link, as temporary folders are on some systems.
      data = await realpath(await mkdtemp(join(tmpdir(), 'sallyport-mount-')));
      await chmod(data, 0o777);
      await writeFile(join(data, 'given.txt'), 'given\n');
      await symlink(data, `${data}-link`);
    });
    after(async () => {
      await bench.close();
      await rm(`${data}-link`);
      await rm(data, { recursive: true });
    });

    it('let a task read, and write where the user says so, with a warning', async () => {
      const repositoryPath = await bench.repository();
      process.env['SALLYPORT_TEST_DATA'] = data;
      const { spec } = await bench.submit(
        [
          bash(
            'cat /mnt/read/given.txt; touch /mnt/read/no 2>&1; cat inside/given.txt; echo out > inside/out.txt',
          ),
          bash('git status --porcelain; touch left.txt; grep -c " /mnt/read .* ro" /proc/self/mounts'),
          { text: 'Done.' },
        ],
        {
          repositoryPath,
          isolation: {
            readonlyRoot: false,
            mounts: [
              '$SALLYPORT_TEST_DATA:/mnt/read',
              { source: `${data}-link`, target: 'inside', readonly: false },
            ],
          },
        },
      );
      delete process.env['SALLYPORT_TEST_DATA'];
      assert.deepEqual(spec.isolation?.mounts, [
        { source: data, target: '/mnt/read', readonly: true },
        { source: data, target: '/workspace/inside', readonly: false },
      ]);
      const events = await bench.events(spec.id);
      const [end] = only(events, 'ended');
      assert.equal(end?.outcome, 'succeeded', JSON.stringify(end));
      const [read = '', status = ''] = printed(events);
      assert.match(read, /^given\n.*Read-only file system\ngiven$/);
      assert.equal(status, '1');
      assert.equal(await readFile(join(data, 'out.txt'), 'utf8'), 'out\n');
      // What is mounted is no work of the agent's.
      assert.deepEqual(
        bench.state(spec.id).leftovers?.files.map(({ path }) => path),
        ['left.txt'],
      );
      const warnings = only(events, 'notice').filter(({ text }) => text.includes(data));
      assert.deepEqual(
        warnings.map(({ level, text }) => [level, text.includes('/workspace/inside')]),
        [['warning', true]],
      );
      assert.deepEqual(await bench.remains(), []);
    });

    it('are refused before a task begins where they cannot or must not be', async () => {
      const repositoryPath = await bench.repository();
      const before = bench.service.tasks().length;
      const mounts = [
        ...['/does/not/exist:/d', '$NOT_SET_ANYWHERE:/d', '/:/d', '/var/run:/d', '/var/run/docker.sock:/d'],
        ...[`${bench.data}:/d`, `${repositoryPath}:/d:rw`, `${data}:/opt/sallyport`, `${data}:/workspace`],
        ...[`${data}:README.md`, `${data}:.git/hooks`],
      ];
      for (const mount of mounts) {
        await assert.rejects(
          bench.submit([], { repositoryPath, isolation: { readonlyRoot: false, mounts: [mount] } }),
          (thrown: Error & { code?: string; mend?: string }) =>
            thrown.code === 'invalid_input' && thrown.mend !== undefined,
          mount,
        );
      }
      assert.equal(bench.service.tasks().length, before);
    });
  });
}

function assertWalls(seen: string): void {
  const lines = seen.trim().split('\n');
  const status = Object.fromEntries(
    lines.slice(0, 5).map((line) => line.split(/:\s*/)) as [string, string][],
  );
  assert.deepEqual(status, {
    CapPrm: '0000000000000000',
    CapEff: '0000000000000000',
    CapBnd: '0000000000000000',
    NoNewPrivs: '1',
    Seccomp: '2',
  });
  assert.deepEqual(lines.slice(5, 9), ['1000', '1000', 'lo', '0']);
  assert.match(lines[9] ?? '', /Read-only|Permission denied/);
  assert.match(lines[10] ?? '', /Read-only|Permission denied/);
  assert.equal(lines[11], '0');
}
