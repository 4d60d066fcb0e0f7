import type { FastifyRequest } from 'fastify';
import * as z from 'zod/mini';
import { TaskId } from '../../protocol/grammar.ts';
import { Submission, TaskPage, TaskView } from '../../protocol/runnerApi.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { recorder } from './record.ts';

const tag = 'tasks';

const OneTask = z.object({ id: TaskId });
/** Numbers and switches come as text in a query. */
const Flag = z.optional(z.enum(['true', 'false', '1', '0', '']));

const ListQuery = z.object({
  /** Phases, stages, or `queued`, `running`, `succeeded`, `failed`, `over`; several with commas. */
  state: z.optional(z.string().check(z.regex(/^[a-z_]+(,[a-z_]+)*$/), z.maxLength(300))),
  /** Id of a user, or `me`. */
  owner: z.optional(z.string().check(z.maxLength(100))),
  repository: z.optional(z.string().check(z.maxLength(2000))),
  /** Words in title and prompt. */
  q: z.optional(z.string().check(z.maxLength(300))),
  limit: z.optional(z.string().check(z.regex(/^(?:[1-9]\d?|[1-4]\d\d|500)$/, '1 to 500'))),
  cursor: z.optional(z.string().check(z.maxLength(100))),
});

const Change = z.object({
  shared: z.optional(z.boolean()),
  priority: z.optional(z.int().check(z.minimum(-100), z.maximum(100))),
  title: z.optional(z.string().check(z.trim(), z.minLength(1), z.maxLength(200))),
});

const Spend = z.object({ usd: z.number() });
const Nothing = z.object({});

/** The list of tasks, and each of them. */
export function taskRoutes(router: Router, context: ServerContext): void {
  const { tasks } = context;
  const record = recorder(context);

  router.add({
    method: 'POST',
    url: '/api/v1/tasks',
    summary: 'Submit a task. With the header Idempotency-Key a repeated submission is one task.',
    tag,
    access: 'tasks:write',
    body: Submission,
    answer: { status: 201, schema: TaskView },
    handle: async ({ body, principal, request }) => {
      const who = asking(principal);
      const view = await tasks.submit(who.user, body, keyOf(request));
      record(who, request, 'task.submit', view.id);
      return view;
    },
  });

  router.add({
    method: 'GET',
    url: '/api/v1/tasks',
    summary: 'List the tasks that you may see, newest first, in pages.',
    tag,
    access: 'tasks:read',
    query: ListQuery,
    answer: { schema: TaskPage },
    handle: ({ query, principal }) => {
      const { user } = asking(principal);
      const { state, owner, repository, q, limit, cursor } = query;
      const words = q?.trim();
      return Promise.resolve(
        tasks.list(user, {
          states: state?.split(','),
          owner: owner === 'me' ? user.id : owner,
          repository,
          words: words === '' ? undefined : words,
          limit: Number(limit ?? 50),
          cursor,
        }),
      );
    },
  });

  router.add({
    method: 'GET',
    url: '/api/v1/tasks/:id',
    summary: 'One task, with its state.',
    tag,
    access: 'tasks:read',
    params: OneTask,
    answer: { schema: TaskView },
    handle: ({ params, principal }) => Promise.resolve(tasks.get(asking(principal).user, params.id)),
  });

  router.add({
    method: 'PATCH',
    url: '/api/v1/tasks/:id',
    summary: 'Share a task, give it another priority or title.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    body: Change,
    answer: { schema: TaskView },
    handle: ({ params, body, principal, request }) => {
      const who = asking(principal);
      const view = tasks.change(who.user, params.id, body);
      record(who, request, 'task.change', params.id, Object.keys(body).join());
      return Promise.resolve(view);
    },
  });

  router.add({
    method: 'DELETE',
    url: '/api/v1/tasks/:id',
    summary: 'Remove a task. With force=true also one that runs, or that has commits which are nowhere else.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    query: z.object({ force: Flag }),
    answer: { schema: Nothing },
    handle: async ({ params, query, principal, request }) => {
      const who = asking(principal);
      const force = query.force === 'true' || query.force === '1' || query.force === '';
      await tasks.remove(who.user, params.id, force);
      record(who, request, 'task.remove', params.id, force ? 'by force' : '');
      return {};
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/retry',
    summary: 'Submit the same once more, as a new task.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    answer: { status: 201, schema: TaskView },
    handle: async ({ params, principal, request }) => {
      const who = asking(principal);
      const view = await tasks.retry(who.user, params.id);
      record(who, request, 'task.retry', view.id, params.id);
      return view;
    },
  });

  router.add({
    method: 'GET',
    url: '/api/v1/spend',
    summary: 'What all tasks of this runner cost today (UTC), in US dollars.',
    tag,
    access: 'tasks:read',
    answer: { schema: Spend },
    handle: async () => ({ usd: await tasks.spentToday() }),
  });
}

function keyOf(request: FastifyRequest): string | undefined {
  const value = request.headers['idempotency-key'];
  return Array.isArray(value) ? value.join() : value;
}
