import assert from 'node:assert/strict';
import { DiskJudge } from '../../src/runner/diskJudge.ts';

const [mega, giga] = [2 ** 20, 2 ** 30];

/** A judge that has looked once, at time 100, when nothing was written and this much was free. */
function watching(
  free: number | undefined,
  { limit = 10 * giga, reserve = 2 * giga, cost = 10 } = {},
): DiskJudge {
  const judge = new DiskJudge(limit, reserve);
  if (free !== undefined) judge.free(free);
  judge.begin(100 - cost);
  assert.equal(judge.measured(0, 100), undefined);
  return judge;
}

describe('disk judge', () => {
  it('ends a sandbox at its limit', () => {
    const judge = watching(100 * giga);
    judge.begin(200);
    assert.equal(judge.measured(10 * giga - 1, 210), undefined);
    judge.begin(300);
    const over = judge.measured(10 * giga, 310);
    assert.equal(over?.why, 'limit');
    assert.match(over.message, /10\.0 GiB/);
  });

  it('looks at once the first time, and then seldom while nothing is written', () => {
    assert.ok(new DiskJudge(giga).dueIn(0) <= 0);
    const judge = watching(100 * giga);
    judge.free(100 * giga);
    assert.ok(judge.dueIn(110) > 10_000);
  });

  it('looks soon when what is gone from the disk could have brought it near its limit', () => {
    const judge = watching(100 * giga);
    judge.free(96 * giga);
    assert.ok(judge.dueIn(110) > 1000);
    judge.free(95 * giga);
    assert.ok(judge.dueIn(110) < 100);
    judge.begin(200);
    judge.measured(9 * giga, 210);
    judge.free(95 * giga - 400 * mega);
    assert.ok(judge.dueIn(211) > 1000);
    judge.free(95 * giga - 600 * mega);
    assert.ok(judge.dueIn(211) < 100);
  });

  it('counts what was written while it looked', () => {
    const judge = watching(100 * giga);
    judge.begin(200);
    judge.free(94 * giga);
    judge.measured(0, 1200);
    assert.ok(judge.dueIn(1200) < 5000);
  });

  it('does not take room that others made for room that the sandbox gave back', () => {
    const judge = watching(50 * giga);
    judge.free(80 * giga);
    judge.free(75 * giga);
    assert.ok(judge.dueIn(110) < 100);
  });

  it('measures for at most a fifth of the time, however fast the disk fills', () => {
    const judge = watching(100 * giga, { cost: 2000 });
    judge.free(50 * giga);
    assert.equal(judge.dueIn(100), 8000);
  });

  it('measures without a pause, and ends who wrote, when the disk of the engine runs full', () => {
    const judge = watching(20 * giga, { limit: 100 * giga, cost: 2000 });
    judge.free(giga);
    assert.ok(judge.dueIn(100) <= 50);
    judge.begin(200);
    assert.equal(judge.measured(200 * mega, 210), undefined);
    judge.begin(220);
    const over = judge.measured(300 * mega, 230);
    assert.equal(over?.why, 'engine');
    assert.match(over.message, /1\.0 GiB left/);
  });

  it('leaves a disk that was nearly full before to itself until it is half as full again', () => {
    const judge = watching(giga);
    judge.begin(200);
    assert.equal(judge.measured(400 * mega, 210), undefined);
    judge.free(500 * mega);
    judge.begin(300);
    assert.equal(judge.measured(400 * mega, 310)?.why, 'engine');
  });

  it('looks every second or so where the free space is not known', () => {
    const judge = watching(undefined);
    assert.ok(judge.dueIn(110) <= 1000);
    const lost = watching(100 * giga);
    lost.blind();
    assert.ok(lost.dueIn(110) <= 1000);
  });
});
