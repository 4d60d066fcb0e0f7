import { createHash } from 'node:crypto';
import { SallyportError } from '../../base/errors.ts';
import type { Grant, GrantRequest } from '../../protocol/accounts.ts';
import { digestOf, randomText, sameText } from './secretText.ts';

const lifeMs = 60_000;
/** Codes that wait to be exchanged, of all users and of one. */
const most = 1000;
const mostOfOne = 10;

/** Editors that have the extension: their scheme leads to it and to nothing else. */
const editors = new Set(['vscode:', 'vscode-insiders:', 'vscodium:', 'codium:', 'cursor:', 'windsurf:']);
const extension = 'sallyport.sallyport';

interface Waiting {
  user: string;
  name: string;
  challenge: string;
  expiresAt: number;
}

/**
 * How a program gets a token: its user, signed in with a browser, lets it in; the browser takes a code to the program; the
 * program shows the code together with a secret that only it knows (PKCE, S256). Codes are in memory, good for a
 * minute, and used up by the first attempt, good or bad.
 */
export class Grants {
  private readonly waiting = new Map<string, Waiting>();
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  /** Throws `invalid_input` for a callback that is no program's own, `too_many_requests`. */
  create(user: string, { callback, challenge, state, name }: GrantRequest): Grant {
    const redirect = callbackOf(callback);
    const now = this.now();
    for (const [hash, { expiresAt }] of this.waiting) if (expiresAt <= now) this.waiting.delete(hash);
    const own = [...this.waiting.values()].filter((one) => one.user === user).length;
    if (own >= mostOfOne || this.waiting.size >= most) {
      throw new SallyportError(
        'too_many_requests',
        'Too many programs wait to be let in.',
        'Try again in a minute.',
      );
    }
    const code = randomText();
    const expiresAt = now + lifeMs;
    this.waiting.set(digestOf(code), { user, name, challenge, expiresAt });
    redirect.searchParams.set('code', code);
    redirect.searchParams.set('state', state);
    return { redirect: redirect.href, code, expiresAt };
  }

  /** Whom the code stands for; undefined for one that is not good. */
  use(code: string, verifier: string): { user: string; name: string } | undefined {
    const hash = digestOf(code);
    const grant = this.waiting.get(hash);
    this.waiting.delete(hash);
    const now = this.now();
    if (grant === undefined || grant.expiresAt <= now || grant.expiresAt > now + lifeMs) return undefined;
    const shown = createHash('sha256').update(verifier).digest('base64url');
    return sameText(shown, grant.challenge) ? { user: grant.user, name: grant.name } : undefined;
  }
}

/** Throws `invalid_input` for an address at which somebody else than the extension, or this machine, could listen. */
export function callbackOf(text: string): URL {
  const url = URL.canParse(text) && /^[\x21-\x7e]+$/.test(text) ? new URL(text) : undefined;
  if (url !== undefined && url.username + url.password + url.hash === '') {
    if (editors.has(url.protocol) && url.host === extension && url.pathname.startsWith('/')) return url;
    if (
      url.protocol === 'http:' &&
      /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname) &&
      url.port !== ''
    )
      return url;
  }
  throw new SallyportError(
    'invalid_input',
    'A program is let in only where it listens itself: in an editor, or on this machine.',
    `The callback has to begin with vscode://${extension}/ or http://127.0.0.1:PORT/.`,
  );
}
