import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { connectWhenThere } from '../base/controlSocket.ts';
import type { Disposable } from '../base/disposable.ts';

export interface Relay extends Disposable {
  port: number;
}

/**
 * Makes a loopback port of the gateway's unix socket: the agent speaks HTTP to a port, and the sandbox has no network.
 * Waits for the socket up to `waitMs`; rejects when it does not answer by then.
 */
export async function startRelay(socketPath: string, waitMs: number, signal?: AbortSignal): Promise<Relay> {
  (await connectWhenThere(socketPath, waitMs, signal)).destroy();
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ path: socketPath, allowHalfOpen: true });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        // A side that broke off, rather than ended, takes the other one along.
        if (!one.readableEnded) other.destroy();
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    dispose: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
