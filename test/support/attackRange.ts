import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from '../../src/engine/engine.ts';
import type { Limits } from '../../src/protocol/task.ts';
import { labelNames } from '../../src/runner/sandboxNames.ts';
import { WeakContainers } from './attack.ts';
import { engines, type EngineKind } from './engines.ts';
import { Bench } from './tasks.ts';

/** The agent refuses to run a long `sleep`. */
const forever = 'tail -f /dev/null';

export interface Seen {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** A task that runs until it is stopped. */
export interface LongTask {
  id: string;
  sandbox: string;
  gateway: string;
  token: string;
}

/**
 * A real engine with real tasks on it, whose model's service is a server of the test's: it gets the credential from the
 * gateway and answers from a script.
 */
export class AttackRange {
  readonly kind: EngineKind;
  readonly engine: Engine;
  readonly bench: Bench;
  readonly weak: WeakContainers;
  /** The credential that nobody in a sandbox may see. */
  readonly secret: string;
  /** Every request that came to the model's service. */
  readonly seen: Seen[];
  private ownTask: LongTask | undefined;
  /** The model's service, from a gateway. */
  readonly serviceUrl: string;
  private readonly service: Server;

  private constructor(fields: {
    kind: EngineKind;
    engine: Engine;
    bench: Bench;
    weak: WeakContainers;
    secret: string;
    seen: Seen[];
    service: Server;
  }) {
    this.kind = fields.kind;
    this.engine = fields.engine;
    this.bench = fields.bench;
    this.weak = fields.weak;
    this.secret = fields.secret;
    this.seen = fields.seen;
    this.service = fields.service;
    this.serviceUrl = `http://${hostName(fields.kind)}:${(fields.service.address() as AddressInfo).port}`;
  }

  static async open(kind: EngineKind): Promise<AttackRange> {
    const bench = await Bench.open((await engines())[kind]);
    const seen: Seen[] = [];
    const service = createServer((request, response) => {
      const record = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: '',
      };
      seen.push(record);
      request.on('data', (chunk: Buffer) => (record.body += chunk.toString('latin1')));
      request.on('end', () => answer(response));
    }).listen(0, '0.0.0.0');
    await once(service, 'listening');
    const engine = await bench.engine();
    const secret = `sk-ant-api03-${randomBytes(24).toString('hex')}`;
    const range = new AttackRange({
      kind,
      engine,
      bench,
      weak: new WeakContainers(engine),
      secret,
      seen,
      service,
    });
    try {
      // Whatever builds the image is the product's own way.
      const { sandbox } = (range.ownTask = await range.startTask());
      await range.weak.takeImageOf(sandbox);
    } catch (thrown) {
      await range.close();
      throw thrown;
    }
    return range;
  }

  /** Submits a task and waits until its agent works. */
  async startTask(limits: Partial<Limits> = {}): Promise<LongTask> {
    this.bench.demonstration = false;
    this.bench.upstream = {
      kind: 'anthropic',
      baseUrl: this.serviceUrl,
      auth: { type: 'api_key', value: this.secret },
    };
    const repositoryPath = await this.bench.repository();
    const { spec } = await this.bench.service.submit({
      prompt: 'Do it.',
      snapshot: 'head',
      repositoryPath,
      limits,
    });
    const events = await this.bench.events(spec.id, (event) => event.type === 'tool_use');
    assert.ok(
      events.some((event) => event.type === 'tool_use'),
      `the agent did not begin: ${JSON.stringify(events.slice(-3))}`,
    );
    const all = await this.engine.list({ [labelNames.task]: spec.id });
    const of = (role: string): string => {
      const found = all.find((one) => one.labels[labelNames.role] === role);
      assert.ok(found, `no ${role}`);
      return found.id;
    };
    const token = await readFile(join(this.bench.data, 'tasks', spec.id, 'token'), 'utf8');
    return { id: spec.id, sandbox: of('sandbox'), gateway: of('gateway'), token };
  }

  async endTask(id: string): Promise<void> {
    await this.bench.service.stop(id);
    await this.bench.events(id);
  }

  /** The task that is there from the beginning. */
  get task(): LongTask {
    assert.ok(this.ownTask);
    return this.ownTask;
  }

  get servicePort(): number {
    return (this.service.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    await this.weak.dispose();
    await this.bench.close();
    this.engine.dispose();
    this.service.closeAllConnections();
    this.service.close();
  }
}

/** The name under which a container on an engine's bridge finds this machine. */
export function hostName(kind: EngineKind): string {
  return kind === 'docker' ? 'host.docker.internal' : 'host.containers.internal';
}

/** Every answer is the same call of a command that does not end, as an Anthropic stream. */
function answer(response: ServerResponse): void {
  const usage = {
    input_tokens: 1,
    output_tokens: 1,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
  };
  const block = { type: 'tool_use', id: 'toolu_1', name: 'Bash' };
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'test', content: [], usage };
  const events = [
    { type: 'message_start', message: { ...message, stop_reason: null, stop_sequence: null } },
    { type: 'content_block_start', index: 0, content_block: { ...block, input: {} } },
    {
      type: 'content_block_delta',
      index: 0,
      delta: {
        type: 'input_json_delta',
        partial_json: JSON.stringify({ command: forever, timeout: 600_000 }),
      },
    },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage },
    { type: 'message_stop' },
  ];
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''));
}
