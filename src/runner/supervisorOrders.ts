import type { Again, SupervisorRequest } from '../protocol/control.ts';
import { maxPromptLength, SessionId } from '../protocol/grammar.ts';
import { standing } from '../protocol/ranges.ts';
import type { TaskSpec } from '../protocol/task.ts';
import { turnsOf, type TaskState } from '../protocol/taskState.ts';

/** What a supervisor is told of a task, from what is known of it: pure. */

/** How many imported commits the supervisor is told, so that it does not announce them again. */
const maxKnown = 1000;

/**
 * With what a task begins, or goes on after its end. Undefined when it cannot go on in the sandbox that was kept.
 * @param remembered where the agent finds the conversation so far: in the sandbox that was kept, in what was brought out of
 * an earlier one, or nowhere
 */
export function specNow(
  state: TaskState,
  remembered: 'in_sandbox' | 'in_folder' | 'nowhere',
): TaskSpec | undefined {
  const { spec, prompt, conversation, sessionId, costUsd } = state;
  const inKept = remembered === 'in_sandbox';
  if (prompt === undefined) return inKept ? undefined : spec;
  const id = SessionId.safeParse(sessionId);
  const has = id.success && remembered !== 'nowhere';
  if (inKept && !has) return undefined;
  const before = spec.resume?.session;
  const session = has ? { id: id.data, costUsd: (before?.costUsd ?? 0) + costUsd } : before;
  return {
    ...spec,
    // An agent that remembers nothing has to hear what it was all about.
    prompt: session === undefined ? bothPrompts(spec.prompt, prompt.text) : prompt.text,
    conversation: conversation !== undefined,
    from: standing(state),
    resume: { task: spec.id, ...(session === undefined ? {} : { session }) },
  };
}

function bothPrompts(first: string, second: string): string {
  return `${first}\n\n${second}`.slice(0, maxPromptLength);
}

/** Where a task that goes on has got to. */
export function againOf(state: TaskState): Again {
  const { prompt, imported } = state;
  return {
    turn: turnsOf(state),
    ...(prompt === undefined ? {} : { message: prompt.message }),
    known: imported.slice(-maxKnown),
  };
}

/** The commit that the host has made of what was left, and that the kept sandbox does not know, with its parent. */
export function adoptable(state: TaskState): { commit: string; parent: string } | undefined {
  const { commits, head, imported, checkpoints } = state;
  const made = commits.find(({ sha }) => sha === head?.commit);
  const [parent] = made?.parents ?? [];
  if (made === undefined || parent === undefined || !imported.includes(made.sha)) return undefined;
  if (checkpoints.some(({ commit }) => commit === made.sha)) return undefined;
  return { commit: made.sha, parent };
}

/** For a supervisor whose sandbox was started again only so that what is in it can be brought out. */
export function resumeOrder(state: TaskState, after: number): Extract<SupervisorRequest, { op: 'resume' }> {
  const session = SessionId.safeParse(state.sessionId);
  return {
    op: 'resume',
    after,
    spec: state.spec,
    turn: turnUnderWay(state),
    ...(session.success ? { session: session.data } : {}),
  };
}

/** Of which the end is told when the sandbox is dead. */
function turnUnderWay({ conversation, checkpoints }: TaskState): number {
  return conversation === undefined ? (checkpoints.at(-1)?.turn ?? 0) + 1 : conversation.turn;
}
