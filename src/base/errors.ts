/**
 * Every way in which Sallyport can fail that a user can do something about. The code is stable: it stands in logs,
 * tests and documents, and the user interface chooses a button by it.
 */
export type ErrorCode =
  // engine
  | 'engine_absent'
  | 'engine_not_running'
  | 'engine_forbidden'
  | 'engine_unsupported'
  | 'engine_gone'
  | 'image_build_failed'
  | 'image_base_unavailable'
  | 'disk_full'
  // workspace
  | 'no_repository'
  | 'bare_repository'
  | 'no_commit'
  | 'operation_in_progress'
  | 'repository_too_large'
  | 'unsupported_repository'
  | 'git_missing'
  | 'git_failed'
  // task
  | 'prompt_empty'
  | 'prompt_too_long'
  | 'invalid_branch'
  | 'branch_exists'
  | 'task_unknown'
  | 'task_busy'
  | 'commits_not_imported'
  | 'sandbox_failed'
  | 'import_refused'
  | 'log_damaged'
  // credentials
  | 'no_credentials'
  | 'invalid_credential'
  | 'auth_expired'
  | 'auth_refused'
  | 'capacity_reached'
  | 'not_enabled'
  | 'model_unreachable'
  | 'cloud_misconfigured'
  // what would leave this machine
  | 'secrets_found'
  | 'invalid_rule'
  // a runner's server, and its clients
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'too_large'
  | 'too_many_requests'
  | 'server_misconfigured'
  | 'runner_unreachable'
  | 'runner_version'
  | 'mail_failed'
  // review
  | 'gate_open'
  | 'nothing_to_accept'
  | 'accept_refused'
  | 'push_protected'
  | 'push_unauthorized'
  | 'no_remote'
  // forges
  | 'forge_refused'
  | 'forge_unreachable'
  | 'push_refused'
  | 'repository_unreachable'
  | 'repository_not_found'
  // general
  | 'invalid_input'
  | 'cancelled'
  | 'internal';

/**
 * A failure that is told to the user. `message` says what happened, `mend` what to do about it; both are whole
 * sentences. Never holds a credential.
 */
export class SallyportError extends Error {
  /** The extension is two bundles in one process, each with this class; either knows what the other throws. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && value.name === 'SallyportError' && 'code' in value && 'mend' in value;
  }

  readonly code: ErrorCode;
  readonly mend: string;

  constructor(code: ErrorCode, message: string, mend: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'SallyportError';
    this.code = code;
    this.mend = mend;
  }
}

/** Turns anything thrown into a SallyportError; what is none already becomes `internal`, with its own message. */
export function asSallyportError(thrown: unknown): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  if (isAbort(thrown)) return new SallyportError('cancelled', 'Cancelled.', 'Start it again when you like.');
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SallyportError('internal', message, 'Open the Sallyport log for details, and report this.', {
    cause: thrown,
  });
}

/** True for the error with which an AbortSignal ends an operation. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'AbortError';
}

/** True for a system error with this code, such as `ENOENT`. */
export function isErrno(thrown: unknown, ...codes: string[]): boolean {
  return thrown instanceof Error && 'code' in thrown && codes.includes(String(thrown.code));
}
