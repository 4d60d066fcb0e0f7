import type { PartId, ReviewBody, ReviewState } from '../../protocol/review.ts';

/** How many names one event holds at most: a line of the log stays short enough to be read whole. */
export const partsPerEvent = 5000;
/** The same for rejected parts, which come with a text. */
export const rejectedPerEvent = 500;

export type TimedBody = ReviewBody & { t: number };

/** The fewest events that fold to this state. Their times are those of the state, where it has them. */
export function condense(state: ReviewState, now: number): TimedBody[] {
  return [
    ...verdicts(state, now),
    ...pieces(Object.keys(state.reviewed), partsPerEvent).map((fingerprints): TimedBody => ({
      type: 'reviewed',
      t: now,
      fingerprints,
      on: true,
    })),
    ...Object.entries(state.edits).map(([file, edit]): TimedBody => ({
      type: 'edited',
      t: now,
      file,
      ...edit,
    })),
    ...remarks(state, now),
    ...accepts(state),
    ...state.pushes.map(({ at, ...push }): TimedBody => ({ type: 'pushed', t: at, push })),
    ...pullRequest(state),
  ];
}

function verdicts(state: ReviewState, now: number): TimedBody[] {
  const accepted: PartId[] = [];
  const rejected: PartId[] = [];
  for (const [part, verdict] of Object.entries(state.verdicts))
    (verdict === 'accepted' ? accepted : rejected).push(part);
  return [
    ...pieces(accepted, partsPerEvent).map((parts): TimedBody => ({
      type: 'decided',
      t: now,
      parts,
      verdict: 'accepted',
    })),
    ...pieces(rejected, rejectedPerEvent).map((parts): TimedBody => ({
      type: 'decided',
      t: now,
      parts,
      verdict: 'rejected',
      rejected: parts.flatMap((part) => {
        const known = state.rejected[part];
        if (known === undefined) return [];
        const { path, kind, text } = known;
        return [{ part, path, kind, text }];
      }),
    })),
  ];
}

function remarks(state: ReviewState, now: number): TimedBody[] {
  const bodies: TimedBody[] = [];
  const sentWith = new Map<string | undefined, { remarks: string[]; rejected: PartId[] }>();
  const groupOf = (commit: string | undefined): { remarks: string[]; rejected: PartId[] } => {
    const known = sentWith.get(commit) ?? { remarks: [], rejected: [] };
    sentWith.set(commit, known);
    return known;
  };
  for (const { state: at, at: t, sentCommit, ...remark } of state.remarks) {
    bodies.push({ type: 'remark', t, remark });
    if (at === 'sent' || sentCommit !== undefined) groupOf(sentCommit).remarks.push(remark.id);
  }
  for (const { part, sent, sentCommit } of Object.values(state.rejected))
    if (sent) groupOf(sentCommit).rejected.push(part);
  if (state.sentAt !== undefined) groupOf(undefined);
  for (const [commit, { remarks: ids, rejected }] of sentWith) {
    const t = state.sentAt ?? now;
    const where = commit === undefined ? {} : { commit };
    bodies.push({ type: 'sent', t, remarks: ids, rejected: [], ...where });
    for (const parts of pieces(rejected, partsPerEvent))
      bodies.push({ type: 'sent', t, remarks: [], rejected: parts, ...where });
  }
  for (const { id, text, state: at, sentCommit } of state.remarks) {
    if (at === 'resolved') bodies.push({ type: 'remark_resolved', t: now, id, by: 'user', resolved: true });
    // It went out, and was changed or opened again.
    else if (at === 'draft' && sentCommit !== undefined)
      bodies.push({ type: 'remark_changed', t: now, id, text });
  }
  return bodies;
}

function accepts(state: ReviewState): TimedBody[] {
  const parts = new Map<string, PartId[]>();
  for (const [part, ids] of Object.entries(state.taken))
    for (const id of ids) {
      const known = parts.get(id);
      if (known === undefined) parts.set(id, [part]);
      else known.push(part);
    }
  return state.accepts.flatMap(({ undone, at, ...accept }): TimedBody[] => [
    { type: 'accepted', t: at, ...accept, parts: parts.get(accept.id) ?? [] },
    ...(undone ? [{ type: 'undone' as const, t: at, id: accept.id }] : []),
  ]);
}

function pullRequest({ pullRequest: found }: ReviewState): TimedBody[] {
  if (found === undefined) return [];
  const { at, ...record } = found;
  return [{ type: 'pull_request', t: at, pullRequest: record }];
}

export function pieces<T>(all: readonly T[], size: number): T[][] {
  const found: T[][] = [];
  for (let at = 0; at < all.length; at += size) found.push(all.slice(at, at + size));
  return found;
}
