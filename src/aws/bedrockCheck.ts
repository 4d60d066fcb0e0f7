import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { SallyportError } from '../base/errors.ts';
import { problemWithBedrockModel } from '../credentials/bedrockNames.ts';
import type { Environment } from '../credentials/discover.ts';
import { failureOf, type Service, unreachableBy } from '../credentials/serviceFailures.ts';
import type { Upstream } from '../protocol/control.ts';
import { callerIdentity } from './bedrockKeys.ts';

type Bedrock = Extract<Upstream, { kind: 'bedrock' }>;

export interface BedrockCheckOptions {
  deep: boolean;
  model?: string;
  /** For people. */
  label: string;
  env: Environment;
  authorities: readonly string[];
  fetch: typeof fetch;
  signal?: AbortSignal;
}

const requestMs = 30_000;

/**
 * Asks AWS whether the credential is good: keys by GetCallerIdentity, an API key by the list of models. With `deep` the
 * model is asked for one token.
 * @throws SallyportError auth_expired, auth_refused, capacity_reached, not_enabled, model_unreachable,
 * cloud_misconfigured
 */
export async function checkBedrock(upstream: Bedrock, options: BedrockCheckOptions): Promise<void> {
  const { region, auth } = upstream;
  const { env, authorities, signal, label } = options;
  if (auth.type === 'keys') {
    const { accessKeyId, secretAccessKey, sessionToken } = auth;
    const keys = { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
    await callerIdentity(keys, { region, env, authorities, source: label, ...(signal && { signal }) });
  } else {
    const url = new URL(`https://bedrock.${region}.${domain(region)}/foundation-models?byProvider=anthropic`);
    const list = await ask(url, 'GET', { authorization: `Bearer ${auth.value}` }, undefined, label, options);
    const service = serviceOf(url, label);
    // The key may be good for models alone, and then it may not list them.
    if (list.status !== 200) {
      const failure = failureOf(service, list.status, list.text);
      if (failure.code !== 'not_enabled') throw failure;
    }
  }
  if (!options.deep) return;
  if (options.model === undefined) {
    throw new SallyportError(
      'cloud_misconfigured',
      'No Bedrock model is named, so no request can be tried.',
      'Name a model id or an inference profile (sallyport.bedrock.model).',
    );
  }
  const problem = problemWithBedrockModel(options.model, region);
  if (problem !== undefined) {
    throw new SallyportError('cloud_misconfigured', problem, 'Correct sallyport.bedrock.model.');
  }
  const base = upstream.endpoint ?? `https://bedrock-runtime.${region}.${domain(region)}`;
  const url = new URL(`${base.replace(/\/+$/, '')}/model/${encodeURIComponent(options.model)}/invoke`);
  const body = JSON.stringify({
    anthropic_version: 'bedrock-2023-05-31',
    max_tokens: 1,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  const plain = { 'content-type': 'application/json', accept: 'application/json', host: url.host };
  const headers =
    auth.type === 'bearer'
      ? { ...plain, authorization: `Bearer ${auth.value}` }
      : await signed(upstream, url, plain, body);
  const answer = await ask(url, 'POST', headers, body, label, options);
  if (answer.status !== 200) {
    throw failureOf(serviceOf(url, label), answer.status, answer.text, answer.retryAfter);
  }
}

function serviceOf(url: URL, credential: string): Service {
  return { kind: 'bedrock', name: url.host, credential };
}

function domain(region: string): string {
  return region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com';
}

async function signed(
  { region, auth }: Bedrock,
  url: URL,
  headers: Record<string, string>,
  body: string,
): Promise<Record<string, string>> {
  if (auth.type !== 'keys') return headers;
  const { accessKeyId, secretAccessKey, sessionToken } = auth;
  const signer = new SignatureV4({
    region,
    service: 'bedrock',
    sha256: Sha256,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
  });
  const request = await signer.sign({
    method: 'POST',
    protocol: url.protocol,
    hostname: url.hostname,
    path: url.pathname,
    query: {},
    headers,
    body,
  });
  return request.headers;
}

async function ask(
  url: URL,
  method: string,
  headers: Record<string, string>,
  body: string | undefined,
  label: string,
  { fetch, signal }: BedrockCheckOptions,
): Promise<{ status: number; text: string; retryAfter?: string }> {
  const timeout = AbortSignal.timeout(requestMs);
  // The Host that was signed is the one that is sent; setting it is not allowed.
  const { host: _host, ...sent } = headers;
  try {
    const response = await fetch(url, {
      method,
      headers: sent,
      ...(body === undefined ? {} : { body }),
      redirect: 'manual',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    });
    const retryAfter = response.headers.get('retry-after');
    const text = await response.text();
    return { status: response.status, text, ...(retryAfter === null ? {} : { retryAfter }) };
  } catch (thrown) {
    throw unreachableBy(serviceOf(url, label), thrown, signal);
  }
}

interface Digest {
  update(data: Uint8Array | string): unknown;
  digest(): Buffer;
}

/** Node's own SHA-256, in the form that the signer takes. */
class Sha256 {
  private readonly secret: string | ArrayBuffer | ArrayBufferView | undefined;
  private hash: Digest;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.secret = secret;
    this.hash = this.fresh();
  }

  update(data: Uint8Array | string): void {
    this.hash.update(data);
  }

  digest(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array(this.hash.digest()));
  }

  reset(): void {
    this.hash = this.fresh();
  }

  private fresh(): Digest {
    const { secret } = this;
    if (secret === undefined) return createHash('sha256');
    if (typeof secret === 'string') return createHmac('sha256', secret);
    return createHmac(
      'sha256',
      ArrayBuffer.isView(secret)
        ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
        : new Uint8Array(secret),
    );
  }
}
