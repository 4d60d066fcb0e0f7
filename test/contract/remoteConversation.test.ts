import assert from 'node:assert/strict';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { engines } from '../support/engines.ts';
import { RemoteBench } from '../support/remoteBench.ts';
import { assertWhole, bash, type Bench, gitIn, only, printed, type Turns } from '../support/tasks.ts';

const commit = (word: string): string =>
  `echo ${word} > ${word}.txt && git add ${word}.txt && git commit -qm "Add ${word}"`;

describe('a task of a remote runner that goes on after its end', function () {
  this.timeout('3m');
  let bench: Bench;
  let repositoryPath: string;

  before(async () => {
    const keep = { conversationMs: 10 * 60_000, taskMs: 10 * 60_000, count: 3 };
    const policy = { ...defaultPolicy, egress: { mode: 'closed' as const, rules: [] }, keep };
    bench = await RemoteBench.open((await engines()).docker, { policy });
    await bench.service.open();
    repositoryPath = await bench.repository();
  });
  after(() => bench.close());

  const goOn = (turns: Turns): void => {
    bench.upstream = { kind: 'scripted', turns };
  };

  it('is mirrored with its numbers, in the sandbox that was kept, also after both were restarted', async () => {
    const turns: Turns = [
      bash(`${commit('one')}; echo aside > /tmp/aside.txt; echo left > left.txt`),
      { text: 'First.' },
    ];
    const { spec } = await bench.submit(turns, { repositoryPath });
    const { id } = spec;
    const first = await bench.events(id);
    assert.equal(first.at(-1)?.type, 'sandbox_kept');
    goOn([...turns, bash(`cat /tmp/aside.txt; git status --short; ${commit('two')}`), { text: 'Second.' }]);
    const state = await bench.service.followUp(id, 'Go on.');
    assert.deepEqual([state.spec.id, state.reopened], [id, 1]);
    const second = await bench.events(id);
    assertWhole(second);
    assert.deepEqual(second.slice(0, first.length), first);
    assert.match(printed(second).at(-1) ?? '', /^aside\n\?\? left\.txt/);
    await bench.reopen();
    const committed = await bench.service.commitLeftovers(id, 'Keep what was left');
    assert.deepEqual(
      committed.commits.map(({ subject, author }) => [subject, author]),
      [
        ['Add one', 'Ada Lovelace'],
        ['Add two', 'Ada Lovelace'],
        ['Keep what was left', 'Ada Lovelace'],
      ],
    );
    const branch = `claude/remote-${id}`;
    await bench.service.acceptAsBranch(id, branch);
    assert.equal(await gitIn(repositoryPath, 'show', `${branch}:left.txt`), 'left');
    goOn([
      ...turns,
      bash('true'),
      { text: 'Second.' },
      bash('cat /tmp/aside.txt; git log --format=%s -1'),
      { text: 'Third.' },
    ]);
    await bench.service.followUp(id, 'And on.');
    const third = await bench.events(id);
    assertWhole(third);
    assert.deepEqual(printed(third).at(-1), 'aside\nKeep what was left');

    goOn([...turns, bash('git status --short; git log --format=%s'), { text: 'Otherwise.' }]);
    const other = await bench.service.continueFrom(id, { turn: 1 }, 'Otherwise, please.');
    assert.notEqual(other.spec.id, id);
    const events = await bench.events(other.spec.id);
    assertWhole(events);
    assert.deepEqual(printed(events), ['?? left.txt\nAdd one\nFirst']);
    assert.deepEqual(
      only(events, 'text').map(({ text }) => text),
      ['Otherwise.'],
    );
    assert.deepEqual(
      bench.state(other.spec.id).commits.map(({ subject }) => subject),
      ['Add one'],
    );
    await bench.service.remove(id);
    assert.equal(bench.service.task(id), undefined);
    assert.equal((await bench.service.changes(other.spec.id)).length, 1);
  });
});
