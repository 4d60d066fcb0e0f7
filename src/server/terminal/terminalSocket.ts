import type { WebSocket } from '@fastify/websocket';
import { closeCodes } from '../../protocol/runnerApi.ts';
import {
  type Terminal,
  type TerminalMessage,
  TerminalRequest,
  type TerminalSize,
} from '../../protocol/terminal.ts';
import type { ServerContext } from '../context.ts';
import { problemOf } from '../http/problem.ts';
import type { Principal } from '../principal.ts';

/** What a terminal's socket may take; times in milliseconds. */
export interface TerminalLimits {
  perUser: number;
  /** What was typed and the shell has not read yet. */
  typedBytes: number;
  /** A viewer that takes nothing for so long is closed. */
  slowMs: number;
  /** So long it may then still hear why. */
  graceMs: number;
  heartbeatMs: number;
  /** A viewer that gives no sign for so long is gone. */
  silenceMs: number;
  /** How often viewers and their credentials are looked at. */
  sweepMs: number;
}

export const terminalLimits: TerminalLimits = {
  perUser: 50,
  typedBytes: 1 << 20,
  slowMs: 30_000,
  graceMs: 5000,
  heartbeatMs: 20_000,
  silenceMs: 75_000,
  sweepMs: 1000,
};

interface Options {
  context: Pick<ServerContext, 'auth' | 'tasks'>;
  limits: TerminalLimits;
  principal: Principal;
  /** The shell is there. */
  opened: () => void;
}

/** One viewer of a task's terminal, at the other end of a WebSocket. What goes through is not looked at. */
export class TerminalSocket {
  private readonly socket: WebSocket;
  private readonly options: Options;
  private principal: Principal;
  private terminal: Terminal | undefined;
  private size: TerminalSize | undefined;
  private readonly typed: Uint8Array[] = [];
  private typedBytes = 0;
  private typing = false;
  /** Since when the viewer has a piece to take. */
  private sendingSince: number | undefined;
  private heardAt = performance.now();
  private pingedAt = performance.now();
  private leaving: NodeJS.Timeout | undefined;

  constructor(socket: WebSocket, options: Options) {
    this.socket = socket;
    this.options = options;
    this.principal = options.principal;
    socket.on('pong', () => (this.heardAt = performance.now()));
    socket.on('message', (data, isBinary) => {
      this.heardAt = performance.now();
      if (this.leaving !== undefined) return;
      if (!Buffer.isBuffer(data)) this.close(closeCodes.badMessage, 'The message is none that is known.');
      else if (isBinary) this.take(data);
      else this.obey(data.toString());
    });
  }

  /** Resolves when the socket is closed or the terminal has ended. Throws what the terminal could not be opened for. */
  async serve(id: string, size: TerminalSize, signal: AbortSignal): Promise<void> {
    const sweep = setInterval(() => this.sweep(), this.options.limits.sweepMs);
    this.socket.on('close', () => {
      clearTimeout(this.leaving);
      this.terminal?.dispose();
    });
    try {
      const terminal = await this.open(id, size, signal);
      this.terminal = terminal;
      if (signal.aborted) return;
      this.options.opened();
      this.say({ type: 'opened' });
      if (this.size !== undefined) terminal.resize(this.size);
      void this.type();
      for await (const chunk of terminal.output) await this.show(chunk, signal);
      const end = await terminal.ended;
      if (end.reason === 'slow') this.close(closeCodes.tooSlow, 'The reader did not keep up.');
      else {
        this.say({ type: 'end', ...end });
        this.close(1000, end.reason);
      }
    } finally {
      clearInterval(sweep);
      this.terminal?.dispose();
    }
  }

  private async open(id: string, size: TerminalSize, signal: AbortSignal): Promise<Terminal> {
    try {
      return await this.options.context.tasks.terminal(this.principal.user, id, size, signal);
    } catch (thrown) {
      this.say({ type: 'problem', problem: problemOf(thrown) });
      throw thrown;
    }
  }

  private say(message: TerminalMessage): void {
    this.socket.send(JSON.stringify(message), { binary: false });
  }

  /** Resolves when it is on its way, or the socket is closed. */
  private async show(chunk: Uint8Array, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.leaving !== undefined) return;
    this.sendingSince = performance.now();
    await new Promise<void>((resolve) => this.socket.send(chunk, { binary: true }, () => resolve()));
    this.sendingSince = undefined;
  }

  private take(data: Uint8Array): void {
    this.typed.push(data);
    this.typedBytes += data.length;
    if (this.typedBytes > this.options.limits.typedBytes) {
      this.close(closeCodes.tooSlow, 'The shell does not read what is typed.');
      return;
    }
    void this.type();
  }

  /** One piece after the other, as the shell takes them. */
  private async type(): Promise<void> {
    if (this.typing) return;
    this.typing = true;
    for (let data = this.next(); data !== undefined; data = this.next()) {
      await this.terminal?.write(data);
      this.typedBytes -= data.length;
    }
    this.typing = false;
  }

  private next(): Uint8Array | undefined {
    return this.terminal === undefined || this.leaving !== undefined ? undefined : this.typed.shift();
  }

  private obey(text: string): void {
    const request = TerminalRequest.safeParse(jsonOf(text));
    if (!request.success) {
      this.close(closeCodes.badMessage, 'The message is none that is known.');
      return;
    }
    const { cols, rows } = request.data;
    this.size = { cols, rows };
    this.terminal?.resize(this.size);
  }

  /** Ends what is stalled or silent, and what is open for somebody who may not any more. */
  private sweep(): void {
    const { context, limits } = this.options;
    const now = performance.now();
    const renewed = context.auth.renew(this.principal);
    if (renewed === undefined) this.close(closeCodes.unauthorized, 'The credential is not valid any more.');
    else if (!renewed.scopes.has('tasks:write'))
      this.close(closeCodes.forbidden, 'The credential may not do this any more.');
    else this.principal = renewed;
    if (this.sendingSince !== undefined) {
      if (now - this.sendingSince > limits.slowMs)
        this.close(closeCodes.tooSlow, 'The reader did not keep up.');
    } else if (now - this.heardAt > limits.silenceMs) this.close(1001, 'The viewer did not answer.');
    else if (now - Math.max(this.heardAt, this.pingedAt) > limits.heartbeatMs) {
      this.pingedAt = now;
      this.socket.ping();
    }
  }

  /** Says why, and ends it in any case after a while. */
  private close(code: number, reason: string): void {
    if (this.leaving !== undefined) return;
    this.leaving = setTimeout(() => this.socket.terminate(), this.options.limits.graceMs);
    this.terminal?.dispose();
    this.socket.close(code, reason);
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
