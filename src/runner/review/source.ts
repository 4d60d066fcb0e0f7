import { SallyportError } from '../../base/errors.ts';
import { BlobReader } from '../../git/parts/blobReader.ts';
import type { PartsDiff } from '../../git/parts/readParts.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { CommitRange } from '../../protocol/ranges.ts';
import type {
  FileId,
  PartId,
  RejectedPart,
  ReviewBody,
  ReviewDiff,
  ReviewFile,
  ReviewScope,
  ReviewState,
  Verdict,
} from '../../protocol/review.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { CarriedEdits } from './carriedEdits.ts';
import { partsPerEvent, pieces, rejectedPerEvent } from './condense.ts';
import { diffOf, ReviewDiffs } from './diffs.ts';
import { describeRejected } from './rejectedTexts.ts';
import { rangeOfScope, TurnIndex } from './scopes.ts';

/** The task of a review, and what can be done with it. */
export interface ReviewedTask {
  /** Where the task's log is. */
  folder: string;
  /** Throws `task_unknown` when it was removed. */
  state: () => TaskState;
  quarantine: Quarantine;
  /** What the task's log holds after a number, then live. */
  batches: (after: number, signal: AbortSignal) => AsyncIterable<readonly TaskEvent[]>;
  send: (text: string) => Promise<void>;
  /** Resolves to the task that goes on. */
  followUp: (text: string) => Promise<TaskState>;
}

/** What there is to see of a task: its scopes, diffs and contents, all from the quarantine. */
export class ReviewSource {
  readonly task: ReviewedTask;
  readonly reader: BlobReader;
  private readonly diffs: ReviewDiffs;
  private readonly carried: CarriedEdits;
  private readonly turnIndex = new TurnIndex();

  constructor(task: ReviewedTask) {
    this.task = task;
    this.reader = new BlobReader(task.quarantine);
    this.diffs = new ReviewDiffs(task.quarantine);
    this.carried = new CarriedEdits(task.quarantine, this.reader);
  }

  /** The diff of a scope with the edits of a state; without any, what the task itself made. */
  async parts(
    scope: ReviewScope,
    state: Pick<ReviewState, 'edits'> = { edits: {} },
    signal?: AbortSignal,
  ): Promise<PartsDiff> {
    const range = await this.range(scope, signal);
    const edits = await this.carried.standIns(state.edits, this.task.state(), { scope, range }, signal);
    return await this.diffs.parts(range, edits, signal);
  }

  /** As `parts`, for those who look. */
  async diff(
    scope: ReviewScope,
    state?: Pick<ReviewState, 'edits'>,
    signal?: AbortSignal,
  ): Promise<ReviewDiff> {
    return diffOf(scope, await this.parts(scope, state, signal));
  }

  private async range(scope: ReviewScope, signal?: AbortSignal): Promise<CommitRange> {
    const state = this.task.state();
    return await rangeOfScope(scope, state, () => this.turns(state, signal), this.task.quarantine, signal);
  }

  async turns(state: TaskState, signal?: AbortSignal): ReturnType<TurnIndex['read']> {
    const once = state.conversation === undefined && state.reopened === 0 && state.checkpoints.length < 2;
    if (once) return [];
    return await this.turnIndex.read(state, this.task.batches, signal);
  }

  /** Gives back memory; it is read again when it is needed. */
  rest(): void {
    this.diffs.clear();
    this.carried.clear();
  }

  dispose(): void {
    this.reader.dispose();
    this.rest();
  }
}

/** Throws `not_found`. */
export function fileOf(diff: ReviewDiff, id: FileId): ReviewFile {
  const found = diff.files.find((file) => file.id === id);
  if (found !== undefined) return found;
  throw new SallyportError(
    'not_found',
    'The file is not among the changes any more.',
    'Look at the changes again.',
  );
}

/** The events of a decision, in batches. */
export function decided(
  parts: readonly PartId[],
  verdict: Verdict | null,
  texts?: ReadonlyMap<PartId, RejectedPart>,
): ReviewBody[] {
  const some = pieces(parts, verdict === 'rejected' ? rejectedPerEvent : partsPerEvent);
  return some.map((piece) => ({
    type: 'decided',
    parts: piece,
    verdict,
    ...(texts === undefined ? {} : { rejected: piece.flatMap((id) => texts.get(id) ?? []) }),
  }));
}

/** What a decision about parts of a diff says, once the log's newest state is known. */
export async function decision(
  reader: BlobReader,
  diff: ReviewDiff,
  parts: readonly PartId[],
  verdict: Verdict | null,
): Promise<(state: Pick<ReviewState, 'verdicts'>) => ReviewBody[]> {
  const texts = verdict === 'rejected' ? await describeRejected(reader, diff, new Set(parts)) : undefined;
  return ({ verdicts }) =>
    decided(
      parts.filter((id) => (verdicts[id] ?? null) !== verdict),
      verdict,
      texts,
    );
}
