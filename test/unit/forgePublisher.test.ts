import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Emitter } from '../../src/base/event.ts';
import { GitHub } from '../../src/forge/github.ts';
import { openForge } from '../../src/forge/openForge.ts';
import { fetchCommit } from '../../src/git/fetchUrl.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { noSwitches, type PullRequestView, type Switches } from '../../src/protocol/runnerApi.ts';
import type { TaskSpec } from '../../src/protocol/task.ts';
import type { Commit, TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { createPublisher } from '../../src/server/tasks/publisher.ts';
import type { Publishable, PublishedTasks, Publisher } from '../../src/server/tasks/seams.ts';
import { ForgeFake } from '../support/forgeFake.ts';
import { GitLabContract } from '../support/forgeFakes/gitlab.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { GitServer } from '../support/gitServer.ts';
import { aCommit, aSpec } from '../support/specs.ts';

const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const branch = 'claude/work';

/** The server's tasks, with one task whose log is written by the test. */
class OneTask implements PublishedTasks {
  readonly changed = new Emitter<Publishable>();
  readonly onDidChange = this.changed.event;
  readonly said: string[] = [];
  current: Publishable;
  private readonly quarantine: Quarantine;
  private waiting: (() => void)[] = [];

  constructor(quarantine: Quarantine, current: Publishable) {
    this.quarantine = quarantine;
    this.current = current;
  }

  all(): Publishable[] {
    return [this.current];
  }

  quarantineOf(): Quarantine {
    return this.quarantine;
  }

  pushed(_id: string, pushedBranch: string, pushedCommit: string): void {
    this.tell(`pushed ${pushedBranch}`, { pushedBranch, pushedCommit });
  }

  pullRequest(_id: string, pullRequest: PullRequestView): void {
    this.tell(`pull request ${pullRequest.number} ${pullRequest.state}`, { pullRequest });
  }

  problem(_id: string, problem: { code: string; message: string } | undefined): void {
    this.tell(problem === undefined ? 'no problem' : `problem ${problem.code}: ${problem.message}`, {});
  }

  /** The log goes on. */
  append(...bodies: TaskEventBody[]): void {
    let { state } = this.current;
    for (const body of bodies)
      state = reduce(state, { ...body, n: state.lastEvent + 1, t: 1000 + state.lastEvent });
    this.current = { ...this.current, state };
    this.changed.fire(this.current);
  }

  /** Resolves when something that fits was said. The runner's time limit ends a wait in vain. */
  async until(words: RegExp, from = 0): Promise<void> {
    while (!this.said.slice(from).some((text) => words.test(text)))
      await new Promise<void>((go) => this.waiting.push(go));
  }

  private tell(text: string, change: Partial<Publishable>): void {
    this.said.push(text);
    this.current = { ...this.current, ...change };
    this.changed.fire(this.current);
    for (const go of this.waiting.splice(0)) go();
  }
}

describe('forgePublisher', () => {
  let server: GitServer;
  let fake: ForgeFake;
  let folder: ReturnType<typeof temporaryFolder>;
  let quarantine: Quarantine;
  let bare: GitRepo;
  let spec: TaskSpec;
  let tasks: OneTask;
  let publisher: Publisher;

  beforeEach(async () => {
    server = await GitServer.open();
    fake = await ForgeFake.open();
    fake.repositories.push({ name: 'octo/app' });
    server.credential = `x-access-token:${fake.token}`;
    folder = temporaryFolder();
    quarantine = Quarantine.open(folder.path, 'the-repository');
    bare = server.filled('octo/app');
    const { commit } = await fetchCommit({
      quarantine,
      url: server.url('octo/app'),
      credential: { origin: server.origin, user: 'x-access-token', password: fake.token },
      privateHosts: ['localhost'],
      signal: new AbortController().signal,
    });
    spec = aSpec({
      branch,
      prompt: 'Fix it',
      title: 'Fix it',
      snapshot: { mode: 'head', commit, head: commit },
    });
  });
  afterEach(async () => {
    publisher.dispose();
    await server.close();
    await fake.close();
    folder.dispose();
  });

  function begin(switches: Partial<Switches>, change: Partial<Publishable> = {}): void {
    tasks = new OneTask(quarantine, {
      state: initialState(spec, 1000),
      url: server.url('octo/app'),
      base: 'main',
      switches: { ...noSwitches, autoPush: true, ...switches },
      owner: { id: 'u1', login: 'ada', name: 'Ada', role: 'member' },
      pushedBranch: undefined,
      pushedCommit: undefined,
      pullRequest: undefined,
      ...change,
    });
    attach();
  }

  function attach(webUrl = server.origin): void {
    publisher = createPublisher({
      forges: [new GitHub({ apiUrl: fake.apiUrl, webUrl, token: fake.token })],
      privateHosts: ['localhost'],
      log,
      times: { retryMs: [10] },
    });
    publisher.attach(tasks);
  }

  /** A commit of the agent's, in the quarantine as imports are; with an empty file there, if one is named. */
  function made(
    message: string,
    parent = spec.snapshot.commit,
    on: string | undefined = branch,
    file?: string,
  ): Commit {
    const there = new GitRepo(quarantine.gitDir, { init: false });
    const tree = treeWith(there, file);
    const sha = there.git(
      '-c',
      'user.name=Ada',
      '-c',
      'user.email=a@example.com',
      'commit-tree',
      '-p',
      parent,
      '-m',
      message,
      tree,
    );
    there.git('update-ref', `refs/tasks/${spec.id}/commits/${sha}`, sha);
    return { ...aCommit(message), sha, parents: [parent], subject: message, branch: on };
  }

  function treeWith(there: GitRepo, file: string | undefined): string {
    if (file === undefined) return there.git('rev-parse', `${spec.snapshot.commit}^{tree}`);
    // An index of its own: the quarantine has none.
    const index = join(folder.path, 'index');
    const blob = there.git('hash-object', '-w', '/dev/null');
    const git = (...args: string[]): string =>
      there.raw(args, undefined, { GIT_INDEX_FILE: index }).toString().trim();
    git('read-tree', spec.snapshot.commit);
    git('update-index', '--add', '--cacheinfo', `100644,${blob},${file}`);
    return git('write-tree');
  }

  const announced = (commit: Commit): TaskEventBody => ({ type: 'commit', commit });
  const imported = (...tips: string[]): TaskEventBody => ({ type: 'imported', tips });
  const ended = (outcome: 'succeeded' | 'failed' | 'stopped'): TaskEventBody => ({
    type: 'ended',
    outcome,
    message: outcome === 'failed' ? 'The tests do not pass: closes #1 @everybody' : 'Over.',
    ...(outcome === 'failed' ? { kind: 'agent_error', mend: 'Look at them.' } : {}),
  });
  const remote = () => bare.git('rev-parse', branch);

  it('pushes each commit when it is imported, and not before', async () => {
    begin({});
    const one = made('One');
    tasks.append(announced(one));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(
      server.seen.filter(({ url }) => url.includes('receive-pack')),
      [],
    );
    tasks.append(imported(one.sha));
    await tasks.until(/^pushed/);
    assert.equal(remote(), one.sha);
    const two = made('Two', one.sha);
    const amended = made('Two, amended', one.sha);
    tasks.append(announced(two), imported(two.sha));
    await tasks.until(/^pushed/, 1);
    tasks.append(announced(amended), imported(amended.sha));
    while (tasks.current.pushedCommit !== amended.sha) await tasks.until(/./, tasks.said.length);
    assert.equal(remote(), amended.sha);
    assert.deepEqual(fake.pulls, []);
    assert.deepEqual(
      tasks.said.filter((text) => text.startsWith('problem')),
      [],
    );
  });

  it('pushes nothing that the forge would obey before anybody has looked', async () => {
    const receives = (): number => server.seen.filter(({ url }) => url.includes('receive-pack')).length;
    for (const file of [
      '.github/workflows/ci.yml',
      '.GitHub/Workflows/x.yml',
      '.gitlab-ci.yml',
      'a/Jenkinsfile',
      'tools/action.yml',
    ]) {
      begin({ draftEarly: true });
      const before = receives();
      const one = made('One', undefined, undefined, file);
      tasks.append(announced(one), imported(one.sha));
      await tasks.until(/^problem push_refused: .*would obey/);
      assert.ok(
        tasks.said.some((text) => text.includes(file)),
        tasks.said.join(),
      );
      assert.equal(receives(), before);
      // Taken back, everything goes on.
      const two = made('Two', one.sha);
      if (file === 'tools/action.yml') {
        tasks.append(announced(two), imported(two.sha));
        await tasks.until(/^pushed/);
        assert.equal(remote(), two.sha);
      }
      publisher.dispose();
    }
  });

  it('does nothing without the switch', async () => {
    begin({ autoPush: false });
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(tasks.said, []);
  });

  it('opens a draft with the first push, keeps its text current, and marks it ready at the end', async () => {
    begin({ draftEarly: true, autoPullRequest: true });
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/pull request 1 draft/);
    await tasks.until(/no problem/);
    const [pull] = fake.pulls;
    assert.ok(pull);
    assert.ok(pull.draft);
    assert.equal(pull.base, 'main');
    assert.equal(pull.head, branch);
    assert.equal(pull.title, 'Fix it');
    assert.match(pull.body, /Opened by Sallyport for ` ada `/);
    assert.match(pull.body, /the agent is at work/);
    const two = made('Two', one.sha);
    tasks.append(announced(two), imported(two.sha), ended('succeeded'));
    await tasks.until(/pull request 1 open/);
    assert.ok(!pull.draft);
    assert.match(pull.body, /the agent has finished/);
    assert.match(pull.body, /` One `[\s\S]*` Two `/);
    assert.equal(fake.pulls.length, 1);
    assert.equal(remote(), two.sha);
  });

  it('opens a pull request only at a good end where no draft is wanted', async () => {
    begin({ autoPullRequest: true });
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/^pushed/);
    assert.deepEqual(fake.pulls, []);
    tasks.append(ended('succeeded'));
    await tasks.until(/pull request 1 open/);
    assert.deepEqual(
      fake.pulls.map(({ draft }) => draft),
      [false],
    );
  });

  it('lists the blockers when the task fails, and pushes what was left uncommitted', async () => {
    begin({ draftEarly: true, autoPullRequest: true });
    const one = made('One');
    const left = made('Uncommitted changes that the agent left', one.sha, undefined);
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/pull request 1 draft/);
    tasks.append(
      { type: 'leftovers', commit: left.sha, parent: one.sha, files: [{ path: 'x', status: 'added' }] },
      ended('failed'),
      imported(left.sha),
    );
    while (!/Blockers/.test(fake.pulls[0]?.body ?? '') || remote() !== left.sha)
      await new Promise((resolve) => setTimeout(resolve, 5));
    while (!/pushed as the last commit/.test(fake.pulls[0]?.body ?? ''))
      await new Promise((resolve) => setTimeout(resolve, 5));
    const body = fake.pulls[0]?.body ?? '';
    assert.match(body, /Failure: ` agent_error `/);
    assert.match(body, /It said: ` The tests do not pass: closes #1 @everybody `/);
    assert.match(body, /What to do: ` Look at them. `/);
    assert.match(body, /Committed: one commit/);
    assert.match(body, /one file, pushed as the last commit of this branch/);
    assert.equal(fake.pulls[0]?.draft, true);
  });

  it('leaves what a stopped task had not committed where it is', async () => {
    begin({ draftEarly: true });
    const one = made('One');
    const left = made('Left', one.sha, undefined);
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/pull request 1 draft/);
    tasks.append(
      { type: 'leftovers', commit: left.sha, parent: one.sha, files: [{ path: 'x', status: 'added' }] },
      imported(left.sha),
      ended('stopped'),
    );
    while (!/was stopped/.test(fake.pulls[0]?.body ?? ''))
      await new Promise((resolve) => setTimeout(resolve, 5));
    assert.match(fake.pulls[0]?.body ?? '', /one file, not pushed/);
    assert.equal(remote(), one.sha);
  });

  it('never pushes a commit that was refused, nor one that only the log knows', async () => {
    begin({});
    const one = made('One');
    const evil = { ...made('Evil', one.sha), sha: 'e'.repeat(40) };
    tasks.append(announced(one), imported(one.sha), announced(evil), {
      type: 'import_failed',
      tips: [evil.sha],
      code: 'import_refused',
      message: 'no',
    });
    await tasks.until(/^pushed/);
    assert.equal(remote(), one.sha);
    // The log's word alone is not enough: the quarantine has to hold it for this task.
    const forged = made('Forged', one.sha);
    new GitRepo(quarantine.gitDir, { init: false }).git(
      'update-ref',
      '-d',
      `refs/tasks/${spec.id}/commits/${forged.sha}`,
    );
    tasks.append(announced(forged), imported(forged.sha));
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(remote(), one.sha);
  });

  it('goes on after a restart with what it had not done, and opens no second pull request', async () => {
    begin({ draftEarly: true });
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/pull request 1 draft/);
    publisher.dispose();
    const two = made('Two', one.sha);
    // As if the server had been killed between the pull request and the note of it.
    tasks.current = {
      ...tasks.current,
      pullRequest: undefined,
      pushedCommit: undefined,
      pushedBranch: undefined,
    };
    tasks.append(announced(two), imported(two.sha));
    const from = tasks.said.length;
    attach();
    await tasks.until(/pull request 1 draft/, from);
    assert.equal(fake.pulls.length, 1);
    assert.equal(remote(), two.sha);
  });

  it('tries again what fails in passing, and tells what does not', async () => {
    begin({});
    let failures = 2;
    server.instead = (_, response) => {
      if (failures-- <= 0) return false;
      response.writeHead(503).end();
      return true;
    };
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/^pushed/);
    assert.deepEqual(
      tasks.said.filter((text) => text.startsWith('problem')),
      [],
    );
    server.hook(bare, 'echo "Not on my watch" >&2; exit 1');
    const two = made('Two', one.sha);
    tasks.append(announced(two), imported(two.sha));
    await tasks.until(/problem push_refused: .*Not on my watch/s);
    const pushes = () =>
      server.seen.filter(({ method, url }) => method === 'POST' && url.endsWith('receive-pack')).length;
    const before = pushes();
    // Nothing has changed, so nothing is tried: a forge is not asked the same over and over.
    tasks.changed.fire(tasks.current);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(pushes(), before);
    server.hook(bare, 'exit 0');
    const three = made('Three', two.sha);
    tasks.append(announced(three), imported(three.sha));
    await tasks.until(
      /no problem/,
      tasks.said.findIndex((text) => text.startsWith('problem')),
    );
    assert.equal(remote(), three.sha);
  });

  it('says that it has no token for another host, and shows it none', async () => {
    begin({});
    publisher.dispose();
    attach('https://forge.example.com');
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/problem push_refused: The runner has no token for the forge/);
    assert.deepEqual(
      server.seen.filter(({ url }) => url.includes('receive-pack')),
      [],
    );
  });

  it('serves several forges, each with its own token', async () => {
    const gitlab = await new GitLabContract().open();
    try {
      gitlab.add('octo/app');
      server.credential = `oauth2:${gitlab.token}`;
      begin({ draftEarly: true, autoPullRequest: true });
      publisher.dispose();
      const place = { kind: 'gitlab', webUrl: server.origin, apiUrl: gitlab.apiUrl } as const;
      publisher = createPublisher({
        forges: [
          new GitHub({ apiUrl: fake.apiUrl, webUrl: 'https://github.example.com', token: fake.token }),
          openForge(place, { token: gitlab.token, owner: 'runner' }),
        ],
        privateHosts: ['localhost'],
        log,
        times: { retryMs: [10] },
      });
      publisher.attach(tasks);
      const one = made('One');
      tasks.append(announced(one), imported(one.sha));
      await tasks.until(/pull request 1 draft/);
      assert.equal(gitlab.pulls[0]?.title, 'Draft: Fix it');
      assert.match(gitlab.pulls[0].body, /^<!-- sallyport task /);
      tasks.append(ended('succeeded'));
      await tasks.until(/pull request 1 open/);
      assert.equal(gitlab.pulls[0].title, 'Fix it');
      assert.match(gitlab.pulls[0].body, /the agent has finished/);
      assert.deepEqual(fake.requests, []);
      assert.deepEqual(gitlab.breaches, []);
    } finally {
      await gitlab.close();
    }
  });

  it('never pushes to a branch that others have made', async () => {
    bare.git('branch', branch, 'main');
    const theirs = new GitRepo(`${server.folder.path}/work/octo/app`, { init: false });
    theirs.write('theirs', 'x');
    theirs.commit('Theirs');
    theirs.git('push', '--quiet', bare.path, `main:${branch}`);
    const before = remote();
    begin({ draftEarly: true });
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/problem push_refused: .*not of this task/);
    assert.equal(remote(), before);
    assert.deepEqual(fake.pulls, []);
  });

  it('leaves the text of a pull request that somebody else opened, or that somebody has written anew', async () => {
    fake.pulls.push({
      number: 1,
      repository: 'octo/app',
      head: branch,
      base: 'main',
      title: 'Mine',
      body: 'My own words',
      draft: false,
      state: 'open',
      merged: false,
    });
    begin({ draftEarly: true });
    const one = made('One');
    tasks.append(announced(one), imported(one.sha), ended('succeeded'));
    await tasks.until(/pull request 1 open/);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(fake.pulls[0]?.body, 'My own words');
    assert.equal(fake.pulls.length, 1);
  });

  it('sees that a pull request was merged', async () => {
    begin({ draftEarly: true });
    const one = made('One');
    tasks.append(announced(one), imported(one.sha));
    await tasks.until(/pull request 1 draft/);
    publisher.dispose();
    Object.assign(fake.pulls[0] ?? {}, { state: 'closed', merged: true });
    publisher = createPublisher({
      forges: [new GitHub({ apiUrl: fake.apiUrl, webUrl: server.origin, token: fake.token })],
      privateHosts: ['localhost'],
      log,
      times: { retryMs: [10], watchMs: 20 },
    });
    publisher.attach(tasks);
    await tasks.until(/pull request 1 merged/);
    const state: TaskState = tasks.current.state;
    assert.equal(state.phase, 'preparing');
  });
});
