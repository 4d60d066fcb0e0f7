import { asSallyportError } from '../../base/errors.ts';
import { blob } from '../../git/diff.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { PartId, RejectedPart, ReviewDiff, ReviewFile, ReviewPart } from '../../protocol/review.ts';

/** Longest text of one part, and of all that are rejected at once, in characters. */
const longest = { part: 1500, all: 120_000 };
/** Contents of so many files are read for it, each up to so many bytes. */
const read = { files: 60, bytes: 4 << 20 };

/**
 * What the rejected parts were, for the agent and for the log. A text is given while there is room for it: a part is known
 * again by its id alone.
 */
export async function describeRejected(
  quarantine: Quarantine,
  diff: ReviewDiff,
  rejected: ReadonlySet<PartId>,
): Promise<Map<PartId, RejectedPart>> {
  const described = new Map<PartId, RejectedPart>();
  let room = longest.all;
  let files = 0;
  for (const file of diff.files) {
    const mine = file.parts.filter(({ id }) => rejected.has(id));
    if (mine.length === 0) continue;
    const wanted = room > 0 && files < read.files && mine.some(({ kind }) => kind === 'hunk');
    if (wanted) files++;
    const lines = wanted ? await linesOf(quarantine, file) : undefined;
    for (const part of mine) {
      const text = textOf(part, lines).slice(0, Math.min(longest.part, room));
      room -= text.length;
      described.set(part.id, { part: part.id, path: file.path.slice(0, 4096), kind: part.kind, text });
    }
  }
  return described;
}

interface Sides {
  old: string[];
  new: string[];
}

async function linesOf(quarantine: Quarantine, file: ReviewFile): Promise<Sides | undefined> {
  const side = async (oid: string): Promise<string[]> =>
    /^0+$/.test(oid) ? [] : (await blob(quarantine, oid, read.bytes)).toString().split('\n');
  try {
    const [old, fresh] = await Promise.all([side(file.oldBlob), side(file.newBlob)]);
    return { old, new: fresh };
  } catch (thrown) {
    // It is longer than is read for this.
    if (asSallyportError(thrown).code !== 'git_failed') throw thrown;
    return undefined;
  }
}

function textOf(part: ReviewPart, lines: Sides | undefined): string {
  if (part.kind !== 'hunk' || lines === undefined) return part.label;
  const cut = (
    all: readonly string[],
    at: { start: number; lines: number } | undefined,
  ): readonly string[] => (at === undefined ? [] : all.slice(at.start - 1, at.start - 1 + at.lines));
  return [
    ...cut(lines.old, part.old).map((line) => `-${line}`),
    ...cut(lines.new, part.new).map((line) => `+${line}`),
  ].join('\n');
}
