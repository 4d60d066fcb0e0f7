import type { PartId, ReviewFile, ReviewPart, Verdict } from '../../protocol/review.ts';

/**
 * Where hunks stand in the right document of a review. A hunk's own numbers are of the whole new side; in the document
 * each hunk that is rejected has its old lines again, which moves what stands below.
 */
export interface PlacedHunk {
  part: ReviewPart;
  verdict: Verdict | undefined;
  /** Lines of the document from 1; with `lines` 0, `start` is the line before it. */
  start: number;
  lines: number;
}

type Verdicts = Readonly<Record<PartId, Verdict>>;

export function placeHunks(file: Pick<ReviewFile, 'parts'>, verdicts: Verdicts): PlacedHunk[] {
  const placed: PlacedHunk[] = [];
  let shift = 0;
  for (const part of file.parts) {
    const { old, new: now } = part;
    if (part.kind !== 'hunk' || old === undefined || now === undefined) continue;
    const verdict = verdicts[part.id];
    const rejected = verdict === 'rejected';
    const lines = rejected ? old.lines : now.lines;
    // With no lines the number is that of the line before.
    const first = (now.lines === 0 ? now.start + 1 : now.start) + shift;
    placed.push({ part, verdict, start: lines === 0 ? first - 1 : first, lines });
    if (rejected) shift += old.lines - now.lines;
  }
  return placed;
}

/** First and last line that a hunk takes in the document; one without lines stands at the line after it. */
export function linesOf({ start, lines }: Pick<PlacedHunk, 'start' | 'lines'>): {
  first: number;
  last: number;
} {
  return lines === 0
    ? { first: Math.max(1, start), last: start + 1 }
    : { first: start, last: start + lines - 1 };
}

/** The hunk at a line of the document: the one that holds it, else the nearest within two lines. */
export function hunkAt(hunks: readonly PlacedHunk[], line: number): PlacedHunk | undefined {
  let best: { hunk: PlacedHunk; far: number } | undefined;
  for (const hunk of hunks) {
    const { first, last } = linesOf(hunk);
    const far = line < first ? first - line : line > last ? line - last : 0;
    if (best === undefined || far < best.far) best = { hunk, far };
  }
  return best !== undefined && best.far <= 2 ? best.hunk : undefined;
}

/** Hunks that a selection touches; without one the hunk at the cursor. */
export function hunksIn(hunks: readonly PlacedHunk[], from: number, to: number): PlacedHunk[] {
  if (from === to) {
    const one = hunkAt(hunks, from);
    return one === undefined ? [] : [one];
  }
  return hunks.filter((hunk) => {
    const { first, last } = linesOf(hunk);
    return first <= to && last >= from;
  });
}

/** The nearest hunk that begins after (or ends before) a line, and passes `wanted`. */
export function hunkBeside(
  hunks: readonly PlacedHunk[],
  line: number,
  step: 1 | -1,
  wanted: (hunk: PlacedHunk) => boolean = () => true,
): PlacedHunk | undefined {
  const fitting = hunks.filter(wanted);
  return step === 1
    ? fitting.find((hunk) => linesOf(hunk).first > line)
    : fitting.findLast((hunk) => linesOf(hunk).last < line);
}

/** The line of the whole new side that a line of the document is; within a rejected hunk the line where it begins. */
export function toNewSide(file: Pick<ReviewFile, 'parts'>, verdicts: Verdicts, line: number): number {
  let shift = 0;
  for (const hunk of placeHunks(file, verdicts)) {
    if (hunk.verdict !== 'rejected') continue;
    const { old, new: now } = hunk.part;
    if (old === undefined || now === undefined) continue;
    const { first, last } = linesOf(hunk);
    if (hunk.lines > 0 ? line < first : line <= hunk.start) break;
    if (hunk.lines > 0 && line <= last) return Math.max(1, now.start);
    shift += now.lines - old.lines;
  }
  return Math.max(1, line + shift);
}

/** The other way round; a line of a rejected hunk is where that was. */
export function fromNewSide(file: Pick<ReviewFile, 'parts'>, verdicts: Verdicts, line: number): number {
  let shift = 0;
  for (const hunk of placeHunks(file, verdicts)) {
    if (hunk.verdict !== 'rejected') continue;
    const { old, new: now } = hunk.part;
    if (old === undefined || now === undefined) continue;
    const first = now.lines === 0 ? now.start + 1 : now.start;
    if (line < first) break;
    if (line < first + now.lines) return linesOf(hunk).first;
    shift += old.lines - now.lines;
  }
  return Math.max(1, line + shift);
}
