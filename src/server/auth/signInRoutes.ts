import { SallyportError } from '../../base/errors.ts';
import { AuthState, PasswordChange, SetUpRequest, SignedIn, SignInRequest } from '../../protocol/accounts.ts';
import type { ServerContext } from '../context.ts';
import type { Router } from '../http/router.ts';
import { asking } from '../principal.ts';
import { meOf } from './accountRoutes.ts';
import { refused } from './answers.ts';
import { bodyLimit, nothing, Nothing, ownAuth } from './routeTools.ts';
import { viewOfUser } from './users.ts';

/** A session that is younger may set a password where there was none, in milliseconds. */
const freshMs = 10 * 60_000;

/** Set-up, sign-in by password, sign-out. */
export function signInRoutes(router: Router, context: ServerContext): void {
  const auth = ownAuth(context);
  const { config, now } = context;

  router.add({
    method: 'GET',
    url: '/auth/state',
    summary: 'Who is signed in, and how one can sign in',
    tag: 'sign-in',
    access: 'public',
    answer: { schema: AuthState },
    handle: ({ principal }) =>
      Promise.resolve({
        needsSetUp: auth.needsSetUp(),
        ways: { password: true, magicLink: config.mail !== undefined, github: config.github !== undefined },
        ...(principal === undefined ? {} : { me: meOf(auth, principal) }),
      } satisfies AuthState),
  });

  router.add({
    method: 'POST',
    url: '/auth/setup',
    summary: "Become the first administrator, with the secret from the server's log",
    tag: 'sign-in',
    access: 'public',
    bodyLimit,
    body: SetUpRequest,
    answer: { status: 201, schema: SignedIn },
    handle: async ({ body, request, reply }) => {
      if (!auth.needsSetUp()) throw isSetUp();
      const network = auth.network(request);
      auth.limits.setUp.begin(network);
      if (!auth.setUp.fits(body.secret)) {
        auth.record(request, 'set_up_refused');
        throw refused(
          'That is not the secret of the set-up.',
          "It stands in the server's log; a new start of the server makes a new one.",
        );
      }
      const { login, name } = body;
      const password = await auth.passwords.hash(body.password);
      // While the hash was made, somebody else with the secret may have come first.
      const user = auth.users.createFirst({ login, name, password });
      if (user === undefined) throw isSetUp();
      auth.setUp.done();
      auth.limits.setUp.forget(network);
      auth.record(request, 'set_up', { user: user.id });
      auth.signIn(request, reply, user, 'set-up');
      return { user: viewOfUser(user) } satisfies SignedIn;
    },
  });

  router.add({
    method: 'POST',
    url: '/auth/login',
    summary: 'Sign in with a password',
    tag: 'sign-in',
    access: 'public',
    bodyLimit,
    body: SignInRequest,
    answer: { schema: SignedIn },
    handle: async ({ body, request, reply }) => {
      const login = body.login.trim().toLowerCase();
      const user = auth.users.byLogin(login);
      const device = auth.device(request, user);
      const wasGood = auth.lockOut.begin({ login, network: auth.network(request), device });
      // Whether there is such a user, and whether it has a password, shows in neither answer nor time.
      const fits = await auth.passwords.verify(body.password, user?.password ?? undefined);
      const still = user === undefined ? undefined : auth.users.byId(user.id);
      if (!fits || still === undefined || still.disabled !== 0 || still.password !== user?.password) {
        // A login that nobody has may be a password in the wrong field: it is not written down.
        auth.record(request, 'sign_in_failed', { user: user?.id, detail: 'password' });
        throw new SallyportError(
          'unauthorized',
          'Login or password is wrong.',
          'Try again, or ask an administrator for a new password.',
        );
      }
      wasGood();
      auth.signIn(request, reply, still, 'password');
      return { user: viewOfUser(still) } satisfies SignedIn;
    },
  });

  router.add({
    method: 'POST',
    url: '/auth/logout',
    summary: 'End the session, or revoke the token, that this is asked with',
    tag: 'sign-in',
    access: 'public',
    bodyLimit,
    answer: Nothing,
    handle: async ({ principal, request, reply }) => {
      if (principal?.via === 'token') auth.tokens.end(principal.credential);
      else auth.signOut(request);
      if (principal !== undefined) auth.record(request, 'sign_out', { user: principal.user.id });
      auth.cookies.clear(reply, 'sallyport');
      return nothing(reply);
    },
  });

  router.add({
    method: 'POST',
    url: '/auth/password',
    summary: 'Change the own password; all other sessions end',
    tag: 'sign-in',
    access: 'account',
    sessionOnly: true,
    bodyLimit,
    body: PasswordChange,
    answer: Nothing,
    handle: async ({ body, principal, request, reply }) => {
      const { user, credential } = asking(principal);
      const known = auth.users.get(user.id);
      if (known.password === null) {
        const since = auth.sessions.byId(credential)?.created_at ?? 0;
        if (Math.abs(now() - since) > freshMs) {
          throw refused('A first password is set right after signing in.', 'Sign out, and in again.');
        }
      } else {
        const network = auth.network(request);
        const wasGood = auth.lockOut.begin({ login: user.login, network, device: credential });
        if (!(await auth.passwords.verify(body.current ?? '', known.password))) {
          auth.record(request, 'password_change_failed', { user: user.id });
          throw refused('The present password is not that.', 'Try again.');
        }
        wasGood();
      }
      const hash = await auth.passwords.hash(body.password);
      auth.users.setPassword(user.id, hash);
      auth.sessions.endAll(user.id, credential);
      auth.record(request, 'password_changed', { user: user.id });
      return nothing(reply);
    },
  });
}

function isSetUp(): SallyportError {
  return new SallyportError('conflict', 'This server has an administrator already.', 'Sign in.');
}
