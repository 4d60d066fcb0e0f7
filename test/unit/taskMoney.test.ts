import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allowanceOf, leavesRoom } from '../../src/runner/budget.ts';
import { SpendLedger } from '../../src/runner/spendLedger.ts';
import { noUsage } from '../../src/protocol/usage.ts';

function task(usd: number, budgetUsd: number | null) {
  return { spend: { usage: noUsage, usd, estimated: false }, budgetUsd };
}

describe('allowance of a task', () => {
  it('is its own budget where the day leaves more, and none without a budget', () => {
    assert.equal(allowanceOf(task(3, null), { spentUsd: 50 }).usd, null);
    assert.equal(allowanceOf(task(3, 5), { spentUsd: 50 }).usd, 5);
    assert.equal(allowanceOf(task(3, 5), { spentUsd: 3, limitUsd: 100 }).usd, 5);
  });

  it('is what the day leaves where that is less, and says so', () => {
    assert.deepEqual(allowanceOf(task(3, 20), { spentUsd: 8, limitUsd: 10 }), {
      usd: 5,
      scope: 'day',
      spentUsd: 8,
      limitUsd: 10,
    });
    assert.equal(allowanceOf(task(3, null), { spentUsd: 8, limitUsd: 10 }).usd, 5);
    // The day was passed by what was under way.
    assert.equal(allowanceOf(task(1, null), { spentUsd: 12, limitUsd: 10 }).usd, 0);
  });

  it('leaves room only above what was spent', () => {
    const tight = allowanceOf(task(5, 5), { spentUsd: 0 });
    assert.equal(leavesRoom(tight, 5), false);
    assert.equal(leavesRoom(tight, 4.99), true);
    assert.equal(leavesRoom(allowanceOf(task(5, null), { spentUsd: 0 }), 5), true);
  });
});

describe('spending of a day', () => {
  let folder: string;
  beforeEach(async () => (folder = join(await mkdtemp(join(tmpdir(), 'sallyport-spend-')), 'spend')));
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const day = Date.UTC(2026, 10, 21, 12);
  const id = 'task000001';
  const file = (): string => join(folder, '2026-11-21.ndjson');

  it('counts each event once, whoever tells it and however often', async () => {
    const [one, other] = [new SpendLedger(folder), new SpendLedger(folder)];
    await Promise.all([one.record(id, 1, 0.5, day), other.record(id, 1, 0.5, day)]);
    await one.record(id, 2, 0.25, day);
    await other.record('task000002', 1, 1, day);
    await one.record(id, 1, 0.5, day);
    for (const ledger of [one, other, new SpendLedger(folder)]) assert.equal(await ledger.total(day), 1.75);
    assert.equal((await stat(file())).mode & 0o777, 0o600);
  });

  it('begins each day (UTC) at nothing, and keeps the day that was', async () => {
    const ledger = new SpendLedger(folder);
    await ledger.record(id, 1, 2, Date.UTC(2026, 10, 21, 23, 59, 59, 999));
    await ledger.record(id, 2, 3, Date.UTC(2026, 10, 22));
    assert.equal(await ledger.total(Date.UTC(2026, 10, 22, 0, 1)), 3);
    assert.equal(await ledger.total(day), 2);
  });

  it('reads over what a killed writer left of a line, and what follows it', async () => {
    const ledger = new SpendLedger(folder);
    await ledger.record(id, 1, 1, day);
    await appendFile(file(), '\n{"task":"task000001","g":2,"us');
    assert.equal(await ledger.total(day), 1);
    await ledger.record(id, 3, 4, day);
    await appendFile(
      file(),
      '\nno json\n\n{"task":"../x","g":1,"usd":9}\n{"task":"task000001","g":9,"usd":-5}\n',
    );
    assert.equal(await new SpendLedger(folder).total(day), 5);
    assert.equal(await ledger.total(day), 5);
    assert.match(await readFile(file(), 'utf8'), /"g":3/);
  });

  it('counts even what it cannot write', async () => {
    const blocked = join(folder, 'x');
    await new SpendLedger(folder).record(id, 1, 1, day);
    await appendFile(blocked, 'a file where the folder would be');
    const ledger = new SpendLedger(blocked);
    await assert.rejects(ledger.record(id, 1, 2, day));
    await assert.rejects(ledger.total(day));
  });
});
