/**
 * Cuts a byte stream into lines without copying a growing buffer: chunks of an unfinished line are kept in a list and
 * joined once. A line longer than `maxBytes` is handed out in pieces of that size, the last of them with `end: true`.
 */
export class LineSplitter {
  private pending: Uint8Array[] = [];
  private pendingBytes = 0;
  private readonly onLine: (line: Uint8Array, end: boolean) => void;
  private readonly maxBytes: number;

  constructor(onLine: (line: Uint8Array, end: boolean) => void, maxBytes = 1 << 20) {
    this.onLine = onLine;
    this.maxBytes = maxBytes;
  }

  push(chunk: Uint8Array): void {
    let start = 0;
    while (start < chunk.length) {
      const room = this.maxBytes - this.pendingBytes;
      const newline = chunk.indexOf(10, start);
      const stop = newline === -1 ? chunk.length : newline;
      if (stop - start > room) {
        this.keep(chunk.subarray(start, start + room));
        this.emit(false);
        start += room;
        continue;
      }
      this.keep(chunk.subarray(start, stop));
      if (newline === -1) return;
      this.emit(true);
      start = newline + 1;
    }
  }

  /** Hands out what is left behind the last newline. */
  end(): void {
    if (this.pendingBytes > 0) this.emit(true);
  }

  private keep(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.pending.push(piece);
    this.pendingBytes += piece.length;
  }

  private emit(end: boolean): void {
    const [only, ...more] = this.pending;
    const line = only === undefined ? new Uint8Array() : more.length === 0 ? only : concat(this.pending);
    this.pending = [];
    this.pendingBytes = 0;
    this.onLine(line, end);
  }
}

/** Joins byte arrays. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
