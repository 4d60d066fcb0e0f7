import type { ReviewFile } from './review.ts';

/**
 * The files of a review on their way to the panel. A large review is mostly hunks, of which few are in sight: the files go
 * first, with the hunks of the first of them, and the other hunks when the panel asks for them.
 */

/** A file as the panel has it. */
export interface PanelFile extends ReviewFile {
  /** Hunks that come after the parts that are there. */
  coming?: number;
}

/** All parts of a file, as they were in the diff of that fingerprint. */
export type FileParts = Pick<ReviewFile, 'id' | 'fingerprint' | 'parts'>;

/** Parts that go with their files. */
const partsAtOnce = 200;

/** The same files, those behind the first parts without their hunks; what is of whole files always goes along. */
export function filesFirst(files: readonly ReviewFile[]): PanelFile[] {
  let parts = 0;
  return files.map((file) => {
    parts += file.parts.length;
    if (parts <= partsAtOnce) return file;
    const whole = file.parts.findLastIndex(({ kind }) => kind !== 'hunk') + 1;
    if (whole === file.parts.length) return file;
    return { ...file, parts: file.parts.slice(0, whole), coming: file.parts.length - whole };
  });
}

/** Parts of a file, with those that come. */
export function partCount({ parts, coming = 0 }: PanelFile): number {
  return parts.length + coming;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Bytes of one message with files. */
const batchBytes = 128 << 10;

/** Files in batches, of bytes that are nobody else's; one empty batch where there are none. */
export function fileBatches(files: readonly PanelFile[]): Uint8Array[] {
  const batches: Uint8Array[] = [];
  let lines: string[] = [];
  let size = 0;
  const flush = (): void => {
    batches.push(encoder.encode(lines.join('')));
    lines = [];
    size = 0;
  };
  for (const file of files) {
    const line = `${JSON.stringify(file)}\n`;
    lines.push(line);
    size += line.length;
    if (size >= batchBytes) flush();
  }
  if (size > 0 || batches.length === 0) flush();
  return batches;
}

export function readFiles(data: Uint8Array): PanelFile[] {
  return readLines(data) as PanelFile[];
}

/** The parts of some files, in bytes that are nobody else's. */
export function encodeParts(files: readonly ReviewFile[]): Uint8Array {
  const lines = files.map(({ id, fingerprint, parts }) => `${JSON.stringify({ id, fingerprint, parts })}\n`);
  return encoder.encode(lines.join(''));
}

export function readParts(data: Uint8Array): FileParts[] {
  return readLines(data) as FileParts[];
}

/** One parse of an array is faster than many small ones. A line holds no raw newline: JSON escapes it. */
function readLines(data: Uint8Array): unknown[] {
  const text = decoder.decode(data);
  return text === '' ? [] : (JSON.parse(`[${text.slice(0, -1).replaceAll('\n', ',')}]`) as unknown[]);
}
