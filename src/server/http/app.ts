import { readFile } from 'node:fs/promises';
import websocket from '@fastify/websocket';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyServerOptions } from 'fastify';
import { SallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { ServerConfig } from '../config.ts';
import { notFound, problemOf } from './problem.ts';
import { retryAfterOf } from './tooMany.ts';

/** Largest JSON body, in bytes: a prompt of 100,000 characters and all that can stand beside it. */
const bodyLimit = 2 << 20;
/** Largest message on a WebSocket that a client may send, in bytes. */
const maxSocketMessage = 256 << 10;
/** A request's head, and all of it, have to be there in this time, in milliseconds: an upload comes in pieces. */
const headersTimeout = 30_000;
const requestTimeout = 300_000;

/** An HTTP server without any route: parsing, limits, the headers of every answer, and how failure is told. */
export async function createApp(config: ServerConfig, log: Logger): Promise<FastifyInstance> {
  const https = await tlsOf(config);
  const base: FastifyServerOptions = {
    bodyLimit,
    requestTimeout,
    forceCloseConnections: true,
    return503OnClosing: true,
    trustProxy: config.trustedProxies.length > 0 ? config.trustedProxies : false,
    // A path that is not even a URL gets an answer of ours as well.
    frameworkErrors: (error, _request, reply) => {
      const answer = reply as unknown as FastifyReply;
      void answer
        .status(400)
        .type(problemType)
        .send(problemOf(malformed(error.message)));
    },
  };
  // With TLS or without, the routes are the same.
  const options = (https === undefined ? base : { ...base, https }) as FastifyServerOptions;
  const app = fastify(options);
  app.server.headersTimeout = headersTimeout;
  app.server.maxHeadersCount = 100;
  await app.register(websocket, {
    options: { maxPayload: maxSocketMessage, perMessageDeflate: false },
    errorHandler: (error, socket) => {
      log.warn(`A WebSocket failed: ${error.message}`);
      socket.terminate();
    },
  });
  // A route that takes such a body reads it by itself, piece by piece.
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
  // An empty body with a JSON type is no body.
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text, done) => {
    if (text === '') {
      done(null, undefined);
      return;
    }
    try {
      done(null, JSON.parse(text.toString()) as unknown);
    } catch {
      done(malformed('The body is no JSON'));
    }
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    const headers = securityHeaders(config);
    for (const [name, value] of Object.entries(headers))
      if (!reply.hasHeader(name)) void reply.header(name, value);
    done(null, payload);
  });
  app.setErrorHandler((thrown, request, reply) => {
    const error = ownError(thrown, request.routeOptions.bodyLimit);
    const problem = problemOf(error);
    if (problem.status >= 500)
      log.error(`${request.method} ${request.routeOptions.url ?? ''}: ${String(error)}`);
    if (reply.sent) return;
    const retryAfter = retryAfterOf(error);
    if (retryAfter !== undefined) void reply.header('retry-after', retryAfter);
    if (problem.status === 401) void reply.header('www-authenticate', 'Bearer');
    void reply.status(problem.status).type(problemType).send(problem);
  });
  app.setNotFoundHandler((_request, reply) => {
    const problem = problemOf(notFound('such address'));
    void reply.status(problem.status).type(problemType).send(problem);
  });
  return app;
}

export const problemType = 'application/problem+json; charset=utf-8';

async function tlsOf({ tls }: ServerConfig): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (tls === undefined) return undefined;
  return { cert: await readFile(tls.certFile), key: await readFile(tls.keyFile) };
}

function malformed(message: string): SallyportError {
  return new SallyportError('invalid_input', `${message}.`, 'See /api/v1/openapi.json for what is expected.');
}

/** What fastify refuses by itself has a code of its own; every other error of a client's is malformed input. */
function ownError(thrown: unknown, limit: number): unknown {
  if (thrown instanceof SallyportError || !(thrown instanceof Error) || !('statusCode' in thrown))
    return thrown;
  if (thrown.statusCode === 413) {
    return new SallyportError(
      'too_large',
      `The body is larger than ${limit.toLocaleString('en')} bytes.`,
      'Send less; a repository goes through /api/v1/uploads.',
    );
  }
  const status = Number(thrown.statusCode);
  return status >= 400 && status < 500 ? malformed(thrown.message) : thrown;
}

function securityHeaders({ publicUrl }: ServerConfig): Record<string, string> {
  return {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'content-security-policy':
      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'x-frame-options': 'DENY',
    'cache-control': 'no-store',
    ...(publicUrl.startsWith('https:') ? { 'strict-transport-security': 'max-age=31536000' } : {}),
  };
}
