import { createHash, randomBytes } from 'node:crypto';

/**
 * How this editor gets a token from a runner: the user lets it in on a page of the runner, which sends the browser back here
 * with a code; the code is worth something only together with the verifier, which never leaves this process (PKCE, S256).
 */
export interface Handshake {
  verifier: string;
  challenge: string;
  /** Tells the answer to this sign-in from every other link to the editor. */
  state: string;
}

/** Path of the links that lead back to this extension. */
export const returnPath = '/connected';

export function newHandshake(): Handshake {
  const verifier = randomBytes(48).toString('base64url');
  return {
    verifier,
    challenge: createHash('sha256').update(verifier).digest('base64url'),
    state: randomBytes(24).toString('base64url'),
  };
}

/**
 * The page on which the user lets the editor in.
 * @param runner base address, with a slash at its end
 * @param callback where the browser is to go afterwards
 * @param name of this editor, for the list of tokens
 */
export function consentPage(
  runner: URL,
  callback: string,
  { challenge, state }: Handshake,
  name: string,
): string {
  const page = new URL('connect', runner);
  page.search = new URLSearchParams({ callback, challenge, state, name }).toString();
  return page.href;
}

/** What a link back brings; undefined for one that is none of ours. Nothing of it is trusted yet. */
export function readReturn(path: string, query: string): { state: string; code: string } | undefined {
  if (path !== returnPath) return undefined;
  const read = new URLSearchParams(query);
  const [state, code] = [read.get('state') ?? '', read.get('code') ?? ''];
  const opaque = /^[A-Za-z0-9._~-]{16,200}$/;
  return opaque.test(state) && opaque.test(code) ? { state, code } : undefined;
}

/** The name of this editor in a runner's list of tokens: 100 characters at most, without control characters. */
export function programName(application: string, machine: string): string {
  return `${application} on ${machine}`
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .trim()
    .slice(0, 100);
}
