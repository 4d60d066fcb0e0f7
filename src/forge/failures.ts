import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';

/** Whose token it is: that says who can do something about it. */
export type TokenOwner = 'runner' | 'user';

/** Who refuses, and what its tokens need. */
export interface Refuser {
  /** For people: "GitHub". */
  forge: string;
  owner: TokenOwner;
  /** "the right to read and write contents and pull requests of this repository" */
  rights: string;
}

const text = z.catch(z.string(), '');
const Message = z.pipe(
  z.object({ message: z.string() }),
  z.transform(({ message }) => message),
);

/** The forms in which forges say why: in one field, in a list, by the name of what is wrong, or in an object of its own. */
const Refusal = z.object({
  message: z.catch(z.union([z.string(), z.array(z.string()), z.record(z.string(), z.array(z.string()))]), ''),
  errors: z.catch(z.array(z.union([z.string(), Message])), []),
  error: z.catch(z.union([z.string(), z.array(z.string()), z.object({ message: text, detail: text })]), ''),
  error_description: text,
});

/** Data Center's word for what a good token may not do, which it says with the status of a wrong one. */
const Denied = z.object({
  errors: z.array(z.object({ exceptionName: z.string().check(z.regex(/\.Authori[sz]ationException$/)) })),
});

/** A failure that goes by itself, and when (milliseconds since the epoch). */
export class TooManyRequests extends SallyportError {
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof SallyportError && 'until' in value;
  }

  readonly until: number;

  constructor(forge: string, until: number) {
    const time = new Date(until).toISOString().slice(11, 16);
    super(
      'forge_refused',
      `${forge} answers no more requests of this token until ${time} UTC.`,
      'Wait until then, or take a token with a larger allowance.',
    );
    this.until = until;
  }
}

/** What an answer that is no success means, with a mend of its own. Pure but for the clock. */
export function failureOf(
  { forge, owner, rights }: Refuser,
  what: string,
  status: number,
  headers: Headers,
  json: unknown,
  now: number = Date.now(),
): SallyportError {
  const words = wordsOf(json);
  const said = words.length === 0 ? '' : ` It said: ${words.join('; ')}`;
  const again = waitOf(headers.get('retry-after'), now);
  const reset = numberOf(headers.get('x-ratelimit-reset') ?? headers.get('ratelimit-reset'));
  const left = headers.get('x-ratelimit-remaining') ?? headers.get('ratelimit-remaining');
  const usedUp = left === '0' || /rate limit/i.test(words.join(' '));
  if (status === 429 || (status === 403 && (usedUp || again !== undefined))) {
    const until = again ?? (reset === undefined ? now + 60_000 : reset * 1000);
    return new TooManyRequests(forge, Math.min(Math.max(until, now + 1000), now + 2 * 60 * 60_000));
  }
  const token = owner === 'runner' ? "the runner's token" : 'your token';
  const denied = status === 401 && Denied.safeParse(json).success;
  if (status === 401 && !denied) {
    return new SallyportError(
      'forge_refused',
      `${forge} refused ${token} (HTTP 401).${said}`,
      owner === 'runner'
        ? 'The token is wrong or has expired: the administrator of this runner sets a new one.'
        : 'The token is wrong or has expired: sign in again, or give a new one.',
    );
  }
  if (status === 403 || denied) {
    return new SallyportError(
      'forge_refused',
      `${forge} does not allow that for ${what} (HTTP ${status}).${said}`,
      `Give the token ${rights}.`,
    );
  }
  if (status === 404 || status === 410 || status === 451) {
    return new SallyportError(
      'repository_not_found',
      `${forge} has no ${what}, or does not show it to ${token} (HTTP ${status}).${said}`,
      'Check the name, and that the token may see it.',
    );
  }
  if (status >= 300 && status < 400) {
    return new SallyportError(
      'repository_not_found',
      `${forge} says that ${what} has moved (HTTP ${status}), which is not followed.`,
      'Give its new name.',
    );
  }
  if (status >= 500) {
    return new SallyportError(
      'forge_unreachable',
      `${forge} has a failure of its own (HTTP ${status}).${said}`,
      'Try again later; its status page may say more.',
    );
  }
  return new SallyportError(
    'forge_refused',
    `${forge} did not take that for ${what} (HTTP ${status}).${said}`,
    'See what it said, and change the task or the settings of the repository.',
  );
}

function wordsOf(json: unknown): string[] {
  const refusal = Refusal.safeParse(json).data;
  if (refusal === undefined) return [];
  const { message, errors, error, error_description: description } = refusal;
  const said = typeof message === 'string' ? [message] : Array.isArray(message) ? message : named(message);
  const inside =
    typeof error === 'string' ? [error] : Array.isArray(error) ? error : [error.message, error.detail];
  const all = [...said, ...errors, ...inside, description].filter((one) => one.trim() !== '');
  return [...new Set(all)].slice(0, 10).map((one) => safeLine(one, 300));
}

/** `{"title": ["is too long"]}` */
function named(message: Record<string, string[]>): string[] {
  return Object.entries(message).flatMap(([field, words]) => words.map((word) => `${field} ${word}`));
}

function numberOf(header: string | null): number | undefined {
  return header !== null && /^\d{1,12}$/.test(header.trim()) ? Number(header) : undefined;
}

/** Seconds, or a date. */
function waitOf(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const seconds = numberOf(header);
  if (seconds !== undefined) return now + seconds * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : date;
}
