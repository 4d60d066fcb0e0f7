import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { AcceptResult } from '../../src/git/accept/options.ts';
import { undoAccept } from '../../src/git/accept/undo.ts';
import { AcceptBench, undoOf } from '../support/acceptBench.ts';
import { filesOf, fill, stir } from '../support/acceptChance.ts';
import { chance } from '../support/chance.ts';
import type { GitRepo } from '../support/gitRepo.ts';
import { seen } from '../support/seen.ts';

/** SALLYPORT_CASES for more of them, SALLYPORT_FIRST for others. */
const cases = Number(process.env.SALLYPORT_CASES ?? '6');
const first = Number(process.env.SALLYPORT_FIRST ?? '1');

const lines = (name: string, count = 20): string[] =>
  Array.from({ length: count }, (_, index) => `line ${index} of ${name}`);
const text = (all: readonly string[]): string => `${all.join('\n')}\n`;
/** The lines of a file, with one in another wording. */
const changed = (name: string, at: number, to: string): string =>
  text(lines(name).map((line, index) => (index === at ? to : line)));
const both = (name: string): string =>
  text(lines(name).map((line, index) => (index === 2 ? 'user' : index === 15 ? 'agent' : line)));

function move(repository: GitRepo, from: string, to: string): void {
  mkdirSync(dirname(join(repository.path, to)), { recursive: true });
  renameSync(join(repository.path, from), join(repository.path, to));
}

function conflictsOf(result: AcceptResult): { path: string; marked: string | undefined }[] {
  assert.equal(result.kind, 'conflicts');
  return result.conflicts.map(({ path, marked }) => ({
    path,
    marked: marked === undefined ? undefined : Buffer.from(marked).toString(),
  }));
}

function codeOf(thrown: unknown): string | undefined {
  return (thrown as { code?: string }).code;
}

describe('git accept, renamed meanwhile', () => {
  let bench: AcceptBench;
  let user: GitRepo;
  let sandbox: GitRepo;
  const read = (path: string): string => readFileSync(join(user.path, path), 'utf8');
  const isThere = (path: string): boolean => existsSync(join(user.path, path));

  beforeEach(async () => {
    bench = new AcceptBench();
    ({ user, sandbox } = bench);
    for (const name of ['a.txt', 'b.txt', 'c.txt']) user.write(name, text(lines(name)));
    user.commit('base');
    await bench.begin();
  });
  afterEach(() => bench.dispose());

  describe('by the user', () => {
    const ways = {
      'in the work tree': () => undefined,
      'in the index': () => void user.git('add', '--all'),
      'in a commit': () => void user.commit('rename'),
    };
    for (const [way, tell] of Object.entries(ways)) {
      it(`follows a file ${way}, and takes it back to the byte`, async () => {
        sandbox.write('a.txt', changed('a.txt', 15, 'agent'));
        sandbox.write('b.txt', changed('b.txt', 15, 'agent'));
        sandbox.commit('agent');
        const commits = await bench.end();
        move(user, 'a.txt', 'sub/new name.txt');
        user.write('sub/new name.txt', changed('a.txt', 2, 'user'));
        tell();
        const before = seen(user.path);
        const result = await bench.accept({ kind: 'tree', staged: false }, commits);
        assert.equal(read('sub/new name.txt'), both('a.txt'));
        assert.ok(!isThere('a.txt'));
        assert.equal(read('b.txt'), changed('b.txt', 15, 'agent'));
        await undoAccept(bench.journal, undoOf(result));
        assert.deepEqual(seen(user.path), before);
      });
    }

    it('stages under the new name what was staged under it', async () => {
      sandbox.write('a.txt', changed('a.txt', 15, 'agent'));
      sandbox.commit('agent');
      const commits = await bench.end();
      user.git('mv', 'a.txt', 'new.txt');
      user.write('new.txt', changed('a.txt', 2, 'user'));
      await bench.accept({ kind: 'tree', staged: true }, commits);
      assert.equal(read('new.txt'), both('a.txt'));
      assert.equal(user.git('show', ':new.txt'), changed('a.txt', 15, 'agent').trimEnd());
      assert.equal(user.git('ls-files', 'a.txt'), '');
    });

    it('follows a file on the current branch through all commits', async () => {
      sandbox.write('a.txt', changed('a.txt', 10, 'first'));
      sandbox.commit('one');
      sandbox.write('a.txt', changed('a.txt', 15, 'agent'));
      sandbox.commit('two');
      const commits = await bench.end();
      move(user, 'a.txt', 'new.txt');
      user.write('new.txt', changed('a.txt', 2, 'user'));
      user.commit('rename');
      const before = seen(user.path);
      const result = await bench.accept({ kind: 'commits' }, commits);
      assert.equal(read('new.txt'), both('a.txt'));
      assert.ok(!isThere('a.txt'));
      assert.equal(user.git('log', '--format=%s', '-3'), 'two\none\nrename');
      assert.equal(user.git('diff', '--name-only', 'HEAD~2', 'HEAD'), 'new.txt');
      assert.match(user.git('show', 'HEAD~1:new.txt'), /user[^]*first/);
      assert.equal(user.git('status', '--porcelain'), '');
      await undoAccept(bench.journal, undoOf(result));
      assert.deepEqual(seen(user.path)['/new.txt'], before['/new.txt']);
    });

    it('tells a conflict under the new name, and takes what the user made of it', async () => {
      sandbox.write('a.txt', changed('a.txt', 2, 'agent'));
      sandbox.commit('agent');
      const commits = await bench.end();
      move(user, 'a.txt', 'new.txt');
      user.write('new.txt', changed('a.txt', 2, 'user'));
      const before = seen(user.path);
      const target = { kind: 'tree', staged: false } as const;
      const [conflict, ...more] = conflictsOf(await bench.accept(target, commits));
      assert.deepEqual(more, []);
      assert.equal(conflict?.path, 'new.txt');
      assert.match(conflict.marked ?? '', /<<<<<<<[^]*user[^]*agent[^]*>>>>>>>/);
      assert.deepEqual(seen(user.path), before);
      const merged = new Map([['new.txt', Buffer.from('settled\n')]]);
      await bench.accept(target, commits, { merged });
      assert.equal(read('new.txt'), 'settled\n');
      assert.ok(!isThere('a.txt'));
    });

    it('takes no other file for it, and no ignored one', async () => {
      sandbox.write('a.txt', changed('a.txt', 15, 'agent'));
      sandbox.commit('agent');
      const commits = await bench.end();
      rmSync(join(user.path, 'a.txt'));
      user.write('other.txt', text(lines('something else')));
      user.write('.gitignore', 'ignored.txt\n');
      user.write('ignored.txt', text(lines('a.txt')));
      const [conflict] = conflictsOf(await bench.accept({ kind: 'tree', staged: false }, commits));
      assert.equal(conflict?.path, 'a.txt');
    });

    it('leaves a file alone whose new name the gate would hold back', async () => {
      sandbox.write('a.txt', changed('a.txt', 15, 'agent'));
      sandbox.commit('agent');
      const commits = await bench.end();
      move(user, 'a.txt', '.github/workflows/ci.yml');
      for (const target of [{ kind: 'tree', staged: false } as const, { kind: 'commits' } as const]) {
        const [conflict] = conflictsOf(await bench.accept(target, commits));
        assert.equal(conflict?.path, 'a.txt');
        user.commit('rename');
      }
      assert.equal(read('.github/workflows/ci.yml'), text(lines('a.txt')));
    });

    it('keeps a file that the task has deleted', async () => {
      sandbox.git('rm', '-q', 'a.txt');
      sandbox.commit('agent');
      const commits = await bench.end();
      user.git('mv', 'a.txt', 'new.txt');
      user.commit('rename');
      await bench
        .accept({ kind: 'tree', staged: false }, commits)
        .catch((thrown: unknown) => assert.equal(codeOf(thrown), 'nothing_to_accept'));
      assert.equal(read('new.txt'), text(lines('a.txt')));
    });

    it('makes no room for a file by taking another away', async () => {
      user.write('sub', 'a file\n');
      user.commit('more');
      await bench.begin();
      sandbox.write('a.txt', changed('a.txt', 15, 'agent'));
      sandbox.write('sub', 'a file of the agent\n');
      sandbox.commit('agent');
      const commits = await bench.end();
      rmSync(join(user.path, 'sub'));
      move(user, 'a.txt', 'sub/a.txt');
      user.commit('rename');
      const before = seen(user.path);
      const target = { kind: 'commits' } as const;
      await bench.accept(target, commits).then(
        (result) =>
          assert.deepEqual(
            conflictsOf(result).map(({ path }) => path),
            ['a.txt', 'sub'],
          ),
        (thrown: unknown) => assert.equal(codeOf(thrown), 'accept_refused'),
      );
      assert.deepEqual(seen(user.path), before);
    });

    it('follows nothing where the user has git follow nothing', async () => {
      user.git('config', 'merge.renames', 'false');
      sandbox.write('a.txt', changed('a.txt', 15, 'agent'));
      sandbox.commit('agent');
      const commits = await bench.end();
      move(user, 'a.txt', 'new.txt');
      const [conflict] = conflictsOf(await bench.accept({ kind: 'tree', staged: false }, commits));
      assert.equal(conflict?.path, 'a.txt');
    });
  });

  describe('by the task', () => {
    async function renamed(): Promise<string[]> {
      sandbox.git('mv', 'a.txt', 'new.txt');
      sandbox.write('new.txt', changed('a.txt', 15, 'agent'));
      sandbox.commit('agent');
      return await bench.end();
    }

    for (const staged of [false, true]) {
      it(`takes what the user edited along${staged ? ', and stages the rest alone' : ''}, and takes it back to the byte`, async () => {
        const commits = await renamed();
        user.write('a.txt', changed('a.txt', 2, 'user'));
        const before = seen(user.path);
        const result = await bench.accept({ kind: 'tree', staged }, commits);
        assert.equal(read('new.txt'), both('a.txt'));
        assert.ok(!isThere('a.txt'));
        if (staged) assert.equal(user.git('show', ':new.txt'), changed('a.txt', 15, 'agent').trimEnd());
        assert.equal(user.git('ls-files', 'a.txt'), staged ? '' : 'a.txt');
        await undoAccept(bench.journal, undoOf(result));
        assert.deepEqual(seen(user.path), before);
      });
    }

    it('takes along what is staged, apart from what is not', async () => {
      const commits = await renamed();
      user.write('a.txt', changed('a.txt', 2, 'user'));
      user.git('add', 'a.txt');
      user.write('a.txt', changed('a.txt', 2, 'user').replace('line 7 of a.txt', 'later'));
      await bench.accept({ kind: 'tree', staged: true }, commits);
      assert.equal(read('new.txt'), both('a.txt').replace('line 7 of a.txt', 'later'));
      assert.equal(user.git('show', ':new.txt'), both('a.txt').trimEnd());
      assert.equal(user.git('ls-files', 'a.txt'), '');
    });

    it('takes along what the user committed, and what not, onto the current branch', async () => {
      sandbox.git('mv', 'a.txt', 'new.txt');
      sandbox.commit('rename');
      sandbox.write('new.txt', changed('a.txt', 15, 'agent'));
      sandbox.commit('edit');
      const commits = await bench.end();
      user.write('a.txt', changed('a.txt', 2, 'user'));
      user.commit('mine');
      user.write('a.txt', changed('a.txt', 2, 'user').replace('line 7 of a.txt', 'later'));
      const before = seen(user.path);
      const result = await bench.accept({ kind: 'commits' }, commits);
      assert.equal(user.git('show', 'HEAD:new.txt'), both('a.txt').trimEnd());
      assert.equal(read('new.txt'), both('a.txt').replace('line 7 of a.txt', 'later'));
      assert.ok(!isThere('a.txt'));
      assert.equal(user.git('diff', '--name-only', 'HEAD'), 'new.txt');
      assert.match(user.git('log', '--format=%s', '-3'), /^edit\nrename\nmine$|^rename\nmine/);
      await undoAccept(bench.journal, undoOf(result));
      assert.deepEqual(seen(user.path)['/a.txt'], before['/a.txt']);
    });

    it('tells a conflict under the new name, and takes what the user made of it', async () => {
      sandbox.git('mv', 'a.txt', 'new.txt');
      sandbox.write('new.txt', changed('a.txt', 2, 'agent'));
      sandbox.commit('agent');
      const commits = await bench.end();
      user.write('a.txt', changed('a.txt', 2, 'user'));
      for (const target of [{ kind: 'tree', staged: false } as const, { kind: 'commits' } as const]) {
        const before = seen(user.path);
        const [conflict, ...more] = conflictsOf(await bench.accept(target, commits));
        assert.deepEqual(more, []);
        assert.equal(conflict?.path, 'new.txt');
        assert.match(conflict.marked ?? '', /<<<<<<<[^]*user[^]*agent[^]*>>>>>>>/);
        assert.deepEqual(seen(user.path), before);
        user.commit('mine');
      }
      const merged = new Map([['new.txt', Buffer.from('settled\n')]]);
      await bench.accept({ kind: 'commits' }, commits, { merged });
      assert.equal(read('new.txt'), 'settled\n');
      assert.ok(!isThere('a.txt'));
      assert.equal(user.git('status', '--porcelain'), '');
    });

    it('writes over nothing that the user has under the new name', async () => {
      const commits = await renamed();
      user.write('a.txt', changed('a.txt', 2, 'user'));
      user.write('new.txt', 'mine\n');
      const before = seen(user.path);
      const told = conflictsOf(await bench.accept({ kind: 'tree', staged: false }, commits));
      assert.deepEqual(told.map(({ path }) => path).sort(), ['a.txt', 'new.txt']);
      assert.deepEqual(seen(user.path), before);
    });
  });

  for (let number = first; number < first + cases; number++) {
    it(`gives what git's own merge gives, whoever renamed and edited (case ${number})`, async () => {
      const pick = chance(number + 30_000);
      const names = Array.from({ length: 8 }, (_, index) => `file ${index}`);
      for (const name of names) user.write(name, text(lines(name, 12 + pick(20))));
      user.commit('more');
      await bench.begin();
      const edit = (repository: GitRepo, path: string, who: string): void => {
        const all = readFileSync(join(repository.path, path), 'utf8').trimEnd().split('\n');
        all[pick(all.length)] = `${who} ${pick(1000)}`;
        repository.write(path, text(all));
      };
      for (const [index, name] of names.entries()) {
        const [mover, other] = index % 2 === 0 ? [user, sandbox] : [sandbox, user];
        const to = pick(3) === 0 ? name : `${pick(2) === 0 ? 'sub/' : ''}moved ${index}`;
        if (to !== name) move(mover, name, to);
        if (pick(2) === 0) edit(mover, to, 'mover');
        if (pick(4) > 0) edit(other, name, 'other');
      }
      sandbox.write('always.txt', 'there\n');
      sandbox.commit('agent');
      const commits = await bench.end();
      const isCurrent = pick(2) === 0;
      user.commit('mine');
      const oracle = join(bench.folder.path, 'oracle');
      user.git('clone', '--quiet', user.path, oracle);
      const options = [
        '-C',
        oracle,
        '-c',
        'merge.directoryRenames=false',
        '-c',
        'user.name=O',
        '-c',
        'user.email=o@x',
      ];
      user.git(...options, 'fetch', '--quiet', sandbox.path, 'task');
      const code = user.code(...options, 'merge', '--quiet', '--no-edit', 'FETCH_HEAD');
      if (!isCurrent) {
        // The same, not committed.
        user.git('reset', '--quiet', '--soft', 'HEAD~1');
        if (pick(2) === 0) user.git('reset', '--quiet');
      }
      const before = seen(user.path);
      const target = isCurrent ? ({ kind: 'commits' } as const) : ({ kind: 'tree', staged: false } as const);
      const result = await bench.accept(target, commits);
      if (result.kind === 'conflicts') {
        const unmerged = user.git('-C', oracle, 'diff', '--name-only', '-z', '--diff-filter=U').split('\0');
        assert.deepEqual(
          result.conflicts.map(({ path }) => path).sort(),
          unmerged.filter((path) => path !== '').sort(),
        );
        assert.deepEqual(seen(user.path), before);
        return;
      }
      assert.equal(code, 0, 'git tells conflicts');
      const files = (path: string): string =>
        user.git(
          '-C',
          path,
          '-c',
          'core.fsmonitor=false',
          'ls-files',
          '--others',
          '--cached',
          '--exclude-standard',
        );
      const there = (path: string): string[] =>
        [...new Set(files(path).split('\n'))].filter((name) => existsSync(join(path, name))).sort();
      assert.deepEqual(there(user.path), there(oracle));
      for (const name of there(oracle))
        assert.equal(read(name), readFileSync(join(oracle, name), 'utf8'), name);
      await undoAccept(bench.journal, undoOf(result));
      if (!isCurrent) assert.deepEqual(seen(user.path), before);
    });

    it(`is whole or not at all, and taken back to the byte, whatever both did (case ${number})`, async () => {
      const pick = chance(number + 40_000);
      fill(user.path, pick);
      user.commit('base');
      await bench.begin();
      stir(sandbox.path, pick, 1 + pick(6));
      sandbox.write('always.txt', 'there\n');
      sandbox.commit('agent');
      const commits = await bench.end();
      stir(user.path, pick, 1 + pick(6));
      const isCommitted = pick(2) === 0;
      if (isCommitted) user.commit('mine');
      else if (pick(2) === 0) user.git('add', '--all');
      const before = seen(user.path);
      const target = isCommitted
        ? ({ kind: 'commits' } as const)
        : ({ kind: 'tree', staged: pick(2) === 0 } as const);
      const result = await bench.accept(target, commits).catch((thrown: unknown) => {
        assert.equal(codeOf(thrown), 'accept_refused', String(thrown));
        return undefined;
      });
      if (result?.kind !== 'done') {
        assert.deepEqual(seen(user.path), before);
        return;
      }
      const files = filesOf(user.path);
      if (isCommitted) assert.equal(user.git('status', '--porcelain', '--untracked-files=all'), '');
      assert.equal(files['always.txt'], 'file there\n');
      await undoAccept(bench.journal, undoOf(result));
      if (isCommitted) {
        assert.equal(user.git('status', '--porcelain'), '');
        assert.equal(user.git('log', '-1', '--format=%s'), 'mine');
      } else assert.deepEqual(seen(user.path), before);
    });
  }
});
