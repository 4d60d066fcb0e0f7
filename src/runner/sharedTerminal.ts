import type { Disposable } from '../base/disposable.ts';
import { concat } from '../base/lines.ts';
import type { EngineTerminal } from '../engine/engine.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { Terminal, TerminalEnd, TerminalSize } from '../protocol/terminal.ts';

/** How much of what was printed last is kept for those who come later, in bytes. */
const replayBytes = 256 << 10;
/** The program waits while not even the fastest viewer is below this, in bytes. */
const highWater = 256 << 10;
/** A viewer that lags behind others by so much is let go, in bytes. */
const slowBytes = 1 << 20;
/** Pieces that wait are joined up to this, in bytes. */
const joinBytes = 4096;

/**
 * What a terminal is asked and answers by itself: where its cursor is, what it can do, what its colours are. Shown once more
 * it would answer once more, and the shell would take that for typed.
 */
const questions =
  /\x1b\[[>=?]?[\d;]*[cn]|\x1b\[\??[\d;]*\$p|\x1b\[>[\d;]*q|\x1b\](?:4;\d+|1\d);\?(?:\x07|\x1b\\)|\x1bP[$+]q[^\x1b]*\x1b\\|\x05/g;

/** One terminal for several viewers: all see the same, and any may type. */
export class SharedTerminal implements Disposable {
  private readonly source: EngineTerminal;
  private readonly judge: (code: number) => Promise<TerminalEnd>;
  private readonly viewers = new Set<Viewer>();
  /** A ring of what was printed last. */
  private readonly kept = Buffer.alloc(replayBytes);
  /** Where its next byte goes. */
  private keptAt = 0;
  /** Bytes in all. */
  private printed = 0;
  private size: TerminalSize;
  private end: TerminalEnd | undefined;
  private moved: (() => void) | undefined;
  private resizing: Promise<void> | undefined;
  /** Resolves when it is over. Never rejects. */
  readonly over: Promise<void>;

  /** @param judge says how it ended, of the exit code */
  constructor(
    source: EngineTerminal,
    size: TerminalSize,
    judge: (code: number) => Promise<TerminalEnd> = (code) => Promise.resolve({ reason: 'exit', code }),
  ) {
    this.source = source;
    this.size = size;
    this.judge = judge;
    this.over = this.pump();
  }

  /** One more viewer. */
  view(size: TerminalSize): Terminal {
    const viewer = new Viewer(size, {
      left: () => {
        this.viewers.delete(viewer);
        this.fit();
        this.moved?.();
      },
      read: () => this.moved?.(),
      resized: () => this.fit(),
      write: (data) => this.source.write(data),
    });
    viewer.push(this.replay());
    if (this.end !== undefined) {
      viewer.finish(this.end);
      return viewer;
    }
    this.viewers.add(viewer);
    this.fit();
    return viewer;
  }

  /** Lets all viewers go. */
  dispose(): void {
    this.finish({ reason: 'gone' });
  }

  private async pump(): Promise<void> {
    try {
      for await (const chunk of this.source.output) {
        this.keep(chunk);
        for (const viewer of this.viewers) viewer.push(chunk);
        await this.room();
        if (this.end !== undefined) return;
      }
      this.finish(await this.judge(await this.source.ended));
    } catch {
      this.finish({ reason: 'gone' });
    }
  }

  /** Resolves when somebody is ready for more. Without a viewer the program goes on. */
  private async room(): Promise<void> {
    for (;;) {
      for (const viewer of this.viewers) if (viewer.waiting > slowBytes) viewer.finish({ reason: 'slow' });
      const waiting = [...this.viewers].map((viewer) => viewer.waiting);
      if (this.end !== undefined || waiting.length === 0 || Math.min(...waiting) < highWater) return;
      await new Promise<void>((resolve) => (this.moved = resolve));
      this.moved = undefined;
    }
  }

  private keep(chunk: Uint8Array): void {
    const rest = chunk.subarray(-replayBytes);
    const first = rest.subarray(0, replayBytes - this.keptAt);
    this.kept.set(first, this.keptAt);
    this.kept.set(rest.subarray(first.length));
    this.keptAt = (this.keptAt + rest.length) % replayBytes;
    this.printed += chunk.length;
  }

  /** From the beginning of a line, so that no character and no escape sequence is cut. */
  private replay(): Uint8Array {
    const older = this.printed > replayBytes ? this.kept.subarray(this.keptAt) : this.kept.subarray(0, 0);
    const newer = this.kept.subarray(0, this.printed === replayBytes ? replayBytes : this.keptAt);
    const all = Buffer.concat([older, newer]);
    const from = this.printed > replayBytes ? all.indexOf(0x0a) + 1 : 0;
    return Buffer.from(all.subarray(from).toString('latin1').replaceAll(questions, ''), 'latin1');
  }

  /** As large as all viewers can show. */
  private fit(): void {
    if (this.end !== undefined || this.viewers.size === 0) return;
    const sizes = [...this.viewers].map((viewer) => viewer.size);
    const cols = Math.min(...sizes.map((size) => size.cols));
    const rows = Math.min(...sizes.map((size) => size.rows));
    if (cols === this.size.cols && rows === this.size.rows) return;
    this.size = { cols, rows };
    this.resizing ??= this.resize().finally(() => (this.resizing = undefined));
  }

  /** One at a time: the last one counts, and two on their way could overtake each other. */
  private async resize(): Promise<void> {
    for (let told: TerminalSize | undefined; told !== this.size && this.end === undefined;) {
      told = this.size;
      // A terminal that is gone says so by its end.
      await this.source.resize(told).catch(() => undefined);
    }
  }

  private finish(end: TerminalEnd): void {
    this.end ??= end;
    for (const viewer of this.viewers) viewer.finish(this.end);
    this.moved?.();
  }
}

interface Seat {
  left(): void;
  read(): void;
  resized(): void;
  write(data: Uint8Array): Promise<void>;
}

class Viewer implements Terminal {
  size: TerminalSize;
  /** Bytes that were not read yet. */
  waiting = 0;
  private readonly seat: Seat;
  private readonly queue: Uint8Array[] = [];
  private wake: (() => void) | undefined;
  private over = false;
  private resolveEnded: (end: TerminalEnd) => void = () => undefined;
  readonly ended: Promise<TerminalEnd>;
  readonly output: ByteStream;

  constructor(size: TerminalSize, seat: Seat) {
    this.size = size;
    this.seat = seat;
    this.ended = new Promise((resolve) => (this.resolveEnded = resolve));
    this.output = this.read();
  }

  push(chunk: Uint8Array): void {
    if (this.over || chunk.length === 0) return;
    const last = this.queue.at(-1);
    // Many small pieces would take far more memory than their bytes.
    if (last !== undefined && last.length + chunk.length <= joinBytes)
      this.queue[this.queue.length - 1] = concat([last, chunk]);
    else this.queue.push(chunk);
    this.waiting += chunk.length;
    this.wake?.();
  }

  async write(data: Uint8Array): Promise<void> {
    if (!this.over) await this.seat.write(data);
  }

  resize(size: TerminalSize): void {
    this.size = size;
    if (!this.over) this.seat.resized();
  }

  /** What is there is still read, but by one who was too slow. */
  finish(end: TerminalEnd): void {
    if (this.over) return;
    this.over = true;
    if (end.reason === 'slow' || end.reason === 'left') this.queue.length = 0;
    this.resolveEnded(end);
    this.seat.left();
    this.wake?.();
  }

  dispose(): void {
    this.finish({ reason: 'left' });
  }

  private async *read(): ByteStream {
    for (;;) {
      const chunk = this.queue.shift();
      if (chunk !== undefined) {
        this.waiting -= chunk.length;
        this.seat.read();
        yield chunk;
        continue;
      }
      if (this.over) return;
      await new Promise<void>((resolve) => (this.wake = resolve));
      this.wake = undefined;
    }
  }
}
