import assert from 'node:assert/strict';
import { taskRefCommands } from '../../src/git/taskRefs.ts';
import { checkUse } from '../../src/git/taskUse.ts';
import { shaOf } from '../support/specs.ts';

const [one, two] = [shaOf('one'), shaOf('two')];
const commit = (sha: string): string => `update refs/tasks/t/commits/${sha} ${sha}`;
const head = (name: string, sha: string): string => `update refs/tasks/t/heads/${name} ${sha}`;

describe('refs of a task', () => {
  it('keep every commit, and a branch at the last of its commits', () => {
    const tips = [{ sha: one, branch: 'work' }, { sha: two, branch: 'work' }, { sha: shaOf('loose') }];
    assert.deepEqual(taskRefCommands('t', tips, ['work', 'other']), {
      first: [],
      then: [commit(one), commit(two), commit(shaOf('loose')), head('work', two)],
    });
  });

  it('keep the commit of a branch whose name cannot be one', () => {
    assert.deepEqual(taskRefCommands('t', [{ sha: one, branch: '../evil' }], []).then, [commit(one)]);
  });

  it('have no branch that is a folder of another: the first of now stays, and those of before make room', () => {
    const tips = [
      { sha: one, branch: 'a' },
      { sha: two, branch: 'a/b' },
    ];
    assert.deepEqual(taskRefCommands('t', tips, []).then, [commit(one), commit(two), head('a', one)]);
    const { first } = taskRefCommands('t', [{ sha: one, branch: 'a/b' }], ['a', 'a/b/c', 'ab']);
    assert.deepEqual(first, ['delete refs/tasks/t/heads/a', 'delete refs/tasks/t/heads/a/b/c']);
  });
});

describe('what a task may bring in', () => {
  const limits = { bytes: 100, tips: 2 };

  it('ends at its bytes and at its commits', () => {
    assert.doesNotThrow(() => checkUse({ bytes: 99, tips: 1 }, 1, limits));
    assert.throws(() => checkUse({ bytes: 100, tips: 0 }, 0, limits), /100 bytes already/);
    assert.throws(() => checkUse({ bytes: 0, tips: 1 }, 2, limits), /more than 2 commits/);
  });
});
