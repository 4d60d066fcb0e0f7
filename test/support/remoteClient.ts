import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import {
  createRemoteTaskService,
  type ConnectionStatus,
  type RemoteTaskOptions,
  type RemoteTaskService,
} from '../../src/remote/remoteTasks.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';

/** Patience of a test, in milliseconds. */
const patience = 45_000;

/** A user's machine with a client of a runner, and a data folder of its own. */
export class RemoteClient {
  readonly data: string;
  readonly log: string[] = [];
  readonly troubles: string[] = [];
  token = 'slp_good';
  service: RemoteTaskService;
  private readonly url: string;
  private readonly options: Partial<RemoteTaskOptions>;

  private constructor(url: string, data: string, options: Partial<RemoteTaskOptions>) {
    this.url = url;
    this.data = data;
    this.options = options;
    this.service = undefined as unknown as RemoteTaskService;
  }

  static async open(url: string, options: Partial<RemoteTaskOptions> = {}): Promise<RemoteClient> {
    const client = new RemoteClient(url, await mkdtemp(join(tmpdir(), 'sallyport-client-')), options);
    client.service = await client.another();
    return client;
  }

  /** One more service on the same data, as a second window has it. */
  async another(): Promise<RemoteTaskService> {
    const line = (level: string) => (message: string) => void this.log.push(`${level} ${message}`);
    const service = await createRemoteTaskService({
      url: this.url,
      token: () => Promise.resolve(this.token),
      dataFolder: this.data,
      policy: () => defaultPolicy,
      log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
      backoff: { first: 5, most: 100, random: Math.random },
      ...this.options,
    });
    service.onTrouble((error) => this.troubles.push(`${error.code}: ${error.message}`));
    return service;
  }

  /** As after a restart of the editor. */
  async reopen(): Promise<void> {
    this.service.dispose();
    await new Promise((passed) => setTimeout(passed, 50));
    this.service = await this.another();
    await this.service.open();
  }

  async status(kind: ConnectionStatus['kind']): Promise<ConnectionStatus> {
    await until(() => this.service.connectionStatus().kind === kind, `the status ${kind}`, this.log);
    return this.service.connectionStatus();
  }

  /** What is in the mirror, once it holds event number `n`. */
  async eventsUpTo(id: string, n: number): Promise<TaskEvent[]> {
    await until(() => (this.service.task(id)?.lastEvent ?? 0) >= n, `event ${n} of ${id}`, [
      ...this.log,
      ...this.troubles,
    ]);
    const all: TaskEvent[] = [];
    const enough = new AbortController();
    for await (const batch of this.service.events(id, 0, enough.signal)) {
      all.push(...batch);
      if (all.length >= n) enough.abort();
    }
    return all;
  }

  async close(): Promise<void> {
    this.service.dispose();
    await new Promise((passed) => setTimeout(passed, 20));
    await rm(this.data, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}

/** Waits until it holds. */
export async function until(holds: () => boolean, what: string, said: readonly string[] = []): Promise<void> {
  const end = Date.now() + patience;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`${what} did not come about:\n${said.slice(-30).join('\n')}`);
    await new Promise((passed) => setTimeout(passed, 5));
  }
}
