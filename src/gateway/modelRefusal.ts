import type { Upstream } from '../protocol/control.ts';

const expired =
  /ExpiredToken|token (included in the request )?(is|has) expired|token has expired|credentials? (has|have) expired|session has expired|oauth_token_expired/i;
/** Bedrock's words for session keys that were revoked; the same text comes for any other key that is wrong. */
const unknownToUs =
  /UnrecognizedClient|security token included in the request is invalid|token has been revoked/i;

/**
 * Whether an answer says that another credential would help, and of what kind the trouble is. A fixed key that is wrong
 * stays wrong: of such only an expiry counts. Pure.
 * @param said body of the answer, and what its headers name as the error's type
 */
export function refusalOf(
  upstream: Upstream,
  status: number,
  said: string,
): 'expired' | 'refused' | undefined {
  if (status !== 401 && status !== 403 && status !== 400) return undefined;
  if (expired.test(said)) return 'expired';
  if (!isRenewable(upstream) || status === 400) return undefined;
  return status === 401 || unknownToUs.test(said) ? 'refused' : undefined;
}

function isRenewable(upstream: Upstream): boolean {
  switch (upstream.kind) {
    case 'anthropic':
      return upstream.auth.type === 'oauth' || upstream.expiresAt !== undefined;
    case 'bedrock':
      return (
        upstream.expiresAt !== undefined ||
        (upstream.auth.type === 'keys' && upstream.auth.sessionToken !== undefined)
      );
    case 'vertex':
      return true;
    default:
      return false;
  }
}
