import type { FileHandle } from 'node:fs/promises';

/** So near to the line that is looked for the search ends, in bytes: what is left is read through. */
const near = 32 << 10;
/** How much is read at once to find the next line, in bytes; more when the line is long. */
const firstLook = 4 << 10;
const nextLook = 256 << 10;
/** Longest beginning of a line that holds its number, in bytes. */
const headBytes = 32;

/**
 * Where to begin reading a log to come to event number `n` soon: the offset of a line with that number or a lower one.
 * Halves the part `from … to` of the file again and again, `from` being the start of a line; it takes some twenty small
 * reads, however long the log is, and no memory. A line without a number at its head counts as one too far behind, so
 * that whoever reads comes upon it.
 */
export async function offsetBefore(
  file: FileHandle,
  { from, to }: { from: number; to: number },
  n: number,
): Promise<number> {
  let low = from;
  let high = to;
  while (high - low > near) {
    const middle = Math.floor((low + high) / 2);
    // No line begins between the middle and the one that is found: neither is looked at twice.
    const start = await nextLine(file, middle, high);
    const found = start === undefined ? undefined : await numberAt(file, start);
    if (start === undefined || found === undefined || found > n) high = middle;
    else low = start;
    if (found === n) break;
  }
  return low;
}

/** Offset of the first line that begins at `from` or behind it, and before `to`. */
async function nextLine(file: FileHandle, from: number, to: number): Promise<number | undefined> {
  const buffer = Buffer.allocUnsafe(nextLook);
  let look = firstLook;
  // The newline before a line that begins at `from` is just before it.
  for (let at = from - 1; at < to - 1;) {
    const { bytesRead } = await file.read(buffer, 0, Math.min(look, to - 1 - at), at);
    if (bytesRead === 0) return undefined;
    const newline = buffer.subarray(0, bytesRead).indexOf(10);
    if (newline !== -1) return at + newline + 1;
    at += bytesRead;
    look = nextLook;
  }
  return undefined;
}

async function numberAt(file: FileHandle, offset: number): Promise<number | undefined> {
  const buffer = Buffer.allocUnsafe(headBytes);
  const { bytesRead } = await file.read(buffer, 0, headBytes, offset);
  return numberAtHead(buffer.subarray(0, bytesRead));
}

/** The number with which a line of a log begins, as it is written: `{"n":17,`. Undefined for any other line. */
export function numberAtHead(line: Uint8Array): number | undefined {
  const head = String.fromCharCode(...line.subarray(0, headBytes));
  const number = /^\{"n":([1-9][0-9]{0,15}),/.exec(head)?.[1];
  return number === undefined ? undefined : Number(number);
}
