import { git } from '../../git/process.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { LineRange } from './taskReview.ts';

/** Lines of the older content that others stand in place of in the newer one. As git counts: from 1, and the line before for none. */
export interface LineChange {
  oldStart: number;
  oldLines: number;
  newStart: number;
  newLines: number;
}

/** A longer description of a difference is not read, in bytes: nobody looks for a line in it. */
const maxPatchBytes = 64 << 20;
const timeoutMs = 30_000;

/** What git says of two contents; undefined where one of them is no text. */
export async function lineChanges(
  quarantine: Quarantine,
  older: string,
  newer: string,
  signal?: AbortSignal,
): Promise<LineChange[] | undefined> {
  if (older === newer) return [];
  const args = ['diff', '--no-color', '--no-ext-diff', '--no-textconv', '--diff-algorithm=myers'];
  args.push('--unified=0', '--inter-hunk-context=0', '--full-index', older, newer);
  const options = { ...quarantine.options(signal), bounded: true, maxBytes: maxPatchBytes, timeoutMs };
  return parseChanges((await git(args, options)).stdout);
}

const header = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;

/** Without unchanged lines in between, no line of a content begins like the header of a block. */
function parseChanges(patch: Uint8Array): LineChange[] | undefined {
  const changes: LineChange[] = [];
  const bytes = Buffer.from(patch.buffer, patch.byteOffset, patch.length);
  for (let at = 0; at < bytes.length;) {
    const stop = bytes.indexOf(10, at);
    const end = stop === -1 ? bytes.length : stop;
    const first = bytes[at];
    if (first === 0x40) {
      const [, oldStart, oldLines = '1', newStart, newLines = '1'] =
        header.exec(bytes.toString('latin1', at, end)) ?? [];
      changes.push({
        oldStart: Number(oldStart),
        oldLines: Number(oldLines),
        newStart: Number(newStart),
        newLines: Number(newLines),
      });
    } else if (first === 0x42 && changes.length === 0) return undefined;
    at = end + 1;
  }
  return changes;
}

/** Where lines of an older content are in a newer one. */
export interface Followed {
  /** What is left of them, or what stands in their place; undefined where they are gone. */
  lines: LineRange | undefined;
  /** Some of the lines are others, or gone, or something was put between them. */
  changed: boolean;
  /** The line of the newer content before which they would stand. */
  near: number;
}

/** Follows lines of the older content into the newer one. */
export function followLines(changes: readonly LineChange[], { line, endLine }: LineRange): Followed {
  let shift = 0;
  let changed = false;
  let at = line;
  let near = line;
  let left: LineRange | undefined;
  let instead: LineRange | undefined;
  const keep = (from: number, to: number): void => {
    if (to >= from) left = { line: left?.line ?? from + shift, endLine: to + shift };
  };
  for (const { oldStart, oldLines, newStart, newLines } of changes) {
    // Of a pure addition the number is that of the line before it.
    const from = oldLines === 0 ? oldStart + 1 : oldStart;
    const end = from + oldLines;
    if (from > endLine) break;
    const touches = oldLines === 0 ? from > line : end > line;
    if (touches) {
      changed = true;
      keep(at, from - 1);
      at = end;
      if (from <= line) near = oldLines === 0 || newLines > 0 ? newStart : newStart + 1;
      if (newLines > 0) instead = join(instead, { line: newStart, endLine: newStart + newLines - 1 });
    }
    shift += newLines - oldLines;
    if (!touches) near = line + shift;
  }
  keep(at, endLine);
  return { lines: left ?? instead, changed, near: Math.max(1, left?.line ?? near) };
}

function join(before: LineRange | undefined, { line, endLine }: LineRange): LineRange {
  return { line: before?.line ?? line, endLine };
}
