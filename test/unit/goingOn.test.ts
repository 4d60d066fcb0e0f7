import assert from 'node:assert/strict';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { standing } from '../../src/protocol/ranges.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { hasEnded, initialState, isAtRest, type TaskState, turnsOf } from '../../src/protocol/taskState.ts';
import { elapsed } from '../../src/protocol/words.ts';
import { budgetGoingOn } from '../../src/runner/budget.ts';
import { checkCommitMessage, checkLeftovers, checkMayGoOn } from '../../src/runner/goingOn.ts';
import { expired, keptUntil, type KeepPolicy } from '../../src/runner/keptSandboxes.ts';
import { aCommit, aSpec, shaOf } from '../support/specs.ts';

const minute = 60_000;

/** A task to which this happens, one minute after the other; what a sandbox says is numbered as its own. */
function aTask(bodies: TaskEventBody[], change: object = {}): TaskState {
  const spec = aSpec(change);
  let state = initialState(spec, 0);
  for (const [at, body] of bodies.entries()) state = reduce(state, { ...body, n: at + 1, t: at * minute });
  return state;
}

const workspace = { type: 'workspace', branch: 'b', commit: shaOf('base'), files: 1, ms: 1 } as const;
const started = { type: 'started', spec: aSpec(), supervisor: '1' } as const;
const ended = { type: 'ended', outcome: 'succeeded', message: 'Over.' } as const;
const gone = { type: 'sandbox_removed' } as const;
const again = (text = 'More'): TaskEventBody => ({
  type: 'reopened',
  message: '0123456789',
  text,
  conversation: false,
  budgetUsd: null,
});
const commitOf = (word: string): Extract<TaskEventBody, { type: 'commit' }> => ({
  type: 'commit',
  commit: { ...aCommit(word), branch: aSpec().branch },
});
const imported = (...tips: string[]): TaskEventBody => ({ type: 'imported', tips });
const checkpoint = (turn: number, commit: string, uncommitted?: string): TaskEventBody => ({
  type: 'checkpoint',
  turn,
  commit,
  branch: aSpec().branch,
  ...(uncommitted === undefined ? {} : { uncommitted }),
});

describe('the state of a task that goes on', () => {
  it('is that of one that is being prepared, with all that it had', () => {
    const one = commitOf('one');
    const before = aTask([
      started,
      workspace,
      one,
      imported(one.commit.sha),
      checkpoint(1, one.commit.sha),
      ended,
      gone,
    ]);
    assert.ok(isAtRest(before));
    const state = aTask([
      started,
      workspace,
      one,
      imported(one.commit.sha),
      checkpoint(1, one.commit.sha),
      ended,
      gone,
      again('And now?'),
    ]);
    assert.equal(hasEnded(state), false);
    assert.equal(isAtRest(state), false);
    assert.deepEqual(
      [state.phase, state.begun, state.workspaceReady, state.reopened, state.prompt?.text],
      ['preparing', false, false, 1, 'And now?'],
    );
    assert.equal(state.commits.length, 1);
    assert.equal(turnsOf(state), 1);
    // While it was over no time went by for it.
    assert.equal(state.restedMs, 2 * minute);
    assert.equal(elapsed(state, 8 * minute), 6 * minute);
    assert.deepEqual(aTask([started, again()]).reopened, 0);
  });

  it('adds up what it used before and after', () => {
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 };
    const result = {
      type: 'result',
      isError: false,
      text: '',
      durationMs: 1,
      costUsd: 0.5,
      turns: 1,
      usage,
    } as const;
    const state = aTask([started, workspace, result, ended, gone, again(), result]);
    assert.deepEqual(state.usage, {
      inputTokens: 2,
      outputTokens: 4,
      cacheReadTokens: 6,
      cacheWriteTokens: 8,
    });
    assert.equal(state.costUsd, 1);
  });

  it('may cost once more what it may cost', () => {
    const spent = { ...aTask([ended]), spend: { usage: aTask([]).usage, usd: 3, estimated: false } };
    assert.equal(budgetGoingOn({ ...spent, budgetUsd: null }), null);
    assert.equal(budgetGoingOn({ ...spent, budgetUsd: 4 }), 7);
    assert.equal(budgetGoingOn({ ...spent, budgetUsd: 4, spec: aSpec({ budgetUsd: 2 }) }), 5);
  });

  it('stands at its newest commit that is in the quarantine, with what was uncommitted there', () => {
    const [one, two] = [commitOf('one'), commitOf('two')];
    const left = shaOf('left');
    const base = aSpec().snapshot.commit;
    assert.deepEqual(standing(aTask([started, workspace])), { commit: base });
    const known: TaskEventBody[] = [started, workspace, one, imported(one.commit.sha)];
    const leftovers: TaskEventBody = { type: 'leftovers', commit: left, parent: one.commit.sha, files: [] };
    assert.deepEqual(standing(aTask([...known, leftovers])), { commit: one.commit.sha });
    const over = [...known, checkpoint(1, one.commit.sha, left), leftovers, imported(left), ended, gone];
    assert.deepEqual(standing(aTask(over)), { commit: one.commit.sha, uncommitted: left });
    // Another commit, of which nothing came, stands for nothing.
    assert.deepEqual(standing(aTask([...known, two])), { commit: one.commit.sha });
    // What was committed by hand is no longer uncommitted.
    const made = { ...aCommit('made'), parents: [one.commit.sha] };
    const committed = aTask([...over, { type: 'leftovers_committed', commit: made }]);
    assert.equal(committed.leftovers, undefined);
    assert.deepEqual(standing(committed), { commit: made.sha });
    // Set back by the agent: its last word on where it stands counts, if that is its own.
    const back = [...known, two, imported(two.commit.sha), checkpoint(1, one.commit.sha)];
    assert.deepEqual(standing(aTask(back)), { commit: one.commit.sha });
    assert.deepEqual(standing(aTask([...known, checkpoint(1, shaOf('foreign'))])), {
      commit: one.commit.sha,
    });
    const from = { commit: shaOf('from'), uncommitted: left };
    assert.deepEqual(standing(aTask([], { from })), from);
  });

  it('goes on only when nothing of it is in its sandbox alone', () => {
    assert.throws(() => checkMayGoOn(aTask([started])), { code: 'task_busy' });
    assert.throws(() => checkMayGoOn(aTask([started, commitOf('one'), ended])), { code: 'conflict' });
    checkMayGoOn(aTask([started, ended, gone]));
    assert.throws(() => checkLeftovers(aTask([started, ended])), { code: 'conflict' });
    for (const message of ['', ' \n', 'a\0b', 'x'.repeat(10_001)])
      assert.throws(() => checkCommitMessage(message), { code: 'invalid_input' });
    checkCommitMessage('Keep it\n\nAll.');
  });
});

describe('kept sandboxes', () => {
  const policy: KeepPolicy = { conversationMs: 60 * minute, taskMs: 10 * minute, count: 2 };
  const kept = { type: 'sandbox_kept', until: 0, after: 5 } as const;

  it('are those of tasks that stood, for as long as the settings say now', () => {
    const task = aTask([started, workspace, ended]);
    assert.equal(keptUntil(task, policy, 3 * minute), 12 * minute);
    assert.equal(keptUntil(task, policy, 12 * minute), undefined);
    assert.equal(keptUntil(task, { ...policy, count: 0 }, 3 * minute), undefined);
    const talk = aTask([started, workspace, ended], { conversation: true });
    assert.equal(keptUntil(talk, policy, 12 * minute), 62 * minute);
    assert.equal(keptUntil(aTask([started, ended]), policy, minute), undefined);
    const full = { type: 'ended', outcome: 'failed', kind: 'disk_full', message: 'Full.' } as const;
    assert.equal(keptUntil(aTask([started, workspace, full]), policy, minute), undefined);
  });

  it('go when their time is over, and the oldest when there are too many', () => {
    const tasks = [1, 2, 3].map((index) => ({
      ...aTask([started, workspace, ended, kept], { id: `000000000${index}` }),
      endedAt: index * minute,
    }));
    assert.deepEqual(expired(tasks, policy, 4 * minute), ['0000000001']);
    assert.deepEqual(expired(tasks, policy, 12 * minute), ['0000000002', '0000000001']);
    assert.deepEqual(expired([aTask([started, workspace, ended])], policy, 100 * minute), []);
    const [task] = tasks;
    // Numbers go on behind the last that the sandbox said.
    assert.equal(task?.lastSandboxEvent, 5);
    assert.equal(reduce(task, { ...gone, n: 9, t: 0 }).kept, undefined);
  });
});
