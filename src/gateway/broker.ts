import { createHash, timingSafeEqual } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Disposable } from '../base/disposable.ts';
import type { NetworkWay, Upstream } from '../protocol/control.ts';
import { sendApiError, sendJson } from './apiError.ts';
import { demonstration } from './demonstration.ts';
import type { GatewayLog } from './eventLog.ts';
import { fixedScript, scriptedModel } from './scriptedModel.ts';
import { anthropicUpstream } from './upstream.ts';

/** Longest request of the agent's, in bytes. */
export const maxRequestBytes = 64 << 20;

/** What answers an allowed request. Has to answer or destroy the response in the end. */
export type Responder = (request: IncomingMessage, response: ServerResponse, path: AllowedPath) => void;

const allowed = {
  '/v1/messages': ['POST'],
  '/v1/messages/count_tokens': ['POST'],
  '/v1/models': ['GET'],
} as const;
export type AllowedPath = keyof typeof allowed;

/** Longest path in the log, in characters. */
const maxLoggedPath = 200;

export interface BrokerOptions {
  token: string;
  upstream: Upstream;
  network: NetworkWay;
  spentUsd: number;
  allowanceUsd: number | null;
  log: GatewayLog;
}

export class Broker implements Disposable {
  private readonly listener: Disposable;

  private constructor(listener: Disposable) {
    this.listener = listener;
  }

  static async listen(socketPath: string, options: BrokerOptions): Promise<Broker> {
    return new Broker(
      await listenBroker(socketPath, options.token, responder(options.upstream), () => undefined),
    );
  }

  setAllowance(_allowanceUsd: number | null): void {
    throw new Error('Not there yet');
  }

  setUpstream(_upstream: Upstream): void {
    throw new Error('Not there yet');
  }

  dispose(): void {
    this.listener.dispose();
  }
}

function responder(upstream: Upstream): Responder {
  switch (upstream.kind) {
    case 'anthropic':
      return anthropicUpstream(upstream);
    case 'demonstration':
      return scriptedModel(demonstration);
    case 'scripted':
      return scriptedModel(fixedScript(upstream.turns));
    default:
      throw new Error('Not there yet');
  }
}

export interface AccessRecord {
  t: number;
  method: string;
  path: string;
  status: number;
  ms: number;
}

/**
 * The model broker: an HTTP server on a unix socket that lets the model's own paths through, to whoever shows the
 * task's token.
 */
export async function listenBroker(
  socketPath: string,
  token: string,
  respond: Responder,
  record: (entry: AccessRecord) => void,
): Promise<Disposable> {
  const expected = digest(token);
  const server = createServer(
    { keepAliveTimeout: 600_000, requestTimeout: 0, noDelay: true },
    (request, response) => {
      const started = Date.now();
      const path = pathOf(request);
      response.once('close', () => {
        const { statusCode: status } = response;
        const method = request.method ?? '';
        record({ t: started, method, path: path.slice(0, maxLoggedPath), status, ms: Date.now() - started });
      });
      request.on('error', () => response.destroy());
      route(request, response, path);
    },
  );

  function route(request: IncomingMessage, response: ServerResponse, path: string): void {
    const method = request.method ?? '';
    // The CLI asks whether anybody is there before it shows its token.
    if (path === '/' && (method === 'HEAD' || method === 'GET')) {
      sendJson(response, 200, { sallyport: 'model gateway' });
      return;
    }
    if (!presented(request).some((value) => timingSafeEqual(digest(value), expected))) {
      refuse(request, response, 401, 'This is not the token of this task.');
      return;
    }
    if (!isAllowed(path) || !(allowed[path] as readonly string[]).includes(method)) {
      refuse(
        request,
        response,
        403,
        `Sallyport's gateway does not let ${method} ${path.slice(0, maxLoggedPath)} through: from this sandbox only the model's messages can be reached.`,
      );
      return;
    }
    if (Number(request.headers['content-length'] ?? 0) > maxRequestBytes) {
      refuse(request, response, 413, `The request is larger than ${maxRequestBytes >> 20} MiB.`);
      return;
    }
    respond(request, response, path);
  }

  await listen(server, socketPath);
  return {
    dispose: () => {
      server.close();
      server.closeAllConnections();
      rmSync(socketPath, { force: true });
    },
  };
}

/** The sandbox's agent is another user than the gateway; nobody else sees the volume. */
async function listen(server: Server, socketPath: string): Promise<void> {
  rmSync(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  chmodSync(socketPath, 0o666);
}

function refuse(request: IncomingMessage, response: ServerResponse, status: number, message: string): void {
  // The body is of no interest; the connection is closed with it rather than read to its end.
  if (request.headers['content-length'] !== '0' && request.method !== 'GET')
    response.setHeader('connection', 'close');
  sendApiError(response, status, message);
  request.resume();
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '';
  const query = url.indexOf('?');
  return query === -1 ? url : url.slice(0, query);
}

function isAllowed(path: string): path is AllowedPath {
  return Object.hasOwn(allowed, path);
}

/** What the client shows as its token, in either header. */
function presented(request: IncomingMessage): string[] {
  const { authorization, 'x-api-key': key } = request.headers;
  const bearer = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  return [bearer, typeof key === 'string' ? key : undefined].filter((value) => value !== undefined);
}

/** Of one length whatever comes, as the comparison in constant time demands. */
function digest(value: string): Buffer {
  return createHash('sha256').update(value).digest();
}
