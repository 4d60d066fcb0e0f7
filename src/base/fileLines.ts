import type { FileHandle } from 'node:fs/promises';
import { LineSplitter } from './lines.ts';

/** A line of a file, without its newline. */
export interface FileLine {
  bytes: Uint8Array;
  offset: number;
  /** Offset behind its newline. */
  end: number;
  /** False for a piece of a line that is longer than `maxLineBytes`. */
  whole: boolean;
}

/** Which bytes of a file are read, `from` being the start of a line, and how many at once. */
interface Stretch {
  from: number;
  to: number;
  readBytes: number;
  maxLineBytes: number;
}

/** The lines of a part of a file, in as many batches as it takes reads; an unfinished last line is left out. */
export async function* fileLines(
  file: FileHandle,
  { from, to, readBytes, maxLineBytes }: Stretch,
): AsyncGenerator<FileLine[], void> {
  let lines: FileLine[] = [];
  let offset = from;
  const splitter = new LineSplitter((bytes, whole) => {
    const end = offset + bytes.length + (whole ? 1 : 0);
    lines.push({ bytes, offset, end, whole });
    offset = end;
  }, maxLineBytes);
  for (let at = from; at < to;) {
    const buffer = Buffer.allocUnsafe(Math.min(readBytes, to - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    splitter.push(buffer.subarray(0, bytesRead));
    if (lines.length === 0) continue;
    yield lines;
    lines = [];
  }
}
