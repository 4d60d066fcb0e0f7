import { asSallyportError } from '../../base/errors.ts';
import type { BlobReader } from '../../git/parts/blobReader.ts';
import { hunkText } from '../../git/parts/content.ts';
import type { PartId, RejectedPart, ReviewDiff, ReviewFile } from '../../protocol/review.ts';

/** Longest text of one part, and of all that are rejected at once, in characters. */
const longest = { part: 1500, all: 120_000 };
/** Contents of so many files are read for it, each up to so many bytes. */
const read = { files: 200, bytes: 4 << 20 };

/**
 * What the rejected parts were, for the agent and for the log. A text is given while there is room for it: a part is known
 * again by its id alone.
 */
export async function describeRejected(
  reader: BlobReader,
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
    const sides = wanted ? await sidesOf(reader, file) : undefined;
    for (const part of mine) {
      const whole =
        part.kind === 'hunk' && sides !== undefined && room > 0
          ? hunkText(sides.old, sides.new, part, longest.part)
          : part.label;
      const text = whole.slice(0, Math.min(longest.part, room));
      room -= text.length;
      described.set(part.id, { part: part.id, path: file.path.slice(0, 4096), kind: part.kind, text });
    }
  }
  return described;
}

async function sidesOf(
  reader: BlobReader,
  file: ReviewFile,
): Promise<{ old: Uint8Array; new: Uint8Array } | undefined> {
  try {
    const [old, fresh] = await Promise.all([
      reader.read(file.oldBlob, read.bytes),
      reader.read(file.newBlob, read.bytes),
    ]);
    return { old, new: fresh };
  } catch (thrown) {
    // It is longer than is read for this.
    if (asSallyportError(thrown).code !== 'git_failed') throw thrown;
    return undefined;
  }
}
