import assert from 'node:assert/strict';
import { SallyportError } from '../../src/base/errors.ts';
import { egressOf, needsEditor, readArguments } from '../../src/vscode/view/newTaskArguments.ts';
import { readSaid } from '../../src/vscode/view/publishArguments.ts';

const refused = (thrown: unknown): boolean =>
  thrown instanceof SallyportError && thrown.code === 'invalid_input';

describe('what the command for a new task is called with', () => {
  it('means nothing when it comes from a menu', () => {
    for (const argument of [undefined, null, 'text', { kind: 'task', id: 'x' }, {}])
      assert.deepEqual(readArguments(argument), {});
  });

  it('is read, or refused when somebody meant something by it that does not fit', () => {
    assert.deepEqual(readArguments({ prompt: 'Fix it', snapshot: 'head', budgetUsd: 2 }), {
      prompt: 'Fix it',
      snapshot: 'head',
      budgetUsd: 2,
    });
    for (const argument of [
      { prompt: 5 },
      { snapshot: 'all' },
      { budgetUsd: 0 },
      { egress: { mode: 'some' } },
    ])
      assert.throws(() => readArguments(argument), refused);
  });

  it('is written in an editor when one line would not show all of it, and always when a link wrote it', () => {
    assert.equal(needsEditor({}), false);
    assert.equal(needsEditor({ draft: 'x'.repeat(200) }), false);
    assert.equal(needsEditor({ draft: 'x'.repeat(201) }), true);
    assert.equal(needsEditor({ draft: 'one\ntwo' }), true);
    assert.equal(needsEditor({ draft: 'short', origin: 'link' }), true);
    assert.equal(needsEditor({ origin: 'link' }), true);
  });

  it('leaves out of the network what was not said', () => {
    assert.deepEqual(egressOf({}), {});
    assert.deepEqual(egressOf({ mode: 'closed' }), { mode: 'closed' });
  });
});

describe('what a push is called with', () => {
  it('means nothing when it is a line of the tree', () => {
    assert.deepEqual(readSaid({ kind: 'branch', id: 'x', remote: 'origin', branch: 'main' }), {});
    assert.deepEqual(readSaid('an-id'), {});
  });

  it('is read, or refused when it does not fit', () => {
    const said = { remote: 'origin', branch: 'topic', what: 'rest' };
    assert.deepEqual(readSaid({ id: 'x', ...said }), said);
    for (const wrong of [{ branch: '-d' }, { branch: 'a..b' }, { what: 'all' }, { remote: 1 }])
      assert.throws(() => readSaid(wrong), refused);
  });
});
