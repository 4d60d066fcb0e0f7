import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskView } from '../../src/protocol/runnerApi.ts';
import { newTaskId } from '../../src/protocol/task.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { User } from '../../src/server/principal.ts';
import type { TaskQuery } from '../../src/server/tasks/serverTasks.ts';
import { repositoryId } from '../../src/server/tasks/submissions.ts';
import type { GitRepo } from '../support/gitRepo.ts';
import { pieces } from '../support/gitRepo.ts';
import { aSubmission, bundleOf, snapshotOf, TasksBench } from '../support/serverTasks.ts';
import { aCommit, aSpec, shaOf } from '../support/specs.ts';

const hour = 3_600_000;

async function until(condition: () => boolean, what = 'that'): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 4000) throw new Error(`Waited too long for ${what}`);
    await delay(10);
  }
}

describe('tasks of the server', () => {
  let bench: TasksBench;
  let ada: User;
  let bob: User;
  let chief: User;
  let repo: GitRepo;
  let commit: string;

  beforeEach(async () => {
    bench = await TasksBench.open();
    chief = bench.user('chief', 'admin');
    ada = bench.user('ada');
    bob = bench.user('bob');
    ({ repo, commit } = bench.repository());
  });
  afterEach(() => bench.close());

  async function upload(user: User, sha = commit, id = 'demo-1'): Promise<void> {
    const bytes = bundleOf(repo, sha);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const request = { repository: { id, name: 'demo' }, commit: sha, bytes: bytes.length, sha256 };
    const begun = await bench.tasks.beginUpload(user, request);
    if (!begun.complete) await bench.tasks.continueUpload(user, begun.id, 0, pieces(bytes));
  }

  /** A task on what its user has uploaded. */
  async function submitted(user = ada, change: Parameters<typeof aSubmission>[0] = {}): Promise<TaskView> {
    await upload(user);
    return await bench.tasks.submit(user, aSubmission({ source: snapshotOf(commit), ...change }));
  }

  /** The task has made a commit that is in the quarantine. */
  function brought(id: string, word: string): string {
    const made = { ...aCommit(word), parents: [commit] };
    bench.service.say(
      id,
      { type: 'commit', commit: made },
      { type: 'imported', tips: [made.sha], commits: [made] },
    );
    return made.sha;
  }

  const everything: TaskQuery = { limit: 100 };
  const unknown = { code: 'task_unknown' };
  const forbidden = { code: 'forbidden' };

  describe('begin', () => {
    it('on a commit that was uploaded, in a repository of the user alone', async () => {
      const view = await submitted(ada, {
        title: 'Median',
        switches: { commitEach: true },
        limits: { timeMs: 10 * hour, pids: 1e9, cpus: 1e6, memoryBytes: 2 ** 30 },
        egress: { mode: 'closed' },
        branch: 'claude/median',
        model: 'opus',
      });
      assert.equal(view.stage, 'task');
      assert.equal(view.title, 'Median');
      assert.equal(view.summary?.phase, 'preparing');
      const [request] = bench.service.requests;
      assert.equal(request?.repository.id, repositoryId(ada.id, 'snapshot', 'demo-1'));
      assert.notEqual(request.repository.id, repositoryId(bob.id, 'snapshot', 'demo-1'));
      assert.deepEqual(request.identity, { name: 'Name of ada', email: 'sallyport@localhost' });
      assert.equal(request.limits.timeMs, hour);
      assert.equal(request.limits.memoryBytes, 2 ** 30);
      assert.ok(request.limits.pids <= 8192 && request.limits.cpus <= 256);
      assert.match(request.instructions ?? '', /Commit after each/);
      assert.deepEqual(request.egress, { mode: 'closed' });
      assert.equal(request.branch, 'claude/median');
      const names = Object.keys(request);
      assert.ok(!names.includes('isolation') && !names.includes('mounts'));
    });

    it('not at all without their commit, and leave nothing behind', async () => {
      const submission = aSubmission({ source: snapshotOf(commit) });
      await assert.rejects(bench.tasks.submit(ada, submission, 'key-1'), {
        code: 'not_found',
        mend: /Upload/,
      });
      assert.deepEqual(bench.tasks.list(ada, everything).tasks, []);
      await upload(ada);
      // The key was not used up.
      assert.equal((await bench.tasks.submit(ada, submission, 'key-1')).stage, 'task');
    });

    it('not when there is no credential for a model, and say so', async () => {
      bench.service.refusal = new SallyportError('no_credentials', 'There is none.', 'Set one.');
      await assert.rejects(submitted(), { code: 'no_credentials' });
      assert.equal(bench.tasks.counts().all, 0);
    });

    it('not when they are nonsense', async () => {
      const refused: [Parameters<typeof aSubmission>[0], string][] = [
        [{ prompt: '  ' }, 'prompt_empty'],
        [{ source: { kind: 'url', url: 'http://forge.example.com/a/b' } }, 'invalid_input'],
        [{ source: { kind: 'url', url: 'https://user:word@forge.example.com/a/b' } }, 'invalid_input'],
        [{ source: { kind: 'url', url: 'file:///etc/passwd' } }, 'invalid_input'],
        [{ source: { kind: 'url', url: 'ext::sh -c touch%20x' } }, 'invalid_input'],
        [{ source: { kind: 'find' } }, 'invalid_input'],
        [{ limits: { memoryBytes: 17 * 2 ** 30 } }, 'invalid_input'],
        [{ egress: { rules: ['inner.example.com private'] } }, 'forbidden'],
      ];
      for (const [change, code] of refused)
        await assert.rejects(bench.tasks.submit(ada, aSubmission(change)), { code }, JSON.stringify(change));
      assert.equal(bench.tasks.counts().all, 0);
    });

    it('into the private network only for an administrator', async () => {
      await upload(chief);
      const source = snapshotOf(commit);
      const rules = ['inner.example.com private'];
      const { id } = await bench.tasks.submit(chief, aSubmission({ source, egress: { rules } }));
      const mine = await submitted(ada, { shared: true });
      const answer = { allow: 'task' as const, rule: rules[0]! };
      await assert.rejects(bench.tasks.answerEgress(ada, mine.id, answer), forbidden);
      await bench.tasks.answerEgress(chief, id, answer);
      await bench.tasks.answerEgress(ada, mine.id, { allow: 'task', rule: 'outer.example.com' });
      assert.deepEqual(
        bench.service.answers.map((one) => one.id),
        [id, mine.id],
      );
    });

    it('not for a viewer, and not without end for anybody', async () => {
      const eve = bench.user('eve', 'viewer');
      await assert.rejects(bench.tasks.submit(eve, aSubmission()), forbidden);
      await assert.rejects(bench.tasks.knownCommits(eve, 'demo-1', []), forbidden);
      await submitted();
      const insert = bench.store.prepare(
        "INSERT INTO tasks (id, owner, shared, stage, priority, submission, created_at) VALUES (?, ?, 0, 'confirming', 0, ?, 1)",
      );
      const text = JSON.stringify(aSubmission());
      for (let n = 0; n < 2000; n++) insert.run(newTaskId(bench.time), ada.id, text);
      await bench.restart();
      await assert.rejects(submitted(), { code: 'too_many_requests' });
      await submitted(bob);
    });
  });

  describe('are submitted once', () => {
    it('with one idempotency key, also at the same time, and each user for themselves', async () => {
      await upload(ada);
      await upload(bob);
      const submission = aSubmission({ source: snapshotOf(commit) });
      const gate = Promise.withResolvers<undefined>();
      bench.service.holdUp = gate.promise.then(() => undefined);
      const both = [
        bench.tasks.submit(ada, submission, 'key-1'),
        bench.tasks.submit(ada, submission, 'key-1'),
      ];
      gate.resolve(undefined);
      const [first, second] = await Promise.all(both);
      assert.equal(first?.id, second?.id);
      assert.equal(second?.stage, 'task');
      await bench.restart();
      assert.equal((await bench.tasks.submit(ada, submission, 'key-1')).id, first?.id);
      assert.notEqual((await bench.tasks.submit(bob, submission, 'key-1')).id, first?.id);
      assert.notEqual((await bench.tasks.submit(ada, submission, 'key-2')).id, first?.id);
      assert.equal(bench.service.requests.length, 3);
    });

    it('and a key stands for one submission, for a day', async () => {
      const { id } = await submitted(ada, { prompt: 'One' });
      await bench.tasks.submit(ada, aSubmission({ source: snapshotOf(commit), prompt: 'Two' }), 'key-1');
      const three = aSubmission({ source: snapshotOf(commit), prompt: 'Three' });
      await assert.rejects(bench.tasks.submit(ada, three, 'key-1'), { code: 'conflict', mend: /new key/ });
      for (const key of ['', ' ', 'x'.repeat(201), 'a\nb'])
        await assert.rejects(bench.tasks.submit(ada, three, key), { code: 'invalid_input' });
      bench.time += 24 * hour;
      assert.notEqual((await bench.tasks.submit(ada, three, 'key-1')).id, id);
    });

    it('and a key of a task that is removed is not used for another', async () => {
      await upload(ada);
      const submission = aSubmission({ source: snapshotOf(commit) });
      const { id } = await bench.tasks.submit(ada, submission, 'key-1');
      bench.service.end(id);
      await bench.tasks.remove(ada, id, false);
      assert.notEqual((await bench.tasks.submit(ada, submission, 'key-1')).id, id);
    });

    it('with an id of their own', async () => {
      const id = newTaskId(bench.time);
      const view = await submitted(ada, { id });
      assert.equal(view.id, id);
      assert.equal((await submitted(ada, { id })).id, id);
      // What was changed since is no other submission.
      bench.tasks.change(ada, id, { title: 'Another title', priority: 3 });
      assert.equal((await submitted(ada, { id })).title, 'Another title');
      assert.equal(bench.service.requests.length, 1);
      await assert.rejects(submitted(ada, { id, prompt: 'Other' }), { code: 'conflict' });
    });
  });

  describe('are for', () => {
    it('their owner, and whom they are shared with to be read', async () => {
      const { id } = await submitted();
      const eve = bench.user('eve', 'viewer');
      assert.equal(bench.tasks.get(ada, id).owner.name, 'Name of ada');
      assert.equal(bench.tasks.get(chief, id).id, id);
      for (const other of [bob, eve]) {
        assert.throws(() => bench.tasks.get(other, id), unknown);
        assert.deepEqual(bench.tasks.all(other), []);
        assert.deepEqual(bench.tasks.list(other, everything).counts.all, 0);
        await assert.rejects(bench.tasks.cancel(other, id), unknown);
      }
      bench.tasks.change(ada, id, { shared: true });
      for (const other of [bob, eve]) {
        assert.equal(bench.tasks.get(other, id).id, id);
        assert.equal(bench.tasks.state(other, id).spec.id, id);
        assert.equal(bench.tasks.all(other).length, 1);
        assert.throws(() => bench.tasks.change(other, id, { shared: false }), forbidden);
        await assert.rejects(bench.tasks.cancel(other, id), forbidden);
        await assert.rejects(bench.tasks.retry(other, id), forbidden);
        await assert.rejects(bench.tasks.remove(other, id, true), forbidden);
        await assert.rejects(bench.tasks.send(other, id, 'Hello'), forbidden);
        await assert.rejects(bench.tasks.setBudget(other, id, 5), forbidden);
        await assert.rejects(bench.tasks.answerEgress(other, id, { refuse: 'example.com' }), forbidden);
        await assert.rejects(bench.tasks.terminal(other, id, { cols: 80, rows: 24 }), forbidden);
        await assert.rejects(bench.tasks.confirm(other, id, {}), forbidden);
      }
      bench.tasks.change(chief, id, { shared: false });
      assert.throws(() => bench.tasks.get(bob, id), unknown);
      await bench.tasks.cancel(chief, id);
      assert.deepEqual(bench.service.stopped, [id]);
    });

    it('readers only as far as the task goes, not as far as its repository', async () => {
      const { id } = await submitted(ada, { shared: true });
      const made = brought(id, 'one');
      // Another task of the same owner in the same repository has brought this.
      repo.write('secret', 'of another task\n');
      const other = repo.commit('Secret');
      await upload(ada, other);
      const secret = repo.git('rev-parse', `${other}:secret`);
      const open = repo.git('rev-parse', `${commit}:README.md`);
      bench.service.blobs.set(secret, Buffer.from('secret'));
      bench.service.blobs.set(open, Buffer.from('open'));
      assert.ok((await bench.tasks.blob(ada, id, secret)).length > 0);
      await assert.rejects(bench.tasks.blob(bob, id, secret), { code: 'not_found' });
      for (const range of [
        { from: commit, to: other },
        { from: other, to: made },
        { from: shaOf('anything'), to: made },
      ]) {
        await assert.rejects(bench.tasks.changes(bob, id, range), { code: 'not_found' });
        await assert.rejects(bench.tasks.patch(bob, id, range), { code: 'not_found' });
      }
      await bench.tasks.changes(bob, id, { from: commit, to: made });
      await bench.tasks.bundle(bob, id, [other, commit]);
      await bench.tasks.bundle(ada, id, [other, commit]);
      assert.deepEqual(
        bench.service.bundled.map(({ have }) => have),
        [[commit], [other, commit]],
      );
    });

    it('readers of files that are part of the task', async () => {
      const { id } = await submitted(ada, { shared: true });
      const open = repo.git('rev-parse', `${commit}:README.md`);
      bench.service.blobs.set(open, Buffer.from('open'));
      assert.equal(Buffer.from(await bench.tasks.blob(bob, id, open)).toString(), 'open');
    });
  });

  describe('of a repository that is fetched', () => {
    it('are answered at once, and go on by themselves', async () => {
      const fetched = Promise.withResolvers<{ commit: string; headBranch: string }>();
      let asked: Parameters<TasksBench['fetch']>[0] | undefined;
      bench.fetch = async (request) => {
        asked = request;
        const result = await fetched.promise;
        await request.quarantine.importBase(result.commit, pieces(bundleOf(repo, result.commit)), {
          maxBytes: 1 << 20,
          timeoutMs: 10_000,
        });
        return result;
      };
      const { id, stage } = await bench.tasks.submit(ada, aSubmission());
      assert.equal(stage, 'fetching');
      assert.throws(() => bench.tasks.state(ada, id), { code: 'conflict', mend: /stage/ });
      // Whoever follows it waits for its log.
      const events: TaskEvent[] = [];
      const leave = new AbortController();
      const following = (async () => {
        for await (const batch of bench.tasks.events(ada, id, 0, leave.signal)) events.push(...batch);
      })();
      fetched.resolve({ commit, headBranch: 'main' });
      await until(() => bench.tasks.get(ada, id).stage === 'task', 'the task');
      assert.equal(asked?.url, 'https://forge.example.com/ada/demo');
      assert.equal(asked.token, 'runner-token');
      assert.equal(bench.tasks.state(ada, id).spec.snapshot.commit, commit);
      await until(() => events.length === 1, 'the first event');
      bench.service.say(id, { type: 'text', text: 'Hello' });
      await until(() => events.length === 2, 'the second event');
      leave.abort();
      await following;
    });

    it('get the token of the forge for that forge only', async () => {
      const tokens: (string | undefined)[] = [];
      bench.fetch = ({ token }) => {
        tokens.push(token);
        return Promise.reject(new SallyportError('repository_not_found', 'None.', 'None.'));
      };
      for (const url of [
        'https://forge.example.com/a/b',
        'https://forge.example.com.evil.example.com/a/b',
        'https://evil.example.com/forge.example.com/a',
        'https://forge.example.com:8443/a/b',
      ])
        await bench.tasks.submit(ada, aSubmission({ source: { kind: 'url', url } }));
      await until(() => tokens.length === 4, 'four fetches');
      assert.deepEqual(tokens, ['runner-token', undefined, undefined, undefined]);
    });

    it('fail with what went wrong, can be tried again, and followers are told the end', async () => {
      bench.fetch = () =>
        Promise.reject(new SallyportError('repository_not_found', 'There is none.', 'Look again.'));
      const { id } = await bench.tasks.submit(ada, aSubmission());
      for await (const _ of bench.tasks.events(ada, id, 0, AbortSignal.timeout(45_000)))
        assert.fail('It has no event');
      const failed = bench.tasks.get(ada, id);
      assert.equal(failed.stage, 'failed');
      assert.deepEqual(failed.problem, {
        code: 'repository_not_found',
        message: 'There is none.',
        mend: 'Look again.',
      });
      bench.fetch = () => Promise.reject(new Error('secret of the machine: /etc/x'));
      const again = await bench.tasks.retry(ada, id);
      assert.equal(again.retryOf, id);
      await until(() => bench.tasks.get(ada, again.id).stage === 'failed', 'the failure');
      assert.doesNotMatch(JSON.stringify(bench.tasks.get(ada, again.id)), /secret of/);
    });

    it('are fetched a few at a time, and can be cancelled while they wait', async () => {
      let running = 0;
      let most = 0;
      const go = Promise.withResolvers<undefined>();
      bench.fetch = async () => {
        running += 1;
        most = Math.max(most, running);
        await go.promise;
        running -= 1;
        throw new SallyportError('repository_not_found', 'None.', 'None.');
      };
      const views = await Promise.all(
        Array.from({ length: 12 }, () => bench.tasks.submit(ada, aSubmission())),
      );
      const cancelled = await bench.tasks.cancel(ada, views[11]!.id);
      assert.equal(cancelled.stage, 'cancelled');
      await until(() => running === 4, 'four fetches');
      go.resolve(undefined);
      await until(() => views.slice(0, 11).every(({ id }) => bench.tasks.get(ada, id).stage === 'failed'));
      assert.equal(most, 4);
      assert.equal(bench.tasks.get(ada, views[11]!.id).stage, 'cancelled');
    });

    it('go on after a restart of the server', async () => {
      let fetches = 0;
      bench.fetch = async ({ signal, quarantine }) => {
        fetches += 1;
        if (fetches === 1) await delay(60_000, undefined, { signal });
        const limits = { maxBytes: 1 << 20, timeoutMs: 10_000 };
        await quarantine.importBase(commit, pieces(bundleOf(repo, commit)), limits);
        return { commit, headBranch: 'main' };
      };
      const { id } = await bench.tasks.submit(ada, aSubmission());
      await until(() => fetches === 1);
      await bench.restart();
      await until(() => bench.tasks.get(ada, id).stage === 'task', 'the task');
      assert.equal(fetches, 2);
    });
  });

  describe('whose repository is looked for', () => {
    const found = { repository: 'ada/found', branch: 'next', reason: 'It says so.', prompt: 'Better words' };
    let known: (string | undefined)[];
    let search: PromiseWithResolvers<typeof found>;

    beforeEach(async () => {
      known = [];
      search = Promise.withResolvers();
      bench.finder = {
        find: async (_user, _submission, report, signal, before) => {
          known.push(before);
          const task = before ?? newTaskId(bench.time);
          if (bench.service.task(task) === undefined) {
            report(task);
            bench.service.add(aSpec({ id: task }));
          }
          const cut = Promise.withResolvers<never>();
          signal.addEventListener('abort', () => cut.reject(signal.reason), { once: true });
          return { task, found: await Promise.race([search.promise, cut.promise]) };
        },
      };
      bench.fetch = async ({ quarantine }) => {
        const limits = { maxBytes: 1 << 20, timeoutMs: 10_000 };
        await quarantine.importBase(commit, pieces(bundleOf(repo, commit)), limits);
        return { commit, headBranch: 'next' };
      };
      await bench.restart();
    });

    it('show the search as a task of its own that is in no list', async () => {
      const { id } = await bench.tasks.submit(ada, aSubmission({ source: { kind: 'find' }, priority: 7 }));
      await until(() => bench.tasks.get(ada, id).finding?.task !== undefined, 'the search');
      const view = bench.tasks.get(ada, id);
      assert.equal(view.stage, 'finding');
      const searching = view.finding?.task ?? '';
      assert.equal(bench.tasks.state(ada, searching).spec.id, searching);
      assert.throws(() => bench.tasks.get(bob, searching), unknown);
      bench.tasks.change(ada, id, { shared: true });
      assert.equal(bench.tasks.get(bob, searching).id, searching);
      assert.deepEqual(
        bench.tasks.all(ada).map((one) => one.id),
        [id],
      );
      assert.equal(bench.tasks.counts().all, 1);
      search.resolve(found);
      await until(() => bench.tasks.get(ada, id).stage === 'task', 'the task');
      assert.equal(bench.tasks.state(ada, id).spec.prompt, 'Better words');
      assert.deepEqual(bench.tasks.get(ada, id).finding, { task: searching, found });
      // Removing the task removes its search.
      bench.service.end(id);
      bench.service.end(searching);
      await bench.tasks.remove(ada, id, false);
      assert.equal(bench.service.task(searching), undefined);
      assert.throws(() => bench.tasks.get(ada, searching), unknown);
    });

    it('wait for a yes, also over a restart, and take another repository', async () => {
      const urls: string[] = [];
      const fetch = bench.fetch;
      bench.fetch = (request) => {
        urls.push(`${request.url} ${request.branch ?? ''}`);
        return fetch(request);
      };
      const source = { kind: 'find' as const, confirm: true };
      const one = await bench.tasks.submit(ada, aSubmission({ source }));
      const two = await bench.tasks.submit(ada, aSubmission({ source }));
      await assert.rejects(bench.tasks.confirm(ada, one.id, {}), { code: 'conflict' });
      search.resolve(found);
      for (const { id } of [one, two])
        await until(() => bench.tasks.get(ada, id).stage === 'confirming', 'the question');
      await bench.restart();
      for (const repository of ['../x', 'a/..', './b'])
        await assert.rejects(bench.tasks.confirm(ada, one.id, { repository }), { code: 'invalid_input' });
      await bench.tasks.confirm(ada, one.id, {});
      await bench.tasks.confirm(ada, two.id, { repository: 'ada/other' });
      for (const { id } of [one, two]) await until(() => bench.tasks.get(ada, id).stage === 'task');
      assert.deepEqual(urls, [
        'https://forge.example.com/ada/found next',
        'https://forge.example.com/ada/other ',
      ]);
      assert.equal(bench.tasks.state(ada, two.id).spec.prompt, 'Fix the median');
    });

    it('are followed on after a restart, by the id that was reported', async () => {
      const { id } = await bench.tasks.submit(ada, aSubmission({ source: { kind: 'find' } }));
      await until(() => bench.tasks.get(ada, id).finding?.task !== undefined);
      const searching = bench.tasks.get(ada, id).finding?.task;
      await bench.restart();
      await until(() => known.length === 2);
      assert.deepEqual(known, [undefined, searching]);
      search.resolve(found);
      await until(() => bench.tasks.get(ada, id).stage === 'task');
    });

    it('end with their search when they are cancelled', async () => {
      const { id } = await bench.tasks.submit(ada, aSubmission({ source: { kind: 'find' } }));
      await until(() => bench.tasks.get(ada, id).finding?.task !== undefined);
      const searching = bench.tasks.get(ada, id).finding?.task ?? '';
      assert.equal((await bench.tasks.cancel(ada, id)).stage, 'cancelled');
      assert.deepEqual(bench.service.stopped, [searching]);
      await bench.restart();
      await delay(20);
      assert.equal(bench.tasks.get(ada, id).stage, 'cancelled');
    });
  });

  it('are listed newest first, in pages, by what they are', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 7; n++) {
      bench.time += n % 2;
      ids.unshift((await submitted(n === 6 ? bob : ada, { prompt: `Number ${n}`, shared: n === 6 })).id);
    }
    bench.service.end(ids[0]!);
    bench.service.end(ids[1]!, 'failed');
    bench.service.end(ids[2]!, 'stopped');
    bench.service.say(ids[3]!, {
      type: 'started',
      spec: bench.tasks.state(ada, ids[3]!).spec,
      supervisor: '1',
    });
    const pages: string[][] = [];
    for (let cursor: string | undefined, n = 0; n < 9; n++) {
      const page = bench.tasks.list(ada, { limit: 3, cursor });
      pages.push(page.tasks.map(({ id }) => id));
      assert.deepEqual(page.counts, { all: 7, queued: 3, running: 1, succeeded: 1, failed: 1 });
      cursor = page.next;
      if (cursor === undefined) break;
    }
    const sorted = [...ids].sort((a, b) => {
      const [x, y] = [bench.tasks.get(ada, a), bench.tasks.get(ada, b)];
      return y.createdAt - x.createdAt || (x.id < y.id ? 1 : -1);
    });
    assert.deepEqual(pages, [sorted.slice(0, 3), sorted.slice(3, 6), sorted.slice(6)]);
    assert.throws(() => bench.tasks.list(ada, { limit: 3, cursor: "'; DROP" }), { code: 'invalid_input' });
    const list = (query: Partial<TaskQuery>): number =>
      bench.tasks.list(ada, { limit: 100, ...query }).tasks.length;
    assert.equal(list({ states: ['running'] }), 1);
    assert.equal(bench.tasks.list(ada, { limit: 1, states: ['running'] }).counts.all, 7);
    assert.equal(list({ states: ['succeeded', 'failed'] }), 2);
    assert.equal(list({ states: ['over'] }), 1);
    assert.equal(list({ owner: bob.id }), 1);
    assert.equal(list({ words: 'number 4' }), 1);
    assert.equal(list({ words: 'nothing' }), 0);
    assert.equal(list({ repository: 'demo-1' }), 7);
    assert.equal(list({ repository: 'demo-2' }), 0);
  });

  it('tell of several changes at once as of one, with the newest', async () => {
    const { id } = await submitted();
    const views: TaskView[] = [];
    bench.tasks.onDidChange((view) => views.push(view));
    // Until nothing is told any more of its beginning.
    let told = -1;
    while (told !== views.length) {
      told = views.length;
      await delay(150);
    }
    views.length = 0;
    for (let n = 0; n < 500; n++) bench.service.say(id, { type: 'text', text: `Line ${n}` });
    bench.tasks.change(ada, id, { title: 'New' });
    await until(() => views.length > 0, 'a change');
    assert.equal(views.length, 1);
    assert.equal(views[0]?.summary?.lastEvent, 501);
    assert.equal(views[0].title, 'New');
    assert.equal(views[0].state, undefined);
  });

  it('wait in the queue in the order of their priorities, which can be changed', async () => {
    const { id } = await submitted(ada, { priority: 1 });
    const other = await submitted(ada);
    const told = new Map<string, string>();
    bench.admission.occupy({ id: 'x', memoryBytes: 16 * 2 ** 30 });
    const never = new AbortController();
    for (const one of [id, other.id])
      bench.admission
        .enter(
          { id: one, memoryBytes: 1, turn: bench.admission.takeTurn() },
          (text) => told.set(one, text),
          never.signal,
        )
        .catch(() => undefined);
    assert.match(told.get(id) ?? '', /next/);
    bench.tasks.change(ada, other.id, { priority: 2 });
    assert.match(told.get(other.id) ?? '', /next/);
    assert.match(told.get(id) ?? '', /1 task/);
    never.abort();
  });

  it('are repeated as they were, for their owner, when they are over', async () => {
    const { id } = await submitted(ada, { priority: 4, title: 'Title' });
    await assert.rejects(bench.tasks.retry(ada, id), { code: 'task_busy' });
    bench.service.end(id, 'failed');
    const again = await bench.tasks.retry(chief, id);
    assert.equal(again.retryOf, id);
    assert.equal(again.owner.id, ada.id);
    assert.equal(again.priority, 4);
    assert.equal(again.title, 'Title');
    assert.equal(bench.service.requests[1]?.repository.id, bench.service.requests[0]?.repository.id);
  });

  it('go on in place when they are over, as their owner’s once more', async () => {
    const { id } = await submitted();
    await bench.tasks.send(ada, id, 'And now?');
    assert.deepEqual(bench.service.said, [{ id, text: 'And now?', by: 'Name of ada' }]);
    bench.service.end(id);
    const seen: string[] = [];
    bench.tasks.onDidChange((view) => seen.push(view.stage));
    const same = await bench.tasks.send(ada, id, 'Then the mean', { conversation: true });
    assert.equal(same.id, id);
    assert.equal(bench.tasks.all(ada).length, 1);
    const state = bench.tasks.state(ada, id);
    assert.deepEqual([state.phase, state.prompt?.text, state.reopened], ['preparing', 'Then the mean', 1]);
    assert.notEqual(state.conversation, undefined);
    // It is under way again: neither repeated nor removed.
    await assert.rejects(bench.tasks.retry(ada, id), { code: 'task_busy' });
    await assert.rejects(bench.tasks.remove(ada, id, false), { code: 'task_busy' });
    bench.service.end(id);
    const grace = bench.user('grace');
    await assert.rejects(bench.tasks.send(grace, id, 'Mine now'), unknown);
    await assert.rejects(bench.tasks.commitLeftovers(grace, id, 'Mine'), unknown);
    await assert.rejects(bench.tasks.commitLeftovers(ada, id, 'Nothing'), { code: 'conflict' });
  });

  it('are removed with all that is of them, and only when they are over', async () => {
    const { id } = await submitted();
    const removed: string[] = [];
    bench.tasks.onDidRemove((one) => removed.push(one));
    await assert.rejects(bench.tasks.remove(ada, id, false), { code: 'task_busy' });
    bench.service.say(id, { type: 'commit', commit: aCommit('kept') });
    bench.service.say(id, { type: 'ended', outcome: 'succeeded', message: 'Over.' });
    await assert.rejects(bench.tasks.remove(ada, id, false), { code: 'commits_not_imported' });
    assert.equal(bench.tasks.get(ada, id).id, id);
    const following = (async () => {
      for await (const _ of bench.tasks.events(ada, id, 0, new AbortController().signal)) {
        // Only its end counts.
      }
    })();
    await bench.tasks.remove(ada, id, true);
    await following;
    assert.deepEqual(removed, [id]);
    assert.throws(() => bench.tasks.get(ada, id), unknown);
    await bench.restart();
    assert.equal(bench.tasks.counts().all, 0);
  });

  describe('that are old', () => {
    beforeEach(async () => {
      bench.config = { ...bench.config, retentionMs: 10 * 24 * hour };
      await bench.restart();
    });
    /** Time goes by, and what may go is gone. */
    const later = async (): Promise<void> => {
      // Looked at last, because it is the youngest.
      const last = await submitted(ada, { title: 'Last' });
      bench.service.end(last.id);
      bench.time = Date.now() + 11 * 24 * hour;
      await bench.restart();
      await until(() => bench.tasks.all(ada).every(({ id }) => id !== last.id), 'the sweep');
    };

    it('are removed by themselves, when nothing is lost with them', async () => {
      const empty = await submitted();
      const running = await submitted();
      const fetched = await submitted();
      brought(fetched.id, 'fetched');
      const failed = await submitted();
      for (const one of [empty, fetched]) bench.service.end(one.id);
      bench.service.end(failed.id, 'failed');
      for await (const _ of await bench.tasks.bundle(ada, fetched.id, [])) {
        // Only its end counts.
      }
      await later();
      assert.deepEqual(
        bench.tasks.all(ada).map(({ id }) => id),
        [running.id],
      );
      assert.equal(bench.audit.length, 4);
    });

    it('stay when they hold the only copy of a commit', async () => {
      const only = await submitted();
      brought(only.id, 'only');
      // Somebody else's copy is not the owner's, and half a bundle is none.
      const half = await submitted(ada, { shared: true });
      brought(half.id, 'half');
      for await (const _ of await bench.tasks.bundle(ada, half.id, [])) break;
      for await (const _ of await bench.tasks.bundle(bob, half.id, [])) {
        // Only its end counts.
      }
      // What was fetched before the last commit.
      const before = await submitted();
      brought(before.id, 'before');
      for await (const _ of await bench.tasks.bundle(ada, before.id, [])) {
        // Only its end counts.
      }
      brought(before.id, 'after');
      const waiting = await submitted();
      bench.service.say(waiting.id, { type: 'commit', commit: aCommit('waiting') });
      const all = [only, half, before, waiting];
      for (const { id } of all) bench.service.end(id);
      await later();
      assert.deepEqual(bench.tasks.all(ada).length, all.length);
    });

    it('are removed when what was pushed reaches all that they hold', async () => {
      const shas: string[] = [];
      for (const name of ['one', 'two', 'aside']) {
        if (name === 'aside') repo.git('checkout', '--quiet', commit);
        repo.write(name, name);
        shas.push(repo.commit(name));
      }
      const [one = '', two = '', aside = ''] = shas;
      for (const sha of shas) await upload(ada, sha);
      const ids: string[] = [];
      for (const made of [
        [one, two],
        [two, aside],
      ]) {
        const { id } = await submitted(ada);
        ids.push(id);
        for (const sha of made)
          bench.service.say(
            id,
            { type: 'commit', commit: { ...aCommit('x'), sha } },
            { type: 'imported', tips: [sha] },
          );
        bench.service.end(id);
        bench.published?.pushed(id, 'claude/x', two);
      }
      await later();
      assert.deepEqual(
        bench.tasks.all(ada).map(({ id }) => id),
        [ids[1]],
      );
    });
  });

  describe('are consistent again after the server was killed', () => {
    it('with a row and no log', async () => {
      const { id } = await submitted();
      await bench.service.remove(id, { force: true });
      await bench.restart();
      const view = bench.tasks.get(ada, id);
      assert.equal(view.stage, 'failed');
      assert.equal(view.problem?.code, 'log_damaged');
      await bench.tasks.remove(ada, id, false);
    });

    it('with a log and no row: it is the administrator’s', async () => {
      const { id } = bench.service.add(aSpec()).spec;
      await bench.restart();
      assert.equal(bench.tasks.get(chief, id).owner.id, chief.id);
      assert.throws(() => bench.tasks.get(ada, id), unknown);
      // Those that are taken up later from their sandboxes too.
      const late = bench.service.add(aSpec());
      assert.equal(bench.tasks.get(chief, late.spec.id).stage, 'task');
    });

    it('in the middle of a submission: it is made', async () => {
      await upload(ada);
      await bench.tasks.close();
      const insert = bench.store.prepare(
        "INSERT INTO tasks (id, owner, shared, stage, priority, submission, created_at) VALUES (?, ?, 0, 'fetching', 0, ?, 1)",
      );
      const [lost, begun] = [newTaskId(bench.time), newTaskId(bench.time)];
      for (const id of [lost, begun])
        insert.run(id, ada.id, JSON.stringify(aSubmission({ source: snapshotOf(commit) })));
      bench.service.add(aSpec({ id: begun }));
      await bench.start();
      await until(() => bench.tasks.get(ada, lost).stage === 'task', 'the submission');
      assert.equal(bench.tasks.get(ada, begun).stage, 'task');
      assert.deepEqual(
        bench.service.requests.map(({ id }) => id),
        [lost],
      );
    });

    it('in the middle of a removal: it is done, but never by force', async () => {
      const [over, holds] = [await submitted(), await submitted()];
      bench.service.end(over.id);
      bench.service.say(holds.id, { type: 'commit', commit: aCommit('only') });
      bench.service.end(holds.id);
      bench.store.exec('UPDATE tasks SET removing = 1');
      await bench.restart();
      assert.equal(bench.service.task(over.id), undefined);
      assert.deepEqual(
        bench.tasks.all(ada).map(({ id }) => id),
        [holds.id],
      );
    });
  });

  it('are pushed as their switches say, and show what became of it', async () => {
    bench.fetch = async ({ quarantine }) => {
      const limits = { maxBytes: 1 << 20, timeoutMs: 10_000 };
      await quarantine.importBase(commit, pieces(bundleOf(repo, commit)), limits);
      return { commit, headBranch: 'main' };
    };
    const heard: string[] = [];
    bench.published?.onDidChange(({ state }) => heard.push(state.spec.id));
    const pushes = await bench.tasks.submit(ada, aSubmission({ switches: { draftEarly: true } }));
    const plain = await bench.tasks.submit(ada, aSubmission());
    for (const { id } of [pushes, plain]) await until(() => bench.tasks.get(ada, id).stage === 'task');
    assert.deepEqual(pushes.switches, {
      commitEach: false,
      autoPush: true,
      draftEarly: true,
      autoPullRequest: false,
    });
    await until(() => heard.length > 0);
    assert.deepEqual([...new Set(heard)], [pushes.id]);
    const [one] = bench.published?.all() ?? [];
    assert.equal(one?.url, 'https://forge.example.com/ada/demo');
    assert.equal(one.base, 'main');
    const pullRequest = {
      url: 'https://forge.example.com/ada/demo/pull/1',
      number: 1,
      state: 'draft' as const,
    };
    bench.published?.pushed(pushes.id, 'claude/x', commit);
    bench.published?.pullRequest(pushes.id, pullRequest);
    bench.published?.problem(pushes.id, { code: 'push_refused', message: 'No.', mend: 'Look.' });
    await bench.restart();
    const view = bench.tasks.get(ada, pushes.id);
    assert.equal(view.pushedBranch, 'claude/x');
    assert.deepEqual(view.pullRequest, pullRequest);
    assert.equal(view.problem?.code, 'push_refused');
    bench.published?.problem(pushes.id, undefined);
    assert.equal(bench.tasks.get(ada, pushes.id).problem, undefined);
  });

  it('are taken in no more while the server shuts down', async () => {
    await upload(ada);
    await bench.tasks.close();
    const submission = aSubmission({ source: snapshotOf(commit) });
    await assert.rejects(bench.tasks.submit(ada, submission), { code: 'conflict', message: /shutting down/ });
    await bench.tasks.close();
    bench.tasks.dispose();
    await bench.start();
  });
});
