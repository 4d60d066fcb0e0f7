import { once } from 'node:events';
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { join } from 'node:path';
import { EgressProxy, type EgressOptions, type EgressSeams } from '../../src/gateway/egressProxy.ts';
import { GatewayLog } from '../../src/gateway/eventLog.ts';
import { parseGatewayEvent, type GatewayEvent } from '../../src/protocol/gatewayEvent.ts';
import { temporaryFolder } from './gitRepo.ts';

export type RequestEvent = Extract<GatewayEvent, { type: 'request' }>;

/**
 * An egress proxy on a socket of its own. Hosts stand for this machine's loopback, which counts as public, unless a test
 * says otherwise; all else is the product's.
 */
export class EgressBench {
  readonly events: GatewayEvent[] = [];
  readonly socketPath: string;
  readonly lookups: string[] = [];
  private readonly folder = temporaryFolder();
  private readonly servers: Server[] = [];
  private readonly sockets = new Set<Socket>();
  private proxy: EgressProxy | undefined;
  private watchers: (() => void)[] = [];

  constructor() {
    this.socketPath = join(this.folder.path, 'proxy.sock');
  }

  async start(
    options: Partial<EgressOptions> & { rules?: string[] } = {},
    seams: EgressSeams = {},
  ): Promise<EgressProxy> {
    const log = new GatewayLog({
      write: (line) => {
        this.events.push(parseGatewayEvent(JSON.parse(line)));
        for (const watch of this.watchers.splice(0)) watch();
      },
    });
    const { rules = [], ...given } = options;
    const resolve = seams.resolve ?? (() => Promise.resolve(['127.0.0.1']));
    this.proxy = await EgressProxy.listen(
      this.socketPath,
      { policy: { mode: 'list', rules }, refused: [], holdMs: 0, network: {}, log, ...given },
      {
        classify: (address) => (address.startsWith('127.0.0.') ? 'public' : 'forbidden'),
        ...seams,
        resolve: (host) => {
          this.lookups.push(host);
          return resolve(host);
        },
      },
    );
    return this.proxy;
  }

  /** Listens on the loopback; closed with the bench. Resolves to the port. */
  async listen(server: Server): Promise<number> {
    this.servers.push(server);
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** A server whose connections a test holds in its hand. */
  async listenRaw(
    take: (socket: Socket) => void = () => undefined,
  ): Promise<{ port: number; taken: Socket[] }> {
    const taken: Socket[] = [];
    const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
      taken.push(socket);
      take(socket);
    });
    return { port: await this.listen(server), taken };
  }

  /** A client of the proxy that has sent these bytes. */
  client(...parts: (string | Buffer)[]): RawClient {
    const socket = connect({ path: this.socketPath, allowHalfOpen: true });
    this.sockets.add(socket);
    for (const part of parts) socket.write(part);
    return new RawClient(socket);
  }

  /** Sends one request, and resolves to all that comes back. */
  async ask(...parts: (string | Buffer)[]): Promise<string> {
    const client = this.client(...parts);
    const text = await client.text();
    client.socket.destroy();
    return text;
  }

  /** Resolves when the ledger has as many requests that ended. */
  async requests(count: number): Promise<RequestEvent[]> {
    for (;;) {
      const found = this.events.filter((event) => event.type === 'request');
      if (found.length >= count) return found;
      await this.nextEvent();
    }
  }

  /** Resolves when as many requests have begun to wait. */
  async waiting(count: number): Promise<Extract<GatewayEvent, { type: 'request_waiting' }>[]> {
    for (;;) {
      const found = this.events.filter((event) => event.type === 'request_waiting');
      if (found.length >= count) return found;
      await this.nextEvent();
    }
  }

  dispose(): void {
    this.proxy?.dispose();
    for (const socket of this.sockets) socket.destroy();
    for (const server of this.servers) server.close();
    this.folder.dispose();
  }

  private nextEvent(): Promise<void> {
    return new Promise((resolve) => this.watchers.push(resolve));
  }
}

/** A connection, and all that has come over it. */
export class RawClient {
  readonly socket: Socket;
  private bytes = Buffer.alloc(0);
  private wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      this.wake?.();
    });
    socket.on('end', () => this.wake?.());
    socket.on('close', () => this.wake?.());
  }

  /** Resolves to what came, once it holds `text` or nothing more will come. */
  async until(text: string): Promise<string> {
    while (!this.bytes.includes(text) && !this.socket.readableEnded && !this.socket.destroyed) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return this.bytes.toString('latin1');
  }

  /** Resolves to all that came, at its end. */
  async text(): Promise<string> {
    while (!this.socket.readableEnded && !this.socket.destroyed) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return this.bytes.toString('latin1');
  }
}
