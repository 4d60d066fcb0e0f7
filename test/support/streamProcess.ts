import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { StreamLimits } from '../../src/server/streams/limits.ts';
import type { Look } from './streamServerMain.ts';

/** A server of streams in another process. */
export class StreamProcess {
  readonly port: number;
  private readonly child: ChildProcess;
  private asking: Promise<unknown> = Promise.resolve();

  private constructor(child: ChildProcess, port: number) {
    this.child = child;
    this.port = port;
  }

  static async start(limits: Partial<StreamLimits> = {}): Promise<StreamProcess> {
    const child = fork(
      fileURLToPath(new URL('streamServerMain.ts', import.meta.url)),
      [JSON.stringify(limits)],
      {
        execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      },
    );
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    return new StreamProcess(child, port);
  }

  async addTasks(count: number): Promise<string[]> {
    return (await this.ask<{ tasks: string[] }>({ op: 'add', count })).tasks;
  }

  /** Each of the tasks says so many events in each round. Resolves when all is in the files. */
  async say(options: {
    tasks: string[];
    rounds: number;
    events: number;
    length: number;
    everyMs?: number;
  }): Promise<void> {
    await this.ask({ op: 'say', everyMs: 0, ...options });
  }

  look(): Promise<Look> {
    return this.ask({ op: 'look' });
  }

  /** Resolves to the exit code once nothing keeps the process any more. */
  async stop(): Promise<number | null> {
    const exited = once(this.child, 'exit') as Promise<[number | null]>;
    this.child.send({ op: 'stop' });
    const [code] = await exited;
    return code;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  /** One order after another. */
  private ask<T>(order: unknown): Promise<T> {
    const answer = this.asking.then(async () => {
      const answered = once(this.child, 'message') as Promise<[T]>;
      this.child.send(order as object);
      return (await answered)[0];
    });
    this.asking = answer.catch(() => undefined);
    return answer;
  }
}
