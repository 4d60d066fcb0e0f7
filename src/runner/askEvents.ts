import type { RunnerBody } from '../protocol/taskEvent.ts';
import { isAsking, isInTurn, type TaskState } from '../protocol/taskState.ts';
import type { Ask } from './asks.ts';
import { eventOf, isAnswered } from './egressAnswers.ts';
import { checkMayAnswer, checkMayTalk } from './talk.ts';

/**
 * What the log is to say of what a user asks for; undefined when it says so already, or there is nothing to be done. Throws what
 * `checkMayTalk` and `checkMayAnswer` throw.
 */
export function eventOfAsk(state: TaskState, ask: Exclude<Ask, { op: 'stop' }>): RunnerBody | undefined {
  const { conversation } = state;
  switch (ask.op) {
    case 'egress':
      return isAnswered(state, ask.answer) ? undefined : eventOf(ask.answer);
    case 'budget':
      return state.budgetUsd === ask.usd ? undefined : { type: 'budget_set', usd: ask.usd };
    case 'say': {
      if (conversation?.said.includes(ask.id) === true) return undefined;
      checkMayTalk(state);
      const queued = state.phase !== 'waiting' || isAsking(state);
      return { type: 'said', id: ask.id, text: ask.text, queued, ...by(ask) };
    }
    case 'answer':
      if (conversation?.answers.some(({ id }) => id === ask.id) === true) return undefined;
      checkMayAnswer(state, ask.id, ask.answer);
      return { type: 'answered', id: ask.id, answer: ask.answer, ...by(ask) };
    case 'interrupt':
      if (conversation?.interrupting === true || !isInTurn(state)) return undefined;
      return { type: 'interrupting', ...by(ask) };
  }
}

function by(ask: { by?: string | undefined }): { by?: string } {
  return ask.by === undefined ? {} : { by: ask.by };
}

/** True when the task's log says already what another process was asked for. */
export function isHeeded(state: TaskState, ask: Ask): boolean {
  switch (ask.op) {
    case 'egress':
      return isAnswered(state, ask.answer);
    case 'budget':
      return state.budgetUsd === ask.usd;
    case 'say':
      return state.conversation?.said.includes(ask.id) === true;
    case 'answer':
      return state.conversation?.questions.some(({ id }) => id === ask.id) !== true;
    case 'interrupt':
      return state.conversation?.interrupting !== false || state.phase === 'waiting';
    case 'stop':
      return state.phase === 'stopping';
  }
}
