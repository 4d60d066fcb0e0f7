import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A TCP proxy that breaks connections off, at a byte that the test chooses. */
export class CuttingProxy {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly target: number;
  /** For each new connection: after how many bytes from the server, and from the client, it is cut. */
  cuts: { down: number; up: number }[] = [];
  /** Further connections are refused while it is down. */
  down = false;
  connections = 0;
  /** Bytes that went through from the server. */
  passed = 0;

  private constructor(target: number) {
    this.target = target;
    this.server = createServer((socket) => this.pass(socket));
  }

  static async start(target: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target);
    await new Promise<void>((listening) => proxy.server.listen(0, '127.0.0.1', listening));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  private pass(client: Socket): void {
    this.connections++;
    if (this.down) {
      client.destroy();
      return;
    }
    const cut = this.cuts.shift() ?? { down: Infinity, up: Infinity };
    const server = connect(this.target, '127.0.0.1');
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    this.meter(client, server, cut.up);
    this.meter(server, client, cut.down, (bytes) => (this.passed += bytes));
  }

  private meter(
    from: Socket,
    to: Socket,
    limit: number,
    count: (bytes: number) => void = () => undefined,
  ): void {
    let left = limit;
    from.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, Math.min(chunk.length, left));
      left -= part.length;
      count(part.length);
      if (left > 0) {
        if (!to.write(part)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
        return;
      }
      // What came before the cut arrives; what comes after it does not.
      to.end(part, () => {
        from.destroy();
        to.destroy();
      });
    });
  }

  /** Cuts everything that is open now. */
  cutAll(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cutAll();
    await new Promise((closed) => this.server.close(closed));
  }
}
