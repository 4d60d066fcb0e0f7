import type { PartId, ReviewPart } from './review.ts';

/** The lines of one file as a review shows them: what changed, some of what did not around it, and gaps. */

/** Line numbers are from 1: of the first line of the stretch, or where it would stand. */
export type Stretch =
  | { kind: 'gap'; old: number; new: number; lines: number }
  | { kind: 'same'; old: number; new: number; lines: string[] }
  | { kind: 'change'; part: PartId; old: number; new: number; removed: string[]; added: string[] };

export interface FileText {
  stretches: Stretch[];
  /** Changed lines that are not here, because there are too many of them. */
  left: number;
  /** Sides whose last line has no newline. */
  open: { old: boolean; new: boolean };
  /** Lines of the whole file. */
  total: { old: number; new: number };
}

/** Lines of a file that are shown at most, and characters of a line; the editor shows the rest. */
const maxLines = 20_000;
const maxLine = 4000;

interface Lines {
  lines: string[];
  open: boolean;
}

/** Lines without their ends; a carriage return before one stays. */
function linesOf(text: string | undefined): Lines {
  if (text === undefined || text === '') return { lines: [], open: false };
  const lines = text.split('\n');
  const open = lines.at(-1) !== '';
  if (!open) lines.pop();
  return { lines, open };
}

interface Hunk {
  part: PartId;
  /** From 0; `oldEnd` and `newEnd` are the lines after it. */
  oldStart: number;
  oldEnd: number;
  newStart: number;
  newEnd: number;
}

/** Where nothing is, git names the line before. */
function at({ start, lines }: { start: number; lines: number }): number {
  return lines === 0 ? start : start - 1;
}

function hunksOf(parts: readonly ReviewPart[], old: Lines, now: Lines): Hunk[] {
  const hunks: Hunk[] = [];
  for (const part of parts) {
    if (part.kind === 'add' || part.kind === 'delete') {
      const oldEnd = part.kind === 'delete' ? old.lines.length : 0;
      const newEnd = part.kind === 'add' ? now.lines.length : 0;
      hunks.push({ part: part.id, oldStart: 0, oldEnd, newStart: 0, newEnd });
    } else if (part.kind === 'hunk' && part.old !== undefined && part.new !== undefined) {
      const oldStart = at(part.old);
      const newStart = at(part.new);
      hunks.push({
        part: part.id,
        oldStart,
        oldEnd: oldStart + part.old.lines,
        newStart,
        newEnd: newStart + part.new.lines,
      });
    }
  }
  return hunks.sort((a, b) => a.newStart - b.newStart || a.oldStart - b.oldStart);
}

/**
 * Cuts the two sides of a file into stretches.
 * @param before content of the old side; undefined where there is no such file
 * @param context unchanged lines that are shown around each change
 */
export function sliceText(
  before: string | undefined,
  after: string | undefined,
  parts: readonly ReviewPart[],
  context: number,
): FileText {
  const old = linesOf(before);
  const now = linesOf(after);
  const stretches: Stretch[] = [];
  let room = maxLines;
  let left = 0;
  const take = (lines: readonly string[], from: number, to: number): string[] => {
    const taken = lines.slice(from, Math.min(to, from + room)).map(cutLine);
    room -= taken.length;
    return taken;
  };
  const same = (oldAt: number, newAt: number, lines: number): void => {
    if (lines <= 0) return;
    if (room > 0) {
      const taken = take(now.lines, newAt, newAt + lines);
      stretches.push({ kind: 'same', old: oldAt + 1, new: newAt + 1, lines: taken });
    } else gap(oldAt, newAt, lines);
  };
  const gap = (oldAt: number, newAt: number, lines: number): void => {
    if (lines > 0) stretches.push({ kind: 'gap', old: oldAt + 1, new: newAt + 1, lines });
  };
  const hunks = hunksOf(parts, old, now);
  let oldAt = 0;
  let newAt = 0;
  hunks.forEach((hunk, index) => {
    const between = hunk.newStart - newAt;
    const head = index === 0 ? 0 : Math.min(context, between);
    const tail = Math.min(context, between - head);
    // A gap of one line takes as much room as the line.
    if (between - head - tail <= 1) same(oldAt, newAt, between);
    else {
      same(oldAt, newAt, head);
      gap(oldAt + head, newAt + head, between - head - tail);
      same(hunk.oldStart - tail, hunk.newStart - tail, tail);
    }
    const removed = take(old.lines, hunk.oldStart, hunk.oldEnd);
    const added = take(now.lines, hunk.newStart, hunk.newEnd);
    left += hunk.oldEnd - hunk.oldStart - removed.length + (hunk.newEnd - hunk.newStart - added.length);
    stretches.push({
      kind: 'change',
      part: hunk.part,
      old: hunk.oldStart + 1,
      new: hunk.newStart + 1,
      removed,
      added,
    });
    oldAt = hunk.oldEnd;
    newAt = hunk.newEnd;
  });
  const rest = now.lines.length - newAt;
  const tail = hunks.length === 0 ? 0 : Math.min(context, rest);
  same(oldAt, newAt, tail);
  gap(oldAt + tail, newAt + tail, rest - tail);
  return {
    stretches,
    left,
    open: { old: old.open, new: now.open },
    total: { old: old.lines.length, new: now.lines.length },
  };
}

/** What was cut off is counted, so that nothing hides at the end of a line. */
function cutLine(line: string): string {
  if (line.length <= maxLine) return line;
  return `${line.slice(0, maxLine)} … ${(line.length - maxLine).toLocaleString('en')} more characters`;
}
