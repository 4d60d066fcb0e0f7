import * as z from 'zod/mini';
import { AuditPage, UserChange, UserRequest } from '../../protocol/accounts.ts';
import { UserView } from '../../protocol/runnerApi.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { refused } from './answers.ts';
import { createAudit } from './audit.ts';
import { bodyLimit, IdParams, nothing, Nothing, ownAuth } from './routeTools.ts';
import { viewOfUser } from './users.ts';

/** Users, for administrators, and what everybody has done. */
export function userRoutes(router: Router, context: ServerContext): void {
  const auth = ownAuth(context);
  const log = createAudit(context.store, context.now);

  router.add({
    method: 'GET',
    url: '/api/v1/users',
    summary: 'All users',
    tag: 'users',
    access: 'admin',
    answer: { schema: z.object({ users: z.array(UserView) }) },
    handle: () => Promise.resolve({ users: auth.users.list().map(viewOfUser) }),
  });

  router.add({
    method: 'GET',
    url: '/api/v1/users/:id',
    summary: 'One user',
    tag: 'users',
    access: 'admin',
    params: IdParams,
    answer: { schema: UserView },
    handle: ({ params }) => Promise.resolve(viewOfUser(auth.users.get(params.id))),
  });

  router.add({
    method: 'POST',
    url: '/api/v1/users',
    summary: 'Make a user',
    tag: 'users',
    access: 'admin',
    bodyLimit,
    body: UserRequest,
    answer: { status: 201, schema: UserView },
    handle: async ({ principal, body, request }) => {
      const { login, name, role } = body;
      const password = body.password === undefined ? undefined : await auth.passwords.hash(body.password);
      const user = auth.users.create({ login, name, role, password });
      auth.record(request, 'user_created', { user: asking(principal).user.id, subject: login, detail: role });
      return viewOfUser(user);
    },
  });

  router.add({
    method: 'PATCH',
    url: '/api/v1/users/:id',
    summary:
      'Change role, name or password of a user, or disable them, which ends at once all that they may do',
    tag: 'users',
    access: 'admin',
    bodyLimit,
    params: IdParams,
    body: UserChange,
    answer: { schema: UserView },
    handle: async ({ principal, params, body, request }) => {
      const who = asking(principal).user.id;
      const { password, ...change } = body;
      auth.users.get(params.id);
      if (password !== undefined && params.id === who) {
        throw refused('The own password is changed with the present one.', 'Use POST /auth/password.');
      }
      const hash = password === undefined ? undefined : await auth.passwords.hash(password);
      const user = auth.users.change(params.id, change);
      if (hash !== undefined) auth.users.setPassword(user.id, hash);
      if (hash !== undefined || user.disabled !== 0) auth.sessions.endAll(user.id);
      const detail = [
        ...Object.entries(change).map(([key, value]) => `${key}: ${String(value)}`),
        ...(hash === undefined ? [] : ['password']),
      ].join(', ');
      auth.record(request, 'user_changed', { user: who, subject: user.login, detail });
      return viewOfUser(user);
    },
  });

  router.add({
    method: 'DELETE',
    url: '/api/v1/users/:id',
    summary: 'Remove a user whom no task belongs to; others are disabled instead',
    tag: 'users',
    access: 'admin',
    bodyLimit,
    params: IdParams,
    answer: Nothing,
    handle: async ({ principal, params, request, reply }) => {
      const removed = auth.users.remove(params.id);
      auth.record(request, 'user_removed', { user: asking(principal).user.id, subject: removed.login });
      return nothing(reply);
    },
  });

  router.add({
    method: 'GET',
    url: '/api/v1/audit',
    summary: 'Who did what, newest first',
    tag: 'users',
    access: 'admin',
    query: z.object({
      before: z.optional(z.coerce.number().check(z.int(), z.positive())),
      limit: z._default(z.coerce.number().check(z.int(), z.minimum(1), z.maximum(500)), 100),
    }),
    answer: { schema: AuditPage },
    handle: ({ query }) => Promise.resolve(log.list(query)),
  });
}
