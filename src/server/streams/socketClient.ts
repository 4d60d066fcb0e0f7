import type { WebSocket } from '@fastify/websocket';
import type { TaskView } from '../../protocol/runnerApi.ts';
import type { Principal } from '../principal.ts';
import { type Connection, type Farewell, farewells, type StreamClient, type StreamHub } from './hub.ts';
import { SocketSink } from './socketSink.ts';

/** What a socket's owner wants to hear. */
export interface SocketEars {
  message?: (text: string) => void;
  renewed?: () => void;
  changed?: (view: TaskView) => void;
  removed?: (id: string) => void;
}

/** The life of one WebSocket: liveness, slowness, its end with a code. Its messages are text. */
export class SocketClient implements StreamClient {
  readonly sink: SocketSink;
  readonly connection: Connection;
  /** Aborts when the socket is closed, from whichever side. */
  readonly signal: AbortSignal;
  private readonly socket: WebSocket;
  private readonly hub: StreamHub;
  private readonly gone = new AbortController();
  private heardAt = performance.now();
  private pingedAt = performance.now();
  private messages = 0;
  private leaving: NodeJS.Timeout | undefined;
  private readonly on: SocketEars;

  /** Throws `too_many_requests`. */
  constructor(hub: StreamHub, socket: WebSocket, principal: Principal, on: SocketEars = {}) {
    this.hub = hub;
    this.socket = socket;
    this.signal = this.gone.signal;
    this.on = on;
    this.sink = new SocketSink(socket, hub.limits.inFlightBytes);
    this.connection = hub.connect(principal, this);
    socket.on('pong', () => (this.heardAt = performance.now()));
    socket.on('message', (data, isBinary) => {
      this.heardAt = performance.now();
      if (this.leaving !== undefined || this.gone.signal.aborted) return;
      this.messages += 1;
      if (isBinary || !Buffer.isBuffer(data)) this.close(farewells.badMessage);
      else on.message?.(data.toString());
    });
    socket.on('close', () => {
      clearTimeout(this.leaving);
      this.connection.dispose();
      this.gone.abort();
    });
  }

  look(): Farewell | undefined {
    const { slowMs, heartbeatMs, silenceMs, messagesPerSweep } = this.hub.limits;
    const now = performance.now();
    const talks = this.messages > messagesPerSweep;
    this.messages = 0;
    if (this.leaving !== undefined) return undefined;
    if (talks) return farewells.badMessage;
    const stalled = this.sink.stalledMs();
    if (stalled > slowMs) return farewells.tooSlow;
    if (stalled > 0) return undefined;
    if (now - this.heardAt > silenceMs) return farewells.silent;
    if (now - Math.max(this.heardAt, this.pingedAt) > heartbeatMs) {
      this.pingedAt = now;
      this.socket.ping();
    }
    return undefined;
  }

  renewed(): void {
    this.on.renewed?.();
  }

  changed(view: TaskView): void {
    if (!this.signal.aborted) this.on.changed?.(view);
  }

  removed(id: string): void {
    if (!this.signal.aborted) this.on.removed?.(id);
  }

  /** Says why, and ends it in any case after a while. */
  close(farewell: Farewell): void {
    if (this.leaving !== undefined || this.gone.signal.aborted) return;
    const { code, reason } = farewell;
    this.gone.abort();
    if (farewell === farewells.silent) {
      this.socket.terminate();
      return;
    }
    this.leaving = setTimeout(() => this.socket.terminate(), this.hub.limits.graceMs);
    this.socket.close(code, reason);
  }
}
