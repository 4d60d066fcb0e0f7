import type { FastifyRequest } from 'fastify';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { BranchName, maxPromptLength, TaskId } from '../../protocol/grammar.ts';
import { QuestionAnswer, QuestionId } from '../../protocol/question.ts';
import {
  EgressAnswerBody,
  FoundRepository,
  KnownCommits,
  KnownCommitsRequest,
  Submission,
  TaskPage,
  TaskView,
  UploadRequest,
  UploadState,
} from '../../protocol/runnerApi.ts';
import { maxCommitMessage } from '../../protocol/task.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import type { Principal } from '../principal.ts';

const tag = 'tasks';
const uploadTag = 'uploads';

const OneTask = z.object({ id: TaskId });
const OneUpload = z.object({ id: z.string().check(z.regex(/^[0-9a-f]{32}$/)) });
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
const Spend = z.object({ usd: z.number() });
const Nothing = z.object({});

/** How long a client may go on to send what nobody wants, in milliseconds. */
const leaveMs = 10_000;

/** Tasks and what they begin with. */
export function taskRoutes(router: Router, { tasks, audit, auth }: ServerContext): void {
  const record = (
    who: Principal,
    request: FastifyRequest,
    action: string,
    subject: string,
    detail = '',
  ): void => audit.record({ user: who.user.id, address: auth.address(request), action, subject, detail });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks',
    summary: 'Submit a task. With the header Idempotency-Key a repeated submission is one task.',
    tag,
    access: 'tasks:write',
    body: Submission,
    answer: { status: 201, schema: TaskView },
    handle: async ({ body, principal, request }) => {
      const who = required(principal);
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
      const { user } = required(principal);
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
    handle: ({ params, principal }) => Promise.resolve(tasks.get(required(principal).user, params.id)),
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
      const who = required(principal);
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
      const who = required(principal);
      const force = query.force === 'true' || query.force === '1' || query.force === '';
      await tasks.remove(who.user, params.id, force);
      record(who, request, 'task.remove', params.id, force ? 'by force' : '');
      return {};
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/cancel',
    summary: 'End the work of a task, wherever it is. What it has committed is kept.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    answer: { schema: TaskView },
    handle: async ({ params, principal, request }) => {
      const who = required(principal);
      const view = await tasks.cancel(who.user, params.id);
      record(who, request, 'task.cancel', params.id);
      return view;
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
      const who = required(principal);
      const view = await tasks.retry(who.user, params.id);
      record(who, request, 'task.retry', view.id, params.id);
      return view;
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/confirm',
    summary: 'Go on with the repository that was found, or with another one.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    body: z.optional(Choice),
    answer: { schema: TaskView },
    handle: async ({ params, body, principal, request }) => {
      const who = required(principal);
      const view = await tasks.confirm(who.user, params.id, body ?? {});
      record(who, request, 'task.confirm', params.id, body?.repository ?? '');
      return view;
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/messages',
    summary: 'Say something to the agent of a conversation; after the end of a task, have it go on.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    body: Message,
    answer: { status: 201, schema: TaskView },
    handle: async ({ params, body, principal, request }) => {
      const who = required(principal);
      const { text, conversation } = body;
      const view = await tasks.send(who.user, params.id, text, { conversation });
      record(who, request, 'task.message', view.id, '');
      return view;
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/leftovers',
    summary: 'Make a commit of what the agent left uncommitted, on the branch of the task.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    body: Leftovers,
    answer: { status: 201, schema: TaskView },
    handle: async ({ params, body, principal, request }) => {
      const who = required(principal);
      const view = await tasks.commitLeftovers(who.user, params.id, body.message);
      record(who, request, 'task.commit', view.id, '');
      return view;
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/answers',
    summary: 'Answer what the agent of a conversation asks.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    body: Answer,
    answer: { schema: TaskView },
    handle: async ({ params, body, principal, request }) => {
      const who = required(principal);
      await tasks.answerQuestion(who.user, params.id, body.id, body.answer);
      record(who, request, 'task.answer', params.id, body.answer.kind);
      return tasks.get(who.user, params.id);
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/interrupt',
    summary: 'Have the agent of a conversation stop what it does, and wait for the next message.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    answer: { schema: TaskView },
    handle: async ({ params, principal, request }) => {
      const who = required(principal);
      await tasks.interrupt(who.user, params.id);
      record(who, request, 'task.interrupt', params.id, '');
      return tasks.get(who.user, params.id);
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/budget',
    summary: 'Set what the task may cost in all, in US dollars; null is no limit.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    body: Budget,
    answer: { schema: TaskView },
    handle: async ({ params, body, principal, request }) => {
      const who = required(principal);
      await tasks.setBudget(who.user, params.id, body.usd);
      record(who, request, 'task.budget', params.id, String(body.usd));
      return tasks.get(who.user, params.id);
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tasks/:id/egress',
    summary: 'Decide on a request that no rule lets through.',
    tag,
    access: 'tasks:write',
    params: OneTask,
    body: EgressAnswerBody,
    answer: { schema: TaskView },
    handle: async ({ params, body, principal, request }) => {
      const who = required(principal);
      await tasks.answerEgress(who.user, params.id, body);
      record(who, request, 'task.egress', params.id, JSON.stringify(body));
      return tasks.get(who.user, params.id);
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

  router.add({
    method: 'POST',
    url: '/api/v1/uploads/known',
    summary: 'Which of these commits you have brought already, so that a bundle need not bring them.',
    tag: uploadTag,
    access: 'tasks:write',
    body: KnownCommitsRequest,
    answer: { schema: KnownCommits },
    handle: async ({ body, principal }) => ({
      commits: await tasks.knownCommits(required(principal).user, body.repository, body.commits),
    }),
  });

  router.add({
    method: 'POST',
    url: '/api/v1/uploads',
    summary: 'Announce a git bundle, or find out how much of it is here.',
    tag: uploadTag,
    access: 'tasks:write',
    body: UploadRequest,
    answer: { status: 201, schema: UploadState },
    handle: ({ body, principal }) => tasks.beginUpload(required(principal).user, body),
  });

  router.add({
    method: 'GET',
    url: '/api/v1/uploads/:id',
    summary: 'How much of an upload is here.',
    tag: uploadTag,
    access: 'tasks:write',
    params: OneUpload,
    answer: { schema: UploadState },
    handle: ({ params, principal }) => tasks.uploadState(required(principal).user, params.id),
  });

  router.add({
    method: 'PATCH',
    url: '/api/v1/uploads/:id',
    summary: 'Send the next bytes of an upload; the header Upload-Offset says where they begin.',
    tag: uploadTag,
    access: 'tasks:write',
    params: OneUpload,
    rawBody: 'application/octet-stream',
    answer: { schema: UploadState },
    handle: async ({ params, principal, request }) => {
      try {
        const { user } = required(principal);
        return await tasks.continueUpload(user, params.id, offsetOf(request), bytesOf(request));
      } catch (thrown) {
        leaveRest(request);
        throw thrown;
      }
    },
  });
}

function required(principal: Principal | undefined): Principal {
  if (principal !== undefined) return principal;
  throw new SallyportError('unauthorized', 'This needs a credential.', 'Sign in.');
}

function keyOf(request: FastifyRequest): string | undefined {
  const value = request.headers['idempotency-key'];
  return Array.isArray(value) ? value.join() : value;
}

function offsetOf(request: FastifyRequest): number {
  const text = String(request.headers['upload-offset'] ?? '');
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new SallyportError(
    'invalid_input',
    'The header Upload-Offset is missing, or is no number of bytes.',
    'Send it with the offset that the upload stands at.',
  );
}

/** A body of another type was read as such, so that nothing of it is left. */
function bytesOf(request: FastifyRequest): AsyncIterable<Uint8Array> {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() === 'application/octet-stream' || hasNoBody(request))
    return request.raw.iterator({ destroyOnReturn: false });
  throw new SallyportError(
    'invalid_input',
    'The bytes of an upload come as application/octet-stream.',
    'Set the header Content-Type to that.',
  );
}

/**
 * What a refused upload still sends is thrown away, so that its client reads the answer, and its connection serves the next
 * request. One that does not stop is cut off.
 */
function leaveRest({ raw }: FastifyRequest): void {
  if (raw.readableEnded || raw.destroyed) return;
  const late = setTimeout(() => raw.destroy(), leaveMs);
  raw.once('close', () => clearTimeout(late));
  raw.once('end', () => clearTimeout(late));
  raw.resume();
}

function hasNoBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0';
}
