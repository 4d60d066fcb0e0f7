import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { fixedScript, scriptedModel, type Turn } from '../../src/gateway/scriptedModel.ts';

/**
 * A service with Anthropic's API and a script for a model, and beside it the internet: a company's proxy that answers every
 * request to a host of example.com itself. Both are reached from this machine and from containers on it.
 */
export class ModelServer {
  private readonly server: Server;
  /** Answers of the script wait for these, by their number from 0. */
  private readonly gates = new Map<number, PromiseWithResolvers<void>>();
  private readonly turns: readonly Turn[];
  /** What came out of a sandbox to the internet: method and URL. */
  readonly reached: string[] = [];
  /** Values of `x-api-key` that came to the model's service. */
  readonly keys = new Set<string>();

  private constructor(server: Server, turns: readonly Turn[], gated: readonly number[]) {
    this.server = server;
    this.turns = turns;
    for (const turn of gated) this.gates.set(turn, Promise.withResolvers());
  }

  /** @param gated numbers of the answers that wait for `go` */
  static async start(turns: readonly Turn[], gated: readonly number[] = []): Promise<ModelServer> {
    const server = createServer().listen(0, '0.0.0.0');
    const made = new ModelServer(server, turns, gated);
    server.on('request', (request, response) => {
      made.answer(request, response).catch((thrown: unknown) => response.destroy(thrown as Error));
    });
    await once(server, 'listening');
    return made;
  }

  get host(): string {
    return hostAddress();
  }

  get url(): string {
    return `http://${this.host}:${(this.server.address() as AddressInfo).port}`;
  }

  /** Lets an answer go that waits. */
  go(turn: number): void {
    this.gates.get(turn)?.resolve();
  }

  stop(): void {
    for (const gate of this.gates.values()) gate.resolve();
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = request.url ?? '';
    if (url.startsWith('http://')) {
      this.reached.push(`${request.method ?? ''} ${url}`);
      response.writeHead(200, { 'content-type': 'text/plain' }).end('hello from outside\n');
      return;
    }
    const key = request.headers['x-api-key'];
    if (typeof key === 'string') this.keys.add(key);
    const path = url.split('?', 1)[0] ?? '';
    const kind = path.endsWith('/models') ? 'models' : path.endsWith('/count_tokens') ? 'count' : 'message';
    const script = fixedScript(this.turns);
    let number = -1;
    const model = scriptedModel((parsed) => {
      number = parsed.messages.filter(({ role }) => role === 'assistant').length;
      return script(parsed);
    });
    const { status, headers, body } = await model.ask(
      {
        call: { kind, path: url, framing: 'sse' },
        method: request.method ?? '',
        headers: {},
        body: Buffer.concat(chunks),
      },
      new AbortController().signal,
    );
    await this.gates.get(number)?.promise;
    response.writeHead(status, headers);
    body.pipe(response);
  }
}

/** An address of this machine that containers on Docker's bridge reach too. */
export function hostAddress(): string {
  const networks = networkInterfaces();
  const all = [...(networks['docker0'] ?? []), ...Object.values(networks).flat()];
  const found = all.find((one) => one !== undefined && one.family === 'IPv4' && !one.internal);
  if (found === undefined) throw new Error('This machine has no address that a container could reach.');
  return found.address;
}
