import type { ByteStream } from '../../src/protocol/runner.ts';

/** Whoever reads a terminal, and types into it. */
export class Screen {
  private readonly terminal: { output: ByteStream; write(data: Uint8Array): Promise<void> };
  private shown = '';
  private over = false;
  private wake: (() => void) | undefined;

  constructor(terminal: { output: ByteStream; write(data: Uint8Array): Promise<void> }) {
    this.terminal = terminal;
    void this.read();
  }

  type(text: string): Promise<void> {
    return this.terminal.write(Buffer.from(text));
  }

  /** Everything so far. */
  get text(): string {
    return this.shown;
  }

  /** Resolves when that was shown; what is shown before it is not looked at again. Throws after two minutes. */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    const late = Date.now() + 120_000;
    for (;;) {
      const found = pattern.exec(this.shown);
      if (found !== null) {
        this.shown = this.shown.slice(found.index + found[0].length);
        return found;
      }
      if (this.over || Date.now() > late)
        throw new Error(`${String(pattern)} was not shown: ${JSON.stringify(this.shown.slice(-2000))}`);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, 1000);
      });
    }
  }

  private async read(): Promise<void> {
    try {
      for await (const chunk of this.terminal.output) {
        this.shown += Buffer.from(chunk).toString();
        this.wake?.();
      }
    } catch {
      // The end of the terminal says why.
    }
    this.over = true;
    this.wake?.();
  }
}
