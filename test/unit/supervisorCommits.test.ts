import assert from 'node:assert/strict';
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Commit } from '../../src/protocol/taskEvent.ts';
import { CommitWatch, withBranches } from '../../src/supervisor/commitWatch.ts';
import { parseReflog, ReflogReader } from '../../src/supervisor/reflog.ts';
import { GitRepo } from '../support/gitRepo.ts';
import { ofType, Sandbox } from '../support/sandbox.ts';
import { aCommit, shaOf } from '../support/specs.ts';

describe('supervisorCommits', () => {
  let sandbox: Sandbox;
  beforeEach(() => (sandbox = new Sandbox()));
  afterEach(() => sandbox.dispose());

  const result = 'echo "$OK"';
  const commit = (message: string): string => `git commit -q --no-verify --allow-empty -m ${message}`;

  async function commitsOf(script: string): Promise<Commit[]> {
    const events = await sandbox.run(`${script}\n${result}`);
    const commits = ofType(events, 'commit').map((event) => event.commit);
    assert.equal(new Set(commits.map(({ sha }) => sha)).size, commits.length, 'each once');
    const seen = new Set([sandbox.commit]);
    for (const { sha, parents } of commits) {
      assert.ok(
        parents.every((parent) => seen.has(parent)),
        'parents first',
      );
      seen.add(sha);
    }
    assert.equal(ofType(events, 'ended')[0]?.outcome, 'succeeded');
    return commits;
  }

  const told = (commits: Commit[]): string[] =>
    commits.map(({ subject, branch }) => `${subject} ${branch ?? '-'}`).sort();

  it('announces author, message, files and counts', async () => {
    const [made] = await commitsOf(
      `printf 'one\\ntwo\\n' > a.txt; mkdir d; printf 'a\\0b' > d/bin; git mv -- .gitignore "-x
y"; git add -A; git commit -q -m 'Subject line' -m 'Body
of it'`,
    );
    assert.ok(made !== undefined);
    assert.deepEqual(
      { ...made, sha: '', date: 0, files: made.files.toSorted((x, y) => (x.path < y.path ? -1 : 1)) },
      {
        sha: '',
        parents: [sandbox.commit],
        branch: 'claude/20261121-014300',
        author: 'Ada',
        email: 'ada@example.com',
        date: 0,
        subject: 'Subject line',
        body: 'Body\nof it',
        files: [
          { path: '-x\ny', from: '.gitignore', status: 'renamed', added: 0, removed: 0 },
          { path: 'a.txt', status: 'modified', added: 1, removed: 0 },
          { path: 'd/bin', status: 'added' },
        ],
      },
    );
  });

  it('announces a commit while the agent works on', async () => {
    await sandbox.listen();
    await sandbox.start(`${commit('now')}; sleep 1000`);
    const found = await sandbox.until((events) => ofType(events, 'commit')[0]);
    assert.equal(found.commit.subject, 'now');
    assert.deepEqual(ofType(sandbox.events(), 'ended'), []);
  });

  it('sees every way to commit: new branch, detached, amended, merged, plumbing, another work tree, packed refs', async () => {
    const commits = await commitsOf(
      [
        commit('first'),
        'git commit -q --amend --allow-empty -m amended',
        `git checkout -q -b deep/er/branch; ${commit('onbranch')}`,
        `git checkout -q --detach; ${commit('detached')}`,
        'git checkout -q claude/20261121-014300; git merge -q --no-ff -m merged deep/er/branch',
        'git update-ref refs/heads/plumbing $(git commit-tree -p HEAD -m plumbing HEAD^{tree})',
        `git worktree add -q --detach ../tree 2>/dev/null; (cd ../tree; ${commit('elsewhere')}); git worktree remove --force ../tree`,
        'git pack-refs --all',
        `git -c core.logAllRefUpdates=false commit -q --allow-empty -m unlogged`,
        'git tag -a -m tag v1 $(git commit-tree -p HEAD -m tagged HEAD^{tree})',
        'git branch -q -D plumbing',
      ].join('\n'),
    );
    const main = 'claude/20261121-014300';
    const subjects = told(commits);
    for (const want of [
      `first ${main}`,
      `amended ${main}`,
      'onbranch deep/er/branch',
      'detached -',
      `merged ${main}`,
      `unlogged ${main}`,
      'tagged -',
    ]) {
      assert.ok(subjects.includes(want), `${want} in ${subjects.join(', ')}`);
    }
  });

  it('waits for the branch of a commit that only HEAD knows yet, but not for long', async () => {
    const gitDir = join(sandbox.workspace.path, 'logs-only');
    const heads = join(gitDir, 'logs', 'refs', 'heads');
    await mkdir(heads, { recursive: true });
    const [one, two] = [shaOf('one'), shaOf('two')];
    const line = (sha: string): string =>
      `${shaOf('zero')} ${sha} Ada <ada@example.com> 1 +0000\tcommit: x\n`;
    const reader = new ReflogReader(gitDir);
    await appendFile(join(gitDir, 'logs', 'HEAD'), line(one));
    assert.deepEqual([await reader.read(), reader.holds], [[], true]);
    await appendFile(join(heads, 'main'), line(one));
    const found = [...(await reader.read()), ...(await reader.read())];
    assert.equal(found.find(({ branch }) => branch !== undefined)?.branch, 'main');
    assert.equal(reader.holds, false);
    await appendFile(join(gitDir, 'logs', 'HEAD'), line(two));
    assert.deepEqual([await reader.read(), reader.holds], [[], true]);
    assert.deepEqual([await reader.read(), reader.holds], [[{ sha: two }], false]);
  });

  it('announces what was reset or rebased away', async () => {
    const commits = await commitsOf(
      `for i in 1 2 3; do echo $i > f$i; git add .; git commit -q -m c$i; done; git reset -q --hard HEAD~2; echo x > g; git add g; git commit -q -m other; git rebase -q --onto HEAD ORIG_HEAD~1 ORIG_HEAD 2>/dev/null`,
    );
    const subjects = commits.map(({ subject }) => subject);
    assert.deepEqual([...subjects].sort(), ['c1', 'c2', 'c3', 'c3', 'other']);
  });

  it('announces 450 commits in a burst', async function () {
    const commits = await commitsOf(`for i in $(seq 450); do git commit -q --allow-empty -m c$i; done`);
    assert.deepEqual(
      commits.map(({ subject }) => subject),
      Array.from({ length: 450 }, (_, at) => `c${at + 1}`),
    );
  });

  it('announces a history that comes at once, in parent order', async () => {
    const commits = await commitsOf(
      `T=$(git rev-parse HEAD^{tree}); P=$(git rev-parse HEAD); for i in 1 2 3 4 5; do P=$(git commit-tree -p $P -m h$i $T); done; git update-ref refs/heads/new $P`,
    );
    assert.deepEqual(
      told(commits),
      [1, 2, 3, 4, 5].map((number) => `h${number} new`),
    );
  });

  it('says nothing of the stash, of existing commits, or of what the snapshot holds', async () => {
    const commits = await commitsOf(
      'git branch b; git checkout -q b; echo x >> a.txt; git stash -q; git stash pop -q; git checkout -q a.txt',
    );
    assert.deepEqual(commits, []);
  });

  it('outlives an agent that removes the repository', async () => {
    await sandbox.listen();
    await sandbox.start(`${commit('lost')}; until [ -e ../go ]; do sleep 0.05; done; rm -rf .git; ${result}`);
    await sandbox.until((events) => ofType(events, 'commit')[0]);
    await writeFile(join(sandbox.workspace.path, '..', 'go'), '');
    await sandbox.supervisor.over;
    const events = sandbox.events();
    assert.deepEqual(
      ofType(events, 'commit').map((event) => event.commit.subject),
      ['lost'],
    );
    assert.equal(ofType(events, 'ended')[0]?.outcome, 'succeeded');
    assert.ok(ofType(events, 'notice').length > 0);
  });

  it('passes no hook, no fsmonitor and no configured program on to its own git', async () => {
    await commitsOf(
      `printf '#!/bin/sh\\ntouch "$0.ran"\\n' > .git/evil; chmod +x .git/evil; git config core.fsmonitor "$PWD/.git/evil"; git config diff.external "$PWD/.git/evil"; git config core.pager "$PWD/.git/evil"; mkdir .git/hooks; cp .git/evil .git/hooks/reference-transaction; cp .git/evil .git/hooks/post-index-change; git -c core.hooksPath=/dev/null -c core.fsmonitor=false commit -q --allow-empty -m x; rm -f .git/*.ran .git/hooks/*.ran; echo left > left`,
    );
    assert.equal(
      sandbox.workspace.git('for-each-ref', '--format=%(refname)', 'refs/sallyport'),
      'refs/sallyport/leftovers',
    );
    const ran = new GitRepo(sandbox.workspace.path, { init: false });
    assert.deepEqual(
      ran.files('refs/sallyport/leftovers')['left'] !== undefined &&
        (await names(join(ran.path, '.git', 'hooks'))),
      ['post-index-change', 'reference-transaction'],
    );
    assert.ok(!(await names(join(ran.path, '.git'))).includes('evil.ran'));
  });

  it('reads only whole lines of a reflog, and no deletions', () => {
    const [a, b, zero] = ['a'.repeat(40), 'b'.repeat(40), '0'.repeat(40)];
    const who = 'A <a@b> 1 +0000\tx';
    assert.deepEqual(parseReflog(`${zero} ${a} ${who}\n${a} ${b} ${who}\n${b} ${zero} ${who}\nnonsense\n`), [
      { sha: a, begins: true },
      { sha: b, begins: false },
    ]);
  });

  it('says for a commit between which branch it went to', () => {
    const [one, two, three] = ['one', 'two', 'three'].map((word, at, all) => {
      const { branch: _, ...made } = aCommit(word);
      return at === 0 ? made : { ...made, parents: [aCommit(all[at - 1]!).sha] };
    });
    const commits = withBranches(
      [one!, two!, three!],
      new Map([
        [three!.sha, 'tip'],
        [one!.sha, undefined],
      ]),
    );
    assert.deepEqual(
      commits.map(({ branch }) => branch),
      ['tip', 'tip', 'tip'],
    );
  });

  it('does not look any more when it is disposed, twice too', async () => {
    const announced: Commit[] = [];
    const watch = new CommitWatch(sandbox.repository.path, sandbox.commit, (commits) =>
      announced.push(...commits),
    );
    await watch.begin();
    watch.dispose();
    watch.dispose();
    sandbox.repository.commit('after');
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(announced, []);
  });
});

async function names(folder: string): Promise<string[]> {
  const { readdir } = await import('node:fs/promises');
  return (await readdir(folder)).sort();
}
