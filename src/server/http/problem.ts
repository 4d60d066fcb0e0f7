import { asSallyportError, isErrno, SallyportError, type ErrorCode } from '../../base/errors.ts';
import type { Problem } from '../../protocol/runnerApi.ts';

const statusOf: Partial<Record<ErrorCode, number>> = {
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  task_unknown: 404,
  repository_not_found: 404,
  conflict: 409,
  task_busy: 409,
  commits_not_imported: 409,
  branch_exists: 409,
  too_large: 413,
  repository_too_large: 413,
  prompt_too_long: 413,
  too_many_requests: 429,
  runner_version: 426,
  disk_full: 507,
  server_misconfigured: 503,
  engine_absent: 503,
  engine_not_running: 503,
  engine_forbidden: 503,
  engine_gone: 503,
  no_credentials: 503,
  auth_expired: 503,
  auth_refused: 503,
  capacity_reached: 503,
  model_unreachable: 503,
  forge_unreachable: 502,
  forge_refused: 502,
  repository_unreachable: 502,
  mail_failed: 502,
  cancelled: 499,
  internal: 500,
};

/** Every other code is something that the caller can do better. */
const otherwise = 400;

const diskFull = new SallyportError(
  'disk_full',
  'The disk of the runner is full.',
  'Have its administrator free some space, and try again.',
);
/** SQLITE_FULL. */
const storeFull = 13;

/** True where a file or the store could not grow. */
function isFull(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  return isErrno(thrown, 'ENOSPC', 'EDQUOT') || ('errcode' in thrown && thrown.errcode === storeFull);
}

/** What a client is told of an error. Of an error of our own it learns nothing but that there was one. */
export function problemOf(thrown: unknown): Problem {
  const error = isFull(thrown) ? diskFull : asSallyportError(thrown);
  const status = statusOf[error.code] ?? otherwise;
  const known = error.code !== 'internal';
  return {
    type: `urn:sallyport:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status,
    detail: known ? error.message : 'The server met an unexpected error.',
    code: error.code,
    mend: known ? error.mend : "The server's log says more; report it.",
  };
}

export function notFound(what: string): SallyportError {
  return new SallyportError(
    'not_found',
    `There is no ${what}, or you may not see it.`,
    'Look at the list of what there is.',
  );
}
