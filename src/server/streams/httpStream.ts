import type { TaskView } from '../../protocol/runnerApi.ts';
import type { Call } from '../http/router.ts';
import { asking } from '../principal.ts';
import { type Connection, type Farewell, farewells, type StreamClient, type StreamHub } from './hub.ts';
import { pieceBytes } from './socketSink.ts';

/**
 * An answer that goes on for as long as there is something to say. Its reader is looked at like that of a socket: one
 * that takes nothing, or may not any more, is cut off.
 */
export class HttpStream implements StreamClient {
  readonly connection: Connection;
  /** Aborts when it is over, from whichever side. */
  readonly signal: AbortSignal;
  /** Why the server ended it. */
  farewell: Farewell | undefined;
  private readonly hub: StreamHub;
  private readonly call: Call;
  /** What is cut off must not look whole. */
  private readonly whole: boolean;
  private readonly gone = new AbortController();
  /** Since when the reader has not asked for more; undefined while it waits. */
  private givenAt: number | undefined;

  /**
   * Throws `too_many_requests`.
   * @param options `whole`: the answer is good for nothing unless all of it is there
   */
  constructor(hub: StreamHub, call: Call, { whole = false }: { whole?: boolean } = {}) {
    this.whole = whole;
    this.hub = hub;
    this.call = call;
    this.signal = this.gone.signal;
    this.connection = hub.connect(asking(call.principal), this);
    const left = (): void => {
      this.connection.dispose();
      this.gone.abort();
    };
    call.signal.addEventListener('abort', left, { once: true });
    call.reply.raw.on('close', left);
    if (call.signal.aborted || call.reply.raw.destroyed) left();
  }

  /** Passes on what `source` says, as fast as the reader takes it. */
  async *pass(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    const { raw } = this.call.reply;
    // Who asks is to know that it is heard, even where nothing is to be told yet.
    setImmediate(() => {
      if (!raw.headersSent && !raw.destroyed) raw.flushHeaders();
    });
    try {
      for await (const piece of source) {
        if (this.gone.signal.aborted && this.farewell === undefined) return;
        for (let at = 0; at < piece.length; at += pieceBytes) {
          this.givenAt = performance.now();
          yield piece.subarray(at, at + pieceBytes);
          this.givenAt = undefined;
        }
      }
    } finally {
      this.connection.dispose();
      this.gone.abort();
    }
  }

  look(): Farewell | undefined {
    if (this.givenAt === undefined || performance.now() - this.givenAt <= this.hub.limits.slowMs)
      return undefined;
    return farewells.tooSlow;
  }

  close(farewell: Farewell): void {
    if (this.gone.signal.aborted) return;
    this.farewell = farewell;
    this.connection.dispose();
    this.gone.abort();
    // Who reads is told by what comes last; who does not is cut off.
    if (this.givenAt !== undefined || this.whole) this.call.reply.raw.destroy();
  }

  renewed(): void {
    // A stream of events says nothing of its reader.
  }

  changed(_view: TaskView): void {
    // Nor of tasks.
  }

  removed(_id: string): void {
    // What is being read is guarded by itself.
  }
}
