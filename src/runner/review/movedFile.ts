import type { RawChange } from '../../git/log.ts';
import { fileId } from '../../git/parts/ids.ts';
import type { FileId } from '../../protocol/review.ts';

/** False for the name of an object that stands for none. */
export function isFile(oid: string): boolean {
  return !/^0+$/.test(oid);
}

/**
 * What became of a file between two commits, also where it was renamed; undefined where it is as it was.
 * @param original its blob in the older commit; all zeros where it was not there
 */
export function moved(changes: readonly RawChange[], id: FileId, original: string): RawChange | undefined {
  const was = isFile(original);
  return changes.find(({ status, rawPath, rawFrom }) => {
    // A copy leaves what it is of where it is, and a file that was not there has come by whatever way.
    const before = was && status === 'renamed' ? (rawFrom ?? rawPath) : rawPath;
    return (!was || status !== 'copied') && fileId(before) === id;
  });
}

/** Whether a file can no longer be at a path: a folder is there now, or a file where a folder of it was. */
export function placeIsTaken(changes: readonly RawChange[], path: Uint8Array): boolean {
  const wanted = `${Buffer.from(path).toString('latin1')}/`;
  return changes.some(({ newBlob, rawPath }) => {
    const there = `${Buffer.from(rawPath).toString('latin1')}/`;
    return isFile(newBlob) && there !== wanted && (there.startsWith(wanted) || wanted.startsWith(there));
  });
}
