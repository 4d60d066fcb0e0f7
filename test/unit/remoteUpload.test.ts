import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { SallyportError } from '../../src/base/errors.ts';
import type { TaskSpec } from '../../src/protocol/task.ts';
import type { SubmitProgress } from '../../src/remote/remoteTasks.ts';
import { CuttingProxy } from '../support/cuttingProxy.ts';
import { FakeRunner } from '../support/fakeRunner.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { RemoteClient, until } from '../support/remoteClient.ts';

describe('submission to a remote runner', function () {
  let runner: FakeRunner;
  let proxy: CuttingProxy;
  let client: RemoteClient;
  let repository: GitRepo;
  let folder: ReturnType<typeof temporaryFolder>;

  beforeEach(async () => {
    runner = await FakeRunner.start();
    proxy = await CuttingProxy.start(runner.port);
    client = await RemoteClient.open(proxy.url);
    folder = temporaryFolder();
    repository = new GitRepo(join(folder.path, 'project'));
    repository.write('README.md', '# Project\n');
    repository.write('noise', randomBytes(300_000));
    repository.commit('First');
  });
  afterEach(async () => {
    await client.close();
    await proxy.close();
    await runner.close();
    folder.dispose();
  });

  const submit = (change: Partial<Parameters<typeof client.service.submit>[0]> = {}, signal?: AbortSignal) =>
    client.service.submit(
      { repositoryPath: repository.path, prompt: 'Do it.', snapshot: 'head', ...change },
      signal,
    );

  /** As a user does it who sees that the runner is not there, and tries again. */
  async function stubbornly(): Promise<TaskSpec> {
    for (let tries = 0; ; tries++) {
      try {
        return (await submit()).spec;
      } catch (thrown) {
        if (tries === 20 || !(thrown instanceof SallyportError) || thrown.code !== 'runner_unreachable')
          throw thrown;
      }
    }
  }

  /** Files that wait to be sent. */
  async function waiting(): Promise<string[]> {
    const root = join(client.data, 'remote');
    const [name = ''] = await readdir(root);
    return await readdir(join(root, name, 'uploads'));
  }

  it('brings the snapshot, and says of it only what the runner needs', async () => {
    const stages: string[] = [];
    client.service.onProgress(({ stage }: SubmitProgress) => stages.push(stage));
    repository.write('edited', 'not committed\n');
    const { spec } = await submit({
      snapshot: 'untracked',
      branch: 'claude/mine',
      model: 'opus',
      budgetUsd: 5,
      egress: { mode: 'list', rules: ['api.example.com'] },
    });
    assert.equal(spec.repository.path, repository.path);
    assert.equal(spec.snapshot.mode, 'untracked');
    assert.ok(await runner.quarantine.has(spec.snapshot.commit));
    const [submission] = runner.submissions;
    assert.ok(submission);
    assert.deepEqual(
      { ...submission, egress: { ...submission.egress, rules: undefined } },
      {
        ...submission,
        id: spec.id,
        prompt: 'Do it.',
        title: 'Do it.',
        model: 'opus',
        branch: 'claude/mine',
        budgetUsd: 5,
        identity: { name: 'Ada Example', email: 'ada@example.org' },
        egress: { mode: 'list', rules: undefined },
      },
    );
    assert.ok(submission.egress?.rules?.includes('api.example.com'));
    assert.equal(submission.limits, undefined);
    assert.deepEqual(runner.keys, [spec.id]);
    // No path of this machine goes to the runner.
    assert.ok(!JSON.stringify(submission).includes(folder.path));
    assert.deepEqual([...new Set(stages)], ['asking', 'packing', 'uploading', 'submitting']);
    assert.deepEqual(await waiting(), []);
  });

  it('sends only what the runner does not have', async () => {
    await submit();
    const first = runner.uploadedBytes;
    assert.ok(first > 300_000);
    await submit();
    assert.equal(runner.uploadedBytes, first, 'the same commit was sent again');
    repository.write('README.md', '# Project, changed\n');
    repository.commit('Second');
    await submit();
    assert.ok(
      runner.uploadedBytes - first < 3000,
      `${runner.uploadedBytes - first} bytes for a small change`,
    );
  });

  it('goes on where it broke off, at any byte, and submits once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ up: fc.integer({ min: 1, max: 700_000 }), down: fc.integer({ min: 1, max: 3000 }) }),
          {
            minLength: 1,
            maxLength: 6,
          },
        ),
        async (cuts) => {
          repository.write('noise', randomBytes(500_000));
          repository.commit('More noise');
          const before = runner.submissions.length;
          proxy.cuts = cuts;
          const spec = await stubbornly();
          assert.ok(await runner.quarantine.has(spec.snapshot.commit));
          assert.equal(runner.submissions.length, before + 1);
          assert.deepEqual(await waiting(), []);
          proxy.cuts = [];
        },
      ),
      { numRuns: 8 },
    );
  });

  it('does not send again what arrived before the break', async () => {
    repository.write('noise', randomBytes(12 << 20));
    repository.commit('Twelve megabytes');
    await client.service.open();
    await client.status('online');
    proxy.cuts = [{ up: 9 << 20, down: Infinity }];
    proxy.cutAll();
    await submit();
    assert.ok(runner.uploadedBytes < 13 << 20, `${runner.uploadedBytes} bytes came`);
  });

  it('loses nothing when this process ends in the middle: the next try goes on', async () => {
    repository.write('noise', randomBytes(12 << 20));
    repository.commit('Twelve megabytes');
    const stop = new AbortController();
    client.service.onProgress(({ stage, done }) => {
      if (stage === 'uploading' && done >= 4 << 20) stop.abort();
    });
    await assert.rejects(submit({}, stop.signal));
    const before = runner.uploadedBytes;
    assert.ok(before >= 4 << 20 && before < 12 << 20, String(before));
    assert.equal((await waiting()).length, 2);
    await client.reopen();
    await submit();
    assert.ok(runner.uploadedBytes < 13 << 20, `${runner.uploadedBytes} bytes came`);
    assert.equal(runner.submissions.length, 1);
  });

  it('says so when the runner cannot be reached, and keeps nothing of a task that does not exist', async () => {
    await runner.close();
    await assert.rejects(submit(), (thrown: unknown) => {
      assert.ok(thrown instanceof SallyportError);
      assert.equal(thrown.code, 'runner_unreachable');
      assert.notEqual(thrown.mend, '');
      return true;
    });
    assert.deepEqual(client.service.tasks(), []);
    runner = await FakeRunner.start();
  });

  it('passes on why the runner does not take the task', async () => {
    runner.onRequest = (request, response) => {
      if (request.method !== 'POST' || request.url !== '/api/v1/tasks') return false;
      const problem = {
        type: 'urn:sallyport:forbidden',
        title: 'forbidden',
        status: 403,
        detail: 'Viewers submit \u001b[31mnothing.',
        code: 'forbidden',
        mend: 'Ask Anna.',
      };
      response.writeHead(403, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
      return true;
    };
    await assert.rejects(submit(), {
      code: 'forbidden',
      message: 'Viewers submit nothing.',
      mend: 'Ask Anna.',
    });
    const root = join(client.data, 'remote');
    assert.deepEqual(readdirSync(join(root, readdirSync(root)[0] ?? '', 'tasks')), []);
  });

  it('submits several tasks at once with one upload', async () => {
    const tasks = await Promise.all([1, 2, 3, 4].map((n) => submit({ prompt: `Task ${n}` })));
    assert.equal(new Set(tasks.map(({ spec }) => spec.id)).size, 4);
    assert.equal(runner.requests.filter((request) => request === 'POST /api/v1/uploads').length, 1);
    assert.equal(runner.submissions.length, 4);
  });

  it('knows its own repository again, whatever the runner says, and accepts into it', async () => {
    const { spec } = await submit();
    assert.equal(runner.task(spec.id).spec.repository.path, '/etc');
    const sandbox = new GitRepo(join(folder.path, 'sandbox'), { init: false });
    repository.git('clone', '--quiet', repository.path, sandbox.path);
    sandbox.git('config', 'user.name', 'Claude');
    sandbox.git('config', 'user.email', 'claude@example.com');
    sandbox.write('new.txt', 'made there\n');
    const sha = sandbox.commit('Made there');
    await bring(sandbox, spec.id, spec.snapshot.commit, sha);
    await until(() => client.service.result(spec.id)?.to === sha, 'the commit', client.log);
    assert.deepEqual(
      (await client.service.changes(spec.id)).map(({ path }) => path),
      ['new.txt'],
    );
    assert.match((await client.service.patch(spec.id)).text, /^\+made there$/m);
    // Without the runner too.
    await runner.close();
    await client.reopen();
    await client.service.acceptAsBranch(spec.id, 'accepted');
    assert.equal(repository.git('rev-parse', 'accepted'), sha);
    assert.equal(client.service.task(spec.id)?.spec.repository.path, repository.path);
    runner = await FakeRunner.start();
  });

  it('has no repository to accept a task into that was submitted elsewhere', async () => {
    const { spec } = await submit();
    const other = await RemoteClient.open(proxy.url);
    try {
      await other.service.open();
      await other.eventsUpTo(spec.id, 1);
      repository.write('y', 'y\n');
      const sha = repository.commit('Made there');
      await bring(repository, spec.id, spec.snapshot.commit, sha);
      await until(() => other.service.result(spec.id)?.to === sha, 'the commit', other.log);
      assert.match((await other.service.patch(spec.id)).text, /^\+y$/m);
      assert.equal(other.service.task(spec.id)?.spec.repository.path, '');
      await assert.rejects(other.service.acceptAsBranch(spec.id, 'x'), { code: 'no_repository' });
    } finally {
      await other.close();
    }
  });

  it('takes a task that goes on from one of this machine for one of this machine', async () => {
    const { spec } = await submit();
    repository.write('y', 'y\n');
    const sha = repository.commit('Made there');
    await bring(repository, spec.id, spec.snapshot.commit, sha);
    await until(() => client.service.result(spec.id)?.to === sha, 'the commit', client.log);
    const [id = '', strange = ''] = ['a', 'b', 'c']
      .filter((end) => !spec.id.endsWith(end))
      .map((end) => spec.id.slice(0, -1) + end);
    const snapshot = { mode: 'head' as const, commit: sha, head: sha };
    const { id: name } = spec.repository;
    const next = (id: string, commit: string): void =>
      runner.add(
        { ...runner.task(spec.id).spec, id, snapshot: { ...snapshot, commit } },
        {
          retryOf: spec.id,
          source: { kind: 'snapshot', repository: { id: name, name }, snapshot: { ...snapshot, commit } },
        },
      );
    next(id, sha);
    await client.eventsUpTo(id, 1);
    assert.equal(client.service.task(id)?.spec.repository.path, repository.path);
    // But not with a commit that nobody here has seen.
    next(strange, '1'.repeat(40));
    await client.eventsUpTo(strange, 1);
    assert.equal(client.service.task(strange)?.spec.repository.path, '');
  });

  /** The runner has imported a commit of a task. */
  async function bring(from: GitRepo, id: string, base: string, sha: string): Promise<void> {
    from.git('update-ref', 'refs/heads/made', sha);
    const bundle = from.raw(['bundle', 'create', '-q', '--version=2', '-', 'refs/heads/made', `^${base}`]);
    await runner.quarantine.importBundle(
      id,
      (async function* () {
        await Promise.resolve();
        yield bundle;
      })(),
      { tips: [{ sha, branch: 'claude/x' }] },
    );
    const [commit] = await runner.quarantine.commits([sha]);
    assert.ok(commit);
    runner.say(
      id,
      { type: 'commit', t: 2, s: 1, commit: { ...commit, branch: 'claude/x' } },
      { type: 'imported', t: 3, tips: [sha], commits: [commit] },
    );
  }
});
