import assert from 'node:assert/strict';
import { SallyportError } from '../../src/base/errors.ts';
import { leftOver } from '../../src/server/tasks/recovery.ts';
import { chosenRepository } from '../../src/server/tasks/repositoryChoice.ts';
import type { TaskRow } from '../../src/server/tasks/taskRows.ts';

describe('what an earlier server has left of a task', () => {
  const row = (stage: TaskRow['stage'], more: Partial<TaskRow> = {}): Parameters<typeof leftOver>[0] => ({
    stage,
    finds: undefined,
    removing: false,
    ...more,
  });
  const withLog = { hasLog: true, isOrphan: false };
  const without = { hasLog: false, isOrphan: false };

  it('goes on where its log has not begun', () => {
    assert.equal(leftOver(row('fetching'), without), 'go on');
    assert.equal(leftOver(row('finding'), without), 'go on');
    assert.equal(leftOver(row('fetching'), withLog), 'has begun');
  });

  it('stays where somebody has to say something, or it is over', () => {
    for (const stage of ['confirming', 'failed', 'cancelled'] as const)
      assert.equal(leftOver(row(stage), without), 'as it is', stage);
    assert.equal(leftOver(row('task'), withLog), 'as it is');
  });

  it('has lost its log, unless it is a search, which is submitted again', () => {
    assert.equal(leftOver(row('task'), without), 'log lost');
    assert.equal(leftOver(row('task', { finds: 'another-task' }), without), 'as it is');
  });

  it('is removed as it was to be, by force only when nobody has it any more', () => {
    assert.equal(leftOver(row('task', { removing: true }), withLog), 'remove');
    assert.equal(
      leftOver(row('task', { finds: 'gone' }), { hasLog: true, isOrphan: true }),
      'remove by force',
    );
  });
});

describe('the repository of a task', () => {
  const found = { repository: 'ada/demo', reason: 'It is named so.', branch: 'next', prompt: 'Do it there' };

  it('is the one that was found, with its branch and wording, unless another branch is named', () => {
    assert.deepEqual(chosenRepository(found, {}), found);
    assert.deepEqual(chosenRepository(found, { repository: 'ada/demo' }), found);
    assert.deepEqual(chosenRepository(found, { branch: 'main' }), { ...found, branch: 'main' });
  });

  it('is another one, of which nothing was found', () => {
    const chosen = chosenRepository(found, { repository: 'ada/other' });
    assert.deepEqual(chosen, { repository: 'ada/other', reason: 'Chosen by the user.' });
  });

  it('is none that leads elsewhere', () => {
    for (const repository of ['../demo', 'ada/..', './x', 'ada', ''])
      assert.throws(
        () => chosenRepository(found, { repository }),
        (thrown) => thrown instanceof SallyportError && thrown.code === 'invalid_input',
        repository,
      );
  });
});
