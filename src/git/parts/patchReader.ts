import { createHash } from 'node:crypto';
import type { ByteStream } from '../../protocol/runner.ts';
import { hiddenIn, type Hidden } from '../hiddenCharacters.ts';

/**
 * Reading of what `git diff-tree -p` prints, as bytes: line contents are passed over by their number, which the header of each
 * block says, so that no content can pass for structure. Which lines differ is git's word alone.
 */

/** Lines that one side has in place of the other's. Places count from 0. */
interface Lines {
  oldAt: number;
  oldLines: number;
  newAt: number;
  newLines: number;
}

/** Changes that belong together. */
export interface Hunk extends Lines {
  added: number;
  removed: number;
  /**
   * Of the changed lines as a diff has them, without what stands unchanged between them, and of the lines that stand unchanged
   * around them: the same lines elsewhere in the file are another change, and were not judged with this one.
   */
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
 * Changes with at most so many unchanged lines in between are one hunk. Around a change three lines are shown, so two such
 * changes have no lines of their own between them: each could only be read, and judged, together with the other. git's
 * own hunks go up to six lines, where the shown lines merely touch; less is taken, because the smaller the parts, the more
 * often a single change that is reverted in the editor is exactly one of them.
 */
const together = 3;
/** The unchanged lines that git is to print around each change. */
export const contextLines = together;
/** A file in more pieces is one hunk: nobody goes through them. */
const maxHunks = 4000;
const labelBytes = 300;

/**
 * Reads the changes of every file; a file that is absent has no difference in content.
 * @param stream of a diff with `contextLines` in which the files are named by numbers, without prefixes
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
  /** The last unchanged lines before where the reader is. */
  before: Uint8Array[];
  /** The unchanged lines since the open hunk's last change. */
  after: number;
}

class PatchReader {
  private readonly wanted: (file: number) => boolean;
  private readonly files = new Map<number, TextDiff>();
  private file: TextDiff | undefined;
  private open: Open | undefined;
  /** Lines that are still to come of the open block. */
  private oldLeft = 0;
  private newLeft = 0;
  /** Lines of either side that lie behind the reader. */
  private oldLine = 0;
  private newLine = 0;
  /** What was read last differs. */
  private changing = false;

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
    } else if (this.oldLeft > 0 && this.newLeft > 0 && sign === 0x20) {
      this.oldLeft -= 1;
      this.newLeft -= 1;
      this.unchanged(bytes);
    } else if (sign === 0x5c) {
      // "\ No newline at end of file", of the line before.
      if (this.changing) this.open?.lines.push(noNewline);
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
      this.open = this.wanted(index)
        ? { hunks: this.file.hunks, hunk: undefined, lines: [], before: [], after: 0 }
        : undefined;
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
    this.oldLine = Number(oldStart) - (oldLines === 0 ? 0 : 1);
    this.newLine = Number(newStart) - (newLines === 0 ? 0 : 1);
    this.changing = false;
    if (this.open !== undefined) this.open.before = [];
  }

  private unchanged(bytes: Uint8Array): void {
    this.oldLine += 1;
    this.newLine += 1;
    this.changing = false;
    const { open } = this;
    if (open === undefined) return;
    open.before = [...open.before.slice(1 - contextLines), bytes];
    if (open.hunk === undefined || open.after >= contextLines) return;
    open.after += 1;
    open.lines.push(bytes, newline);
  }

  /** A line differs: it belongs to the open hunk, or begins one. */
  private change(): Hunk | undefined {
    const { open } = this;
    if (open === undefined) return undefined;
    const last = open.hunk;
    if (!this.changing && last !== undefined) {
      const gap = this.oldLine - last.oldAt - last.oldLines;
      if (gap <= together || open.hunks.length >= maxHunks) {
        // What lies between is part of neither.
        open.lines.splice(open.lines.length - 2 * open.after, 2 * open.after, betweenChanges);
        open.after = 0;
      } else this.finishHunk();
    }
    this.changing = true;
    if (open.hunk === undefined) {
      const [oldAt, newAt] = [this.oldLine, this.newLine];
      open.hunk = { oldAt, oldLines: 0, newAt, newLines: 0, added: 0, removed: 0, digest: none, first: none };
      open.lines = open.before.flatMap((line) => [line, newline]);
    }
    return open.hunk;
  }

  private removed(bytes: Uint8Array): void {
    if (this.file === undefined) return;
    this.file.removed += 1;
    const hunk = this.change();
    this.oldLine += 1;
    if (hunk === undefined) return;
    this.note(hunk, bytes);
    if (hunk.removed === 0 && hunk.added === 0) hunk.first = bytes.slice(1, 1 + labelBytes);
    hunk.removed += 1;
  }

  private added(bytes: Uint8Array): void {
    if (this.file === undefined) return;
    this.file.added += 1;
    const hunk = this.change();
    this.newLine += 1;
    this.file.hidden ??= hiddenIn(bytes.subarray(1), this.newLine);
    if (hunk === undefined) return;
    this.note(hunk, bytes);
    if (hunk.added === 0) hunk.first = bytes.slice(1, 1 + labelBytes);
    hunk.added += 1;
  }

  private note(hunk: Hunk, bytes: Uint8Array): void {
    hunk.oldLines = this.oldLine - hunk.oldAt;
    hunk.newLines = this.newLine - hunk.newAt;
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
    open.after = 0;
  }

  private finishFile(): void {
    this.finishHunk();
    this.open = undefined;
  }
}

const none = new Uint8Array();
const newline = Buffer.from('\n');
const noNewline = Buffer.from('\\\n');
const betweenChanges = Buffer.from('@\n');

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function malformed(what: string): Error {
  return new Error(`git printed something unexpected: ${what}`);
}
