import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isImageReference } from '../../src/protocol/grammar.ts';
import { checkMountPoints, readIsolation } from '../../src/runner/isolation.ts';
import {
  type Found,
  mountWarning,
  MountWishes,
  type MountSurroundings,
  type MountWish,
  readMounts,
} from '../../src/runner/mounts.ts';
import { environmentOf, problemWithImage, wholeReference } from '../../src/runner/ownImage.ts';
import { ownRecipe } from '../../src/runner/ownRecipe.ts';
import { imageEnvironment, problemWithOwnImage } from '../../src/supervisor/ownImage.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';

const made: { dispose(): void }[] = [];
/** Gone when its test is over. */
function aFolder(): string {
  const folder = temporaryFolder();
  made.push(folder);
  return folder.path;
}
afterEach(() => {
  for (const folder of made.splice(0)) folder.dispose();
});

const folders = ['/', '/home', '/home/ada', '/home/ada/work', '/home/ada/work/data', '/home/ada/work/.git'];
const links: Record<string, string> = {
  '/home/ada/link': '/home/ada',
  '/var/run': '/run',
  '/tmp/dock': '/run',
};

const around: MountSurroundings = {
  env: { DATA: '/data', EMPTY: '' },
  home: '/home/ada',
  dataFolder: '/home/ada/.local/share/sallyport',
  workspaceFolder: '/home/ada/work',
  sockets: ['/var/run/docker.sock', '/opt/engine/run/engine.sock'],
  look: (path) => {
    const real = Object.entries(links).reduce(
      (now, [link, to]) => (now === link || now.startsWith(`${link}/`) ? to + now.slice(link.length) : now),
      path,
    );
    const known = [
      ...folders,
      '/data',
      '/run',
      '/opt',
      '/opt/engine',
      '/opt/engine/other',
      '/proc/1',
      '/srv/.git/x',
    ];
    if (/\.sock$|fifo$/.test(real)) return Promise.resolve<Found>({ real, kind: 'other' });
    if (/\.txt$/.test(real)) return Promise.resolve<Found>({ real, kind: 'file' });
    const inData = real.startsWith('/home/ada/.local') || real.startsWith('/data/');
    return Promise.resolve<Found | undefined>(
      known.includes(real) || inData ? { real, kind: 'folder' } : undefined,
    );
  },
};

async function refusal(wish: MountWish): Promise<string> {
  try {
    await readMounts([wish], around);
  } catch (thrown) {
    assert.ok(thrown instanceof Error && 'code' in thrown && 'mend' in thrown);
    assert.equal(thrown.code, 'invalid_input');
    assert.ok(String(thrown.mend).endsWith('.'));
    return thrown.message;
  }
  return assert.fail(`${JSON.stringify(wish)} was taken`);
}

describe('mounts', () => {
  it('are read in both forms, relative and with variables', async () => {
    const cases: [MountWish, string, string, boolean][] = [
      ['/data:/mnt/data:ro', '/data', '/mnt/data', true],
      ['/data:/mnt/data', '/data', '/mnt/data', true],
      ['/data:/mnt/data:rw', '/data', '/mnt/data', false],
      ['$DATA:/mnt/data', '/data', '/mnt/data', true],
      ['${DATA}/x:inside/../data', '/data/x', '/workspace/data', true],
      ['data:cache', '/home/ada/work/data', '/workspace/cache', true],
      ['./data:cache:rw', '/home/ada/work/data', '/workspace/cache', false],
      ['/data/$$HOME:/mnt/a', '/data/$HOME', '/mnt/a', true],
      ['~/work/data:/mnt/a', '/home/ada/work/data', '/mnt/a', true],
      [{ source: '/data', target: 'd' }, '/data', '/workspace/d', true],
      [{ source: '/data', target: '/d', readonly: false }, '/data', '/d', false],
      [{ source: '/data/a:b', target: '/d', readonly: true }, '/data/a:b', '/d', true],
      ['/home/ada/link/work/data:/d', '/home/ada/work/data', '/d', true],
      ['/home/ada/work:/d', '/home/ada/work', '/d', true],
      ['/data/x.txt:/d/x.txt', '/data/x.txt', '/d/x.txt', true],
    ];
    for (const [wish, source, target, readonly] of cases)
      assert.deepEqual(
        await readMounts([wish], around),
        [{ source, target, readonly }],
        JSON.stringify(wish),
      );
  });

  it('are refused where a source is missing, or is nothing to mount', async () => {
    assert.match(await refusal('/none:/d'), /there is no \/none/);
    assert.match(await refusal('none:/d'), /there is no \/home\/ada\/work\/none/);
    assert.match(await refusal('$NONE:/d'), /NONE is not set/);
    assert.match(await refusal('$EMPTY/x:/d'), /EMPTY is not set/);
    assert.match(await refusal('$(id):/d'), /names no variable/);
    assert.match(await refusal('/data/a,readonly=false:/d'), /comma/);
    assert.match(await refusal('/data:/d\n'), /control character/);
    assert.match(await refusal('/data/fifo:/d'), /neither a folder nor a file/);
    assert.match(await refusal('/data'), /not of the form/);
    assert.match(await refusal('/data:/d:wr'), /neither ro nor rw/);
  });

  it('never bring in the engine, the home folder, the system or our own data', async () => {
    for (const source of ['/', '/home', '/home/ada', '/home/ada/link', '~'])
      assert.match(await refusal(`${source}:/d`), /home folder/, source);
    for (const source of ['/opt', '/opt/engine'])
      assert.match(await refusal(`${source}:/d`), /socket of a container engine/, source);
    for (const source of ['/run', '/var/run', '/tmp/dock', '/proc/1'])
      assert.match(await refusal(`${source}:/d`), /system/, source);
    assert.match(await refusal('/var/run/docker.sock:/d'), /neither a folder nor a file/);
    for (const source of ['/home/ada/.local', '/home/ada/.local/share/sallyport/tasks'])
      assert.match(await refusal(`${source}:/d`), /data folder/, source);
    assert.equal((await readMounts(['/opt/engine/other:/d'], around)).length, 1);
  });

  it('never let an agent write what git on the host reads', async () => {
    for (const source of ['/home/ada/work', '/home/ada/work/.git', '/srv/.git/x'])
      assert.match(await refusal(`${source}:/d:rw`), /repository/, source);
  });

  it('cover nothing that the sandbox needs', async () => {
    for (const target of [
      ...['/', '/opt', '/opt/sallyport', '/opt/sallyport/bin', '/run', '/run/sallyport', '/run/sallyport/x'],
      ...[
        '/proc',
        '/proc/sys',
        '/sys',
        '/dev/shm',
        '/workspace',
        '.',
        '/home/agent',
        '/home',
        '/tmp',
        '.git',
        '.git/hooks',
        '../proc',
      ],
    ])
      assert.match(await refusal(`/data:${target}`), /needs|own/, target);
    await assert.rejects(readMounts(['/data:/d', '/data/x:/d/e'], around), /another mount/);
  });

  it('are told of when they can be written', () => {
    const mount = { source: '/data', target: '/d', readonly: false };
    assert.match(mountWarning(mount) ?? '', /can change \/data/);
    assert.equal(mountWarning({ ...mount, readonly: true }), undefined);
  });

  it('of settings are what they have to be', () => {
    assert.ok(MountWishes.safeParse(['/a:/b', { source: 'a', target: 'b' }]).success);
    for (const wrong of ['/a:/b', [1], [{ source: 'a' }], [{ source: 'a', target: 'b', readOnly: true }]])
      assert.ok(!MountWishes.safeParse(wrong).success, JSON.stringify(wrong));
  });

  it('have no name that the repository has', async () => {
    const path = aFolder();
    const repository = new GitRepo(join(path, 'r'));
    repository.write('data/x.txt', 'x');
    const commit = repository.commit('first');
    const at = (target: string) =>
      checkMountPoints([{ source: '/a', target, readonly: true }], { cwd: join(path, 'r') }, commit);
    await assert.rejects(at('/workspace/data'), /the repository has data itself/);
    await assert.rejects(at('/workspace/data/more'), { code: 'invalid_input' });
    await at('/workspace/other');
    await at('/data');
  });
});

describe("an image of the user's", () => {
  it('is named by a strict grammar', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const right = [
      'debian',
      'debian:trixie-slim',
      'localhost:5000/a/b:1',
      'registry.example.com/a_b/c--d',
      `a@${digest}`,
      `a:1@${digest}`,
    ];
    for (const text of right) assert.ok(isImageReference(text), text);
    const wrong = [
      '',
      'Debian',
      '-v',
      'a b',
      'a:',
      'a:b:c',
      '../a',
      'a//b',
      'https://a/b',
      'a@sha256:1',
      'a\n',
      `a${'b'.repeat(400)}`,
    ];
    for (const text of wrong) assert.ok(!isImageReference(text), text);
    assert.equal(wholeReference('debian'), 'debian:latest');
    assert.equal(wholeReference('localhost:5000/a'), 'localhost:5000/a:latest');
    assert.equal(wholeReference('localhost:5000/a:2'), 'localhost:5000/a:2');
    assert.equal(wholeReference(`localhost:5000/a:2@${digest}`), `localhost:5000/a@${digest}`);
  });

  it('is refused for another machine, and where it lays volumes over what is ours', () => {
    assert.equal(
      problemWithImage(
        { platform: 'linux/amd64', volumes: ['/workspace', '/data', '/optional'] },
        'linux/amd64',
      ),
      undefined,
    );
    assert.match(
      problemWithImage({ platform: 'linux/arm64', volumes: [] }, 'linux/amd64')?.message ?? '',
      /linux\/arm64/,
    );
    for (const path of [
      '/opt/sallyport',
      '/opt/sallyport/bin/',
      '/opt',
      '/run/sallyport/model.sock',
      '/proc/x',
    ])
      assert.match(
        problemWithImage({ platform: 'linux/amd64', volumes: [path] }, 'linux/amd64')?.message ?? '',
        /declares a volume/,
        path,
      );
  });

  it('bends no program of ours by its environment, and our tools come last', () => {
    const env = {
      PATH: '/own',
      LD_PRELOAD: '/evil.so',
      NODE_OPTIONS: '-r /evil',
      HOME: '/root',
      JAVA_HOME: '/java',
    };
    assert.deepEqual(environmentOf({ env }), {
      PATH: '/own:/opt/sallyport/bin',
      LD_PRELOAD: '',
      NODE_OPTIONS: '',
      HOME: '/home/agent',
    });
    assert.match(environmentOf({ env: {} })['PATH'] ?? '', /^\/usr\/local\/sbin:.*:\/opt\/sallyport\/bin$/);
    assert.deepEqual(
      imageEnvironment({
        ...env,
        ANTHROPIC_API_KEY: 'evil',
        CLAUDE_CODE_USE_VERTEX: '1',
        AWS_PROFILE: 'x',
        GIT_DIR: '/x',
      }),
      {
        PATH: '/own',
        HOME: '/root',
        JAVA_HOME: '/java',
      },
    );
  });

  it('has to have git, bash and the C library of the agent', async () => {
    const path = aFolder();
    const program = (name: string): void => {
      writeFileSync(join(path, name), '#!/bin/sh\n');
      chmodSync(join(path, name), 0o755);
    };
    const loader = join(path, 'loader');
    const problem = async () => (await problemWithOwnImage(`/none:${path}`, [loader]))?.message ?? '';
    assert.match(await problem(), /no git and no bash/);
    program('bash');
    assert.match(await problem(), /no git,/);
    program('git');
    assert.match(await problem(), /GNU C library/);
    writeFileSync(loader, '');
    assert.equal(await problem(), '');
  });

  it('is built from a folder of bounded size, under a name that is the hash of its content', async () => {
    const path = aFolder();
    const dockerfile = join(path, 'Dockerfile');
    writeFileSync(dockerfile, 'FROM debian:trixie-slim\n');
    writeFileSync(join(path, '.dockerignore'), '# a comment\nnode_modules\n*.log\n!keep.log\n');
    mkdirSync(join(path, 'node_modules'));
    mkdirSync(join(path, '.git'));
    for (const name of ['node_modules/a', '.git/config', 'a.log', 'keep.log', 'b.txt'])
      writeFileSync(join(path, name), name);
    symlinkSync('/etc/passwd', join(path, 'link'));
    const first = await ownRecipe(dockerfile, {});
    assert.deepEqual(
      first.files.map(({ path: name, link }) => link ?? name),
      ['.dockerignore', 'Dockerfile', 'b.txt', 'keep.log', '/etc/passwd'],
    );
    assert.match(first.tag, /^localhost\/sallyport\/own:[0-9a-f]{12}$/);
    writeFileSync(join(path, 'a.log'), 'changed');
    assert.equal((await ownRecipe(dockerfile, { HTTP_PROXY: 'http://proxy.example.com' })).tag, first.tag);
    writeFileSync(join(path, 'b.txt'), 'changed');
    assert.notEqual((await ownRecipe(dockerfile, {})).tag, first.tag);
    await assert.rejects(ownRecipe(dockerfile, {}, { bytes: 10, files: 100 }), {
      code: 'image_build_failed',
    });
    await assert.rejects(
      ownRecipe(dockerfile, {}, { bytes: 1000, files: 2 }),
      /Put the Dockerfile|more than/,
    );
  });

  it('and its Dockerfile are read against the repository', async () => {
    const path = aFolder();
    const workspaceFolder = join(path, 'work');
    mkdirSync(workspaceFolder);
    writeFileSync(join(path, 'Dockerfile'), 'FROM a\n');
    symlinkSync('../Dockerfile', join(workspaceFolder, 'out'));
    writeFileSync(join(workspaceFolder, 'Dockerfile'), 'FROM a\n');
    const read = (wish: Parameters<typeof readIsolation>[0]) =>
      readIsolation(wish, {
        workspaceFolder,
        dataFolder: join(path, 'data'),
        engineSetting: undefined,
        env: {},
      });
    const plain = { readonlyRoot: false };
    assert.deepEqual(await read(plain), plain);
    assert.match(
      (await read({ ...plain, dockerfile: 'Dockerfile' })).dockerfile ?? '',
      /\/work\/Dockerfile$/,
    );
    assert.ok((await read({ ...plain, dockerfile: join(path, 'Dockerfile') })).dockerfile);
    for (const dockerfile of ['../Dockerfile', 'out', 'none', '.'])
      await assert.rejects(read({ ...plain, dockerfile }), { code: 'invalid_input' }, dockerfile);
    await assert.rejects(read({ ...plain, dockerfile: 'Dockerfile', image: 'a' }), /both named/);
    await assert.rejects(read({ ...plain, image: 'A B' }), /no reference/);
    writeFileSync(join(workspaceFolder, 'x.txt'), '');
    assert.equal((await read({ ...plain, mounts: ['x.txt:/mnt/x.txt'] })).mounts?.length, 1);
  });
});
