import assert from 'node:assert/strict';
import {
  pullRequestDocument,
  readPullRequestDocument,
} from '../../src/runner/publishing/pullRequestDocument.ts';
import { PullRequestWatch, type WatchedPullRequest } from '../../src/runner/publishing/pullRequestWatch.ts';
import {
  branchView,
  lastPushes,
  nextSteps,
  pullRequestBadge,
  pullRequestView,
} from '../../src/vscode/view/publishItems.ts';
import { shaOf } from '../support/specs.ts';

const times = { runningMs: 5, quietMs: 5, longestMs: 40 };

describe('the watch of pull requests', () => {
  it('asks about open ones until they are over, and says when there is none', async () => {
    const list: WatchedPullRequest[] = [
      { id: 'merged', pullRequest: { state: 'merged' } },
      { id: 'open', pullRequest: { state: 'open' } },
    ];
    const asked: string[] = [];
    const over = Promise.withResolvers<undefined>();
    const watch = new PullRequestWatch({
      list: () => list,
      refresh: (id) => {
        asked.push(id);
        if (asked.length === 3) {
          list.length = 0;
          over.resolve(undefined);
        }
        return Promise.resolve(true);
      },
      log: { debug: () => undefined },
      times,
    });
    watch.poke();
    await over.promise;
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.deepEqual(asked, ['open', 'open', 'open']);
    watch.dispose();
    watch.dispose();
  });

  it('waits ever longer after failures, as long as a forge says, and long without an account', async () => {
    let now = 1_000_000;
    const waits: number[] = [];
    let last = now;
    const answers: (() => Promise<boolean>)[] = [
      () => Promise.reject(new Error('no')),
      () => Promise.reject(new Error('no')),
      () => Promise.reject(Object.assign(new Error('limited'), { until: now + 500 })),
      () => Promise.resolve(false),
      () => Promise.resolve(true),
    ];
    const over = Promise.withResolvers<undefined>();
    const watch = new PullRequestWatch({
      list: () => [{ id: 'one', pullRequest: { state: 'draft' } }],
      refresh: () => {
        waits.push(now - last);
        last = now;
        const answer = answers.shift();
        if (answer !== undefined) return answer();
        over.resolve(undefined);
        return Promise.resolve(true);
      },
      log: { debug: () => undefined },
      times: { runningMs: 1, quietMs: 10, longestMs: 40 },
      // Each look at the clock is a millisecond later, so that a wait is as long as it was asked for, and no test waits for it.
      now: () => (now += 1),
    });
    const poking = setInterval(() => {
      now += 5;
      watch.poke();
    }, 1);
    await over.promise;
    clearInterval(poking);
    watch.dispose();
    const [, first = 0, second = 0, limited = 0, without = 0] = waits;
    assert.ok(first >= 10 && second >= 20 && limited >= 490 && without >= 40, JSON.stringify(waits));
  });
});

describe('the text of a pull request', () => {
  it('is a title and what follows it, without the line that explains', () => {
    const text = { title: 'Fix the median', body: 'It was wrong.\n\n- `a`\n<!-- mine -->' };
    const document = pullRequestDocument(text, 'the first line is the title -- and so on.');
    assert.match(document, /^Fix the median\n\nIt was wrong\.\n/);
    assert.deepEqual(readPullRequestDocument(document), text);
    assert.deepEqual(readPullRequestDocument(document.replaceAll('\n', '\r\n')), text);
    assert.deepEqual(readPullRequestDocument('\n\n  A  title \n'), { title: 'A title', body: '' });
  });

  it('is refused without a title, and when it is too long', () => {
    for (const text of ['', ' \n\n', pullRequestDocument({ title: '', body: '' }, 'x')])
      assert.throws(() => readPullRequestDocument(text), { code: 'invalid_input', mend: /first line/ });
    assert.throws(() => readPullRequestDocument('x'.repeat(300)), { code: 'invalid_input' });
    assert.throws(() => readPullRequestDocument(`x\n${'y'.repeat(70_000)}`), { code: 'invalid_input' });
  });
});

describe('what the tree says of pushes', () => {
  const record = {
    forge: 'GitHub',
    repository: 'octo/app',
    number: 3,
    url: 'https://example.com/octo/app/pull/3',
    state: 'open',
    checks: 'failed',
    branch: 'claude/x',
  } as const;

  it('names state and checks of a pull request', () => {
    assert.equal(pullRequestBadge(record), '#3 open, checks failed');
    assert.equal(pullRequestBadge({ ...record, checks: 'running', state: 'draft' }), '#3 draft, checks run');
    assert.equal(pullRequestBadge({ ...record, state: 'merged' }), '#3 merged');
    assert.equal(pullRequestBadge(undefined), '');
    const icons = (['draft', 'open', 'closed', 'merged'] as const).map(
      (state) => pullRequestView({ ...record, state }).icon,
    );
    assert.equal(new Set(icons).size, 4);
    assert.equal(
      pullRequestView({ ...record, repository: 'octo/\u202eapp' }).tooltip.includes('\u202e'),
      false,
    );
  });

  it('offers the four ways on after a commit, and two when the task is over', () => {
    const labels = (over: boolean): (string | undefined)[] => nextSteps(over).map(({ command }) => command);
    assert.deepEqual(labels(false), [undefined, 'pushBranch', 'pushAndPullRequest', 'stop']);
    assert.deepEqual(labels(true), ['pushBranch', 'pushAndPullRequest']);
  });

  it('names each branch once, with what was pushed last', () => {
    const push = (
      branch: string,
      commit: string,
    ): { remote: string; branch: string; commit: string; at: number } => ({
      remote: 'origin',
      branch,
      commit: shaOf(commit),
      at: 1,
    });
    const pushes = [push('a', '1'), push('b', '2'), push('a', '3')];
    assert.deepEqual(
      lastPushes({ pushes }).map(({ branch, commit }) => [branch, commit]),
      [
        ['b', shaOf('2')],
        ['a', shaOf('3')],
      ],
    );
    assert.equal(branchView(push('a', '1'), true).description, 'pushed');
    assert.match(branchView(push('a', '1'), false).contextValue, /behind/);
  });
});
