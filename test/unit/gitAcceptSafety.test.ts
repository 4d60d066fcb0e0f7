import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { unsafePath } from '../../src/git/accept/paths.ts';
import { doneAccepts, recoverAccepts } from '../../src/git/accept/recover.ts';
import { undoAccept } from '../../src/git/accept/undo.ts';
import { openRepository } from '../../src/git/repository.ts';
import { AcceptBench, undoOf } from '../support/acceptBench.ts';
import { GitRepo } from '../support/gitRepo.ts';
import { seen } from '../support/seen.ts';

const files = { kind: 'tree', staged: false } as const;
const staged = { kind: 'tree', staged: true } as const;
const commits = { kind: 'commits' } as const;
const branch = { kind: 'branch', branch: 'made' } as const;

/** Root of a container may be kept from it. */
const canMount =
  process.platform === 'linux' &&
  spawnSync('unshare', ['--mount', 'true']).status === 0 &&
  process.getuid?.() === 0;

describe('git accept, safely', () => {
  let bench: AcceptBench;

  beforeEach(async () => {
    bench = new AcceptBench();
    bench.user.write('text', 'one\ntwo\nthree\nfour\nfive\nsix\n');
    bench.user.write('folder/file', 'file\n');
    bench.user.write('folder/other', 'other\n');
    bench.user.commit('one');
    await bench.begin();
  });
  afterEach(() => bench.dispose());

  async function work(changes: Record<string, string | Uint8Array>): Promise<string[]> {
    for (const [path, content] of Object.entries(changes)) bench.sandbox.write(path, content);
    bench.sandbox.commit('work');
    return await bench.end();
  }
  const text = (path: string): string => readFileSync(join(bench.user.path, path), 'utf8');

  it('knows what is .git to any file system, and what leads out', () => {
    for (const path of [
      '.git',
      'a/.GIT/config',
      'git~1/x',
      '.git . /x',
      '.git::$INDEX_ALLOCATION/x',
      '../x',
      'a/../x',
      '/x',
      'a//x',
      '',
      './x',
      'a/',
    ])
      assert.notEqual(unsafePath(path), undefined, path);
    for (const name of ['.g\u200cit', '.gi\u200et', '.\u206agit'])
      assert.notEqual(unsafePath(Buffer.from(name).toString('latin1')), undefined, name);
    for (const path of ['.gitignore', '.github/x', 'git', 'a.git', '.gitx', '..a', 'git~a', 'a\\b', 'CON'])
      assert.equal(unsafePath(path, 'linux'), undefined, path);
    for (const path of ['a\\b', 'CON', 'con.txt', 'a:b', 'a.', 'a ', 'x/aux/y', 'a?'])
      assert.notEqual(unsafePath(path, 'win32'), undefined, path);
  });

  it("writes files by the user's line endings and filters, as they are now, and merges by them", async () => {
    const { user } = bench;
    user.git('config', 'filter.shift.smudge', 'tr a-y b-z');
    user.git('config', 'filter.shift.clean', 'tr b-z a-y');
    user.write(
      '.gitattributes',
      'crlf text eol=crlf\nshifted filter=shift\nwide working-tree-encoding=UTF-16LE\n',
    );
    user.write('crlf', 'a\r\nb\r\nc\r\nd\r\ne\r\n');
    user.write('shifted', 'bcd\n\n\n\nefg\n');
    user.write('wide', Buffer.from('x\n', 'utf16le'));
    user.commit('with attributes');
    await bench.begin();
    bench.sandbox.write('crlf', 'a\nb\nc\nd\nE\n');
    const list = await work({
      shifted: 'abc\n\n\n\nxxx\n',
      wide: 'y\n',
      '.gitattributes': '* -text -filter\n',
    });
    user.write('crlf', 'A\r\nb\r\nc\r\nd\r\ne\r\n');
    user.write('shifted', 'qqq\n\n\n\nefg\n');
    const before = seen(user.path);
    const result = await bench.accept(staged, list);
    assert.equal(text('crlf'), 'A\r\nb\r\nc\r\nd\r\nE\r\n');
    assert.equal(text('shifted'), 'qqq\n\n\n\nyyy\n');
    assert.deepEqual(readFileSync(join(user.path, 'wide')), Buffer.from('y\n', 'utf16le'));
    await undoAccept(bench.journal, undoOf(result));
    assert.deepEqual(seen(user.path), before);
    user.git('config', 'filter.shift.smudge', 'false');
    user.git('config', 'filter.shift.required', 'true');
    await assert.rejects(bench.accept(files, list), { code: 'accept_refused', message: /filter/ });
    assert.deepEqual({ ...seen(user.path), '/.git/config': '' }, { ...before, '/.git/config': '' });
  });

  it('leaves pointers to large files pointers where there is no filter for them', async () => {
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n';
    bench.user.write('.gitattributes', '*.bin filter=lfs diff=lfs merge=lfs -text\n');
    bench.user.commit('lfs');
    await bench.begin();
    const list = await work({ 'a.bin': pointer });
    await bench.accept(files, list);
    assert.equal(text('a.bin'), pointer);
  });

  it('refuses files that git is told not to look at, submodules, and what it does not have', async () => {
    const list = await work({ 'folder/file': 'changed\n', text: 'changed\n' });
    bench.user.git('update-index', '--assume-unchanged', 'text');
    await assert.rejects(bench.accept(files, list), { code: 'accept_refused', message: /assume/ });
    bench.user.git('update-index', '--no-assume-unchanged', 'text');
    bench.user.git('sparse-checkout', 'set', '--no-cone', '/text');
    assert.equal(existsSync(join(bench.user.path, 'folder/file')), false);
    const before = seen(bench.user.path);
    for (const target of [files, staged, commits])
      await assert.rejects(bench.accept(target, list), { code: 'accept_refused', message: /sparse/ });
    assert.deepEqual(seen(bench.user.path), before);
    assert.equal((await bench.accept(branch, list)).kind, 'done');
    bench.user.git('sparse-checkout', 'disable');
    bench.sandbox.git('update-index', '--add', '--cacheinfo', `160000,${bench.base},sub`);
    bench.sandbox.git('commit', '--quiet', '-m', 'submodule');
    const more = await bench.end();
    await assert.rejects(bench.accept(files, more), { code: 'accept_refused', message: /submodule/ });
    await bench.accept(commits, more);
    assert.match(bench.user.git('ls-files', '-s', 'sub'), /^160000/);
    await assert.rejects(bench.accept(files, list, { tree: 'f'.repeat(40) }));
    await assert.rejects(bench.accept(files, list, { tree: '--all' }), { code: 'invalid_input' });
    await assert.rejects(
      bench.accept(files, list, { tree: bench.user.git('rev-parse', `${bench.base}^{tree}`) }),
      { code: 'nothing_to_accept' },
    );
  });

  it('works in a linked worktree, and leaves the others alone', async () => {
    bench.user.git('worktree', 'add', '--quiet', '-b', 'linked', join(bench.folder.path, 'linked'));
    const linked = new GitRepo(join(bench.folder.path, 'linked'), { init: false });
    const repository = await openRepository(linked.path);
    const list = await work({ 'folder/file': 'changed\n', new: 'new\n' });
    const [main, before] = [seen(bench.user.path), seen(linked.path)];
    const result = await bench.accept(commits, list, { repository });
    assert.equal(linked.git('status', '--porcelain'), '');
    assert.equal(linked.git('rev-parse', 'linked^{tree}'), bench.tree());
    assert.equal(readFileSync(join(linked.path, 'new'), 'utf8'), 'new\n');
    await undoAccept(bench.journal, undoOf(result));
    assert.deepEqual(seen(linked.path), before);
    const strip = (all: Record<string, string>): [string, string][] =>
      Object.entries(all).filter(
        ([path]) => !/^\/\.git\/worktrees\/linked\/(?:index|logs\/HEAD)$/.test(path),
      );
    assert.deepEqual(strip(seen(bench.user.path)), strip(main));
    assert.equal((await bench.accept(staged, list, { repository })).kind, 'done');
    assert.equal(linked.git('diff', '--cached', '--name-only'), 'folder/file\nnew');
  });

  it("keeps a file's own permissions", async () => {
    chmodSync(join(bench.user.path, 'text'), 0o600);
    chmodSync(join(bench.user.path, 'folder/file'), 0o444);
    const list = await work({ text: 'changed\n', 'folder/file': 'changed\n' });
    const result = await bench.accept(files, list);
    assert.equal(statSync(join(bench.user.path, 'text')).mode & 0o777, 0o600);
    assert.equal(statSync(join(bench.user.path, 'folder/file')).mode & 0o777, 0o444);
    await undoAccept(bench.journal, undoOf(result));
    assert.equal(lstatSync(join(bench.user.path, 'folder/file')).mode & 0o777, 0o444);
    assert.equal(text('folder/file'), 'file\n');
  });

  it('takes everything back where one file cannot be written', async function () {
    if (!canMount) this.skip();
    const list = await work({ text: 'changed\n', 'folder/file': 'changed\n', a: 'new\n', zone: 'new\n' });
    // Root writes anywhere, but not through a mount that is read-only.
    const place = join(bench.user.path, 'folder');
    execFileSync('mount', ['--bind', place, place]);
    try {
      execFileSync('mount', ['-o', 'remount,ro,bind', place]);
      const before = seen(bench.user.path);
      await assert.rejects(bench.accept(staged, list), {
        code: 'accept_refused',
        message: /cannot be written/,
      });
      assert.deepEqual(seen(bench.user.path), before);
      assert.deepEqual(await doneAccepts(bench.journal), []);
    } finally {
      execFileSync('umount', [place]);
    }
    // On a mount of its own that can be written to, new contents are brought over.
    execFileSync('mount', ['--bind', place, place]);
    try {
      const before = seen(bench.user.path);
      const result = await bench.accept(staged, list);
      assert.equal(text('folder/file'), 'changed\n');
      await undoAccept(bench.journal, undoOf(result));
      assert.deepEqual(seen(bench.user.path), before);
    } finally {
      execFileSync('umount', [place]);
    }
  });

  it('says that the disk is full, and changes nothing', async function () {
    if (!canMount) this.skip();
    const list = await work({ 'folder/file': 'x'.repeat(600_000) });
    const gitDir = join(bench.user.path, '.git', 'sallyport-accept');
    mkdirSync(gitDir);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', gitDir]);
    const before = seen(bench.user.path);
    try {
      await assert.rejects(bench.accept(files, list), { code: 'disk_full' });
    } finally {
      execFileSync('umount', [gitDir]);
    }
    assert.deepEqual(
      { ...seen(bench.user.path), '/.git/sallyport-accept': '' },
      { ...before, '/.git/sallyport-accept': '' },
    );
    assert.equal((await bench.accept(files, list)).kind, 'done');
  });

  it('waits for no other git for long, and leaves its lock alone', async () => {
    const list = await work({ text: 'changed\n' });
    const lock = join(bench.user.path, '.git/index.lock');
    writeFileSync(lock, 'of somebody else');
    const before = seen(bench.user.path);
    await assert.rejects(bench.accept(files, list), { code: 'operation_in_progress', mend: /index\.lock/ });
    assert.deepEqual(seen(bench.user.path), before);
    setTimeout(() => rmSync(lock), 500);
    assert.equal((await bench.accept(files, list)).kind, 'done');
    assert.equal(existsSync(lock), false);
  });

  it('is one at a time, in this process and among others, and leaves what lives alone', async () => {
    const list = await work({ text: 'changed\n', 'folder/file': 'changed\n' });
    const outcomes = await Promise.allSettled([1, 2, 3].map(async () => await bench.accept(files, list)));
    const failed = outcomes.filter((each) => each.status === 'rejected');
    assert.equal(outcomes.length - failed.length, 1);
    for (const each of failed)
      assert.match(
        String((each.reason as { code?: string }).code),
        /operation_in_progress|nothing_to_accept/,
      );
    const [done] = await doneAccepts(bench.journal);
    await undoAccept(bench.journal, done?.id ?? '');
    // Another process holds the repository, and lives.
    const script = `import { Hold } from ${JSON.stringify(new URL('../../src/git/accept/hold.ts', import.meta.url).href)};
      await Hold.take(process.argv[1]); console.log('has it'); setInterval(() => {}, 1000);`;
    const other = spawn(
      process.execPath,
      ['--input-type=module', '-e', script, join(bench.user.path, '.git')],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(other.stdout, 'data');
    await assert.rejects(bench.accept(files, list), { code: 'operation_in_progress', message: /accepted/ });
    assert.deepEqual(await recoverAccepts(bench.journal), []);
    other.kill('SIGKILL');
    await once(other, 'exit');
    assert.equal((await bench.accept(files, list)).kind, 'done');
    assert.equal(existsSync(join(bench.user.path, '.git/sallyport-accept')), false);
  });

  it('leaves a file away, or keeps it, as the user settles it', async () => {
    bench.sandbox.git('rm', '--quiet', 'folder/file');
    const list = await work({ text: 'ONE\ntwo\nthree\nfour\nfive\nsix\n' });
    bench.user.write('folder/file', 'mine\n');
    rmSync(join(bench.user.path, 'text'));
    const told = await bench.accept(files, list);
    const conflicts = told.kind === 'conflicts' ? told.conflicts : [];
    assert.deepEqual(
      conflicts.map(({ path, current, incoming, marked }) => [
        path,
        current?.length,
        incoming?.length,
        marked,
      ]),
      [
        ['folder/file', 5, undefined, undefined],
        ['text', undefined, 28, undefined],
      ],
    );
    const settled = (file: string | undefined): Map<string, Uint8Array | undefined> =>
      new Map([
        ['folder/file', file === undefined ? undefined : Buffer.from(file)],
        ['text', Buffer.from('kept\n')],
      ]);
    // What was changed since it was told is asked about again.
    bench.user.write('folder/file', 'mine again\n');
    assert.equal((await bench.accept(files, list, { merged: settled('x') })).kind, 'conflicts');
    const kept = await bench.accept(files, list, { merged: settled('mine again\n') });
    assert.deepEqual([text('folder/file'), text('text')], ['mine again\n', 'kept\n']);
    await undoAccept(bench.journal, undoOf(kept));
    assert.equal((await bench.accept(files, list)).kind, 'conflicts');
    await bench.accept(files, list, { merged: settled(undefined) });
    assert.equal(existsSync(join(bench.user.path, 'folder/file')), false);
  });

  it('gives a file to whom it belonged', async function () {
    if (process.getuid?.() !== 0) this.skip();
    chownSync(join(bench.user.path, 'text'), 1234, 1234);
    const list = await work({ text: 'changed\n' });
    const result = await bench.accept(files, list);
    assert.equal(statSync(join(bench.user.path, 'text')).uid, 1234);
    await undoAccept(bench.journal, undoOf(result));
    assert.equal(statSync(join(bench.user.path, 'text')).uid, 1234);
  });

  it('writes over nothing that was saved, made or staged after it was looked at', async () => {
    const { user } = bench;
    user.write('.gitattributes', 'slow filter=slow\n');
    user.write('slow', 'slow\n');
    user.commit('with a filter');
    await bench.begin();
    const list = await work({
      slow: 'changed\n',
      text: 'ONE\ntwo\nthree\nfour\nfive\nsix\n',
      new: 'new\n',
      'folder/file': 'changed\n',
    });
    // The filter runs when everything is decided, and nothing is written.
    for (const [what, path] of [
      ['echo saved > text', 'text'],
      ['echo made > new', 'new'],
      ['rm -r folder && echo in the way > folder', 'folder'],
      ['git add text', 'index'],
      ['git commit -q --allow-empty -m meanwhile', 'main'],
    ] as const) {
      const target = path === 'main' ? commits : staged;
      user.git('reset', '--quiet', '--hard');
      user.git('clean', '--quiet', '-d', '--force');
      if (path === 'index') user.write('text', 'one\ntwo\nthree\nfour\nfive\nsix\nseven\n');
      user.git('config', 'filter.slow.smudge', `unset GIT_DIR GIT_WORK_TREE; ${what}; cat`);
      await assert.rejects(bench.accept(target, list), (thrown: { code: string }) => {
        assert.match(thrown.code, /^conflict$/, what);
        return true;
      });
      if (path === 'text') assert.equal(text('text'), 'saved\n');
      if (path === 'new') assert.equal(text('new'), 'made\n');
      if (path === 'folder') assert.equal(text('folder'), 'in the way\n');
      if (path === 'main') assert.equal(user.git('log', '-1', '--format=%s'), 'meanwhile');
      assert.equal(text('slow'), 'slow\n');
      assert.equal(existsSync(join(user.path, '.git/index.lock')), false);
      user.git('config', '--unset', 'filter.slow.smudge');
    }
  });

  it('can be cancelled, and then nothing is done', async () => {
    const list = await work({ text: 'changed\n', 'folder/file': 'changed\n', new: 'new\n' });
    const before = seen(bench.user.path);
    for (const after of [0, 30, 100, 200]) {
      const controller = new AbortController();
      const timer = setTimeout(() => controller.abort(), after);
      const outcome = await bench
        .accept(staged, list, { signal: controller.signal })
        .catch((thrown: unknown) => thrown);
      clearTimeout(timer);
      if (outcome instanceof Error) assert.equal((outcome as { code?: string }).code, 'cancelled');
      for (const { id } of await doneAccepts(bench.journal)) await undoAccept(bench.journal, id);
      assert.deepEqual(seen(bench.user.path), before);
    }
  });

  it('keeps staged and unstaged edits of the user apart, or says that it cannot', async () => {
    const list = await work({ text: 'ONE\ntwo\nthree\nfour\nfive\nsix\n' });
    const { user } = bench;
    user.write('text', 'one\ntwo\nthree\nfour\nFIVE\nsix\n');
    user.git('add', 'text');
    user.write('text', 'one\ntwo\nthree\nfour\nFIVE\nSIX\n');
    const result = await bench.accept(staged, list);
    assert.equal(text('text'), 'ONE\ntwo\nthree\nfour\nFIVE\nSIX\n');
    assert.equal(user.git('show', ':text'), 'ONE\ntwo\nthree\nfour\nFIVE\nsix');
    await undoAccept(bench.journal, undoOf(result));
    assert.equal(user.git('show', ':text'), 'one\ntwo\nthree\nfour\nFIVE\nsix');
    user.write('text', 'eins\ntwo\nthree\nfour\nfive\nsix\n');
    user.git('add', 'text');
    user.write('text', 'one\ntwo\nthree\nfour\nfive\nsix\n');
    const before = seen(user.path);
    await assert.rejects(bench.accept(staged, list), {
      code: 'accept_refused',
      message: /staged something else/,
    });
    assert.deepEqual(seen(user.path), before);
    assert.equal((await bench.accept(files, list)).kind, 'done');
  });

  it('makes one commit of a part on a new branch, and deletes the branch only while nobody uses it', async () => {
    const list = await work({ text: 'changed\n', 'folder/file': 'changed\n' });
    bench.sandbox.git('checkout', '--quiet', bench.base, '--', 'folder/file');
    const tree = await bench.compose(bench.sandbox.git('write-tree'));
    const before = seen(bench.user.path);
    const result = await bench.accept(branch, list, { tree, whole: false, message: 'Only the text' });
    assert.equal(
      bench.user.git('log', '--format=%s|%an|%cn|%P', '-1', 'made'),
      `Only the text|The Agent|Ada Example|${bench.base}`,
    );
    assert.equal(bench.user.git('rev-parse', 'made^{tree}'), tree);
    assert.equal(bench.user.code('fsck', '--strict'), 0);
    await assert.rejects(bench.accept(branch, list), { code: 'branch_exists' });
    await assert.rejects(bench.accept({ kind: 'branch', branch: '-x' }, list), { code: 'invalid_branch' });
    bench.user.git('checkout', '--quiet', 'made');
    await assert.rejects(undoAccept(bench.journal, undoOf(result)), {
      code: 'conflict',
      message: /checked out/,
    });
    bench.user.git('checkout', '--quiet', 'main');
    bench.user.git('branch', '--quiet', '--force', 'made', 'main');
    await assert.rejects(undoAccept(bench.journal, undoOf(result)), { code: 'conflict', message: /made/ });
    bench.user.git('branch', '--quiet', '--force', 'made', undoneCommit(result));
    await undoAccept(bench.journal, undoOf(result));
    await assert.rejects(undoAccept(bench.journal, undoOf(result)), { code: 'not_found' });
    const after = seen(bench.user.path);
    assert.deepEqual({ ...after, '/.git/index': '' }, { ...before, '/.git/index': '' });
  });

  it('does not take back commits that the user has built on', async () => {
    const list = await work({ text: 'changed\n' });
    const result = await bench.accept(commits, list);
    bench.user.write('mine', 'mine\n');
    bench.user.commit('on top');
    const before = seen(bench.user.path);
    await assert.rejects(undoAccept(bench.journal, undoOf(result)), { code: 'conflict', message: /main/ });
    assert.deepEqual(seen(bench.user.path), before);
  });

  it('gives back the note of each accept that stands', async () => {
    const list = await work({ text: 'changed\n' });
    const result = await bench.accept(files, list, { note: '{"parts":[]}' });
    assert.deepEqual(await doneAccepts(bench.journal), [{ id: undoOf(result), note: '{"parts":[]}' }]);
    await undoAccept(bench.journal, undoOf(result));
    assert.deepEqual(await doneAccepts(bench.journal), []);
    assert.deepEqual(await recoverAccepts(bench.journal), []);
  });

  function undoneCommit(result: Awaited<ReturnType<AcceptBench['accept']>>): string {
    return result.kind === 'done' ? (result.commit ?? '') : '';
  }
});
