import assert from 'node:assert/strict';
import {
  emptyReview,
  parseReviewEvent,
  type ReviewFile,
  type ReviewState,
} from '../../src/protocol/review.ts';
import {
  acceptedParts,
  foldReview,
  foldReviews,
  isReviewed,
  openGate,
  restParts,
  unsent,
  verdictOf,
} from '../../src/protocol/reviewState.ts';
import { condense } from '../../src/runner/review/condense.ts';
import { idOf, randomEvents } from '../support/reviewEvents.ts';
import { shaOf } from '../support/specs.ts';

const seeds = Array.from({ length: 120 }, (_, i) => i + 1);

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) frozen(member);
  }
  return value;
}

describe('state of a review', () => {
  it('is the same whether events come one by one, in batches or twice', () => {
    for (const seed of seeds) {
      const events = randomEvents(seed, 80);
      let one: ReviewState = emptyReview;
      for (const event of events) one = foldReview(frozen(one), event);
      const whole = foldReviews(emptyReview, events);
      assert.deepEqual(whole, one, `seed ${seed}`);
      assert.equal(whole.lastEvent, 80);
      const half = foldReviews(emptyReview, events.slice(0, 40));
      assert.deepEqual(foldReviews(frozen(half), events), whole, `seed ${seed}`);
      assert.equal(foldReviews(whole, events), whole);
      assert.equal(foldReview(whole, events[3]!), whole);
    }
  });

  it('can be told again in fewer events', () => {
    for (const seed of seeds) {
      const state = foldReviews(emptyReview, randomEvents(seed, 200));
      const bodies = condense(frozen(state), 5);
      assert(bodies.length < 200, `seed ${seed}`);
      const events = bodies.map((body, i) => parseReviewEvent({ n: i + 1, ...body }));
      const again = foldReviews(emptyReview, JSON.parse(JSON.stringify(events)) as typeof events);
      assert.deepEqual({ ...again, lastEvent: 0 }, { ...state, lastEvent: 0 }, `seed ${seed}`);
    }
  });

  it('counts what a later version knows, and goes on', () => {
    const later = parseReviewEvent({ n: 1, t: 1, type: 'praised', stars: 5 });
    assert.deepEqual(later, { type: 'later', n: 1, t: 1 });
    const other = parseReviewEvent({ n: 2, t: 1, type: 'decided', parts: 'all', verdict: 'maybe' });
    const state = foldReviews(emptyReview, [
      later,
      other,
      { n: 3, t: 1, type: 'decided', parts: [idOf(1)], verdict: 'accepted' },
    ]);
    assert.deepEqual(state, { ...emptyReview, lastEvent: 3, verdicts: { [idOf(1)]: 'accepted' } });
    for (const bad of [{}, { n: 0, t: 1 }, { n: 1 }, [], 'x', null])
      assert.throws(() => parseReviewEvent(bad), JSON.stringify(bad));
  });

  it('holds a part that two accepts took until both are undone', () => {
    const accepted = {
      type: 'accepted',
      target: { kind: 'tree', staged: false },
      files: 1,
      whole: false,
    } as const;
    let state = foldReviews(emptyReview, [
      { n: 1, t: 1, ...accepted, id: 'a', parts: [idOf(1), idOf(2)] },
      { n: 2, t: 1, ...accepted, id: 'b', parts: [idOf(2)] },
      { n: 3, t: 1, type: 'undone', id: 'a' },
    ]);
    assert.deepEqual(state.taken, { [idOf(2)]: ['b'] });
    state = foldReview(state, { n: 4, t: 1, type: 'undone', id: 'b' });
    assert.deepEqual(state.taken, {});
  });
});

describe('what is read of a review', () => {
  const file = (n: number, parts: number[], gate = false): ReviewFile => ({
    id: idOf(n),
    path: `file ${n}`,
    status: 'modified',
    oldMode: '100644',
    newMode: '100644',
    oldBlob: shaOf('old'),
    newBlob: shaOf('new'),
    binary: false,
    parts: parts.map((part) => ({
      id: idOf(part),
      kind: 'hunk',
      added: 1,
      removed: 1,
      label: '',
      needs: [],
    })),
    gate: gate ? [{ kind: 'ci', why: 'A forge runs it.' }] : [],
    fingerprint: `print ${n}`,
  });
  const files = [file(1, [1, 2], true), file(2, [3, 4]), file(3, [5]), file(4, []), file(5, [6])];
  const state = foldReviews(emptyReview, [
    { n: 1, t: 1, type: 'decided', parts: [idOf(1), idOf(3), idOf(4)], verdict: 'accepted' },
    { n: 2, t: 1, type: 'decided', parts: [idOf(5)], verdict: 'rejected' },
    { n: 3, t: 1, type: 'reviewed', fingerprints: ['print 1', 'print 5'], on: true },
  ]);

  it('is a verdict of each file, and whether it was read', () => {
    assert.deepEqual(
      files.map((one) => verdictOf(state, one)),
      ['mixed', 'accepted', 'rejected', 'none', 'none'],
    );
    assert.deepEqual(
      files.map((one) => isReviewed(state, one)),
      [true, false, false, false, true],
    );
    assert.equal(isReviewed(state, { fingerprint: 'constructor' }), false);
  });

  it('is what an accept would take, and what keeps it from doing so', () => {
    assert.deepEqual(openGate(state, files), [files[0]]);
    assert.deepEqual(acceptedParts(state, files), [1, 3, 4].map(idOf));
    assert.deepEqual(restParts(state, files), [1, 2, 3, 4, 6].map(idOf));
  });

  it('is what the agent was not told', () => {
    assert.deepEqual(
      unsent(state).rejected.map(({ part }) => part),
      [idOf(5)],
    );
    const told = foldReview(state, { n: 4, t: 1, type: 'sent', remarks: [], rejected: [idOf(5)] });
    assert.deepEqual(unsent(told).rejected, []);
  });
});
