import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { undoAccept } from '../../src/git/accept/undo.ts';
import type { AcceptTarget } from '../../src/protocol/review.ts';
import { AcceptBench, undoOf } from '../support/acceptBench.ts';
import { GitRepo, fingerprint } from '../support/gitRepo.ts';
import { seen } from '../support/seen.ts';

const files = { kind: 'tree', staged: false } as const;
const staged = { kind: 'tree', staged: true } as const;
const targets: AcceptTarget[] = [files, staged, { kind: 'commits' }, { kind: 'branch', branch: 'made' }];

/** What an agent may have made, and what may stand in a user's folder, to have an accept write or run something elsewhere. */
describe('accepting what wants out', function () {
  this.timeout('2m');
  let bench: AcceptBench;
  /** A folder that nothing may change. */
  let outside: string;

  beforeEach(async () => {
    bench = new AcceptBench();
    outside = join(bench.folder.path, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'file'), 'outside\n');
    bench.user.write('folder/file', 'inside\n');
    bench.user.write('text', 'text\n');
    bench.user.commit('one');
    await bench.begin();
  });
  afterEach(() => bench.dispose());

  it('writes nothing under any name that some file system takes for .git, to no target', async () => {
    // Past all checks of the import: as if one of them had failed.
    const store = new GitRepo(bench.quarantine.gitDir, { init: false });
    const blob = store.object('blob', Buffer.from('[core]\n\tfsmonitor = touch /tmp/evil\n'));
    const names = [
      '.git',
      '.GIT',
      '.gIt',
      'git~1',
      'GIT~2',
      '.git ',
      '.git.',
      '.git. .',
      '.git::$INDEX_ALLOCATION',
      '.g\u200cit',
      '.gi\ufefft',
      '.ｇｉｔ',
      '.git\\config',
      '..',
      '.',
    ];
    const before = seen(bench.user.path);
    for (const name of names) {
      const inner = store.tree([['100644', 'config', blob]]);
      const trees = [
        store.tree([['40000', name, inner]]),
        store.tree([['100644', name, blob]]),
        store.tree([['40000', 'sub', store.tree([['40000', name, inner]])]]),
        store.tree([['120000', name, store.object('blob', Buffer.from('/etc'))]]),
      ];
      for (const tree of trees) {
        const commit = store.commitOf(tree, [bench.base]);
        await assert.rejects(bench.accept(files, [commit], { tree }), { code: 'accept_refused' });
      }
      const [tree = ''] = trees;
      const commit = store.commitOf(tree, [bench.base]);
      if (name !== '.git') continue;
      for (const target of targets) await assert.rejects(bench.accept(target, [commit], { tree }));
    }
    assert.deepEqual(seen(bench.user.path), before);
  });

  it('follows no link of the user on the way to a file', async () => {
    bench.sandbox.write('folder/file', 'changed\n');
    bench.sandbox.write('folder/new', 'new\n');
    bench.sandbox.write('other/deep/new', 'new\n');
    bench.sandbox.commit('work');
    const commits = await bench.end();
    rmSync(join(bench.user.path, 'folder'), { recursive: true });
    symlinkSync(outside, join(bench.user.path, 'folder'));
    const before = [seen(bench.user.path), fingerprint(outside)];
    for (const target of [files, staged, { kind: 'commits' } as const])
      await assert.rejects(bench.accept(target, commits), {
        code: 'accept_refused',
        message: /"folder" is a link/,
      });
    rmSync(join(bench.user.path, 'folder'));
    mkdirSync(join(bench.user.path, 'folder'));
    writeFileSync(join(bench.user.path, 'folder/file'), 'inside\n');
    symlinkSync(outside, join(bench.user.path, 'other'));
    await assert.rejects(bench.accept(files, commits), {
      code: 'accept_refused',
      message: /"other" is a link/,
    });
    assert.deepEqual(fingerprint(outside), before[1]);
  });

  it('replaces a link by what it became, and never what it leads to', async () => {
    // First a link that leads out is accepted; then a folder takes its place, with a file in it.
    symlinkSync(outside, join(bench.sandbox.path, 'way'));
    symlinkSync(join(outside, 'file'), join(bench.sandbox.path, 'one'));
    bench.sandbox.commit('links');
    const first = await bench.end();
    const before = fingerprint(outside);
    await bench.accept({ kind: 'commits' }, first);
    assert.equal(lstatSync(join(bench.user.path, 'way')).isSymbolicLink(), true);
    await bench.begin();
    rmSync(join(bench.sandbox.path, 'way'));
    rmSync(join(bench.sandbox.path, 'one'));
    bench.sandbox.write('way/file', 'evil\n');
    bench.sandbox.write('one', 'evil\n');
    bench.sandbox.commit('folder');
    const second = await bench.end();
    const done = await bench.accept(staged, second);
    assert.deepEqual(fingerprint(outside), before);
    assert.equal(readFileSync(join(bench.user.path, 'way/file'), 'utf8'), 'evil\n');
    await undoAccept(bench.journal, undoOf(done));
    assert.deepEqual(fingerprint(outside), before);
    assert.equal(lstatSync(join(bench.user.path, 'way')).isSymbolicLink(), true);
    // A file that the user made a link of is a conflict, and settling it replaces the link.
    bench.sandbox.write('text', 'evil\n');
    bench.sandbox.commit('text');
    rmSync(join(bench.user.path, 'text'));
    symlinkSync(join(outside, 'file'), join(bench.user.path, 'text'));
    const third = await bench.end();
    assert.equal((await bench.accept(files, third)).kind, 'conflicts');
    const merged = new Map([['text', Buffer.from('settled\n')]]);
    assert.equal((await bench.accept(files, third, { merged })).kind, 'done');
    assert.equal(readFileSync(join(bench.user.path, 'text'), 'utf8'), 'settled\n');
    assert.deepEqual(fingerprint(outside), before);
  });

  it('writes nothing elsewhere while folders are swapped for links', async function () {
    if (process.platform !== 'linux') this.skip();
    for (let index = 0; index < 40; index++) bench.sandbox.write(`folder/new-${index}`, `${index}\n`);
    bench.sandbox.write('folder/file', 'changed\n');
    bench.sandbox.commit('work');
    const commits = await bench.end();
    const before = fingerprint(outside);
    const script = `
      import { renameSync, symlinkSync, unlinkSync } from 'node:fs';
      const [folder, outside] = process.argv.slice(1);
      for (let times = 0; ; times++) {
        try { renameSync(folder, folder + '-real'); symlinkSync(outside, folder); } catch {}
        try { unlinkSync(folder); } catch {}
        try { renameSync(folder + '-real', folder); } catch {}
        // Now and then it stands still, so that an accept comes through.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, times % 50 === 0 ? 40 : 0.2);
      }`;
    const args = ['--input-type=module', '-e', script, join(bench.user.path, 'folder'), outside];
    const swapping: ChildProcess = spawn(process.execPath, args, { stdio: 'inherit' });
    const outcomes: string[] = [];
    try {
      for (let times = 0; times < 8; times++) {
        const done = await bench
          .accept(files, commits)
          .catch((thrown: unknown) => String((thrown as { code?: string }).code));
        outcomes.push(typeof done === 'string' ? done : done.kind);
        assert.deepEqual(fingerprint(outside), before);
      }
    } finally {
      swapping.kill('SIGKILL');
      await once(swapping, 'exit');
    }
    assert.deepEqual(fingerprint(outside), before);
    for (const outcome of outcomes)
      assert.match(outcome, /^(?:done|conflicts|accept_refused|conflict|internal|nothing_to_accept)$/);
  });

  it('runs no filter that comes in with attributes, and no hook, monitor or driver', async () => {
    const witness = join(bench.folder.path, 'witness');
    mkdirSync(witness);
    const touch = (name: string): string => `touch '${witness}/${name}'`;
    const { user, sandbox } = bench;
    user.git('config', 'filter.evil.smudge', `${touch('smudge')}; cat`);
    user.git('config', 'filter.evil.clean', `${touch('clean')}; cat`);
    user.git('config', 'merge.evil.driver', touch('driver'));
    user.git('config', 'diff.evil.textconv', touch('textconv'));
    user.git('config', 'diff.evil.command', touch('diff'));
    user.write('monitor', `#!/bin/sh\n${touch('monitor')}\n`);
    chmodSync(join(user.path, 'monitor'), 0o755);
    user.git('config', 'core.fsmonitor', join(user.path, 'monitor'));
    user.git('config', 'core.editor', touch('editor'));
    user.git('config', 'core.hooksPath', '.githooks');
    const hooks = [
      'pre-commit',
      'commit-msg',
      'prepare-commit-msg',
      'post-commit',
      'post-checkout',
      'post-merge',
      'post-rewrite',
      'post-index-change',
      'reference-transaction',
    ];
    for (const folder of ['.git/hooks', '.githooks']) {
      for (const hook of hooks) {
        const target = folder === '.githooks' ? sandbox : user;
        target.write(`${folder}/${hook}`, `#!/bin/sh\n${touch(hook)}\n`);
        chmodSync(join(target.path, folder, hook), 0o755);
      }
    }
    sandbox.write('.gitattributes', '* filter=evil merge=evil diff=evil\n');
    sandbox.write('folder/file', 'changed\n');
    sandbox.commit('work');
    const commits = await bench.end();
    user.write('folder/file', 'inside\nmine\n');
    user.write('text', 'mine\n');
    // An index that is older than the files: git looks into each of them when it writes the index.
    const age = (): void => utimesSync(join(user.path, '.git', 'index'), 1e9, 1e9);
    for (const target of targets) {
      age();
      const result = await bench.accept(target, commits);
      assert.deepEqual(readdirSync(witness), [], target.kind);
      if (result.kind === 'done') await undoAccept(bench.journal, result.undo);
      rmSync(join(user.path, '.githooks'), { recursive: true, force: true });
    }
    user.write('folder/file', 'inside\n');
    age();
    // The user's own hooks folder is not among these: it is what they have until they accept another one.
    assert.equal((await bench.accept({ kind: 'commits' }, commits)).kind, 'done');
    assert.deepEqual(readdirSync(witness), []);
    // The same traps catch plain git.
    user.write('folder/file', 'by hand\n');
    user.code('-c', 'core.fsmonitor=false', 'commit', '--quiet', '--all', '-m', 'by hand');
    assert.deepEqual(readdirSync(witness).filter((name) => ['clean', 'pre-commit'].includes(name)).length, 2);
  });

  it('writes into no other repository, and over nothing that is no file', async () => {
    bench.sandbox.write('nested/file', 'evil\n');
    bench.sandbox.write('pipe', 'evil\n');
    bench.sandbox.commit('work');
    const commits = await bench.end();
    const nested = new GitRepo(join(bench.user.path, 'nested'));
    nested.write('mine', 'mine\n');
    const before = fingerprint(nested.path);
    await assert.rejects(bench.accept(files, commits), {
      code: 'accept_refused',
      message: /another repository/,
    });
    assert.deepEqual(fingerprint(nested.path), before);
    rmSync(nested.path, { recursive: true });
    const made = spawn('mkfifo', [join(bench.user.path, 'pipe')]);
    await once(made, 'exit');
    await assert.rejects(bench.accept(files, commits), {
      code: 'accept_refused',
      message: /neither a file nor a link/,
    });
    assert.equal(existsSync(join(bench.user.path, 'nested')), false);
  });

  it('writes no two files that a disk takes for one', async () => {
    bench.sandbox.write('Double', 'one\n');
    bench.sandbox.write('double', 'two\n');
    bench.sandbox.commit('work');
    const commits = await bench.end();
    bench.user.git('config', 'core.ignoreCase', 'true');
    const before = seen(bench.user.path);
    await assert.rejects(bench.accept(files, commits), { code: 'accept_refused', message: /for one name/ });
    assert.deepEqual(seen(bench.user.path), before);
    bench.user.git('config', 'core.ignoreCase', 'false');
    assert.equal((await bench.accept(files, commits)).kind, 'done');
  });

  it('takes names as they are, whatever they look like', async () => {
    const names = [
      '--output=x',
      '-rf',
      'new\nline',
      'carriage\rreturn',
      ' first',
      '\tfirst',
      'esc\x1b]52;c;ZXZpbA==\x07',
      '$(touch x)',
      '`touch x`',
      ':(exclude)x',
      '"quoted"',
      'a;touch x',
      'a -> b',
      '100644 blob',
      'end\r',
      'HEAD',
      '.gitignore\n',
    ];
    for (const [index, name] of names.entries()) bench.sandbox.write(join('names', name), `${index}\n`);
    bench.sandbox.commit('names');
    const commits = await bench.end();
    for (const target of [staged, { kind: 'commits' } as const]) {
      const result = await bench.accept(target, commits);
      const there = readdirSync(join(bench.user.path, 'names')).sort();
      assert.deepEqual(there, [...names].sort());
      for (const [index, name] of names.entries())
        assert.equal(readFileSync(join(bench.user.path, 'names', name), 'utf8'), `${index}\n`);
      await undoAccept(bench.journal, undoOf(result));
      assert.equal(existsSync(join(bench.user.path, 'names')), false);
    }
    assert.deepEqual(readdirSync(bench.user.path).sort(), ['.git', 'folder', 'text']);
  });

  it('takes thousands of files, and refuses links to what is no path', async () => {
    for (let index = 0; index < 2000; index++)
      bench.sandbox.write(`many/${index % 20}/${index}`, `${index}\n`);
    bench.sandbox.commit('many');
    const commits = await bench.end();
    const before = seen(bench.user.path);
    const result = await bench.accept(staged, commits);
    assert.equal(result.kind === 'done' && result.files, 2000);
    assert.equal(bench.user.git('ls-files', 'many').split('\n').length, 2000);
    await undoAccept(bench.journal, undoOf(result));
    assert.deepEqual(seen(bench.user.path), before);
    const store = new GitRepo(bench.quarantine.gitDir, { init: false });
    for (const target of [Buffer.alloc(0), Buffer.from('a\0b'), Buffer.alloc(5000, 'a')]) {
      const tree = store.tree([['120000', 'link', store.object('blob', target)]]);
      await assert.rejects(bench.accept(files, [], { tree }), { code: 'accept_refused' });
    }
    assert.deepEqual(seen(bench.user.path), before);
  });
});
