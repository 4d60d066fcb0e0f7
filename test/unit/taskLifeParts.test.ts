import assert from 'node:assert/strict';
import { SallyportError, type ErrorCode } from '../../src/base/errors.ts';
import { foldAll } from '../../src/protocol/foldTask.ts';
import type { TaskEvent, TaskEventBody } from '../../src/protocol/taskEvent.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { noUsage } from '../../src/protocol/usage.ts';
import { afterFailure, maxFailures, retryAfter } from '../../src/runner/afterFailure.ts';
import { eventOfAsk, isHeeded } from '../../src/runner/askEvents.ts';
import type { Ask } from '../../src/runner/asks.ts';
import { failedBy, sandboxMissing, whyDead, type Ended } from '../../src/runner/endings.ts';
import { importsWait } from '../../src/runner/importer.ts';
import { logReserveBytes } from '../../src/runner/logLimit.ts';
import { labelNames } from '../../src/runner/sandboxNames.ts';
import { adoptable, againOf, resumeOrder, specNow } from '../../src/runner/supervisorOrders.ts';
import { isFormer } from '../../src/runner/taskContainers.ts';
import { TaskJournal } from '../../src/runner/taskJournal.ts';
import type { UnnumberedEvent } from '../../src/runner/taskLog.ts';
import { aCommit, aSpec, shaOf } from '../support/specs.ts';

const sessionId = '01234567-89ab-cdef-0123-456789abcdef';
const started = { type: 'started', spec: aSpec(), supervisor: '1' } as const;
const workspace = { type: 'workspace', branch: 'b', commit: shaOf('base'), files: 1, ms: 1 } as const;
const over = { type: 'ended', outcome: 'succeeded', message: 'Over.' } as const;
const stopping = { type: 'stopping' } as const;
const session: TaskEventBody = { type: 'session', sessionId, model: 'm', version: '1', tools: [] };

function aTask(bodies: TaskEventBody[], change: Parameters<typeof aSpec>[0] = {}): TaskState {
  const all: TaskEventBody[] = [{ type: 'submitted', spec: aSpec(change) }, ...bodies];
  const state = foldAll(all.map((body, at) => ({ ...body, n: at + 1, t: at })));
  assert.ok(state);
  return state;
}

function reopened(text: string, conversation = false): TaskEventBody {
  return { type: 'reopened', message: '0123456789', text, conversation, budgetUsd: null };
}

describe('what follows a failure in the life of a task', () => {
  const preparing = aTask([]);
  const running = aTask([started, workspace]);
  const ended = aTask([started, workspace, over]);
  const last = maxFailures;

  const cases: [string, ErrorCode, TaskState, number, ReturnType<typeof afterFailure>][] = [
    ['a preparation that fails is the end at once', 'sandbox_failed', preparing, 0, 'end'],
    ['without an engine nothing is to be cleared away', 'engine_absent', preparing, 0, 'end_without_engine'],
    ['what an engine that went away has made is cleared away', 'engine_gone', preparing, 0, 'end'],
    ['a running task is looked at again', 'internal', running, last - 1, 'look_again'],
    ['but not for ever', 'internal', running, last, 'end'],
    ['an engine that went away is waited for, however long', 'engine_gone', running, 99, 'wait_for_engine'],
    ['also after the end', 'engine_gone', ended, 0, 'wait_for_engine'],
    ['what cannot be put away is looked at again', 'internal', ended, 0, 'look_again'],
    ['and then given up', 'internal', ended, last, 'give_up'],
    ['a stop before the beginning is no failure', 'cancelled', aTask([stopping]), 0, 'say_stopped'],
    ['a stop later is one to look at', 'cancelled', aTask([started, stopping]), 0, 'look_again'],
  ];
  for (const [title, code, state, failures, expected] of cases)
    it(`is known: ${title}`, () => assert.equal(afterFailure(code, state, failures), expected));

  it('comes after a pause that grows to five seconds', () => {
    assert.deepEqual([0, 1, 2, 3, 4, 5, 99].map(retryAfter), [250, 500, 1000, 2000, 5000, 5000, 5000]);
  });
});

describe('the end of a task that this side tells', () => {
  const verdict: Ended = { type: 'ended', outcome: 'failed', kind: 'disk_full', message: 'Full.' };
  const nothing = { verdict: undefined, timeIsUp: false, stopping: false };
  const dead = { oomKilled: false, exitCode: 137 };

  it('is what this process decided, then the time limit, then the stop, then the memory', () => {
    const killed = { ...dead, oomKilled: true };
    assert.equal(whyDead(killed, { verdict, timeIsUp: true, stopping: true }), verdict);
    assert.equal(whyDead(killed, { ...nothing, timeIsUp: true, stopping: true })?.outcome, 'timed_out');
    assert.equal(whyDead(killed, { ...nothing, stopping: true })?.outcome, 'stopped');
    const memory = whyDead(killed, nothing);
    assert.deepEqual([memory?.kind, memory?.exitCode], ['out_of_memory', 137]);
    assert.equal(whyDead(dead, nothing), undefined, 'the supervisor knows better');
  });

  it('has the kind of what failed', () => {
    const kindOf = (code: ErrorCode) => failedBy(new SallyportError(code, 'm', 'n')).kind;
    assert.deepEqual(
      (['disk_full', 'engine_gone', 'image_build_failed', 'sandbox_failed', 'git_failed'] as const).map(
        kindOf,
      ),
      ['disk_full', 'engine_gone', 'image', 'workspace', 'internal'],
    );
  });

  it('is a stop where the user wanted one, when the sandbox is gone', () => {
    assert.deepEqual([sandboxMissing(true).outcome, sandboxMissing(true).kind], ['stopped', undefined]);
    assert.deepEqual([sandboxMissing(false).outcome, sandboxMissing(false).kind], ['failed', 'sandbox_lost']);
  });
});

describe('what a supervisor is told of a task', () => {
  const begun = [started, workspace, session] as const;

  it('is its spec at first, wherever a conversation may be', () => {
    const state = aTask([]);
    assert.deepEqual(specNow(state, 'nowhere'), state.spec);
    assert.deepEqual(specNow(state, 'in_folder'), state.spec);
    assert.equal(specNow(state, 'in_sandbox'), undefined);
  });

  it('is the new prompt alone where the agent remembers the first, and both where it does not', () => {
    const result: TaskEventBody = {
      type: 'result',
      isError: false,
      text: '',
      durationMs: 1,
      turns: 1,
      costUsd: 2,
      usage: noUsage,
    };
    const state = aTask([...begun, result, over, reopened('More', true)], { prompt: 'First' });
    for (const place of ['in_sandbox', 'in_folder'] as const) {
      const spec = specNow(state, place);
      assert.deepEqual([spec?.prompt, spec?.conversation], ['More', true]);
      assert.deepEqual(spec?.resume, { task: state.spec.id, session: { id: sessionId, costUsd: 2 } });
    }
    const forgotten = specNow(state, 'nowhere');
    assert.equal(forgotten?.prompt, 'First\n\nMore');
    assert.deepEqual(forgotten.resume, { task: state.spec.id });
  });

  it('is nothing in a kept sandbox whose agent named no conversation', () => {
    const state = aTask([started, workspace, over, reopened('More')]);
    assert.equal(specNow(state, 'in_sandbox'), undefined);
    assert.equal(specNow(state, 'in_folder')?.prompt, `${state.spec.prompt}\n\nMore`);
  });

  it('names the turn that was under way when its sandbox died', () => {
    const checkpoint = { type: 'checkpoint', turn: 1, commit: shaOf('one') } as const;
    assert.equal(resumeOrder(aTask([...begun]), 7).turn, 1);
    assert.equal(resumeOrder(aTask([...begun, checkpoint, over, reopened('More')]), 7).turn, 2);
    const talk = aTask([...begun, { type: 'turn_began', number: 3 }], { conversation: true });
    assert.deepEqual(
      [resumeOrder(talk, 7).turn, resumeOrder(talk, 7).after, resumeOrder(talk, 7).session],
      [3, 7, sessionId],
    );
  });

  it('says with which message it goes on, after how many turns, and what need not come again', () => {
    const one = aCommit('one');
    const state = aTask([
      ...begun,
      { type: 'commit', commit: one },
      { type: 'imported', tips: [one.sha] },
      { type: 'checkpoint', turn: 1, commit: one.sha },
      over,
      reopened('More'),
    ]);
    assert.deepEqual(againOf(state), { turn: 1, message: '0123456789', known: [one.sha] });
    assert.equal(adoptable(state), undefined, 'the kept sandbox has made it itself');
  });

  it('brings a kept sandbox the commit that the host made of what was left', () => {
    const made = { ...aCommit('made'), parents: [shaOf('base')] };
    const state = aTask([...begun, over, { type: 'leftovers_committed', commit: made }]);
    assert.deepEqual(adoptable(state), { commit: made.sha, parent: shaOf('base') });
  });
});

describe('a sandbox of before a task went on', () => {
  it('is known by its label, and one that never started is none', () => {
    const of = (stretch: string | undefined, status: 'created' | 'exited', times: number): boolean =>
      isFormer(
        { status, labels: stretch === undefined ? {} : { [labelNames.stretch]: stretch } },
        { reopened: times },
      );
    assert.ok(of('0', 'exited', 1));
    assert.ok(of(undefined, 'exited', 1));
    assert.ok(!of('1', 'exited', 1));
    assert.ok(!of('0', 'exited', 0));
    assert.ok(!of('0', 'created', 1));
  });
});

describe('imports of a task', () => {
  const commit = { type: 'commit', commit: aCommit('one') } as const;
  const tips = [commit.commit.sha];
  const failed = (code: string): TaskEventBody => ({ type: 'import_failed', tips, code, message: 'No.' });

  it('are waited for until they are in, refused or broken', () => {
    assert.ok(!importsWait(aTask([])));
    assert.ok(importsWait(aTask([commit])));
    assert.ok(!importsWait(aTask([commit, { type: 'imported', tips }])));
    assert.ok(!importsWait(aTask([commit, failed('import_refused')])));
    assert.ok(!importsWait(aTask([commit, failed('disk_full')])));
    const two = { type: 'commit', commit: aCommit('two') } as const;
    assert.ok(
      importsWait(aTask([commit, two, failed('import_refused')])),
      'a refusal says nothing of the rest',
    );
  });
});

describe('the event that a wish of the user becomes', () => {
  const talk = aTask([started, workspace, { type: 'turn_began', number: 1 }], { conversation: true });
  const say: Ask = { op: 'say', id: '0123456789', text: 'Go on' };

  function after(state: TaskState, ask: Exclude<Ask, { op: 'stop' }>): TaskState {
    const body = eventOfAsk(state, ask);
    assert.ok(body);
    const event: TaskEvent = { ...body, n: state.lastEvent + 1, t: 1 };
    const next = foldAll([event], state);
    assert.ok(next);
    return next;
  }

  it('is said once, and seen in the log by whoever waits for it', () => {
    const asks: Exclude<Ask, { op: 'stop' }>[] = [
      say,
      { op: 'budget', usd: 5 },
      { op: 'egress', answer: { refuse: 'example.com' } },
      { op: 'interrupt', by: 'Ann' },
    ];
    for (const ask of asks) {
      assert.ok(!isHeeded(talk, ask), ask.op);
      const next = after(talk, ask);
      assert.ok(isHeeded(next, ask), ask.op);
      assert.equal(eventOfAsk(next, ask), undefined, ask.op);
    }
  });

  it('says whether a message has to wait, and who sent it', () => {
    assert.deepEqual(eventOfAsk(talk, { ...say, by: 'Ann' }), {
      type: 'said',
      id: say.id,
      text: 'Go on',
      queued: true,
      by: 'Ann',
    });
    const waiting = foldAll(
      [{ type: 'turn', number: 1, outcome: 'succeeded', n: talk.lastEvent + 1, t: 1 }],
      talk,
    );
    assert.ok(waiting);
    const said = eventOfAsk(waiting, say);
    assert.equal(said?.type === 'said' && said.queued, false);
  });

  it('is refused where the task takes none, or holds one already', () => {
    assert.throws(() => eventOfAsk(aTask([started]), say), { code: 'conflict' });
    assert.throws(() => eventOfAsk(after(talk, say), { ...say, id: '0123456780' }), { code: 'task_busy' });
    assert.throws(() => eventOfAsk(talk, { op: 'answer', id: 'q', answer: { kind: 'refuse' } }), {
      code: 'conflict',
    });
  });
});

describe('the journal of a task', () => {
  function aJournal(logBytes?: number) {
    const written: UnnumberedEvent[] = [];
    const ends: Ended[] = [];
    const log = {
      bytes: 0,
      append: (events: readonly UnnumberedEvent[]) => {
        written.push(...events);
        return Promise.resolve();
      },
    };
    const state = aTask([started]);
    const journal = new TaskJournal({ state, log, logBytes, onFull: (end) => ends.push(end) });
    return { journal, log, written, ends };
  }
  const output = (s: number): UnnumberedEvent => ({ type: 'notice', level: 'info', text: `${s}`, s, t: 0 });
  const ended = (outcome: 'succeeded' | 'stopped', s?: number): UnnumberedEvent => ({
    ...{ type: 'ended', outcome, message: '', t: 0 },
    ...(s === undefined ? {} : { s }),
  });

  it('takes each event of a sandbox once, and those of a new sandbox again from the first', async () => {
    const { journal, written } = aJournal();
    await journal.append([output(1), output(2)]);
    await journal.append([output(1), output(2), output(3)]);
    assert.deepEqual(
      written.map(({ s }) => s),
      [1, 2, 3],
    );
    assert.equal(journal.lastTaken, 3);
    await journal.say({ type: 'prepared_anew' });
    await journal.append([output(1)]);
    assert.deepEqual(
      written.map(({ s }) => s),
      [1, 2, 3, undefined, 1],
    );
  });

  it('takes one end, and the first word on it', async () => {
    const { journal, written } = aJournal();
    await journal.append([ended('stopped'), ended('succeeded', 4)]);
    assert.deepEqual(written, [ended('stopped')]);
    assert.ok(!journal.decide({ type: 'ended', outcome: 'failed', message: 'Late.' }));
  });

  it('puts what this side has decided in place of what a sandbox says of its end', async () => {
    const { journal, written } = aJournal();
    const verdict: Ended = { type: 'ended', outcome: 'failed', kind: 'disk_full', message: 'Full.' };
    assert.ok(journal.decide(verdict));
    assert.ok(!journal.decide({ ...verdict, kind: 'log_limit' }));
    await journal.append([ended('stopped', 5)]);
    assert.deepEqual(written, [{ ...verdict, t: 0, s: 5 }]);
  });

  it('leaves out the bulk at its limit, and all but the end behind its reserve', async () => {
    const { journal, log, written, ends } = aJournal(1000);
    log.bytes = 1000;
    const commit: UnnumberedEvent = { type: 'commit', commit: aCommit('one'), s: 2, t: 0 };
    await journal.append([output(1), commit]);
    assert.deepEqual(written, [commit]);
    assert.equal(ends[0]?.kind, 'log_limit');
    log.bytes = 1001 + logReserveBytes;
    await journal.append([{ ...commit, s: 3 }, ended('stopped', 4)]);
    assert.deepEqual(written.slice(1), [ended('stopped', 4)]);
    assert.equal(journal.lastTaken, 4, 'what was left out has had its number');
  });

  it('writes nothing when it is closed', async () => {
    const { journal, written } = aJournal();
    journal.close();
    await journal.append([output(1)]);
    assert.deepEqual(written, []);
  });
});
