import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { WebSocket } from '@fastify/websocket';
import * as z from 'zod/mini';
import { SallyportError } from '../../base/errors.ts';
import { closeCodes, Problem, type Scope } from '../../protocol/runnerApi.ts';
import type { Principal } from '../principal.ts';
import { problemOf } from './problem.ts';

type Schema = z.ZodMiniType;
/** What a schema reads; undefined where there is none. */
export type Read<S extends Schema | undefined> = S extends Schema ? z.output<S> : undefined;

/** Who may call a route: everybody, or whoever's credential has the scope. */
export type Access = 'public' | Scope;

interface Described {
  url: string;
  /** One line for the API's document. */
  summary: string;
  tag: string;
  access: Access;
  /** Only from a browser's session: a token cannot make more of its own kind. */
  sessionOnly?: boolean;
}

export interface Route<
  P extends Schema | undefined = Schema | undefined,
  Q extends Schema | undefined = Schema | undefined,
  B extends Schema | undefined = Schema | undefined,
> extends Described {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  params?: P;
  query?: Q;
  /** Of a JSON body. A route with `rawBody` reads `call.request.raw` itself. */
  body?: B;
  /** Largest body, in bytes; the server's own when it is not said. */
  bodyLimit?: number;
  rawBody?: string;
  /** Status and schema of the answer, or its media type when it is not JSON. */
  answer: { status?: number; schema?: Schema; type?: string };
  /** A problem has a field `error` as well, for clients of other such servers that read no other. */
  alsoError?: boolean;
  /** Resolves to the answer: an object for JSON, text or bytes or a stream for another type, undefined when it replied itself. */
  handle(call: Call<Read<P>, Read<Q>, Read<B>>): Promise<unknown>;
  /** Of a GET whose address speaks WebSocket too; as `SocketRoute.handle`. */
  socket?: (socket: WebSocket, call: Call<Read<P>, Read<Q>, undefined>) => Promise<void>;
}

export interface SocketRoute<
  P extends Schema | undefined = Schema | undefined,
  Q extends Schema | undefined = Schema | undefined,
> extends Described {
  params?: P;
  query?: Q;
  /** Runs as long as it likes; `call.signal` aborts when the socket closes. */
  handle(socket: WebSocket, call: Call<Read<P>, Read<Q>, undefined>): Promise<void>;
}

/** One request, with everything about it checked. */
export interface Call<P = unknown, Q = unknown, B = unknown> {
  params: P;
  query: Q;
  body: B;
  /** Undefined on a public route without a credential. */
  principal: Principal | undefined;
  request: FastifyRequest;
  reply: FastifyReply;
  /** Aborts when the client goes away. */
  signal: AbortSignal;
}

/** Finds out who asks. Throws `unauthorized`, `forbidden` (a foreign origin) or `too_many_requests`. */
export interface Gate {
  identify(request: FastifyRequest): Promise<Principal | undefined>;
}

/** A route for an API's document: everything but its effect. */
export type RouteDescription = Omit<Route, 'handle' | 'socket' | 'method'> & {
  method: Route['method'] | 'WS';
};

/** Every route goes through here: who may, what is let in, how failure is told; and so the document knows all of them. */
export class Router {
  readonly routes: RouteDescription[] = [];
  private readonly app: FastifyInstance;
  private readonly gate: Gate;

  constructor(app: FastifyInstance, gate: Gate) {
    this.app = app;
    this.gate = gate;
  }

  add<
    P extends Schema | undefined = undefined,
    Q extends Schema | undefined = undefined,
    B extends Schema | undefined = undefined,
  >(route: Route<P, Q, B>): void {
    const { socket } = route;
    if (socket !== undefined) this.routes.push({ ...route, method: 'WS', answer: { status: 101 } });
    this.routes.push(route);
    this.app.route({
      method: route.method,
      url: route.url,
      ...(route.bodyLimit === undefined ? {} : { bodyLimit: route.bodyLimit }),
      ...(socket === undefined
        ? {}
        : {
            // A HEAD of what may go on for hours is none.
            exposeHeadRoute: false,
            preHandler: async (request, reply) => {
              if (request.ws) calls.set(request, await this.call(route, request, reply));
            },
            wsHandler: (connection, request) =>
              this.converse(connection, request, (one, call) =>
                socket(one, call as Call<Read<P>, Read<Q>, undefined>),
              ),
          }),
      ...(route.alsoError === true ? { onSend: addError } : {}),
      handler: async (request, reply) => {
        const call = await this.call(route, request, reply);
        const answer: unknown = await route.handle(call as Call<Read<P>, Read<Q>, Read<B>>);
        if (reply.sent || answer === undefined) return reply;
        void reply.status(route.answer.status ?? 200);
        if (route.answer.type !== undefined && !reply.hasHeader('content-type'))
          void reply.type(route.answer.type);
        if (isIterable(answer)) return await reply.send(Readable.from(answer, { objectMode: false }));
        return await reply.send(answer);
      },
    });
  }

  socket<P extends Schema | undefined = undefined, Q extends Schema | undefined = undefined>(
    route: SocketRoute<P, Q>,
  ): void {
    this.routes.push({ ...route, method: 'WS', answer: { status: 101 } } as unknown as RouteDescription);
    this.app.route({
      method: 'GET',
      url: route.url,
      // A refusal is an HTTP answer, before the upgrade.
      preHandler: async (request, reply) => {
        calls.set(request, await this.call(route, request, reply));
      },
      handler: (_request, reply) =>
        reply
          .status(426)
          .send(
            problemOf(
              new SallyportError(
                'invalid_input',
                'This address speaks WebSocket.',
                'Connect with a WebSocket.',
              ),
            ),
          ),
      wsHandler: (socket, request) =>
        this.converse(socket, request, (one, call) =>
          route.handle(one, call as Call<Read<P>, Read<Q>, undefined>),
        ),
    });
  }

  /** Hands a socket that was let in to its route. */
  private converse(
    socket: WebSocket,
    request: FastifyRequest,
    handle: (socket: WebSocket, call: Call) => Promise<void>,
  ): void {
    const known = calls.get(request);
    if (known === undefined) {
      socket.close(closeCodes.unauthorized);
      return;
    }
    const gone = new AbortController();
    socket.on('close', () => gone.abort());
    socket.on('error', () => gone.abort());
    handle(socket, { ...known, signal: gone.signal }).catch((thrown: unknown) => {
      if (gone.signal.aborted) return;
      request.log.error(thrown);
      const { status, code } = problemOf(thrown);
      socket.close(status === 404 ? closeCodes.notFound : status === 403 ? closeCodes.forbidden : 1011, code);
    });
  }

  private async call(
    route: Described & { params?: Schema | undefined; query?: Schema | undefined; body?: Schema | undefined },
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<Call> {
    const principal = await this.gate.identify(request);
    authorize(route, principal);
    const gone = new AbortController();
    reply.raw.on('close', () => {
      if (!reply.raw.writableFinished) gone.abort();
    });
    return {
      params: read(route.params, request.params, 'path'),
      query: read(route.query, request.query, 'query'),
      body: read(route.body, request.body ?? undefined, 'body'),
      principal,
      request,
      reply,
      signal: gone.signal,
    };
  }
}

function addError(
  _request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  done: (error: null, payload: unknown) => void,
): void {
  const problem = reply.statusCode >= 400 && typeof payload === 'string' ? problemIn(payload) : undefined;
  if (problem === undefined || 'error' in problem) done(null, payload);
  else {
    void reply.removeHeader('content-length');
    done(null, JSON.stringify({ error: problem.detail, ...problem }));
  }
}

const AnyProblem = z.looseObject(Problem.shape);

function problemIn(text: string): z.infer<typeof AnyProblem> | undefined {
  try {
    const read = AnyProblem.safeParse(JSON.parse(text));
    return read.success ? read.data : undefined;
  } catch {
    return undefined;
  }
}

const calls = new WeakMap<FastifyRequest, Call>();

/** Throws `unauthorized` or `forbidden`. */
export function authorize(
  { access, sessionOnly }: Pick<Described, 'access' | 'sessionOnly'>,
  principal: Principal | undefined,
): void {
  if (access === 'public') return;
  if (principal === undefined) {
    throw new SallyportError(
      'unauthorized',
      'This needs a credential, and there is none that is valid.',
      'Sign in, or send an API token as "Authorization: Bearer slp_…".',
    );
  }
  if (!principal.scopes.has(access)) {
    throw new SallyportError(
      'forbidden',
      `This needs the right "${access}".`,
      'Ask an administrator of this runner, or use a token with that right.',
    );
  }
  if (sessionOnly === true && principal.via !== 'session') {
    throw new SallyportError(
      'forbidden',
      'This can be done only after signing in, not with a token.',
      'Open the dashboard in a browser.',
    );
  }
}

function read(schema: Schema | undefined, value: unknown, where: string): unknown {
  if (schema === undefined) return undefined;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const wrong = parsed.error.issues
    .slice(0, 5)
    .map(({ path, message }) => `${path.map(String).join('.') || where}: ${message}`)
    .join('; ');
  throw new SallyportError(
    'invalid_input',
    `The ${where} is not right: ${wrong}.`,
    'See /api/v1/openapi.json for what is expected.',
  );
}

function isIterable(value: unknown): value is AsyncIterable<Uint8Array | string> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}
