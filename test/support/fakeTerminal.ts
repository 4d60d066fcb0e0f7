import type { EngineTerminal } from '../../src/engine/engine.ts';
import type { TerminalSize } from '../../src/protocol/terminal.ts';

/** A program on a terminal, as an engine gives it, without one: a test says what it prints. */
export class FakeTerminal implements EngineTerminal {
  readonly sizes: TerminalSize[] = [];
  private readonly pieces: Uint8Array[] = [];
  /** Everything that was typed. */
  typed = '';
  /** How many bytes were printed and taken. */
  taken = 0;
  /** Holds what is typed while it is set. */
  deaf: Promise<void> | undefined;
  private code: number | undefined;
  private wake: (() => void) | undefined;
  private over: (code: number) => void = () => undefined;
  readonly ended: Promise<number>;
  readonly output;

  constructor() {
    this.ended = new Promise((resolve) => (this.over = resolve));
    this.output = this.read();
  }

  print(text: string | Uint8Array): void {
    this.pieces.push(typeof text === 'string' ? Buffer.from(text) : text);
    this.wake?.();
  }

  exit(code: number): void {
    this.code = code;
    this.wake?.();
    this.over(code);
  }

  async write(data: Uint8Array): Promise<void> {
    await this.deaf;
    this.typed += Buffer.from(data).toString();
  }

  resize(size: TerminalSize): Promise<void> {
    this.sizes.push(size);
    return Promise.resolve();
  }

  private async *read(): AsyncIterable<Uint8Array> {
    for (;;) {
      const piece = this.pieces.shift();
      if (piece !== undefined) {
        this.taken += piece.length;
        yield piece;
      } else if (this.code !== undefined) return;
      else await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}
