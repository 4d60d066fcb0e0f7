import * as z from 'zod/mini';
import { BranchName, maxPromptLength, TaskId } from '../../protocol/grammar.ts';
import { QuestionAnswer, QuestionId } from '../../protocol/question.ts';
import { EgressAnswerBody, FoundRepository, TaskView } from '../../protocol/runnerApi.ts';
import { maxCommitMessage } from '../../protocol/task.ts';
import type { ServerContext } from '../context.ts';
import type { Read, Router } from '../http/router.ts';
import { asking, type User } from '../principal.ts';
import { recorder } from './record.ts';

const OneTask = z.object({ id: TaskId });

const Choice = z.object({
  /** Instead of the one that was found. */
  repository: z.optional(FoundRepository.shape.repository),
  branch: z.optional(BranchName),
});

const Answer = z.object({ id: QuestionId, answer: QuestionAnswer });
const Message = z.object({
  text: z.string().check(z.minLength(1), z.maxLength(maxPromptLength)),
  /** Of a task that is over: whether its agent then waits for the next message; as before when it is not said. */
  conversation: z.optional(z.boolean()),
});
const Leftovers = z.object({ message: z.string().check(z.minLength(1), z.maxLength(maxCommitMessage)) });
const Budget = z.object({ usd: z.nullable(z.number().check(z.positive(), z.maximum(1_000_000))) });

/** Something that is done to one task: it is done, written down, and answered with the task. */
interface Action<B extends z.ZodMiniType | undefined> {
  /** Last part of the address. */
  at: string;
  /** What the audit calls it. */
  name: string;
  summary: string;
  status?: 201;
  body?: B;
  run(user: User, id: TaskId, body: Read<B>): Promise<unknown>;
  /** What the audit says besides. */
  detail?(body: Read<B>): string;
}

/** What can be done to a task. */
export function actionRoutes(router: Router, context: ServerContext): void {
  const { tasks } = context;
  const record = recorder(context);
  const action = <B extends z.ZodMiniType | undefined = undefined>(one: Action<B>): void => {
    const { at, name, summary, status, body } = one;
    router.add<typeof OneTask, undefined, B>({
      method: 'POST',
      url: `/api/v1/tasks/:id/${at}`,
      summary,
      tag: 'tasks',
      access: 'tasks:write',
      params: OneTask,
      ...(body === undefined ? {} : { body }),
      answer: { ...(status === undefined ? {} : { status }), schema: TaskView },
      handle: async ({ params: { id }, body: said, principal, request }) => {
        const who = asking(principal);
        await one.run(who.user, id, said);
        record(who, request, `task.${name}`, id, one.detail?.(said));
        return tasks.get(who.user, id);
      },
    });
  };

  action({
    at: 'cancel',
    name: 'cancel',
    summary: 'End the work of a task, wherever it is. What it has committed is kept.',
    run: (user, id) => tasks.cancel(user, id),
  });
  action({
    at: 'confirm',
    name: 'confirm',
    summary: 'Go on with the repository that was found, or with another one.',
    body: z.optional(Choice),
    run: (user, id, choice = {}) => tasks.confirm(user, id, choice),
    detail: (choice) => choice?.repository ?? '',
  });
  action({
    at: 'messages',
    name: 'message',
    summary: 'Say something to the agent of a conversation; after the end of a task, have it go on.',
    status: 201,
    body: Message,
    run: (user, id, { text, conversation }) => tasks.send(user, id, text, { conversation }),
  });
  action({
    at: 'leftovers',
    name: 'commit',
    summary: 'Make a commit of what the agent left uncommitted, on the branch of the task.',
    status: 201,
    body: Leftovers,
    run: (user, id, { message }) => tasks.commitLeftovers(user, id, message),
  });
  action({
    at: 'answers',
    name: 'answer',
    summary: 'Answer what the agent of a conversation asks.',
    body: Answer,
    run: (user, id, { id: question, answer }) => tasks.answerQuestion(user, id, question, answer),
    detail: ({ answer }) => answer.kind,
  });
  action({
    at: 'interrupt',
    name: 'interrupt',
    summary: 'Have the agent of a conversation stop what it does, and wait for the next message.',
    run: (user, id) => tasks.interrupt(user, id),
  });
  action({
    at: 'budget',
    name: 'budget',
    summary: 'Set what the task may cost in all, in US dollars; null is no limit.',
    body: Budget,
    run: (user, id, { usd }) => tasks.setBudget(user, id, usd),
    detail: ({ usd }) => String(usd),
  });
  action({
    at: 'egress',
    name: 'egress',
    summary: 'Decide on a request that no rule lets through.',
    body: EgressAnswerBody,
    run: (user, id, answer) => tasks.answerEgress(user, id, answer),
    detail: (answer) => JSON.stringify(answer),
  });
}
