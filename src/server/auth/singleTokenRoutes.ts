import * as z from 'zod/mini';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { bodyLimit, ownAuth } from './routeTools.ts';
import type { TokenRow } from './tokens.ts';

const Status = z.object({
  exists: z.boolean(),
  /** Its first characters. */
  token: z.optional(z.string()),
  createdAt: z.optional(z.string()),
  lastUsedAt: z.optional(z.string()),
});

/**
 * The one token of the HTTP API of Claude Code containers: each user has one, a new one replaces it, and it does not
 * expire. There, anybody may ask for its status and revoke it; here both need a credential, because a stranger has
 * no business with either.
 */
export function singleTokenRoutes(router: Router, context: ServerContext): void {
  const auth = ownAuth(context);

  router.add({
    method: 'POST',
    url: '/token/generate',
    summary: 'Make the one API token of this user, in place of the one before',
    tag: 'compatibility',
    access: 'account',
    sessionOnly: true,
    bodyLimit,
    answer: { schema: z.object({ token: z.string() }) },
    handle: ({ principal, request }) => {
      const { user } = asking(principal);
      const { token, row } = auth.tokens.create({
        user: user.id,
        role: user.role,
        name: 'API token',
        kind: 'single',
        expiresAt: null,
      });
      auth.record(request, 'token_created', { user: user.id, subject: row.name, detail: row.prefix });
      return Promise.resolve({ token });
    },
  });

  router.add({
    method: 'GET',
    url: '/token',
    summary: 'Whether there is such a token, with its text masked',
    tag: 'compatibility',
    access: 'tasks:read',
    answer: { schema: Status },
    handle: ({ principal }) => Promise.resolve(statusOf(auth.tokens.single(asking(principal).user.id))),
  });

  router.add({
    method: 'DELETE',
    url: '/token',
    summary: 'Revoke that token; or, asked with any token, the one that it is asked with',
    tag: 'compatibility',
    access: 'tasks:read',
    bodyLimit,
    answer: { schema: z.object({ success: z.boolean() }) },
    handle: ({ principal, request }) => {
      const { user, via, credential } = asking(principal);
      if (via === 'token') auth.tokens.end(credential);
      else auth.tokens.endSingle(user.id);
      auth.record(request, 'token_revoked', { user: user.id });
      return Promise.resolve({ success: true });
    },
  });
}

function statusOf(row: TokenRow | undefined): z.infer<typeof Status> {
  if (row === undefined) return { exists: false };
  const { prefix, created_at, last_used_at } = row;
  return {
    exists: true,
    token: `${prefix}…`,
    createdAt: new Date(created_at).toISOString(),
    ...(last_used_at === null ? {} : { lastUsedAt: new Date(last_used_at).toISOString() }),
  };
}
