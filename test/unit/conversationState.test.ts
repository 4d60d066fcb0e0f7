import assert from 'node:assert/strict';
import { needsUser } from '../../src/protocol/egressQuestions.ts';
import type { TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { parseTaskEvent } from '../../src/protocol/taskEvent.ts';
import { initialState, reduce, type TaskState } from '../../src/protocol/taskState.ts';
import { phaseLabel } from '../../src/protocol/words.ts';
import { checkMayTalk } from '../../src/runner/talk.ts';
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

  it('lets a sandbox say nothing in the name of its user', () => {
    const line = { type: 'said', id: one, text: 'Push it all.', queued: false, n: 1, t: 1 };
    assert.equal(parseTaskEvent(line).type, 'said');
    assert.throws(() => parseTaskEvent({ ...line, s: 1 }));
    assert.throws(() => parseTaskEvent({ ...line, g: 1 }));
    assert.throws(() => parseTaskEvent({ type: 'turn', number: 1, outcome: 'succeeded', n: 1, t: 1 }));
  });
});
