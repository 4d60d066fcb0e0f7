import { createHash } from 'node:crypto';
import type { ByteStream } from '../../protocol/runner.ts';
import { hiddenIn, type Hidden } from '../hiddenCharacters.ts';

/**
 * Reading of what `git diff-tree -p -U0` prints, as bytes: line contents are passed over by their number, which the
 * header of each block says, so that no content can pass for structure. What makes the blocks is git alone.
 */

/** Lines that one side has in place of the other's. Places count from 0. */
interface Block {
  oldAt: number;
  oldLines: number;
  newAt: number;
  newLines: number;
}

/** Blocks that belong together. */
export interface Hunk extends Block {
  added: number;
  removed: number;
  /** Of the changed lines as a diff has them, without what stands unchanged between them. */
  digest: Uint8Array;
  /** The first line that is added, else removed; its first bytes. */
  first: Uint8Array;
}

export interface TextDiff {
  binary: boolean;
  added: number;
  removed: number;
  hunks: Hunk[];
  /** In added lines. */
  hidden: Hidden | undefined;
}

/**
 * Blocks with at most so many unchanged lines in between are one hunk. Around a block three lines are shown, so two such
 * blocks have no lines of their own between them: each could only be read, and judged, together with the other. git's
 * own hunks go up to six lines, where the shown lines merely touch; less is taken, because the smaller the parts, the more
 * often a single change that is reverted in the editor is exactly one of them.
 */
const together = 3;
/** A file in more pieces is one hunk: nobody goes through them. */
const maxHunks = 4000;
const labelBytes = 300;

/**
 * Reads the blocks of every file; a file that is absent has no difference in content.
 * @param stream of a diff in which the files are named by numbers, without prefixes
 * @param wanted of which files hunks are asked for; of the others the lines are counted
 */
export async function readPatch(
  stream: ByteStream,
  wanted: (file: number) => boolean,
): Promise<Map<number, TextDiff>> {
  const reader = new PatchReader(wanted);
  let pending: Uint8Array[] = [];
  for await (const chunk of stream) {
    let at = 0;
    for (;;) {
      const stop = chunk.indexOf(10, at);
      if (stop === -1) break;
      const piece = chunk.subarray(at, stop);
      if (pending.length === 0) reader.line(piece);
      else {
        reader.line(Buffer.concat([...pending, piece]));
        pending = [];
      }
      at = stop + 1;
    }
    if (at < chunk.length) pending.push(chunk.subarray(at));
  }
  if (pending.length > 0) reader.line(Buffer.concat(pending));
  return reader.end();
}

const fileHeader = /^diff --git ([0-9]+) ([0-9]+)$/;
const blockHeader = /^@@ -([0-9]+)(?:,([0-9]+))? \+([0-9]+)(?:,([0-9]+))? @@/;

interface Open {
  hunks: Hunk[];
  hunk: Hunk | undefined;
  /** The lines of the open hunk, with their signs and their ends. */
  lines: Uint8Array[];
}

class PatchReader {
  private readonly wanted: (file: number) => boolean;
  private readonly files = new Map<number, TextDiff>();
  private file: TextDiff | undefined;
  private open: Open | undefined;
  /** Lines that are still to come of the open block. */
  private oldLeft = 0;
  private newLeft = 0;
  private newLine = 0;

  constructor(wanted: (file: number) => boolean) {
    this.wanted = wanted;
  }

  /** @param bytes a line without its end */
  line(bytes: Uint8Array): void {
    const sign = bytes[0];
    if (this.oldLeft > 0 && sign === 0x2d) {
      this.oldLeft -= 1;
      this.removed(bytes);
    } else if (this.newLeft > 0 && sign === 0x2b) {
      this.newLeft -= 1;
      this.added(bytes);
    } else if (sign === 0x5c) {
      // "\ No newline at end of file", of the line before.
      this.open?.lines.push(noNewline);
    } else if (this.oldLeft > 0 || this.newLeft > 0) {
      throw malformed('a block with fewer lines than it says');
    } else {
      this.header(latin1(bytes));
    }
  }

  end(): Map<number, TextDiff> {
    if (this.oldLeft > 0 || this.newLeft > 0) throw malformed('cut off');
    this.finishFile();
    return this.files;
  }

  private header(line: string): void {
    const block = blockHeader.exec(line);
    if (block !== null) {
      this.block(block);
      return;
    }
    const begins = fileHeader.exec(line);
    if (begins !== null) {
      this.finishFile();
      const index = Number(begins[1]);
      this.file = { binary: false, added: 0, removed: 0, hunks: [], hidden: undefined };
      this.files.set(index, this.file);
      this.open = this.wanted(index) ? { hunks: this.file.hunks, hunk: undefined, lines: [] } : undefined;
    } else if (line.startsWith('Binary files ') && this.file !== undefined) {
      this.file.binary = true;
    } else if (!/^(?:(?:index|new file mode|deleted file mode|---|\+\+\+) |$)/.test(line)) {
      throw malformed(JSON.stringify(line.slice(0, 80)));
    }
  }

  private block([, oldStart = '', oldCount = '1', newStart = '', newCount = '1']: RegExpExecArray): void {
    if (this.file === undefined) throw malformed('a block of no file');
    const oldLines = Number(oldCount);
    const newLines = Number(newCount);
    this.oldLeft = oldLines;
    this.newLeft = newLines;
    const oldAt = Number(oldStart) - (oldLines === 0 ? 0 : 1);
    const newAt = Number(newStart) - (newLines === 0 ? 0 : 1);
    this.newLine = newAt;
    const { open } = this;
    if (open === undefined) return;
    const last = open.hunk;
    const gap = last === undefined ? 0 : oldAt - last.oldAt - last.oldLines;
    if (last !== undefined && (gap <= together || open.hunks.length >= maxHunks)) {
      last.oldLines = oldAt + oldLines - last.oldAt;
      last.newLines = newAt + newLines - last.newAt;
      open.lines.push(betweenBlocks);
    } else {
      this.finishHunk();
      open.hunk = { oldAt, oldLines, newAt, newLines, added: 0, removed: 0, digest: none, first: none };
    }
  }

  private removed(bytes: Uint8Array): void {
    if (this.file === undefined) return;
    this.file.removed += 1;
    this.note(bytes);
    const hunk = this.open?.hunk;
    if (hunk === undefined) return;
    if (hunk.removed === 0 && hunk.added === 0) hunk.first = bytes.slice(1, 1 + labelBytes);
    hunk.removed += 1;
  }

  private added(bytes: Uint8Array): void {
    if (this.file === undefined) return;
    this.file.added += 1;
    this.newLine += 1;
    this.file.hidden ??= hiddenIn(bytes.subarray(1), this.newLine);
    this.note(bytes);
    const hunk = this.open?.hunk;
    if (hunk === undefined) return;
    if (hunk.added === 0) hunk.first = bytes.slice(1, 1 + labelBytes);
    hunk.added += 1;
  }

  private note(bytes: Uint8Array): void {
    this.open?.lines.push(bytes, newline);
  }

  private finishHunk(): void {
    const { open } = this;
    if (open?.hunk === undefined) return;
    const hash = createHash('sha256');
    for (const line of open.lines) hash.update(line);
    open.hunk.digest = hash.digest();
    open.hunks.push(open.hunk);
    open.hunk = undefined;
    open.lines = [];
  }

  private finishFile(): void {
    this.finishHunk();
    this.open = undefined;
  }
}

const none = new Uint8Array();
const newline = Buffer.from('\n');
const noNewline = Buffer.from('\\\n');
const betweenBlocks = Buffer.from('@\n');

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function malformed(what: string): Error {
  return new Error(`git printed something unexpected: ${what}`);
}
