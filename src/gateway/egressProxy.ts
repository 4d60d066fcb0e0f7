import { rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { Disposable } from '../base/disposable.ts';
import type { NetworkWay } from '../protocol/control.ts';
import type { EgressPolicy } from '../protocol/egress.ts';
import type { GatewayLog } from './eventLog.ts';

export interface EgressOptions {
  policy: EgressPolicy;
  refused: string[];
  holdMs: number;
  network: NetworkWay;
  log: GatewayLog;
}

/** The sandbox's only way to anything but its model. */
export class EgressProxy implements Disposable {
  private readonly server: Server;
  private readonly socketPath: string;

  private constructor(socketPath: string, server: Server) {
    this.socketPath = socketPath;
    this.server = server;
  }

  static async listen(socketPath: string, _options: EgressOptions): Promise<EgressProxy> {
    const server = createServer((_, response) => response.writeHead(403).end());
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    return new EgressProxy(socketPath, server);
  }

  setPolicy(_policy: EgressPolicy, _refused: string[]): void {
    throw new Error('Not there yet');
  }

  dispose(): void {
    this.server.close();
    this.server.closeAllConnections();
    rmSync(this.socketPath, { force: true });
  }
}
