import * as z from 'zod/mini';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';

const Refusal = z.object({
  message: z.catch(z.string(), ''),
  errors: z.catch(
    z.array(
      z.union([
        z.string(),
        z.pipe(
          z.object({ message: z.string() }),
          z.transform(({ message }) => message),
        ),
      ]),
    ),
    [],
  ),
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
  forge: string,
  what: string,
  status: number,
  headers: Headers,
  json: unknown,
  now: number = Date.now(),
): SallyportError {
  const { message = '', errors = [] } = Refusal.safeParse(json).data ?? {};
  const words = [message, ...errors].filter((text) => text !== '').map((text) => safeLine(text, 300));
  const said = words.length === 0 ? '' : ` It said: ${words.join('; ')}`;
  const again = Number(headers.get('retry-after') ?? Number.NaN);
  const reset = Number(headers.get('x-ratelimit-reset') ?? Number.NaN);
  const usedUp = headers.get('x-ratelimit-remaining') === '0' || /rate limit/i.test(message);
  if (status === 429 || (status === 403 && (usedUp || !Number.isNaN(again)))) {
    const until = !Number.isNaN(again)
      ? now + again * 1000
      : !Number.isNaN(reset)
        ? reset * 1000
        : now + 60_000;
    return new TooManyRequests(forge, Math.min(Math.max(until, now + 1000), now + 2 * 60 * 60_000));
  }
  if (status === 401) {
    return new SallyportError(
      'forge_refused',
      `${forge} refused the runner's token (HTTP 401).${said}`,
      'The token is wrong or has expired: the administrator of this runner sets a new one.',
    );
  }
  if (status === 403) {
    return new SallyportError(
      'forge_refused',
      `${forge} does not allow that for ${what} (HTTP 403).${said}`,
      'Give the token the right to read and write contents and pull requests of this repository.',
    );
  }
  if (status === 404 || status === 410 || status === 451) {
    return new SallyportError(
      'repository_not_found',
      `${forge} has no ${what}, or does not show it to the runner's token (HTTP ${status}).`,
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
