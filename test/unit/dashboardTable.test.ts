import assert from 'node:assert/strict';
import { noSwitches, type TaskSummary, type TaskView } from '../../src/protocol/runnerApi.ts';
import { submissionOf } from '../../webview/dashboard/submission.ts';
import {
  ago,
  choicesOf,
  countsOf,
  everything,
  filtered,
  isActive,
  nameOfUrl,
  pageLength,
  pageOf,
  statusOf,
  tookOf,
} from '../../webview/dashboard/taskTable.ts';

let made = 0;

function aView(change: Partial<TaskView> = {}, summary?: Partial<TaskSummary>): TaskView {
  made += 1;
  return {
    id: `task${String(made).padStart(6, '0')}`,
    title: 'Fix the median',
    prompt: 'Fix the median of even lists',
    source: { kind: 'url', url: 'https://git.example.com/team/stats.git' },
    owner: { id: 'u1', name: 'Ada' },
    shared: false,
    priority: 0,
    switches: noSwitches,
    createdAt: made,
    stage: 'task',
    summary: {
      phase: 'running',
      progress: '',
      branch: 'claude/1',
      startedAt: 1000,
      commits: 0,
      costUsd: 0,
      waiting: 0,
      lastEvent: 1,
      ...summary,
    },
    ...change,
  };
}

describe('the table of tasks', () => {
  it('puts every stage and phase into words and one group', () => {
    const words = (view: TaskView): [string, string, boolean] => {
      const { group, label, waits } = statusOf(view);
      return [group, label, waits];
    };
    assert.deepEqual(words(aView({ stage: 'confirming' })), ['running', 'Waits for your yes', true]);
    assert.deepEqual(words(aView({ stage: 'failed' })), ['failed', 'Failed', false]);
    assert.deepEqual(words(aView({}, { waiting: 2 })), ['running', 'Waits for you', true]);
    assert.deepEqual(words(aView({}, { phase: 'waiting' })), ['running', 'Waits for your message', true]);
    assert.deepEqual(words(aView({}, { phase: 'preparing', progress: 'Building the image' })), [
      'running',
      'Preparing',
      false,
    ]);
    assert.deepEqual(
      words(aView({}, { phase: 'preparing', progress: 'Waiting for a place: it comes next' })),
      ['queued', 'Queued', false],
    );
    // What has ended waits for nobody.
    assert.deepEqual(words(aView({}, { phase: 'succeeded', endedAt: 5, waiting: 1 })), [
      'succeeded',
      'Done',
      false,
    ]);
    assert.ok(isActive(aView({ stage: 'finding' })));
    assert.ok(!isActive(aView({ stage: 'cancelled' })));
  });

  it('counts each task once, and those that wait besides', () => {
    const tasks = [
      aView({}, { waiting: 1 }),
      aView({ stage: 'confirming' }),
      aView({}, { phase: 'succeeded', endedAt: 5 }),
      aView({}, { phase: 'timed_out', endedAt: 5 }),
      aView({}, { phase: 'stopped', endedAt: 5 }),
    ];
    assert.deepEqual(countsOf(tasks), {
      all: 5,
      waiting: 2,
      queued: 0,
      running: 2,
      succeeded: 1,
      failed: 1,
      stopped: 1,
    });
  });

  it('filters by group, owner, repository and words, newest first', () => {
    const mine = aView();
    const done = aView({ title: 'Document the API' }, { phase: 'succeeded', endedAt: 9 });
    const hers = aView({
      owner: { id: 'u2', name: 'Grace' },
      source: {
        kind: 'snapshot',
        repository: { id: 'x', name: 'compiler' },
        snapshot: { mode: 'head', commit: 'c', head: 'c' },
      },
    });
    const all = [mine, done, hers];
    const ids = (change: Partial<typeof everything>): string[] =>
      filtered(all, { ...everything, ...change }).map(({ id }) => id);
    assert.deepEqual(ids({}), [hers.id, done.id, mine.id]);
    assert.deepEqual(ids({ group: 'succeeded' }), [done.id]);
    assert.deepEqual(ids({ group: 'waiting' }), []);
    assert.deepEqual(ids({ owner: 'u2' }), [hers.id]);
    assert.deepEqual(ids({ repository: 'team/stats' }), [done.id, mine.id]);
    assert.deepEqual(ids({ words: '  api DOCUMENT ' }), [done.id]);
    assert.deepEqual(ids({ words: 'grace compiler' }), [hers.id]);
    assert.deepEqual(ids({ words: 'grace stats' }), []);
    assert.deepEqual(choicesOf(all), {
      owners: [
        { id: 'u1', name: 'Ada' },
        { id: 'u2', name: 'Grace' },
      ],
      repositories: ['compiler', 'team/stats'],
    });
  });

  it('shows a page at a time, and the last one for any beyond', () => {
    const rows = Array.from({ length: pageLength + 3 }, (_, at) => at);
    assert.equal(pageOf(rows, 0).rows.length, pageLength);
    assert.deepEqual(pageOf(rows, 1), { rows: rows.slice(pageLength), page: 1, pages: 2 });
    assert.deepEqual(pageOf(rows, 99), pageOf(rows, 1));
    assert.deepEqual(pageOf([], 3), { rows: [], page: 0, pages: 1 });
  });

  it('names repositories and times shortly', () => {
    assert.equal(nameOfUrl('https://git.example.com/team/stats.git'), 'team/stats');
    assert.equal(nameOfUrl('https://git.example.com/a/b/c/'), 'b/c');
    assert.equal(nameOfUrl('https://git.example.com'), 'https://git.example.com');
    assert.equal(nameOfUrl('no address'), 'no address');
    const now = Date.now();
    assert.equal(ago(now - 10_000, now), 'just now');
    assert.equal(ago(now - 61 * 60_000, now), '1 h ago');
    // The clock of the server may be ahead.
    assert.equal(ago(now + 60_000, now), 'just now');
    assert.equal(tookOf(aView(), 4000), 3000);
    assert.equal(tookOf(aView({}, { endedAt: 1500 }), 9000), 500);
    assert.equal(tookOf(aView({ stage: 'finding', summary: undefined }), 9000), undefined);
  });
});

describe('the form of a new task', () => {
  const of = (kind: 'url' | 'find', fields: Record<string, string>): ReturnType<typeof submissionOf> =>
    submissionOf(kind, (name) => fields[name] ?? '');

  it('says what is not right, field by field', () => {
    assert.deepEqual(Object.keys(of('url', {}).wrong), ['prompt', 'url']);
    const wrong = { prompt: 'x', url: 'ftp://a/b', base: 'a..b', minutes: '0', budget: 'x', priority: '1.5' };
    assert.deepEqual(Object.keys(of('url', wrong).wrong).sort(), [
      'base',
      'budget',
      'minutes',
      'priority',
      'url',
    ]);
    assert.match(
      of('url', { prompt: 'x', url: 'https://me:pw@git.example.com/a' }).wrong['url'] ?? '',
      /password/,
    );
  });

  it('sends what was said, and leaves out what was not', () => {
    assert.deepEqual(of('find', { prompt: ' Do it ', confirm: 'on' }).submission, {
      prompt: 'Do it',
      source: { kind: 'find', confirm: true },
      switches: { commitEach: false, autoPush: false, draftEarly: false, autoPullRequest: false },
      shared: false,
      conversation: false,
    });
    const all = {
      prompt: 'Do it',
      url: 'https://git.example.com/a/b',
      base: 'main',
      branch: 'work',
      model: 'm',
      minutes: '30',
      budget: '2.5',
      priority: '-3',
      draftEarly: 'on',
      shared: 'on',
      conversation: 'on',
    };
    assert.deepEqual(of('url', all).submission, {
      prompt: 'Do it',
      source: { kind: 'url', url: 'https://git.example.com/a/b', branch: 'main' },
      branch: 'work',
      model: 'm',
      limits: { timeMs: 1_800_000 },
      budgetUsd: 2.5,
      priority: -3,
      switches: { commitEach: false, autoPush: false, draftEarly: true, autoPullRequest: false },
      shared: true,
      conversation: true,
    });
  });
});
