import { rm } from 'node:fs/promises';
import { asSallyportError } from '../../base/errors.ts';
import { rawChanges } from '../../git/diff.ts';
import type { RawChange } from '../../git/log.ts';
import { mergeLines, type SideNames } from '../../git/mergeLines.ts';
import type { BlobReader } from '../../git/parts/blobReader.ts';
import { fileId } from '../../git/parts/ids.ts';
import { writeForReview } from '../../git/parts/keep.ts';
import type { Edits, StandIn } from '../../git/parts/readParts.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import { leftoversRange, resultRange, type CommitRange } from '../../protocol/ranges.ts';
import type { FileEdit, FileId, ReviewScope, UserEdit } from '../../protocol/review.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { isFile, moved, placeIsTaken } from './movedFile.ts';

/** Longer contents are not merged, in bytes. */
const maxBytes = 16 << 20;
/** How many comparisons of commits, and how many merges, are kept for the next who asks. */
const kept = { ranges: 8, merges: 1000 };
const timeoutMs = 120_000;

/** What the sides of a merge of an edit are called where they conflict. */
export const sideNames: SideNames = {
  ours: 'Your edit',
  base: 'The version that you edited',
  theirs: 'The new version of the task',
};

/** A merge of three contents: what came of it, by name; undefined where the user has to decide. */
type Outcome = { content: string } | { why: NonNullable<FileEdit['why']> };

/**
 * Carries the user's edits over to what the task has made of the files since: to the newest version of each, in whichever scope
 * that is looked at. An edit of what was left uncommitted goes to what is uncommitted now, while the file is among that. What
 * comes of an edit follows from the log and the commits alone, so nothing of it is written down.
 */
export class CarriedEdits {
  private readonly quarantine: Quarantine;
  private readonly reader: BlobReader;
  private readonly ranges = new Map<string, RawChange[]>();
  private readonly merges = new Map<string, Outcome>();

  constructor(quarantine: Quarantine, reader: BlobReader) {
    this.quarantine = quarantine;
    this.reader = reader;
  }

  /** What stands in for the task's files in a scope. */
  async standIns(
    edits: Readonly<Record<FileId, UserEdit>>,
    task: TaskState,
    { scope, range }: { scope: ReviewScope; range: CommitRange },
    signal?: AbortSignal,
  ): Promise<Edits> {
    const found = new Map<FileId, StandIn[]>();
    const add = (id: FileId, one: StandIn): void => {
      const others = found.get(id);
      if (others === undefined) found.set(id, [one]);
      else others.push(one);
    };
    const carried: (() => void)[] = [];
    // A file that neither side has is told of where everything of its kind is looked at.
    const revives = (target: string): boolean =>
      target === range.to && (scope.kind === 'all' || scope.kind === 'leftovers');
    for (const [id, edit] of Object.entries(edits)) {
      const { original, content, commit } = edit;
      const own: StandIn = { original, content, edit: { kind: 'own', by: id } };
      const target = commit === undefined ? undefined : await this.target(id, commit, task, signal);
      const moves =
        commit === undefined || target === undefined ? [] : await this.between(commit, target, signal);
      const change = moved(moves, id, original);
      const path = Buffer.from(edit.path);
      const lives = !isFile(original) && change === undefined && fileId(path) === id;
      if (lives && target !== undefined && revives(target) && !placeIsTaken(moves, path)) own.revived = path;
      add(id, own);
      if (change === undefined || target === undefined) continue;
      const next = await this.carry(id, edit, change, task.spec.id, signal);
      if (next === undefined) continue;
      const isShown = revives(target) && !placeIsTaken(moves, change.rawPath);
      const { revived: _revived, ...elsewhere } = next;
      carried.push(() => add(fileId(change.rawPath), isShown ? next : elsewhere));
    }
    // What was written for a version itself comes first.
    for (const each of carried) each();
    return found;
  }

  /** The commit that an edit is carried to, which may be the one that it was written for. */
  private async target(
    id: FileId,
    commit: string,
    task: TaskState,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const newest = resultRange(task)?.to;
    if (task.commits.some(({ sha }) => sha === commit)) return newest;
    const left = leftoversRange(task);
    if (left === undefined) return newest;
    const changes = await this.between(left.from, left.to, signal);
    return changes.some((one) => [one.rawPath, one.rawFrom].some((path) => path && fileId(path) === id))
      ? left.to
      : newest;
  }

  /** Undefined where the file is as it was, or the new version has what the user wrote. */
  private async carry(
    by: FileId,
    { original, content }: UserEdit,
    { newMode, newBlob, rawPath }: RawChange,
    taskId: string,
    signal: AbortSignal | undefined,
  ): Promise<StandIn | undefined> {
    const conflict = (why: NonNullable<FileEdit['why']>): StandIn => ({
      original: newBlob,
      content,
      edit: { kind: 'conflict', by, why },
    });
    if (!isFile(newBlob)) return { ...conflict('deleted'), revived: rawPath };
    if (!newMode.startsWith('100')) return conflict('noFile');
    if (newBlob === content) return undefined;
    if (newBlob === original)
      return { original, content, edit: { kind: fileId(rawPath) === by ? 'own' : 'carried', by } };
    const outcome = await this.merge({ original, content, newBlob }, taskId, signal);
    if ('why' in outcome) return conflict(outcome.why);
    if (outcome.content === newBlob) return undefined;
    return { original: newBlob, content: outcome.content, edit: { kind: 'carried', by } };
  }

  private async merge(
    { original, content, newBlob }: { original: string; content: string; newBlob: string },
    taskId: string,
    signal: AbortSignal | undefined,
  ): Promise<Outcome> {
    const key = `${original} ${content} ${newBlob}`;
    const known = this.merges.get(key);
    if (known !== undefined) return known;
    const outcome = await this.mergeNow([original, content, newBlob], taskId, signal).catch(
      (thrown: unknown): Outcome => {
        // Too long to be read; anything else is told by the diff itself.
        if (asSallyportError(thrown).code === 'git_failed') return { why: 'noText' };
        throw thrown;
      },
    );
    remember(this.merges, key, outcome, kept.merges);
    return outcome;
  }

  private async mergeNow(
    [original = '', content = '', newBlob = '']: readonly string[],
    taskId: string,
    signal: AbortSignal | undefined,
  ): Promise<Outcome> {
    const read = (oid: string): Promise<Uint8Array> => this.reader.read(oid, maxBytes, signal);
    const base = isFile(original) ? await read(original) : undefined;
    const [ours, theirs] = await Promise.all([read(content), read(newBlob)]);
    const merged = await mergeEdit(this.quarantine, base, ours, theirs, signal);
    if (merged.text === undefined) return { why: 'noText' };
    if (!merged.clean || base === undefined) return { why: 'lines' };
    return { content: await writeForReview(this.quarantine, taskId, merged.text, signal) };
  }

  private async between(from: string, to: string, signal: AbortSignal | undefined): Promise<RawChange[]> {
    if (from === to) return [];
    const key = `${from} ${to}`;
    const known = this.ranges.get(key);
    // A commit that is gone leaves its edits where they are.
    const isThere = known !== undefined || (await this.quarantine.has(from, signal));
    const changes =
      known ?? (isThere ? await rawChanges(this.quarantine, from, to, { signal, timeoutMs }) : []);
    remember(this.ranges, key, changes, kept.ranges);
    return changes;
  }

  /** Gives back the memory. */
  clear(): void {
    this.ranges.clear();
    this.merges.clear();
  }
}

/** Merges by lines what is text in all three versions: valid UTF-8 without zeros. Without text it is none. */
export async function mergeEdit(
  quarantine: Quarantine,
  base: Uint8Array | undefined,
  ours: Uint8Array,
  theirs: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<{ clean: boolean; text: Buffer | undefined }> {
  if (![base ?? new Uint8Array(), ours, theirs].every(isText)) return { clean: false, text: undefined };
  const folder = await quarantine.temporaryFolder();
  try {
    return await mergeLines({ base, ours, theirs }, sideNames, folder, quarantine.options(signal));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const strict = new TextDecoder('utf-8', { fatal: true });

function isText(content: Uint8Array): boolean {
  if (content.includes(0)) return false;
  try {
    strict.decode(content);
    return true;
  } catch {
    return false;
  }
}

/** The newest stand last. */
function remember<T>(all: Map<string, T>, key: string, one: T, most: number): void {
  all.delete(key);
  all.set(key, one);
  for (const oldest of all.keys()) {
    if (all.size <= most) break;
    all.delete(oldest);
  }
}
