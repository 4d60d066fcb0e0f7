import { SallyportError } from '../../base/errors.ts';
import { mergeLines, type MergedLines } from '../mergeLines.ts';
import { readObjects } from '../objects.ts';
import { git } from '../process.ts';
import type { MergeConflict } from './conflict.ts';
import { decide, isRegular, modes, type Side } from './entries.ts';
import { shownPath, type GitPath } from './paths.ts';
import type { Scratch } from './scratch.ts';

const names = { ours: 'Current (yours)', base: 'Before', theirs: 'Incoming (the task)' };
/** Longer contents are not merged, and not shown side by side, in bytes. */
const maxText = 16 << 20;
/** Of all conflicts that are told at once, in bytes. */
const maxTold = 128 << 20;

/** Three versions that do not go together. */
export interface Clash {
  path: GitPath;
  base: Side;
  current: Side;
  incoming: Side;
  /** A sentence, where no content can settle it: something else is in the way. */
  inTheWay?: string;
}

export type Merged = { kind: 'clean'; side: Side } | { kind: 'clash'; clash: Clash };

/** Merges contents three ways, by git's own rules for lines. */
export class Merger {
  private readonly scratch: Scratch;
  private readonly known = new Map<string, string | undefined>();

  constructor(scratch: Scratch) {
    this.scratch = scratch;
  }

  async merge(path: GitPath, base: Side, ours: Side, theirs: Side): Promise<Merged> {
    const decision = decide(base, ours, theirs);
    if (decision.kind === 'take') return { kind: 'clean', side: decision.side };
    if (decision.kind === 'merge' && base !== undefined && ours !== undefined && theirs !== undefined) {
      const key = `${base.oid} ${ours.oid} ${theirs.oid}`;
      if (!this.known.has(key)) {
        const { clean, text } = await this.lines(path, base.oid, ours.oid, theirs.oid);
        this.known.set(key, clean && text !== undefined ? await this.scratch.writeBlob(text) : undefined);
      }
      const oid = this.known.get(key);
      if (oid !== undefined) return { kind: 'clean', side: { mode: decision.mode, oid } };
    }
    return { kind: 'clash', clash: { path, base, current: ours, incoming: theirs } };
  }

  /** With all contents, for people to settle. Fails with `too_large`. */
  async tell(clashes: readonly Clash[]): Promise<MergeConflict[]> {
    const told: MergeConflict[] = [];
    let size = 0;
    for (const { path, base, current, incoming } of clashes) {
      const oids = [base, current, incoming].map(blobOf);
      const [b, c, i] = await this.contents(path, oids);
      const isText = isRegular(current) && isRegular(incoming);
      const marked = isText
        ? (await this.lines(path, isRegular(base) ? base.oid : undefined, current.oid, incoming.oid)).text
        : undefined;
      size += [b, c, i, marked].reduce((sum, bytes) => sum + (bytes?.length ?? 0), 0);
      if (size > maxTold) {
        throw new SallyportError(
          'too_large',
          `${clashes.length} files are changed on both sides, too much to be settled at once.`,
          'Accept fewer files at once, or accept them as a branch and merge that with git.',
        );
      }
      told.push({ path: shownPath(path), base: b, current: c, incoming: i, marked });
    }
    return told;
  }

  private async lines(
    path: GitPath,
    base: string | undefined,
    ours: string,
    theirs: string,
  ): Promise<MergedLines> {
    const [mine, before, others] = await this.contents(path, [ours, base, theirs]);
    const versions = { base: before, ours: mine ?? new Uint8Array(), theirs: others ?? new Uint8Array() };
    return await mergeLines(versions, names, this.scratch.folder, this.scratch.options);
  }

  /** Undefined stays undefined. Fails with `too_large`. */
  private async contents(
    path: GitPath,
    oids: readonly (string | undefined)[],
  ): Promise<(Buffer | undefined)[]> {
    const wanted = oids.filter((oid) => oid !== undefined);
    const { stdout } = await git(['cat-file', '--batch-check=%(objecttype) %(objectsize)'], {
      ...this.scratch.options,
      input: wanted.map((oid) => `${oid}\n`).join(''),
    });
    for (const found of stdout.toString().split('\n')) {
      if (Number(/^blob (\d+)$/.exec(found)?.[1] ?? 0) <= maxText) continue;
      throw new SallyportError(
        'too_large',
        `${shownPath(path)} is changed on both sides, and too large to be merged here.`,
        'Accept it as a branch, and merge that with git.',
      );
    }
    const read = await readObjects(wanted, this.scratch.options);
    return oids.map((oid) => (oid === undefined ? undefined : read[wanted.indexOf(oid)]));
  }
}

function blobOf(side: Side): string | undefined {
  return side === undefined || side.mode === modes.submodule ? undefined : side.oid;
}
