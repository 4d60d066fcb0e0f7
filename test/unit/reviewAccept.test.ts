import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SallyportError } from '../../src/base/errors.ts';
import { undoAccept } from '../../src/git/accept/undo.ts';
import type { PartId, ReviewFile, ReviewScope } from '../../src/protocol/review.ts';
import type { AcceptOutcome } from '../../src/runner/review/taskReview.ts';
import { chance } from '../support/chance.ts';
import { fingerprint } from '../support/gitRepo.ts';
import { ReviewBench } from '../support/reviewBench.ts';

const accepter = fileURLToPath(new URL('../support/reviewAccepter.ts', import.meta.url));
const all: ReviewScope = { kind: 'all' };
const lines = (change: (n: number) => string = String): string =>
  Array.from({ length: 40 }, (_, i) => `${change(i + 1)}\n`).join('');
const before = lines();
const after = lines((n) => (n === 5 || n === 30 ? `new ${n}` : String(n)));
const tree = { kind: 'tree', staged: false } as const;

describe('accept from a review', () => {
  let bench: ReviewBench;

  afterEach(() => bench.dispose());

  const fileOf = async (path: string): Promise<ReviewFile> => {
    const found = (await bench.review.diff(all)).files.find((file) => file.path === path);
    assert(found);
    return found;
  };
  const partOf = async (path: string, index = 0): Promise<PartId> =>
    (await fileOf(path)).parts[index]?.id ?? '';
  const mine = (path: string): string => readFileSync(join(bench.user.path, path), 'utf8');
  const done = (outcome: AcceptOutcome) => {
    assert(outcome.kind === 'done');
    return outcome.record;
  };
  /** All that there is of the user's repository, but for the time of its git folder, in which an accept was at work. */
  const seen = (): Record<string, string> => ({ ...fingerprint(bench.user.path), '/.git': '' });
  /** As the next process begins. */
  const restart = (): void => {
    bench.reviews.dispose();
    bench.reviews = bench.another();
  };

  it('takes the hunks that are accepted into the tree, and undoes that', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after, b: 'fresh\n' });
    await bench.review.decide(all, { parts: [await partOf('a', 1)] }, 'accepted');
    const was = fingerprint(bench.user.path);
    const record = done(await bench.review.accept({ scope: all, what: 'accepted', target: tree }));
    assert.equal(mine('a'), before.replace('30\n', 'new 30\n'));
    assert.equal(existsSync(join(bench.user.path, 'b')), false);
    assert.equal(bench.user.git('diff', '--cached', '--name-only'), '');
    assert.deepEqual(
      { ...record, id: '', at: 0 },
      { id: '', at: 0, target: tree, files: 1, whole: false, undone: false },
    );
    let state = await bench.review.state();
    assert.deepEqual(state.taken, { [await partOf('a', 1)]: [record.id] });
    await bench.review.undo(record.id);
    assert.equal(mine('a'), before);
    assert.deepEqual(Object.keys(fingerprint(bench.user.path)), Object.keys(was));
    state = await bench.review.state();
    assert.deepEqual(state.taken, {});
    assert.equal(state.accepts[0]?.undone, true);
    await assert.rejects(bench.review.undo(record.id), { code: 'not_found' });
    await assert.rejects(bench.review.undo('nothing'), { code: 'not_found' });
  });

  it("brings the user's own content, and merges with what they changed meanwhile", async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    bench.user.write('a', before.replace('\n40\n', '\nforty\n'));
    const { id } = await fileOf('a');
    await bench.review.edit(all, id, Buffer.from(after.replace('new 5', 'my 5')));
    done(await bench.review.accept({ scope: all, what: 'rest', target: tree }));
    assert.equal(mine('a'), after.replace('new 5', 'my 5').replace('\n40\n', '\nforty\n'));
  });

  it('changes nothing where there are conflicts, and takes what the user makes of them', async () => {
    bench = await ReviewBench.open({ a: before, b: 'b\n' });
    await bench.commit('one', { a: after, b: 'new b\n' });
    bench.user.write('a', before.replace('5\n', 'mine\n'));
    const was = seen();
    const outcome = await bench.review.accept({ scope: all, what: 'rest', target: tree });
    assert(outcome.kind === 'conflicts');
    assert.deepEqual(
      outcome.conflicts.map(({ path }) => path),
      ['a'],
    );
    assert.deepEqual(seen(), was);
    assert.deepEqual((await bench.review.state()).accepts, []);
    const merged = new Map([['a', Buffer.from('both\n')]]);
    done(await bench.review.accept({ scope: all, what: 'rest', target: tree, merged }));
    assert.equal(mine('a'), 'both\n');
    assert.equal(mine('b'), 'new b\n');
  });

  it('keeps the gate shut until each of its files is decided', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after, '.github/workflows/ci.yml': 'on: push\n', Makefile: 'all:\n' });
    const was = fingerprint(bench.user.path);
    await bench.review.decide(all, { all: true }, 'accepted');
    await assert.rejects(
      bench.review.accept({ scope: all, what: 'rest', target: tree }),
      (thrown: SallyportError) => {
        assert.equal(thrown.code, 'gate_open');
        assert.match(thrown.message, /"\.github\/workflows\/ci\.yml"/);
        return true;
      },
    );
    const everything = (await bench.review.diff(all)).files.flatMap(({ parts }) => parts.map(({ id }) => id));
    const request = { scope: all, what: { parts: everything }, target: tree };
    await assert.rejects(bench.review.accept(request), { code: 'gate_open' });
    assert.deepEqual(fingerprint(bench.user.path), was);
    // What is accepted without them is taken without them.
    done(await bench.review.accept({ scope: all, what: 'accepted', target: tree }));
    assert.equal(mine('a'), after);
    assert.equal(existsSync(join(bench.user.path, '.github')), false);
    // One by one.
    for (const { id, gate } of (await bench.review.diff(all)).files)
      if (gate.length > 0) await bench.review.decide(all, { file: id }, 'accepted');
    done(await bench.review.accept({ scope: all, what: 'rest', target: tree }));
    assert.equal(mine('.github/workflows/ci.yml'), 'on: push\n');
  });

  it("makes a branch of the agent's own commits, or of one with what was chosen", async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const sha = await bench.commit('two', { b: 'x\n' });
    const target = { kind: 'branch', branch: 'claude/whole' } as const;
    const whole = done(await bench.review.accept({ scope: all, what: 'rest', target }));
    assert.equal(bench.user.git('rev-parse', 'claude/whole'), sha);
    assert.deepEqual([whole.whole, whole.branch, whole.commit], [true, 'claude/whole', sha]);
    await assert.rejects(bench.review.accept({ scope: all, what: 'rest', target }), {
      code: 'branch_exists',
    });
    await bench.review.decide(all, { file: (await fileOf('b')).id }, 'rejected');
    const part = done(
      await bench.review.accept({
        scope: all,
        what: 'rest',
        target: { kind: 'branch', branch: 'claude/part' },
        message: 'Only a\n',
      }),
    );
    assert.equal(part.whole, false);
    assert.equal(bench.user.git('log', '-1', '--format=%s %P', 'claude/part'), `Only a ${bench.base}`);
    assert.equal(bench.user.git('ls-tree', '--name-only', 'claude/part'), 'a');
    assert.equal(mine('a'), before);
    await bench.review.undo(part.id);
    assert.equal(bench.user.git('branch', '--list', 'claude/part'), '');
  });

  it("puts the agent's commits on the current branch, of a turn or a commit alone too", async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const sha = await bench.commit('two', { b: 'x\n' });
    const target = { kind: 'commits' } as const;
    done(await bench.review.accept({ scope: { kind: 'commit', sha }, what: 'rest', target }));
    assert.equal(bench.user.git('log', '--format=%s'), 'two\nbase');
    assert.equal(mine('a'), before);
    const record = done(await bench.review.accept({ scope: all, what: 'rest', target }));
    assert.equal(mine('a'), after);
    assert.equal(bench.user.git('status', '--porcelain'), '');
    await bench.review.undo(record.id);
    assert.equal(mine('a'), before);
    assert.equal(bench.user.git('log', '--format=%s'), 'two\nbase');
  });

  it('commits what was left uncommitted with the message of the user', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    await bench.leave({ d: 'left\n' });
    const scope: ReviewScope = { kind: 'leftovers' };
    done(await bench.review.accept({ scope, what: 'rest', target: { kind: 'commits' }, message: 'Mine' }));
    assert.equal(bench.user.git('log', '-1', '--format=%s'), 'Mine');
    assert.equal(mine('d'), 'left\n');
    assert.equal(mine('a'), before);
  });

  it('refuses what is not to be had, in words', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const rest = { scope: all, what: 'rest', target: tree } as const;
    await assert.rejects(bench.review.accept({ ...rest, what: 'accepted' }), { code: 'nothing_to_accept' });
    await assert.rejects(bench.review.accept({ ...rest, what: { parts: ['0'.repeat(16)] } }), {
      code: 'conflict',
    });
    await assert.rejects(bench.review.accept({ ...rest, target: { kind: 'branch', branch: '../x' } }), {
      code: 'invalid_branch',
    });
    bench.user.write('.git/MERGE_HEAD', `${bench.base}\n`);
    await assert.rejects(bench.review.accept(rest), { code: 'operation_in_progress' });
    assert.equal(mine('a'), before);
  });

  it('needs the repository that the task began with', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    renameSync(bench.user.path, `${bench.user.path}-away`);
    const rest = { scope: all, what: 'rest', target: tree } as const;
    await assert.rejects(bench.review.accept(rest), { code: 'no_repository' });
  });

  it('has no place for a task that was submitted elsewhere', async () => {
    const repository = { id: 'remote-1', name: 'x', path: '' };
    bench = await ReviewBench.open({ a: before }, { repository });
    await bench.commit('one', { a: after });
    await bench.review.decide(all, { all: true }, 'accepted');
    await assert.rejects(
      bench.review.accept({ scope: all, what: 'accepted', target: tree }),
      (thrown: SallyportError) => {
        assert.equal(thrown.code, 'no_repository');
        assert.notEqual(thrown.mend, '');
        return true;
      },
    );
  });

  it('is in the log also when the process was killed before it could say so', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const record = done(await bench.review.accept({ scope: all, what: 'rest', target: tree }));
    const path = join(bench.taskFolder, 'review.ndjson');
    const text = readFileSync(path, 'utf8');
    assert.match(text.trimEnd().split('\n').at(-1) ?? '', /"accepted"/);
    writeFileSync(path, text.trimEnd().split('\n').slice(0, -1).join('\n'));
    restart();
    const state = await bench.review.state();
    assert.deepEqual({ ...state.accepts[0], at: 0 }, { ...record, at: 0 });
    assert.equal(Object.keys(state.taken).length, 2);
    await bench.review.undo(record.id);
    assert.equal(mine('a'), before);
  });

  it('is undone in the log also when the process was killed before it could say so', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const record = done(await bench.review.accept({ scope: all, what: 'rest', target: tree }));
    await undoAccept(join(bench.taskFolder, 'accepts'), record.id);
    restart();
    const state = await bench.review.state();
    assert.equal(state.accepts[0]?.undone, true);
    assert.deepEqual(state.taken, {});
  });

  it('is whole or not at all, and the log says which, whenever its process is killed', async function () {
    const names = Array.from({ length: 40 }, (_, i) => `f${i}`);
    const files = (content: string): Record<string, string> =>
      Object.fromEntries(names.map((name) => [name, content]));
    bench = await ReviewBench.open({ ...files(before), gone: 'x\n' });
    await bench.commit('one', { ...files(after), fresh: 'y\n', gone: null });
    const statePath = join(bench.folder.path, 'state.json');
    writeFileSync(statePath, JSON.stringify(bench.task));
    const below = chance(11);
    const came = { whole: 0, none: 0 };
    for (let round = 0; round < 10; round++) {
      const args = [bench.taskFolder, join(bench.folder.path, 'quarantine'), statePath];
      const child = spawn(process.execPath, [accepter, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
      const exit = once(child, 'exit');
      await once(child.stdout, 'data');
      const said = Promise.race([
        once(child.stdout, 'data'),
        exit.then(() => assert.equal(child.signalCode, 'SIGKILL', 'it ended by itself')),
      ]);
      if (round === 0) await said;
      else await Promise.race([said, new Promise((killed) => setTimeout(killed, below(1200)))]);
      child.kill('SIGKILL');
      await exit;
      restart();
      const troubles: SallyportError[] = [];
      await bench.reviews.settle([bench.id], (error) => troubles.push(error));
      assert.deepEqual(troubles, []);
      const isWhole = existsSync(join(bench.user.path, 'fresh'));
      for (const name of names) assert.equal(mine(name), isWhole ? after : before, `round ${round}, ${name}`);
      assert.equal(existsSync(join(bench.user.path, 'gone')), !isWhole);
      const { accepts, taken } = await bench.review.state();
      const open = accepts.filter(({ undone }) => !undone);
      assert.equal(open.length, isWhole ? 1 : 0, `round ${round}`);
      assert.equal(Object.keys(taken).length > 0, isWhole);
      came[isWhole ? 'whole' : 'none']++;
      if (open[0] !== undefined) await bench.review.undo(open[0].id);
      assert.equal(bench.user.git('status', '--porcelain'), '');
    }
    assert(came.whole > 0, JSON.stringify(came));
  });

  it('is one at a time, from whichever window', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const other = bench.another();
    const request = { scope: all, what: 'rest', target: { kind: 'branch', branch: 'x' } } as const;
    const both = await Promise.allSettled([bench.review.accept(request), other.of(bench.id).accept(request)]);
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.equal((await bench.review.state()).accepts.length, 1);
    other.dispose();
  });
});
