import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createRemoteTaskService } from '../../src/remote/remoteTasks.ts';
import type { TaskService } from '../../src/runner/taskService.ts';
import type { UserPolicy } from '../../src/runner/userPolicy.ts';
import { freePort, startTestServer, type TestServer } from './server.ts';
import { Bench } from './tasks.ts';

interface Kept {
  port: number;
  token: string;
}

/** The same user, whose tasks run on a real server that they reach over HTTP. */
export class RemoteBench extends Bench {
  private server: TestServer | undefined;

  static override async open(
    address: string,
    {
      data,
      containerFolder = join(resolve(import.meta.dirname, '..', '..'), 'container'),
      policy,
    }: { data?: string; containerFolder?: string; policy?: UserPolicy } = {},
  ): Promise<Bench> {
    const folder = data ?? (await mkdtemp(join(tmpdir(), 'sallyport-home-')));
    const bench = new RemoteBench(folder, address, containerFolder, undefined);
    if (policy !== undefined) bench.policy = policy;
    bench.service = await bench.another();
    return bench;
  }

  override get home(): string {
    return join(this.data, 'server');
  }

  override async another(): Promise<TaskService> {
    const { port, token } = await this.begin();
    return await createRemoteTaskService({
      url: `http://localhost:${port}`,
      token: () => Promise.resolve(token),
      dataFolder: this.data,
      policy: () => this.policy,
      log: this.logger(),
      backoff: { first: 50, most: 1000, random: Math.random },
    });
  }

  /** Starts the server, on the port and with the token that it had before. */
  private async begin(): Promise<Kept> {
    const path = join(this.data, 'server.json');
    const kept = await readFile(path, 'utf8').then(
      (text) => JSON.parse(text) as Kept,
      () => undefined,
    );
    if (this.server !== undefined && kept !== undefined) return kept;
    await mkdir(this.home, { recursive: true });
    const port = kept?.port ?? (await freePort());
    this.server = await startTestServer({
      engine: this.address,
      data: this.home,
      port,
      containerFolder: this.containerFolder,
      credentials: () => this.credentials(),
      policy: this.policy,
      ...(this.logBytes === undefined ? {} : { logBytes: this.logBytes }),
      env: { SALLYPORT_PARALLEL: '8' },
    });
    if (kept !== undefined) return kept;
    const fresh = { port, token: await this.server.adminToken() };
    await writeFile(path, JSON.stringify(fresh));
    return fresh;
  }

  override async leave(): Promise<void> {
    await super.leave();
    this.log.push(...(this.server?.log.splice(0) ?? []).map((line) => `server: ${line}`));
    await this.server?.running.close();
    this.server = undefined;
  }

  override async logText(id: string): Promise<string> {
    const remote = join(this.data, 'remote');
    const [mirror = ''] = await readdir(remote);
    return await readFile(join(remote, mirror, 'tasks', id, 'events.ndjson'), 'utf8');
  }
}
