import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Admission, admitted, ahead, inOrder, type Claim, type Waiting } from '../../src/runner/admission.ts';

const limits = { parallel: 3, memoryBytes: 10 };
const silent = (): void => undefined;
const never = new AbortController().signal;

/** Lets everything that is ready go on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function isWithin(claims: readonly Claim[]): boolean {
  return (
    claims.length <= limits.parallel &&
    claims.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0) <= limits.memoryBytes
  );
}

const waitings = fc
  .array(
    fc.record({ priority: fc.integer({ min: -2, max: 2 }), memoryBytes: fc.integer({ min: 1, max: 10 }) }),
  )
  .map((all) => all.map((one, turn): Waiting => ({ ...one, turn, id: `task${turn}` })));

describe('who gets a place', () => {
  it('never takes more than the limits allow', () => {
    fc.assert(
      fc.property(waitings, fc.integer({ min: 0, max: 3 }), (waiting, count) => {
        const placed = Array.from({ length: count }, (_, i) => ({ id: `old${i}`, memoryBytes: 2 }));
        const ids = admitted(limits, placed, waiting);
        const chosen = waiting.filter(({ id }) => ids.includes(id));
        assert.ok(isWithin([...placed, ...chosen]));
      }),
    );
  });

  it('lets nobody pass one who comes before, however small', () => {
    fc.assert(
      fc.property(waitings, (waiting) => {
        const order = inOrder(waiting).map(({ id }) => id);
        assert.deepEqual(admitted(limits, [], waiting), order.slice(0, admitted(limits, [], waiting).length));
      }),
    );
  });

  it('leaves no place empty that the next one fits into', () => {
    fc.assert(
      fc.property(waitings, (waiting) => {
        const ids = admitted(limits, [], waiting);
        const next = inOrder(waiting)[ids.length];
        const chosen = waiting.filter(({ id }) => ids.includes(id));
        assert.ok(next === undefined || !isWithin([...chosen, next]));
      }),
    );
  });

  it('gives everybody a turn among equals: who came first is served first', () => {
    fc.assert(
      fc.property(waitings, (waiting) => {
        let left = waiting.map((one) => ({ ...one, priority: 0 }));
        const served: number[] = [];
        while (left.length > 0) {
          const ids = admitted(limits, [], left);
          assert.notEqual(ids.length, 0);
          served.push(...left.filter(({ id }) => ids.includes(id)).map(({ turn }) => turn));
          left = left.filter(({ id }) => !ids.includes(id));
        }
        assert.deepEqual(
          served,
          [...served].sort((a, b) => a - b),
        );
      }),
    );
  });

  it('tells of a long queue only how long it is about', () => {
    const texts = new Set(Array.from({ length: 5000 }, (_, count) => ahead(count)));
    assert.ok(texts.size < 45, String(texts.size));
    assert.match(ahead(0), /next/);
    assert.match(ahead(7), /7 tasks/);
    assert.match(ahead(47), /at least 40 tasks/);
  });
});

describe('the queue before the sandboxes', () => {
  it('gives a place at once where there is one, and the others in order of priority and age', async () => {
    const priorities = new Map([['d', 5]]);
    const queue = new Admission({ parallel: 1, memoryBytes: 10 });
    queue.rankBy((id) => priorities.get(id) ?? 0);
    const came: string[] = [];
    for (const id of ['a', 'b', 'c', 'd'])
      void queue
        .enter({ id, memoryBytes: 1, turn: queue.takeTurn() }, silent, never)
        .then(() => came.push(id));
    await settled();
    assert.deepEqual(came, ['a']);
    assert.equal(queue.waiting, 3);
    for (const id of ['a', 'd', 'b']) {
      queue.leave(id);
      await settled();
    }
    assert.deepEqual(came, ['a', 'd', 'b', 'c']);
  });

  it('obeys a priority that is changed while a task waits', async () => {
    const priorities = new Map<string, number>();
    const queue = new Admission({ parallel: 1, memoryBytes: 10 });
    queue.rankBy((id) => priorities.get(id) ?? 0);
    queue.occupy({ id: 'running', memoryBytes: 1 });
    const told = new Map<string, string>();
    const came: string[] = [];
    for (const id of ['b', 'c'])
      void queue
        .enter({ id, memoryBytes: 1, turn: queue.takeTurn() }, (text) => told.set(id, text), never)
        .then(() => came.push(id));
    assert.deepEqual([told.get('b'), told.get('c')], [ahead(0), ahead(1)]);
    priorities.set('c', 1);
    queue.decide();
    assert.deepEqual([told.get('b'), told.get('c')], [ahead(1), ahead(0)]);
    queue.leave('running');
    await settled();
    assert.deepEqual(came, ['c']);
  });

  it('lets nobody in while it is not known who has a sandbox already', async () => {
    const queue = new Admission({ parallel: 1, memoryBytes: 10 });
    const [first, second] = [queue.hold(), queue.hold()];
    const came: string[] = [];
    // Of before a restart, in the order in which they began and not in which they are found.
    void queue
      .enter({ id: 'later', memoryBytes: 1, turn: queue.takeTurn(2000) }, silent, never)
      .then(() => came.push('later'));
    void queue
      .enter({ id: 'new', memoryBytes: 1, turn: queue.takeTurn() }, silent, never)
      .then(() => came.push('new'));
    void queue
      .enter({ id: 'earlier', memoryBytes: 1, turn: queue.takeTurn(1000) }, silent, never)
      .then(() => came.push('earlier'));
    first.dispose();
    first.dispose();
    await settled();
    assert.deepEqual(came, []);
    queue.occupy({ id: 'found', memoryBytes: 1 });
    second.dispose();
    await settled();
    assert.deepEqual(came, []);
    for (const id of ['found', 'earlier', 'later']) {
      queue.leave(id);
      await settled();
    }
    assert.deepEqual(came, ['earlier', 'later', 'new']);
  });

  it('refuses what could never get a place, with a mend', async () => {
    const queue = new Admission({ parallel: 1, memoryBytes: 2 * 2 ** 30 });
    const refused = { code: 'invalid_input', message: /4 GiB.*2 GiB/, mend: /less memory/ };
    assert.throws(() => queue.check(4 * 2 ** 30), refused);
    await assert.rejects(queue.enter({ id: 'a', memoryBytes: 4 * 2 ** 30, turn: 1 }, silent, never), refused);
    assert.equal(queue.waiting, 0);
  });

  it('keeps to the limits and loses no place, whatever is entered, stopped and ended in between', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('enter' as const), memoryBytes: fc.integer({ min: 1, max: 10 }) }),
      fc.record({ kind: fc.constant('stop' as const), which: fc.nat() }),
      fc.record({ kind: fc.constant('end' as const), which: fc.nat() }),
      fc.record({ kind: fc.constant('rank' as const), which: fc.nat(), to: fc.integer({ min: -3, max: 3 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const priorities = new Map<string, number>();
        const queue = new Admission(limits);
        queue.rankBy((id) => priorities.get(id) ?? 0);
        const waiting = new Map<string, { memoryBytes: number; stop: AbortController }>();
        const placed = new Map<string, Claim>();
        let count = 0;
        const at = <T>(map: Map<string, T>, which: number): string | undefined =>
          [...map.keys()][map.size === 0 ? 0 : which % map.size];
        for (const one of steps) {
          if (one.kind === 'enter') {
            const id = `task${count++}`;
            const stop = new AbortController();
            waiting.set(id, { memoryBytes: one.memoryBytes, stop });
            queue
              .enter({ id, memoryBytes: one.memoryBytes, turn: queue.takeTurn() }, silent, stop.signal)
              .then(
                () => {
                  waiting.delete(id);
                  placed.set(id, { id, memoryBytes: one.memoryBytes });
                },
                () => waiting.delete(id),
              );
          } else if (one.kind === 'stop') waiting.get(at(waiting, one.which) ?? '')?.stop.abort();
          else if (one.kind === 'end') {
            const id = at(placed, one.which);
            if (id === undefined) continue;
            placed.delete(id);
            queue.leave(id);
          } else {
            const id = at(waiting, one.which);
            if (id !== undefined) priorities.set(id, one.to);
            queue.decide();
          }
          await settled();
          assert.ok(isWithin([...placed.values()]));
          assert.equal(queue.waiting, waiting.size);
        }
        // Whatever happened, everybody who still waits gets a place in the end.
        while (placed.size > 0) {
          for (const id of [...placed.keys()]) {
            placed.delete(id);
            queue.leave(id);
          }
          await settled();
          assert.ok(isWithin([...placed.values()]));
        }
        assert.equal(waiting.size, 0);
      }),
      { numRuns: 60 },
    );
  });
});
