import * as http from 'node:http';
import * as https from 'node:https';
import * as tls from 'node:tls';
import { HttpsProxyAgent } from 'https-proxy-agent';
import type { Environment } from './discover.ts';
import { proxyFor } from './proxy.ts';

/** Answers to the small questions that are asked here are small. */
const maxAnswerBytes = 4 << 20;

/**
 * A `fetch` that goes through the proxy which the environment names. It follows no redirect, because a credential goes
 * with each request, and its errors hold a code and nothing else.
 * @param authorities certificates (PEM) that this machine trusts on top of the public ones
 */
export function fetchThroughEnvironment(
  env: Environment,
  authorities: () => readonly string[] = () => [],
): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, { ...init, redirect: 'manual' });
    const body = Buffer.from(await request.arrayBuffer());
    const { message, bytes } = await send(new URL(request.url), env, request, body, trusted(authorities()));
    const status = message.statusCode ?? 0;
    const headers = new Headers();
    for (const [name, value] of Object.entries(message.headers)) {
      if (value !== undefined && name !== 'set-cookie') headers.set(name, String(value));
    }
    // A status that has no body must not get one.
    return new Response([204, 205, 304].includes(status) ? null : new Uint8Array(bytes), { status, headers });
  };
}

interface Answer {
  message: http.IncomingMessage;
  bytes: Buffer;
}

/** Options for TLS: the public authorities and further ones. Nothing where there are none, so that Node's own count. */
export function trusted(authorities: readonly string[]): { ca?: string[] } {
  return authorities.length === 0 ? {} : { ca: [...tls.rootCertificates, ...authorities] };
}

function send(
  url: URL,
  env: Environment,
  request: Request,
  body: Buffer,
  trust: { ca?: string[] },
): Promise<Answer> {
  const proxy = proxyFor(url, env);
  const secure = url.protocol === 'https:';
  const headers: Record<string, string> = Object.fromEntries(request.headers);
  if (body.length > 0) headers['content-length'] = String(body.length);
  const { method, signal } = request;
  const common: http.RequestOptions = { method, headers, signal };
  let outgoing: http.ClientRequest;
  if (secure) {
    const agent = proxy === undefined ? undefined : new HttpsProxyAgent(proxy, trust);
    outgoing = https.request(url, { ...common, ...trust, ...(agent && { agent }) });
  } else if (proxy === undefined) {
    outgoing = http.request(url, common);
  } else {
    // Without TLS a proxy is asked for the whole URL; a tunnel to port 80 is what many refuse.
    const to = proxy.protocol === 'https:' ? https : http;
    outgoing = to.request(proxy, {
      ...common,
      ...trust,
      path: url.href,
      headers: { ...headers, host: url.host, ...authorization(proxy) },
    });
  }
  return new Promise((resolve, reject) => {
    outgoing.on('error', (error) =>
      reject(signal.aborted ? aborted(signal) : new Unreachable(codeOf(error))),
    );
    // What a proxy says instead of opening the tunnel would otherwise look like the service's own answer.
    outgoing.on('proxyConnect', ({ statusCode }: { statusCode: number }) => {
      if (statusCode !== 200) outgoing.destroy(new Unreachable(`PROXY_${statusCode}`));
    });
    outgoing.on('response', (message) => {
      const parts: Buffer[] = [];
      let size = 0;
      message.on('data', (part: Buffer) => {
        size += part.length;
        if (size > maxAnswerBytes) outgoing.destroy(new Unreachable('ANSWER_TOO_LONG'));
        else parts.push(part);
      });
      message.on('error', (error) => reject(new Unreachable(codeOf(error))));
      message.on('end', () => resolve({ message, bytes: Buffer.concat(parts) }));
    });
    outgoing.end(body);
  });
}

function aborted(signal: AbortSignal): Error {
  const { reason } = signal as { reason: unknown };
  return reason instanceof Error ? reason : new DOMException('Aborted', 'AbortError');
}

function authorization(proxy: URL): Record<string, string> {
  if (proxy.username === '' && proxy.password === '') return {};
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** A service that did not answer. `code` is the system's or OpenSSL's. */
class Unreachable extends Error {
  readonly code: string;

  constructor(code: string) {
    super(`The service did not answer (${code}).`);
    this.name = 'Unreachable';
    this.code = code;
  }
}

/** The code of a network failure, wherever it hides; `UNKNOWN` without one. */
export function codeOf(thrown: unknown): string {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if (error.name === 'TimeoutError') return 'ETIMEDOUT';
    const code: unknown = 'code' in error ? error.code : undefined;
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(code)) return code;
  }
  return 'UNKNOWN';
}
