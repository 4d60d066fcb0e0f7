/** Bytes of a frame's header: stream number, three zeros, length. */
const headerBytes = 8;

/**
 * Parts the frames in which an engine sends stdout (1) and stderr (2). Payloads are handed out as they come, as views of
 * the chunks: nothing is joined and no byte is looked at but the headers. The last piece of a frame says so with
 * `length`, the bytes of the whole; an empty frame is one empty piece.
 */
export class Demultiplexer {
  private readonly header = new Uint8Array(headerBytes);
  private headerFilled = 0;
  private stream = 0;
  private length = 0;
  private left = 0;
  private readonly onData: (stream: number, data: Uint8Array, length: number | undefined) => void;

  constructor(onData: (stream: number, data: Uint8Array, length: number | undefined) => void) {
    this.onData = onData;
  }

  /** Throws on what are no frames. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.left > 0) {
        const stop = Math.min(chunk.length, at + this.left);
        this.left -= stop - at;
        this.onData(this.stream, chunk.subarray(at, stop), this.left === 0 ? this.length : undefined);
        at = stop;
        continue;
      }
      const take = Math.min(headerBytes - this.headerFilled, chunk.length - at);
      this.header.set(chunk.subarray(at, at + take), this.headerFilled);
      this.headerFilled += take;
      at += take;
      if (this.headerFilled < headerBytes) return;
      this.headerFilled = 0;
      const [stream = 0, a, b, c, ...length] = this.header;
      if (stream > 2 || a !== 0 || b !== 0 || c !== 0) {
        throw new Error('The engine sent a malformed stream frame');
      }
      this.stream = stream;
      this.length = length.reduce((sum, byte) => sum * 256 + byte, 0);
      this.left = this.length;
      if (this.length === 0) this.onData(stream, new Uint8Array(), 0);
    }
  }
}
