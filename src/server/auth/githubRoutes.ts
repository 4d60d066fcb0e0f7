import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import type { ServerConfig } from '../config.ts';
import type { ServerContext } from '../context.ts';
import { problemOf } from '../http/problem.ts';
import type { Router } from '../http/router.ts';
import type { ServerAuth } from './auth.ts';
import { type Account, beginGithub, finishGithub, flowMs, flowOf } from './github.ts';
import { ownPath } from './ownPath.ts';
import { sendPage } from './page.ts';
import { afterSetUp, enabled, ownAuth } from './routeTools.ts';
import type { UserRow } from './users.ts';

const purpose = 'github flow';
const Text = z.string().check(z.maxLength(2000));

/** Sign-in by GitHub, or an Enterprise server of it. */
export function githubRoutes(router: Router, context: ServerContext): void {
  const auth = ownAuth(context);
  const { config, now, log } = context;

  router.add({
    method: 'GET',
    url: '/auth/github',
    summary: 'Go to GitHub to sign in',
    tag: 'sign-in',
    access: 'public',
    query: z.object({ next: z.optional(Text) }),
    answer: { status: 302 },
    handle: async ({ query, request, reply }) => {
      const github = configured(config);
      afterSetUp(auth);
      auth.limits.github.take(auth.network(request));
      const { url, flow } = beginGithub(github, config.publicUrl, ownPath(query.next), now());
      const sealed = auth.box.seal(purpose, JSON.stringify(flow));
      auth.cookies.set(reply, 'sallyport-github', sealed, flowMs);
      await reply.redirect(url, 302);
      return undefined;
    },
  });

  router.add({
    method: 'GET',
    url: '/auth/github/callback',
    summary: 'Come back from GitHub',
    tag: 'sign-in',
    access: 'public',
    query: z.object({ code: z.optional(Text), state: z.optional(Text), error: z.optional(Text) }),
    answer: { status: 303 },
    handle: async ({ query, request, reply, signal }) => {
      const sealed = auth.cookies.read(request, 'sallyport-github');
      auth.cookies.clear(reply, 'sallyport-github');
      try {
        const github = configured(config);
        afterSetUp(auth);
        auth.limits.github.take(auth.network(request));
        const flow = flowOf(sealed === undefined ? undefined : auth.box.open(purpose, sealed), now());
        const { code = '', state = '' } = query;
        const account = await finishGithub(github, config.publicUrl, flow, { code, state }, signal);
        const user = enabled(
          userOf(auth, account, () =>
            auth.record(request, 'user_created', { subject: account.login, detail: 'GitHub' }),
          ),
        );
        auth.signIn(request, reply, user, 'GitHub');
        await reply.redirect(flow?.next ?? ownPath(undefined), 303);
        return undefined;
      } catch (thrown) {
        // This answers a browser that comes from another site, not a program.
        const { status, detail, mend } = problemOf(thrown);
        if (status >= 500) log.warn(`Sign-in with GitHub: ${detail}`);
        auth.record(request, 'sign_in_failed', { detail: `GitHub: ${detail}` });
        const link = { href: '/signin', label: 'Back' };
        return sendPage(reply, { status, title: detail.replace(/\.$/, ''), text: mend, link });
      }
    },
  });
}

/** Known by the number of the account alone: its name can be given up, and taken by somebody else. */
function userOf(auth: ServerAuth, { id, login, name }: Account, created: () => void): UserRow {
  const githubId = String(id);
  const known = auth.users.byGithubId(githubId);
  if (known !== undefined) return known;
  const plain = login.toLowerCase();
  // A user of that login who was made here is somebody else.
  const free = auth.users.byLogin(plain) === undefined ? plain : `${plain}.github.${githubId}`;
  const user = auth.users.create({
    login: free,
    name: cleanName(name ?? '') || login,
    role: 'member',
    githubId,
  });
  created();
  return user;
}

function cleanName(name: string): string {
  return name
    .replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '')
    .trim()
    .slice(0, 100);
}

function configured({ github }: ServerConfig): NonNullable<ServerConfig['github']> {
  if (github !== undefined) return github;
  throw new SallyportError(
    'not_found',
    'This server has no sign-in with GitHub.',
    'Sign in with a password; an administrator can set up GITHUB_CLIENT_ID.',
  );
}
