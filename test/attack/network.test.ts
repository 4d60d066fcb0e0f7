import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { parseAddress } from '../../src/engine/discovery.ts';
import { judge, runAttacks, type Strong, type Verdicts } from '../support/attack.ts';
import { AttackRange, type LongTask } from '../support/attackRange.ts';
import { engineKinds } from '../support/engines.ts';

/** A service of the host's that says a word to whoever connects. */
async function bait(where: { port: number; host: string } | { path: string }): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end('bait of the host');
  }).listen(where);
  await once(server, 'listening');
  return server;
}

for (const kind of engineKinds) {
  describe(`promise 2 and 3 on ${kind}: no byte leaves the sandbox but through its gateway`, function () {
    this.timeout('5m');
    let range: AttackRange;
    let other: LongTask;
    const baits: Server[] = [];
    const weak = new Map<string, Verdicts>();
    const strong: Strong[] = [];

    before(async () => {
      range = await AttackRange.open(kind);
      other = await range.startTask();
      const hostAbstract = `sallyport-bait-${randomBytes(8).toString('hex')}`;
      baits.push(await bait({ port: 0, host: '0.0.0.0' }), await bait({ path: `\0${hostAbstract}` }));
      const { port: hostPort } = baits[0]?.address() as { port: number };

      const neighbour = await range.weak.start({
        network: 'bridge',
        command: ['python3', '-c', neighbourProgram],
      });
      const bridge = await range.weak.start({ network: 'bridge' });
      const endpoint = parseAddress(range.engine.info.address, 'test');
      const engineSocket = endpoint.type === 'socket' ? endpoint.path : '';
      const worlds = {
        bridge,
        everywhere: await range.weak.everywhere(),
        host: await range.weak.start({ network: 'host' }),
        admin: await range.weak.start({ almighty: true }),
        socket: await range.weak.start({ binds: [`${engineSocket}:/var/run/docker.sock`] }),
      };
      const args = {
        hostPort,
        hostAbstract,
        engineSocket,
        hostAddresses: [
          ...(await range.weak.addresses(bridge)),
          ...Object.values(networkInterfaces()).flatMap((all) =>
            (all ?? [])
              .filter(({ internal, family }) => !internal && family === 'IPv4')
              .map(({ address }) => address),
          ),
        ],
        neighbours: await range.weak.addresses(neighbour),
        otherGateways: await range.weak.addresses(other.gateway),
      };
      for (const [world, container] of Object.entries(worlds)) {
        const more = { world, privilegedKernel: true };
        weak.set(world, await runAttacks(range.engine, container, 'network.py', { ...args, ...more }));
      }
      for (const user of ['1000:1000', '0:0']) {
        const verdicts = await runAttacks(range.engine, range.task.sandbox, 'network.py', args, user);
        strong.push({ by: user === '0:0' ? 'root' : 'the agent', verdicts });
      }
    });
    after(async () => {
      for (const server of baits) server.close();
      await range.close();
    });

    judge('network.py', () => ({ weak, strong }));
  });
}

const neighbourProgram = `
import socket
server = socket.create_server(('0.0.0.0', 8099))
while True:
    connection, _ = server.accept()
    connection.sendall(b'bait of a neighbour')
    connection.close()
`;
