import { DisposableStore } from '../../base/disposable.ts';
import { SallyportError } from '../../base/errors.ts';
import type { Event } from '../../base/event.ts';
import type { PartsDiff } from '../../git/parts/readParts.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import { newTaskId } from '../../protocol/task.ts';
import {
  Remark,
  ReviewBody,
  type FileId,
  type PartId,
  type ReviewDiff,
  type ReviewFile,
  type ReviewScope,
  type ReviewState,
  type Verdict,
} from '../../protocol/review.ts';
import type { CommitRange } from '../../protocol/ranges.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { partsPerEvent, pieces, rejectedPerEvent } from './condense.ts';
import { partsToDecide } from './decisions.ts';
import { diffOf, ReviewDiffs } from './diffs.ts';
import { describeRejected } from './rejectedTexts.ts';
import { ReviewLog } from './reviewLog.ts';
import { rangeOfScope, scopesOf, TurnIndex } from './scopes.ts';
import type {
  AcceptOutcome,
  AcceptRequest,
  AgentMessage,
  Choice,
  LineRange,
  OutsideRecord,
  ScopeChoice,
  TaskReview,
} from './taskReview.ts';

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

/** The review of one task: what its log says, and what the quarantine holds. */
export class Review implements TaskReview {
  private readonly task: ReviewedTask;
  private readonly log: ReviewLog;
  private readonly diffs: ReviewDiffs;
  private readonly turns = new TurnIndex();
  private readonly store = new DisposableStore();
  readonly onDidChange: Event<ReviewState>;

  constructor(task: ReviewedTask) {
    this.task = task;
    this.log = this.store.add(new ReviewLog(task.folder));
    this.diffs = new ReviewDiffs(task.quarantine);
    this.onDidChange = this.log.onDidChange;
  }

  state(): Promise<ReviewState> {
    return this.log.state();
  }

  async scopes(): Promise<ScopeChoice[]> {
    const state = this.task.state();
    return scopesOf(state, await this.readTurns(state));
  }

  async diff(scope: ReviewScope, signal?: AbortSignal): Promise<ReviewDiff> {
    return diffOf(scope, await this.parts(scope, await this.log.state(), signal));
  }

  async returned(diff: ReviewDiff): Promise<PartId[]> {
    const { rejected } = await this.log.state();
    const { commits } = this.task.state();
    const place = new Map(commits.map(({ sha }, at) => [sha, at]));
    const shown = place.get(diff.to) ?? commits.length;
    const ids = diff.files.flatMap(({ parts }) => parts.map(({ id }) => id));
    return ids.filter((id) => {
      const known = rejected[id];
      if (known?.sent !== true) return false;
      return shown > (place.get(known.sentCommit ?? '') ?? -1);
    });
  }

  async decide(scope: ReviewScope, choice: Choice, verdict: Verdict | null): Promise<ReviewState> {
    const before = await this.log.state();
    const diff = diffOf(scope, await this.parts(scope, before));
    const parts = partsToDecide(diff, before, choice, verdict);
    return await this.say(parts, verdict, diff);
  }

  private async say(
    parts: readonly PartId[],
    verdict: Verdict | null,
    diff: ReviewDiff,
  ): Promise<ReviewState> {
    if (verdict !== 'rejected') {
      return await this.log.append(({ verdicts }) =>
        pieces(
          parts.filter((id) => (verdicts[id] ?? null) !== verdict),
          partsPerEvent,
        ).map((some) => ({ type: 'decided', parts: some, verdict })),
      );
    }
    const texts = await describeRejected(this.task.quarantine, diff, new Set(parts));
    return await this.log.append(({ verdicts }) =>
      pieces(
        parts.filter((id) => verdicts[id] !== verdict),
        rejectedPerEvent,
      ).map((some) => ({
        type: 'decided',
        parts: some,
        verdict,
        rejected: some.flatMap((id) => texts.get(id) ?? []),
      })),
    );
  }

  async setReviewed(files: readonly Pick<ReviewFile, 'fingerprint'>[], on: boolean): Promise<ReviewState> {
    const wanted = new Set(files.map(({ fingerprint }) => fingerprint));
    return await this.log.append(({ reviewed }) =>
      pieces(
        [...wanted].filter((one) => Object.hasOwn(reviewed, one) !== on),
        partsPerEvent,
      ).map((fingerprints) => ({ type: 'reviewed', fingerprints, on })),
    );
  }

  content(_scope: ReviewScope, _file: FileId): Promise<Uint8Array> {
    return Promise.reject(new Error('later'));
  }

  edit(_scope: ReviewScope, _file: FileId, _content: Uint8Array | undefined): Promise<ReviewState> {
    return Promise.reject(new Error('later'));
  }

  accept(_request: AcceptRequest): Promise<AcceptOutcome> {
    return Promise.reject(new Error('later'));
  }

  undo(_id: string): Promise<void> {
    return Promise.reject(new Error('later'));
  }

  async addRemark(remark: Omit<Remark, 'id'>): Promise<Remark> {
    const found = Remark.safeParse({ ...remark, id: newTaskId(Date.now()) });
    if (!found.success || found.data.text.trim() === '' || found.data.endLine < found.data.line) {
      throw new SallyportError(
        'invalid_input',
        'That is no remark.',
        'Write a text of at most 20,000 characters on a line of a file.',
      );
    }
    await this.log.append(() => [{ type: 'remark', remark: found.data }]);
    return found.data;
  }

  async changeRemark(id: string, text: string): Promise<void> {
    await this.onRemark(id, { type: 'remark_changed', id, text });
  }

  async removeRemark(id: string): Promise<void> {
    await this.onRemark(id, { type: 'remark_removed', id });
  }

  async resolveRemark(id: string, resolved: boolean): Promise<void> {
    await this.onRemark(id, { type: 'remark_resolved', id, by: 'user', resolved });
  }

  private async onRemark(id: string, body: ReviewBody): Promise<void> {
    const checked = ReviewBody.safeParse(body);
    if (!checked.success || (body.type === 'remark_changed' && body.text.trim() === '')) {
      throw new SallyportError(
        'invalid_input',
        'That is no text for a remark.',
        'Write a text of at most 20,000 characters, or delete the remark.',
      );
    }
    await this.log.append(({ remarks }) => {
      if (!remarks.some((remark) => remark.id === id))
        throw new SallyportError('not_found', 'The remark is gone.', 'It may have been deleted elsewhere.');
      return [checked.data];
    });
  }

  message(): Promise<AgentMessage | undefined> {
    return Promise.reject(new Error('later'));
  }

  send(_extra?: string): Promise<void> {
    return Promise.reject(new Error('later'));
  }

  place(_remark: Pick<Remark, 'blob' | 'line' | 'endLine'>, _blob: string): Promise<LineRange | undefined> {
    return Promise.reject(new Error('later'));
  }

  async record(body: OutsideRecord): Promise<ReviewState> {
    const checked = ReviewBody.parse(body);
    return await this.log.append(() => [checked]);
  }

  private async parts(scope: ReviewScope, state: ReviewState, signal?: AbortSignal): Promise<PartsDiff> {
    return await this.diffs.parts(await this.range(scope, signal), state, signal);
  }

  private async range(scope: ReviewScope, signal?: AbortSignal): Promise<CommitRange> {
    const state = this.task.state();
    const turns = () => this.readTurns(state, signal);
    return await rangeOfScope(scope, state, turns, this.task.quarantine, signal);
  }

  private async readTurns(state: TaskState, signal?: AbortSignal): ReturnType<TurnIndex['read']> {
    if (state.conversation === undefined) return [];
    return await this.turns.read(state, this.task.batches, signal);
  }

  /** The task has moved on. */
  changed(_state: TaskState): void {
    // Later.
  }

  /** Gives back memory; it is read again when it is needed. */
  rest(): void {
    this.diffs.clear();
  }

  dispose(): void {
    this.store.dispose();
    this.diffs.clear();
  }
}
