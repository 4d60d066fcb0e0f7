import type {
  AcceptRecord,
  FileEdit,
  FileId,
  LaterEvent,
  PartId,
  RejectedPart,
  RemarkState,
  ReviewEvent,
  ReviewFile,
  ReviewState,
} from './review.ts';

type AnyEvent = ReviewEvent | LaterEvent;

/** How many pushes are kept in the state: the newest. */
const keptPushes = 100;

/** Folds one event in. An event that is already in is left out, so a replay does no harm. The argument is not changed. */
export function foldReview(state: ReviewState, event: AnyEvent): ReviewState {
  return foldReviews(state, [event]);
}

/** As `foldReview`, of many at once: what is large is copied once. */
export function foldReviews(state: ReviewState, events: readonly AnyEvent[]): ReviewState {
  const fresh = events.filter(({ n }) => n > state.lastEvent);
  if (fresh.length === 0) return state;
  const draft = new Draft(state);
  for (const event of fresh) if (event.n > draft.next.lastEvent) fold(draft, event);
  return draft.next;
}

/** A state whose large members are copied before they are first written to. */
class Draft {
  readonly next: ReviewState;
  private readonly own = new Set<keyof ReviewState>();

  constructor(state: ReviewState) {
    this.next = { ...state };
  }

  /** The member, as one that may be changed. */
  get<K extends 'verdicts' | 'rejected' | 'reviewed' | 'edits' | 'taken'>(key: K): ReviewState[K] {
    if (!this.own.has(key)) {
      this.own.add(key);
      this.next[key] = { ...this.next[key] };
    }
    return this.next[key];
  }
}

function fold(draft: Draft, event: AnyEvent): void {
  const { next } = draft;
  next.lastEvent = event.n;
  switch (event.type) {
    case 'decided':
      decide(draft, event);
      return;
    case 'reviewed': {
      const reviewed = draft.get('reviewed');
      for (const fingerprint of event.fingerprints)
        if (event.on) reviewed[fingerprint] = true;
        else remove(reviewed, fingerprint);
      return;
    }
    case 'edited': {
      const { file, path, original, content, commit } = event;
      if (content === null) remove(draft.get('edits'), file);
      else
        draft.get('edits')[file] = { path, original, content, ...(commit === undefined ? {} : { commit }) };
      return;
    }
    case 'remark':
      if (next.remarks.some(({ id }) => id === event.remark.id)) return;
      next.remarks = [...next.remarks, { ...event.remark, state: 'draft', at: event.t }];
      return;
    case 'remark_changed':
      // The agent does not have the new text.
      changeRemark(next, event.id, (remark) => ({ ...remark, text: event.text, state: 'draft' }));
      return;
    case 'remark_removed':
      next.remarks = next.remarks.filter(({ id }) => id !== event.id);
      return;
    case 'remark_resolved':
      // What is opened again is to be said again.
      changeRemark(next, event.id, (remark) => ({ ...remark, state: event.resolved ? 'resolved' : 'draft' }));
      return;
    case 'sent': {
      const ids = new Set(event.remarks);
      const { commit } = event;
      next.sentAt = event.t;
      next.remarks = next.remarks.map((remark) =>
        ids.has(remark.id) && remark.state === 'draft'
          ? { ...remark, state: 'sent', ...(commit === undefined ? {} : { sentCommit: commit }) }
          : remark,
      );
      const rejected = draft.get('rejected');
      for (const part of event.rejected) {
        const known = rejected[part];
        if (known === undefined) continue;
        rejected[part] = { ...known, sent: true, ...(commit === undefined ? {} : { sentCommit: commit }) };
      }
      return;
    }
    case 'accepted': {
      if (next.accepts.some(({ id }) => id === event.id)) return;
      const { id, t, target, files, whole, branch, commit } = event;
      const record: AcceptRecord = { id, at: t, target, files, whole, undone: false };
      if (branch !== undefined) record.branch = branch;
      if (commit !== undefined) record.commit = commit;
      next.accepts = [...next.accepts, record];
      const taken = draft.get('taken');
      for (const part of event.parts) taken[part] = [...(taken[part] ?? []), id];
      return;
    }
    case 'undone': {
      const { id } = event;
      next.accepts = next.accepts.map((accept) => (accept.id === id ? { ...accept, undone: true } : accept));
      const taken = draft.get('taken');
      for (const [part, by] of Object.entries(taken)) {
        if (!by.includes(id)) continue;
        const others = by.filter((other) => other !== id);
        if (others.length === 0) remove(taken, part);
        else taken[part] = others;
      }
      return;
    }
    case 'pushed':
      next.pushes = [...next.pushes, { ...event.push, at: event.t }].slice(-keptPushes);
      return;
    case 'pull_request':
      next.pullRequest = { ...event.pullRequest, at: event.t };
      return;
    case 'later':
  }
}

function decide(draft: Draft, event: Extract<ReviewEvent, { type: 'decided' }>): void {
  const verdicts = draft.get('verdicts');
  const rejected = draft.get('rejected');
  const told = new Map(event.rejected?.map((one) => [one.part, one]));
  for (const part of event.parts) {
    if (event.verdict === null) remove(verdicts, part);
    else verdicts[part] = event.verdict;
    if (event.verdict !== 'rejected') remove(rejected, part);
    else {
      const before = rejected[part];
      rejected[part] = { part, path: '', kind: '', text: '', sent: false, ...before, ...told.get(part) };
    }
  }
}

function remove(record: Record<string, unknown>, key: string): void {
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
  delete record[key];
}

function changeRemark(state: ReviewState, id: string, change: (remark: RemarkState) => RemarkState): void {
  state.remarks = state.remarks.map((remark) => (remark.id === id ? change(remark) : remark));
}

type Parts = Pick<ReviewFile, 'parts'>;

/** What was decided on a file: `mixed` where its parts differ, or some of them wait. */
export type FileVerdict = 'accepted' | 'rejected' | 'mixed' | 'none';

export function verdictOf(state: Pick<ReviewState, 'verdicts'>, file: Parts): FileVerdict {
  const [first, ...more] = new Set(file.parts.map(({ id }) => state.verdicts[id] ?? 'none'));
  return more.length > 0 ? 'mixed' : (first ?? 'none');
}

/** How the user's edit of a file stands, as lists say it. */
export function editWords({ kind, why }: FileEdit): string {
  if (kind === 'own') return 'edited by you';
  if (kind === 'carried') return "your edit is carried over to the task's new version";
  switch (why) {
    case 'deleted':
      return 'conflict: you edited it, the task has deleted it';
    case 'noFile':
      return 'conflict: you edited it, the task has made something else of it';
    case 'noText':
      return "conflict: your edit and the task's new version cannot be merged, because they are not text";
    default:
      return "conflict: your edit and the task's new version have changed the same lines";
  }
}

export function isReviewed(
  state: Pick<ReviewState, 'reviewed'>,
  file: Pick<ReviewFile, 'fingerprint'>,
): boolean {
  return Object.hasOwn(state.reviewed, file.fingerprint);
}

/** The files of the gate's list of which some part has no verdict: `rest` is not taken before there are none. */
export function openGate<F extends Pick<ReviewFile, 'parts' | 'gate'>>(
  state: Pick<ReviewState, 'verdicts'>,
  files: readonly F[],
): F[] {
  return files.filter(
    ({ gate, parts }) => gate.length > 0 && parts.some(({ id }) => state.verdicts[id] === undefined),
  );
}

/** The parts that are accepted. */
export function acceptedParts(state: Pick<ReviewState, 'verdicts'>, files: readonly Parts[]): PartId[] {
  return partsWhere(files, (id) => state.verdicts[id] === 'accepted');
}

/** What `rest` would take: the parts that are not rejected. */
export function restParts(state: Pick<ReviewState, 'verdicts'>, files: readonly Parts[]): PartId[] {
  return partsWhere(files, (id) => state.verdicts[id] !== 'rejected');
}

function partsWhere(files: readonly Parts[], wanted: (id: PartId) => boolean): PartId[] {
  return files.flatMap(({ parts }) => parts.map(({ id }) => id).filter(wanted));
}

/** True for a part that was accepted and is in the user's repository. */
export function isTaken(state: Pick<ReviewState, 'taken'>, part: PartId): boolean {
  return Object.hasOwn(state.taken, part);
}

export function remarksOf(state: Pick<ReviewState, 'remarks'>, file: FileId): RemarkState[] {
  return state.remarks.filter((remark) => remark.file === file);
}

/** What the agent was not told yet. */
export function unsent(state: Pick<ReviewState, 'remarks' | 'rejected'>): {
  remarks: RemarkState[];
  rejected: RejectedPart[];
} {
  return {
    remarks: state.remarks.filter((remark) => remark.state === 'draft'),
    rejected: Object.values(state.rejected).filter(({ sent }) => !sent),
  };
}
