import { SallyportError } from '../../base/errors.ts';
import { ExchangeRequest, Grant, GrantRequest, NewToken } from '../../protocol/accounts.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { bodyLimit, ownAuth } from './routeTools.ts';
import { viewOfToken } from './tokens.ts';
import { viewOfUser } from './users.ts';

/** How a program, such as an editor, gets a token through the browser. */
export function grantRoutes(router: Router, context: ServerContext): void {
  const auth = ownAuth(context);

  router.add({
    method: 'POST',
    url: '/auth/grants',
    summary: 'Let a program in: a code for it, good once and for a minute',
    tag: 'sign-in',
    access: 'account',
    sessionOnly: true,
    bodyLimit,
    body: GrantRequest,
    answer: { status: 201, schema: Grant },
    handle: ({ body, principal, request }) => {
      const { user } = asking(principal);
      const grant = auth.grants.create(user.id, body);
      auth.record(request, 'program_let_in', { user: user.id, subject: body.name });
      return Promise.resolve(grant);
    },
  });

  router.add({
    method: 'POST',
    url: '/auth/exchange',
    summary: 'A token for the code that the browser brought, shown this once',
    tag: 'sign-in',
    access: 'public',
    bodyLimit,
    body: ExchangeRequest,
    answer: { status: 201, schema: NewToken },
    handle: ({ body, request }) => {
      const network = auth.network(request);
      auth.limits.exchange.begin(network);
      const grant = auth.grants.use(body.code, body.verifier);
      const user = grant === undefined ? undefined : auth.users.byId(grant.user);
      if (grant === undefined || user === undefined || user.disabled !== 0) {
        auth.record(request, 'exchange_refused', { user: user?.id });
        throw new SallyportError(
          'unauthorized',
          'The code is not good any more, or not yours.',
          'Sign in again.',
        );
      }
      auth.limits.exchange.undo(network);
      const { token, row } = auth.tokens.create({ user: user.id, role: user.role, name: grant.name });
      auth.record(request, 'token_created', { user: user.id, subject: grant.name, detail: row.prefix });
      return Promise.resolve({ token, view: viewOfToken(row), user: viewOfUser(user) } satisfies NewToken);
    },
  });
}
