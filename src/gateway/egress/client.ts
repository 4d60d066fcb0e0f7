import type { Socket } from 'node:net';

/** What of a client's bytes is held before somebody takes them, in bytes. */
const maxHeld = 64 << 10;

/**
 * A client's connection until its bytes go somewhere: holds what comes, up to a bound, and knows when the client is gone,
 * also while nobody asks for its bytes.
 */
export class Client {
  readonly socket: Socket;
  /** First byte, or else the connection, in ms since the epoch. */
  started = Date.now();
  private held: Buffer[] = [];
  private heldBytes = 0;
  private ended = false;
  private readonly goneController = new AbortController();
  private wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', this.onData);
    socket.on('end', this.onEnd);
    socket.on('close', this.onEnd);
    socket.on('error', this.onError);
  }

  /** Aborts when the client ends or breaks off its connection. */
  get gone(): AbortSignal {
    return this.goneController.signal;
  }

  get bytes(): number {
    return this.heldBytes;
  }

  /** What is held, in one piece; it stays held. */
  peek(): Buffer {
    const [first] = this.held;
    if (this.held.length === 1 && first !== undefined) return first;
    const whole = Buffer.concat(this.held);
    this.held = [whole];
    return whole;
  }

  /** Takes the first `length` bytes away. */
  skip(length: number): void {
    const rest = this.peek().subarray(length);
    this.held = [rest];
    this.heldBytes = rest.length;
    if (!this.ended && this.heldBytes < maxHeld) this.socket.resume();
  }

  /** Resolves when more has come; `ended` when nothing will, `late` at the moment `until` (ms since the epoch). */
  more(until: number): Promise<'more' | 'ended' | 'late'> {
    const before = this.heldBytes;
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle('late'), Math.max(0, until - Date.now()));
      const settle = (how: 'more' | 'ended' | 'late'): void => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve(how);
      };
      this.wake = () => {
        if (this.heldBytes > before) settle('more');
        else if (this.ended) settle('ended');
      };
      this.wake();
    });
  }

  /** Gives the paused socket to its next reader, with the bytes that were held. */
  release(): Buffer {
    this.socket.pause();
    this.letGo();
    const held = this.peek();
    this.held = [];
    this.heldBytes = 0;
    return held;
  }

  /** Sends the last words, and closes. */
  finish(words: string | Buffer, lingerMs: number): void {
    this.letGo();
    finish(this.socket, words, lingerMs);
  }

  private letGo(): void {
    this.socket.off('data', this.onData);
    this.socket.off('end', this.onEnd);
    this.socket.off('close', this.onEnd);
  }

  private readonly onData = (chunk: Buffer): void => {
    if (this.heldBytes === 0) this.started = Date.now();
    this.held.push(chunk);
    this.heldBytes += chunk.length;
    if (this.heldBytes >= maxHeld) this.socket.pause();
    this.wake?.();
  };

  private readonly onEnd = (): void => {
    if (this.ended) return;
    this.ended = true;
    this.goneController.abort();
    this.wake?.();
  };

  /** Told by `close`, which follows. */
  private readonly onError = (): void => undefined;
}

/** Sends the last words and closes; what the client still sends is thrown away, so that it can read them. */
export function finish(socket: Socket, words: string | Buffer, lingerMs: number): void {
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(timer));
  socket.once('end', () => socket.destroySoon());
  socket.end(words);
  socket.resume();
}
