import assert from 'node:assert/strict';
import { pushFlow, type PushSaid } from '../../src/vscode/view/publishFlow.ts';
import { PublishBench, ScriptedAsker } from '../support/publishBench.ts';

describe('publishing a task', function () {
  let bench: PublishBench;

  beforeEach(async () => {
    bench = await PublishBench.open();
  });
  afterEach(() => bench.close());

  const flow = async (asker: ScriptedAsker, said: PushSaid = {}): ReturnType<typeof pushFlow> =>
    await pushFlow(
      {
        publishing: bench.publisher,
        review: await bench.work.review.state(),
        title: bench.work.spec.title,
        token: () => Promise.resolve(undefined),
        ask: asker,
      },
      said,
    );
  const everything = { kind: 'all' } as const;
  const refs = (): string => bench.bare.git('for-each-ref', '--format=%(refname:short)');

  it('pushes the commits after one yes that names where to and what was not looked at', async () => {
    const sha = await bench.work.commit('Add a file', { 'lib/new.ts': 'export {};\n' });
    const asker = new ScriptedAsker('', true);
    const pushed = await flow(asker);
    assert.equal(pushed?.changed, true);
    assert.equal(bench.bare.git('rev-parse', 'claude/work'), sha);
    assert.deepEqual(asker.asked, [
      'Push: which branch? claude/work',
      `Push the agent's commit to claude/work at origin (${bench.server.origin}/octo/app.git)?\nThe branch is new there.\nThe way there is not encrypted.\n1 file of 1 was not looked at.`,
    ]);
    const { pushes } = await bench.work.review.state();
    assert.deepEqual(
      pushes.map(({ remote, branch, commit }) => ({ remote, branch, commit })),
      [{ remote: 'origin', branch: 'claude/work', commit: sha }],
    );
  });

  it('pushes nothing without that yes', async () => {
    await bench.work.commit('Add a file', { 'lib/new.ts': 'export {};\n' });
    for (const answers of [[], [''], ['', false]])
      assert.equal(await flow(new ScriptedAsker(...answers)), undefined);
    assert.equal(refs(), 'main');
    assert.deepEqual((await bench.work.review.state()).pushes, []);
  });

  it('says before what a forge would run, what is on the hand-off list, and what only the history holds', async () => {
    await bench.work.commit('A key', { 'key.txt': 'not for you\n' });
    await bench.work.commit('Gone again', {
      'key.txt': null,
      '.github/workflows/ci.yml': 'on: push\n',
      '.envrc': 'x\n',
    });
    const asker = new ScriptedAsker('', false);
    await flow(asker);
    const question = asker.asked.at(-1) ?? '';
    assert.match(question, /^Push the agent's 2 commits/);
    assert.match(question, /It changes \.github\/workflows\/ci\.yml: the forge may run that/);
    assert.match(question, /Not accepted yet, though on the hand-off list: \.envrc\./);
    assert.match(question, /Earlier commits hold something else in key\.txt/);
  });

  it('proposes what was not rejected first, and asks once more before what was rejected leaves', async () => {
    const sha = await bench.work.commit('Two files', { 'good.ts': '1\n', 'bad.ts': '2\n' });
    const { review } = bench.work;
    const { files } = await review.diff(everything);
    const bad = files.find(({ path }) => path === 'bad.ts');
    assert.ok(bad);
    await review.decide(everything, { file: bad.id }, 'rejected');
    const offers = await bench.publisher.offers();
    assert.deepEqual(
      offers.map(({ kind }) => kind),
      ['rest', 'commits'],
    );
    const careful = new ScriptedAsker("The Agent's Commit", '', true, false);
    assert.equal(await flow(careful), undefined);
    assert.match(
      careful.asked.at(-1) ?? '',
      /^Push what you turned down as well\?\nYou rejected changes in bad\.ts\./,
    );
    assert.equal(refs(), 'main');
    await flow(new ScriptedAsker("The Agent's Commit", '', true, true));
    assert.equal(bench.bare.git('rev-parse', 'claude/work'), sha);
  });

  it('makes one commit of what was not rejected, and pushes that alone', async () => {
    const sha = await bench.work.commit('Two files', { 'good.ts': '1\n', 'bad.ts': '2\n' });
    const { review } = bench.work;
    const bad = (await review.diff(everything)).files.find(({ path }) => path === 'bad.ts');
    assert.ok(bad);
    await review.decide(everything, { file: bad.id }, 'rejected');
    const asker = new ScriptedAsker('What You Did Not Reject', '', 'Only the good one', true);
    const pushed = await flow(asker);
    assert.ok(pushed);
    assert.match(asker.asked.at(-1) ?? '', /^Push what you did not reject to claude\/work/);
    assert.deepEqual(Object.keys(bench.bare.files('claude/work')), ['README.md', 'good.ts']);
    assert.equal(bench.bare.git('log', '-1', '--format=%s', 'claude/work'), 'Only the good one');
    assert.notEqual(
      bench.bare.code('cat-file', '-e', sha),
      0,
      'what was rejected is not there, in no object',
    );
    assert.equal((await bench.publisher.draft(pushed.commit)).title, 'Only the good one');
    const offers = await bench.publisher.offers();
    assert.equal(offers[0]?.kind, 'taken', 'the branch that was made is what is proposed from now on');
    assert.equal(offers[0].commit, pushed.commit);
  });

  it('asks twice for the default branch, and before it overwrites what somebody else has pushed', async () => {
    await bench.work.commit('One', { 'a.ts': '1\n' });
    const careful = new ScriptedAsker(true, false);
    assert.equal(await flow(careful, { branch: 'main' }), undefined);
    assert.match(
      careful.asked.at(-1) ?? '',
      /^Push to main itself\?\nmain is the default branch of the remote\./,
    );
    assert.equal(bench.bare.git('rev-parse', 'main'), bench.work.base);
    bench.work.user.write('theirs.txt', 'x');
    const theirs = bench.work.user.commit('Theirs');
    bench.work.user.git('push', '-q', bench.bare.path, `${theirs}:refs/heads/claude/work`);
    const asker = new ScriptedAsker('', true, false);
    assert.equal(await flow(asker), undefined);
    assert.match(
      asker.asked.at(-1) ?? '',
      new RegExp(`^Overwrite claude/work\\?\\nIt stands at ${theirs.slice(0, 10)}`),
    );
    assert.equal(bench.bare.git('rev-parse', 'claude/work'), theirs);
  });

  it('says how many commits from before the task would go along', async () => {
    bench.work.dispose();
    await bench.server.close();
    await bench.forge.close();
    bench = await PublishBench.open();
    bench.bare.git('update-ref', '-d', 'refs/heads/main');
    bench.bare.git('symbolic-ref', 'HEAD', 'refs/heads/other');
    const stranger = bench.bare.commitOf(bench.bare.tree([]));
    bench.bare.git('update-ref', 'refs/heads/other', stranger);
    await bench.work.commit('One', { 'a.ts': '1\n' });
    const asker = new ScriptedAsker('', false);
    await flow(asker);
    assert.match(asker.asked.at(-1) ?? '', /1 commit from before the task, not there yet, goes along\./);
  });

  it('asks which remote where there are several, and takes what was said already', async () => {
    const other = bench.server.bare('octo/other');
    bench.work.user.git('push', '-q', other.path, 'main');
    bench.work.user.git('remote', 'add', 'backup', `${bench.server.url('octo/other')}.git`);
    const sha = await bench.work.commit('One', { 'a.ts': '1\n' });
    const asker = new ScriptedAsker('backup', '', true);
    await flow(asker);
    assert.equal(asker.asked[0], 'Push: where to? origin | backup');
    assert.equal(other.git('rev-parse', 'claude/work'), sha);
    await flow(new ScriptedAsker(true), { remote: 'origin', branch: 'claude/second' });
    assert.equal(bench.bare.git('rev-parse', 'claude/second'), sha);
    await assert.rejects(flow(new ScriptedAsker(true), { remote: 'nowhere' }), { code: 'no_remote' });
  });

  it('says what is missing: a remote, a commit, a repository of this machine', async () => {
    await assert.rejects(flow(new ScriptedAsker()), { code: 'nothing_to_accept', mend: /first commit/ });
    await bench.work.commit('One', { 'a.ts': '1\n' });
    bench.work.user.git('remote', 'remove', 'origin');
    await assert.rejects(flow(new ScriptedAsker()), { code: 'no_remote', mend: /git remote add/ });
    bench.work.spec.repository.path = '';
    await assert.rejects(flow(new ScriptedAsker()), { code: 'no_repository' });
  });

  it('opens a pull request, draft or ready, and keeps its state and its checks', async () => {
    const sha = await bench.work.commit('Add a file\n\nIt was missing.', { 'lib/new.ts': 'export {};\n' });
    const pushed = await flow(new ScriptedAsker('', true));
    assert.ok(pushed);
    const { remote } = pushed;
    assert.equal(remote.forge?.repository, 'octo/app');
    const { publisher, token, forge, work } = bench;
    assert.deepEqual(await publisher.places(remote, token), [
      { repository: 'octo/app', defaultBranch: 'main' },
    ]);
    const text = await publisher.draft(sha);
    assert.equal(text.title, 'Add a file');
    assert.match(text.body, /It was missing\./);
    const record = await publisher.openPullRequest({
      ...text,
      remote,
      repository: 'octo/app',
      branch: 'claude/work',
      base: 'main',
      draft: true,
      token,
    });
    assert.equal(record.state, 'draft');
    assert.deepEqual(
      forge.pulls.map(({ head, base, draft, title }) => ({ head, base, draft, title })),
      [{ head: 'claude/work', base: 'main', draft: true, title: 'Add a file' }],
    );
    assert.equal((await publisher.markReady(token)).state, 'open');
    assert.equal((await work.review.state()).pullRequest?.state, 'open');
    const [pull] = forge.pulls;
    assert.ok(pull);
    Object.assign(pull, { state: 'closed', merged: true });
    assert.equal((await publisher.refresh(token))?.state, 'merged');
    assert.equal((await work.review.state()).pullRequest?.state, 'merged');
  });

  it('lists the blockers of a task that failed in the text of its pull request', async () => {
    const sha = await bench.work.commit('Half of it', { 'a.ts': '1\n' });
    bench.work.runner.say(bench.work.id, {
      type: 'ended',
      outcome: 'failed',
      kind: 'agent_error',
      message: 'The tests do not pass',
      mend: 'Look at them.',
    });
    const { body } = await bench.publisher.draft(sha);
    assert.match(body, /### Blockers/);
    assert.match(body, /The tests do not pass/);
  });

  it('gives a token to no other host than its own', async () => {
    await bench.work.commit('One', { 'a.ts': '1\n' });
    const [remote] = await bench.publisher.remotes();
    assert.ok(remote);
    const foreign = { ...bench.token, host: 'github.com' };
    await assert.rejects(bench.publisher.places(remote, foreign), { code: 'internal' });
    assert.deepEqual(bench.forge.requests, []);
    bench.hosts = [{ host: 'x', kind: 'nothing' }];
    await assert.rejects(bench.publisher.remotes(), {
      code: 'invalid_input',
      message: /sallyport\.forge\.hosts/,
    });
  });

  it('asks twice for what the forge protects', async () => {
    await bench.work.commit('One', { 'a.ts': '1\n' });
    bench.work.user.git('push', '-q', bench.bare.path, 'main:refs/heads/stable');
    bench.forge.instead = ({ path }, response) => {
      if (!path.includes('/branches/stable')) return false;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ name: 'stable', protected: true, commit: { sha: bench.work.base } }));
      return true;
    };
    const [remote] = await bench.publisher.remotes();
    const commit = (await bench.publisher.offers())[0]?.commit;
    assert.ok(remote && commit !== undefined);
    const wish = { remote, branch: 'stable', commit, token: bench.token };
    assert.match((await bench.publisher.look(wish)).protectedWhy ?? '', /protected branch at the forge/);
    await assert.rejects(bench.publisher.push(wish), { code: 'push_protected' });
    await bench.publisher.push({ ...wish, protectedToo: true });
    assert.equal(bench.bare.git('rev-parse', 'stable'), commit);
  });
});
