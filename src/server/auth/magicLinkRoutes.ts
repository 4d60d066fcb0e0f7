import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { MagicLinkRequest, SignedIn } from '../../protocol/accounts.ts';
import type { ServerContext } from '../context.ts';
import { problemType } from '../http/app.ts';
import { problemOf } from '../http/problem.ts';
import type { Router } from '../http/router.ts';
import { refused } from './answers.ts';
import { isAllowedEmail, linkMail, linkMs, type LinkState } from './magicLinks.ts';
import { emailOf, sendMail } from './mail.ts';
import { ownPath } from './ownPath.ts';
import { sendPage } from './page.ts';
import { afterSetUp, bodyLimit, enabled, ownAuth } from './routeTools.ts';
import { randomText } from './secretText.ts';
import { viewOfUser } from './users.ts';

const LinkParams = z.object({ token: z.string().check(z.regex(/^[A-Za-z0-9_-]{43}$/)) });
const back = { href: '/signin', label: 'Ask for a new link' };

/** Sign-in by a link in a mail. */
export function magicLinkRoutes(router: Router, context: ServerContext): void {
  const auth = ownAuth(context);
  const { config } = context;

  router.add({
    method: 'POST',
    url: '/auth/magic-link',
    summary: 'Have a link mailed that signs in once, in this browser',
    tag: 'sign-in',
    access: 'public',
    bodyLimit,
    body: MagicLinkRequest,
    answer: { status: 202, schema: z.object({ sent: z.literal(true) }) },
    handle: async ({ body, request, reply, signal }) => {
      const { mail } = config;
      if (mail === undefined) {
        throw new SallyportError(
          'not_found',
          'This server sends no mail.',
          'Sign in with a password; an administrator can set up SMTP_URL or RESEND_API_KEY.',
        );
      }
      afterSetUp(auth);
      auth.limits.asksForLinks.take(auth.network(request));
      const email = emailOf(body.email);
      if (email === undefined) {
        throw new SallyportError('invalid_input', 'That is no e-mail address.', 'Check its spelling.');
      }
      const user = auth.users.byLogin(email);
      const isKnown = user !== undefined;
      if (!isAllowedEmail(config, email, isKnown) || (isKnown && user.disabled !== 0)) {
        auth.record(request, 'link_refused', { user: user?.id, subject: email });
        const problem = problemOf(
          refused('Email address not allowed', 'Ask an administrator of this server to let you in.'),
        );
        // Clients of the HTTP API of Claude Code containers read `error`.
        await reply
          .status(problem.status)
          .type(problemType)
          .send({ ...problem, error: problem.detail });
        return undefined;
      }
      // As with passwords: strangers who ask for links to an address keep its owner's known browser out of none.
      const device = auth.device(request, user);
      auth.limits.linksFrom.take(`${email} ${device ?? auth.network(request)}`);
      if (device === undefined) auth.limits.linksTo.take(email);
      const browser = auth.cookies.read(request, 'sallyport-browser') ?? randomText();
      auth.cookies.set(reply, 'sallyport-browser', browser, linkMs);
      const secret = auth.links.create(email, browser, ownPath(body.next));
      await sendMail(mail, linkMail(email, config.publicUrl, secret), signal);
      auth.record(request, 'link_sent', { user: user?.id, subject: email });
      return { sent: true as const };
    },
  });

  router.add({
    method: 'GET',
    url: '/auth/magic-link/:token',
    summary: 'The page that a mailed link opens; only its button uses the link up',
    tag: 'sign-in',
    access: 'public',
    params: LinkParams,
    answer: { type: 'text/html; charset=utf-8' },
    handle: async ({ params, request, reply }) => {
      const browser = auth.cookies.read(request, 'sallyport-browser');
      const state = auth.links.look(params.token, browser);
      if (state !== 'good') return sendPage(reply, { ...said(state), link: back });
      return sendPage(reply, {
        status: 200,
        title: 'Sign in',
        text: `You are about to sign in to ${new URL(config.publicUrl).host}.`,
        button: { action: `/auth/magic-link/${params.token}`, label: 'Sign in' },
      });
    },
  });

  router.add({
    method: 'POST',
    url: '/auth/magic-link/:token',
    summary: 'Sign in with a mailed link',
    tag: 'sign-in',
    access: 'public',
    bodyLimit,
    params: LinkParams,
    answer: { schema: SignedIn },
    handle: async ({ params, request, reply }) => {
      const network = auth.network(request);
      auth.limits.usedLinks.begin(network);
      const browser = auth.cookies.read(request, 'sallyport-browser');
      const { state, email, next } = auth.links.use(params.token, browser);
      const wantsPage = request.headers.accept?.includes('text/html') === true;
      if (state !== 'good') {
        auth.record(request, 'sign_in_failed', { detail: `link: ${state}` });
        const { title, text } = said(state);
        if (wantsPage) return sendPage(reply, { ...said(state), link: back });
        throw refused(`${title}.`, text);
      }
      afterSetUp(auth);
      const known = auth.users.byLogin(email);
      // The lists may have changed since the link was sent.
      if (!isAllowedEmail(config, email, known !== undefined)) {
        throw refused('Email address not allowed', 'Ask an administrator of this server to let you in.');
      }
      const user = enabled(known ?? auth.users.create({ login: email, role: 'member' }));
      if (known === undefined) auth.record(request, 'user_created', { subject: email, detail: 'link' });
      auth.limits.usedLinks.undo(network);
      auth.cookies.clear(reply, 'sallyport-browser');
      auth.signIn(request, reply, user, 'link');
      if (!wantsPage) return { user: viewOfUser(user) } satisfies SignedIn;
      await reply.redirect(next, 303);
      return undefined;
    },
  });
}

function said(state: Exclude<LinkState, 'good'>): { status: number; title: string; text: string } {
  if (state === 'over') {
    return {
      status: 403,
      title: 'This link is not good any more',
      text: 'A link works once, for 10 minutes. Ask for a new one.',
    };
  }
  return {
    status: 403,
    title: 'This is another browser',
    text: 'Open the link in the browser in which you asked for it, or ask for a new one here.',
  };
}
