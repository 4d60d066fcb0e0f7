import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { undoAccept } from '../../src/git/accept/undo.ts';
import { filesOf, fill, stir } from '../support/acceptChance.ts';
import { AcceptBench, undoOf } from '../support/acceptBench.ts';
import { chance } from '../support/chance.ts';
import { GitRepo } from '../support/gitRepo.ts';
import { seen } from '../support/seen.ts';

/** SALLYPORT_CASES for more of them, SALLYPORT_FIRST for others. */
const cases = Number(process.env.SALLYPORT_CASES ?? '4');
const first = Number(process.env.SALLYPORT_FIRST ?? '1');

describe('git accept, by chance', function () {
  this.timeout(cases * 60_000);
  let bench: AcceptBench;
  beforeEach(() => {
    bench = new AcceptBench();
  });
  afterEach(() => bench.dispose());

  function config(autocrlf: boolean): void {
    for (const repository of [bench.user, bench.sandbox]) {
      repository.git('config', 'core.autocrlf', repository === bench.user && autocrlf ? 'true' : 'false');
      repository.git('config', 'core.safecrlf', 'false');
      repository.git('config', 'core.quotePath', 'false');
      repository.git('config', 'merge.renames', 'false');
    }
  }

  /** What git itself makes of it: merges the work of both, without looking for renames. */
  function oracle(
    autocrlf: boolean,
    ours: string,
    theirs: string,
  ): { repository: GitRepo; conflicts: string[] } {
    const path = join(bench.folder.path, `oracle-${ours}`);
    rmSync(path, { recursive: true, force: true });
    const repository = new GitRepo(path);
    repository.git('config', 'core.autocrlf', String(autocrlf));
    repository.git('config', 'core.safecrlf', 'false');
    repository.git('config', 'core.quotePath', 'false');
    repository.git('fetch', '--quiet', bench.user.path, `${ours}:ours`);
    repository.git('fetch', '--quiet', bench.sandbox.path, `${theirs}:theirs`);
    repository.git('checkout', '--quiet', 'ours');
    repository.code('merge', '-s', 'recursive', '-X', 'no-renames', '--no-commit', '--no-ff', 'theirs');
    const unmerged = repository.raw(['ls-files', '--unmerged', '-z']).toString('latin1').split('\0');
    // Two kinds of one name stand there under two names.
    const conflicts = new Set(
      unmerged
        .map((each) => each.replace(/^[^\t]*\t/, '').replace(/~(?:HEAD|theirs)$/, ''))
        .filter((each) => each !== ''),
    );
    return { repository, conflicts: [...conflicts].sort() };
  }

  /** Commits all that the user has, on a branch of its own, and puts the index back. */
  function commitAside(repository: GitRepo): string {
    const index = join(bench.folder.path, 'index-aside');
    rmSync(index, { force: true });
    const env = { GIT_INDEX_FILE: index };
    repository.raw(['read-tree', 'HEAD'], '', env);
    repository.raw(['add', '--all'], '', env);
    const tree = repository.raw(['write-tree'], '', env).toString().trim();
    const commit = repository.git('commit-tree', '-p', 'HEAD', '-m', 'all', tree);
    repository.git('update-ref', 'refs/heads/aside', commit);
    return commit;
  }

  for (let number = first; number < first + cases; number++) {
    it(`writes what git itself would merge, and takes it back to the byte (case ${number})`, async () => {
      const pick = chance(number);
      const autocrlf = pick(3) === 0;
      const staged = pick(2) === 0;
      config(autocrlf);
      const { user, sandbox } = bench;
      fill(user.path, pick);
      user.commit('base');
      // As a checkout would have it.
      user.git('rm', '-r', '--cached', '--quiet', '.');
      user.git('reset', '--quiet', '--hard');
      await bench.begin();
      stir(sandbox.path, pick, 6);
      sandbox.commit('agent');
      const commits = await bench.end();
      stir(user.path, pick, pick(8));
      if (staged && pick(2) === 0) user.git('add', '--all');
      const indexTree = user.git('write-tree');
      const aside = commitAside(user);
      const expected = oracle(autocrlf, 'aside', 'task');
      const before = seen(user.path);
      const own = filesOf(user.path);
      const target = { kind: 'tree', staged } as const;
      if (bench.tree() === user.git('rev-parse', `${bench.base}^{tree}`)) return;
      const attempt = await bench.accept(target, commits).catch((thrown: unknown) => {
        assert.equal(
          (thrown as { code?: string }).code === 'nothing_to_accept' ||
            expected.conflicts.length > 0 ||
            staged,
          true,
          String(thrown),
        );
        return undefined;
      });
      if (attempt === undefined) {
        assert.deepEqual(seen(user.path), before);
        return;
      }
      if (attempt.kind === 'conflicts') {
        assert.deepEqual(seen(user.path), before);
        const told = attempt.conflicts.map(({ path }) => path).sort();
        const wanted = expected.conflicts.map((path) => Buffer.from(path, 'latin1').toString('utf8')).sort();
        assert.deepEqual(told, wanted);
        return;
      }
      assert.deepEqual(expected.conflicts, []);
      const merged = filesOf(expected.repository.path);
      const agents = new Set(
        user
          .raw(
            ['diff-tree', '-r', '-z', '--name-only', '--no-renames', bench.base, ...commits.slice(-1)],
            '',
            {
              GIT_ALTERNATE_OBJECT_DIRECTORIES: join(sandbox.path, '.git/objects'),
            },
          )
          .toString('latin1')
          .split('\0'),
      );
      // What the agent did not touch has the user's own bytes, whatever git would make of them.
      for (const [path, file] of Object.entries(own)) {
        const isFilled =
          file === 'empty folder' && Object.keys(merged).some((each) => each.startsWith(`${path}/`));
        if (!agents.has(path) && !isFilled) merged[path] = file;
      }
      assert.deepEqual(filesOf(user.path), merged);
      const after = seen(user.path);
      if (!staged) assert.equal(after['/.git/index'], before['/.git/index']);
      else if (indexTree === user.git('rev-parse', `${aside}^{tree}`))
        assert.equal(user.git('ls-files', '-s'), expected.repository.git('ls-files', '-s'));
      // What was only in the work tree is not staged by the way: the index has the agent's side alone.
      else if (indexTree === user.git('rev-parse', 'HEAD^{tree}'))
        assert.equal(user.git('ls-files', '-s'), sandbox.git('ls-files', '-s'));
      await undoAccept(bench.journal, undoOf(attempt));
      assert.deepEqual(seen(user.path), before);
    });

    it(`gives the branch exactly what was chosen, over the user's own commits (case ${number})`, async () => {
      const pick = chance(number + 10_000);
      config(false);
      const { user, sandbox } = bench;
      fill(user.path, pick);
      user.commit('base');
      await bench.begin();
      for (const name of ['first', 'second', 'third']) {
        stir(sandbox.path, pick, 4);
        sandbox.commit(name);
      }
      const commits = await bench.end();
      // Some of its files, whole: the rest is rejected.
      sandbox.git('checkout', '--quiet', '-b', 'chosen');
      const paths = sandbox
        .raw(['diff', '--name-only', '--no-renames', '-z', bench.base, 'HEAD'])
        .toString('latin1')
        .split('\0')
        .filter((path) => path !== '');
      for (const path of paths) {
        if (pick(3) > 0) continue;
        const entry = sandbox
          .raw(['ls-tree', '-z', bench.base, '--', Buffer.from(path, 'latin1').toString('utf8')])
          .toString('latin1');
        const line = entry === '' ? `0 ${'0'.repeat(40)}\t${path}\0` : entry.replace(' blob', '');
        sandbox.raw(['update-index', '--replace', '-z', '--index-info'], Buffer.from(line, 'latin1'));
      }
      const tree = sandbox.git('write-tree');
      await bench.compose(tree);
      if (pick(2) === 0) {
        stir(user.path, pick, 3);
        user.commit("the user's");
      }
      const head = user.git('rev-parse', 'HEAD');
      const expected = oracle(false, 'main', 'composed');
      const before = seen(user.path);
      const whole = tree === bench.tree('task');
      const result = await bench
        .accept({ kind: 'commits' }, commits, { tree, whole })
        .catch((thrown: unknown) => {
          const { code = '' } = thrown as { code?: string };
          assert.ok(code === 'nothing_to_accept' || expected.conflicts.length > 0, String(thrown));
          return undefined;
        });
      if (result?.kind !== 'done') {
        assert.deepEqual(seen(user.path), before);
        if (result !== undefined) assert.equal(result.conflicts.length, expected.conflicts.length);
        return;
      }
      assert.deepEqual(expected.conflicts, []);
      assert.equal(
        user.git('ls-tree', '-r', 'HEAD'),
        expected.repository.git('ls-files', '-s').replaceAll(/^(\d+) (\w+) 0/gm, '$1 blob $2'),
      );
      assert.equal(user.git('status', '--porcelain'), '');
      const subjects = user.git('log', '--reverse', '--format=%s', `${head}..HEAD`).split('\n');
      assert.deepEqual(
        subjects,
        ['first', 'second', 'third'].filter((name) => subjects.includes(name)),
      );
      for (const each of user.git('rev-list', `${head}..HEAD`).split('\n'))
        assert.notEqual(user.git('rev-parse', `${each}^{tree}`), user.git('rev-parse', `${each}~^{tree}`));
      await undoAccept(bench.journal, undoOf(result));
      assert.equal(user.git('rev-parse', 'HEAD'), head);
      assert.equal(user.git('status', '--porcelain'), '');
    });
  }
});
