import assert from 'node:assert/strict';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { asHere, bringsCommits, tipsOf } from '../../src/remote/bringing.ts';
import { EventQueue } from '../../src/remote/eventQueue.ts';
import { aCommit, shaOf } from '../support/specs.ts';

const mebi = 1 << 20;
const notice = (n: number): TaskEvent => ({ type: 'notice', level: 'warning', text: 'Words', n, t: 0 });
const imported = (n: number): TaskEvent => ({ type: 'imported', tips: [shaOf('tip')], commits: [], n, t: 0 });

describe('events that wait to be written', () => {
  const numbers = ({ events }: { events: TaskEvent[] }): number[] => events.map(({ n }) => n);

  it('are written together, but those about commits each by itself', () => {
    const queue = new EventQueue(() => undefined);
    for (const event of [notice(1), notice(2), imported(3), imported(4), notice(5)]) queue.push(event, 10);
    const parts: number[][] = [];
    while (!queue.isEmpty) parts.push(numbers(queue.part()));
    assert.deepEqual(parts, [[1, 2], [3], [4], [5]]);
  });

  it('are written in parts of a bounded size', () => {
    const queue = new EventQueue(() => undefined);
    for (let n = 1; n <= 4; n++) queue.push(notice(n), mebi / 2);
    assert.deepEqual(numbers(queue.part()), [1, 2]);
  });

  it('count until they are written, and are given back when they are forgotten', () => {
    let taken = 0;
    const queue = new EventQueue((bytes) => (taken += bytes));
    for (let n = 1; n <= 8; n++) queue.push(notice(n), mebi);
    assert.equal(queue.isFull, true);
    const { bytes } = queue.part();
    assert.deepEqual([taken, queue.isFull], [8 * mebi, true]);
    queue.written(bytes);
    assert.deepEqual([taken, queue.isFull, queue.hasRoom], [7 * mebi, false, false]);
    queue.clear();
    assert.deepEqual([taken, queue.isEmpty, queue.hasRoom], [0, true, true]);
  });
});

describe('an event that says that commits are here', () => {
  it('names them, and says of them what git here reads, but for the branch', () => {
    const said = { ...aCommit('tip'), subject: 'What the runner says', branch: 'topic' };
    const read = { ...aCommit('tip'), subject: 'What git reads' };
    const event: TaskEvent = { type: 'leftovers_committed', commit: said, n: 3, t: 0 };
    assert.ok(bringsCommits(event));
    assert.deepEqual(tipsOf(event), [said.sha]);
    assert.deepEqual(asHere(event, [read]), { ...event, commit: { ...read, branch: 'topic' } });
    assert.equal(bringsCommits(notice(1)), false);
  });
});
