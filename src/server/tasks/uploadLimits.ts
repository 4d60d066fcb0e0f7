import { SallyportError } from '../../base/errors.ts';

/** What may be uploaded: pure. */

export interface UploadLimits {
  /** Of one bundle. */
  bytes: number;
  /** Of all bundles together that one user has begun and not finished. */
  bytesOfUser: number;
  /** How many a user may have begun and not finished. */
  open: number;
  /** How long a bundle may take to be taken in, in milliseconds. */
  importMs: number;
  /** How long a client may send nothing, in milliseconds. */
  silenceMs: number;
  /** What nobody has gone on with for so long is removed, in milliseconds. */
  abandonedMs: number;
}

export const uploadLimits: UploadLimits = {
  bytes: 4 * 2 ** 30,
  bytesOfUser: 8 * 2 ** 30,
  open: 16,
  importMs: 15 * 60_000,
  silenceMs: 60_000,
  abandonedMs: 24 * 60 * 60_000,
};

/** How long a finished upload is answered for, in milliseconds: a task on its commit may come at any time after. */
export const finishedMs = 7 * 24 * 60 * 60_000;
/** Left free on the volume, in bytes: the tasks' logs are written there too. */
const reserveBytes = 256 << 20;

/**
 * Throws for a bundle that is not taken: `invalid_input` for an empty one, `too_large`, `too_many_requests` when its user has begun
 * enough.
 * @param bytes its size
 * @param begun what the same user has begun and not finished
 */
export function checkBundle(
  bytes: number,
  begun: readonly { bytes: number }[],
  limits: Pick<UploadLimits, 'bytes' | 'bytesOfUser' | 'open'>,
): void {
  if (bytes === 0)
    throw new SallyportError(
      'invalid_input',
      'The commit is not here, and a bundle of 0 bytes does not bring it.',
      'Announce the bundle with its size.',
    );
  if (bytes > limits.bytes)
    throw new SallyportError(
      'too_large',
      `The bundle has ${mebibytes(bytes)}, and at most ${mebibytes(limits.bytes)} are taken.`,
      'Leave out what the runner has already (/api/v1/uploads/known), or let it fetch the repository by its URL.',
    );
  const announced = begun.reduce((sum, one) => sum + one.bytes, bytes);
  if (begun.length >= limits.open || announced > limits.bytesOfUser)
    throw new SallyportError(
      'too_many_requests',
      `You have begun ${begun.length} uploads that are not finished.`,
      'Finish them first, or wait until those that were abandoned are removed.',
    );
}

/** Throws `disk_full` where there is no room for a bundle and for what is made of it. All in bytes. */
export function checkDisk(bytes: number, free: number): void {
  if (2 * bytes + reserveBytes <= free) return;
  throw new SallyportError(
    'disk_full',
    'The disk of the runner has no room for this upload.',
    'Have its administrator free some space.',
  );
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`;
}
