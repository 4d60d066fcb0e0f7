import assert from 'node:assert/strict';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { acceptAsBranch } from '../../src/git/accept/branch.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { openRepository, type Repository } from '../../src/git/repository.ts';
import { GitRepo, fingerprint, pieces, temporaryFolder } from '../support/gitRepo.ts';

const task = 'abcdefghijklmno';

describe('git accept', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let user: GitRepo;
  let repository: Repository;
  let quarantine: Quarantine;
  let made: string;

  beforeEach(async () => {
    folder = temporaryFolder();
    user = new GitRepo(join(folder.path, 'user'));
    user.write('a', '1\n'.repeat(300));
    const base = user.commit('one');
    repository = await openRepository(user.path);
    quarantine = Quarantine.open(join(folder.path, 'q'), repository.ref.id);
    await quarantine.adopt(repository);
    const sandbox = new GitRepo(join(folder.path, 'sandbox'));
    sandbox.git('fetch', '--quiet', user.path, 'main');
    sandbox.git('reset', '--quiet', '--hard', base);
    sandbox.write('a', '1\n'.repeat(300) + '2\n');
    sandbox.commit('two');
    sandbox.write('new/file', 'x\n');
    made = sandbox.commit('three');
    sandbox.git('tag', 'v1');
    const bundle = sandbox.raw(['bundle', 'create', '--quiet', '-', 'main', `^${base}`]);
    await quarantine.importBundle(task, pieces(bundle), { tips: [{ sha: made }] });
  });
  afterEach(() => folder.dispose());

  it('makes the branch, and changes nothing else', async () => {
    const witness = join(folder.path, 'witness');
    for (const hook of ['reference-transaction', 'post-checkout', 'post-merge', 'post-index-change']) {
      user.write(`.git/hooks/${hook}`, `#!/bin/sh\ntouch '${witness}'\n`);
      chmodSync(join(user.path, '.git/hooks', hook), 0o755);
    }
    user.write('a', 'edited\n');
    user.write('untracked', 'x\n');
    const before = fingerprint(user.path);
    await acceptAsBranch(repository, quarantine, made, 'claude/work');
    const after = fingerprint(user.path);
    const changed = [...new Set([...Object.keys(before), ...Object.keys(after)])]
      .filter((path) => before[path] !== after[path])
      .map((path) => path.replace(/pack-[0-9a-f]{40}/, 'pack-X'))
      .sort();
    const folders = [
      '/.git/logs/refs/heads',
      '/.git/logs/refs/heads/claude',
      '/.git/logs/refs/heads/claude/work',
      '/.git/objects',
      '/.git/objects/pack',
      '/.git/objects/pack/pack-X.idx',
      '/.git/objects/pack/pack-X.pack',
      '/.git/refs/heads',
      '/.git/refs/heads/claude',
      '/.git/refs/heads/claude/work',
    ];
    assert.deepEqual(
      changed.filter((path) => !path.endsWith('.rev')),
      folders,
    );
    assert.equal(existsSync(witness), false);
    assert.equal(user.git('rev-parse', 'claude/work'), made);
    assert.equal(user.code('fsck', '--strict'), 0);
    assert.equal(user.git('log', '--format=%s', 'claude/work'), 'three\ntwo\none');
    assert.match(
      user.git('log', '-g', '-1', '--format=%gs %gn', 'claude/work'),
      /sallyport: accepted Ada Example/,
    );
    // What was accepted does not depend on the quarantine.
    rmSync(quarantine.gitDir, { recursive: true });
    assert.equal(user.code('fsck', '--strict'), 0);
  });

  it('accepts the same commit again under another name, without objects', async () => {
    await acceptAsBranch(repository, quarantine, made, 'one');
    const packs = (): number => Object.keys(fingerprint(join(user.path, '.git/objects'))).length;
    const before = packs();
    await acceptAsBranch(repository, quarantine, made, 'two');
    assert.equal(packs(), before);
    assert.equal(user.git('rev-parse', 'two'), made);
  });

  it('works when the user has gone on, and from a linked worktree', async () => {
    user.write('b', '1\n');
    user.commit('user went on');
    user.git('worktree', 'add', '--quiet', join(folder.path, 'wt'));
    const linked = await openRepository(join(folder.path, 'wt'));
    await acceptAsBranch(linked, quarantine, made, 'work');
    assert.equal(user.git('rev-parse', 'work'), made);
  });

  it('refuses a name that is taken, and names a free one', async () => {
    await acceptAsBranch(repository, quarantine, made, 'work');
    user.git('branch', 'work-2');
    const main = user.git('rev-parse', 'main');
    await assert.rejects(acceptAsBranch(repository, quarantine, made, 'main'), {
      code: 'branch_exists',
      mend: /main-2 is free/,
    });
    await assert.rejects(acceptAsBranch(repository, quarantine, made, 'work'), {
      code: 'branch_exists',
      mend: /work-3 is free/,
    });
    await assert.rejects(acceptAsBranch(repository, quarantine, made, 'work/x'), {
      code: 'branch_exists',
      mend: /work-x-2 is free/,
    });
    assert.equal(user.git('rev-parse', 'main'), main);
  });

  it('refuses a name that is none, and a commit that is not there', async () => {
    for (const name of [
      '',
      '-x',
      'a..b',
      'HEAD',
      'refs/heads/x',
      'a b',
      'x.lock',
      'a\ndelete refs/heads/main',
    ]) {
      await assert.rejects(
        acceptAsBranch(repository, quarantine, made, name),
        { code: 'invalid_branch' },
        name,
      );
    }
    const before = fingerprint(user.path);
    await assert.rejects(acceptAsBranch(repository, quarantine, '1'.repeat(40), 'x'), {
      code: 'import_refused',
    });
    await assert.rejects(acceptAsBranch(repository, quarantine, '--all', 'x'), { code: 'import_refused' });
    assert.deepEqual(fingerprint(user.path), before);
  });

  it('leaves the repository as it was when the quarantine is damaged', async () => {
    for (const path of Object.keys(fingerprint(quarantine.objects))) {
      if (/pack-.*\.pack$/.test(path)) rmSync(join(quarantine.objects, path));
    }
    await assert.rejects(acceptAsBranch(repository, quarantine, made, 'work'));
    assert.notEqual(user.code('rev-parse', '--verify', '--quiet', 'refs/heads/work'), 0);
    assert.deepEqual(
      Object.keys(fingerprint(join(user.path, '.git/objects'))).filter((path) => path.includes('tmp')),
      [],
    );
  });
});
