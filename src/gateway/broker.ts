import { createHash, timingSafeEqual } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Disposable } from '../base/disposable.ts';
import type { ForgeAccess, NetworkWay, Upstream } from '../protocol/control.ts';
import { sendApiError, sendJson } from './apiError.ts';
import { demonstration } from './demonstration.ts';
import { ledgerText, type GatewayLog } from './eventLog.ts';
import { ForgeReader } from './forgeReader.ts';
import type { ModelBackend } from './modelBackend.ts';
import { BodyRoom } from './modelBody.ts';
import { modelRoute, type ModelRoute } from './modelCall.ts';
import { ModelCredential } from './modelCredential.ts';
import { exchange, type ExchangeResult } from './modelExchange.ts';
import { fixedScript, scriptedModel } from './scriptedModel.ts';
import { SpendAllowance } from './spendAllowance.ts';
import { ModelConnections, remoteModel } from './upstream.ts';

export interface BrokerOptions {
  /** What the agent has to show. Worth something only here. */
  token: string;
  upstream: Upstream;
  network: NetworkWay;
  spentUsd: number;
  /** In all; null is no limit. */
  allowanceUsd: number | null;
  /** What the sandbox may read below `/forge`; nothing when it is not given. */
  forge?: ForgeAccess | undefined;
  log: GatewayLog;
  /** Authorities to trust, PEM; the public ones and the system's when they are not given. */
  authorities?: string[];
  /** Times for tests, in milliseconds. */
  times?: { pingMs?: number; silentMs?: number; credentialMs?: number };
}

/**
 * The model broker: an HTTP server on a unix socket that lets the model's own paths through, to whoever shows the task's
 * token, with the real credential; counts what the answers cost, and holds requests while the money is used up.
 */
export class Broker implements Disposable {
  private readonly socketPath: string;
  private readonly options: BrokerOptions;
  private readonly expected: Buffer;
  private readonly credential: ModelCredential;
  private readonly allowance: SpendAllowance;
  private readonly room = new BodyRoom();
  private readonly connections: ModelConnections;
  private readonly forge: ForgeReader | undefined;
  private readonly server: Server;
  private route: ModelRoute;
  private backend: ModelBackend;

  private constructor(socketPath: string, options: BrokerOptions) {
    const { upstream, log, spentUsd, allowanceUsd, times } = options;
    this.socketPath = socketPath;
    this.options = options;
    this.expected = digest(options.token);
    this.credential =
      times?.credentialMs === undefined
        ? new ModelCredential(upstream, log)
        : new ModelCredential(upstream, log, { now: Date.now, waitMs: times.credentialMs });
    this.allowance = new SpendAllowance(spentUsd, allowanceUsd, log);
    this.connections = new ModelConnections(options.network, options.authorities);
    if (options.forge !== undefined)
      this.forge = new ForgeReader(options.forge, options.network, options.authorities);
    this.route = modelRoute(upstream);
    this.backend = this.backendOf(upstream);
    this.server = createServer(
      { keepAliveTimeout: 600_000, requestTimeout: 0, noDelay: true },
      (request, response) => {
        request.on('error', () => response.destroy());
        response.on('error', () => response.destroy());
        this.handle(request, response);
      },
    );
  }

  static async listen(socketPath: string, options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(socketPath, options);
    rmSync(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      broker.server.once('error', reject);
      broker.server.listen(socketPath, resolve);
    });
    // The sandbox's agent is another user than the gateway; nobody else sees the volume.
    chmodSync(socketPath, 0o666);
    return broker;
  }

  /** In all, not on top of what is spent; null is no limit. Requests that wait for money go on when there is room. */
  setAllowance(allowanceUsd: number | null): void {
    this.allowance.set(allowanceUsd);
  }

  /**
   * Takes the credential of another upstream of the same kind; requests that wait for one go on with it. The same one
   * once more says that there is no other: they fail. Throws `invalid_input` for another kind.
   */
  setUpstream(upstream: Upstream): void {
    // Requests that wait go on in a later turn of the loop, with what is set here.
    this.credential.replace(upstream);
    this.backend = this.backendOf(upstream);
    this.route = modelRoute(upstream);
  }

  dispose(): void {
    this.server.close();
    this.server.closeAllConnections();
    this.connections.dispose();
    this.forge?.dispose();
    rmSync(this.socketPath, { force: true });
  }

  private backendOf(upstream: Upstream): ModelBackend {
    switch (upstream.kind) {
      case 'demonstration':
        return scriptedModel(demonstration);
      case 'scripted':
        return scriptedModel(fixedScript(upstream.turns));
      default:
        return remoteModel(upstream, this.connections);
    }
  }

  /** Asks the forge and answers the sandbox. Never rejects. */
  private async readForge(
    forge: ForgeReader,
    [method, path, query]: readonly [string, string, string],
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<ExchangeResult> {
    const left = new AbortController();
    response.once('close', () => left.abort());
    // Nothing of a body goes on; the connection is closed with it rather than read to its end.
    const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
    if (length !== '0' || encoding !== undefined) response.setHeader('connection', 'close');
    request.resume();
    const { status, text, bytesIn, verdict, reason } = await forge.ask(
      method,
      path.slice(forgePrefix),
      query,
      left.signal,
    );
    if (!response.destroyed) {
      response.writeHead(status, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      });
      response.end(text);
    }
    return { verdict, bytesOut: 0, bytesIn, ...(reason === undefined ? {} : { reason }) };
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    const method = request.method ?? '';
    const [path, query] = cutAtQuery(request.url ?? '');
    // The CLI asks whether anybody is there before it shows its token; and Bedrock, for what else there is, without one.
    // Both end here and are no business of the ledger's.
    if (path === '/' && (method === 'HEAD' || method === 'GET')) {
      sendJson(response, 200, { sallyport: 'model gateway' });
      return;
    }
    if (
      this.credential.upstream.kind === 'bedrock' &&
      method === 'GET' &&
      /^\/inference-profiles(\/|$)/.test(path)
    ) {
      sendApiError(response, 403, "Sallyport's gateway lists no inference profiles.");
      return;
    }
    const { log } = this.options;
    const id = log.nextRequest();
    const started = Date.now();
    const forForge = path === '/forge' || path.startsWith('/forge/');
    const { host, port } = (forForge ? this.forge : undefined) ?? this.backend;
    let result: ExchangeResult = { verdict: 'blocked', bytesOut: 0, bytesIn: 0 };
    const over = (): void => {
      const { reason, ...rest } = result;
      log.say({
        type: 'request',
        id,
        kind: forForge ? 'forge' : 'model',
        host: ledgerText(host),
        port,
        method: ledgerText(method),
        path: ledgerText(forForge ? `${path.slice(forgePrefix)}${query}` : path),
        ...rest,
        ...(reason === undefined ? {} : { reason: reason.slice(0, 1000) }),
        ...(response.headersSent ? { status: response.statusCode } : {}),
        started,
      });
    };
    const refuse = (status: number, message: string): void => {
      result.reason = message;
      // The body is of no interest; the connection is closed with it rather than read to its end.
      if (!request.complete && method !== 'GET') response.setHeader('connection', 'close');
      sendApiError(response, status, message);
      request.resume();
      over();
    };

    if (!presented(request).some((value) => timingSafeEqual(digest(value), this.expected))) {
      refuse(401, 'This is not the token of this task.');
      return;
    }
    if (forForge) {
      if (this.forge === undefined) {
        refuse(403, 'This task may not read the forge.');
        return;
      }
      void this.readForge(this.forge, [method, path, query], request, response).then((ended) => {
        result = ended;
        over();
      });
      return;
    }
    const call = this.route(method, path, query);
    if (call === undefined) {
      refuse(
        403,
        `Sallyport's gateway does not let ${ledgerText(`${method} ${path}`)} through: from this sandbox only the model's messages can be reached.`,
      );
      return;
    }
    const { times } = this.options;
    const parts = {
      backend: () => this.backend,
      credential: this.credential,
      allowance: this.allowance,
      room: this.room,
      log,
      pingMs: times?.pingMs,
      silentMs: times?.silentMs,
    };
    void exchange(parts, id, call, request, response).then(
      (ended) => {
        result = ended;
        over();
      },
      (thrown: unknown) => {
        // The text stays here: it could quote a request.
        result = { ...result, verdict: 'failed', reason: 'The gateway met an unexpected error.' };
        response.destroy();
        over();
        throw thrown;
      },
    );
  }
}

/** What stands behind `/forge` is a path of the forge's API. */
const forgePrefix = '/forge'.length;

function cutAtQuery(url: string): [path: string, query: string] {
  const at = url.indexOf('?');
  return at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at)];
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
