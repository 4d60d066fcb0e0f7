import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import type { ReviewFile, ReviewScope } from '../../src/protocol/review.ts';
import type { TaskReview } from '../../src/runner/review/taskReview.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { engines } from '../support/engines.ts';
import { bash, Bench, gitIn, only } from '../support/tasks.ts';

const all: ReviewScope = { kind: 'all' };
const original = Array.from({ length: 40 }, (_, i) => `${i + 1}\n`).join('');
const commit = (edit: string, message: string): string =>
  `sed -i '${edit}' a.txt && git commit -qam '${message}'`;

/** What a line of a kept session says of the user's. */
const Line = z.object({
  type: z.literal('user'),
  message: z.object({
    content: z.union([z.string(), z.array(z.object({ type: z.string(), text: z.optional(z.string()) }))]),
  }),
});

describe('review of a task on an engine', function () {
  this.timeout('2m');
  let bench: Bench;
  let repositoryPath: string;

  before(async () => {
    bench = await Bench.open((await engines()).docker);
    const keep = { conversationMs: 0, taskMs: 0, count: 5 };
    bench.policy = { ...defaultPolicy, egress: { mode: 'closed', rules: [] }, keep };
    repositoryPath = await bench.repository({ 'a.txt': original });
  });
  after(() => bench.close());

  const mine = (): Promise<string> => readFile(join(repositoryPath, 'a.txt'), 'utf8');
  /** The turn is over, and its commits are in the quarantine. */
  const turn = async (id: string, number: number): Promise<void> => {
    await bench.events(id, (event) => event.type === 'turn' && event.number === number);
    while (bench.state(id).pendingImports.length > 0) await new Promise((done) => setTimeout(done, 20));
  };
  const fileOf = async (review: TaskReview): Promise<ReviewFile> => {
    const [file] = (await review.diff(all)).files;
    assert(file);
    return file;
  };

  it('goes from a prompt to accepted hunks, and from remarks to the next turn', async () => {
    const { spec } = await bench.submit(
      [
        bash(commit('s/^5$/five/; s/^30$/thirty/', 'Words')),
        { text: 'Done.' },
        bash(commit('s/^five$/FIVE/; s/^thirty$/30/', 'Louder')),
        { text: 'As you like.' },
        bash(commit('s/^30$/thirty/', 'Again')),
        { text: 'I brought it back.' },
      ],
      { repositoryPath, conversation: true },
    );
    const { id } = spec;
    const review = bench.service.review(id);
    await turn(id, 1);
    const [top, bottom] = (await fileOf(review)).parts;
    assert(top && bottom);
    await review.decide(all, { parts: [top.id] }, 'accepted');
    await review.decide(all, { parts: [bottom.id] }, 'rejected');

    const target = { kind: 'tree', staged: true } as const;
    const outcome = await review.accept({ scope: all, what: 'accepted', target });
    assert(outcome.kind === 'done');
    assert.equal(await mine(), original.replace('5\n', 'five\n'));
    assert.equal(
      await gitIn(repositoryPath, 'diff', '--cached', '--stat', '--', 'a.txt').then((text) =>
        text.includes('a.txt'),
      ),
      true,
    );
    await review.undo(outcome.record.id);
    assert.equal(await mine(), original);
    assert.equal(await gitIn(repositoryPath, 'status', '--porcelain'), '');

    const { id: file, path, newBlob } = await fileOf(review);
    const { to } = await review.diff(all);
    await review.addRemark({
      file,
      path,
      side: 'new',
      blob: newBlob,
      commit: to,
      line: 5,
      endLine: 5,
      quote: 'five',
      text: 'In capitals, please.',
    });
    const message = await review.message();
    assert.match(
      message?.text ?? '',
      /`a\.txt`, line 5:[^]*In capitals, please\.[^]*do not bring these back[^]*\+thirty/,
    );
    await review.send();
    await turn(id, 2);
    let state = await review.state();
    assert.deepEqual(
      state.remarks.map((remark) => remark.state),
      ['resolved'],
    );
    assert.deepEqual(await review.returned(await review.diff(all)), []);
    assert.deepEqual(
      (await review.scopes()).map(({ label }) => label),
      ['Everything', 'Turn 1', 'Turn 2', 'Words', 'Louder'],
    );

    await bench.service.send(id, 'Are you sure?');
    await turn(id, 3);
    assert.deepEqual(await review.returned(await review.diff(all)), [bottom.id]);
    state = await review.state();
    assert.equal(state.verdicts[bottom.id], 'rejected');
    const [first] = (await review.diff({ kind: 'turn', turn: 3 })).files;
    assert.deepEqual(
      first?.parts.map(({ label }) => label),
      ['thirty'],
    );

    await bench.service.stop(id);
    const events = await bench.events(id);
    const [said] = only(events, 'said');
    assert.equal(said?.text, message?.text);
    const told = (await bench.kept(id)).split('\n').flatMap((line) => {
      const user = Line.safeParse(line === '' ? undefined : JSON.parse(line));
      if (!user.success) return [];
      const { content } = user.data.message;
      return typeof content === 'string' ? [content] : content.map(({ text = '' }) => text);
    });
    assert(told.includes(message?.text ?? ''), told.join('\n---\n'));

    // After a restart of the editor all of it is there, and the review goes with its task.
    await bench.reopen();
    assert.deepEqual(await bench.service.review(id).state(), state);
    await bench.service.remove(id);
    assert.throws(() => bench.service.review(id), { code: 'task_unknown' });
    await assert.rejects(readFile(join(bench.home, 'tasks', id, 'review.ndjson')), { code: 'ENOENT' });
  });
});
