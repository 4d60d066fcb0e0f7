import type { FileEdit, FileId, ReviewFile, ReviewPart } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { object, rawChanges } from '../diff.ts';
import { gateReasons, type GateChange } from '../gate.ts';
import type { RawChange } from '../log.ts';
import type { Quarantine } from '../quarantine.ts';
import { fileId, fingerprint, PartIds } from './ids.ts';
import { addNeeds } from './needs.ts';
import type { Hunk } from './patchReader.ts';
import { textDiffs, type PairDiff } from './textDiffs.ts';

/**
 * A content of the user's in place of `original`, which is the task's, both blobs. Of a file whose content is another one it
 * counts for nothing; all zeros are for a file that the task has deleted.
 */
export interface StandIn {
  original: string;
  content: string;
  /** The user's edit that it comes of. One in conflict is told of the file, which stays as the task has it. */
  edit: FileEdit;
  /** Where the file is to be among the changes although neither side has it. */
  revived?: Uint8Array;
}

/** By the file that they are of. */
export type Edits = ReadonlyMap<FileId, readonly StandIn[]>;

type EditedChange = RawChange & { edit?: FileEdit };

export interface PartsOptions {
  signal?: AbortSignal | undefined;
  edits?: Edits | undefined;
  /** Stands in for `textDiffs`, such as one that remembers. */
  compare?: typeof textDiffs | undefined;
}

/** A file of a diff, with the bytes of its names. */
export interface PartsFile {
  file: ReviewFile;
  rawPath: Uint8Array;
  rawFrom: Uint8Array | undefined;
}

export interface PartsDiff {
  /** Commits or trees. */
  from: string;
  to: string;
  /** By path. */
  files: PartsFile[];
  /** How many more files differ, which nobody looked at. They cannot be chosen: only all of the commits can be taken. */
  further: number;
}

/** How many files are looked at. One more is a mistake, or made to tire whoever reads it. */
const maxFiles = 50_000;
/** Of so many removed and so many added files names are compared for renames with changes; git's own is twice that. */
const renameLimit = 500;
const timeoutMs = 120_000;

/** Everything that differs between two commits or trees, in parts. The same objects and edits always give the same. */
export async function readParts(
  quarantine: Quarantine,
  from: string,
  to: string,
  options: PartsOptions = {},
): Promise<PartsDiff> {
  const { signal, edits, compare = textDiffs } = options;
  const all = withEdits(await rawChanges(quarantine, from, to, { signal, timeoutMs, renameLimit }), edits);
  const changes = all.slice(0, maxFiles);
  const diffs = await compare(quarantine, changes.map(pairOf), signal);
  const gateChanges = changes.map((change, index): GateChange => {
    const diff = diffs[index];
    return { ...change, binary: diff?.binary === true, hidden: diff?.hidden, unread: diff?.unread === true };
  });
  const gates = await gateReasons(quarantine, to, gateChanges, signal);
  const files = changes.map((change, index) => partsFile(change, diffs[index], gates[index] ?? []));
  addNeeds(files);
  return { from, to, files, further: all.length - changes.length };
}

function withEdits(changes: readonly RawChange[], edits: Edits = new Map()): EditedChange[] {
  const there = new Set<FileId>();
  const all = changes.map((change): EditedChange => {
    const id = fileId(change.rawPath);
    there.add(id);
    const found = edits.get(id)?.find(({ original }) => original === change.newBlob);
    if (found === undefined) return change;
    const { edit, content } = found;
    return { ...(edit.kind === 'conflict' ? change : inPlace(change, content)), edit };
  });
  const revived = [...edits]
    .filter(([id]) => !there.has(id))
    .flatMap(([, some]) => some.flatMap((one) => revive(one) ?? []));
  if (revived.length === 0) return all;
  return [...all, ...revived].sort((a, b) => Buffer.compare(a.rawPath, b.rawPath));
}

/** The change with another content; what is no file on the newer side is one then. */
function inPlace(change: RawChange, content: string): RawChange {
  const { oldMode, newMode, oldBlob } = change;
  const newBlob = object(content);
  if (isText(newMode)) return { ...change, newBlob };
  const mode = isText(oldMode) ? oldMode : '100644';
  const status = isText(oldMode) ? 'modified' : /^0+$/.test(oldBlob) ? 'added' : 'type-changed';
  return { ...change, status, newMode: mode, newBlob };
}

function revive({ content, edit, revived }: StandIn): EditedChange | undefined {
  if (revived === undefined) return undefined;
  const newBlob = object(content);
  return {
    path: Buffer.from(revived).toString(),
    rawPath: revived,
    status: 'added',
    oldMode: '000000',
    newMode: '100644',
    oldBlob: '0'.repeat(newBlob.length),
    newBlob,
    binary: false,
    edit,
  };
}

function pairOf(change: RawChange): { old: string | undefined; new: string | undefined } {
  return {
    old: isText(change.oldMode) ? change.oldBlob : undefined,
    new: isText(change.newMode) ? change.newBlob : undefined,
  };
}

function partsFile(change: EditedChange, diff: PairDiff | undefined, gate: ReviewFile['gate']): PartsFile {
  const { path, from, status, oldMode, newMode, oldBlob, newBlob, rawPath, rawFrom, edit } = change;
  const text = diff !== undefined && (isText(oldMode) || isText(newMode));
  const binary = text && diff.binary;
  const counts = text && !binary ? { added: diff.added, removed: diff.removed } : {};
  const file: ReviewFile = {
    id: fileId(rawPath),
    path,
    ...(from === undefined ? {} : { from }),
    status,
    oldMode,
    newMode,
    oldBlob,
    newBlob,
    binary,
    ...counts,
    parts: partsOfChange(change, diff, counts),
    gate,
    fingerprint: fingerprint([rawFrom ?? '', rawPath, oldMode, newMode, oldBlob, newBlob]),
    ...(edit === undefined ? {} : { edit }),
  };
  return { file, rawPath, rawFrom };
}

function partsOfChange(
  change: RawChange,
  diff: PairDiff | undefined,
  counts: { added?: number; removed?: number },
): ReviewPart[] {
  const { status, oldMode, newMode, oldBlob, newBlob } = change;
  const ids = new PartIds(change.rawPath);
  const whole = (kind: ReviewPart['kind'], label: string, content?: string): ReviewPart => ({
    id: ids.next(kind, content ?? `${oldMode} ${oldBlob} ${newMode} ${newBlob}`),
    kind,
    added: counts.added ?? 0,
    removed: counts.removed ?? 0,
    label,
    needs: [],
  });
  const beside = (kind: ReviewPart['kind'], label: string, content: string): ReviewPart => ({
    ...whole(kind, label, content),
    added: 0,
    removed: 0,
  });
  if (status === 'added' || status === 'copied') {
    if (isLink(newMode)) return [whole('link', 'New symbolic link')];
    if (isSubmodule(newMode)) return [whole('submodule', 'New submodule')];
    return [whole('add', isExecutable(newMode) ? 'New executable file' : 'New file')];
  }
  if (status === 'deleted') return [whole('delete', 'Deleted')];
  if (status === 'type-changed') return [whole('type', `${typeName(oldMode)} becomes ${typeName(newMode)}`)];
  const parts: ReviewPart[] = [];
  if (change.rawFrom !== undefined) {
    const from = Buffer.from(change.rawFrom).toString('latin1');
    parts.push(beside('rename', `Renamed from ${safeLine(change.from ?? '', 200)}`, from));
  }
  if (oldMode !== newMode) {
    const label = isExecutable(newMode) ? 'Becomes executable' : 'Is executable no longer';
    parts.push(beside('mode', label, `${oldMode} ${newMode}`));
  }
  if (oldBlob === newBlob) return parts;
  if (isLink(newMode)) parts.push(whole('link', 'Symbolic link points elsewhere'));
  else if (isSubmodule(newMode)) parts.push(whole('submodule', 'Submodule at another commit'));
  else if (diff === undefined || diff.binary) {
    const label = diff?.unread === true ? 'Changed; too much to be compared' : 'Changed binary content';
    parts.push(whole('binary', label, `${oldBlob} ${newBlob}`));
  } else parts.push(...diff.hunks.map((hunk) => hunkPart(ids, hunk)));
  return parts;
}

function hunkPart(ids: PartIds, hunk: Hunk): ReviewPart {
  return {
    id: ids.next('hunk', hunk.digest),
    kind: 'hunk',
    old: range(hunk.oldAt, hunk.oldLines),
    new: range(hunk.newAt, hunk.newLines),
    added: hunk.added,
    removed: hunk.removed,
    label: safeLine(Buffer.from(hunk.first).toString(), 160),
    needs: [],
  };
}

/** As git counts: from 1, and the line before where there is none. */
function range(at: number, lines: number): { start: number; lines: number } {
  return { start: lines === 0 ? at : at + 1, lines };
}

function isText(mode: string): boolean {
  return mode.startsWith('100');
}

function isLink(mode: string): boolean {
  return mode === '120000';
}

function isSubmodule(mode: string): boolean {
  return mode === '160000';
}

function isExecutable(mode: string): boolean {
  return mode === '100755';
}

function typeName(mode: string): string {
  return isLink(mode) ? 'Symbolic link' : isSubmodule(mode) ? 'Submodule' : 'File';
}
