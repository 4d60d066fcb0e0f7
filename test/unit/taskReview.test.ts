import assert from 'node:assert/strict';
import type { ReviewDiff, ReviewFile, ReviewScope } from '../../src/protocol/review.ts';
import { newTaskId } from '../../src/protocol/task.ts';
import { chance } from '../support/chance.ts';
import { GitRepo } from '../support/gitRepo.ts';
import { ReviewBench } from '../support/reviewBench.ts';

const all: ReviewScope = { kind: 'all' };
const lines = (count: number, change: (n: number) => string = String): string =>
  Array.from({ length: count }, (_, i) => `${change(i + 1)}\n`).join('');

/** 40 lines, of which the 5th and the 30th are others. */
const before = lines(40);
const after = lines(40, (n) => (n === 5 || n === 30 ? `new ${n}` : String(n)));

describe('review of a task', () => {
  let bench: ReviewBench;

  afterEach(() => bench.dispose());

  const file = (diff: ReviewDiff, path: string): ReviewFile => {
    const found = diff.files.find((one) => one.path === path);
    assert(found, `no ${path} in the diff`);
    return found;
  };
  const diffOf = (scope: ReviewScope = all): Promise<ReviewDiff> => bench.review.diff(scope);
  const text = async (path: string, scope: ReviewScope = all): Promise<string> =>
    Buffer.from(await bench.review.content(scope, file(await diffOf(scope), path).id)).toString();

  it('offers everything, turns, commits and what was left uncommitted', async () => {
    bench = await ReviewBench.open({ a: before });
    assert.deepEqual(await bench.review.scopes(), []);
    assert.deepEqual((await diffOf()).files, []);
    bench.beginTurn();
    const one = await bench.commit('first', { a: after });
    bench.endTurn();
    bench.beginTurn('now the other\nand more');
    bench.endTurn();
    bench.beginTurn('go on');
    const two = await bench.commit('second', { b: 'x\n' });
    const three = await bench.commit('third', { c: 'y\n' });
    await bench.leave({ d: 'z\n' });
    const scopes = await bench.review.scopes();
    assert.deepEqual(
      scopes.map(({ label }) => label),
      ['Everything', 'Turn 1', 'Turn 3', 'first', 'second', 'third', 'Uncommitted edits'],
    );
    assert.deepEqual(scopes[2]?.detail, 'go on');
    const paths = async (scope: ReviewScope): Promise<string[]> =>
      (await diffOf(scope)).files.map(({ path }) => path).sort();
    assert.deepEqual(await paths(all), ['a', 'b', 'c']);
    assert.deepEqual(await paths({ kind: 'turn', turn: 1 }), ['a']);
    assert.deepEqual(await paths({ kind: 'turn', turn: 2 }), []);
    assert.deepEqual(await paths({ kind: 'turn', turn: 3 }), ['b', 'c']);
    assert.deepEqual(await paths({ kind: 'commit', sha: one }), ['a']);
    assert.deepEqual(await paths({ kind: 'commit', sha: two }), ['b']);
    assert.deepEqual(await paths({ kind: 'commit', sha: three }), ['c']);
    assert.deepEqual(await paths({ kind: 'leftovers' }), ['d']);
    await assert.rejects(diffOf({ kind: 'turn', turn: 9 }), { code: 'not_found' });
    await assert.rejects(diffOf({ kind: 'commit', sha: bench.base }), { code: 'not_found' });
  });

  it('offers the turns of a task that went on after its end', async () => {
    bench = await ReviewBench.open({ a: before }, { conversation: false });
    await bench.commit('one', { a: after });
    const checkpoint = (turn: number): void =>
      bench.runner.say(bench.id, { type: 'checkpoint', turn, commit: bench.agent.git('rev-parse', 'HEAD') });
    checkpoint(1);
    bench.end();
    assert.deepEqual(
      (await bench.review.scopes()).map(({ label }) => label),
      ['Everything', 'one'],
    );
    bench.runner.say(bench.id, {
      type: 'reopened',
      message: newTaskId(Date.now()),
      text: 'and b',
      conversation: false,
      budgetUsd: null,
    });
    await bench.commit('two', { b: 'x\n' });
    checkpoint(2);
    bench.end();
    const scopes = await bench.review.scopes();
    assert.deepEqual(scopes.map(({ label, detail }) => `${label}: ${detail}`).slice(0, 3), [
      'Everything: 2 commits',
      'Turn 1: Fix the median',
      'Turn 2: and b',
    ]);
    const second = await diffOf({ kind: 'turn', turn: 2 });
    assert.deepEqual(
      second.files.map(({ path }) => path),
      ['b'],
    );
  });

  it('compares a merge with its first parent, and a first commit with nothing', async () => {
    bench = await ReviewBench.open({ a: before });
    bench.agent.git('checkout', '--quiet', '--orphan', 'root');
    bench.agent.git('rm', '--quiet', '-rf', '.');
    bench.agent.write('alone', 'x\n');
    const root = bench.agent.commit('root');
    bench.agent.git('checkout', '--quiet', 'main');
    bench.agent.write('mine', 'x\n');
    bench.agent.commit('mine');
    bench.agent.git('merge', '--quiet', '--allow-unrelated-histories', '-m', 'merge', 'root');
    const merge = bench.agent.git('rev-parse', 'HEAD');
    await bench.bringIn(merge);
    await bench.bringIn(root);
    const paths = async (sha: string): Promise<string[]> =>
      (await diffOf({ kind: 'commit', sha })).files.map(({ path }) => path);
    assert.deepEqual(await paths(root), ['alone']);
    assert.deepEqual(await paths(merge), ['alone']);
  });

  it('keeps a verdict over turns for what stays as it was, and a mark for files that stay', async () => {
    bench = await ReviewBench.open({ a: before, b: before });
    await bench.commit('one', { a: after, b: after });
    const first = await diffOf();
    const [top, bottom] = file(first, 'a').parts;
    assert(top && bottom);
    await bench.review.decide(all, { parts: [top.id] }, 'accepted');
    await bench.review.decide(all, { parts: [bottom.id] }, 'rejected');
    await bench.review.setReviewed([file(first, 'a'), file(first, 'b')], true);
    await bench.commit('two', { a: after.replace('new 30', 'newer 30') });
    const second = await diffOf();
    const state = await bench.review.state();
    const verdicts = file(second, 'a').parts.map(({ id }) => state.verdicts[id]);
    assert.deepEqual(verdicts, ['accepted', undefined]);
    assert.equal(state.reviewed[file(second, 'a').fingerprint], undefined);
    assert.equal(state.reviewed[file(second, 'b').fingerprint], true);
    // The same hunks in the commit that made them.
    assert.deepEqual(state.rejected[bottom.id]?.text, '-30\n+new 30\n');
  });

  it('is the same after a restart, and in another window', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const other = bench.another();
    const heard: number[] = [];
    const listening = other.of(bench.id).onDidChange(({ lastEvent }) => heard.push(lastEvent));
    const state = await bench.review.decide(all, { all: true }, 'accepted');
    assert.equal(Object.keys(state.verdicts).length, 2);
    while (heard.at(-1) !== state.lastEvent) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(await other.of(bench.id).state(), state);
    listening.dispose();
    other.dispose();
    bench.reviews.dispose();
    bench.reviews = bench.another();
    assert.deepEqual(await bench.review.state(), state);
  });

  it('accepts nothing of the gate in bulk', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after, '.github/workflows/ci.yml': 'on: push\n' });
    const guarded = file(await diffOf(), '.github/workflows/ci.yml');
    assert.equal((await diffOf()).files[0], guarded);
    assert.notEqual(guarded.gate.length, 0);
    const ids = (await diffOf()).files.flatMap(({ parts }) => parts.map(({ id }) => id));
    const guard = guarded.parts[0]?.id ?? '';
    for (const choice of [{ all: true as const }, { parts: ids }]) {
      const state = await bench.review.decide(all, choice, 'accepted');
      assert.equal(state.verdicts[guard], undefined);
      assert.equal(Object.keys(state.verdicts).length, 2);
    }
    const rejected = await bench.review.decide(all, { all: true }, 'rejected');
    assert.equal(rejected.verdicts[guard], 'rejected');
    const alone = await bench.review.decide(all, { file: guarded.id }, 'accepted');
    assert.equal(alone.verdicts[guard], 'accepted');
  });

  it('takes what belongs together the same way', async () => {
    bench = await ReviewBench.open({ dir: 'a file\n' });
    bench.agent.git('rm', '--quiet', 'dir');
    await bench.commit('one', { 'dir/inside': 'x\n' });
    const diff = await diffOf();
    const gone = file(diff, 'dir').parts[0]?.id ?? '';
    const inside = file(diff, 'dir/inside').parts[0]?.id ?? '';
    let state = await bench.review.decide(all, { parts: [inside] }, 'accepted');
    assert.deepEqual(state.verdicts, { [inside]: 'accepted', [gone]: 'accepted' });
    state = await bench.review.decide(all, { parts: [gone] }, 'rejected');
    assert.deepEqual(state.verdicts, { [inside]: 'rejected', [gone]: 'rejected' });
    state = await bench.review.decide(all, { all: true }, null);
    assert.deepEqual(state.verdicts, {});
  });

  it('says so when what is decided is not there any more', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const [top] = file(await diffOf(), 'a').parts;
    assert(top);
    await bench.review.decide(all, { parts: [top.id] }, 'accepted');
    await bench.commit('two', { a: before });
    await assert.rejects(bench.review.decide(all, { parts: [top.id] }, 'rejected'), { code: 'conflict' });
    await assert.rejects(bench.review.decide(all, { file: '0'.repeat(16) }, 'rejected'), {
      code: 'conflict',
    });
    // What was said of it can be taken back all the same.
    const state = await bench.review.decide(all, { parts: [top.id] }, null);
    assert.deepEqual(state.verdicts, {});
  });

  it('shows a file without what is rejected', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after, b: 'fresh\n' });
    const [, bottom] = file(await diffOf(), 'a').parts;
    assert.equal(await text('a'), after);
    await bench.review.decide(all, { parts: [bottom?.id ?? ''] }, 'rejected');
    assert.equal(await text('a'), after.replace('new 30', '30'));
    await bench.review.decide(all, { file: file(await diffOf(), 'b').id }, 'rejected');
    assert.equal(await text('b'), '');
  });

  it('takes a content without a hunk as a rejection, and any other as an edit', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const a = file(await diffOf(), 'a');
    const [top, bottom] = a.parts;
    assert(top && bottom);
    const edit = (content: string | undefined) =>
      bench.review.edit(all, a.id, content === undefined ? undefined : Buffer.from(content));
    let state = await edit(after.replace('new 30', '30'));
    assert.deepEqual(state.verdicts, { [bottom.id]: 'rejected' });
    assert.deepEqual(state.edits, {});
    assert.equal(state.rejected[bottom.id]?.text, '-30\n+new 30\n');
    // As it was: nothing is rejected any more.
    state = await edit(after);
    assert.deepEqual(state.verdicts, {});
    const own = after.replace('new 5', 'my own 5');
    state = await edit(own);
    assert.deepEqual(state.verdicts, {});
    assert.deepEqual(Object.keys(state.edits), [a.id]);
    assert.equal(await text('a'), own);
    const shown = file(await diffOf(), 'a');
    assert.equal(shown.parts[1]?.id, bottom.id);
    assert.notEqual(shown.parts[0]?.id, top.id);
    // The agent's hunk is taken away again, the user's stays.
    state = await edit(own.replace('new 30', '30'));
    assert.deepEqual(state.verdicts, { [bottom.id]: 'rejected' });
    assert.equal(await text('a'), own.replace('new 30', '30'));
    // The user's own goes: nothing of that is for the agent to hear.
    state = await edit(before);
    assert.deepEqual(Object.keys(state.rejected).sort(), [top.id, bottom.id].sort());
    state = await edit(undefined);
    assert.deepEqual(state.edits, {});
  });

  it('keeps an edit over what comes later, and shows it as it was written where the file is as it was', async () => {
    bench = await ReviewBench.open({ a: before, b: before });
    await bench.commit('one', { a: after, b: after });
    const a = file(await diffOf(), 'a');
    await bench.review.edit(all, a.id, Buffer.from(`mine\n${after}`));
    await bench.commit('two', { b: before });
    assert.equal(await text('a'), `mine\n${after}`);
    await bench.commit('three', { a: `${after}more\n` });
    assert.equal(await text('a'), `mine\n${after}more\n`);
    await bench.commit('four', { a: after });
    assert.equal(await text('a'), `mine\n${after}`);
  });

  it('shows the same whatever was shown before', async () => {
    bench = await ReviewBench.open({ a: before, b: before, c: before });
    const below = chance(5);
    for (let round = 0; round < 8; round++) {
      const path = ['a', 'b', 'c'][below(3)] ?? 'a';
      const at = 1 + below(40);
      const text = lines(40, (n) => (n === at ? `round ${round}` : String(n)));
      if (round < 2 || below(2) === 0) await bench.commit(`round ${round}`, { [path]: text });
      else {
        const changed = (await diffOf()).files[0];
        if (changed !== undefined)
          await bench.review.edit(all, changed.id, Buffer.from(`mine ${round}\n${text}`));
      }
      const fresh = bench.another();
      assert.deepEqual(await diffOf(), await fresh.of(bench.id).diff(all), `round ${round}`);
      fresh.dispose();
    }
  });

  it('keeps what the user wrote until the task is removed', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const a = file(await diffOf(), 'a');
    const { edits } = await bench.review.edit(all, a.id, Buffer.from('mine\n'));
    const oid = edits[a.id]?.content ?? '';
    const { quarantine } = bench.runner;
    const store = new GitRepo(quarantine.gitDir, { init: false });
    await quarantine.prune();
    assert.equal(store.code('cat-file', '-e', oid), 0);
    assert.equal(await text('a'), 'mine\n');
    await quarantine.removeTask(bench.id);
    await quarantine.prune();
    assert.notEqual(store.code('cat-file', '-e', oid), 0);
  });

  it('refuses to edit what is no text', async () => {
    bench = await ReviewBench.open({ a: Buffer.from([0, 1, 2]), gone: 'x\n' });
    await bench.commit('one', { a: Buffer.from([0, 3, 4]), gone: null });
    const diff = await diffOf();
    for (const path of ['a', 'gone'])
      await assert.rejects(bench.review.edit(all, file(diff, path).id, Buffer.from('x')), {
        code: 'invalid_input',
      });
  });

  it('is gone with its task', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const { review } = bench;
    await review.decide(all, { all: true }, 'accepted');
    bench.runner.drop(bench.id);
    assert.throws(() => bench.review, { code: 'task_unknown' });
    await assert.rejects(review.decide(all, { all: true }, null), { code: 'task_unknown' });
  });
});
