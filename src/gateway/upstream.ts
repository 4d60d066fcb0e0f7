import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { rootCertificates } from 'node:tls';
import type { Upstream } from '../protocol/control.ts';
import { sendApiError } from './apiError.ts';
import { maxRequestBytes, type Responder } from './broker.ts';
import { remoteReach } from './remoteReach.ts';

type Anthropic = Extract<Upstream, { kind: 'anthropic' }>;

/** Headers that belong to one connection, and those that could carry a credential of the client's. */
const notPassedOn = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'expect',
  'authorization',
  'x-api-key',
  'cookie',
  'set-cookie',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
]);

const oauthBeta = 'oauth-2025-04-20';

/** The system's authorities, in the image: those of a company's proxy are among them, which Node does not know. */
const systemAuthorities = '/etc/ssl/certs/ca-certificates.crt';

/** Passes requests on to the real endpoint with the real credential. Streams in both directions. */
export function anthropicUpstream(upstream: Anthropic, authorities = systemAuthorities): Responder {
  const base = new URL(upstream.baseUrl);
  const secure = base.protocol === 'https:';
  const agent = secure
    ? new https.Agent({ keepAlive: true, timeout: 600_000, ca: [...rootCertificates, ...read(authorities)] })
    : new http.Agent({ keepAlive: true, timeout: 600_000 });
  const prefix = base.pathname.replace(/\/+$/, '');

  return (request, response, path) => {
    void readRequest(request).then(
      (body) => {
        if (body.refusal === undefined) passOn(request, response, path, body.bytes);
        else sendApiError(response, body.status, body.refusal);
      },
      () => response.destroy(),
    );
  };

  function passOn(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    path: string,
    body: Buffer,
  ): void {
    const query = /\?.*$/s.exec(request.url ?? '')?.[0] ?? '';
    const headers = { ...requestHeaders(request, upstream.auth), host: base.host };
    const onward = (secure ? https : http).request({
      agent,
      host: base.hostname.replace(/^\[|\]$/g, ''),
      port: base.port === '' ? undefined : Number(base.port),
      method: request.method,
      path: `${prefix}${path}${query}`,
      headers: request.method === 'GET' ? headers : { ...headers, 'content-length': body.length },
    });
    onward.end(body);
    onward.on('response', (answer) => {
      const status = answer.statusCode ?? 502;
      if (status >= 300 && status < 400) {
        answer.destroy();
        sendApiError(
          response,
          502,
          `The model's endpoint answered with a redirect (HTTP ${status}), which is not followed.`,
        );
        return;
      }
      response.writeHead(status, passedOn(answer.headers));
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
      answer.on('aborted', () => response.destroy());
    });
    onward.on('error', (error: NodeJS.ErrnoException) => {
      if (response.writableEnded || response.destroyed) return;
      // The text of the error can hold an address; its code is enough.
      const reason = /^[A-Z_0-9]+$/.test(error.code ?? '') ? ` (${error.code ?? ''})` : '';
      sendApiError(response, 502, `The model's endpoint could not be reached from the gateway${reason}.`);
    });
    response.on('close', () => onward.destroy());
  }
}

type Body = { bytes: Buffer; refusal?: undefined } | { refusal: string; status: number };

/**
 * The whole body, checked and written anew: what was checked is what is sent, whatever another parser makes of a key
 * that stands twice.
 */
async function readRequest(request: http.IncomingMessage): Promise<Body> {
  if (request.method === 'GET') return { bytes: Buffer.alloc(0) };
  if (request.headers['content-encoding'] !== undefined)
    return { refusal: 'The gateway takes no encoded request.', status: 415 };
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxRequestBytes)
      return { refusal: `The request is larger than ${maxRequestBytes >> 20} MiB.`, status: 413 };
    parts.push(part);
  }
  let json: unknown;
  try {
    json = JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch {
    return { refusal: 'The request is no JSON.', status: 400 };
  }
  const refusal = remoteReach(json);
  return refusal === undefined ? { bytes: Buffer.from(JSON.stringify(json)) } : { refusal, status: 403 };
}

function read(path: string): string[] {
  try {
    return [readFileSync(path, 'utf8')];
  } catch {
    return [];
  }
}

/** The client's headers without its credentials, with ours. */
export function requestHeaders(
  request: { headers: http.IncomingHttpHeaders },
  auth: Anthropic['auth'],
): http.OutgoingHttpHeaders {
  const headers = passedOn(request.headers);
  switch (auth.type) {
    case 'api_key':
      headers['x-api-key'] = auth.value;
      break;
    case 'bearer':
      headers.authorization = `Bearer ${auth.value}`;
      break;
    case 'oauth': {
      headers.authorization = `Bearer ${auth.value}`;
      const betas = String(headers['anthropic-beta'] ?? '')
        .split(',')
        .map((beta) => beta.trim())
        .filter((beta) => beta !== '' && beta !== oauthBeta);
      headers['anthropic-beta'] = [...betas, oauthBeta].join(',');
    }
  }
  return headers;
}

function passedOn(headers: http.IncomingHttpHeaders): http.OutgoingHttpHeaders {
  const named = (headers.connection ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  const kept: http.OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || notPassedOn.has(name) || named.includes(name)) continue;
    kept[name] = value;
  }
  return kept;
}
