import type { PartId, ReviewPart } from '../../protocol/review.ts';

/** Contents made of two others, hunk by hunk. Exact to the byte: lines are passed over, never read. */

type Range = NonNullable<ReviewPart['old']>;
type Taken = ReadonlySet<PartId> | ((id: PartId) => boolean);

/**
 * The content with some of a file's hunks.
 * @param base the older content
 * @param content the newer one
 * @param parts of the diff between the two; those that are no hunks count for nothing
 */
export function withHunks(
  base: Uint8Array,
  content: Uint8Array,
  parts: readonly ReviewPart[],
  taken: Taken,
): Uint8Array {
  const isTaken = typeof taken === 'function' ? taken : (id: PartId) => taken.has(id);
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const hunk of hunkBytes(base, content, parts)) {
    pieces.push(base.subarray(at, hunk.oldStart));
    pieces.push(
      isTaken(hunk.id)
        ? content.subarray(hunk.newStart, hunk.newEnd)
        : base.subarray(hunk.oldStart, hunk.oldEnd),
    );
    at = hunk.oldEnd;
  }
  pieces.push(base.subarray(at));
  return Buffer.concat(pieces);
}

/** What a hunk is as a diff shows it: its old lines with `-`, its new ones with `+`. At most about `maxBytes` of it. */
export function hunkText(base: Uint8Array, content: Uint8Array, part: ReviewPart, maxBytes = 16_000): string {
  const [hunk] = hunkBytes(base, content, [part]);
  if (hunk === undefined) return '';
  const old = base.subarray(hunk.oldStart, Math.min(hunk.oldEnd, hunk.oldStart + maxBytes));
  const fresh = content.subarray(hunk.newStart, Math.min(hunk.newEnd, hunk.newStart + maxBytes));
  const text = `${signed('-', old)}${signed('+', fresh)}`;
  return text.length <= maxBytes ? text : `${text.slice(0, maxBytes)}…`;
}

interface HunkBytes {
  id: PartId;
  oldStart: number;
  oldEnd: number;
  newStart: number;
  newEnd: number;
}

/** Where the hunks are, in bytes. */
export function* hunkBytes(
  base: Uint8Array,
  content: Uint8Array,
  parts: readonly ReviewPart[],
): Generator<HunkBytes> {
  const oldLines = new Lines(base);
  const newLines = new Lines(content);
  for (const part of parts) {
    if (part.old === undefined || part.new === undefined) continue;
    const [oldStart, oldEnd] = oldLines.range(part.old);
    const [newStart, newEnd] = newLines.range(part.new);
    yield { id: part.id, oldStart, oldEnd, newStart, newEnd };
  }
}

/** Finds lines one after the other. */
class Lines {
  private readonly bytes: Uint8Array;
  private line = 0;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  range({ start, lines }: Range): [number, number] {
    const from = this.skipTo(lines === 0 ? start : start - 1);
    return [from, lines === 0 ? from : this.skipTo(start - 1 + lines)];
  }

  private skipTo(line: number): number {
    while (this.line < line) {
      const stop = this.bytes.indexOf(10, this.at);
      this.at = stop === -1 ? this.bytes.length : stop + 1;
      this.line += 1;
    }
    return this.at;
  }
}

function signed(sign: string, bytes: Uint8Array): string {
  if (bytes.length === 0) return '';
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  const lines = text.split('\n');
  const ends = lines.at(-1) === '';
  if (ends) lines.pop();
  return `${lines.map((line) => `${sign}${line}\n`).join('')}${ends ? '' : '\\ No newline at end of file\n'}`;
}
