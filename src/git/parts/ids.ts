import { createHash } from 'node:crypto';
import type { FileId, PartId, ReviewPart } from '../../protocol/review.ts';

/** Names for what can be chosen: hashes of content, so that the same change has the same name in every diff that holds it. */

const length = 16;

/** @param path the bytes of the file's path, that of the newer side where there is one */
export function fileId(path: Uint8Array): FileId {
  return createHash('sha256').update('file\0').update(path).digest('hex').slice(0, length);
}

/** Of one file. The same change twice in a file is told apart by its place among its likes, not by its line. */
export class PartIds {
  private readonly path: Uint8Array;
  private readonly seen = new Map<string, number>();

  constructor(path: Uint8Array) {
    this.path = path;
  }

  /** @param content what is taken away and what is put there: bytes of a diff, or names of objects and modes */
  next(kind: ReviewPart['kind'], content: Uint8Array | string): PartId {
    const body = createHash('sha256').update(content).digest();
    const key = `${kind} ${body.toString('latin1')}`;
    const before = this.seen.get(key) ?? 0;
    this.seen.set(key, before + 1);
    return createHash('sha256')
      .update(`part\0${kind}\0${before}\0`)
      .update(body)
      .update(this.path)
      .digest('hex')
      .slice(0, length);
  }
}

/** What a *reviewed* mark holds on to: names, modes and contents of both sides. */
export function fingerprint(parts: readonly (Uint8Array | string)[]): string {
  const hash = createHash('sha256').update('fingerprint\0');
  for (const part of parts) hash.update(`${part.length}\0`).update(part);
  return hash.digest('hex').slice(0, 2 * length);
}
