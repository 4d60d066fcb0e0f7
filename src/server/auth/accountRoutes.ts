import * as z from 'zod/mini';
import { Me, NewToken, SessionView, TokenRequest } from '../../protocol/accounts.ts';
import { Scope, TokenView } from '../../protocol/runnerApi.ts';
import type { ServerContext } from '../context.ts';
import { notFound } from '../http/problem.ts';
import type { Router } from '../http/router.ts';
import { asking, type Principal } from '../principal.ts';
import type { ServerAuth } from './auth.ts';
import { refused } from './answers.ts';
import { bodyLimit, IdParams, nothing, Nothing, ownAuth } from './routeTools.ts';
import type { SessionRow } from './sessions.ts';
import { viewOfToken } from './tokens.ts';
import { viewOfUser } from './users.ts';

/** An administrator may look at, and end, those of others. */
const OfUser = z.object({ user: z.optional(IdParams.shape.id) });

/** The own user, sessions and tokens. */
export function accountRoutes(router: Router, context: ServerContext): void {
  const auth = ownAuth(context);

  router.add({
    method: 'GET',
    url: '/api/v1/me',
    summary: 'Who asks, and what the credential may do',
    tag: 'account',
    access: 'tasks:read',
    answer: { schema: Me },
    handle: ({ principal }) => Promise.resolve(meOf(auth, asking(principal))),
  });

  router.add({
    method: 'GET',
    url: '/api/v1/sessions',
    summary: 'The browsers that are signed in',
    tag: 'account',
    access: 'account',
    query: OfUser,
    answer: { schema: z.object({ sessions: z.array(SessionView) }) },
    handle: ({ principal, query }) => {
      const who = asking(principal);
      const sessions = auth.sessions.list(ownerOf(who, query.user));
      return Promise.resolve({ sessions: sessions.map((row) => viewOfSession(row, who)) });
    },
  });

  router.add({
    method: 'DELETE',
    url: '/api/v1/sessions',
    summary: 'Sign out everywhere but here',
    tag: 'account',
    access: 'account',
    bodyLimit,
    answer: Nothing,
    handle: ({ principal, request, reply }) => {
      const { user, credential } = asking(principal);
      auth.sessions.endAll(user.id, credential);
      auth.record(request, 'session_ended', { user: user.id, detail: 'all others' });
      return nothing(reply);
    },
  });

  router.add({
    method: 'DELETE',
    url: '/api/v1/sessions/:id',
    summary: 'Sign a browser out',
    tag: 'account',
    access: 'account',
    bodyLimit,
    params: IdParams,
    answer: Nothing,
    handle: async ({ principal, params, request, reply }) => {
      const who = asking(principal);
      const session = auth.sessions.byId(params.id);
      if (session === undefined || !mayEnd(who, session.user)) throw notFound('such session');
      auth.sessions.end(session.id);
      auth.record(request, 'session_ended', { user: who.user.id, subject: session.user });
      return nothing(reply);
    },
  });

  router.add({
    method: 'GET',
    url: '/api/v1/tokens',
    summary: 'API tokens, without their text',
    tag: 'account',
    access: 'account',
    query: OfUser,
    answer: { schema: z.object({ tokens: z.array(TokenView) }) },
    handle: ({ principal, query }) => {
      const rows = auth.tokens.list(ownerOf(asking(principal), query.user));
      return Promise.resolve({ tokens: rows.map(viewOfToken) });
    },
  });

  router.add({
    method: 'POST',
    url: '/api/v1/tokens',
    summary: 'Make an API token, whose text is shown this once',
    tag: 'account',
    access: 'account',
    sessionOnly: true,
    bodyLimit,
    body: TokenRequest,
    answer: { status: 201, schema: NewToken },
    handle: ({ principal, body, request }) => {
      const { user } = asking(principal);
      const { token, row } = auth.tokens.create({ ...body, user: user.id, role: user.role });
      auth.record(request, 'token_created', { user: user.id, subject: body.name, detail: row.prefix });
      const view = viewOfToken(row);
      return Promise.resolve({ token, view, user: viewOfUser(auth.users.get(user.id)) } satisfies NewToken);
    },
  });

  router.add({
    method: 'DELETE',
    url: '/api/v1/tokens/:id',
    summary: 'Revoke an API token',
    tag: 'account',
    access: 'account',
    bodyLimit,
    params: IdParams,
    answer: Nothing,
    handle: async ({ principal, params, request, reply }) => {
      const who = asking(principal);
      const token = auth.tokens.get(params.id);
      if (token === undefined || !mayEnd(who, token.user)) throw notFound('such token');
      auth.tokens.end(token.id);
      const { name, prefix } = token;
      auth.record(request, 'token_revoked', { user: who.user.id, subject: name, detail: prefix });
      return nothing(reply);
    },
  });
}

export function meOf(auth: ServerAuth, { user, scopes, via }: Principal): Me {
  const kept = Scope.options.filter((scope) => scopes.has(scope));
  return { user: viewOfUser(auth.users.get(user.id)), scopes: kept, via };
}

function mayEnd({ user, scopes }: Principal, owner: string): boolean {
  return owner === user.id || scopes.has('admin');
}

/** Throws `forbidden`. */
function ownerOf(who: Principal, user: string | undefined): string {
  if (user === undefined || mayEnd(who, user)) return user ?? who.user.id;
  throw refused('These belong to somebody else.', 'Ask an administrator.');
}

function viewOfSession(row: SessionRow, who: Principal): SessionView {
  return {
    id: row.id,
    createdAt: row.created_at,
    lastSeenAt: row.last_seen_at,
    expiresAt: row.expires_at,
    agent: row.agent,
    current: who.via === 'session' && who.credential === row.id,
  };
}
