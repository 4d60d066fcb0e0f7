import { SallyportError } from '../base/errors.ts';
import type { SupervisorRequest } from '../protocol/control.ts';
import { misfit, type QuestionAnswer } from '../protocol/question.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';

/** Throws `conflict` for a task that takes no messages, `task_busy` for one that holds one already. */
export function checkMayTalk(state: TaskState): void {
  const { conversation, phase } = state;
  if (conversation === undefined) {
    throw new SallyportError(
      'conflict',
      'This task takes no messages: it was not started as a conversation.',
      'Start a task as a conversation, to speak with its agent.',
    );
  }
  if (hasEnded(state) || phase === 'stopping') {
    throw new SallyportError(
      'conflict',
      'The conversation is over.',
      'Start a new task, from the commits of this one if you like.',
    );
  }
  if (conversation.undelivered.length > 0) {
    throw new SallyportError(
      'task_busy',
      "A message waits already for the end of the agent's turn.",
      'Wait until the agent has taken it up, or stop the task.',
    );
  }
}

/** Throws `conflict` for a question that is not open any more, `invalid_input` for an answer that does not fit it. */
export function checkMayAnswer(state: TaskState, id: string, answer: QuestionAnswer): void {
  const question = state.conversation?.questions.find((one) => one.id === id);
  if (question === undefined || hasEnded(state)) {
    throw new SallyportError(
      'conflict',
      'The agent does not ask this any more.',
      'Look at the log of the task: it may have been answered elsewhere, or the turn may be over.',
    );
  }
  const wrong = misfit(question, answer);
  if (wrong !== undefined) throw new SallyportError('invalid_input', wrong, 'Answer what the agent asks.');
}

/** What the user has said and the agent has not got yet, in the order in which it is to get it. */
export function toDeliver({ conversation }: TaskState): { key: string; what: SupervisorRequest }[] {
  if (conversation === undefined) return [];
  const { undelivered, answers, interrupting, turn } = conversation;
  return [
    ...undelivered.map(({ id, text }) => ({ key: id, what: { op: 'say' as const, id, text } })),
    ...answers.map(({ id, answer }) => ({
      key: `answer/${id}`,
      what: { op: 'answer' as const, id, answer },
    })),
    ...(interrupting ? [{ key: `interrupt/${turn}`, what: { op: 'interrupt' as const } }] : []),
  ];
}
