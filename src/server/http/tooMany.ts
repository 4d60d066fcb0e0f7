import { SallyportError } from '../../base/errors.ts';

const waits = new WeakMap<SallyportError, number>();

/** The refusal of what comes too often; the answer then says `Retry-After`. */
export function tooMany(waitMs: number): SallyportError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  const error = new SallyportError(
    'too_many_requests',
    'There were too many attempts.',
    seconds === 1 ? 'Try again in a second.' : `Try again in ${seconds} seconds.`,
  );
  waits.set(error, seconds);
  return error;
}

/** Seconds after which such a refused attempt may be repeated. */
export function retryAfterOf(thrown: unknown): number | undefined {
  return thrown instanceof SallyportError ? waits.get(thrown) : undefined;
}
