import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Quarantine } from '../../src/git/quarantine.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { bash, Bench, only } from '../support/tasks.ts';

/** A commit with a folder that some systems take for git's own, on the branch that is checked out. */
const evil =
  't=$(git mktree < /dev/null); t=$(printf "040000 tree $t\\t.GIT\\n" | git mktree); git update-ref HEAD $(git commit-tree -p HEAD -m Evil $t)';

for (const kind of engineKinds) {
  describe(`imports on ${kind}`, function () {
    this.timeout('3m');

    it('keep a refused commit and what builds on it out, and nothing else', async () => {
      const bench = await Bench.open((await engines())[kind]);
      try {
        const repositoryPath = await bench.repository();
        const { spec } = await bench.submit(
          [
            bash(`git branch side; ${evil}`),
            bash('git update-ref HEAD $(git commit-tree -p HEAD -m Above HEAD~1^{tree})'),
            bash(
              'for i in 1 2; do git update-ref refs/heads/side $(git commit-tree -p side -m Good$i side^{tree}); done',
            ),
            { text: 'ok' },
          ],
          { repositoryPath },
        );
        const all = await bench.events(spec.id, (event) => event.type === 'ended');
        assert.deepEqual(
          only(all, 'commit').map(({ commit }) => commit.subject),
          ['Evil', 'Above', 'Good1', 'Good2'],
        );
        // The imports may come after the end.
        await until(() => {
          const { pendingImports, refusedImports } = bench.state(spec.id);
          return pendingImports.length === 2 && refusedImports.length === 2;
        });
        const state = bench.state(spec.id);
        const [bad = '', above = '', ...good] = state.commits.map(({ sha }) => sha);
        assert.deepEqual(state.refusedImports, [bad, above]);
        assert.deepEqual(state.imported, good);
        assert.equal(state.importFailure?.code, 'import_refused');
        const quarantine = Quarantine.open(join(bench.data, 'quarantine'), spec.repository.id);
        assert.deepEqual(await Promise.all([bad, above, ...good].map((sha) => quarantine.has(sha))), [
          false,
          false,
          true,
          true,
        ]);
        assert.equal(bench.service.result(spec.id)?.to, good[1]);
        await assert.rejects(bench.service.remove(spec.id), { code: 'commits_not_imported' });
        assert.notDeepEqual(await bench.remains(), []);
        await bench.reopen();
        assert.deepEqual(bench.state(spec.id).refusedImports, [bad, above]);
        await assert.rejects(bench.service.remove(spec.id), { code: 'commits_not_imported' });
        await bench.service.remove(spec.id, { force: true });
        assert.deepEqual(await bench.remains(), []);
      } finally {
        await bench.close();
      }
    });
  });
}

async function until(holds: () => boolean): Promise<void> {
  for (let left = 600; !holds(); left--) {
    assert.ok(left > 0, 'it never came so far');
    await new Promise((passed) => setTimeout(passed, 100));
  }
}
