import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Broker, type BrokerOptions } from '../../src/gateway/broker.ts';
import { GatewayLog } from '../../src/gateway/eventLog.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { parseGatewayEvent, type GatewayEvent } from '../../src/protocol/gatewayEvent.ts';
import { temporaryFolder } from './gitRepo.ts';

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  bytes: Buffer;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  onChunk?: (chunk: string) => void;
  signal?: AbortSignal;
}

/** A model broker on a real socket before an HTTP server that stands for the model's service, and what it printed. */
export class ModelGateway {
  readonly token = 'task-token';
  /** All that the gateway wrote on its stdout. */
  printed = '';
  /** What the service answers. */
  answer: RequestListener = (request, response) => {
    void bodyOf(request).then((body) =>
      response.end(
        JSON.stringify({ url: request.url, method: request.method, headers: request.headers, body }),
      ),
    );
  };
  private readonly folder = temporaryFolder();
  private readonly service: Server;
  private current: Broker | undefined;

  private constructor(service: Server) {
    this.service = service;
  }

  static async open(): Promise<ModelGateway> {
    const service = createServer((request, response) => gateway.answer(request, response));
    const gateway = new ModelGateway(service);
    await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
    return gateway;
  }

  get broker(): Broker {
    if (this.current === undefined) throw new Error('The broker does not listen yet');
    return this.current;
  }

  get path(): string {
    return this.folder.path;
  }

  get socketPath(): string {
    return join(this.folder.path, 'model.sock');
  }

  get servicePort(): number {
    return (this.service.address() as AddressInfo).port;
  }

  get serviceUrl(): string {
    return `http://127.0.0.1:${this.servicePort}`;
  }

  async listen(upstream: Upstream, options: Partial<BrokerOptions> = {}): Promise<Broker> {
    this.current?.dispose();
    const log = new GatewayLog({ write: (text) => void (this.printed += text) });
    this.current = await Broker.listen(this.socketPath, {
      token: this.token,
      upstream,
      network: {},
      spentUsd: 0,
      allowanceUsd: null,
      log,
      ...options,
    });
    return this.current;
  }

  get said(): GatewayEvent[] {
    return this.printed
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => parseGatewayEvent(JSON.parse(line)));
  }

  saidOf<T extends GatewayEvent['type']>(type: T): Extract<GatewayEvent, { type: T }>[] {
    return this.said.filter((event): event is Extract<GatewayEvent, { type: T }> => event.type === type);
  }

  /** Resolves when the gateway has said that many events of a kind. The runner's time limit ends a wait in vain. */
  async until(type: GatewayEvent['type'], count = 1): Promise<void> {
    while (this.saidOf(type).length < count) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async ask(path: string, options: Ask = {}): Promise<Answer> {
    const { method = 'POST', headers = { authorization: `Bearer ${this.token}` }, signal } = options;
    return await new Promise((resolve, reject) => {
      const target = { agent: false, socketPath: this.socketPath, path, method, headers };
      const request = httpRequest({ ...target, ...(signal === undefined ? {} : { signal }) }, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (chunk: Buffer) => {
          pieces.push(chunk);
          options.onChunk?.(chunk.toString('utf8'));
        });
        response.on('end', () => {
          const bytes = Buffer.concat(pieces);
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, bytes, text: bytes.toString('utf8') });
        });
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(options.body ?? (method === 'POST' ? '{}' : ''));
    });
  }

  close(): void {
    this.current?.dispose();
    this.service.closeAllConnections();
    this.service.close();
    this.folder.dispose();
  }
}

export async function bodyOf(stream: IncomingMessage): Promise<string> {
  let all = '';
  for await (const chunk of stream) all += String(chunk);
  return all;
}

/** The events of one streamed answer that used this much. */
export function streamEvents(
  model: string,
  usage: Record<string, unknown>,
  texts: readonly string[] = ['Hello'],
): { type: string }[] {
  const message = { id: 'm', type: 'message', role: 'assistant', model, content: [], stop_reason: null };
  const { output_tokens: output, ...before } = usage;
  const deltas = texts.map((text) => ({
    type: 'content_block_delta',
    index: 0,
    delta: { type: 'text_delta', text },
  }));
  return [
    { type: 'message_start', ...{ message: { ...message, usage: { ...before, output_tokens: 1 } } } },
    { type: 'content_block_start', ...{ index: 0, content_block: { type: 'text', text: '' } } },
    ...deltas,
    { type: 'content_block_stop', ...{ index: 0 } },
    { type: 'message_delta', ...{ delta: { stop_reason: 'end_turn' }, usage: { output_tokens: output } } },
    { type: 'message_stop' },
  ];
}

export function sse(events: readonly { type: string }[]): string {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
}
