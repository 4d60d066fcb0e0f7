import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import type { ServerConfig } from '../config.ts';
import { jsonOf, reasonOf, refused } from './answers.ts';
import { randomText, sameText } from './secretText.ts';

type GithubConfig = NonNullable<ServerConfig['github']>;

/** What a browser brings back, sealed in a cookie, from the way to GitHub. */
const Flow = z.object({ state: z.string(), verifier: z.string(), next: z.string(), expiresAt: z.number() });
type Flow = z.infer<typeof Flow>;

/** How long a user may take on that way, in milliseconds. */
export const flowMs = 10 * 60_000;
const patienceMs = 15_000;

const AccessToken = z.object({ access_token: z.string() });
const Account = z.object({
  id: z.int(),
  login: z.string().check(z.regex(/^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98})$/)),
  name: z.optional(z.nullable(z.string())),
});
export type Account = z.infer<typeof Account>;
const Membership = z.object({ state: z.string() });

export function flowOf(text: string | undefined, now: number): Flow | undefined {
  if (text === undefined) return undefined;
  const flow = Flow.safeParse(JSON.parse(text));
  if (!flow.success || flow.data.expiresAt <= now || flow.data.expiresAt > now + flowMs) return undefined;
  return flow.data;
}

/** Where a browser is sent, and what it is given to bring back (OAuth with `state` and PKCE). */
export function beginGithub(
  { clientId, baseUrl, allowedOrganizations }: GithubConfig,
  publicUrl: string,
  next: string,
  now: number,
): { url: string; flow: Flow } {
  const flow = { state: randomText(), verifier: randomText(), next, expiresAt: now + flowMs };
  const url = new URL(`${baseUrl}/login/oauth/authorize`);
  const query = {
    client_id: clientId,
    redirect_uri: callbackOf(publicUrl),
    // Who is a member of an organisation is told only to who may read that.
    scope: allowedOrganizations.length > 0 ? 'read:org' : '',
    state: flow.state,
    code_challenge: createHash('sha256').update(flow.verifier).digest('base64url'),
    code_challenge_method: 'S256',
    allow_signup: 'false',
  };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return { url: url.href, flow };
}

/**
 * The account that came back, when it is on a list. Its token is used for this and then forgotten. Throws `forbidden`,
 * `forge_unreachable`.
 */
export async function finishGithub(
  config: GithubConfig,
  publicUrl: string,
  flow: Flow | undefined,
  { code, state }: { code: string; state: string },
  signal: AbortSignal,
): Promise<Account> {
  if (flow === undefined || !sameText(flow.state, state)) {
    throw refused('The sign-in was begun in another browser, or too long ago.', 'Begin again.');
  }
  const { baseUrl, clientId, clientSecret, apiUrl } = config;
  const exchanged = await ask(`${baseUrl}/login/oauth/access_token`, signal, {
    method: 'POST',
    body: new URLSearchParams({
      client_id: clientId,
      client_secret: clientSecret,
      code,
      redirect_uri: callbackOf(publicUrl),
      code_verifier: flow.verifier,
    }),
  });
  const token = AccessToken.safeParse(exchanged.body);
  if (!token.success) throw refused('GitHub did not take the code.', 'Begin again.');
  const authorization = `Bearer ${token.data.access_token}`;
  const account = Account.safeParse(
    (await ask(`${apiUrl}/user`, signal, { headers: { authorization } })).body,
  );
  if (!account.success) throw unreachable('it did not say whose account it is');
  const { login } = account.data;
  if (listed(config.allowedUsers, login)) return account.data;
  for (const organization of config.allowedOrganizations) {
    const url = `${apiUrl}/user/memberships/orgs/${encodeURIComponent(organization)}`;
    const membership = Membership.safeParse((await ask(url, signal, { headers: { authorization } })).body);
    if (membership.success && membership.data.state === 'active') return account.data;
  }
  throw refused(
    `The GitHub account ${login} may not use this server.`,
    'Ask an administrator to put it on the list.',
  );
}

function callbackOf(publicUrl: string): string {
  return `${publicUrl}/auth/github/callback`;
}

function listed(list: readonly string[], login: string): boolean {
  return list.some((one) => one.toLowerCase() === login.toLowerCase());
}

async function ask(
  url: string,
  signal: AbortSignal,
  init: { method?: string; headers?: Record<string, string>; body?: URLSearchParams },
): Promise<{ body: unknown }> {
  const headers = { accept: 'application/json', 'user-agent': 'sallyport', ...init.headers };
  try {
    const response = await fetch(url, {
      ...init,
      headers,
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
    });
    if (response.status >= 500) throw unreachable(`status ${response.status}`);
    const body = await jsonOf(response);
    return { body: response.ok ? body : undefined };
  } catch (thrown) {
    if (thrown instanceof SallyportError) throw thrown;
    throw unreachable(reasonOf(thrown));
  }
}

function unreachable(reason: string): SallyportError {
  return new SallyportError('forge_unreachable', `GitHub does not answer (${reason}).`, 'Try again later.');
}
