import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReviewDiff, ReviewFile, ReviewScope, ReviewState } from '../../src/protocol/review.ts';
import type { EditConflict } from '../../src/runner/review/taskReview.ts';
import { chance } from '../support/chance.ts';
import { ReviewBench } from '../support/reviewBench.ts';

const all: ReviewScope = { kind: 'all' };
const lines = (count: number, change: (n: number) => string = String): string =>
  Array.from({ length: count }, (_, i) => `${change(i + 1)}\n`).join('');
const numbered = (changes: Record<number, string>): string => lines(40, (n) => changes[n] ?? String(n));

describe('an edit of the user and a later turn', () => {
  let bench: ReviewBench;

  afterEach(() => bench.dispose());

  const diffOf = (scope: ReviewScope = all): Promise<ReviewDiff> => bench.review.diff(scope);
  const find = async (path: string, scope: ReviewScope = all): Promise<ReviewFile | undefined> =>
    (await diffOf(scope)).files.find((one) => one.path === path);
  const file = async (path: string, scope: ReviewScope = all): Promise<ReviewFile> => {
    const found = await find(path, scope);
    assert.ok(found, `no ${path} in the diff`);
    return found;
  };
  const bytes = async (path: string, scope: ReviewScope = all): Promise<Buffer> =>
    Buffer.from(await bench.review.content(scope, (await file(path, scope)).id));
  const text = async (path: string, scope: ReviewScope = all): Promise<string> =>
    (await bytes(path, scope)).toString();
  const edit = async (
    path: string,
    content: string | Uint8Array,
    scope: ReviewScope = all,
  ): Promise<ReviewState> =>
    await bench.review.edit(scope, (await file(path, scope)).id, Buffer.from(content));
  const conflict = async (path: string): Promise<EditConflict> =>
    await bench.review.editConflict(all, (await file(path)).id);
  const userHas = (path: string): string => readFileSync(join(bench.user.path, path), 'utf8');
  const accept = (what: 'rest' | 'accepted' = 'rest') =>
    bench.review.accept({ scope: all, what, target: { kind: 'tree', staged: false } });
  const refused = { code: 'conflict', message: /are in conflict/ };

  it('carries an edit over where git can merge it, says so, and takes it over with the rest', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    const first = await bench.commit('one', { a: numbered({ 5: 'agent' }) });
    await edit('a', numbered({ 5: 'agent', 20: 'mine' }));
    assert.deepEqual((await file('a')).edit, { kind: 'own', by: (await file('a')).id });
    await bench.commit('two', { a: numbered({ 5: 'agent', 35: 'later' }) });
    const carried = numbered({ 5: 'agent', 20: 'mine', 35: 'later' });
    assert.equal(await text('a'), carried);
    assert.equal((await file('a')).edit?.kind, 'carried');
    // Where the version that it was written for is shown, it stands as it was written.
    const before: ReviewScope = { kind: 'commit', sha: first };
    assert.equal(await text('a', before), numbered({ 5: 'agent', 20: 'mine' }));
    assert.equal((await file('a', before)).edit?.kind, 'own');
    await bench.commit('three', { a: numbered({ 5: 'agent', 34: 'again', 35: 'later' }) });
    const last = numbered({ 5: 'agent', 20: 'mine', 34: 'again', 35: 'later' });
    assert.equal(await text('a'), last);
    bench.reviews.dispose();
    bench.reviews = bench.another();
    assert.equal(await text('a'), last);
    assert.equal((await accept()).kind, 'done');
    assert.equal(userHas('a'), last);
  });

  it('takes an edit back that was carried over, and lets it be edited further', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    await bench.commit('one', { a: numbered({ 5: 'agent' }) });
    await edit('a', numbered({ 5: 'agent', 20: 'mine' }));
    await bench.commit('two', { a: numbered({ 5: 'agent', 35: 'later' }) });
    const further = numbered({ 5: 'agent', 20: 'mine', 21: 'more', 35: 'later' });
    await edit('a', further);
    assert.equal((await file('a')).edit?.kind, 'own');
    assert.equal(await text('a'), further);
    await bench.commit('three', { a: numbered({ 5: 'agent', 30: 'x', 35: 'later' }) });
    assert.equal((await file('a')).edit?.kind, 'carried');
    const state = await bench.review.edit(all, (await file('a')).id, undefined);
    assert.deepEqual(state.edits, {});
    assert.equal(await text('a'), numbered({ 5: 'agent', 30: 'x', 35: 'later' }));
    assert.equal((await file('a')).edit, undefined);
  });

  it('says nothing more of an edit that the task has made itself', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    await bench.commit('one', { a: numbered({ 5: 'agent' }) });
    await edit('a', numbered({ 5: 'agent', 20: 'mine' }));
    await bench.commit('two', { a: numbered({ 5: 'agent', 20: 'mine', 35: 'later' }) });
    assert.equal((await file('a')).edit, undefined);
    assert.equal(await text('a'), numbered({ 5: 'agent', 20: 'mine', 35: 'later' }));
  });

  it('keeps what was rejected away from what it carries over', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    await bench.commit('one', { a: numbered({ 5: 'agent', 30: 'unwanted' }) });
    const [, unwanted] = (await file('a')).parts;
    assert.ok(unwanted);
    await edit('a', numbered({ 5: 'agent', 18: 'mine', 30: 'unwanted' }));
    await bench.review.decide(all, { parts: [unwanted.id] }, 'rejected');
    await bench.commit('two', { a: numbered({ 5: 'agent', 11: 'later', 30: 'unwanted' }) });
    assert.equal(await text('a'), numbered({ 5: 'agent', 11: 'later', 18: 'mine' }));
    const { verdicts } = await bench.review.state();
    assert.deepEqual(
      (await file('a')).parts.map(({ id }) => verdicts[id]),
      [undefined, undefined, undefined, 'rejected'],
    );
    // Only the file without an edit has the words of the task.
    await bench.commit('three', { b: 'x\n' });
    assert.equal(await text('a'), numbered({ 5: 'agent', 11: 'later', 18: 'mine' }));
  });

  it('accepts nothing of a file whose edit is in conflict, until that is merged', async () => {
    bench = await ReviewBench.open({ a: numbered({}), b: 'b\n' });
    await bench.commit('one', { a: numbered({ 5: 'agent' }), b: 'B\n' });
    const mine = numbered({ 5: 'mine' });
    await edit('a', mine);
    await bench.review.decide(all, { file: (await file('a')).id }, 'accepted');
    const theirs = numbered({ 5: 'agent again', 30: 'later' });
    await bench.commit('two', { a: theirs });
    const { id, edit: flag } = await file('a');
    assert.deepEqual(flag, { kind: 'conflict', by: id, why: 'lines' });
    assert.equal(await text('a'), theirs);
    await assert.rejects(accept(), refused);
    await assert.rejects(bench.review.decide(all, { file: id }, 'accepted'), refused);
    const state = await bench.review.decide(all, { all: true }, 'accepted');
    assert.equal(state.verdicts[(await file('b')).parts[0]?.id ?? ''], 'accepted');
    for (const { id: part } of (await file('a')).parts) assert.equal(state.verdicts[part], undefined);
    const parts = (await file('a')).parts.map((part) => part.id);
    await assert.rejects(
      bench.review.accept({ scope: all, what: { parts }, target: { kind: 'branch', branch: 'x' } }),
      refused,
    );
    // What is typed over the task's version would be in place of what was written before.
    await assert.rejects(edit('a', `first\n${theirs}`), refused);
    assert.equal((await bench.review.state()).edits[id] !== undefined, true);
    // A hunk of the task's can be rejected all the same.
    await edit('a', numbered({ 5: 'agent again' }));
    assert.equal((await file('a')).edit?.kind, 'conflict');
    await bench.review.decide(all, { file: id }, null);

    const told = await conflict('a');
    assert.equal(Buffer.from(told.base ?? []).toString(), numbered({ 5: 'agent' }));
    assert.equal(Buffer.from(told.current ?? []).toString(), mine);
    assert.equal(Buffer.from(told.incoming ?? []).toString(), theirs);
    assert.match(
      Buffer.from(told.marked ?? []).toString(),
      /<<<<<<< Your edit\nmine\n(\|{7}.*\n.*\n)?=======\nagent again\n>>>>>>> The new version of the task\n/,
    );
    const both = numbered({ 5: 'both', 30: 'later' });
    await bench.review.settleEdit(told, Buffer.from(both));
    assert.equal((await file('a')).edit?.kind, 'own');
    assert.equal(await text('a'), both);
    await assert.rejects(conflict('a'), { code: 'not_found' });
    await assert.rejects(bench.review.settleEdit(told, Buffer.from('late')), { code: 'conflict' });
    assert.equal((await accept()).kind, 'done');
    assert.equal(userHas('a'), both);
  });

  it('carries on what was merged while the task went on', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    await bench.commit('one', { a: numbered({ 5: 'agent' }) });
    await edit('a', numbered({ 5: 'mine' }));
    await bench.commit('two', { a: numbered({ 5: 'other' }) });
    const told = await conflict('a');
    await bench.commit('three', { a: numbered({ 5: 'other', 30: 'later' }) });
    await bench.review.settleEdit(told, Buffer.from(numbered({ 5: 'both' })));
    assert.equal((await file('a')).edit?.kind, 'carried');
    assert.equal(await text('a'), numbered({ 5: 'both', 30: 'later' }));
  });

  it('lets a conflict be ended by leaving the file to the task', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    await bench.commit('one', { a: numbered({ 5: 'agent' }) });
    for (const leave of ['discard', 'none', 'theirs'] as const) {
      await bench.commit('again', { a: numbered({ 5: `agent ${leave}` }) });
      await edit('a', numbered({ 5: `mine ${leave}` }));
      const theirs = numbered({ 5: `later ${leave}` });
      await bench.commit('more', { a: theirs });
      const told = await conflict('a');
      if (leave === 'discard') await bench.review.edit(all, told.file, undefined);
      else await bench.review.settleEdit(told, leave === 'none' ? undefined : Buffer.from(theirs));
      assert.deepEqual((await bench.review.state()).edits, {}, leave);
      assert.equal(await text('a'), theirs);
    }
  });

  it('follows a file that the task renames', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    await bench.commit('one', { a: numbered({ 5: 'agent' }) });
    await edit('a', numbered({ 5: 'agent', 20: 'mine' }));
    bench.agent.git('mv', 'a', 'b');
    await bench.commit('two', {});
    assert.equal(await text('b'), numbered({ 5: 'agent', 20: 'mine' }));
    assert.equal((await file('b')).edit?.kind, 'carried');
    await bench.commit('three', { b: numbered({ 5: 'agent', 35: 'later' }) });
    assert.equal(await text('b'), numbered({ 5: 'agent', 20: 'mine', 35: 'later' }));
    await edit('b', numbered({ 5: 'agent', 20: 'mine too', 35: 'later' }));
    assert.deepEqual(Object.keys((await bench.review.state()).edits), [(await file('b')).id]);
    assert.equal((await accept()).kind, 'done');
    assert.equal(existsSync(join(bench.user.path, 'a')), false);
    assert.equal(userHas('b'), numbered({ 5: 'agent', 20: 'mine too', 35: 'later' }));
  });

  it('asks whether an edited file is to stay that the task has deleted', async () => {
    bench = await ReviewBench.open({ old: 'old\n' });
    await bench.commit('one', { old: 'agent\n', fresh: 'agent\n' });
    await edit('old', 'mine\n');
    await edit('fresh', 'mine too\n');
    await bench.commit('two', { old: null, fresh: null });
    for (const path of ['old', 'fresh']) assert.equal((await file(path)).edit?.why, 'deleted', path);
    assert.equal((await file('old')).status, 'deleted');
    // Nobody has it any more: the user's own words are shown.
    assert.equal((await file('fresh')).status, 'added');
    await assert.rejects(accept(), refused);
    const gone = await conflict('old');
    assert.equal(gone.incoming, undefined);
    assert.equal(gone.marked, undefined);
    for (const path of ['old', 'fresh']) {
      const told = await conflict(path);
      await bench.review.settleEdit(told, told.current);
      assert.equal((await file(path)).edit?.kind, 'own', path);
    }
    assert.equal(await text('old'), 'mine\n');
    // They can be written further, and stay when the task goes on elsewhere.
    await edit('fresh', 'mine too, and more\n');
    await bench.commit('three', { other: 'x\n' });
    assert.equal(await text('fresh'), 'mine too, and more\n');
    assert.equal((await accept()).kind, 'done');
    assert.equal(userHas('old'), 'mine\n');
    assert.equal(userHas('fresh'), 'mine too, and more\n');
    // And when the task makes the file again, both are there to be chosen from.
    await bench.commit('four', { fresh: 'agent again\n' });
    assert.equal((await file('fresh')).edit?.why, 'lines');
    assert.equal((await conflict('fresh')).base, undefined);
    await bench.review.edit(all, (await file('fresh')).id, undefined);
    assert.equal(await text('fresh'), 'agent again\n');
  });

  it('lets a deletion stand, and keeps no file where a folder is now', async () => {
    bench = await ReviewBench.open({ x: 'x\n' });
    await bench.commit('one', { gone: 'agent\n', place: 'agent\n' });
    await edit('gone', 'mine\n');
    await edit('place', 'mine\n');
    await bench.commit('two', { gone: null, place: null });
    await bench.review.settleEdit(await conflict('gone'), undefined);
    assert.equal(await find('gone'), undefined);
    await bench.commit('three', { 'place/inside': 'agent\n' });
    assert.equal(await find('place'), undefined);
    assert.equal((await accept()).kind, 'done');
    assert.equal(userHas('place/inside'), 'agent\n');
  });

  it('merges no bytes that are no text, and no link', async () => {
    const latin = (word: string): Buffer => Buffer.from(`${lines(10)}caf\xe9\n${word}\n`, 'latin1');
    bench = await ReviewBench.open({ x: 'x\n' });
    await bench.commit('one', { latin: latin('a'), binary: 'text\n', link: 'text\n' });
    await edit('latin', Buffer.concat([Buffer.from('mine\n'), latin('a')]));
    await edit('binary', 'mine\n');
    await edit('link', 'mine\n');
    bench.agent.git('rm', '--quiet', 'link');
    symlinkSync('/etc/passwd', join(bench.agent.path, 'link'));
    await bench.commit('two', { latin: latin('b'), binary: Buffer.from([1, 0, 2]) });
    const why = async (path: string) => (await file(path)).edit?.why;
    assert.deepEqual(
      [await why('latin'), await why('binary'), await why('link')],
      ['noText', 'noText', 'noFile'],
    );
    for (const path of ['latin', 'binary', 'link']) {
      const told = await conflict(path);
      assert.equal(told.marked, undefined, path);
      assert.ok(told.incoming, path);
      await bench.review.settleEdit(told, told.current);
      assert.deepEqual(await bytes(path), Buffer.from(told.current ?? []), path);
    }
    // A file is written where the user wants one, not what the link points at.
    assert.equal((await file('link')).newMode, '100644');
    await bench.review.decide(all, { file: (await file('latin')).id }, 'accepted');
    assert.equal((await accept('accepted')).kind, 'done');
  });

  it('carries an edit of what was left uncommitted to what is uncommitted now, then to what was committed', async () => {
    bench = await ReviewBench.open({ a: numbered({}) });
    await bench.commit('one', { a: numbered({ 5: 'agent' }) });
    await bench.leave({ a: numbered({ 5: 'agent', 10: 'left' }) });
    const leftovers: ReviewScope = { kind: 'leftovers' };
    await edit('a', numbered({ 5: 'agent', 10: 'left', 20: 'mine' }), leftovers);
    // Nothing of it is in what was committed.
    assert.equal(await text('a'), numbered({ 5: 'agent' }));
    assert.equal((await file('a')).edit, undefined);
    await bench.leave({ a: numbered({ 5: 'agent', 10: 'left', 30: 'more' }) });
    assert.equal(await text('a', leftovers), numbered({ 5: 'agent', 10: 'left', 20: 'mine', 30: 'more' }));
    assert.equal((await file('a', leftovers)).edit?.kind, 'carried');
    assert.equal(await text('a'), numbered({ 5: 'agent' }));
  });

  it('merges as git merge-file does, whatever was edited and whatever came later', async () => {
    const below = chance(6);
    bench = await ReviewBench.open({ x: 'x\n' });
    const names = Array.from({ length: 24 }, (_, n) => `f${n}`);
    const kinds = names.map((_, n) => ({ end: n % 3 === 1 ? '\r\n' : '\n', open: n % 4 === 2 }));
    const write = (n: number, words: readonly string[]): string => {
      const { end, open } = kinds[n]!;
      return words.map((word, at) => `${word}${open && at === words.length - 1 ? '' : end}`).join('');
    };
    const first = names.map(() => Array.from({ length: 8 + below(12) }, (_, at) => `line ${at}`));
    const contents = (all: readonly string[][]): Record<string, string> =>
      Object.fromEntries(all.map((words, n) => [names[n]!, write(n, words)]));
    await bench.commit('one', contents(first));
    const mine = first.map((words) => changedAt(words, below, 'mine'));
    for (const [n, words] of mine.entries()) await edit(names[n]!, write(n, words));
    const later = first.map((words) => changedAt(words, below, 'agent'));
    await bench.commit('two', contents(later));
    const folder = join(bench.folder.path, 'oracle');
    mkdirSync(folder);
    const seen = { clean: 0, conflict: 0 };
    const { files } = await diffOf();
    for (const [n, name] of names.entries()) {
      const versions = [mine, first, later].map((some, side) => {
        const path = join(folder, `${name}-${side}`);
        writeFileSync(path, write(n, some[n]!));
        return path;
      });
      const { status, stdout } = spawnSync('git', ['merge-file', '-p', '-q', ...versions]);
      const shown = files.find(({ path }) => path === name);
      if (status === 0) {
        seen.clean += 1;
        assert.notEqual(shown?.edit?.kind, 'conflict', name);
        assert.deepEqual(await bytes(name), stdout, name);
      } else {
        seen.conflict += 1;
        assert.deepEqual(shown?.edit, { kind: 'conflict', by: shown?.id, why: 'lines' }, name);
        assert.equal(await text(name), write(n, later[n]!), name);
        const told = await conflict(name);
        assert.equal(Buffer.from(told.current ?? []).toString(), write(n, mine[n]!), name);
      }
    }
    assert.ok(seen.clean > 3 && seen.conflict > 3, JSON.stringify(seen));
  });
});

/** Replaces, takes away or adds a few lines. */
function changedAt(words: readonly string[], below: (below: number) => number, by: string): string[] {
  const changed = [...words];
  for (let left = 1 + below(2); left > 0; left--) {
    const at = below(changed.length);
    const kind = below(3);
    if (kind === 0) changed[at] = `${by} ${below(100)}`;
    else if (kind === 1) changed.splice(at, 0, `${by} ${below(100)}`);
    else changed.splice(at, 1);
  }
  return changed;
}
