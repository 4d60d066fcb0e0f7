import { concat } from '../base/lines.ts';

/** Lines of git's wire protocol: four hexadecimal digits of length, then that much; `0000` ends a list. */

/** Longest line that the protocol has, in bytes, with its length. */
const maxLine = 65_520;

export const flush = Buffer.from('0000');

export function pktLine(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, '0')), bytes]);
}

/** Reads lines off a stream, and what comes after them. Throws an Error for what is none. */
export class PktReader {
  private readonly source: AsyncIterator<Uint8Array>;
  private held: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.source = source[Symbol.asyncIterator]();
  }

  /** A line's content; `flush` for the end of a list, `end` for that of the stream. */
  async next(): Promise<Buffer | 'flush' | 'end'> {
    if (!(await this.hold(4))) {
      if (this.held.length > 0) throw new Error('the answer ends within a line');
      return 'end';
    }
    const head = Buffer.from(this.held.subarray(0, 4)).toString('latin1');
    const length = /^[0-9a-f]{4}$/i.test(head) ? Number.parseInt(head, 16) : Number.NaN;
    if (length === 0) {
      this.held = this.held.subarray(4);
      return 'flush';
    }
    if (!(length >= 4 && length <= maxLine)) throw new Error('the answer is not one of git');
    if (!(await this.hold(length))) throw new Error('the answer ends within a line');
    const line = Buffer.from(this.held.subarray(4, length));
    this.held = this.held.subarray(length);
    return line;
  }

  /** Lets go of the stream. */
  async leave(): Promise<void> {
    await this.source.return?.();
  }

  /** Reads on until so many bytes are there; false when the stream ends before. */
  private async hold(length: number): Promise<boolean> {
    const parts = [this.held];
    let size = this.held.length;
    while (size < length) {
      const next = await this.source.next();
      if (next.done === true) break;
      parts.push(next.value);
      size += next.value.length;
    }
    if (parts.length > 1) this.held = concat(parts);
    return size >= length;
  }
}
