import assert from 'node:assert/strict';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { isAtRest } from '../../src/protocol/taskState.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import { engineKinds, engines } from '../support/engines.ts';
import {
  assertNumbered,
  assertWhole,
  bash,
  Bench,
  gitIn,
  only,
  printed,
  type Turns,
} from '../support/tasks.ts';

const commit = (word: string): string =>
  `echo ${word} > ${word}.txt && git add . && git commit -qm "Add ${word}"`;

/** Waits for a file that no one makes before `go`. */
const waitFor = (file: string): string => `until [ -e ${file} ]; do sleep 0.1; done`;

async function until(met: () => boolean): Promise<void> {
  for (const end = Date.now() + 150_000; !met(); await new Promise((passed) => setTimeout(passed, 100)))
    assert.ok(Date.now() < end, 'It took too long');
}

const twoTurns: Turns = [
  bash(commit('one')),
  { text: 'The first is done.' },
  bash(`${commit('two')}; echo edit >> README.md`),
  { text: 'The second is done.' },
];

for (const name of engineKinds) {
  describe(`conversation on ${name}`, function () {
    this.timeout('2m');
    let bench: Bench;
    let repositoryPath: string;

    beforeEach(() => {
      const keep = { conversationMs: 0, taskMs: 0, count: 5 };
      bench.policy = { ...defaultPolicy, egress: { mode: 'closed', rules: [] }, keep };
    });
    before(async () => {
      bench = await Bench.open((await engines())[name]);
      bench.policy = { ...defaultPolicy, egress: { mode: 'closed', rules: [] } };
      repositoryPath = await bench.repository();
      const { spec } = await bench.submit([{ text: 'ready' }], { repositoryPath });
      assert.equal(only(await bench.events(spec.id), 'ended')[0]?.outcome, 'succeeded', bench.log.join('\n'));
    });
    after(() => bench.close());

    const converse = async (turns: Turns, limits: object = {}): Promise<string> => {
      const { spec } = await bench.submit(turns, { repositoryPath, conversation: true, limits });
      return spec.id;
    };
    const turn = (id: string, number: number): Promise<TaskEvent[]> =>
      bench.events(id, (event) => event.type === 'turn' && event.number === number);

    /** What the model answers from now on: it is asked with all that was said before. */
    const goOn = (turns: Turns): void => {
      bench.upstream = { kind: 'scripted', turns };
    };

    async function inSandbox(id: string, ...argv: string[]): Promise<void> {
      const engine = await bench.engine();
      try {
        const labels = { 'dev.sallyport.task': id, 'dev.sallyport.role': 'sandbox' };
        const [sandbox] = await engine.list(labels);
        assert.ok(sandbox);
        const { stdout, done } = await engine.exec(sandbox.id, argv);
        for await (const _ of stdout);
        assert.equal((await done).exitCode, 0);
      } finally {
        engine.dispose();
      }
    }

    it('makes two turns with a commit in each, waits in between, and is finished with its leftovers', async () => {
      const id = await converse(twoTurns);
      await turn(id, 1);
      assert.equal(bench.state(id).phase, 'waiting');
      assert.deepEqual(
        bench.state(id).commits.map(({ subject }) => subject),
        ['Add one'],
      );
      await assert.rejects(bench.service.send(id, '  '), { code: 'prompt_empty' });
      await bench.service.send(id, 'Go on, please.', { by: 'Ada' });
      await turn(id, 2);
      await bench.service.stop(id);
      const events = await bench.events(id);
      assertWhole(events);
      const [ended] = only(events, 'ended');
      assert.equal(ended?.outcome, 'succeeded', ended?.message);
      assert.deepEqual(
        only(events, 'said').map(({ text, by, queued }) => ({ text, by, queued })),
        [{ text: 'Go on, please.', by: 'Ada', queued: false }],
      );
      assert.deepEqual(
        only(events, 'turn').map(({ number, outcome }) => [number, outcome]),
        [
          [1, 'succeeded'],
          [2, 'succeeded'],
        ],
      );
      // One process and one session for both.
      assert.equal(new Set(only(events, 'session').map(({ sessionId }) => sessionId)).size, 1);
      const state = bench.state(id);
      assert.deepEqual(
        state.commits.map(({ subject }) => subject),
        ['Add one', 'Add two'],
      );
      assert.deepEqual(
        state.leftovers?.files.map(({ path }) => path),
        ['README.md'],
      );
      assert.equal(state.pendingImports.length, 0);
      const branch = `claude/accepted-${id}`;
      await bench.service.acceptAsBranch(id, branch);
      assert.equal(await gitIn(repositoryPath, 'show', `${branch}:two.txt`), 'two');
      await assert.rejects(bench.service.send(id, 'More.'), { code: 'conflict' });
      assert.deepEqual(await bench.remains(), []);
    });

    it('keeps a message that comes while the agent works, and only one', async () => {
      const id = await converse([
        bash(`echo up; ${waitFor('/tmp/go')}`),
        { text: 'First.' },
        bash('echo second turn'),
        { text: 'Second.' },
      ]);
      await bench.events(id, (event) => event.type === 'tool_use');
      await bench.service.send(id, 'Then the second.');
      await assert.rejects(bench.service.send(id, 'And a third.'), { code: 'task_busy' });
      assert.equal(bench.state(id).conversation?.undelivered.length, 1);
      await inSandbox(id, 'touch', '/tmp/go');
      const events = await turn(id, 2);
      assert.equal(only(events, 'said')[0]?.queued, true);
      const order = events.map(({ type }) => type);
      assert.ok(order.indexOf('said') < order.indexOf('turn'));
      assert.deepEqual(bench.state(id).conversation?.undelivered, []);
      await bench.service.stop(id);
      assert.equal(only(await bench.events(id), 'ended')[0]?.outcome, 'succeeded');
    });

    it('is found again by another process while it waits and while it works, and goes on', async () => {
      const id = await converse([
        bash(commit('one')),
        { text: 'First.' },
        bash(`echo up; ${waitFor('/tmp/go')}; ${commit('two')}`),
        { text: 'Second.' },
        bash(commit('three')),
        { text: 'Third.' },
      ]);
      await turn(id, 1);
      await bench.reopen();
      assert.equal(bench.state(id).phase, 'waiting');
      await bench.service.send(id, 'The second.');
      await bench.events(id, (event) => event.type === 'turn_began' && event.number === 2);
      await bench.service.send(id, 'The third.');
      await bench.reopen();
      await inSandbox(id, 'touch', '/tmp/go');
      await turn(id, 3);
      await bench.service.stop(id);
      const events = await bench.events(id);
      assertWhole(events);
      assert.deepEqual(
        bench.state(id).commits.map(({ subject }) => subject),
        ['Add one', 'Add two', 'Add three'],
      );
      // Each message reached the agent once.
      assert.equal(only(events, 'turn').length, 3);
      assert.deepEqual(
        only(events, 'turn_began').flatMap(({ message = [] }) => message),
        only(events, 'said').map(({ id: message }) => message),
      );
      assert.equal(only(events, 'ended')[0]?.outcome, 'succeeded');
    });

    it('goes on after its end in a new sandbox, with what was said, its commits and its uncommitted edits', async () => {
      const turns: Turns = [
        bash(`${commit('one')}; echo edit >> README.md; echo new > left.txt`),
        { text: 'The first is done.' },
      ];
      const { spec } = await bench.submit(turns, { repositoryPath });
      const { id } = spec;
      await assert.rejects(bench.service.followUp(id, 'Too early.'), { code: 'task_busy' });
      const first = await bench.events(id);
      assertWhole(first);
      assert.deepEqual(
        only(first, 'checkpoint').map(({ turn: number, commit: head, branch }) => [number, head, branch]),
        [[1, bench.state(id).commits[0]?.sha, spec.branch]],
      );
      assert.match(await bench.kept(id), /"The first is done\."/);
      assert.deepEqual(await bench.remains(), []);
      // The model is asked with all that was said before, so its third answer comes first here.
      goOn([...turns, bash(`git status --short; ${commit('two')}`), { text: 'The second is done.' }]);
      await bench.service.followUp(id, 'And the second.', { conversation: true, by: 'Ada' });
      assert.equal(bench.state(id).phase, 'preparing');
      assert.equal(bench.state(id).leftovers?.files.length, 2);
      await turn(id, 2);
      assert.equal(bench.state(id).leftovers, undefined);
      await bench.service.stop(id);
      const events = await bench.events(id);
      assertNumbered(events);
      const [reopened] = only(events, 'reopened');
      assert.deepEqual([reopened?.text, reopened?.by], ['And the second.', 'Ada']);
      assert.deepEqual(
        only(events, 'turn_began').map(({ number, message }) => [number, message]),
        [[2, reopened?.message]],
      );
      assert.deepEqual(
        only(events, 'ended').map(({ outcome }) => outcome),
        ['succeeded', 'succeeded'],
      );
      assert.deepEqual(
        only(events, 'text').map(({ text }) => text),
        ['The first is done.', 'The second is done.'],
      );
      assert.match(only(events, 'tool_result')[1]?.text ?? '', /^ M README\.md\n\?\? left\.txt/);
      assert.equal(new Set(only(events, 'session').map(({ sessionId }) => sessionId)).size, 1);
      const state = bench.state(id);
      assert.deepEqual(
        state.commits.map(({ subject }) => subject),
        ['Add one', 'Add two'],
      );
      assert.deepEqual([state.reopened, state.checkpoints.map(({ turn: number }) => number)], [1, [1, 2]]);
      const branch = `claude/followed-${id}`;
      await bench.service.acceptAsBranch(id, branch);
      assert.equal(await gitIn(repositoryPath, 'log', '--format=%s', '-2', branch), 'Add two\nAdd one');
    });

    it('goes on in the sandbox that was kept, with all that is there', async () => {
      bench.policy = { ...bench.policy, keep: { conversationMs: 60_000, taskMs: 60_000, count: 2 } };
      const turns: Turns = [
        bash(
          'echo aside > /tmp/aside.txt; mkdir node_modules; echo dep > node_modules/dep; echo e >> README.md',
        ),
        { text: 'First.' },
      ];
      const { spec } = await bench.submit(turns, { repositoryPath });
      const { id } = spec;
      const first = await bench.events(id);
      assert.equal(first.at(-1)?.type, 'sandbox_kept');
      assert.deepEqual(await bench.remains(), [`sallyport-${id}`, `sallyport-${id}`]);
      goOn([
        ...turns,
        bash(`cat /tmp/aside.txt node_modules/dep; git status --short; git commit -qm e README.md`),
        { text: 'Second.' },
      ]);
      await bench.service.followUp(id, 'Go on.');
      const events = await bench.events(id);
      assertWhole(events);
      assert.match(printed(events)[1] ?? '', /^aside\ndep\n M README\.md\n\?\? node_modules/);
      assert.equal(only(events, 'prepared_anew').length, 0);
      assert.deepEqual(
        only(events, 'text').map(({ text }) => text),
        ['First.', 'Second.'],
      );
      // And once more, after a restart of the editor.
      await bench.reopen();
      goOn([
        ...turns,
        bash('true'),
        { text: 'Second.' },
        bash('cat /tmp/aside.txt; echo rest > rest.txt'),
        { text: 'Third.' },
      ]);
      await bench.service.followUp(id, 'And on.');
      const all = await bench.events(id);
      assertWhole(all);
      assert.match(printed(all).at(-1) ?? '', /^aside/);
      // What was left is committed outside, and the sandbox that was kept takes that in.
      const committed = await bench.service.commitLeftovers(id, 'Add the rest');
      assert.notEqual(committed.kept, undefined);
      goOn([
        ...turns,
        bash('true'),
        { text: 'Second.' },
        bash('true'),
        { text: 'Third.' },
        bash(`cat /tmp/aside.txt; git log --format=%s -1; git status --short; ${commit('four')}`),
        { text: 'Fourth.' },
      ]);
      await bench.service.followUp(id, 'And once more.');
      assert.match(printed(await bench.events(id)).at(-1) ?? '', /^aside\nAdd the rest$/);
      assert.deepEqual(
        bench.state(id).commits.map(({ subject }) => subject),
        ['e', 'Add the rest', 'Add four'],
      );
      await bench.service.remove(id);
      assert.deepEqual(await bench.remains(), []);
    });

    if (name !== 'docker') return;

    it('makes a new task of the end of a turn: its commits, its uncommitted edits and its conversation', async () => {
      const turns: Turns = [
        bash(`${commit('one')}; echo edit >> README.md`),
        { text: 'The first is done.' },
        bash(`git checkout -q README.md; ${commit('two')}`),
        { text: 'The second is done.' },
      ];
      const id = await converse(turns);
      await turn(id, 1);
      await bench.service.send(id, 'Go on.');
      await turn(id, 2);
      await assert.rejects(bench.service.continueFrom(id, { turn: 3 }, 'Other.'), { code: 'not_found' });
      // The other one still waits for its user.
      goOn([
        ...turns.slice(0, 2),
        bash(`git status --short; git log --format=%s; ${commit('other')}`),
        { text: 'Other.' },
      ]);
      const { spec } = await bench.service.continueFrom(id, { turn: 1 }, 'Do it otherwise.');
      assert.notEqual(spec.id, id);
      await turn(spec.id, 1);
      await bench.service.stop(spec.id);
      const events = await bench.events(spec.id);
      assertWhole(events);
      assert.match(printed(events)[0] ?? '', /^ M README\.md\nAdd one\nFirst$/);
      assert.deepEqual(
        only(events, 'text').map(({ text }) => text),
        ['Other.'],
      );
      assert.match(await bench.kept(spec.id), /The first is done/);
      assert.doesNotMatch(await bench.kept(spec.id), /The second is done/);
      const state = bench.state(spec.id);
      assert.deepEqual(
        state.commits.map(({ subject, branch }) => [subject, branch]),
        [
          ['Add one', spec.branch],
          ['Add other', spec.branch],
        ],
      );
      assert.equal(bench.service.result(spec.id)?.from, bench.state(id).spec.snapshot.commit);
      // The task that it came from is as it was, and can go without taking anything along.
      assert.equal(bench.state(id).phase, 'waiting');
      await bench.service.stop(id);
      await bench.events(id);
      await bench.service.remove(id);
      const branch = `claude/continued-${spec.id}`;
      await bench.service.acceptAsBranch(spec.id, branch);
      assert.equal(await gitIn(repositoryPath, 'log', '--format=%s', '-2', branch), 'Add other\nAdd one');
    });

    it('goes on from a window that did not attend to it, and is seen to in all', async () => {
      const turns: Turns = [bash('true'), { text: 'First.' }];
      const { spec } = await bench.submit(turns, { repositoryPath });
      const { id } = spec;
      await bench.events(id);
      const other = await bench.another();
      try {
        await other.open();
        goOn([...turns, bash(commit('two')), { text: 'Second.' }]);
        await other.followUp(id, 'Go on.');
        await until(() => bench.state(id).reopened === 1);
        await assert.rejects(bench.service.followUp(id, 'Me too.'), { code: 'task_busy' });
        await assert.rejects(bench.service.remove(id), { code: 'task_busy' });
        await until(() => isAtRest(bench.state(id)));
        // And back: what the other one wrote is numbered on.
        goOn([...turns, bash('true'), { text: 'Second.' }, bash('true'), { text: 'Third.' }]);
        await bench.service.followUp(id, 'And on.');
        const events = await bench.events(id);
        assertNumbered(events);
        assert.deepEqual(
          only(events, 'text').map(({ text }) => text),
          ['First.', 'Second.', 'Third.'],
        );
        await until(() => other.task(id)?.lastEvent === bench.state(id).lastEvent);
      } finally {
        other.dispose();
      }
    });

    it('goes on in the sandbox that was kept, also with a read-only root', async () => {
      const keep = { conversationMs: 0, taskMs: 10 * 60_000, count: 2 };
      bench.policy = { ...bench.policy, isolation: { readonlyRoot: true }, keep };
      const turns: Turns = [
        bash(
          'mkdir node_modules; echo dep > node_modules/dep; echo home > ~/aside.txt; echo edit >> README.md',
        ),
        { text: 'First.' },
      ];
      const { spec } = await bench.submit(turns, { repositoryPath });
      const { id } = spec;
      const first = await bench.events(id);
      goOn([...turns, bash('cat node_modules/dep ~/aside.txt; git status --short'), { text: 'Second.' }]);
      await bench.service.followUp(id, 'Go on.');
      const events = await bench.events(id);
      assertWhole(events);
      assert.deepEqual(events.slice(0, first.length), first);
      assert.match(printed(events).at(-1) ?? '', /^dep\nhome\n M README\.md/);
      await bench.service.remove(id);
      assert.deepEqual(await bench.remains(), []);
    });

    it('keeps its sandbox for its time, and only so many of them', async () => {
      const keep = { conversationMs: 0, taskMs: 12_000, count: 1 };
      bench.policy = { ...bench.policy, keep };
      const one = await bench.submit([{ text: 'First.' }], { repositoryPath });
      await bench.events(one.spec.id);
      assert.notEqual(bench.state(one.spec.id).kept, undefined);
      const two = await bench.submit([{ text: 'Second.' }], { repositoryPath });
      await bench.events(two.spec.id);
      // The older one makes room.
      await until(() => bench.state(one.spec.id).sandboxRemoved);
      assert.deepEqual(await bench.remains(), [`sallyport-${two.spec.id}`, `sallyport-${two.spec.id}`]);
      await until(() => bench.state(two.spec.id).sandboxRemoved);
      assert.deepEqual(await bench.remains(), []);
      assertWhole(await bench.events(two.spec.id));
    });

    it('goes on after it was stopped in the middle of its work', async () => {
      const turns: Turns = [
        bash(`${commit('one')}; echo up`),
        bash(`echo working; ${waitFor('/tmp/never')}`),
      ];
      const { spec } = await bench.submit(turns, { repositoryPath });
      await bench.events(
        spec.id,
        (event) => event.type === 'tool_use' && JSON.stringify(event).includes('never'),
      );
      await bench.service.stop(spec.id);
      assert.equal(only(await bench.events(spec.id), 'ended')[0]?.outcome, 'stopped');
      // The agent itself fills in an answer for the one that was cut off.
      goOn([...turns, { text: '' }, bash(`cat one.txt; ${commit('two')}`), { text: 'Done otherwise.' }]);
      await bench.service.followUp(spec.id, 'Do something else.');
      const events = await bench.events(spec.id);
      assertNumbered(events);
      assert.deepEqual(
        only(events, 'ended').map(({ outcome }) => outcome),
        ['stopped', 'succeeded'],
      );
      assert.deepEqual(
        bench.state(spec.id).commits.map(({ subject }) => subject),
        ['Add one', 'Add two'],
      );
      const sessions = new Set(only(events, 'session').map(({ sessionId }) => sessionId));
      assert.equal(sessions.size, 1);
    });

    it('commits what was left: by hand, and by itself where that is wanted', async () => {
      const turns: Turns = [
        bash(`${commit('one')}; echo edit >> README.md; echo new > left.txt`),
        { text: 'Done.' },
      ];
      const { spec } = await bench.submit(turns, { repositoryPath });
      const { id } = spec;
      await bench.events(id);
      await assert.rejects(bench.service.commitLeftovers(id, ' '), { code: 'invalid_input' });
      const state = await bench.service.commitLeftovers(id, 'Add what was left\n\nAll of it.');
      assert.equal(state.leftovers, undefined);
      const made = state.commits.at(-1);
      assert.deepEqual(
        [made?.subject, made?.body, made?.author, made?.email, made?.parents],
        ['Add what was left', 'All of it.', 'Ada Lovelace', 'ada@example.com', [state.commits[0]?.sha]],
      );
      await assert.rejects(bench.service.commitLeftovers(id, 'Again'), { code: 'conflict' });
      const branch = `claude/left-${id}`;
      await bench.service.acceptAsBranch(id, branch);
      assert.equal(await gitIn(repositoryPath, 'show', `${branch}:left.txt`), 'new');
      await bench.reopen();
      assert.equal(bench.state(id).commits.length, 2);
      // The agent goes on from there.
      goOn([...turns, bash('git status --short; git log --format=%s -1'), { text: 'Clean.' }]);
      await bench.service.followUp(id, 'Look.');
      assert.match(printed(await bench.events(id)).at(-1) ?? '', /^Add what was left/);

      bench.policy = { ...bench.policy, commitMessage: 'Keep the rest' };
      const again = await bench.submit(turns, { repositoryPath });
      const events = await bench.events(again.spec.id);
      assertWhole(events);
      assert.deepEqual(
        bench.state(again.spec.id).commits.map(({ subject }) => subject),
        ['Add one', 'Keep the rest'],
      );
      assert.equal(bench.state(again.spec.id).leftovers, undefined);
    });

    it('asks for each permission where that is wanted, and does nothing that was refused', async () => {
      const turns = [bash('touch wanted'), bash('touch unwanted'), { text: 'Done.' }];
      bench.upstream = { kind: 'scripted', turns };
      const { spec } = await bench.submit(turns, {
        repositoryPath,
        conversation: true,
        permissions: 'ask',
      });
      const asking = async (count: number): Promise<string> => {
        const events = await bench.events(
          spec.id,
          () => bench.state(spec.id).conversation?.questions.length === 1,
        );
        const asked = only(events, 'asked');
        assert.equal(asked.length, count);
        return asked.at(-1)!.question.id;
      };
      await bench.service.answerQuestion(spec.id, await asking(1), { kind: 'allow' });
      await bench.events(spec.id, ({ type }) => type === 'tool_result');
      await bench.events(spec.id, () => bench.state(spec.id).phase === 'waiting');
      await bench.service.answerQuestion(spec.id, await asking(2), {
        kind: 'refuse',
        why: 'Leave that alone.',
      });
      const events = await turn(spec.id, 1);
      assert.match(only(events, 'tool_result')[1]?.text ?? '', /Leave that alone/);
      await bench.service.stop(spec.id);
      await bench.events(spec.id);
      assert.deepEqual(
        bench.state(spec.id).leftovers?.files.map(({ path }) => path),
        ['wanted'],
      );
    });

    it('takes messages from a window that does not attend to it', async () => {
      const id = await converse(twoTurns);
      await turn(id, 1);
      const other = await bench.another();
      try {
        await other.open();
        await other.send(id, 'From aside.');
        await turn(id, 2);
        await other.stop(id);
        assert.equal(only(await bench.events(id), 'ended')[0]?.outcome, 'succeeded');
      } finally {
        other.dispose();
      }
    });

    it('is finished by itself when no message comes, and its clock stands still meanwhile', async () => {
      const id = await converse(twoTurns, { idleMs: 3000, timeMs: 20_000 });
      await turn(id, 1);
      await bench.service.send(id, 'Go on.');
      const events = await bench.events(id);
      const [ended] = only(events, 'ended');
      assert.equal(ended?.outcome, 'succeeded');
      assert.match(ended.message, /no message came for 3 s/);
    });

    it('pauses for a budget in the middle of a turn, and goes on', async () => {
      const usage = { inputTokens: 0, outputTokens: 100_000, cacheReadTokens: 0, cacheWriteTokens: 0 };
      const dear = { model: 'claude-sonnet-4-5', usage };
      const turns = [{ text: 'First.', ...dear }, bash('echo second'), { text: 'Second.', ...dear }];
      bench.upstream = { kind: 'scripted', turns };
      const { spec } = await bench.submit(turns, { repositoryPath, conversation: true, budgetUsd: 1 });
      await turn(spec.id, 1);
      await bench.service.send(spec.id, 'Go on.');
      await bench.events(spec.id, ({ type }) => type === 'paused');
      await bench.service.setBudget(spec.id, null);
      await turn(spec.id, 2);
      assert.equal(bench.state(spec.id).phase, 'waiting');
      await bench.service.stop(spec.id);
      assert.equal(only(await bench.events(spec.id), 'ended')[0]?.outcome, 'succeeded');
    });

    it('takes no messages when it is none', async () => {
      const { spec } = await bench.submit([bash('tail -f /dev/null')], { repositoryPath });
      await assert.rejects(bench.service.send(spec.id, 'Hello?'), { code: 'conflict' });
      await bench.service.stop(spec.id);
      await bench.events(spec.id);
    });
  });
}
