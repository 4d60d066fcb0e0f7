// One part of the way of a download, as a process of its own: `egressParts.ts ROLE ARGUMENTS…`. Says its ports to its parent.
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { EgressProxy } from '../../src/gateway/egressProxy.ts';
import { GatewayLog } from '../../src/gateway/eventLog.ts';
import { startRelay } from '../../src/supervisor/relay.ts';
import { certificateFor } from '../../test/support/certificate.ts';

const [role, ...args] = process.argv.slice(2);

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** Answers with as many bytes as the path says. */
async function web(host: string): Promise<number[]> {
  const block = Buffer.alloc(256 << 10, 'sallyport');
  const answer: RequestListener = (request, response) => {
    let left = Number((request.url ?? '').slice(1));
    response.writeHead(200, { 'content-length': left });
    const more = (): void => {
      while (left > 0) {
        const piece = block.subarray(0, Math.min(left, block.length));
        left -= piece.length;
        if (!response.write(piece)) {
          response.once('drain', more);
          return;
        }
      }
      response.end();
    };
    more();
  };
  return [await listen(createServer(answer)), await listen(createSecureServer(certificateFor(host), answer))];
}

/** The gateway's proxy, for which every name stands for this machine. */
async function proxy(socketPath: string, ...rules: string[]): Promise<void> {
  await EgressProxy.listen(
    socketPath,
    {
      policy: { mode: 'list', rules },
      refused: [],
      holdMs: 0,
      network: {},
      log: new GatewayLog({ write: () => undefined }),
    },
    { resolve: () => Promise.resolve(['127.0.0.1']), classify: () => 'public' },
  );
}

async function play(): Promise<number[]> {
  const [first = '', ...more] = args;
  if (role === 'web') return await web(first);
  if (role === 'relay') return [(await startRelay(first, 10_000)).port];
  await proxy(first, ...more);
  return [];
}

process.on('disconnect', () => process.exit(0));
process.send?.(await play());
