import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DrawPace } from '../../webview/shared/drawPace.ts';
import { RowSlots } from '../../webview/shared/rowSlots.ts';
import { wrappedLines } from '../../webview/task/logModel.ts';

describe('the nodes of a list', () => {
  it('are used again for the rows that come in, in the same order', () => {
    const slots = new RowSlots();
    const before = slots.assign(0, 4);
    assert.deepEqual(slots.assign(1000, 1004), before);
  });

  it('stay with the rows that stay, and none is used twice', () => {
    const range = fc.tuple(fc.nat(60), fc.integer({ min: -1, max: 30 }));
    fc.assert(
      fc.property(fc.array(range, { minLength: 2, maxLength: 20 }), (ranges) => {
        const slots = new RowSlots();
        let before = new Map<number, number>();
        for (const [first, more] of ranges) {
          const now = new Map(slots.assign(first, first + more).map((slot, at) => [first + at, slot]));
          assert.equal(now.size, more + 1);
          assert.equal(new Set(now.values()).size, now.size);
          for (const [index, slot] of now) if (before.has(index)) assert.equal(slot, before.get(index));
          before = now;
        }
      }),
    );
  });

  it('leave the one with the focus to its row alone', () => {
    const slots = new RowSlots();
    const focused = slots.assign(0, 2)[1];
    const next = slots.assign(10, 12, 1);
    assert.ok(focused !== undefined && !next.includes(focused));
  });
});

describe('the pace of a list', () => {
  it('draws what comes slowly at once, and rests in a flood for as long as drawing is dear', () => {
    const pace = new DrawPace();
    assert.equal(pace.wait(0, 1000), 0, 'nothing was drawn yet');
    pace.drawn(0, 10);
    assert.equal(pace.wait(10, 1), 0);
    const cheap = pace.wait(10, 1000);
    assert.ok(cheap > 0);
    assert.equal(pace.wait(10 + cheap, 1000), 0);
    pace.drawn(0, 30);
    assert.ok(pace.wait(30, 1000) > cheap);
  });

  it('never rests for long', () => {
    const pace = new DrawPace();
    pace.drawn(0, 60_000);
    assert.ok(pace.wait(60_000, 1000) <= 200);
  });
});

describe('lines of a text', () => {
  it('are its own and those that it is wrapped into, up to what is shown', () => {
    assert.equal(wrappedLines('', 20, 2500, 100), 1);
    assert.equal(wrappedLines('a\nb', 20, 2500, 100), 2);
    assert.equal(wrappedLines(`${'x'.repeat(101)}\n\nb`, 20, 2500, 100), 4);
    assert.equal(wrappedLines('a\n'.repeat(1000), 20, 2500, 100), 20);
    assert.equal(wrappedLines('x'.repeat(1e6), 20, 2500, 100), 25);
  });
});
