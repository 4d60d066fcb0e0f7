import assert from 'node:assert/strict';
import { maxPromptLength } from '../../src/protocol/grammar.ts';
import type { Remark, ReviewFile, ReviewScope } from '../../src/protocol/review.ts';
import { SallyportError } from '../../src/base/errors.ts';
import { agentMessage, type PlacedRemark } from '../../src/runner/review/agentMessage.ts';
import { followLines, lineChanges } from '../../src/runner/review/lineMap.ts';
import { writeForReview } from '../../src/git/parts/keep.ts';
import { chance } from '../support/chance.ts';
import { ReviewBench } from '../support/reviewBench.ts';

const all: ReviewScope = { kind: 'all' };
const lines = (change: (n: number) => string = String): string =>
  Array.from({ length: 40 }, (_, i) => `${change(i + 1)}\n`).join('');
const before = lines();
const after = lines((n) => (n === 5 || n === 30 ? `new ${n}` : String(n)));

describe('remarks to an agent', () => {
  let bench: ReviewBench;

  afterEach(() => bench.dispose());

  const fileOf = async (path: string): Promise<ReviewFile> => {
    const found = (await bench.review.diff(all)).files.find((file) => file.path === path);
    assert(found);
    return found;
  };
  const remarkOn = async (path: string, line: number, text: string, endLine = line): Promise<Remark> => {
    const { id, newBlob } = await fileOf(path);
    const { to } = await bench.review.diff(all);
    return await bench.review.addRemark({
      file: id,
      path,
      side: 'new',
      blob: newBlob,
      commit: to,
      line,
      endLine,
      quote: `quote of ${line}`,
      text,
    });
  };
  const states = async (): Promise<string[]> =>
    (await bench.review.state()).remarks.map(({ state }) => state);

  it('go out with file, line, hunk and text, and are resolved by what changes their lines', async () => {
    bench = await ReviewBench.open({ a: before });
    bench.beginTurn();
    await bench.commit('one', { a: after });
    bench.endTurn();
    await remarkOn('a', 5, 'Say why it is new.');
    await remarkOn('a', 20, 'Leave this one alone.');
    await bench.review.send('Thanks so far.');
    const [{ how, text } = { how: '', text: '' }] = bench.said;
    assert.equal(how, 'send');
    assert.equal(
      text,
      `Thanks so far.

I have reviewed your work, and have these remarks. Change the code accordingly:

1. \`a\`, line 5:
\`\`\`diff
@@ -5,1 +5,1 @@
-5
+new 5
\`\`\`
Say why it is new.

2. \`a\`, line 20:
\`\`\`
quote of 20
\`\`\`
Leave this one alone.`,
    );
    assert.deepEqual(await states(), ['sent', 'sent']);
    assert.equal(await bench.review.message(), undefined);
    // Lines above move both, and change neither.
    await bench.commit('two', { a: `above\nabove\n${after}` });
    assert.deepEqual(await states(), ['sent', 'sent']);
    await bench.commit('three', { a: `above\nabove\n${after.replace('new 5', 'better 5')}` });
    assert.deepEqual(await states(), ['resolved', 'sent']);
  });

  it('are resolved when their file goes, and followed when it gets another name', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after, b: lines((n) => `b ${n}`) });
    await remarkOn('a', 5, 'one');
    await remarkOn('b', 5, 'two');
    await bench.review.send();
    await bench.commit('two', { b: null, c: lines((n) => `b ${n}`) });
    assert.deepEqual(await states(), ['sent', 'sent']);
    await bench.commit('three', { c: lines((n) => (n === 5 ? 'other' : `b ${n}`)), a: null });
    assert.deepEqual(await states(), ['resolved', 'resolved']);
  });

  it('that were resolved by a turn can be opened again, and go out again', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const { id } = await remarkOn('a', 5, 'one');
    await bench.review.send();
    await bench.commit('two', { a: after.replace('new 5', 'worse 5') });
    assert.deepEqual(await states(), ['resolved']);
    await bench.review.resolveRemark(id, false);
    assert.deepEqual(await states(), ['draft']);
    await bench.commit('three', { a: after.replace('new 5', 'worst 5') });
    assert.deepEqual(await states(), ['draft']);
    await bench.review.send();
    assert.match(bench.said[1]?.text ?? '', /line 5/);
    assert.deepEqual(await states(), ['sent']);
    await bench.commit('four', { a: after.replace('new 5', 'good 5') });
    assert.deepEqual(await states(), ['resolved']);
  });

  it('on removed lines, and on what was left uncommitted, say so', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: before.replace('7\n', '') });
    const { id, oldBlob } = await fileOf('a');
    const { to } = await bench.review.diff(all);
    const remark = { file: id, path: 'a', commit: to, quote: '7', line: 7, endLine: 7 };
    await bench.review.addRemark({ ...remark, side: 'old', blob: oldBlob, text: 'Bring it back.' });
    const left = await bench.leave({ z: 'left\n' });
    const leftovers = await bench.review.diff({ kind: 'leftovers' });
    const [z] = leftovers.files;
    assert(z);
    const there = { file: z.id, path: 'z', commit: left, quote: 'left', line: 1, endLine: 1 };
    await bench.review.addRemark({ ...there, side: 'new', blob: z.newBlob, text: 'Commit this.' });
    await bench.review.send();
    const text = bench.said[0]?.text ?? '';
    assert.match(text, /1\. `a`, line 7 of the older version:\n```diff\n@@ -7,1 \+6,0 @@\n-7\n```/);
    assert.match(text, /2\. `z`, line 1, in what you left uncommitted:\n```\nleft\n```\nCommit this\./);
    await bench.commit('two', { a: before });
    assert.deepEqual(await states(), ['resolved', 'sent']);
  });

  it('name what was rejected, and say when it came back', async () => {
    bench = await ReviewBench.open({ a: before });
    bench.beginTurn();
    await bench.commit('one', { a: after });
    bench.endTurn();
    const [, bottom] = (await fileOf('a')).parts;
    assert(bottom);
    await bench.review.decide(all, { parts: [bottom.id] }, 'rejected');
    await bench.review.send();
    assert.equal(
      bench.said[0]?.text,
      `I have rejected these changes. Undo those that are still in your files, and do not bring these back:

- \`a\`:
\`\`\`diff
-30
+new 30
\`\`\``,
    );
    assert.deepEqual(await bench.review.returned(await bench.review.diff(all)), []);
    bench.beginTurn();
    await bench.commit('other', { b: 'x\n' });
    // It may be about to take it away.
    assert.deepEqual(await bench.review.returned(await bench.review.diff(all)), []);
    await bench.commit('two', { a: after.replace('new 30', '30') });
    bench.endTurn();
    assert.deepEqual(await bench.review.returned(await bench.review.diff(all)), []);
    bench.beginTurn();
    const sha = await bench.commit('three', { a: after });
    bench.endTurn();
    assert.deepEqual(await bench.review.returned(await bench.review.diff(all)), [bottom.id]);
    assert.deepEqual(await bench.review.returned(await bench.review.diff({ kind: 'commit', sha })), [
      bottom.id,
    ]);
    await bench.review.send();
    assert.match(bench.said[1]?.text ?? '', /`a`, which I rejected before and which came back:/);
    assert.deepEqual(await bench.review.returned(await bench.review.diff(all)), []);
  });

  it('stay drafts when they cannot be sent', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    await assert.rejects(bench.review.send(), { code: 'invalid_input' });
    await remarkOn('a', 5, 'one');
    bench.refusal = new SallyportError('task_busy', 'A message waits already.', 'Wait.');
    await assert.rejects(bench.review.send(), { code: 'task_busy' });
    assert.deepEqual(await states(), ['draft']);
    await bench.review.send();
    assert.deepEqual(await states(), ['sent']);
  });

  it('wait for the end of a task that is no conversation, and begin a follow-up then', async () => {
    bench = await ReviewBench.open({ a: before }, { conversation: false });
    await bench.commit('one', { a: after });
    await remarkOn('a', 5, 'one');
    await assert.rejects(bench.review.send(), (thrown: SallyportError) => {
      assert.equal(thrown.code, 'task_busy');
      assert.match(thrown.mend, /are kept/);
      return true;
    });
    assert.deepEqual(await states(), ['draft']);
    bench.end();
    await bench.review.send();
    assert.equal(bench.said[0]?.how, 'followUp');
    assert.deepEqual(await states(), ['sent']);
  });

  it('go out once, from whichever window', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    await remarkOn('a', 5, 'one');
    const other = bench.another();
    const sending = await Promise.allSettled([bench.review.send(), other.of(bench.id).send()]);
    assert.deepEqual(sending.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.equal(bench.said.length, 1);
    other.dispose();
  });

  it('are refused where they are none', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const { id, ...remark } = await remarkOn('a', 5, 'one');
    for (const wrong of [{ text: ' ' }, { text: 'x', endLine: 3 }, { text: 'x'.repeat(20_001) }])
      await assert.rejects(bench.review.addRemark({ ...remark, ...wrong }), {
        code: 'invalid_input',
      });
    await assert.rejects(bench.review.changeRemark(id, ''), { code: 'invalid_input' });
    await assert.rejects(bench.review.changeRemark('nobody', 'x'), { code: 'not_found' });
    await bench.review.changeRemark(id, 'two');
    await bench.review.removeRemark(id);
    assert.deepEqual(await states(), []);
  });

  it('know where their lines are in another version', async () => {
    bench = await ReviewBench.open({ a: before });
    await bench.commit('one', { a: after });
    const remark = await remarkOn('a', 5, 'one', 6);
    await bench.commit('two', { a: `above\n${after.replace('new 5', 'other 5')}` });
    const { newBlob } = await fileOf('a');
    assert.deepEqual(await bench.review.place(remark, newBlob), { line: 7, endLine: 7 });
    assert.deepEqual(await bench.review.place({ ...remark, endLine: 5 }, newBlob), { line: 6, endLine: 6 });
    await bench.commit('three', { a: before.replace('5\n6\n', '') });
    assert.equal(await bench.review.place(remark, (await fileOf('a')).newBlob), undefined);
    assert.equal(await bench.review.place(remark, 'nonsense'), undefined);
  });

  it('follow their lines through any changes', async () => {
    bench = await ReviewBench.open({ a: before });
    const { quarantine } = bench.runner;
    const write = (content: readonly string[]): Promise<string> =>
      writeForReview(quarantine, bench.id, Buffer.from(content.map((line) => `${line}\n`).join('')));
    for (let seed = 1; seed <= 40; seed++) {
      const below = chance(seed);
      const old = Array.from({ length: 1 + below(30) }, (_, i) => `line ${i}`);
      const fresh = old.flatMap((line, i) => {
        const what = below(8);
        if (what === 0) return [];
        if (what === 1) return [`changed ${i}`];
        return what === 2 ? [`added ${i}`, line] : [line];
      });
      const changes = await lineChanges(quarantine, await write(old), await write(fresh));
      assert(changes);
      for (const [i, line] of old.entries()) {
        const { lines: found, changed } = followLines(changes, { line: i + 1, endLine: i + 1 });
        const at = fresh.indexOf(line);
        assert.equal(changed, at === -1, `seed ${seed}, ${line}`);
        if (at !== -1) assert.deepEqual(found, { line: at + 1, endLine: at + 1 });
      }
    }
  });
});

describe('message to an agent', () => {
  const remark: PlacedRemark = {
    id: 'r1',
    path: 'src/a.ts',
    side: 'new',
    lines: { line: 1, endLine: 2 },
    leftover: false,
    code: 'x',
    isDiff: false,
    text: 'text',
  };

  it('cannot be broken by the code in it, or by a path', () => {
    const hostile = { ...remark, code: 'a\n````\nnot code\n```', path: 'a`b\n\u202e\u001b[31mc' };
    const text = agentMessage([hostile], [])?.text ?? '';
    assert.match(text, /\n`````\na\n````\nnot code\n```\n`````\n/);
    assert.match(text, /1\. `a'b ‹U\+202E›c`, lines 1 to 2:/);
  });

  it('leaves out whole what does not fit, and does not count it as told', () => {
    const many = Array.from({ length: 20 }, (_, i) => ({
      ...remark,
      id: `r${i}`,
      text: 'long '.repeat(3000),
    }));
    const message = agentMessage(many, []);
    assert(message);
    assert(message.text.length <= maxPromptLength);
    assert.equal(message.remarks.length, 6);
    assert.equal(message.text.match(/^\d+\. /gm)?.length, 6);
  });

  it('counts the hunks of a file of which too many were rejected', () => {
    const rejected = Array.from({ length: 5000 }, (_, i) => ({
      part: i.toString(16).padStart(16, '0'),
      path: `file ${i % 2}`,
      kind: 'hunk',
      text: `+${i}\n`,
      again: false,
    }));
    const message = agentMessage([], rejected);
    assert.equal(message?.rejected.length, 5000);
    assert.match(message.text, /and 2,494 changes more of this file/);
    assert(message.text.length < 3000);
  });

  it('is none when there is nothing to say', () => {
    assert.equal(agentMessage([], [], 'extra'), undefined);
  });
});
