import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { NoticeClaims } from '../../src/vscode/noticeClaims.ts';
import { newsOf, stageOf, waitingNews } from '../../src/vscode/view/news.ts';
import { aCommit, aSpec } from '../support/specs.ts';

const noon = 1_700_000_000_000;

describe('what is worth a word', () => {
  const spec = aSpec({ conversation: true });
  const running = reduce(initialState(spec, noon), {
    n: 1,
    t: noon,
    type: 'started',
    spec,
    supervisor: '1',
  });
  const after = (state: TaskState, ...bodies: TaskEventBody[]): TaskState =>
    bodies.reduce<TaskState>(
      (now, body) => reduce(now, { n: now.lastEvent + 1, t: noon + 1000, ...body }),
      state,
    );
  const commit = (name: string): TaskEventBody[] => [
    { type: 'commit', commit: aCommit(name) },
    { type: 'imported', tips: [aCommit(name).sha] },
  ];
  const ended = after(running, { type: 'ended', outcome: 'succeeded', message: 'Done.' });
  const asking = after(
    running,
    { type: 'turn_began', number: 1 },
    {
      type: 'asked',
      question: { id: 'q1', what: 'permission', tool: 'Bash', text: 'ls' },
    },
  );
  /** What is said when one state follows another. */
  const said = (before: TaskState | undefined, now: TaskState, turnedUp?: number): string | undefined => {
    const news = newsOf(now, before && stageOf(before, turnedUp), stageOf(now, turnedUp));
    return news === undefined ? undefined : `${news.kind} ${news.key}`;
  };

  it('is the end of a task, each time that it ends', () => {
    assert.equal(said(running, ended), 'finished end/1');
    assert.equal(said(ended, ended), undefined);
    const again = after(ended, {
      type: 'reopened',
      message: 'aaaaaaaaaa',
      text: 'More',
      conversation: true,
      budgetUsd: null,
    });
    assert.equal(said(ended, again), undefined);
    const failed = after(again, { type: 'ended', outcome: 'failed', kind: 'exit', message: 'No.' });
    assert.equal(said(again, failed), 'failed end/2');
    assert.equal(
      said(running, after(running, { type: 'ended', outcome: 'stopped', message: 'Stopped.' })),
      undefined,
    );
  });

  it('is a commit that is in the quarantine, and those after it', () => {
    const one = after(running, ...commit('one'));
    const two = after(one, ...commit('two'));
    assert.equal(said(running, after(running, { type: 'commit', commit: aCommit('one') })), undefined);
    assert.equal(said(running, one), `commit commit/${aCommit('one').sha}`);
    assert.equal(said(one, one), undefined);
    assert.equal(said(one, two), `commit commit/${aCommit('two').sha}`);
    assert.equal(said(running, two), `commit commit/${aCommit('one').sha}`);
  });

  it('is a question of the agent, once, and the end of a turn', () => {
    assert.equal(said(running, asking), 'waiting question/q1');
    assert.equal(said(asking, asking), undefined);
    const answered = after(asking, { type: 'settled', id: 'q1', by: 'user' });
    assert.equal(said(asking, answered), undefined);
    const turn = after(answered, { type: 'turn', number: 1, outcome: 'succeeded', message: '' });
    assert.equal(turn.phase, 'waiting');
    assert.equal(said(answered, turn), 'waiting turn/1');
    assert.equal(said(turn, turn), undefined);
    const notice = newsOf(asking, stageOf(running, undefined), stageOf(asking, undefined))?.notice;
    assert.match(notice?.text ?? '', /waits for your answer: May it use Bash\?/);
    assert.equal(notice?.actions[0]?.command, 'sallyport.answerAgent');
  });

  it('is what waits when the editor is opened', () => {
    assert.equal(waitingNews(asking, { waits: [] })?.key, 'question/q1');
    assert.equal(waitingNews(running, { waits: [] }), undefined);
    assert.equal(waitingNews(ended, { waits: [] }), undefined);
  });

  it('is nothing of the past of a task that turns up', () => {
    const turnedUp = noon + 3_600_000;
    assert.equal(said(undefined, after(running, ...commit('one')), turnedUp), undefined);
    assert.equal(said(running, ended, turnedUp), undefined);
    assert.equal(said(undefined, asking, turnedUp), 'waiting question/q1');
  });

  it('is what was missed of a task that was there before', () => {
    assert.equal(said(running, ended, undefined), 'finished end/1');
  });
});

describe('who tells a piece of news', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-claims-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is one of all windows, also after a reload', async () => {
    const windows = Array.from({ length: 8 }, () => new NoticeClaims(() => folder));
    const won = await Promise.all(windows.map((claims) => claims.claim('aaaaaaaaaa', 'end/1')));
    assert.equal(won.filter(Boolean).length, 1);
    assert.equal(await new NoticeClaims(() => folder).claim('aaaaaaaaaa', 'end/1'), false);
    assert.equal(await windows[0]?.claim('aaaaaaaaaa', 'end/2'), true);
    assert.equal(await windows[0]?.claim('bbbbbbbbbb', 'end/1'), true);
  });

  it('is told again of a task that was removed, and nothing is kept for ever', async () => {
    const claims = new NoticeClaims(() => folder);
    await claims.claim('aaaaaaaaaa', '../../escape');
    assert.deepEqual(await readdir(folder), ['notices']);
    await claims.forget('aaaaaaaaaa');
    assert.deepEqual(await readdir(join(folder, 'notices')), []);
    await claims.claim('bbbbbbbbbb', 'x');
    const [old = ''] = await readdir(join(folder, 'notices'));
    await utimes(join(folder, 'notices', old), 0, 0);
    await new NoticeClaims(() => folder).claim('cccccccccc', 'x');
    assert.equal((await readdir(join(folder, 'notices'))).includes(old), false);
  });

  it('is everybody where nothing can be written: twice is better than never', async () => {
    const claims = new NoticeClaims(() => join(folder, 'file', '\0'));
    assert.equal(await claims.claim('aaaaaaaaaa', 'x'), true);
    assert.equal(await claims.claim('aaaaaaaaaa', 'x'), true);
  });
});
