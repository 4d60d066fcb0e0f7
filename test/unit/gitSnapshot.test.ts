import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openRepository } from '../../src/git/repository.ts';
import { snapshotRef } from '../../src/git/outgoingBundles.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { takeSnapshot } from '../../src/git/snapshot.ts';
import type { Snapshot, SnapshotMode } from '../../src/protocol/task.ts';
import { GitRepo, collect, fingerprint, temporaryFolder } from '../support/gitRepo.ts';

describe('git snapshot', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let user: GitRepo;
  let quarantine: Quarantine;
  let inQuarantine: GitRepo;

  beforeEach(() => {
    folder = temporaryFolder();
    user = new GitRepo(join(folder.path, 'My Project'));
  });
  afterEach(() => folder.dispose());

  /** Takes a snapshot and proves that nothing in the user's folder was written. */
  async function take(mode: SnapshotMode, at = user.path): Promise<Snapshot> {
    const repository = await openRepository(at);
    quarantine = Quarantine.open(join(folder.path, 'quarantines'), repository.ref.id);
    inQuarantine = new GitRepo(quarantine.gitDir, { init: false });
    const before = fingerprint(user.path);
    const snapshot = await takeSnapshot(repository, quarantine, mode);
    assert.deepEqual(fingerprint(user.path), before);
    return snapshot;
  }

  it('is HEAD itself in mode head, whatever was edited', async () => {
    user.write('a.txt', 'one\n');
    const head = user.commit('one');
    user.write('a.txt', 'two\n');
    const snapshot = await take('head');
    assert.deepEqual(snapshot, { mode: 'head', commit: head, head, headBranch: 'main' });
    assert.deepEqual(inQuarantine.files(head), { 'a.txt': '100644 one\n' });
  });

  it('is HEAD itself when nothing was changed', async () => {
    user.write('a.txt', 'one\n');
    user.write('.gitignore', 'ignored\n');
    const head = user.commit('one');
    user.write('ignored', 'secret');
    assert.equal((await take('tracked')).commit, head);
    assert.equal((await take('untracked')).commit, head);
  });

  it('holds exactly the edits that the mode asks for', async () => {
    for (const name of ['same', 'edited', 'staged', 'both', 'deleted', 'removed', 'mode', 'link']) {
      user.write(name, `${name} 1\n`);
    }
    user.write('.gitignore', '*.log\nsecret/\n');
    const head = user.commit('one');
    user.write('edited', 'edited 2\n');
    user.write('staged', 'staged 2\n');
    user.write('both', 'both 2\n');
    user.git('add', 'staged', 'both');
    user.write('both', 'both 3\n');
    rmSync(join(user.path, 'deleted'));
    user.git('rm', '--quiet', 'removed');
    chmodSync(join(user.path, 'mode'), 0o755);
    rmSync(join(user.path, 'link'));
    symlinkSync('../outside', join(user.path, 'link'));
    user.write('new-staged', 'new\n');
    user.git('add', 'new-staged');
    user.write('intent', 'intent\n');
    user.git('add', '--intent-to-add', 'intent');
    user.write('untracked', 'u\n');
    user.write('deep/er/untracked', 'd\n');
    user.write('x.log', 'ignored');
    user.write('secret/key', 'ignored');
    user.write('deep/y.log', 'ignored');

    const tracked = {
      '.gitignore': '100644 *.log\nsecret/\n',
      both: '100644 both 3\n',
      edited: '100644 edited 2\n',
      intent: '100644 intent\n',
      link: '120000 ../outside',
      mode: '100755 mode 1\n',
      'new-staged': '100644 new\n',
      same: '100644 same 1\n',
      staged: '100644 staged 2\n',
    };
    const first = await take('tracked');
    assert.equal(first.head, head);
    assert.deepEqual(inQuarantine.files(first.commit), tracked);
    const second = await take('untracked');
    assert.deepEqual(inQuarantine.files(second.commit), {
      ...tracked,
      'deep/er/untracked': '100644 d\n',
      untracked: '100644 u\n',
    });
    assert.equal(
      inQuarantine.git('log', '-1', '--format=%P %an %ae %s', second.commit),
      `${head} Ada Example ada@example.org Sallyport snapshot: uncommitted changes`,
    );
    assert.equal(inQuarantine.code('fsck', '--strict', '--connectivity-only'), 0);
    assert.equal(inQuarantine.git('rev-parse', `refs/bases/${second.commit}`), second.commit);
  });

  it('brings in what was staged after the history was brought in', async () => {
    user.write('a', '1\n');
    user.commit('one');
    await take('head');
    user.write('a', 'staged\n');
    user.write('b', 'staged too\n');
    // Long ago, so that git takes the index's word and does not write the content again by itself.
    for (const name of ['a', 'b']) utimesSync(join(user.path, name), 1_000_000_000, 1_000_000_000);
    user.git('add', 'a', 'b');
    const { commit } = await take('tracked');
    assert.deepEqual(inQuarantine.files(commit), { a: '100644 staged\n', b: '100644 staged too\n' });
  });

  it('starts from a commit without files, and from a repository without an index', async () => {
    const head = user.commit('nothing');
    assert.equal((await take('tracked')).commit, head);
    user.write('a', '1\n');
    assert.deepEqual(inQuarantine.files((await take('untracked')).commit), { a: '100644 1\n' });
    user.commit('one');
    rmSync(join(user.path, '.git/index'));
    assert.deepEqual(inQuarantine.files((await take('tracked')).commit), {});
    assert.deepEqual(inQuarantine.files((await take('untracked')).commit), { a: '100644 1\n' });
  });

  it('sees an edit of the same size in the very moment of the last staging', async () => {
    user.write('a', 'one\n');
    user.commit('one');
    const time = statSync(join(user.path, '.git/index')).mtime;
    user.write('a', 'two\n');
    utimesSync(join(user.path, 'a'), time, time);
    utimesSync(join(user.path, '.git/index'), time, time);
    const { commit } = await take('tracked');
    assert.deepEqual(inQuarantine.files(commit), { a: '100644 two\n' });
  });

  it('takes file names of any bytes', async () => {
    const names = [
      'a\nb',
      '"quoted"',
      "'single'",
      '-rf',
      '--all',
      ' spaces ',
      '🦀 crab',
      'tab\there',
      'back\\slash',
      ':(top)x',
      '*',
    ];
    for (const name of names) user.write(name, '1\n');
    const odd = Buffer.concat([Buffer.from(`${user.path}/`), Buffer.from([0x66, 0xff, 0xfe])]);
    writeFileSync(odd, '1\n');
    user.commit('one');
    for (const name of names) user.write(name, '2\n');
    writeFileSync(odd, '2\n');
    for (const name of names) user.write(`new/${name}`, '3\n');
    writeFileSync(Buffer.concat([Buffer.from(`${user.path}/new/`), Buffer.from([0xc3, 0x28])]), '3\n');
    const { commit } = await take('untracked');
    const latin1 = (name: string): string => Buffer.from(name).toString('latin1');
    const expected: Record<string, string> = { 'f\xff\xfe': '100644 2\n', 'new/\xc3(': '100644 3\n' };
    for (const name of names) {
      expected[latin1(name)] = '100644 2\n';
      expected[`new/${latin1(name)}`] = '100644 3\n';
    }
    assert.deepEqual(inQuarantine.files(commit), expected);
  });

  it("follows the user's line endings and filters", async () => {
    user.git('config', 'core.autocrlf', 'true');
    user.git('config', 'filter.shout.clean', 'tr a-z A-Z');
    user.write('.gitattributes', '*.shout filter=shout\n*.bin -text\n');
    user.write('a.txt', 'one\r\n');
    user.commit('one');
    user.write('a.txt', 'two\r\n');
    user.write('b.shout', 'hello\n');
    user.write('c.bin', 'raw\r\n');
    const { commit } = await take('untracked');
    assert.deepEqual(inQuarantine.files(commit), {
      '.gitattributes': '100644 *.shout filter=shout\n*.bin -text\n',
      'a.txt': '100644 two\n',
      'b.shout': '100644 HELLO\n',
      'c.bin': '100644 raw\r\n',
    });
  });

  it('runs no hook and no file system monitor of the repository', async () => {
    user.write('a', '1\n');
    user.commit('one');
    const witness = join(folder.path, 'witness');
    for (const hook of [
      'post-index-change',
      'reference-transaction',
      'pre-commit',
      'post-commit',
      'fsmonitor',
    ]) {
      user.write(`.git/hooks/${hook}`, `#!/bin/sh\necho ${hook} >> '${witness}'\n`);
      chmodSync(join(user.path, '.git/hooks', hook), 0o755);
    }
    user.git('config', 'core.fsmonitor', join(user.path, '.git/hooks/fsmonitor'));
    user.write('a', '2\n');
    await take('untracked');
    assert.equal(existsSync(witness), false);
  });

  it('works from a linked worktree, a subfolder and a detached HEAD', async () => {
    user.write('sub/a', '1\n');
    const head = user.commit('one');
    const other = new GitRepo(join(folder.path, 'other'), { init: false });
    user.git('worktree', 'add', '--quiet', '--detach', other.path);
    other.write('sub/a', '2\n');
    user.write('sub/a', '3\n');
    const before = fingerprint(other.path);
    const snapshot = await take('tracked', join(other.path, 'sub'));
    assert.deepEqual(fingerprint(other.path), before);
    assert.equal(snapshot.headBranch, undefined);
    assert.equal(snapshot.head, head);
    assert.deepEqual(inQuarantine.files(snapshot.commit), { 'sub/a': '100644 2\n' });
    const main = await take('tracked');
    assert.deepEqual(inQuarantine.files(main.commit), { 'sub/a': '100644 3\n' });
  });

  it('keeps submodules as commit names and leaves nested repositories out', async () => {
    const library = new GitRepo(join(folder.path, 'library'));
    library.write('l', '1\n');
    const pinned = library.commit('one');
    user.git('-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', library.path, 'lib');
    user.commit('with a submodule');
    const nested = new GitRepo(join(user.path, 'nested'));
    nested.write('n', '1\n');
    nested.commit('one');
    mkdirSync(join(user.path, 'empty-nested'));
    new GitRepo(join(user.path, 'empty-nested'));
    user.write('lib/l', 'dirty\n');
    user.write('plain', '1\n');
    const { commit } = await take('untracked');
    const files = inQuarantine.files(commit);
    assert.deepEqual(Object.keys(files), ['.gitmodules', 'lib', 'plain']);
    assert.equal(files.lib, `160000 ${pinned}`);
    assert.equal((await openRepository(user.path)).hasSubmodules, true);
  });

  it('follows HEAD when it moves, and needs only what is new', async () => {
    user.write('a', '1\n');
    user.commit('one');
    await take('head');
    user.write('a', '2\n');
    const second = user.commit('two');
    user.git('gc', '--quiet');
    assert.equal((await take('head')).commit, second);
    assert.deepEqual(inQuarantine.files(second), { a: '100644 2\n' });
    assert.equal(inQuarantine.git('rev-list', '--count', second), '2');
  });

  it('copies what a repository borrows from another', async () => {
    const origin = new GitRepo(join(folder.path, 'origin'));
    origin.write('a', '1\n');
    const head = origin.commit('one');
    rmSync(user.path, { recursive: true });
    execFileSync('git', ['clone', '--quiet', '--shared', origin.path, user.path]);
    await take('head');
    rmSync(origin.path, { recursive: true });
    assert.deepEqual(inQuarantine.files(head), { a: '100644 1\n' });
  });

  it('survives a repository whose objects were packed and pruned by its user afterwards', async () => {
    user.write('a', '1\n');
    const head = user.commit('one');
    await take('head');
    user.git('checkout', '--quiet', '--orphan', 'fresh');
    user.commit('other');
    user.git('branch', '-D', 'main');
    user.git('reflog', 'expire', '--expire=now', '--all');
    user.git('gc', '--quiet', '--prune=now');
    assert.deepEqual(inQuarantine.files(head), { a: '100644 1\n' });
  });

  it('is streamed out as a bundle with the whole history', async () => {
    user.write('a', '1\n');
    user.commit('one');
    user.write('a', '2\n');
    const { commit } = await take('tracked');
    const bundle = join(folder.path, 'x.bundle');
    writeFileSync(bundle, await collect(quarantine.snapshotBundle({ commit })));
    const clone = new GitRepo(join(folder.path, 'clone'));
    clone.git('fetch', '--quiet', bundle, `${snapshotRef}:refs/heads/work`);
    assert.equal(clone.git('rev-parse', 'work'), commit);
    assert.deepEqual(clone.files('work'), { a: '100644 2\n' });
    assert.equal(clone.code('fsck', '--strict'), 0);
  });

  it('lets several processes bring in the same repository at once', async () => {
    for (let n = 0; n < 50; n++) user.write(`f${n}`, `${n}\n`);
    user.commit('one');
    user.write('f1', 'edited\n');
    const repository = await openRepository(user.path);
    const root = join(folder.path, 'quarantines');
    const script = `
      import { openRepository } from ${JSON.stringify(join(import.meta.dirname, '../../src/git/repository.ts'))};
      import { Quarantine } from ${JSON.stringify(join(import.meta.dirname, '../../src/git/quarantine.ts'))};
      import { takeSnapshot } from ${JSON.stringify(join(import.meta.dirname, '../../src/git/snapshot.ts'))};
      const repository = await openRepository(process.argv[1]);
      const take = () => takeSnapshot(repository, Quarantine.open(process.argv[2], repository.ref.id), 'tracked');
      const [one, two] = await Promise.all([take(), take()]);
      console.log(one.commit, two.commit);`;
    const runs = Array.from({ length: 2 }, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, user.path, root]);
      const [out, code] = await Promise.all([
        collect(child.stdout),
        new Promise((resolve) => child.once('close', resolve)),
      ]);
      assert.equal(code, 0);
      return out.toString().trim().split(' ');
    });
    const commits = (await Promise.all(runs)).flat();
    assert.equal(commits.length, 4);
    const held = new GitRepo(Quarantine.open(root, repository.ref.id).gitDir, { init: false });
    for (const commit of commits) assert.equal(held.files(commit).f1, '100644 edited\n');
    assert.equal(held.code('fsck', '--strict'), 0);
    assert.deepEqual(readdirSync(root), [`${repository.ref.id}.git`]);
  });

  it('is private to its user, and takes up after a process that was killed', async () => {
    user.write('a', '1\n');
    const head = user.commit('one');
    await take('head');
    assert.equal(statSync(quarantine.gitDir).mode & 0o777, 0o700);
    // As after a kill in the middle of the first adoption: no ref yet, some objects missing, a marker left.
    inQuarantine.git('update-ref', '-d', `refs/bases/${head}`);
    rmSync(join(quarantine.objects, head.slice(0, 2)), { recursive: true });
    writeFileSync(
      join(
        quarantine.gitDir,
        'sallyport-usage',
        `prune.${hostname().replaceAll(/[^A-Za-z0-9]/g, '')}.4194305.abc`,
      ),
      '',
    );
    await take('head');
    assert.equal(inQuarantine.code('fsck', '--strict'), 0);
    assert.deepEqual(inQuarantine.files(head), { a: '100644 1\n' });
  });

  it('refuses a repository that is larger than the free space, with numbers', async () => {
    user.write('a', 'x'.repeat(3_000_000));
    user.commit('one');
    const repository = await openRepository(user.path);
    const room = (free: number) => ({ statfs: () => Promise.resolve({ bavail: free, bsize: 1 }) });
    quarantine = Quarantine.open(join(folder.path, 'q'), repository.ref.id);
    await assert.rejects(takeSnapshot(repository, quarantine, 'head', undefined, room(5_000_000)), {
      code: 'repository_too_large',
      message: /My Project may need 7 MB, and only 5 MB are free/,
    });
    await takeSnapshot(repository, quarantine, 'head', undefined, room(50_000_000));
  });

  it('can be cancelled, and leaves no temporary file', async () => {
    user.write('a', '1\n');
    user.commit('one');
    const begun = join(folder.path, 'begun');
    user.git('config', 'filter.slow.clean', `touch '${begun}'; sleep 300; cat`);
    user.write('.gitattributes', 'b filter=slow\n');
    user.write('b', '1\n');
    const repository = await openRepository(user.path);
    quarantine = Quarantine.open(join(folder.path, 'q'), repository.ref.id);
    await quarantine.adopt(repository);
    const left = (name: string): string[] => {
      const path = join(quarantine.gitDir, name);
      return existsSync(path) ? readdirSync(path) : [];
    };

    const controller = new AbortController();
    const taking = takeSnapshot(repository, quarantine, 'untracked', controller.signal);
    const cancelled = assert.rejects(taking, { code: 'cancelled' });
    while (!existsSync(begun)) await delay(5);
    assert.equal(left('sallyport-tmp').length, 1);
    controller.abort();
    await cancelled;
    assert.deepEqual(left('sallyport-tmp'), []);
    assert.deepEqual(left('sallyport-usage'), []);

    const before = takeSnapshot(repository, quarantine, 'untracked', AbortSignal.abort());
    await assert.rejects(before, { code: 'cancelled' });
    assert.deepEqual([...left('sallyport-tmp'), ...left('sallyport-usage')], []);
  });
});

describe('git repository', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeEach(() => (folder = temporaryFolder()));
  afterEach(() => folder.dispose());

  it('knows where it is, who works in it and what stays at home', async () => {
    const user = new GitRepo(join(folder.path, 'Größe & Co'));
    user.write('sub/.gitattributes', '*.psd filter=lfs diff=lfs merge=lfs -text\n');
    const head = user.commit('one');
    const found = await openRepository(join(user.path, 'sub'));
    assert.match(found.ref.id, /^gr-e-co-[0-9a-f]{16}$/);
    assert.deepEqual(
      { ...found, ref: { ...found.ref, id: '' } },
      {
        ref: { id: '', name: 'Größe & Co', path: user.path },
        workTree: user.path,
        gitDir: join(user.path, '.git'),
        commonDir: join(user.path, '.git'),
        head,
        headBranch: 'main',
        identity: { name: 'Ada Example', email: 'ada@example.org' },
        hasSubmodules: false,
        usesLfs: true,
      },
    );
    user.git('worktree', 'add', '--quiet', join(folder.path, 'wt'));
    assert.equal((await openRepository(join(folder.path, 'wt'))).ref.id, found.ref.id);
  });

  it('says what is wrong with a folder, each with a mend', async () => {
    const refuses = async (path: string, code: string, message: RegExp): Promise<void> => {
      await assert.rejects(openRepository(path), (thrown: Error & { code: string; mend: string }) => {
        assert.equal(thrown.code, code);
        assert.match(thrown.message, message);
        assert.match(thrown.mend, /\w+/);
        return true;
      });
    };
    const at = (name: string): string => join(folder.path, name);
    mkdirSync(at('plain'));
    await refuses(at('plain'), 'no_repository', /not in a git repository/);
    await refuses(at('absent'), 'no_repository', /no folder/);
    new GitRepo(at('bare'), { bare: true });
    await refuses(at('bare'), 'bare_repository', /bare/);
    const user = new GitRepo(at('user'));
    await refuses(user.path, 'no_commit', /no commit/);
    user.write('a', '1\n');
    user.commit('one');
    await refuses(join(user.path, '.git'), 'no_repository', /\.git/);
    user.git('checkout', '--quiet', '-b', 'other');
    user.write('a', '2\n');
    user.commit('two');
    user.git('checkout', '--quiet', 'main');
    user.write('a', '3\n');
    user.commit('three');
    for (const [command, name] of [
      ['merge', 'merge'],
      ['rebase', 'rebase'],
      ['cherry-pick', 'cherry-pick'],
    ] as const) {
      assert.notEqual(user.code(command, 'other'), 0);
      await refuses(user.path, 'operation_in_progress', new RegExp(`${name} is in progress`));
      assert.notEqual((await openRepository(user.path, undefined, { duringOperation: true })).head, '');
      user.git(command, '--abort');
    }
    user.write('a', 'stashed\n');
    user.git('stash', '--quiet');
    user.write('a', '4\n');
    user.commit('four');
    assert.notEqual(user.code('stash', 'apply'), 0);
    await refuses(user.path, 'operation_in_progress', /conflicts/);
    user.git('reset', '--quiet', '--hard');
    execFileSync('git', ['clone', '--quiet', '--depth=1', `file://${user.path}`, at('shallow')]);
    await refuses(at('shallow'), 'unsupported_repository', /shallow/);
    user.git('config', 'uploadpack.allowFilter', 'true');
    execFileSync('git', ['clone', '--quiet', '--filter=blob:none', `file://${user.path}`, at('partial')], {
      stdio: 'ignore',
    });
    await refuses(at('partial'), 'unsupported_repository', /partial/);
    execFileSync('git', ['init', '--quiet', '--object-format=sha256', at('sha256')]);
    await refuses(at('sha256'), 'unsupported_repository', /sha256/);
  });

  it('passes on that git does not trust the folder', async function () {
    if (process.getuid?.() !== 0) this.skip();
    const user = new GitRepo(join(folder.path, 'foreign'));
    user.commit('one');
    execFileSync('chown', ['-R', '12345', user.path]);
    await assert.rejects(openRepository(user.path), {
      code: 'unsupported_repository',
      mend: /safe\.directory/,
    });
  });

  it('opens in the middle of a bisection', async () => {
    const user = new GitRepo(join(folder.path, 'user'));
    user.commit('one');
    user.git('bisect', 'start');
    await openRepository(user.path);
  });
});
