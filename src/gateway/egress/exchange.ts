import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { BodyServer, HttpHead } from './bodyServer.ts';
import { Client } from './client.ts';
import { alerts, fatalAlert, readFirstFlight } from './clientHello.ts';
import { decide, type Allowed, type ReadPolicy, type Wanted } from './decision.ts';
import type { Holds } from './holds.ts';
import type { EgressLedger, LedgerTarget } from './ledger.ts';
import type { Limits } from './limits.ts';
import { isRefusal, refusal, refusalAnswer, shown, type Refusal } from './refusal.ts';
import {
  connectionNames,
  endsHere,
  headLength,
  maxHeadBytes,
  readHead,
  type PartlyRead,
  type RequestHead,
} from './requestHead.ts';
import type { Way, WayFinder } from './way.ts';

/** What the exchanges of one proxy share. */
export interface Shared {
  policy: () => ReadPolicy;
  holds: Holds;
  ledger: EgressLedger;
  ways: WayFinder;
  bodies: BodyServer;
  limits: Limits;
}

/** How a refusal can still be told: as an answer of HTTP, within a tunnel, or no more. */
type Phase = 'head' | 'hello' | 'open';

/** One connection of the sandbox's, which is one request: it closes with the answer. Its end is told exactly once. */
export class Exchange {
  private readonly shared: Shared;
  private readonly client: Client;
  private readonly aborter = new AbortController();
  private target: LedgerTarget = { kind: 'http', host: '', port: 0 };
  private id: number | undefined;
  private phase: Phase = 'head';
  private ended = false;
  private admitted: { wanted: Wanted; allowed: Allowed } | undefined;
  private status: number | undefined;
  private count = (): { bytesOut: number; bytesIn: number } => ({ bytesOut: 0, bytesIn: 0 });
  private upstream: Socket | undefined;

  constructor(socket: Socket, shared: Shared) {
    this.shared = shared;
    this.client = new Client(socket);
  }

  /** Serves the request; resolves when its connection needs no more attention. Never rejects. */
  async run(): Promise<void> {
    try {
      await this.serve();
    } catch (error) {
      const name = error instanceof Error ? error.name : 'error';
      this.stop(refusal('unreachable', `The gateway met an unexpected ${name}.`));
    }
  }

  /** Ends a request that would not be allowed any more. */
  policyChanged(): void {
    if (this.isOver() || this.admitted === undefined) return;
    const { wanted, allowed } = this.admitted;
    const now = decide(this.shared.policy(), wanted);
    if (isRefusal(now)) {
      this.stop({ ...now, code: 'rule_removed', sentence: `The rule was removed. ${now.sentence}` });
    } else if (allowed.private && !now.private) {
      this.stop(
        refusal('rule_removed', `The rule that allows private addresses for ${wanted.host} was removed.`),
      );
    }
  }

  dispose(): void {
    if (this.phase === 'open') this.complete();
    // A connection that has said nothing was no request.
    else if (this.target.host !== '' || this.client.bytes > 0)
      this.stop(refusal('gateway_ended', 'The task has ended.'));
    this.client.socket.destroy();
    this.upstream?.destroy();
  }

  private async serve(): Promise<void> {
    const head = await this.readHead();
    if (head === undefined || this.isOver()) return;
    this.target = targetOf(head);
    if ('refusal' in head) {
      this.stop(head.refusal);
      return;
    }
    const wanted: Wanted = { ...this.target, ...head.authority };
    const allowed = await this.admit(wanted);
    if (this.isOver()) return;
    if (isRefusal(allowed)) {
      this.stop(allowed);
      return;
    }
    this.admitted = { wanted, allowed };
    const { gone } = this.client;
    const left = (): void => this.stop(refusal('client_left', 'The client left before it was connected.'));
    gone.addEventListener('abort', left, { once: true });
    if (gone.aborted) left();
    const way = await this.shared.ways.find(wanted, allowed);
    if (this.isOver()) return;
    if (isRefusal(way)) {
      this.stop(way);
      return;
    }
    if (head.kind === 'tunnel' && !(await this.checkHello(wanted))) return;
    const upstream = await this.connect(way, wanted);
    if (upstream === undefined) return;
    gone.removeEventListener('abort', left);
    this.upstream = upstream;
    if (head.kind === 'tunnel') this.openTunnel(upstream);
    else this.passOn(head, way, upstream);
  }

  private async readHead(): Promise<RequestHead | PartlyRead | undefined> {
    const { client, shared } = this;
    const until = Date.now() + shared.limits.headMs;
    for (;;) {
      const length = headLength(client.peek());
      if (typeof length === 'number') {
        const head = readHead(client.peek().subarray(0, length));
        client.skip(length);
        return head;
      }
      if (length !== undefined) return { ...this.target, refusal: length };
      const got = await client.more(until);
      if (got === 'more') continue;
      if (client.bytes === 0) {
        // No request, and nothing for the ledger.
        this.ended = true;
        client.socket.destroy();
        return undefined;
      }
      const refused =
        got === 'late'
          ? refusal('too_slow', 'The head of the request did not come in time.')
          : refusal('client_left', 'The client left in the middle of its request.');
      return { ...this.target, refusal: refused };
    }
  }

  /** Decides, and waits for the user's answer where only a rule is missing. */
  private async admit(wanted: Wanted): Promise<Allowed | Refusal> {
    const { policy, holds, ledger } = this.shared;
    let until: number | undefined;
    for (;;) {
      const decision = decide(policy(), wanted);
      if (!isRefusal(decision) || !decision.askable || decision.code === 'user_refused') return decision;
      if (until === undefined) {
        until = ledger.flooded ? undefined : holds.until(wanted.host, wanted.port);
        if (until === undefined) return decision;
        this.id = ledger.waiting(this.target, until);
      }
      if ((await holds.wait(until, this.client.gone)) !== 'changed') return decision;
    }
  }

  /** Lets the client begin, and looks whether it begins TLS with the host that it asked for. */
  private async checkHello({ host }: Wanted): Promise<boolean> {
    const { client, shared } = this;
    client.socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    this.phase = 'hello';
    const until = Date.now() + shared.limits.helloMs;
    for (;;) {
      const flight = readFirstFlight(client.peek());
      if (flight.kind !== 'partial') {
        const refused = checkFlight(flight, host);
        if (refused !== undefined) this.stop(refused);
        return refused === undefined;
      }
      const got = await client.more(until);
      if (this.isOver()) return false;
      if (got === 'late') {
        this.stop(refusal('not_tls', `The tunnel to ${host} did not begin with TLS in time. ${onlyTls}`));
        return false;
      }
    }
  }

  private async connect(way: Way, wanted: Wanted): Promise<Socket | undefined> {
    const { signal } = this.aborter;
    let upstream: Socket | Refusal;
    try {
      upstream = await this.shared.ways.go(way, wanted, signal);
    } catch (error) {
      if (this.isOver()) return undefined;
      throw error;
    }
    if (isRefusal(upstream)) {
      this.stop(upstream);
      return undefined;
    }
    // Whatever becomes of it is told by `close`.
    upstream.on('error', () => undefined);
    if (!this.isOver()) return upstream;
    upstream.destroy();
    return undefined;
  }

  private openTunnel(upstream: Socket): void {
    const client = this.client.socket;
    const held = this.client.release();
    const [outBefore, inBefore] = [upstream.bytesWritten, client.bytesWritten];
    this.count = () => ({
      bytesOut: upstream.bytesWritten - outBefore,
      bytesIn: client.bytesWritten - inBefore,
    });
    this.phase = 'open';
    this.status = 200;
    let open = 2;
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      const { idleMs, halfIdleMs } = this.shared.limits;
      one.setTimeout(idleMs, () => one.destroy());
      one.once('end', () => other.setTimeout(Math.min(idleMs, halfIdleMs)));
      one.once('close', () => {
        // A side that broke off, rather than ended in both directions, takes the other one along.
        if (!one.readableEnded || !one.writableFinished) other.destroy();
        if (--open === 0) this.complete();
      });
    }
    upstream.write(held);
    client.pipe(upstream);
    upstream.pipe(client);
  }

  private passOn(head: HttpHead, way: Way, upstream: Socket): void {
    const { socket } = this.client;
    const held = this.client.release();
    let [bytesOut, bytesIn] = [0, 0];
    this.count = () => ({ bytesOut, bytesIn });
    socket.once('close', () => {
      if (this.phase === 'open') this.complete();
      else this.stop(refusal('client_left', 'The client left before the answer.'));
      upstream.destroy();
    });
    socket.setTimeout(this.shared.limits.idleMs, () =>
      this.stop(refusal('too_slow', `Nothing came from ${head.authority.host} or its client for too long.`)),
    );
    this.shared.bodies.serve(socket, head, held, (request, response) => {
      const onward = httpRequest({
        createConnection: () => upstream,
        method: head.method,
        ...onwardHead(head, way),
        maxHeaderSize: maxHeadBytes,
        insecureHTTPParser: false,
      });
      request.on('data', (chunk: Buffer) => (bytesOut += chunk.length));
      request.on('error', () => onward.destroy());
      request.pipe(onward);
      const failed = (): void =>
        this.stop(refusal('unreachable', `The connection to ${head.authority.host} broke off.`));
      onward.on('error', failed);
      onward.on('upgrade', failed);
      onward.on('response', (answer) => {
        if ('proxy' in way && answer.statusCode === 407) {
          this.stop(refusal('unreachable', "The network's proxy refuses the gateway's user."));
          return;
        }
        answer.on('data', (chunk: Buffer) => (bytesIn += chunk.length));
        answer.on('error', failed);
        this.answer(answer, response);
      });
    });
  }

  private answer(answer: IncomingMessage, response: ServerResponse): void {
    if (this.isOver()) return;
    const { statusCode: status = 502, statusMessage = '' } = answer;
    this.status = status;
    response.writeHead(
      status,
      /^[\t\x20-\x7e]*$/.test(statusMessage) ? statusMessage : '',
      answerHeaders(answer),
    );
    this.phase = 'open';
    answer.pipe(response);
  }

  /** Its end was told; a method, because it changes during every wait. */
  private isOver(): boolean {
    return this.ended;
  }

  /** It went its way to the end. */
  private complete(): void {
    if (this.isOver()) return;
    this.ended = true;
    const reason = this.admitted?.allowed.reason ?? '';
    this.tell('allowed', reason);
  }

  /** Ends the request, and says so to the client as far as it can still be said. */
  private stop(refused: Refusal): void {
    if (this.isOver()) return;
    this.ended = true;
    if (this.phase === 'head') this.status = refused.status;
    this.tell(refused.verdict, refused.sentence, refused.askable);
    this.aborter.abort();
    this.upstream?.destroy();
    if (this.phase === 'open') {
      this.client.socket.destroy();
      return;
    }
    const words = this.phase === 'head' ? refusalAnswer(refused) : this.lastWords(refused);
    this.client.finish(words, this.shared.limits.lingerMs);
  }

  /** Within a tunnel TLS clients understand an alert; who speaks HTTP there gets an answer. */
  private lastWords(refused: Refusal): string | Buffer {
    if (/^[A-Z]{3,10} /.test(this.client.peek().subarray(0, 12).toString('latin1')))
      return refusalAnswer(refused);
    if (refused.code === 'not_tls') return '';
    const names: readonly string[] = ['sni', 'no_sni'];
    if (names.includes(refused.code)) return fatalAlert(alerts.unrecognizedName);
    return fatalAlert(refused.verdict === 'blocked' ? alerts.handshakeFailure : alerts.internalError);
  }

  private tell(verdict: 'allowed' | 'blocked' | 'failed', reason: string, askable?: boolean): void {
    this.shared.ledger.ended(
      this.target,
      {
        verdict,
        reason,
        ...(verdict === 'blocked' ? { askable: askable ?? false } : {}),
        ...(this.status === undefined ? {} : { status: this.status }),
        ...this.count(),
        started: this.client.started,
      },
      this.id,
    );
  }
}

const onlyTls = 'Only TLS can be spoken in a tunnel, so that its host can be seen.';

function checkFlight(
  flight: Exclude<ReturnType<typeof readFirstFlight>, { kind: 'partial' }>,
  host: string,
): Refusal | undefined {
  if (flight.kind === 'other') {
    return refusal('not_tls', `The tunnel to ${host} does not begin with TLS. ${onlyTls}`);
  }
  if (flight.encrypted) {
    return refusal('ech', `The client hides the name of its host from the gateway (Encrypted Client Hello).`);
  }
  if (flight.serverName === undefined) {
    return refusal(
      'no_sni',
      `The client does not say in TLS which host it means (SNI); it asked for ${host}.`,
    );
  }
  if (flight.serverName.toLowerCase() === host) return undefined;
  return refusal('sni', `The client asked for ${host} and begins TLS with ${shown(flight.serverName)}.`);
}

function targetOf(head: RequestHead | PartlyRead): LedgerTarget {
  if ('refusal' in head) {
    const { kind, host, port, method, path } = head;
    return {
      kind,
      host,
      port: Number.isSafeInteger(port) ? port : 0,
      ...(method === undefined ? {} : { method }),
      ...(path === undefined ? {} : { path }),
    };
  }
  if (head.kind === 'tunnel') return { kind: 'tunnel', ...head.authority };
  return { kind: 'http', ...head.authority, method: head.method, path: head.path };
}

/** Path and headers of the onward request: through a proxy the whole URL, and its user. */
function onwardHead(head: HttpHead, way: Way): { path: string; headers: readonly string[] } {
  const { host, port } = head.authority;
  const name = port === 80 ? host : `${host}:${port}`;
  const headers = ['Host', name];
  for (const [key, value] of head.headers) headers.push(key, value);
  if (head.body.kind === 'length') headers.push('Content-Length', String(head.body.bytes));
  if (head.body.kind === 'chunked') headers.push('Transfer-Encoding', 'chunked');
  headers.push('Connection', 'close');
  if (!('proxy' in way)) return { path: head.target, headers };
  const { authorization } = way.proxy;
  if (authorization !== undefined) headers.push('Proxy-Authorization', authorization);
  return { path: `http://${name}${head.target}`, headers };
}

function answerHeaders({ rawHeaders }: IncomingMessage): string[] {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    pairs.push([rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '']);
  }
  const named = connectionNames(
    pairs.filter(([name]) => name.toLowerCase() === 'connection').map(([, value]) => value),
  );
  // How the gateway refuses is not for others to say.
  named.add('x-sallyport-blocked');
  return [...pairs.filter(([name]) => !endsHere(name.toLowerCase(), named)).flat(), 'Connection', 'close'];
}
