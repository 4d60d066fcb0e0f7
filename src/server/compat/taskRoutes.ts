import * as z from 'zod/mini';
import { TaskId } from '../../protocol/grammar.ts';
import { Switches, type TaskView } from '../../protocol/runnerApi.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { ServerContext } from '../context.ts';
import { notFound } from '../http/problem.ts';
import type { Router } from '../http/router.ts';
import { streamsOf } from '../streams/hub.ts';
import { logAnswer, textType } from '../streams/logRoutes.ts';
import { asking } from '../principal.ts';
import { promptOf } from './prompt.ts';

const tag = 'compatibility';
/** As many as other such servers would ever keep. */
const mostListed = 1000;

/** All that a client of this API waits for is a pull request that grows before its eyes. */
const everything = { commitEach: true, autoPush: true, draftEarly: true, autoPullRequest: true };

const TaskBody = z.object({
  prompt: z.optional(z.unknown()),
  /** What is not to be done by itself. */
  switches: z.optional(z.partial(Switches)),
});
const AnyId = z.object({ id: z.string().check(z.maxLength(100)) });

const CompatTask = z.object({
  id: z.string(),
  status: z.enum(['running', 'completed', 'failed']),
  prompt: z.string(),
  startedAt: z.string(),
  started: z.string(),
  completedAt: z.optional(z.string()),
  finished: z.optional(z.string()),
  pr_url: z.optional(z.nullable(z.string())),
  error: z.optional(z.string()),
  errorType: z.optional(z.nullable(z.string())),
});
export type CompatTask = z.infer<typeof CompatTask>;

/** A prompt that names its repository, what became of it, its log: `/task` and `/tasks`. */
export function compatTaskRoutes(router: Router, context: ServerContext): void {
  const { tasks } = context;
  router.add({
    method: 'POST',
    url: '/task',
    summary: 'Do what the prompt says, in the repository that it means, and open a pull request',
    tag,
    access: 'tasks:write',
    body: TaskBody,
    answer: { schema: CompatTask },
    alsoError: true,
    handle: async ({ principal, body }) => {
      const prompt = promptOf(body.prompt);
      const view = await tasks.submit(asking(principal).user, {
        prompt,
        source: { kind: 'find', confirm: false },
        priority: 0,
        shared: false,
        conversation: false,
        switches: { ...everything, ...body.switches },
      });
      return compatTask(view);
    },
  });
  router.add({
    method: 'GET',
    url: '/task/:id',
    summary: 'What became of a task',
    tag,
    access: 'tasks:read',
    params: AnyId,
    answer: { schema: CompatTask },
    alsoError: true,
    handle: ({ principal, params }) =>
      Promise.resolve(compatTask(tasks.get(asking(principal).user, idOf(params.id)))),
  });
  router.add({
    method: 'GET',
    url: '/task/:id/logs',
    summary: 'The log of a task as text, until the task is over',
    tag,
    access: 'tasks:read',
    params: AnyId,
    answer: { type: textType },
    alsoError: true,
    handle: (call) => Promise.resolve(logAnswer(streamsOf(context), call, idOf(call.params.id))),
  });
  router.add({
    method: 'GET',
    url: '/tasks',
    summary: 'All tasks, newest first',
    tag,
    access: 'tasks:read',
    answer: { schema: z.array(CompatTask) },
    alsoError: true,
    handle: ({ principal }) => {
      const { user } = asking(principal);
      const newest = tasks.all(user).slice(-mostListed).reverse();
      return Promise.resolve(
        newest.map((view) => compatTask(view.summary?.phase === 'failed' ? tasks.get(user, view.id) : view)),
      );
    },
  });
}

function idOf(id: string): TaskId {
  const read = TaskId.safeParse(id);
  if (read.success) return read.data;
  throw notFound('such task');
}

/** What clients of that API know of a task. */
export function compatTask(view: TaskView): CompatTask {
  const startedAt = new Date(view.createdAt).toISOString();
  const status = statusOf(view);
  const endedAt = view.summary?.endedAt;
  const completedAt = endedAt === undefined ? undefined : new Date(endedAt).toISOString();
  return {
    id: view.id,
    status,
    prompt: view.prompt,
    startedAt,
    started: startedAt,
    ...(completedAt === undefined ? {} : { completedAt, finished: completedAt }),
    ...(status === 'running' && view.pullRequest === undefined
      ? {}
      : { pr_url: view.pullRequest?.url ?? null }),
    ...(status === 'failed' ? failureOf(view) : {}),
  };
}

function statusOf({ stage, summary }: TaskView): CompatTask['status'] {
  if (stage === 'failed' || stage === 'cancelled') return 'failed';
  if (summary?.endedAt === undefined) return 'running';
  return summary.phase === 'succeeded' ? 'completed' : 'failed';
}

const errorTypes: Partial<Record<string, string>> = {
  auth_refused: 'auth_expired',
  auth_expired: 'auth_expired',
  no_credentials: 'auth_expired',
  rate_limited: 'capacity_reached',
  capacity_reached: 'capacity_reached',
  model_unavailable: 'capacity_reached',
  exit: 'exit_code',
  agent_error: 'exit_code',
  killed: 'exit_code',
};

function failureOf({ stage, summary, problem, state }: TaskView): Pick<CompatTask, 'error' | 'errorType'> {
  if (stage === 'cancelled' || summary?.phase === 'stopped')
    return { error: 'The task was cancelled.', errorType: 'cancelled' };
  if (summary?.phase === 'timed_out')
    return { error: 'The task has reached its time limit.', errorType: 'timeout' };
  const failure = state?.['failure'] as TaskState['failure'];
  const error = failure?.message ?? problem?.message ?? 'The task has failed.';
  return { error, errorType: errorTypes[failure?.kind ?? problem?.code ?? ''] ?? 'unknown' };
}
