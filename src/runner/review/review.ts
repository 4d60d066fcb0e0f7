import { join } from 'node:path';
import { DisposableStore } from '../../base/disposable.ts';
import { SallyportError } from '../../base/errors.ts';
import type { Event } from '../../base/event.ts';
import { BlobReader } from '../../git/parts/blobReader.ts';
import { composeFile } from '../../git/parts/composeTree.ts';
import { writeForReview } from '../../git/parts/keep.ts';
import type { PartsDiff } from '../../git/parts/readParts.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import { newTaskId } from '../../protocol/task.ts';
import {
  Remark,
  ReviewBody,
  type FileId,
  type PartId,
  type RejectedPart,
  type ReviewDiff,
  type ReviewFile,
  type ReviewScope,
  type ReviewState,
  type Verdict,
} from '../../protocol/review.ts';
import { leftoversRange, resultRange, type CommitRange } from '../../protocol/ranges.ts';
import { unsent } from '../../protocol/reviewState.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import { agentMessage } from './agentMessage.ts';
import { Accepts } from './accepts.ts';
import { partsPerEvent, pieces, rejectedPerEvent } from './condense.ts';
import { partsToDecide } from './decisions.ts';
import { diffOf, ReviewDiffs } from './diffs.ts';
import { meaningOf } from './editing.ts';
import { withLock } from './fileLock.ts';
import { describeRejected } from './rejectedTexts.ts';
import { hasSent, placeForAgent, RemarkPlaces } from './remarks.ts';
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
  private readonly accepts: Accepts;
  /** What killed processes left of accepts is settled. */
  private settling: Promise<void> | undefined;
  private readonly places: RemarkPlaces;
  private readonly reader: BlobReader;
  private readonly turns = new TurnIndex();
  /** Up to which commit remarks were looked at. */
  private lookedAt: string | undefined;
  private looking: Promise<void> = Promise.resolve();
  private readonly store = new DisposableStore();
  readonly onDidChange: Event<ReviewState>;

  constructor(task: ReviewedTask) {
    this.task = task;
    this.log = this.store.add(new ReviewLog(task.folder));
    this.diffs = new ReviewDiffs(task.quarantine);
    this.accepts = new Accepts(task.folder, this.log);
    this.places = new RemarkPlaces(task.quarantine);
    this.reader = this.store.add(new BlobReader(task.quarantine));
    this.onDidChange = this.log.onDidChange;
  }

  async state(): Promise<ReviewState> {
    // What cannot be settled is told by the next accept; what was decided can be read all the same.
    await this.settle().catch(() => undefined);
    await this.resolveChanged();
    return await this.log.state();
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
    const texts =
      verdict === 'rejected' ? await describeRejected(this.reader, diff, new Set(parts)) : undefined;
    return await this.log.append(({ verdicts }) =>
      decided(
        parts.filter((id) => (verdicts[id] ?? null) !== verdict),
        verdict,
        texts,
      ),
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

  async content(scope: ReviewScope, file: FileId): Promise<Uint8Array> {
    const state = await this.log.state();
    const found = fileOf(diffOf(scope, await this.parts(scope, state)), file);
    const wanted = (id: PartId): boolean => state.verdicts[id] !== 'rejected';
    // What is taken away has no content.
    return (
      (await composeFile(this.task.quarantine, found, wanted, { reader: this.reader })) ?? new Uint8Array()
    );
  }

  async edit(scope: ReviewScope, file: FileId, content: Uint8Array | undefined): Promise<ReviewState> {
    const state = await this.log.state();
    const range = await this.range(scope);
    const own = diffOf(scope, await this.diffs.parts(range, { edits: {} }));
    const task = fileOf(own, file);
    if (content === undefined) return await this.log.append((now) => takeBack(now, task));
    const shown = fileOf(diffOf(scope, await this.diffs.parts(range, state)), file);
    const meaning = await meaningOf(this.reader, task, shown, content);
    if (meaning.kind === 'own') return await this.keepEdit(range, scope, task, content);
    const basis = meaning.of === 'task' ? task : shown;
    const missing = new Set(meaning.missing);
    const texts = await describeRejected(this.reader, { ...own, files: [basis] }, missing);
    return await this.log.append((now) => {
      const hunks = basis.parts.filter(({ kind }) => kind === 'hunk').map(({ id }) => id);
      const rejected = hunks.filter((id) => missing.has(id) && now.verdicts[id] !== 'rejected');
      const wanted = hunks.filter((id) => !missing.has(id) && now.verdicts[id] === 'rejected');
      return [
        ...(meaning.of === 'task' ? takeBack(now, task) : []),
        ...decided(rejected, 'rejected', texts),
        ...decided(wanted, null),
      ];
    });
  }

  private async keepEdit(
    range: CommitRange,
    scope: ReviewScope,
    { id, path, newBlob }: ReviewFile,
    content: Uint8Array,
  ): Promise<ReviewState> {
    const { quarantine } = this.task;
    const oid = await writeForReview(quarantine, this.task.state().spec.id, content);
    const edit = { path: path.slice(0, 4096), original: newBlob, content: oid };
    const { edits } = await this.log.state();
    const parts = await this.diffs.parts(range, { edits: { ...edits, [id]: edit } });
    const file = diffOf(scope, parts).files.find((one) => one.id === id);
    return await this.log.append(({ verdicts, edits: known }) => {
      // What the user wrote, they want: also where it is what they rejected before.
      const wanted = (file?.parts ?? []).filter((part) => verdicts[part.id] === 'rejected');
      const same = known[id]?.content === oid && known[id].original === newBlob;
      return [
        ...(same ? [] : [{ type: 'edited' as const, file: id, ...edit }]),
        ...decided(
          wanted.map((part) => part.id),
          null,
        ),
      ];
    });
  }

  async accept(request: AcceptRequest): Promise<AcceptOutcome> {
    const { spec } = this.task.state();
    const read = (scope: ReviewScope, state: ReviewState): Promise<PartsDiff> =>
      this.parts(scope, state, request.signal);
    return await this.accepts.accept(request, { spec, quarantine: this.task.quarantine }, read);
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

  async message(extra?: string): Promise<AgentMessage | undefined> {
    const state = await this.log.state();
    const scope: ReviewScope = { kind: 'all' };
    const range = await this.range(scope);
    // The agent has its own files, and not what the user wrote instead.
    const own = diffOf(scope, await this.diffs.parts(range, { edits: {} }));
    const { remarks, rejected } = unsent(state);
    const again = await this.returned(own);
    const task = this.task.state();
    const left = leftoversRange(task)?.to;
    const placed = [];
    for (const remark of remarks) {
      const file = own.files.find(({ id }) => id === remark.file);
      const leftover = left !== undefined && remark.commit === left;
      placed.push(await placeForAgent(remark, file, { places: this.places, reader: this.reader, leftover }));
    }
    return agentMessage(
      placed,
      [
        ...rejected.map((one) => ({ ...one, again: false })),
        ...again.flatMap((id) => {
          const known = state.rejected[id];
          return known === undefined ? [] : [{ ...known, again: true }];
        }),
      ],
      extra,
    );
  }

  async send(extra = ''): Promise<void> {
    // One at a time, in whichever window: nothing goes out twice.
    await withLock(join(this.task.folder, 'review.sending'), async () => {
      const message = await this.message(extra);
      const text = message?.text ?? extra.trim();
      if (text === '') {
        throw new SallyportError(
          'invalid_input',
          'There is nothing to send.',
          'Write a remark on a line, or reject a change, first.',
        );
      }
      const commit = resultRange(this.task.state())?.to;
      const task = await this.deliver(text);
      if (message === undefined) return;
      const { remarks, rejected } = message;
      await this.log.append(() => [
        {
          type: 'sent',
          remarks,
          rejected,
          ...(commit === undefined ? {} : { commit }),
          ...(task === undefined ? {} : { task }),
        },
      ]);
    });
  }

  /** Resolves to the task that has got it, where it is another one. What is thrown says that nothing was sent. */
  private async deliver(text: string): Promise<string | undefined> {
    const state = this.task.state();
    if (hasEnded(state)) {
      const next = await this.task.followUp(text);
      return next.spec.id === state.spec.id ? undefined : next.spec.id;
    }
    if (state.conversation === undefined) {
      throw new SallyportError(
        'task_busy',
        'The agent takes no messages while it works: the task was not started as a conversation.',
        'Your remarks and rejections are kept. Send them when the task is over, or stop it now.',
      );
    }
    await this.task.send(text);
    return undefined;
  }

  place(remark: Pick<Remark, 'blob' | 'line' | 'endLine'>, blob: string): Promise<LineRange | undefined> {
    return this.places.place(remark, blob);
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
    const once = state.conversation === undefined && state.reopened === 0 && state.checkpoints.length < 2;
    if (once) return [];
    return await this.turns.read(state, this.task.batches, signal);
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
    if (resultRange(state)?.to !== this.lookedAt) void this.resolveChanged();
  }

  /** Resolves what the agent was told and has changed since. What goes wrong with it is tried again with the next commit. */
  private resolveChanged(): Promise<void> {
    this.looking = this.looking.then(async () => {
      try {
        const state = this.task.state();
        const newest = resultRange(state)?.to;
        if (newest === undefined || newest === this.lookedAt) return;
        this.lookedAt = newest;
        const { remarks } = await this.log.state();
        if (!hasSent({ remarks })) return;
        const own = new Set(state.commits.map(({ sha }) => sha));
        const changed = await this.places.changedSince(remarks, newest, own);
        if (changed.length === 0) return;
        await this.log.append((now) =>
          changed
            .filter((id) => now.remarks.some((remark) => remark.id === id && remark.state === 'sent'))
            .map((id) => ({ type: 'remark_resolved', id, by: 'turn', resolved: true })),
        );
      } catch {
        this.lookedAt = undefined;
      }
    });
    return this.looking;
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

function fileOf(diff: ReviewDiff, id: FileId): ReviewFile {
  const found = diff.files.find((file) => file.id === id);
  if (found !== undefined) return found;
  throw new SallyportError(
    'not_found',
    'The file is not among the changes any more.',
    'Look at the changes again.',
  );
}

function takeBack({ edits }: ReviewState, { id, path, newBlob }: ReviewFile): ReviewBody[] {
  if (edits[id] === undefined) return [];
  return [{ type: 'edited', file: id, path: path.slice(0, 4096), original: newBlob, content: null }];
}

function decided(
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
