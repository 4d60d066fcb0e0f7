import assert from 'node:assert/strict';
import { Quarantine } from '../../src/git/quarantine.ts';
import { join } from 'node:path';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { bash, Bench, gitIn } from '../support/tasks.ts';

/** The agent refuses to run a long `sleep`. */
const forever = 'tail -f /dev/null';
const evilCommit =
  't=$(git mktree < /dev/null); t=$(printf "040000 tree $t\\t.GIT\\n" | git mktree); git update-ref HEAD $(git commit-tree -p HEAD -m Evil $t)';

for (const kind of engineKinds) {
  describe(`promise 10 on ${kind}: removing never deletes the only copy of a commit`, function () {
    this.timeout('3m');
    let bench: Bench;

    before(async () => {
      bench = await Bench.open((await engines())[kind]);
    });
    after(() => bench.close());

    const quarantineOf = (id: string): Quarantine =>
      Quarantine.open(join(bench.data, 'quarantine'), bench.state(id).spec.repository.id);

    it('refuses while the task runs, however often and however many ask at once', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([bash('git commit -q --allow-empty -m One'), bash(forever)], {
        repositoryPath,
      });
      const asking = async (): Promise<void> => {
        const asked = await Promise.allSettled([1, 2, 3].map(() => bench.service.remove(spec.id)));
        for (const answer of asked) assert.equal(answer.status, 'rejected');
      };
      await asking();
      await bench.events(spec.id, (event) => event.type === 'commit');
      // The commit is being brought in: this is the moment in which it could be lost.
      await asking();
      await bench.events(spec.id, (event) => event.type === 'imported');
      await asking();
      const sha = bench.state(spec.id).commits[0]?.sha ?? '';
      assert.equal(await quarantineOf(spec.id).has(sha), true);
      await bench.service.stop(spec.id);
      await bench.events(spec.id);
      assert.equal(await quarantineOf(spec.id).has(sha), true);
    });

    it('keeps what was brought in through every prune, until the task is removed', async () => {
      const repositoryPath = await bench.repository();
      const turns = Array.from({ length: 4 }, (_, n) =>
        bash(`echo ${n} > f${n}; git add f${n}; git commit -qm ${n}`),
      );
      const { spec } = await bench.submit([...turns, { text: 'ok' }], { repositoryPath });
      const quarantine = quarantineOf(spec.id);
      const over = new AbortController();
      let prunes = 0;
      // Prunes run against the imports all the time.
      const pruning = (async () => {
        while (!over.signal.aborted) {
          if (await quarantine.prune()) prunes++;
          await new Promise((passed) => setTimeout(passed, 50));
        }
      })();
      const events: TaskEvent[] = await bench.events(spec.id);
      over.abort();
      await pruning;
      assert.ok(prunes > 3, `only ${prunes} prunes ran`);
      const announced = events.flatMap((event) => (event.type === 'commit' ? [event.commit.sha] : []));
      assert.equal(announced.length, 4);
      await quarantine.prune();
      for (const sha of announced) assert.equal(await quarantine.has(sha), true, sha);
      const { commit } = spec.snapshot;
      await bench.service.remove(spec.id);
      await quarantine.prune([commit]);
      for (const sha of announced)
        assert.equal(await quarantine.has(sha), false, 'gone when nobody wants it');
      assert.equal(await quarantine.has(commit), true, 'the user’s own stays');
      assert.equal(await gitIn(repositoryPath, 'rev-parse', 'HEAD'), commit);
      await gitIn(repositoryPath, 'fsck', '--strict');
    });

    it('keeps the sandbox of a commit that is not let in, and gives it up by force only', async () => {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.submit([bash(evilCommit), { text: 'ok' }], { repositoryPath });
      await bench.events(spec.id, (event) => event.type === 'import_failed');
      for (let i = 0; i < 1000 && bench.state(spec.id).endedAt === undefined; i++)
        await new Promise((passed) => setTimeout(passed, 100));
      const asked = await Promise.allSettled([1, 2, 3].map(() => bench.service.remove(spec.id)));
      for (const answer of asked) {
        assert.ok(answer.status === 'rejected');
        assert.equal((answer.reason as { code?: string }).code, 'commits_not_imported');
      }
      assert.notDeepEqual(await bench.remains(), []);
      await bench.reopen();
      await assert.rejects(bench.service.remove(spec.id), { code: 'commits_not_imported' });
      await bench.service.remove(spec.id, { force: true });
      assert.equal(bench.service.task(spec.id), undefined);
      assert.deepEqual(await bench.remains(), []);
    });
  });
}
