import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { freePort } from './server.ts';

const program = resolve(import.meta.dirname, '..', '..', 'dist', 'runner.js');

/** The packaged server of a runner, as a process of its own that can be killed. It has the demonstration model. */
export class RunnerProcess {
  readonly url: string;
  private readonly port: number;
  private readonly data: string;
  private readonly host: string;
  private child: ChildProcess | undefined;
  private printed = '';

  private constructor(data: string, host: string, port: number) {
    this.data = data;
    this.host = host;
    this.port = port;
    this.url = `http://${host}:${port}`;
  }

  /** @param host another address of the loopback: what VS Code in a browser takes for this machine it leads through itself */
  static async start(data: string, host = 'localhost'): Promise<RunnerProcess> {
    const runner = new RunnerProcess(data, host, await freePort());
    await runner.start();
    return runner;
  }

  /** Again, after it was killed: the same data, the same port. */
  async start(): Promise<void> {
    const engine = process.env['SALLYPORT_TEST_DOCKER'];
    this.printed = '';
    const child = spawn(process.execPath, [program, 'serve'], {
      env: {
        PATH: process.env['PATH'],
        HOME: this.data,
        SALLYPORT_HOME: this.data,
        SALLYPORT_PORT: String(this.port),
        SALLYPORT_DEMONSTRATION: '1',
        ...(this.host === 'localhost' ? {} : { SALLYPORT_HOST: this.host, SALLYPORT_PUBLIC_URL: this.url }),
        ...(engine === undefined ? {} : { SALLYPORT_ENGINE: engine }),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on(
        'data',
        (text: Buffer) => (this.printed = `${this.printed}${text.toString()}`.slice(-20_000)),
      );
    const end = Date.now() + 60_000;
    while (!(await fetch(`${this.url}/api/v1/version`).catch(() => undefined))?.ok) {
      if (child.exitCode !== null || Date.now() > end) throw new Error(`No server:\n${this.printed}`);
      await new Promise((passed) => setTimeout(passed, 50));
    }
  }

  /** Makes the administrator with the link from its log, and a token of his. */
  async token(): Promise<string> {
    const end = Date.now() + 60_000;
    let secret: string | undefined;
    while ((secret = /\/setup#(\S+)/.exec(this.printed)?.[1]) === undefined) {
      if (Date.now() > end) throw new Error(`No link to set it up:\n${this.printed}`);
      await new Promise((passed) => setTimeout(passed, 50));
    }
    const set = await this.post('/auth/setup', { secret, ...administrator });
    const cookie = set.headers
      .getSetCookie()
      .map((one) => one.split(';', 1)[0] ?? '')
      .filter((one) => !one.endsWith('='))
      .join('; ');
    const made = await this.post('/api/v1/tokens', { name: 'The editor' }, { cookie });
    return ((await made.json()) as { token: string }).token;
  }

  /** What an administrator asks of it. */
  private async post(path: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
    const answer = await fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: this.url, ...headers },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  /** Without a word of farewell. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.end('SIGTERM');
  }

  private async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), 60_000);
    await gone;
    clearTimeout(late);
  }
}

export const administrator = { login: 'ada', name: 'Ada', password: 'correct horse battery' };
