import { SallyportError } from '../../base/errors.ts';
import type { BlobReader } from '../../git/parts/blobReader.ts';
import { missingParts } from '../../git/parts/missingParts.ts';
import type { PartId, ReviewFile } from '../../protocol/review.ts';

/** Largest content that can be written in place of the task's, in bytes: a larger one is no text to git's diff here. */
const maxBytes = 16 << 20;
const none = /^0+$/;

/** What a content of the user's means. */
export type Meaning =
  /** The task's file (`task`), or the one with the user's edit (`edited`), without these hunks. */
  | { kind: 'without'; of: 'task' | 'edited'; missing: PartId[] }
  /** Something of the user's own. */
  | { kind: 'own' };

/**
 * What a content is, compared with what the task made of a file, and with what the user made of that before.
 * @param task the file as the task has it
 * @param shown the same with the user's edit, if there is one
 */
export async function meaningOf(
  reader: BlobReader,
  task: ReviewFile,
  shown: ReviewFile,
  content: Uint8Array,
): Promise<Meaning> {
  checkEditable(task, content);
  const read = async (oid: string): Promise<Uint8Array> =>
    none.test(oid) ? new Uint8Array() : await reader.read(oid, maxBytes);
  const [base, original] = await Promise.all([read(task.oldBlob), read(task.newBlob)]);
  const missing = missingOf(task, base, original, content);
  if (missing !== undefined) return { kind: 'without', of: 'task', missing };
  if (shown.newBlob === task.newBlob) return { kind: 'own' };
  const lacking = missingOf(shown, base, await read(shown.newBlob), content);
  const known = new Set(task.parts.map(({ id }) => id));
  // A hunk of the user's own is not the agent's to hear of: without it, the content is another one of the user's.
  return lacking?.every((id) => known.has(id)) === true
    ? { kind: 'without', of: 'edited', missing: lacking }
    : { kind: 'own' };
}

/** A file that is new, or was none before, is one part: it cannot lack some of itself. */
function missingOf(
  { parts }: ReviewFile,
  base: Uint8Array,
  original: Uint8Array,
  content: Uint8Array,
): PartId[] | undefined {
  if (parts.some(({ kind }) => kind === 'add' || kind === 'type'))
    return Buffer.compare(original, content) === 0 ? [] : undefined;
  return missingParts(base, original, content, parts);
}

/** Throws `invalid_input` for what is no text, and `too_large`. */
export function checkEditable(
  { newMode, binary }: Pick<ReviewFile, 'newMode' | 'binary'>,
  content: Uint8Array,
): void {
  if (!newMode.startsWith('100') || binary) {
    throw new SallyportError(
      'invalid_input',
      'Only a file of text can be edited here.',
      'Accept or reject it as it is; in your own tree it can be changed afterwards.',
    );
  }
  checkLength(content);
}

export function checkLength(content: Uint8Array): void {
  if (content.length <= maxBytes) return;
  throw new SallyportError(
    'too_large',
    'The content is longer than the 16 MiB that can be reviewed as text.',
    'Accept the file, and edit it in your own tree.',
  );
}
