import * as z from 'zod/mini';
import { asSallyportError, SallyportError } from '../../base/errors.ts';
import type { ServerContext } from '../context.ts';
import { problemOf } from '../http/problem.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { emptySource } from './emptyRepository.ts';
import { PromptBody, promptOf } from './prompt.ts';
import { answerOf, type TurnAnswer } from './turn.ts';

/** How long a question may take with all that is before it in the queue, in milliseconds. */
const patienceMs = 10 * 60_000;

const QueryAnswer = z.object({
  success: z.literal(true),
  response: z.string(),
  messageCount: z.int(),
  timestamp: z.string(),
});

/** `POST /query`: a question, and the agent's answer. It works in a sandbox without a repository. */
export function queryRoute(router: Router, { tasks, log, now }: ServerContext, waitMs = patienceMs): void {
  router.add({
    method: 'POST',
    url: '/query',
    summary: 'Ask the agent, and wait for its answer; a client that goes away takes its question with it',
    tag: 'compatibility',
    access: 'tasks:write',
    body: PromptBody,
    answer: { schema: QueryAnswer },
    alsoError: true,
    handle: async ({ principal, body, signal, reply }) => {
      const { user } = asking(principal);
      const prompt = promptOf(body.prompt);
      const model = body.options?.model;
      const view = await tasks.submit(user, {
        prompt,
        source: await emptySource(tasks, user),
        ...(typeof model === 'string' ? { model } : {}),
        limits: { timeMs: waitMs },
        priority: 0,
        shared: false,
        conversation: false,
      });
      const late = AbortSignal.timeout(waitMs);
      const over = AbortSignal.any([signal, late]);
      let answer: TurnAnswer | undefined;
      try {
        answer = await answerOf(tasks.events(user, view.id, 0, over));
      } finally {
        if (answer === undefined) {
          await tasks.cancel(user, view.id).catch((thrown: unknown) => {
            log.warn(`The question ${view.id} could not be cancelled: ${asSallyportError(thrown).message}`);
          });
        }
      }
      const timestamp = new Date(now()).toISOString();
      if (answer !== undefined && answer.failure === undefined)
        return { success: true, response: answer.text, messageCount: answer.messages, timestamp };
      if (late.aborted) {
        const problem = problemOf(
          new SallyportError(
            'sandbox_failed',
            `There was no answer within ${Math.round(waitMs / 1000)} seconds.`,
            'Ask for less at once, or submit a task.',
          ),
        );
        await reply
          .status(504)
          .send({ success: false, error: problem.detail, ...problem, status: 504, timestamp });
        return undefined;
      }
      const problem = problemOf(answer?.failure ?? beforeItBegan(tasks.get(user, view.id).problem));
      // That an agent fails is not what the client did wrong.
      const status = problem.status < 500 ? 500 : problem.status;
      await reply
        .status(status)
        .send({ success: false, error: problem.detail, ...problem, status, timestamp });
      return undefined;
    },
  });
}

function beforeItBegan(problem: { message: string; mend: string } | undefined): SallyportError {
  return new SallyportError(
    'sandbox_failed',
    problem?.message ?? 'The task ended before there was an answer.',
    problem?.mend ?? 'Ask again.',
  );
}
