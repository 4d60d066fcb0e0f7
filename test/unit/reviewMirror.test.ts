import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReviewScope } from '../../src/protocol/review.ts';
import { FakeRunner } from '../support/fakeRunner.ts';
import { GitRepo, pieces, temporaryFolder } from '../support/gitRepo.ts';
import { RemoteClient, until } from '../support/remoteClient.ts';

const all: ReviewScope = { kind: 'all' };
const rest = { scope: all, what: 'rest', target: { kind: 'tree', staged: false } } as const;

describe('review of a task of a remote runner', function () {
  let runner: FakeRunner;
  let client: RemoteClient;
  let repository: GitRepo;
  let folder: ReturnType<typeof temporaryFolder>;

  beforeEach(async () => {
    runner = await FakeRunner.start();
    client = await RemoteClient.open(runner.url);
    folder = temporaryFolder();
    repository = new GitRepo(join(folder.path, 'project'));
    repository.write('a', 'one\n');
    repository.commit('First');
  });
  afterEach(async () => {
    await client.close();
    await runner.close();
    folder.dispose();
  });

  /** A task of this machine's on the runner, with a commit. */
  async function task(): Promise<string> {
    const { spec } = await client.service.submit({
      repositoryPath: repository.path,
      prompt: 'Do it.',
      snapshot: 'head',
    });
    const agent = new GitRepo(join(folder.path, 'agent'));
    agent.git('fetch', '--quiet', repository.path, 'main');
    agent.git('reset', '--quiet', '--hard', spec.snapshot.commit);
    agent.write('a', 'one\ntwo\n');
    const sha = agent.commit('Second');
    const bundle = agent.raw(['bundle', 'create', '-q', '-', 'main', `^${spec.snapshot.commit}`]);
    await runner.quarantine.importBundle(spec.id, pieces(bundle), { tips: [{ sha }] });
    const [commit] = await runner.quarantine.commits([sha]);
    assert(commit);
    runner.say(
      spec.id,
      { type: 'commit', t: 2, s: 1, commit },
      { type: 'imported', t: 3, tips: [sha], commits: [commit] },
    );
    await until(() => client.service.result(spec.id)?.to === sha, 'the commit', client.log);
    return spec.id;
  }

  it('is kept on this machine, and takes over into the repository that the task began with', async () => {
    const id = await task();
    await client.service.review(id).decide(all, { all: true }, 'accepted');
    const [root = ''] = await readdir(join(client.data, 'remote'));
    const log = join(client.data, 'remote', root, 'tasks', id, 'review.ndjson');
    assert.match(readFileSync(log, 'utf8'), /"decided"/);
    await client.reopen();
    await client.eventsUpTo(id, 3);
    const outcome = await client.service.review(id).accept({ ...rest, what: 'accepted' });
    assert(outcome.kind === 'done');
    assert.equal(readFileSync(join(repository.path, 'a'), 'utf8'), 'one\ntwo\n');
    await client.service.review(id).undo(outcome.record.id);
    assert.equal(readFileSync(join(repository.path, 'a'), 'utf8'), 'one\n');
    runner.remove(id);
    await until(() => client.service.task(id) === undefined, 'that it is gone', client.log);
    await until(() => !existsSync(log), 'that its review is gone', client.log);
    assert.throws(() => client.service.review(id), { code: 'task_unknown' });
  });

  it('can be looked at where the task was not submitted, and has nowhere to go there', async () => {
    const id = await task();
    const other = await RemoteClient.open(runner.url);
    await other.service.open();
    await until(
      () => other.service.task(id) !== undefined && other.service.result(id) !== undefined,
      'the commit',
      other.log,
    );
    const review = other.service.review(id);
    const state = await review.decide(all, { all: true }, 'accepted');
    assert.equal(Object.keys(state.verdicts).length, 1);
    await assert.rejects(review.accept(rest), { code: 'no_repository' });
    // Each reviews for itself.
    assert.deepEqual((await client.service.review(id).state()).verdicts, {});
    await other.close();
  });
});
