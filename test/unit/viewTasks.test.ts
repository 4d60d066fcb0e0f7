import assert from 'node:assert/strict';
import { aCommit, aSpec, shaOf } from '../support/specs.ts';
import { aChange } from '../support/fakeTaskService.ts';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { cost, count, duration, summary } from '../../src/protocol/words.ts';
import { blobParts, diffSides, parseBlob } from '../../src/vscode/view/blobUri.ts';
import { doctorReport } from '../../src/vscode/view/doctorReport.ts';
import { commitsNotice, endNotice } from '../../src/vscode/view/notices.ts';
import { problemButtons } from '../../src/vscode/view/problemButtons.ts';
import { problemWithPrompt } from '../../src/vscode/view/prompt.ts';
import { snapshotChoices } from '../../src/vscode/view/snapshotChoices.ts';
import {
  commitView,
  placeOf,
  groupTasks,
  leftoversView,
  runningCount,
  taskView,
} from '../../src/vscode/view/taskView.ts';

function stateOf(spec: Parameters<typeof aSpec>[0], ...bodies: TaskEventBody[]): TaskState {
  let state = initialState(aSpec(spec), 0);
  for (const [i, body] of bodies.entries()) state = reduce(state, { n: i + 1, t: 60_000, ...body });
  return state;
}

const ended = { type: 'ended', outcome: 'succeeded', message: 'It is over.' } as const;
const commit = aCommit('one');
const imported: TaskEventBody = { type: 'imported', tips: [commit.sha] };

describe('a task in the tree', () => {
  it('says what it is doing, and for how long', () => {
    const preparing = stateOf({}, { type: 'progress', stage: 'image', text: 'Building the image' });
    assert.equal(taskView(preparing, 65_000, false).description, '1m 05s · Building the image');
    const done = stateOf({}, { type: 'commit', commit }, imported, ended);
    assert.equal(taskView(done, 999_999, true).description, '1m 00s · 1 commit · +1 −0');
    assert.equal(summary(stateOf({}, ended), 0), '1m 00s · no commits');
  });

  it('shows cost only where a real model answers', () => {
    const usage = { inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 };
    const result = {
      type: 'result',
      isError: false,
      text: '',
      durationMs: 1,
      costUsd: 0.31,
      turns: 1,
      usage,
    } as const;
    assert.match(
      summary(stateOf({ model: { label: 'key', demonstration: false } }, result, ended), 0),
      /\$0\.31$/,
    );
    assert.doesNotMatch(summary(stateOf({}, result, ended), 0), /\$/);
  });

  it('has the words that its menus look for', () => {
    assert.equal(taskView(stateOf({}), 0, false).contextValue, 'task active');
    assert.equal(
      taskView(stateOf({}, { type: 'commit', commit }, imported), 0, true).contextValue,
      'task active result',
    );
    assert.equal(taskView(stateOf({}, ended), 0, false).contextValue, 'task ended');
  });

  it('shows hostile titles as harmless text', () => {
    const view = taskView(stateOf({ title: 'a\u202e\x1b[31mb\n', prompt: 'x\u2066y' }), 0, false);
    assert.equal(view.label, 'a‹U+202E›b');
    assert.match(view.tooltip, /x‹U\+2066›y/);
    assert.equal(commitView({ ...commit, subject: '' }, 'imported').label, '(no message)');
  });

  it('tells a commit that is still on its way from one that can be read', () => {
    assert.equal(commitView(commit, 'imported').contextValue, 'commit imported');
    const files = [{ path: 'a', status: 'added', added: 2, removed: 1 }] as const;
    const cut = commitView({ ...commit, files: [...files], moreFiles: 1999 }, 'imported');
    assert.match(cut.description, /≥ \+2 −1$/);
    assert.match(cut.tooltip, /2,000 files/);
    assert.match(commitView(commit, 'coming').description, /being brought in/);
    assert.match(commitView(commit, 'refused').description, /not let in/);
    const state = { ...stateOf({}), imported: ['a'], refusedImports: ['b'] };
    assert.deepEqual(
      ['a', 'b', 'c'].map((sha) => placeOf(state, sha)),
      ['imported', 'refused', 'coming'],
    );
  });

  it('shows uncommitted edits as a child of their own', () => {
    assert.equal(leftoversView(stateOf({})), undefined);
    const left = stateOf(
      {},
      { type: 'leftovers', commit: shaOf('l'), parent: shaOf('base'), files: commit.files },
    );
    assert.equal(leftoversView(left)?.description, '1 file · +1 −0');
  });

  it('stands with its repository, newest first', () => {
    const at = (path: string, createdAt: number): TaskState =>
      stateOf({ createdAt, repository: { id: 'a', name: 'a', path } });
    const [a, b, c, d] = [at('/code/a', 1), at('/code/ab', 2), at('/code/a', 3), at('/code', 4)];
    const { here, elsewhere } = groupTasks([a, b, c, d], ['/code/a/src/']);
    assert.deepEqual(here, [d, c, a]);
    assert.deepEqual(elsewhere, [b]);
    assert.equal(runningCount([a, stateOf({}, ended)]), 1);
  });
});

describe('words', () => {
  it('say how long, how much and how many', () => {
    assert.deepEqual([0, 59_999, 60_000, 3_723_000, -5].map(duration), [
      '0s',
      '59s',
      '1m 00s',
      '1h 02m',
      '0s',
    ]);
    assert.deepEqual([0, 0.0042, 0.31, 12].map(cost), ['$0.00', '$0.0042', '$0.31', '$12.00']);
    assert.deepEqual([950, 1000, 12_440, 999_960, 3_100_000].map(count), [
      '950',
      '1k',
      '12.4k',
      '1M',
      '3.1M',
    ]);
  });
});

describe('a notification', () => {
  it('offers a review only where there is something to look at', () => {
    const done = endNotice(stateOf({}, { type: 'commit', commit }, imported, ended));
    assert.deepEqual(
      done?.actions.map(({ title }) => title),
      ['Review Changes', 'Open'],
    );
    assert.deepEqual(
      endNotice(stateOf({}, ended))?.actions.map(({ title }) => title),
      ['Open'],
    );
    assert.match(
      commitsNotice(stateOf({}, { type: 'commit', commit }), [commit]).text,
      /first commit, “Change one”/,
    );
    const later = [aCommit('two'), aCommit('three')];
    assert.match(
      commitsNotice(stateOf({}, { type: 'commit', commit }), later).text,
      /2 new commits, the last “Change three”/,
    );
  });

  it('says what happened and what to do, and nothing for a task that the user stopped', () => {
    const failure = {
      type: 'ended',
      outcome: 'failed',
      kind: 'auth_refused',
      message: 'The key was refused.',
      mend: 'Set another.',
    } as const;
    const notice = endNotice(stateOf({}, failure));
    assert.equal(notice?.level, 'error');
    assert.match(notice.text, /The key was refused\. Set another\./);
    assert.equal(notice.actions[0]?.title, 'Choose Credential…');
    assert.equal(endNotice(stateOf({}, { ...ended, outcome: 'stopped' })), undefined);
    assert.equal(endNotice(stateOf({})), undefined);
  });
});

describe('a document of the quarantine', () => {
  const id = 'aaaaaaaaaa';
  it('is found again from its URI, with any path', () => {
    for (const path of ['src/a.ts', 'a b/ü#?%.txt', '-x', '"q"\n']) {
      const parts = blobParts(id, path, shaOf('x'), '100644');
      assert.deepEqual(parseBlob(parts.authority, parts.query), { id, kind: 'blob', oid: shaOf('x') });
      assert.equal(parts.path, `/${path}`);
    }
    const module = blobParts(id, 'sub', shaOf('x'), '160000');
    assert.equal(parseBlob(module.authority, module.query)?.kind, 'submodule');
  });

  it('is refused when the URI is not one of ours', () => {
    for (const [authority, query] of [
      ['../../etc', `blob=${shaOf('x')}`],
      [id, 'blob=HEAD'],
      [id, `tree=${shaOf('x')}`],
      [id, ''],
      ['', `blob=${shaOf('x')}`],
    ] as const) {
      assert.equal(parseBlob(authority, query), undefined, `${authority}?${query}`);
    }
  });

  it('has a side only where there is a file', () => {
    const added = diffSides(id, aChange('a', undefined, 'x'));
    assert.equal(added?.original, undefined);
    assert.deepEqual(added?.label, added?.modified);
    const deleted = diffSides(id, aChange('a', 'x', undefined));
    assert.equal(deleted?.modified, undefined);
    const renamed = diffSides(id, { ...aChange('new.ts', 'x', 'y'), from: 'old.ts' });
    assert.equal(renamed?.original?.path, '/old.ts');
    assert.equal(renamed.modified?.path, '/new.ts');
  });
});

describe('a new task', () => {
  it('asks what it starts from only where there is a choice', () => {
    const modes = (tracked: number, untracked: number): string[] =>
      snapshotChoices({ tracked, untracked }).map(({ mode }) => mode);
    assert.deepEqual(modes(0, 0), ['head']);
    assert.deepEqual(modes(2, 0), ['tracked', 'head']);
    assert.deepEqual(modes(0, 1), ['untracked', 'head']);
    assert.deepEqual(modes(2, 1), ['tracked', 'untracked', 'head']);
    assert.match(
      snapshotChoices({ tracked: 2, untracked: 1 })[1]?.detail ?? '',
      /2 edited files and 1 untracked file/,
    );
  });

  it('wants a prompt, and not too long a one', () => {
    assert.ok(problemWithPrompt(' \n') !== undefined);
    assert.equal(problemWithPrompt('x'.repeat(100_000)), undefined);
    assert.match(
      problemWithPrompt('x'.repeat(100_123)) ?? '',
      /100,123 characters: 123 more than the 100,000/,
    );
  });
});

describe('a failure', () => {
  const titles = (code: Parameters<typeof problemButtons>[0], retry = true): string[] =>
    problemButtons(code, retry).map(({ title }) => title);
  it('comes with the buttons that can help', () => {
    assert.deepEqual(titles('no_credentials'), [
      'Set API Key',
      'Choose Credential…',
      'Use Demonstration Model',
    ]);
    assert.deepEqual(titles('engine_not_running'), ['Retry', 'Run Doctor', 'Open Settings']);
    assert.deepEqual(titles('prompt_too_long'), []);
    assert.ok(!titles('internal', false).includes('Retry'));
  });

  it('is a sentence in the report of the doctor', () => {
    const report = doctorReport([
      { name: 'Engine', ok: false, detail: 'Nothing\x1b[31m answers.', mend: 'Start it.' },
      { name: 'Git', ok: true, detail: 'git 2.39' },
    ]);
    assert.match(report, /1 of 2 checks failed/);
    assert.match(report, /### ✗ Engine\n\n\*\*What to do:\*\* Start it\./);
  });
});
