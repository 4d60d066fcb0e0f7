import * as z from 'zod/mini';
import { Sha, TaskId } from '../../protocol/grammar.ts';
import type { DetailedChange } from '../../git/diff.ts';

/** Read-only documents from the quarantine: the authority names the task, the query the blob, the path the language. */
export const blobScheme = 'sallyport-blob';

/** The parts of a URI, as VS Code names them. */
export interface BlobParts {
  scheme: typeof blobScheme;
  authority: string;
  path: string;
  query: string;
}

/** A submodule is no blob: its side of a diff is a sentence. */
export type BlobAddress = { id: string; kind: 'blob' | 'submodule'; oid: string };

const submoduleMode = '160000';

export function blobParts(id: string, path: string, oid: string, mode: string): BlobParts {
  const kind = mode === submoduleMode ? 'submodule' : 'blob';
  return { scheme: blobScheme, authority: id, path: `/${path}`, query: `${kind}=${oid}` };
}

const Address = z.object({ id: TaskId, kind: z.enum(['blob', 'submodule']), oid: Sha });

/** What a URI names, or undefined when it is none of ours: URIs come from links and restored editors too. */
export function parseBlob(authority: string, query: string): BlobAddress | undefined {
  const [kind, oid] = query.split('=', 2);
  const parsed = Address.safeParse({ id: authority, kind, oid });
  return parsed.success ? parsed.data : undefined;
}

type SidesOfChange = Pick<DetailedChange, 'path' | 'from' | 'oldBlob' | 'newBlob' | 'oldMode' | 'newMode'>;

/** The two sides of one file; a side that does not exist is left out. */
export interface DiffSides {
  label: BlobParts;
  original?: BlobParts;
  modified?: BlobParts;
}

export function diffSides(id: string, change: SidesOfChange): DiffSides | undefined {
  const original = isNone(change.oldBlob)
    ? undefined
    : blobParts(id, change.from ?? change.path, change.oldBlob, change.oldMode);
  const modified = isNone(change.newBlob)
    ? undefined
    : blobParts(id, change.path, change.newBlob, change.newMode);
  const label = modified ?? original;
  if (label === undefined) return undefined;
  return {
    label,
    ...(original === undefined ? {} : { original }),
    ...(modified === undefined ? {} : { modified }),
  };
}

/** Git writes zeros where there is no file. */
function isNone(oid: string): boolean {
  return /^0+$/.test(oid);
}
