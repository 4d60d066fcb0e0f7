import type { GateReason } from '../protocol/review.ts';
import { foldPath } from './foldPath.ts';
import { scriptsReason } from './gateNames.ts';
import type { RawChange } from './log.ts';
import { BlobReader } from './parts/blobReader.ts';
import type { Quarantine } from './quarantine.ts';

/** Fields of a package.json that nobody runs, installs or obeys. Every other one counts, also one that is not known. */
const harmless = new Set(
  'author badges bugs categories contributors cpu description displayName engines funding galleryBanner homepage icon keywords license licenses maintainers man name os private publisher readme repository sideEffects title types typings version'.split(
    ' ',
  ),
);

const maxBytes = 1 << 20;
/** More of them are on the list unread. */
const maxPackages = 2000;

/** The changes of a package.json in more than its description. One that cannot be parsed counts. */
export async function changedPackages<Change extends RawChange>(
  quarantine: Quarantine,
  changes: readonly Change[],
  signal: AbortSignal | undefined,
): Promise<Map<Change, GateReason>> {
  const found = new Map<Change, GateReason>();
  const packages = changes.filter(
    ({ path, from }) => isPackage(path) || (from !== undefined && isPackage(from)),
  );
  if (packages.length === 0) return found;
  const reader = new BlobReader(quarantine);
  const read = async (mode: string, oid: string): Promise<string | undefined> => {
    if (!mode.startsWith('100')) return undefined;
    return Buffer.from(await reader.read(oid, maxBytes, signal)).toString();
  };
  try {
    for (const [index, change] of packages.entries()) {
      const harm = index >= maxPackages ? true : await matters(change, read);
      signal?.throwIfAborted();
      if (harm) found.set(change, { kind: 'scripts', why: scriptsReason });
    }
  } finally {
    reader.dispose();
  }
  return found;
}

async function matters(
  change: RawChange,
  read: (mode: string, oid: string) => Promise<string | undefined>,
): Promise<boolean> {
  // In another folder it is another package's.
  if (change.from !== undefined) return true;
  try {
    const [old, fresh] = await Promise.all([
      read(change.oldMode, change.oldBlob),
      read(change.newMode, change.newBlob),
    ]);
    return steering(old) !== steering(fresh);
  } catch {
    return true;
  }
}

/** What matters of a package.json, as text that can be compared. */
function steering(text: string | undefined): string {
  if (text === undefined) return '[]';
  const json: unknown = JSON.parse(text);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error('not a package.json');
  const fields = Object.entries(json).filter(([name]) => !harmless.has(name));
  return JSON.stringify(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isPackage(path: string): boolean {
  return /(?:^|\/)package\.(?:json|json5|ya?ml)$/.test(foldPath(path));
}
