import { DisposableStore } from '../../base/disposable.ts';
import { SallyportError } from '../../base/errors.ts';
import type { Event } from '../../base/event.ts';
import type { PartsDiff } from '../../git/parts/readParts.ts';
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
import type { TaskState } from '../../protocol/taskState.ts';
import { Accepts } from './accepts.ts';
import { partsPerEvent, pieces } from './condense.ts';
import { partsToDecide } from './decisions.ts';
import { Edits } from './edits.ts';
import { ReviewLog } from './reviewLog.ts';
import { scopesOf } from './scopes.ts';
import { Sending } from './sending.ts';
import { decision, ReviewSource, type ReviewedTask } from './source.ts';
import type {
  AcceptOutcome,
  AcceptRequest,
  AgentMessage,
  Choice,
  EditConflict,
  EditInConflict,
  LineRange,
  OutsideRecord,
  ScopeChoice,
  TaskReview,
} from './taskReview.ts';

/** The review of one task: what its log says, and what the quarantine holds. */
export class Review implements TaskReview {
  private readonly source: ReviewSource;
  private readonly log: ReviewLog;
  private readonly accepts: Accepts;
  private readonly edits: Edits;
  private readonly sending: Sending;
  /** What killed processes left of accepts is settled. */
  private settling: Promise<void> | undefined;
  private readonly store = new DisposableStore();
  readonly onDidChange: Event<ReviewState>;

  constructor(task: ReviewedTask) {
    this.source = this.store.add(new ReviewSource(task));
    this.log = this.store.add(new ReviewLog(task.folder));
    this.accepts = new Accepts(task.folder, this.log);
    this.edits = new Edits(this.source, this.log);
    this.sending = new Sending(this.source, this.log);
    this.onDidChange = this.log.onDidChange;
  }

  async state(): Promise<ReviewState> {
    // What cannot be settled is told by the next accept; what was decided can be read all the same.
    await this.settle().catch(() => undefined);
    await this.sending.resolveChanged();
    return await this.log.state();
  }

  async scopes(): Promise<ScopeChoice[]> {
    const state = this.source.task.state();
    return scopesOf(state, await this.source.turns(state));
  }

  async diff(scope: ReviewScope, signal?: AbortSignal): Promise<ReviewDiff> {
    return await this.source.diff(scope, await this.log.state(), signal);
  }

  returned(diff: ReviewDiff): Promise<PartId[]> {
    return this.sending.returned(diff);
  }

  async decide(scope: ReviewScope, choice: Choice, verdict: Verdict | null): Promise<ReviewState> {
    const before = await this.log.state();
    const diff = await this.source.diff(scope, before);
    const parts = partsToDecide(diff, before, choice, verdict);
    return await this.log.append(await decision(this.source.reader, diff, parts, verdict));
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

  content(scope: ReviewScope, file: FileId): Promise<Uint8Array> {
    return this.edits.content(scope, file);
  }

  edit(scope: ReviewScope, file: FileId, content: Uint8Array | undefined): Promise<ReviewState> {
    return this.edits.edit(scope, file, content);
  }

  editConflict(scope: ReviewScope, file: FileId): Promise<EditConflict> {
    return this.edits.conflict(scope, file);
  }

  settleEdit(told: EditInConflict, content: Uint8Array | undefined): Promise<ReviewState> {
    return this.edits.settle(told, content);
  }

  async accept(request: AcceptRequest): Promise<AcceptOutcome> {
    const { quarantine, state } = this.source.task;
    const read = (scope: ReviewScope, now: ReviewState): Promise<PartsDiff> =>
      this.source.parts(scope, now, request.signal);
    return await this.accepts.accept(request, { spec: state().spec, quarantine }, read);
  }

  async undo(id: string): Promise<void> {
    await this.accepts.undo(id);
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
    return this.sending.message();
  }

  send(extra?: string): Promise<void> {
    return this.sending.send(extra);
  }

  place(remark: Pick<Remark, 'blob' | 'line' | 'endLine'>, blob: string): Promise<LineRange | undefined> {
    return this.sending.place(remark, blob);
  }

  async record(body: OutsideRecord): Promise<ReviewState> {
    const checked = ReviewBody.parse(body);
    return await this.log.append(() => [checked]);
  }

  /** Takes back what a killed process left half done in the user's repository, once. */
  settle(): Promise<void> {
    this.settling ??= this.accepts.settle().catch((thrown: unknown) => {
      // The next who looks tries again.
      this.settling = undefined;
      throw thrown;
    });
    return this.settling;
  }

  /** Runs `work` while nothing of the task is being accepted. */
  async whileQuiet<T>(work: () => Promise<T>): Promise<T> {
    return await this.accepts.alone(undefined, work);
  }

  /** The task has moved on. */
  changed(state: TaskState): void {
    this.sending.changed(state);
  }

  /** Gives back memory; it is read again when it is needed. */
  rest(): void {
    this.source.rest();
  }

  dispose(): void {
    this.store.dispose();
  }
}
