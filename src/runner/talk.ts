import { SallyportError } from '../base/errors.ts';
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
