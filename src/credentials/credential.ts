import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import type { Upstream } from '../protocol/control.ts';

/** The ways in which a user can prove to a model service who they are. */
export const CredentialKind = z.enum(['api_key', 'oauth', 'bearer']);
export type CredentialKind = z.infer<typeof CredentialKind>;

/** A credential as it is kept in a secret store. `baseUrl` names a service other than Anthropic's own. */
export const Credential = z.object({
  kind: CredentialKind,
  value: z.string(),
  baseUrl: z.optional(z.string()),
});
export type Credential = z.infer<typeof Credential>;

/** A credential with the place where it was found, for people. The label never holds the value. */
export interface FoundCredential {
  credential: Credential;
  label: string;
}

export const anthropicUrl = 'https://api.anthropic.com';

/** What each kind is called. */
export const kindLabels: Record<CredentialKind, string> = {
  api_key: 'Anthropic API key',
  oauth: 'Claude OAuth token',
  bearer: 'Token',
};

/** Says what is wrong with a base URL, or nothing. */
export function problemWithBaseUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null) return 'Not a URL. It looks like https://models.example.com.';
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return 'The URL has to begin with https:// or http://.';
  if (url.username !== '' || url.password !== '') return 'The URL must not hold a name or a password.';
  if (url.search !== '' || url.hash !== '') return 'The URL must not hold a query or a fragment.';
  return undefined;
}

/** Says what is wrong with a credential, or nothing. The sentence never holds the value. */
export function problemWithCredential({ kind, value, baseUrl }: Credential): string | undefined {
  if (baseUrl !== undefined) {
    const problem = problemWithBaseUrl(baseUrl);
    if (problem !== undefined) return problem;
  }
  const name = kindLabels[kind];
  if (value === '') return 'It is empty.';
  if (!/^[\x21-\x7e]+$/.test(value)) return 'It holds a space, a line break or a character that no key has.';
  if (value.length > 4096) return 'It is longer than any key.';
  if (kind === 'bearer') return value.length < 4 ? 'It is too short.' : undefined;
  // Another service has its own grammar of keys.
  if (kind === 'api_key' && baseUrl !== undefined && !isAnthropic(baseUrl)) return undefined;
  if (kind === 'api_key' && value.startsWith('sk-ant-oat'))
    return 'This is a Claude OAuth token, not an API key.';
  if (kind === 'oauth' && value.startsWith('sk-ant-api'))
    return 'This is an Anthropic API key, not an OAuth token.';
  if (!value.startsWith('sk-ant-')) return `An ${name} begins with sk-ant-.`;
  return value.length < 20 ? 'It is too short: a part of it is missing.' : undefined;
}

/**
 * Checks a credential and takes surrounding white space and a trailing slash away.
 * @throws SallyportError invalid_credential
 */
export function checkCredential(credential: Credential, source: string): Credential {
  const { baseUrl, ...rest } = credential;
  const clean: Credential = {
    ...rest,
    value: credential.value.trim(),
    ...(baseUrl === undefined ? {} : { baseUrl: baseUrl.trim().replace(/\/+$/, '') }),
  };
  const problem = problemWithCredential(clean);
  if (problem === undefined) return clean;
  throw new SallyportError(
    'invalid_credential',
    `The credential from ${source} cannot be right. ${problem}`,
    'Set another one.',
  );
}

/** How the gateway is told to reach the model with this credential. */
export function upstreamOf({ kind, value, baseUrl }: Credential): Upstream {
  return { kind: 'anthropic', baseUrl: baseUrl ?? anthropicUrl, auth: { type: kind, value } };
}

export function isAnthropic(baseUrl: string): boolean {
  return URL.parse(baseUrl)?.hostname === 'api.anthropic.com';
}

/** "Anthropic API key from ANTHROPIC_API_KEY", with the host of another service. */
export function labelOf({ kind, baseUrl }: Credential, source: string): string {
  const host = baseUrl === undefined || isAnthropic(baseUrl) ? undefined : URL.parse(baseUrl)?.host;
  const what = kind === 'api_key' && host !== undefined ? 'API key' : kindLabels[kind];
  return host === undefined ? `${what} from ${source}` : `${what} for ${host} from ${source}`;
}
