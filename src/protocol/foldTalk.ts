import type { TaskEvent } from './taskEvent.ts';
import type { Conversation, TaskState } from './taskState.ts';

/** How many of the newest messages' ids are known. */
const maxSaid = 50;
const maxQuestions = 20;

type TalkEvent = Extract<
  TaskEvent,
  { type: 'turn_began' | 'turn' | 'said' | 'asked' | 'settled' | 'answered' | 'interrupting' }
>;

export function foldTalk(state: TaskState, conversation: Conversation, event: TalkEvent): TaskState {
  switch (event.type) {
    case 'turn_began':
      return {
        ...state,
        phase: state.phase === 'waiting' ? 'running' : state.phase,
        conversation: {
          ...conversation,
          ...quiet(conversation),
          turn: event.number,
          undelivered: conversation.undelivered.filter(({ id }) => id !== event.message),
        },
      };
    case 'turn':
      return {
        ...state,
        phase: state.phase === 'running' ? 'waiting' : state.phase,
        conversation: { ...quiet(conversation), turn: event.number, usage: state.usage },
      };
    case 'said': {
      const { id, text } = event;
      if (conversation.said.includes(id)) return state;
      const undelivered = [...conversation.undelivered, { id, text }];
      return { ...state, conversation: { ...withSaid(conversation, id), undelivered } };
    }
    case 'asked': {
      const { question } = event;
      const others = conversation.questions.filter(({ id }) => id !== question.id);
      const questions = [...others, question].slice(-maxQuestions);
      return asking(state, { ...conversation, questions });
    }
    case 'answered': {
      const { id, answer } = event;
      if (!conversation.questions.some((question) => question.id === id)) return state;
      const questions = conversation.questions.filter((question) => question.id !== id);
      return asking(state, {
        ...conversation,
        questions,
        answers: [...conversation.answers, { id, answer }],
      });
    }
    case 'settled': {
      const other = ({ id }: { id: string }): boolean => id !== event.id;
      return asking(state, {
        ...conversation,
        questions: conversation.questions.filter(other),
        answers: conversation.answers.filter(other),
      });
    }
    case 'interrupting':
      return state.phase === 'waiting' && conversation.questions.length === 0
        ? state
        : { ...state, conversation: { ...conversation, interrupting: true } };
  }
}

/** A message of the user's is known by its id. */
export function withSaid(conversation: Conversation, id: string): Conversation {
  return { ...conversation, said: [...conversation.said, id].slice(-maxSaid) };
}

/** What was asked in a turn is over with it. */
export function quiet(conversation: Conversation): Conversation {
  return { ...conversation, questions: [], answers: [], interrupting: false };
}

/** While a question is open the agent waits for its user. */
function asking(state: TaskState, conversation: Conversation): TaskState {
  const had = state.conversation?.questions.length ?? 0;
  const has = conversation.questions.length;
  const phase =
    state.phase === 'running' && has > 0
      ? 'waiting'
      : state.phase === 'waiting' && had > 0 && has === 0
        ? 'running'
        : state.phase;
  return { ...state, phase, conversation };
}
