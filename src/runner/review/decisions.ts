import { SallyportError } from '../../base/errors.ts';
import type { PartId, ReviewDiff, ReviewFile, ReviewState, Verdict } from '../../protocol/review.ts';
import { openGate, restParts } from '../../protocol/reviewState.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { AcceptRequest, Choice } from './taskReview.ts';

/** How many files a sentence names. */
const named = 5;

/**
 * The parts that a decision is about, with those that must go the same way: what an accepted part needs is accepted
 * with it, and what needs a rejected one is rejected with it. What is on the gate's list is only accepted when the choice
 * is of that file alone. A file whose edit is in conflict is not accepted at all. Throws `conflict` for parts that are not in the diff, unless they are decided and that is taken back.
 */
export function partsToDecide(
  diff: ReviewDiff,
  state: Pick<ReviewState, 'verdicts'>,
  choice: Choice,
  verdict: Verdict | null,
): PartId[] {
  const files = chosenFiles(diff, choice);
  const byHand = files.length === 1 && !('all' in choice);
  const chosen = new Set<PartId>();
  const wanted = 'parts' in choice ? new Set(choice.parts) : undefined;
  for (const file of files) {
    if (verdict === 'accepted' && !byHand && (file.gate.length > 0 || isInConflict(file))) continue;
    if (verdict === 'accepted' && isInConflict(file)) throw unsettled(file.path);
    for (const { id } of file.parts) if (wanted === undefined || wanted.has(id)) chosen.add(id);
  }
  if (wanted !== undefined) {
    const there = new Set(files.flatMap(({ parts }) => parts.map(({ id }) => id)));
    const lost = [...wanted].filter((id) => !there.has(id));
    if (verdict === null) for (const id of lost) if (state.verdicts[id] !== undefined) chosen.add(id);
    if (verdict !== null && lost.length > 0) throw movedOn();
  }
  if (verdict === 'accepted') addNeeded(diff, chosen);
  if (verdict === 'rejected') addDependent(diff, chosen);
  return [...chosen];
}

function chosenFiles(diff: ReviewDiff, choice: Choice): ReviewFile[] {
  if ('all' in choice) return diff.files;
  if ('file' in choice) {
    const file = diff.files.find(({ id }) => id === choice.file);
    if (file === undefined) throw movedOn();
    return [file];
  }
  const wanted = new Set(choice.parts);
  return diff.files.filter(({ parts }) => parts.some(({ id }) => wanted.has(id)));
}

/** Adds what the chosen parts need; but nothing of the gate's list, which nobody looked at for that, and nothing in conflict. */
function addNeeded(diff: ReviewDiff, chosen: Set<PartId>): void {
  const guarded = new Set<PartId>();
  const needs = new Map<PartId, readonly PartId[]>();
  for (const file of diff.files)
    for (const part of file.parts) {
      needs.set(part.id, part.needs);
      if (file.gate.length > 0 || isInConflict(file)) guarded.add(part.id);
    }
  const queue = [...chosen];
  for (let id = queue.pop(); id !== undefined; id = queue.pop())
    for (const other of needs.get(id) ?? []) {
      if (chosen.has(other) || guarded.has(other)) continue;
      chosen.add(other);
      queue.push(other);
    }
}

function addDependent(diff: ReviewDiff, chosen: Set<PartId>): void {
  const dependents = new Map<PartId, PartId[]>();
  for (const { parts } of diff.files)
    for (const { id, needs } of parts)
      for (const other of needs) dependents.set(other, [...(dependents.get(other) ?? []), id]);
  const queue = [...chosen];
  for (let id = queue.pop(); id !== undefined; id = queue.pop())
    for (const other of dependents.get(id) ?? []) {
      if (chosen.has(other)) continue;
      chosen.add(other);
      queue.push(other);
    }
}

/**
 * The parts that an accept takes. Throws `gate_open` when that would take something of the gate's list that was not
 * accepted by itself, `nothing_to_accept`, and `conflict` for parts that are not there, that need others that are not taken, or of a
 * file whose edit is in conflict.
 */
export function partsToAccept(
  diff: ReviewDiff,
  state: Pick<ReviewState, 'verdicts'>,
  what: AcceptRequest['what'],
): Set<PartId> {
  const chosen = wantedParts(diff, state, what);
  if (chosen.size === 0) {
    throw new SallyportError(
      'nothing_to_accept',
      what === 'accepted' ? 'Nothing is accepted yet.' : 'There is nothing to take over.',
      what === 'accepted'
        ? 'Accept hunks, files or everything first.'
        : 'Look at another part of the work, or take back what was rejected.',
    );
  }
  checkNeeds(diff, chosen);
  for (const file of diff.files)
    if (isInConflict(file) && file.parts.some(({ id }) => chosen.has(id))) throw unsettled(file.path);
  return chosen;
}

function isInConflict({ edit }: ReviewFile): boolean {
  return edit?.kind === 'conflict';
}

export function unsettled(path: string): SallyportError {
  return new SallyportError(
    'conflict',
    `Your edit of ${quoted(path)} and the new version of the task are in conflict.`,
    'Merge your edit with it or discard your edit, then do this again; or leave the file out.',
  );
}

function wantedParts(
  diff: ReviewDiff,
  state: Pick<ReviewState, 'verdicts'>,
  what: AcceptRequest['what'],
): Set<PartId> {
  if (what === 'rest') {
    const waiting = openGate(state, diff.files);
    if (waiting.length > 0) throw gateOpen(waiting);
    return new Set(restParts(state, diff.files));
  }
  if (what === 'accepted') {
    const accepted = diff.files.flatMap(({ parts }) => parts.map(({ id }) => id));
    return new Set(accepted.filter((id) => state.verdicts[id] === 'accepted'));
  }
  const chosen = new Set(what.parts);
  const there = new Set<PartId>();
  const touched: ReviewFile[] = [];
  for (const file of diff.files) {
    const mine = file.parts.filter(({ id }) => chosen.has(id));
    for (const { id } of mine) there.add(id);
    if (mine.length > 0) touched.push(file);
  }
  if (there.size < chosen.size) throw movedOn();
  if (touched.length > 1) {
    // One by one is by name, or by verdict.
    const waiting = touched.filter(
      ({ gate, parts }) =>
        gate.length > 0 && parts.some(({ id }) => chosen.has(id) && state.verdicts[id] !== 'accepted'),
    );
    if (waiting.length > 0) throw gateOpen(waiting);
  }
  return chosen;
}

function checkNeeds(diff: ReviewDiff, chosen: ReadonlySet<PartId>): void {
  const pathOf = new Map<PartId, string>();
  for (const { path, parts } of diff.files) for (const { id } of parts) pathOf.set(id, path);
  for (const { path, parts } of diff.files)
    for (const { id, needs } of parts) {
      if (!chosen.has(id)) continue;
      const lacking = needs.find((other) => !chosen.has(other));
      if (lacking === undefined) continue;
      throw new SallyportError(
        'conflict',
        `${quoted(path)} cannot be taken over without the change of ${quoted(pathOf.get(lacking) ?? '')}, which is not accepted.`,
        'Accept that too, or reject both.',
      );
    }
}

function gateOpen(files: readonly Pick<ReviewFile, 'path'>[]): SallyportError {
  const names = files.slice(0, named).map(({ path }) => quoted(path));
  const more = files.length - names.length;
  const list = more > 0 ? `${names.join(', ')} and ${more.toLocaleString('en')} more` : names.join(', ');
  return new SallyportError(
    'gate_open',
    files.length === 1
      ? `${list} can run on this machine or steer it, and is not decided.`
      : `${list} can run on this machine or steer it, and are not decided.`,
    'Look at each of them, and accept or reject it by itself.',
  );
}

function movedOn(): SallyportError {
  return new SallyportError(
    'conflict',
    'The work of the task has changed since it was shown.',
    'Look at it again, then decide.',
  );
}

/** A path is the agent's: what cannot be seen of it is shown. */
function quoted(path: string): string {
  return JSON.stringify(safeLine(path, 200));
}
