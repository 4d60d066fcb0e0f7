import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { encodeFrame } from '../src/base/frames.ts';
import type { GatewayRequest } from '../src/protocol/control.ts';
import { gatewayContainer } from '../src/runner/sandboxNames.ts';
import { isSigned } from '../test/support/awsSignature.ts';
import { aSpec } from '../test/support/specs.ts';
import { dockerOk } from './lib/docker.ts';
import type { Section, Tools } from './lib/measure.ts';
import { mega, median, ms, now, p95, pause } from './lib/numbers.ts';

const run = promisify(execFile);

/** As the first request of the Claude Code command line is, about. */
const requestBytes = 50_000;
const token = 'bench-token';
const secretAccessKey = 'bench-secret';
const region = 'eu-west-1';
/** Between two events of the stream, as a fast model is. */
const eventMs = 8;

/** The model broker's price: time for each request and each event, memory for each task. */
export async function broker(tools: Tools): Promise<Section> {
  const rounds = tools.quick ? 40 : 400;
  const events = tools.quick ? 50 : 500;
  const gateways = tools.quick ? 5 : 50;
  const service = await startService();
  const containers: Gateway[] = [];
  try {
    const { port } = service.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    tools.say('One gateway before a service on the loopback');
    const anthropic = await startGateway(tools, {
      kind: 'anthropic',
      baseUrl: url,
      auth: { type: 'api_key', value: 'bench-key' },
    });
    const bedrock = await startGateway(tools, {
      kind: 'bedrock',
      region,
      endpoint: url,
      auth: { type: 'keys', accessKeyId: 'AKIDBENCH', secretAccessKey },
    });
    containers.push(anthropic, bedrock);
    const direct = new Way({ host: '127.0.0.1', port });
    const through = new Way({ socketPath: anthropic.socket });
    const signed = new Way({ socketPath: bedrock.socket });
    const times = { direct: [] as number[], through: [] as number[], signed: [] as number[] };
    // In turns, so that all have the same machine.
    for (let round = -20; round < rounds; round++) {
      const one = await direct.ask('/v1/messages');
      const other = await through.ask('/v1/messages');
      const third = await signed.ask('/model/eu.anthropic.claude-opus-5-5/invoke');
      if (round < 0) continue;
      times.direct.push(one);
      times.through.push(other);
      times.signed.push(third);
    }
    tools.say('A stream');
    const delays = { direct: await direct.stream(events), through: await through.stream(events) };
    for (const way of [direct, through, signed]) way.close();

    tools.say(`${gateways} gateways`);
    const many: Gateway[] = [];
    for (let i = 0; i < gateways; i++) {
      const gateway = await startGateway(tools, {
        kind: 'anthropic',
        baseUrl: url,
        auth: { type: 'api_key', value: 'bench-key' },
      });
      containers.push(gateway);
      many.push(gateway);
    }
    const fresh = await Promise.all(many.map(memoryOf));
    // Each with a whole task's requests, all at once.
    await Promise.all(
      many.map(async ({ socket }) => {
        const way = new Way({ socketPath: socket });
        for (let i = 0; i < 20; i++) await way.ask('/v1/messages');
        way.close();
      }),
    );
    await pause(2000);
    const used = await Promise.all(many.map(memoryOf));

    const overhead = median(times.through) - median(times.direct);
    const delay = median(delays.through) - median(delays.direct);
    const resident = median(used.map(({ rss }) => rss));
    const row = (name: string, values: readonly number[]): string[] => [
      name,
      fine(median(values)),
      fine(p95(values)),
      fine(median(values) - median(times.direct)),
    ];
    const memory = (name: string, values: readonly Memory[]): string[] => [
      name,
      ...[values.map(({ rss }) => rss), values.map(({ pss }) => pss)].flatMap((bytes) => [
        `${mega(median(bytes))} MB`,
        `${mega(Math.max(...bytes))} MB`,
      ]),
    ];
    return {
      title: 'Model broker',
      how: [
        `Gateways of the product in containers of the sandbox image, before a service on this machine that reads a request of ${requestBytes / 1000} KB, as the agent's first one is, and answers with 1 KB. One connection, kept, ${rounds} requests each way in turns; from the first byte of the request to the last of the answer. Direct is the same client at the service itself. With Bedrock each request is signed, and the service checks the signature; that check is in the time too.`,
        `The stream has ${events} events, ${eventMs} ms apart, each with the time at which the service wrote it; the delay is from there to the client's reading it.`,
        `Memory is that of the gateway's process alone, without the container's init, from the kernel's \`smaps_rollup\`: resident (with the pages of the program that all share) and proportional (shared pages divided among those who share them). ${gateways} gateways run at the same time; after 20 requests each.`,
      ],
      tables: [
        {
          head: ['A request', 'median', 'p95', 'over direct'],
          rows: [
            row('direct', times.direct),
            row('through the gateway', times.through),
            row('through the gateway, signed for Bedrock', times.signed),
          ],
        },
        {
          head: ['An event of a stream arrives', 'median', 'p95'],
          rows: [
            ['direct', fine(median(delays.direct)), fine(p95(delays.direct))],
            ['through the gateway', fine(median(delays.through)), fine(p95(delays.through))],
          ],
        },
        {
          head: [
            `Memory of one of ${gateways} gateways`,
            'resident, median',
            'largest',
            'proportional, median',
            'largest',
          ],
          rows: [memory('waiting for its agent', fresh), memory('after 20 requests', used)],
        },
      ],
      targets: [
        {
          what: 'Model broker, over a direct request, median',
          target: '< 5 ms',
          measured: ms(overhead),
          met: overhead < 5,
        },
        {
          what: 'Event of a stream, passed on within, median',
          target: '< 5 ms',
          measured: ms(delay),
          met: delay < 5,
        },
        {
          what: `Memory of one of ${gateways} gateways, resident, median`,
          target: '< 60 MB',
          measured: `${mega(resident)} MB`,
          met: resident < 60e6,
        },
      ],
    };
  } finally {
    service.closeAllConnections();
    service.close();
    for (const { name, folder } of containers) {
      await dockerOk(tools, 'rm', '-f', name);
      await rm(folder, { recursive: true, force: true });
    }
  }
}

/** Milliseconds, fine enough for what takes less than one. */
function fine(value: number): string {
  return `${value.toFixed(2)} ms`;
}

const wholeAnswer = JSON.stringify({
  type: 'message',
  model: 'claude-opus-5-5',
  content: [{ type: 'text', text: 'x'.repeat(800) }],
  usage: { input_tokens: 10_000, output_tokens: 200 },
});

/** Answers as a model's service does; `/v1/messages?beta=true` with as many events as the request's `max_tokens`. */
async function startService(): Promise<Server> {
  const server = createServer({ noDelay: true, keepAliveTimeout: 600_000 }, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts);
      const { url = '' } = request;
      if (
        url.startsWith('/model/') &&
        !isSigned(request, body, secretAccessKey, { region, service: 'bedrock' })
      ) {
        response.writeHead(403).end('{"message":"not signed"}');
        return;
      }
      if (!url.endsWith('?beta=true')) {
        response.writeHead(200, { 'content-type': 'application/json' }).end(wholeAnswer);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      let left = Number(/"max_tokens":(\d+)/.exec(body.toString('latin1'))?.[1] ?? 0);
      const timer = setInterval(() => {
        const delta = { type: 'text_delta', text: `@${now()}@` };
        response.write(
          `event: content_block_delta\ndata: ${JSON.stringify({ type: 'content_block_delta', index: 0, delta })}\n\n`,
        );
        if (--left > 0) return;
        clearInterval(timer);
        response.end();
      }, eventMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** One kept connection to a service or a gateway. */
class Way {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
  private readonly target: { host: string; port: number } | { socketPath: string };

  constructor(target: { host: string; port: number } | { socketPath: string }) {
    this.target = target;
  }

  close(): void {
    this.agent.destroy();
  }

  /** Milliseconds for a whole request. */
  async ask(path: string): Promise<number> {
    const body = JSON.stringify({ model: 'claude-opus-5-5', system: 'x'.repeat(requestBytes) });
    const begin = now();
    await this.send(path, body, () => undefined);
    return now() - begin;
  }

  /** Milliseconds for each event of a stream, from its writing to its reading. */
  async stream(events: number): Promise<number[]> {
    const delays: number[] = [];
    const body = JSON.stringify({ model: 'claude-opus-5-5', stream: true, max_tokens: events });
    await this.send('/v1/messages?beta=true', body, (piece) => {
      const at = now();
      for (const [, written] of piece.toString('latin1').matchAll(/@([\d.]+)@/g))
        delays.push(at - Number(written));
    });
    if (delays.length !== events) throw new Error(`${delays.length} of ${events} events came`);
    return delays;
  }

  private async send(path: string, body: string, onPiece: (piece: Buffer) => void): Promise<void> {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const request = httpRequest({ ...this.target, agent: this.agent, method: 'POST', path, headers });
    const answered = once(request, 'response');
    request.end(body);
    const [response] = (await answered) as [IncomingMessage];
    response.on('data', onPiece);
    await once(response, 'end');
    if (response.statusCode !== 200) throw new Error(`${path} was answered with ${response.statusCode}`);
  }
}

interface Gateway {
  name: string;
  folder: string;
  socket: string;
}

type Upstream = Extract<GatewayRequest, { op: 'configure' }>['upstream'];

/** A gateway as a task has it, but in the host's network, where the measured service listens. */
async function startGateway(tools: Tools, upstream: Upstream): Promise<Gateway> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'));
  await chmod(folder, 0o777);
  const name = `sallyport-bench-${randomBytes(4).toString('hex')}`;
  const limits = ['--memory', '256m', '--cpus', '1', '--pids-limit', '64', '--read-only', '--tmpfs', '/tmp'];
  const place = [
    '--network',
    'host',
    '--user',
    '1001:1001',
    '--cap-drop',
    'ALL',
    '-v',
    `${folder}:/run/sallyport`,
  ];
  const { command } = gatewayContainer(aSpec(), 'bench', tools.image);
  await dockerOk(tools, 'run', '-d', '--name', name, ...limits, ...place, tools.image, ...command);
  const request: GatewayRequest = {
    op: 'configure',
    token,
    upstream,
    egress: { mode: 'closed', rules: [] },
    holdMs: 0,
    refused: [],
    network: {},
    spentUsd: 0,
    allowanceUsd: null,
    after: 0,
  };
  const control = spawn('docker', ['exec', '-i', name, 'node', '/opt/sallyport/gateway.js', 'control'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let reply = '';
  control.stdout.on('data', (piece) => (reply += String(piece)));
  control.stdin.end(encodeFrame({ kind: 'J', json: request }));
  await once(control, 'close');
  if (!reply.includes('"ok":true')) throw new Error(`The gateway did not start: ${reply.slice(5)}`);
  return { name, folder, socket: join(folder, 'model.sock') };
}

/** In bytes. */
interface Memory {
  rss: number;
  pss: number;
}

/** The gateway is the one child of the container's init. */
async function memoryOf({ name }: Gateway): Promise<Memory> {
  const { stdout } = await run('docker', ['inspect', '--format', '{{.State.Pid}}', name]);
  const init = stdout.trim();
  const child = (await readFile(`/proc/${init}/task/${init}/children`, 'utf8')).trim().split(' ')[0] ?? '';
  const rollup = await readFile(`/proc/${child}/smaps_rollup`, 'utf8');
  const field = (key: string): number =>
    1024 * Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1] ?? Number.NaN);
  return { rss: field('Rss'), pss: field('Pss') };
}
