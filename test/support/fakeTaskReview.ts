import { SallyportError } from '../../src/base/errors.ts';
import { Emitter } from '../../src/base/event.ts';
import {
  emptyReview,
  type FileId,
  type PartId,
  type Remark,
  type ReviewBody,
  type ReviewDiff,
  type ReviewFile,
  type ReviewScope,
  type ReviewState,
  type Verdict,
} from '../../src/protocol/review.ts';
import { foldReview, unsent } from '../../src/protocol/reviewState.ts';
import { newTaskId } from '../../src/protocol/task.ts';
import { partsToAccept, partsToDecide } from '../../src/runner/review/decisions.ts';
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
} from '../../src/runner/review/taskReview.ts';

const shaOfNothing = '0'.repeat(40);

/** A review in memory: a test says what is to be seen, and looks at what was done. Decisions and fold are the real ones. */
export class FakeTaskReview implements TaskReview {
  private readonly changed = new Emitter<ReviewState>();
  private now: ReviewState = emptyReview;
  readonly onDidChange = this.changed.event;
  /** By `kind`, or `turn 2`, or `commit <sha>`. */
  readonly diffs = new Map<string, ReviewDiff>();
  readonly contents = new Map<FileId, Uint8Array>();
  choices: ScopeChoice[] = [{ scope: { kind: 'all' }, label: 'Everything', detail: '1 commit' }];
  /** Parts that came back. */
  cameBack: PartId[] = [];
  /** What the next accept comes to; `done` by default. */
  outcome: AcceptOutcome | undefined;
  readonly accepted: AcceptRequest[] = [];
  readonly sent: (string | undefined)[] = [];

  /** Something happens in the review, here or in another window. */
  say(...bodies: ReviewBody[]): ReviewState {
    for (const body of bodies)
      this.now = foldReview(this.now, { n: this.now.lastEvent + 1, t: Date.now(), ...body });
    this.changed.fire(this.now);
    return this.now;
  }

  /** What `diff` gives for everything. */
  show(files: ReviewFile[], scope: ReviewScope = { kind: 'all' }): void {
    this.diffs.set(keyOf(scope), { scope, from: shaOfNothing, to: shaOfNothing, files });
  }

  state(): Promise<ReviewState> {
    return Promise.resolve(this.now);
  }

  scopes(): Promise<ScopeChoice[]> {
    return Promise.resolve(this.choices);
  }

  diff(scope: ReviewScope): Promise<ReviewDiff> {
    const none: ReviewDiff = { scope, from: shaOfNothing, to: shaOfNothing, files: [] };
    const diff = this.diffs.get(keyOf(scope)) ?? none;
    const isEdited = ({ id, edit }: ReviewFile): boolean =>
      edit === undefined && Object.hasOwn(this.now.edits, id);
    if (!diff.files.some(isEdited)) return Promise.resolve(diff);
    const files = diff.files.map((file): ReviewFile =>
      isEdited(file) ? { ...file, edit: { kind: 'own', by: file.id } } : file,
    );
    return Promise.resolve({ ...diff, files });
  }

  returned(diff: ReviewDiff): Promise<PartId[]> {
    const there = new Set(diff.files.flatMap(({ parts }) => parts.map(({ id }) => id)));
    return Promise.resolve(this.cameBack.filter((id) => there.has(id)));
  }

  async decide(scope: ReviewScope, choice: Choice, verdict: Verdict | null): Promise<ReviewState> {
    const parts = partsToDecide(await this.diff(scope), this.now, choice, verdict);
    return parts.length === 0 ? this.now : this.say({ type: 'decided', parts, verdict });
  }

  setReviewed(files: readonly Pick<ReviewFile, 'fingerprint'>[], on: boolean): Promise<ReviewState> {
    const fingerprints = files.map(({ fingerprint }) => fingerprint);
    return Promise.resolve(this.say({ type: 'reviewed', fingerprints, on }));
  }

  content(_scope: ReviewScope, file: FileId): Promise<Uint8Array> {
    const bytes = this.contents.get(file);
    if (bytes !== undefined) return Promise.resolve(bytes);
    return Promise.reject(new SallyportError('not_found', 'There is no such file.', 'Look again.'));
  }

  async edit(scope: ReviewScope, file: FileId, content: Uint8Array | undefined): Promise<ReviewState> {
    const found = (await this.diff(scope)).files.find(({ id }) => id === file);
    if (content !== undefined) this.contents.set(file, content);
    const { path = '', newBlob = shaOfNothing } = found ?? {};
    const blob = content === undefined ? null : '1'.repeat(40);
    return this.say({ type: 'edited', file, path, original: newBlob, content: blob });
  }

  /** None: whoever needs one has a review of a real task. */
  editConflict(): Promise<EditConflict> {
    return Promise.reject(new SallyportError('not_found', 'There is no conflict.', 'Look again.'));
  }

  settleEdit(
    { file, path, original }: EditInConflict,
    content: Uint8Array | undefined,
  ): Promise<ReviewState> {
    const blob = content === undefined ? null : '2'.repeat(40);
    return Promise.resolve(this.say({ type: 'edited', file, path, original, content: blob }));
  }

  async accept(request: AcceptRequest): Promise<AcceptOutcome> {
    const diff = await this.diff(request.scope);
    const parts = [...partsToAccept(diff, this.now, request.what)];
    this.accepted.push(request);
    if (this.outcome !== undefined) return this.outcome;
    const id = newTaskId(Date.now());
    const { target } = request;
    const files = diff.files.length;
    this.say({ type: 'accepted', id, target, files, parts, whole: false });
    const record = this.now.accepts.at(-1);
    if (record === undefined) throw new Error('The accept is not in the state');
    return { kind: 'done', record };
  }

  undo(id: string): Promise<void> {
    this.say({ type: 'undone', id });
    return Promise.resolve();
  }

  addRemark(remark: Omit<Remark, 'id'>): Promise<Remark> {
    const whole = { ...remark, id: newTaskId(Date.now()) };
    this.say({ type: 'remark', remark: whole });
    return Promise.resolve(whole);
  }

  changeRemark(id: string, text: string): Promise<void> {
    this.say({ type: 'remark_changed', id, text });
    return Promise.resolve();
  }

  removeRemark(id: string): Promise<void> {
    this.say({ type: 'remark_removed', id });
    return Promise.resolve();
  }

  resolveRemark(id: string, resolved: boolean): Promise<void> {
    this.say({ type: 'remark_resolved', id, by: 'user', resolved });
    return Promise.resolve();
  }

  message(): Promise<AgentMessage | undefined> {
    const { remarks, rejected } = unsent(this.now);
    if (remarks.length === 0 && rejected.length === 0) return Promise.resolve(undefined);
    return Promise.resolve({
      text: remarks.map(({ text }) => text).join('\n'),
      remarks: remarks.map(({ id }) => id),
      rejected: rejected.map(({ part }) => part),
    });
  }

  async send(extra?: string): Promise<void> {
    const message = await this.message();
    this.sent.push(extra);
    if (message === undefined) return;
    this.say({ type: 'sent', remarks: message.remarks, rejected: message.rejected });
  }

  /** Lines stay where they are. */
  place({ line, endLine }: Pick<Remark, 'blob' | 'line' | 'endLine'>): Promise<LineRange | undefined> {
    return Promise.resolve({ line, endLine });
  }

  record(body: OutsideRecord): Promise<ReviewState> {
    return Promise.resolve(this.say(body));
  }
}

function keyOf(scope: ReviewScope): string {
  if (scope.kind === 'turn') return `turn ${scope.turn}`;
  return scope.kind === 'commit' ? `commit ${scope.sha}` : scope.kind;
}
