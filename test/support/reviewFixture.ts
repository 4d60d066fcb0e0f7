import { createHash } from 'node:crypto';
import type { ReviewFile, ReviewPart } from '../../src/protocol/review.ts';

/** A stretch of a file: lines that stay, or lines in place of others. */
export type Block = readonly string[] | { old: readonly string[]; new: readonly string[] };

/** Both sides of a file, and what a review says of it. */
export interface FixtureFile {
  file: ReviewFile;
  /** By object name. */
  blobs: ReadonlyMap<string, Uint8Array>;
}

const noBlob = '0'.repeat(40);

export function nameOf(content: string | Uint8Array): string {
  return createHash('sha1').update(content).digest('hex');
}

function idOf(...words: string[]): string {
  return nameOf(words.join('\0')).slice(0, 16);
}

/** A file with hunks where its blocks differ; each part is named by its content, as real ones are. */
export function fixtureFile(
  path: string,
  blocks: readonly Block[],
  change: Partial<ReviewFile> = {},
): FixtureFile {
  const old: string[] = [];
  const now: string[] = [];
  const parts: ReviewPart[] = [];
  for (const block of blocks) {
    if ('old' in block) {
      const start = (lines: number, at: number): { start: number; lines: number } => ({
        start: lines === 0 ? at : at + 1,
        lines,
      });
      parts.push({
        id: idOf(path, String(parts.length), ...block.old, '', ...block.new),
        kind: 'hunk',
        old: start(block.old.length, old.length),
        new: start(block.new.length, now.length),
        added: block.new.length,
        removed: block.old.length,
        label: block.new[0] ?? block.old[0] ?? '',
        needs: [],
      });
      old.push(...block.old);
      now.push(...block.new);
    } else {
      old.push(...block);
      now.push(...block);
    }
  }
  const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
  return fixtureOf(path, text(old), text(now), parts, change);
}

/** A file of any kind by its two sides; undefined where there is none. */
export function fixtureOf(
  path: string,
  before: string | Uint8Array | undefined,
  after: string | Uint8Array | undefined,
  parts: ReviewPart[],
  change: Partial<ReviewFile> = {},
): FixtureFile {
  const encode = (content: string | Uint8Array): Uint8Array =>
    typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const blobs = new Map<string, Uint8Array>();
  const put = (content: string | Uint8Array | undefined): string => {
    if (content === undefined) return noBlob;
    const name = nameOf(content);
    blobs.set(name, encode(content));
    return name;
  };
  const oldBlob = put(before);
  const newBlob = put(after);
  const sum = (of: 'added' | 'removed'): number => parts.reduce((all, part) => all + part[of], 0);
  const binary = change.binary === true;
  return {
    file: {
      id: idOf(path),
      path,
      status: before === undefined ? 'added' : after === undefined ? 'deleted' : 'modified',
      oldMode: before === undefined ? '000000' : '100644',
      newMode: after === undefined ? '000000' : '100644',
      oldBlob,
      newBlob,
      binary,
      ...(binary ? {} : { added: sum('added'), removed: sum('removed') }),
      parts,
      gate: [],
      fingerprint: idOf(path, oldBlob, newBlob),
      ...change,
    },
    blobs,
  };
}

/** A part that is of a whole file. */
export function wholePart(
  path: string,
  kind: ReviewPart['kind'],
  lines: Partial<ReviewPart> = {},
): ReviewPart {
  return { id: idOf(path, kind), kind, added: 0, removed: 0, label: '', needs: [], ...lines };
}
