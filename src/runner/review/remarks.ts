import type { BlobReader } from '../../git/parts/blobReader.ts';
import { hunkText } from '../../git/parts/content.ts';
import { rawChanges } from '../../git/diff.ts';
import type { RawChange } from '../../git/log.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import { Sha } from '../../protocol/grammar.ts';
import type { Remark, RemarkState, ReviewFile, ReviewState } from '../../protocol/review.ts';
import { asSallyportError } from '../../base/errors.ts';
import type { PlacedRemark } from './agentMessage.ts';
import { followLines, lineChanges, type Followed, type LineChange } from './lineMap.ts';
import type { LineRange } from './taskReview.ts';

/** For what differs between two commits, in milliseconds. */
const timeoutMs = 60_000;
/** How many comparisons of two contents are kept. */
const keptComparisons = 200;
/** Longest content that is read for the code beside a remark, and longest code, in bytes. */
const longest = { content: 4 << 20, code: 3500 };
const none = /^0+$/;

type Place = Pick<Remark, 'blob' | 'line' | 'endLine'>;

/** Finds the lines that remarks are about in other versions of their files. */
export class RemarkPlaces {
  private readonly quarantine: Quarantine;
  private readonly compared = new Map<string, Promise<LineChange[] | undefined>>();

  constructor(quarantine: Quarantine) {
    this.quarantine = quarantine;
  }

  /** Undefined where one of the two is no text. */
  async follow({ blob, line, endLine }: Place, to: string): Promise<Followed | undefined> {
    const key = `${blob} ${to}`;
    const comparing = this.compared.get(key) ?? lineChanges(this.quarantine, blob, to);
    this.compared.delete(key);
    this.compared.set(key, comparing);
    comparing.catch(() => this.compared.delete(key));
    for (const oldest of this.compared.keys()) {
      if (this.compared.size <= keptComparisons) break;
      this.compared.delete(oldest);
    }
    const changes = await comparing;
    return changes && followLines(changes, { line, endLine });
  }

  async place(remark: Place, blob: string): Promise<LineRange | undefined> {
    if (!Sha.safeParse(blob).success || none.test(blob) || none.test(remark.blob)) return undefined;
    return (await this.follow(remark, blob))?.lines;
  }

  /**
   * Ids of the sent remarks whose lines are others in the newest commit than they were when the agent was told.
   * @param commits the task's own: a remark on another one is about what was left uncommitted
   */
  async changedSince(
    remarks: readonly RemarkState[],
    newest: string,
    commits: ReadonlySet<string>,
    signal?: AbortSignal,
  ): Promise<string[]> {
    const found: string[] = [];
    const readings = new Map<string, Promise<RawChange[]>>();
    const changeOf = async ({ path }: Remark, base: string): Promise<RawChange | undefined> => {
      const reading = readings.get(base) ?? rawChanges(this.quarantine, base, newest, { signal, timeoutMs });
      readings.set(base, reading);
      return (await reading).find((change) => (change.from ?? change.path) === path);
    };
    for (const remark of remarks) {
      const { sentCommit, commit } = remark;
      if (remark.state !== 'sent' || sentCommit === undefined || sentCommit === newest) continue;
      let file = await changeOf(remark, sentCommit);
      // What was left uncommitted is compared as it was left, once its file is in a commit.
      const leftover = remark.side === 'new' && !commits.has(commit);
      if (file !== undefined && leftover) file = await changeOf(remark, commit);
      if (file !== undefined && (await this.isChanged(remark, file))) found.push(remark.id);
    }
    return found;
  }

  private async isChanged(remark: RemarkState, file: RawChange): Promise<boolean> {
    const { oldBlob, newBlob, status } = file;
    if (status === 'deleted' || status === 'type-changed' || none.test(newBlob)) return true;
    if (oldBlob === newBlob) return false;
    const then = none.test(oldBlob) ? undefined : await this.follow(remark, oldBlob);
    if (then === undefined) return true;
    // What was removed then has no lines of its own: it stands between two.
    const lines = then.lines ?? { line: Math.max(1, then.near - 1), endLine: then.near };
    return (await this.follow({ blob: oldBlob, ...lines }, newBlob))?.changed ?? true;
  }
}

/** A remark with its place in the agent's newest version, and the code around it. */
export async function placeForAgent(
  remark: RemarkState,
  file: ReviewFile | undefined,
  around: { places: RemarkPlaces; reader: BlobReader; leftover: boolean },
): Promise<PlacedRemark> {
  const { id, path, side, text, quote } = remark;
  const newest = file?.newBlob ?? remark.blob;
  const lines =
    side === 'old' || remark.blob === newest
      ? { line: remark.line, endLine: remark.endLine }
      : await around.places.place(remark, newest);
  const hunk = file && (await hunkAt(remark, file, around.reader));
  return {
    id,
    path,
    side,
    lines,
    leftover: around.leftover,
    code: hunk ?? quote,
    isDiff: hunk !== undefined,
    text,
  };
}

/** The hunk that the remark's lines are in, with its header; undefined where they are in none, or it is too long. */
async function hunkAt(
  remark: RemarkState,
  file: ReviewFile,
  reader: BlobReader,
): Promise<string | undefined> {
  const { side, blob, line, endLine } = remark;
  if (blob !== (side === 'new' ? file.newBlob : file.oldBlob)) return undefined;
  const part = file.parts.find((one) => {
    const range = one[side];
    return range !== undefined && range.start <= endLine && range.start + range.lines > line;
  });
  if (part?.old === undefined || part.new === undefined) return undefined;
  try {
    const [base, content] = await Promise.all([
      reader.read(file.oldBlob, longest.content),
      reader.read(file.newBlob, longest.content),
    ]);
    const text = hunkText(base, content, part, longest.code);
    if (text.length > longest.code) return undefined;
    const { old, new: fresh } = part;
    return `@@ -${old.start},${old.lines} +${fresh.start},${fresh.lines} @@\n${text}`;
  } catch (thrown) {
    if (asSallyportError(thrown).code !== 'git_failed') throw thrown;
    return undefined;
  }
}

export function hasSent(state: Pick<ReviewState, 'remarks'>): boolean {
  return state.remarks.some((remark) => remark.state === 'sent');
}
