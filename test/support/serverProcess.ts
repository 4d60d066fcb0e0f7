import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { freePort } from './server.ts';
import type { Turns } from './tasks.ts';

interface ServerProcessOptions {
  data: string;
  engine?: string;
  /** Of the server's configuration. */
  env?: Record<string, string>;
  /** What the model of every task answers. */
  turns?: Turns;
}

/** How long a server may take to listen, in milliseconds: also where much else runs. */
const patience = 60_000;

/** A server as a process of its own, on one port and one data folder, that is killed and started again. */
export class ServerProcess {
  readonly port: number;
  token = '';
  /** The newest of what it has printed. */
  printed = '';
  private readonly options: ServerProcessOptions;
  private child: ChildProcess | undefined;

  private constructor(options: ServerProcessOptions, port: number) {
    this.options = options;
    this.port = port;
  }

  static async start(options: ServerProcessOptions): Promise<ServerProcess> {
    const server = new ServerProcess(options, await freePort());
    await server.start();
    return server;
  }

  get url(): string {
    return `http://localhost:${this.port}`;
  }

  async start(): Promise<void> {
    const { data, engine, env = {}, turns = [{ text: 'Done.' }] } = this.options;
    const token = this.token === '' ? {} : { token: this.token };
    const settings = { data, engine, env, turns, port: this.port, ...token };
    const child = fork(
      fileURLToPath(new URL('serverProcessMain.ts', import.meta.url)),
      [JSON.stringify(settings)],
      {
        execArgv: ['--disable-warning=ExperimentalWarning'],
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      },
    );
    this.child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.on(
        'data',
        (text: Buffer) => (this.printed = `${this.printed}${text.toString()}`.slice(-20_000)),
      );
    const said = await Promise.race([
      once(child, 'message', { signal: AbortSignal.timeout(patience) }),
      once(child, 'exit').then(() => undefined),
    ]).catch(() => undefined);
    if (said === undefined) {
      child.kill('SIGKILL');
      throw new Error(`The server did not start:\n${this.printed}`);
    }
    ({ token: this.token } = (said as [{ token: string }])[0]);
  }

  /** Without a word of farewell, or with one. Resolves when the process is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }
}
