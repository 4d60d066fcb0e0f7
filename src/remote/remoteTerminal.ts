import { WebSocket } from 'ws';
import { SallyportError } from '../base/errors.ts';
import type { TaskId } from '../protocol/grammar.ts';
import { closeCodes } from '../protocol/runnerApi.ts';
import { TerminalMessage, type Terminal, type TerminalEnd, type TerminalSize } from '../protocol/terminal.ts';
import { failureOf, unreachable } from './runnerFailures.ts';
import { parseJson, readAll, type RunnerAccess } from './runnerHttp.ts';
import { paths } from './runnerPaths.ts';
import { openSocket } from './runnerSocket.ts';

/** Longest frame that is taken, and how much waits for the reader before the network is not read any more, in bytes. */
const maxFrameBytes = 4 << 20;
const most = 1 << 20;
const maxProblemBytes = 64 << 10;

/** Opens a viewer of a terminal on a runner. Throws what the runner says, or `runner_unreachable`. */
export async function openTerminal(
  access: RunnerAccess,
  id: TaskId,
  size: TerminalSize,
  signal: AbortSignal | undefined,
): Promise<Terminal> {
  const token = await access.token();
  signal?.throwIfAborted();
  const url = new URL(paths.terminal(id), access.url);
  url.searchParams.set('cols', String(size.cols));
  url.searchParams.set('rows', String(size.rows));
  const { socket, agent } = openSocket(access, url, token, maxFrameBytes);
  const terminal = new RemoteTerminal(socket);
  const leave = (): void => terminal.dispose();
  signal?.addEventListener('abort', leave, { once: true });
  void terminal.ended.then(() => {
    signal?.removeEventListener('abort', leave);
    agent.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    terminal.opened.then(resolve, reject);
    socket.on('error', (error) => reject(unreachable(url, error)));
    socket.on('unexpected-response', (request, answer) => {
      void readAll(answer, maxProblemBytes, url)
        .catch(() => Buffer.of())
        .then((body) => reject(failureOf(answer.statusCode ?? 0, parseJson(body))))
        .finally(() => {
          request.destroy();
          terminal.dispose();
        });
    });
    socket.on('close', (code: number) => reject(closedAtOnce(code)));
  });
  return terminal;
}

function closedAtOnce(code: number): SallyportError {
  if (code === closeCodes.unauthorized) return failureOf(401, undefined);
  if (code === closeCodes.forbidden) return failureOf(403, undefined);
  if (code === closeCodes.notFound) return failureOf(404, undefined);
  return new SallyportError('conflict', 'The runner opens no terminal.', 'Wait until the sandbox runs.');
}

class RemoteTerminal implements Terminal {
  readonly ended: Promise<TerminalEnd>;
  /** Resolves when the shell is there. */
  readonly opened: Promise<void>;
  readonly output;
  private readonly socket: WebSocket;
  private readonly waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private over = false;
  private wake: (() => void) | undefined;
  private end: (end: TerminalEnd) => void = () => undefined;
  private open: () => void = () => undefined;
  private refuse: (error: Error) => void = () => undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    this.ended = new Promise((resolve) => (this.end = resolve));
    this.opened = new Promise((resolve, reject) => {
      this.open = resolve;
      this.refuse = reject;
    });
    this.opened.catch(() => undefined);
    this.output = this.read();
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.take(data);
      else this.hear(data.toString());
    });
    socket.on('close', () => this.finish({ reason: 'gone' }));
    // Its `close` follows.
    socket.on('error', () => undefined);
  }

  private take(data: Buffer): void {
    if (this.over) return;
    this.waiting.push(data);
    this.waitingBytes += data.length;
    if (this.waitingBytes >= most) this.socket.pause();
    this.wake?.();
  }

  private hear(text: string): void {
    const message = TerminalMessage.safeParse(parseJson(Buffer.from(text)));
    if (!message.success) return;
    const { data } = message;
    if (data.type === 'opened') {
      this.open();
      return;
    }
    if (data.type === 'problem') {
      this.refuse(failureOf(data.problem.status, data.problem));
      this.dispose();
      return;
    }
    this.finish(data.reason === 'exit' ? { reason: 'exit', code: data.code } : { reason: data.reason });
    this.socket.close();
  }

  private finish(end: TerminalEnd): void {
    this.over = true;
    this.end(end);
    this.wake?.();
  }

  private async *read(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const next = this.waiting.shift();
      if (next !== undefined) {
        this.waitingBytes -= next.length;
        if (this.waitingBytes < most && this.socket.isPaused) this.socket.resume();
        yield next;
        continue;
      }
      if (this.over) return;
      await new Promise<void>((resolve) => (this.wake = resolve));
      this.wake = undefined;
    }
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      // Resolves too when the socket is gone: `ended` says so.
      this.socket.send(data, { binary: true }, () => resolve());
    });
  }

  resize(size: TerminalSize): void {
    if (this.socket.readyState === WebSocket.OPEN)
      this.socket.send(JSON.stringify({ type: 'resize', cols: size.cols, rows: size.rows }));
  }

  dispose(): void {
    this.finish({ reason: 'left' });
    this.waiting.length = 0;
    this.socket.terminate();
  }
}
