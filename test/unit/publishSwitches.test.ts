import assert from 'node:assert/strict';
import { claim } from '../../src/base/ownership.ts';
import { join } from 'node:path';
import type { SallyportError } from '../../src/base/errors.ts';
import { wholeSwitches, switchWords, type Switches } from '../../src/protocol/switches.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { AutoPublisher } from '../../src/runner/publishing/autoPublish.ts';
import { PublishBench } from '../support/publishBench.ts';

describe('switches of a task on this machine', function () {
  let bench: PublishBench;
  const signal = new AbortController().signal;

  const begin = async (switches: Partial<Switches>): Promise<void> => {
    bench = await PublishBench.open({ 'README.md': '# Test\n' }, { switches: wholeSwitches(switches) });
  };
  afterEach(() => bench.close());

  const publish = (): Promise<void> => bench.publisher.bySwitches(() => Promise.resolve(bench.token), signal);
  const succeed = (): void => bench.work.end();
  const there = (branch = 'claude/work'): string =>
    bench.bare.git('for-each-ref', '--format=%(objectname)', `refs/heads/${branch}`);

  it('push each commit to the branch of the task, also one that was amended', async () => {
    await begin({ autoPush: true });
    await publish();
    assert.equal(there(), '', 'nothing to push yet');
    const one = await bench.work.commit('One', { 'a.ts': '1\n' });
    await publish();
    assert.equal(there(), one);
    bench.work.agent.git('reset', '-q', '--hard', bench.work.base);
    const two = await bench.work.commit('One, better', { 'a.ts': '2\n' });
    await publish();
    assert.equal(there(), two);
    assert.deepEqual(bench.forge.pulls, []);
    assert.equal((await bench.work.review.state()).pushes.length, 2);
  });

  it('do nothing where they are off', async () => {
    await begin({ commitEach: true });
    await bench.work.commit('One', { 'a.ts': '1\n' });
    await publish();
    assert.equal(there(), '');
    assert.equal(switchWords(bench.work.spec.switches), 'commit after each change');
    assert.deepEqual(bench.server.seen, []);
  });

  it('push nothing that a forge would run, and nothing of a task of which something was rejected', async () => {
    await begin({ autoPush: true });
    await bench.work.commit('Workflow', { '.github/workflows/ci.yml': 'on: push\n' });
    await assert.rejects(publish(), { code: 'push_refused', message: /ci\.yml, which the forge would obey/ });
    await bench.work.commit('Taken back', { '.github/workflows/ci.yml': null, 'b.ts': '1\n' });
    const scope = { kind: 'all' } as const;
    await bench.work.review.decide(scope, { all: true }, 'rejected');
    await assert.rejects(publish(), { code: 'push_refused', message: /rejected or edited/ });
    assert.equal(there(), '');
  });

  it('take no branch of somebody else’s, no default branch, and nothing from before the task along', async () => {
    await begin({ autoPush: true });
    bench.work.user.write('theirs.txt', 'x');
    const theirs = bench.work.user.commit('Theirs');
    bench.work.user.git('push', '-q', bench.bare.path, `${theirs}:refs/heads/claude/work`);
    await bench.work.commit('One', { 'a.ts': '1\n' });
    await assert.rejects(publish(), { code: 'push_refused', message: /commits that are not of this task/ });
    assert.equal(there(), theirs);
    bench.bare.git('update-ref', '-d', 'refs/heads/claude/work');
    bench.bare.git('symbolic-ref', 'HEAD', 'refs/heads/claude/work');
    bench.bare.git('update-ref', 'refs/heads/claude/work', bench.work.base);
    await assert.rejects(publish(), { code: 'push_protected', message: /is the default branch/ });
    bench.bare.git('symbolic-ref', 'HEAD', 'refs/heads/other');
    const empty = bench.bare.commitOf(bench.bare.tree([]));
    bench.bare.git('update-ref', 'refs/heads/other', empty);
    for (const name of ['main', 'claude/work']) bench.bare.git('update-ref', '-d', `refs/heads/${name}`);
    await assert.rejects(publish(), {
      code: 'push_refused',
      message: /began on 1 commit that the remote has not/,
    });
    assert.equal(there(), '');
  });

  it('open a draft with the first push, keep its text current, and mark it as ready at the end', async () => {
    await begin({ draftEarly: true, autoPullRequest: true });
    await bench.work.commit('One', { 'a.ts': '1\n' });
    await publish();
    const [pull] = bench.forge.pulls;
    assert.ok(pull);
    assert.deepEqual([pull.draft, pull.head, pull.base], [true, 'claude/work', 'main']);
    assert.equal((await bench.work.review.state()).pullRequest?.state, 'draft');
    await bench.work.commit('Two', { 'b.ts': '1\n' });
    await publish();
    assert.match(pull.body, /Two/);
    succeed();
    await publish();
    assert.equal(pull.draft, false);
    assert.equal((await bench.work.review.state()).pullRequest?.state, 'open');
    assert.equal(bench.forge.pulls.length, 1);
    pull.body = 'Written by somebody';
    await publish();
    assert.equal(pull.body, 'Written by somebody');
  });

  it('say that there is no account for the pull request, with the branch pushed', async () => {
    await begin({ autoPullRequest: true });
    const sha = await bench.work.commit('One', { 'a.ts': '1\n' });
    succeed();
    const without = bench.publisher.bySwitches(() => Promise.resolve(undefined), signal);
    await assert.rejects(without, { code: 'forge_refused', message: /chosen no account/ });
    assert.equal(there(), sha);
    assert.deepEqual(bench.forge.pulls, []);
  });

  it('leave it to the window that is at it', async () => {
    await begin({ autoPush: true });
    await bench.work.commit('One', { 'a.ts': '1\n' });
    const release = await claim(join(bench.work.taskFolder, 'publishing'));
    await assert.rejects(publish(), { code: 'task_busy' });
    await release?.();
    await publish();
    assert.notEqual(there(), '');
  });

  it('follow the task by themselves, try again what passes, and tell what does not once', async () => {
    await begin({ autoPush: true });
    const told: string[] = [];
    let done = 0;
    const until = async (what: () => boolean): Promise<void> => {
      while (!what()) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    const { runner } = bench.work;
    const auto = new AutoPublisher({
      onDidChange: runner.onDidChange,
      onDidRemove: runner.onDidRemove,
      tasks: () => [bench.work.task],
      publish: async (_id, leaving) => {
        try {
          await bench.publisher.bySwitches(() => Promise.resolve(bench.token), leaving);
        } finally {
          done += 1;
        }
      },
      tell: (_state: TaskState, { code }: SallyportError) => told.push(code),
      log: { warn: () => undefined },
      retryMs: [10],
    });
    try {
      let outages = 2;
      bench.server.instead = (_request, response) => {
        if (outages-- <= 0) return false;
        response.destroy();
        return true;
      };
      const one = await bench.work.commit('One', { 'a.ts': '1\n' });
      await until(() => there() === one);
      assert.deepEqual(told, []);
      await bench.work.commit('CI', { Jenkinsfile: 'x\n' });
      await until(() => told.length > 0);
      const before = done;
      await bench.work.commit('More', { 'c.ts': '1\n' });
      await until(() => done > before);
      assert.deepEqual(told, ['push_refused']);
      assert.equal(there(), one);
    } finally {
      auto.dispose();
      auto.dispose();
    }
  });
});
