import { isErrno, SallyportError, type ErrorCode } from '../base/errors.ts';
import { Problem } from '../protocol/runnerApi.ts';
import { safeLine } from '../protocol/safeText.ts';

/** Longest text of a server's that is shown, in characters. */
const maxText = 600;

/** The codes that a server's word is taken for; anything else counts by its status. */
const known = new Set<string>([
  'unauthorized',
  'forbidden',
  'not_found',
  'conflict',
  'too_large',
  'too_many_requests',
  'runner_version',
  'task_unknown',
  'task_busy',
  'commits_not_imported',
  'prompt_empty',
  'prompt_too_long',
  'invalid_branch',
  'invalid_rule',
  'invalid_input',
  'repository_too_large',
  'import_refused',
  'no_credentials',
  'auth_expired',
  'auth_refused',
  'capacity_reached',
  'not_enabled',
  'engine_absent',
  'engine_not_running',
  'engine_gone',
  'disk_full',
] satisfies ErrorCode[]);

function isKnown(code: string): code is ErrorCode {
  return known.has(code);
}

/** What a server's answer of that status means. Its words are shown as text, and cut. */
export function failureOf(status: number, body: unknown): SallyportError {
  const problem = Problem.safeParse(body);
  if (!problem.success) return byStatus(status);
  const { code, detail, mend } = problem.data;
  const { code: otherwise, mend: ownMend } = byStatus(status);
  return new SallyportError(
    isKnown(code) ? code : otherwise,
    safeLine(detail, maxText) || `The runner answered ${status}.`,
    safeLine(mend, maxText) || ownMend,
  );
}

function byStatus(status: number): SallyportError {
  if (status === 401)
    return new SallyportError(
      'unauthorized',
      'The runner does not take this credential.',
      'Sign in to the runner again, or set a new token.',
    );
  if (status === 403)
    return new SallyportError(
      'forbidden',
      'The runner does not allow this.',
      'Ask an administrator of the runner.',
    );
  if (status === 404)
    return new SallyportError('not_found', 'The runner has no such thing.', 'Look at the list of tasks.');
  if (status === 407)
    return new SallyportError(
      'runner_unreachable',
      'The proxy on the way to the runner wants a user name and a password.',
      'Set them in the proxy settings.',
    );
  if (status === 413)
    return new SallyportError('too_large', 'That is more than the runner takes.', 'Make it smaller.');
  if (status === 426) return new SallyportError('runner_version', 'The versions do not fit.', 'Update both.');
  if (status === 429)
    return new SallyportError('too_many_requests', 'The runner wants fewer requests.', 'Wait a moment.');
  if (status >= 300 && status < 400)
    return new SallyportError(
      'runner_unreachable',
      'The runner is at another address: it answered with a redirect, and the token is not sent on.',
      'Set the address to which it leads, usually the same with https.',
    );
  if (status >= 500)
    return new SallyportError(
      'runner_unreachable',
      `The runner, or a proxy before it, answered ${status}.`,
      'Try again in a moment; the log of the runner says more.',
    );
  return new SallyportError('invalid_input', `The runner answered ${status}.`, 'Is this the right address?');
}

/** What a failure of the network means. */
export function unreachable(url: URL, thrown: unknown): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  const code = codeOf(thrown);
  const [what, mend] = reasonOf(code);
  return new SallyportError(
    'runner_unreachable',
    `The runner ${url.host} cannot be reached: ${what}.`,
    mend,
    {
      cause: thrown,
    },
  );
}

function codeOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return '';
  if ('code' in thrown && typeof thrown.code === 'string') return thrown.code;
  return thrown.cause === undefined ? '' : codeOf(thrown.cause);
}

function reasonOf(code: string): [what: string, mend: string] {
  switch (code) {
    case 'ECONNREFUSED':
      return ['nothing listens there', 'Start the runner, or correct its address.'];
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return ['the host is not known', 'Look at the address, and at the network connection.'];
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return ['there is no answer', 'Look at the network connection, the VPN and the proxy settings.'];
    case 'ECONNRESET':
    case 'EPIPE':
      return ['the connection broke off', 'It is tried again by itself.'];
    case 'CERT_HAS_EXPIRED':
      return ['its certificate has expired', 'Renew the certificate of the runner.'];
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return ['its certificate is for another name', 'Use the name that the certificate names.'];
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return [
        'its certificate is of an authority that this machine does not know',
        'Name the file with the certificate of that authority in the setting sallyport.network.extraCa.',
      ];
    default:
      return [
        code === '' ? 'the connection failed' : `the connection failed with ${code}`,
        'Look at the address, the network connection and the proxy settings.',
      ];
  }
}

/** True for what passes by itself: the network, or a server that is away for a moment. */
export function isPassing(error: SallyportError): boolean {
  return ['runner_unreachable', 'too_many_requests', 'disk_full'].includes(error.code);
}

/** True when the disk of this machine is full. */
export function isDiskFull(thrown: unknown): boolean {
  return isErrno(thrown, 'ENOSPC', 'EDQUOT');
}
