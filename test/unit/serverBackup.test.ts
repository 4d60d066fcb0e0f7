import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SallyportError } from '../../src/base/errors.ts';
import { migrations } from '../../src/server/migrations.ts';
import { backUp, restore } from '../../src/server/operation/backup.ts';
import { openStore } from '../../src/server/store.ts';

const run = promisify(execFile);

describe('backup of the data folder', () => {
  let folder: string;
  let data: string;
  const file = (): string => join(folder, 'backup.tar.gz');

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-backup-'));
    data = join(folder, 'data');
    await mkdir(join(data, 'tasks', 'one'), { recursive: true });
    await mkdir(join(data, 'uploads'), { recursive: true });
    await writeFile(join(data, 'secret.key'), 'key', { mode: 0o600 });
    await writeFile(join(data, 'server'), 'claim');
    await writeFile(join(data, 'uploads', 'half'), 'half');
    await writeFile(join(data, 'tasks', 'one', 'owner'), 'claim');
    await writeFile(join(data, 'tasks', 'one', 'events.ndjson'), '{"n":1}\n'.repeat(10_000));
    const quarantine = join(data, 'quarantine', 'repo.git');
    await run('git', ['init', '-q', '--bare', quarantine]);
    const hashed = await run('git', ['-C', quarantine, 'hash-object', '-t', 'tree', '-w', '/dev/null']);
    const tree = hashed.stdout.trim();
    const env = {
      ...process.env,
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@example.com',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@example.com',
    };
    const { stdout } = await run('git', ['-C', quarantine, 'commit-tree', tree, '-m', 'First'], { env });
    await run('git', ['-C', quarantine, 'update-ref', 'refs/tasks/one/tip', stdout.trim()]);
    const store = openStore(join(data, 'runner.sqlite'));
    store.prepare('INSERT INTO settings VALUES (?, ?)').run('greeting', 'hello');
    store.close();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('comes back with all that is worth keeping, for its owner only', async () => {
    // A server has the store open, and writes.
    const live = openStore(join(data, 'runner.sqlite'));
    live.exec("BEGIN IMMEDIATE; INSERT INTO settings VALUES ('half', 'done')");
    const count = await backUp(data, file());
    live.exec('ROLLBACK');
    live.close();
    assert.equal((await stat(file())).mode & 0o777, 0o600);
    const again = join(folder, 'again');
    assert.equal(await restore(file(), again), count);
    assert.equal(await readFile(join(again, 'secret.key'), 'utf8'), 'key');
    assert.equal((await stat(join(again, 'tasks', 'one', 'events.ndjson'))).size, 80_000);
    assert.deepEqual((await readdir(again)).sort(), ['quarantine', 'runner.sqlite', 'secret.key', 'tasks']);
    assert.deepEqual(await readdir(join(again, 'tasks', 'one')), ['events.ndjson']);
    await run('git', ['-C', join(again, 'quarantine', 'repo.git'), 'fsck', '--strict']);
    const log = await run('git', [
      '-C',
      join(again, 'quarantine', 'repo.git'),
      'log',
      '--format=%s',
      'refs/tasks/one/tip',
    ]);
    assert.equal(log.stdout, 'First\n');
    const store = openStore(join(again, 'runner.sqlite'));
    assert.deepEqual(
      store
        .prepare('SELECT key FROM settings')
        .all()
        .map((row) => row['key']),
      ['greeting'],
    );
    store.close();
    assert.deepEqual((await readdir(folder)).sort(), ['again', 'backup.tar.gz', 'data']);
  });

  it('is taken while logs grow', async () => {
    const growing = { on: true };
    const writer = (async () => {
      while (growing.on)
        await appendFile(join(data, 'tasks', 'one', 'events.ndjson'), '{"n":2}\n'.repeat(500));
    })();
    for (let i = 0; i < 5; i++) {
      await backUp(data, file());
      const again = join(folder, `again-${i}`);
      await restore(file(), again);
      const log = await readFile(join(again, 'tasks', 'one', 'events.ndjson'), 'utf8');
      assert.ok(log.startsWith('{"n":1}\n') && log.length >= 80_000);
    }
    growing.on = false;
    await writer;
  });

  it('is refused when it is cut off or changed, and then nothing stands in its place', async () => {
    await backUp(data, file());
    const { size } = await stat(file());
    const again = join(folder, 'again');
    const refused = (thrown: unknown) => thrown instanceof SallyportError && thrown.code === 'invalid_input';
    for (const keep of [size - 1, Math.floor(size / 2), 10, 0]) {
      await truncate(file(), keep);
      await assert.rejects(restore(file(), again), refused, `${keep} bytes`);
      assert.deepEqual((await readdir(folder)).sort(), ['backup.tar.gz', 'data']);
      await backUp(data, file());
    }
    const bytes = await readFile(file());
    bytes[Math.floor(size / 2)] = (bytes[Math.floor(size / 2)] ?? 0) ^ 0xff;
    await writeFile(file(), bytes);
    await assert.rejects(restore(file(), again), refused);
  });

  it('never comes over data that is there', async () => {
    await backUp(data, file());
    await assert.rejects(
      restore(file(), data),
      (thrown: unknown) => thrown instanceof SallyportError && thrown.code === 'conflict',
    );
    await assert.rejects(
      backUp(join(folder, 'none'), file()),
      (thrown: unknown) => thrown instanceof SallyportError && thrown.code === 'not_found',
    );
  });

  it('takes no name that leads out of its folder', async () => {
    const { pack } = await import('tar-stream');
    const { createGzip } = await import('node:zlib');
    const { pipeline } = await import('node:stream/promises');
    const { createWriteStream } = await import('node:fs');
    for (const header of [
      { name: '../evil', type: 'file' as const },
      { name: '/tmp/evil', type: 'file' as const },
      { name: 'tasks/../../evil', type: 'file' as const },
      { name: 'link', type: 'symlink' as const, linkname: '/etc' },
    ]) {
      const archive = pack();
      if (header.type === 'symlink') archive.entry(header);
      else archive.entry(header, 'evil');
      archive.finalize();
      await pipeline(archive, createGzip(), createWriteStream(file()));
      await assert.rejects(restore(file(), join(folder, 'again')), /which no backup has/);
      assert.deepEqual((await readdir(folder)).sort(), ['backup.tar.gz', 'data']);
    }
  });

  it('refuses a store of a newer version', async () => {
    const store = openStore(join(data, 'runner.sqlite'));
    store.exec(`PRAGMA user_version = ${migrations.length + 1}`);
    store.close();
    await backUp(data, file());
    await assert.rejects(
      restore(file(), join(folder, 'again')),
      (thrown: unknown) => thrown instanceof SallyportError && thrown.code === 'runner_version',
    );
  });
});
