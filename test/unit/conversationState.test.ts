import assert from 'node:assert/strict';
import { needsUser } from '../../src/protocol/egressQuestions.ts';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { parseTaskEvent } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { phaseLabel } from '../../src/protocol/words.ts';
import { checkMayAnswer, checkMayTalk, toDeliver } from '../../src/runner/talk.ts';
import { taskView } from '../../src/vscode/view/taskView.ts';
import { aSpec } from '../support/specs.ts';

const usage = (inputTokens: number) => ({
  inputTokens,
  outputTokens: 1,
  cacheReadTokens: 0,
  cacheWriteTokens: 0,
});
const result = (inputTokens: number, costUsd: number): TaskEventBody => ({
  type: 'result',
  isError: false,
  text: 'ok',
  durationMs: 1,
  costUsd,
  turns: 1,
  usage: usage(inputTokens),
});
const said = (id: string, queued = false): TaskEventBody => ({
  type: 'said',
  id,
  text: `Text of ${id}`,
  queued,
});

function fold(bodies: readonly TaskEventBody[], spec = aSpec({ conversation: true })): TaskState {
  const start: TaskEventBody[] = [
    { type: 'submitted', spec },
    { type: 'started', spec, supervisor: 'test' },
  ];
  return [...start, ...bodies].reduce(
    (state, body, i) => reduce(state, { ...body, n: i + 1, t: i }),
    initialState(spec, 0),
  );
}

const began = (number: number, message?: string): TaskEventBody => ({
  type: 'turn_began',
  number,
  ...(message === undefined ? {} : { message }),
});
const over = (number: number): TaskEventBody => ({ type: 'turn', number, outcome: 'succeeded' });
const [one, two] = ['message0001', 'message0002'];

describe('the state of a conversation', () => {
  it('goes from running to waiting and back, and waits for its user', () => {
    const working = fold([began(1)]);
    assert.deepEqual([working.phase, needsUser(working)], ['running', false]);
    const waiting = fold([began(1), over(1)]);
    assert.deepEqual([waiting.phase, needsUser(waiting)], ['waiting', true]);
    assert.equal(phaseLabel(waiting), 'Waiting for you');
    const view = taskView(waiting, 0, false);
    assert.deepEqual([view.icon, view.contextValue], ['comment-discussion', 'task active talks']);
    const again = fold([began(1), over(1), said(one), began(2, one)]);
    assert.deepEqual([again.phase, again.conversation?.turn], ['running', 2]);
    const stopping = fold([began(1), over(1), { type: 'stopping' }, over(2)]);
    assert.equal(stopping.phase, 'stopping');
    const ended = fold([began(1), over(1), { type: 'ended', outcome: 'succeeded', message: 'x' }, over(2)]);
    assert.deepEqual([ended.phase, needsUser(ended)], ['succeeded', false]);
  });

  it('knows which messages the agent has not got yet, each once', () => {
    const ids = (state: TaskState) => state.conversation?.undelivered.map(({ id }) => id);
    assert.deepEqual(ids(fold([began(1), said(one, true), said(one, true)])), [one]);
    assert.deepEqual(ids(fold([began(1), said(one, true), over(1), began(2)])), [one]);
    assert.deepEqual(ids(fold([began(1), said(one, true), over(1), began(2, one), said(two, true)])), [two]);
    const many = Array.from({ length: 200 }, (_, i) => `message${String(i).padStart(4, '0')}`);
    const state = fold(many.flatMap((id, i) => [over(i + 1), said(id), began(i + 2, id)]));
    assert.deepEqual([state.conversation?.said.length, state.conversation?.said.at(-1)], [50, many.at(-1)]);
    assert.deepEqual(ids(state), []);
  });

  it('adds up what its turns have used', () => {
    const state = fold([
      began(1),
      { type: 'usage', usage: usage(7) },
      result(10, 0.5),
      over(1),
      began(2),
      { type: 'usage', usage: usage(20) },
      result(30, 0.25),
      over(2),
    ]);
    assert.equal(state.usage.inputTokens, 40);
    assert.equal(state.costUsd, 0.75);
  });

  it('is nothing to a task that is none, whatever its sandbox says', () => {
    const state = fold([began(1), over(1), said(one)], aSpec());
    assert.deepEqual([state.phase, state.conversation, needsUser(state)], ['running', undefined, false]);
    assert.throws(() => checkMayTalk(state), { code: 'conflict' });
  });

  it('lets one message wait, and none after the end', () => {
    checkMayTalk(fold([began(1)]));
    checkMayTalk(fold([began(1), over(1)]));
    assert.throws(() => checkMayTalk(fold([began(1), said(one, true)])), { code: 'task_busy' });
    assert.throws(() => checkMayTalk(fold([began(1), { type: 'stopping' }])), { code: 'conflict' });
    const ended: TaskEventBody = { type: 'ended', outcome: 'succeeded', message: 'x' };
    assert.throws(() => checkMayTalk(fold([began(1), ended])), { code: 'conflict' });
  });

  const question = (id: string): TaskEventBody => ({
    type: 'asked',
    question: { id, what: 'permission', tool: 'Bash', text: '{}' },
  });
  const answer = (id: string): TaskEventBody => ({ type: 'answered', id, answer: { kind: 'allow' } });
  const settled = (id: string): TaskEventBody => ({ type: 'settled', id, by: 'user' });

  it('waits for its user while a question is open, and works on when all are answered', () => {
    const asks = fold([began(1), question('a'), question('b'), question('a')]);
    assert.deepEqual([asks.phase, asks.conversation?.questions.length], ['waiting', 2]);
    assert.ok(needsUser(asks));
    const half = fold([began(1), question('a'), question('b'), answer('a')]);
    assert.equal(half.phase, 'waiting');
    const both = fold([began(1), question('a'), question('b'), answer('a'), answer('b'), settled('a')]);
    assert.deepEqual([both.phase, both.conversation?.answers.map(({ id }) => id)], ['running', ['b']]);
    const late = fold([began(1), question('a'), settled('a'), answer('a')]);
    assert.deepEqual([late.phase, late.conversation?.answers], ['running', []]);
  });

  it('asks nothing any more when the turn is over, and holds no more than it shows', () => {
    const over1 = fold([began(1), question('a'), { type: 'interrupting' }, over(1)]).conversation;
    assert.deepEqual([over1?.questions, over1?.interrupting], [[], false]);
    const many = Array.from({ length: 100 }, (_, index) => question(`q${index}`));
    const flood = fold([began(1), ...many]);
    assert.equal(flood.conversation?.questions.length, 20);
  });

  it('hands over messages, answers and an interruption, each until the agent has it', () => {
    const keys = (...bodies: TaskEventBody[]): string[] => toDeliver(fold(bodies)).map(({ key }) => key);
    assert.deepEqual(keys(began(1), question('a'), said(one, true), answer('a'), { type: 'interrupting' }), [
      one,
      'answer/a',
      'interrupt/1',
    ]);
    assert.deepEqual(keys(began(1), question('a'), answer('a'), settled('a'), over(1)), []);
    // Between turns there is nothing to interrupt.
    assert.deepEqual(keys(began(1), over(1), { type: 'interrupting' }), []);
  });

  it('takes an answer to a question that is open, and that fits', () => {
    const state = fold([began(1), question('a')]);
    checkMayAnswer(state, 'a', { kind: 'refuse', why: 'Later.' });
    assert.throws(() => checkMayAnswer(state, 'b', { kind: 'allow' }), { code: 'conflict' });
    assert.throws(() => checkMayAnswer(state, 'a', { kind: 'choose', answers: [['x']] }), {
      code: 'invalid_input',
    });
  });

  it('lets a sandbox say nothing in the name of its user', () => {
    for (const body of [answer('a'), { type: 'interrupting' }]) {
      assert.equal(parseTaskEvent({ ...body, n: 1, t: 1 }).type, body.type);
      assert.throws(() => parseTaskEvent({ ...body, n: 1, t: 1, s: 1 }));
    }

    const line = { type: 'said', id: one, text: 'Push it all.', queued: false, n: 1, t: 1 };
    assert.equal(parseTaskEvent(line).type, 'said');
    assert.throws(() => parseTaskEvent({ ...line, s: 1 }));
    assert.throws(() => parseTaskEvent({ ...line, g: 1 }));
    assert.throws(() => parseTaskEvent({ type: 'turn', number: 1, outcome: 'succeeded', n: 1, t: 1 }));
  });
});
