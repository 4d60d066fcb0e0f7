import { JWT, UserRefreshClient } from 'google-auth-library';
import { SallyportError } from '../base/errors.ts';
import { codeOf } from '../credentials/reach.ts';
import type { GoogleFile } from '../credentials/googleDefault.ts';
import { failureOf, type Service, unreachable, unreachableBy } from '../credentials/serviceFailures.ts';
import type { Upstream } from '../protocol/control.ts';

// All of Google that the host needs for Vertex AI; a bundle of its own, read when Vertex AI is first used.

const scope = 'https://www.googleapis.com/auth/cloud-platform';
const requestMs = 30_000;

export interface GoogleToken {
  value: string;
  /** Milliseconds since the epoch. */
  expiresAt?: number;
}

/**
 * An access token, good for about an hour, from Application Default Credentials. Always a new one.
 * @param place of the file, for people
 * @throws SallyportError auth_expired, auth_refused, model_unreachable, invalid_credential
 */
export async function googleToken(
  file: GoogleFile,
  { place, fetch: through, signal }: { place: string; fetch: typeof fetch; signal?: AbortSignal },
): Promise<GoogleToken> {
  const client = clientOf(file, { fetchImplementation: through, timeout: requestMs });
  try {
    const { token } = await client.getAccessToken();
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) throw new Error();
    const expiresAt = client.credentials.expiry_date;
    return { value: token, ...(typeof expiresAt === 'number' ? { expiresAt } : {}) };
  } catch (thrown) {
    if (signal?.aborted === true) throw new DOMException('Aborted', 'AbortError');
    throw tokenFailure(thrown, place, file.type === 'authorized_user');
  }
}

function clientOf(file: GoogleFile, transporterOptions: object): UserRefreshClient | JWT {
  return file.type === 'authorized_user'
    ? new UserRefreshClient({
        clientId: file.client_id,
        clientSecret: file.client_secret,
        refreshToken: file.refresh_token,
        transporterOptions,
      })
    : new JWT({
        email: file.client_email,
        key: file.private_key,
        ...(file.private_key_id === undefined ? {} : { keyId: file.private_key_id }),
        scopes: [scope],
        transporterOptions,
      });
}

/** The library's error holds the request with its secrets; only its status and the name of the error are looked at. */
function tokenFailure(thrown: unknown, place: string, ofUser: boolean): SallyportError {
  const error = thrown instanceof Error ? thrown : new Error();
  const status = 'status' in error && typeof error.status === 'number' ? error.status : undefined;
  const login = ofUser
    ? 'Run `gcloud auth application-default login`.'
    : "Make a new key for the service account, and check this machine's clock.";
  if (status === 400 || status === 401) {
    return ofUser
      ? new SallyportError('auth_expired', `The Google login in ${place} has expired or was revoked.`, login)
      : new SallyportError('auth_refused', `Google does not accept the key in ${place}.`, login);
  }
  if (status === 403) {
    return new SallyportError(
      'auth_refused',
      `Google refuses the credentials in ${place} (HTTP 403).`,
      login,
    );
  }
  if (status === 429) {
    return new SallyportError(
      'capacity_reached',
      'Google has too many requests just now.',
      'Try again in a minute.',
    );
  }
  const code = codeOf(error);
  // A key that is none fails before anything is sent, in OpenSSL.
  if (status === undefined && /^ERR_OSSL|^ERR_CRYPTO|^ERR_INVALID/.test(code)) {
    return new SallyportError('invalid_credential', `The private key in ${place} is none.`, login);
  }
  if (status === undefined) return unreachable({ name: 'oauth2.googleapis.com' }, code);
  return new SallyportError(
    'model_unreachable',
    `Google gives no access token just now (HTTP ${status}).`,
    'Try again in some minutes.',
  );
}

/**
 * With `deep` asks the model for one token. Without it there is nothing to ask: a fresh token is the proof.
 * @throws SallyportError auth_expired, auth_refused, capacity_reached, not_enabled, model_unreachable,
 * cloud_misconfigured
 */
export async function checkVertex(
  { project, region, endpoint, accessToken }: Extract<Upstream, { kind: 'vertex' }>,
  {
    deep,
    model,
    label,
    fetch: through,
    signal,
  }: { deep: boolean; model?: string; label: string; fetch: typeof fetch; signal?: AbortSignal },
): Promise<void> {
  if (!deep) return;
  if (model === undefined || !/^[a-z0-9][a-z0-9.@-]{1,120}$/.test(model)) {
    throw new SallyportError(
      'cloud_misconfigured',
      model === undefined
        ? 'No Vertex AI model is named, so no request can be tried.'
        : 'The name of the Vertex AI model is none.',
      'Name one as Vertex AI has it (sallyport.model.name): claude-…@20250929.',
    );
  }
  const host = region === 'global' ? 'aiplatform.googleapis.com' : `${region}-aiplatform.googleapis.com`;
  const base = endpoint?.replace(/\/+$/, '').replace(/\/v1$/, '') ?? `https://${host}`;
  const path = `/v1/projects/${project}/locations/${region}/publishers/anthropic/models/${model}:rawPredict`;
  const service: Service = { kind: 'vertex', name: new URL(base).host, credential: label };
  const timeout = AbortSignal.timeout(requestMs);
  let answer: { status: number; text: string; retryAfter?: string };
  try {
    const response = await through(`${base}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        anthropic_version: 'vertex-2023-10-16',
        max_tokens: 1,
        messages: [{ role: 'user', content: 'Hi' }],
      }),
      redirect: 'manual',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    const retryAfter = response.headers.get('retry-after');
    answer = {
      status: response.status,
      text: await response.text(),
      ...(retryAfter === null ? {} : { retryAfter }),
    };
  } catch (thrown) {
    throw unreachableBy(service, thrown, signal);
  }
  if (answer.status !== 200) throw failureOf(service, answer.status, answer.text, answer.retryAfter);
}
