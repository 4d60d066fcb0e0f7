import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SubmissionInput, TaskView } from '../../src/protocol/runnerApi.ts';
import { parseTaskEvent, type TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { engines } from '../support/engines.ts';
import { ForgeFake, forgeSecrets } from '../support/forgeFake.ts';
import type { GitRepo } from '../support/gitRepo.ts';
import { GitServer } from '../support/gitServer.ts';
import { hostAddress } from '../support/modelServer.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { bash, only, printed } from '../support/tasks.ts';

/** As an agent reads the forge: with what its environment says. */
function curl(path: string): string {
  return `curl -sS -w ' %{http_code}\\n' -H "Authorization: Bearer $SALLYPORT_TASK_TOKEN" "$SALLYPORT_FORGE_URL${path}"`;
}

const answer = (json: unknown): string =>
  `printf '%s' '${JSON.stringify(json)}' > answer.json && git add answer.json && git commit -qm Answer`;

const commit = (file: string, message: string): string =>
  `echo ${file} > ${file} && git add ${file} && git commit -qm '${message}'`;

describe('forge on docker', () => {
  let forge: ForgeFake;
  let git: GitServer;
  let app: GitRepo;
  let server: TestServer;
  let token: string;

  before(async () => {
    // One that the server and the gateway's container reach by the same address.
    forge = await ForgeFake.open('0.0.0.0');
    forge.host = hostAddress();
    git = await GitServer.open();
    git.credential = `x-access-token:${forge.token}`;
    app = git.filled('acme/api', { 'README.md': '# The API of acme\n' });
    forge.repositories.push(
      { name: 'acme/site', description: 'What people see', files: { 'README.md': '# Site\n' } },
      { name: 'acme/api', description: 'The API', files: { 'README.md': '# The API of acme\n' } },
    );
    server = await startTestServer({
      engine: (await engines()).docker,
      env: {
        GITHUB_TOKEN: forge.token,
        GITHUB_URL: git.origin,
        GITHUB_API_URL: forge.apiUrl,
        SALLYPORT_PRIVATE_FORGES: 'localhost',
      },
    });
    token = await server.adminToken();
  });
  after(async () => {
    await server.removeTasks(token);
    await server.close();
    await git.close();
    await forge.close();
  });

  const ask = <T>(path: string, json?: unknown): Promise<T> =>
    server.ask<T>(`/api/v1/tasks${path}`, { token, ...(json === undefined ? {} : { method: 'POST', json }) });
  const submit = (submission: SubmissionInput): Promise<TaskView> => ask('', submission);

  async function until(id: string, good: (view: TaskView) => boolean): Promise<TaskView> {
    for (const late = Date.now() + 120_000; ;) {
      const view = await ask<TaskView>(`/${id}`);
      if (good(view)) return view;
      if (Date.now() > late)
        assert.fail(`${JSON.stringify({ ...view, state: view.summary })}\n${server.log.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async function eventsOf(id: string): Promise<TaskEvent[]> {
    const text = await readFile(join(server.data, 'tasks', id, 'events.ndjson'), 'utf8');
    return text
      .trimEnd()
      .split('\n')
      .map((line) => parseTaskEvent(JSON.parse(line)));
  }

  it('finds a repository, waits for a yes, works on it, pushes, and opens a pull request', async () => {
    server.turns = [
      bash(
        [
          curl('/user/repos?per_page=100'),
          curl('/repos/acme/api/readme'),
          curl('/user/emails'),
          // Nothing else is in reach.
          `curl -sS -m 5 --noproxy "*" http://${forge.host}:${forge.port}/api/v3/user/repos || echo unreachable`,
          'cat README.md | head -1',
        ].join('; '),
      ),
      bash(answer({ repository: 'acme/api', reason: 'It is the API.', prompt: 'Fix the token refresh.' })),
      { text: 'It is acme/api.' },
    ];
    const { id } = await submit({
      prompt: 'In the acme api, fix the token refresh',
      source: { kind: 'find', confirm: true },
      switches: { commitEach: true, draftEarly: true, autoPullRequest: true },
      branch: 'claude/refresh',
    });
    const found = await until(id, ({ stage }) => stage === 'confirming' || stage === 'failed');
    assert.equal(found.stage, 'confirming', JSON.stringify(found.problem));
    assert.equal(found.finding?.found?.repository, 'acme/api');
    const finding = found.finding.task ?? assert.fail();
    const looked = await eventsOf(finding);
    const [shown = ''] = printed(looked);
    assert.match(shown, /"full_name":"acme\/site".*"full_name":"acme\/api".* 200\n/);
    assert.match(shown, new RegExp(`${Buffer.from('# The API of acme\n').toString('base64')}.* 200\\n`));
    assert.match(shown, /Blocked by Sallyport: Of the forge only .* 403\n/);
    assert.match(shown, /unreachable/);
    assert.match(shown, /# Which repository is meant\?/);
    const requests = only(looked, 'request').filter(({ kind }) => kind === 'forge');
    assert.deepEqual(
      requests.map(({ path, verdict, status }) => [path, verdict, status]),
      [
        ['/user/repos?per_page=100', 'allowed', 200],
        ['/repos/acme/api/readme', 'allowed', 200],
        ['/user/emails', 'blocked', 403],
      ],
    );
    const pushesBefore = git.seen.length;
    assert.equal(pushesBefore, 0, 'nothing is fetched before the yes');

    server.turns = [
      bash(commit('one', 'Refresh the token')),
      bash(`${commit('two', 'Test it')}; env | grep -c SALLYPORT_FORGE`),
      { text: 'Done.', delayMs: 1500 },
    ];
    await ask(`/${id}/confirm`, {});
    const draft = await until(
      id,
      ({ pullRequest, stage }) => pullRequest !== undefined || stage === 'failed',
    );
    assert.equal(draft.pullRequest?.state, 'draft', JSON.stringify(draft.problem));
    const done = await until(id, ({ pullRequest }) => pullRequest?.state === 'open');
    assert.equal(done.pushedBranch, 'claude/refresh');
    assert.equal(done.problem, undefined);
    const { spec } = done.state as unknown as TaskState;
    assert.equal(spec.prompt, 'Fix the token refresh.');
    assert.equal(spec.forge, undefined);
    assert.match(spec.agent.instructions ?? '', /Commit after each logical change/);
    assert.equal(app.git('log', '--format=%s', 'claude/refresh'), 'Test it\nRefresh the token\nFirst');
    assert.equal(app.git('show', 'claude/refresh:two'), 'two');
    assert.equal(forge.pulls.length, 1);
    const [pull] = forge.pulls;
    assert.equal(pull?.base, 'main');
    assert.match(pull.body, /the agent has finished/);
    assert.match(pull.body, /` Refresh the token `[\s\S]*` Test it `/);
    assert.equal(
      printed(await eventsOf(id))
        .at(-1)
        ?.trim(),
      '0',
      'a worker has no way to the forge',
    );
  });

  it('goes on after a restart of the server: with the search, and with the push', async () => {
    const found = { repository: 'acme/api', reason: 'It is the API.' };
    server.turns = [bash(`sleep 3; ${answer(found)}`), { text: 'It is acme/api.' }];
    const { id } = await submit({
      prompt: 'In the acme api, count to two',
      source: { kind: 'find', confirm: true },
      switches: { draftEarly: true },
      branch: 'claude/count',
    });
    const { finding } = await until(id, (view) => view.finding?.task !== undefined);
    await until(finding?.task ?? '', ({ summary }) => summary?.phase === 'running');
    await server.restart();
    const after = await until(id, ({ stage }) => stage === 'confirming' || stage === 'failed');
    assert.deepEqual(after.finding, { task: finding?.task, found }, JSON.stringify(after.problem));
    server.turns = [
      bash(commit('count-1', 'One')),
      bash(`sleep 3; ${commit('count-2', 'Two')}`),
      { text: 'Done.' },
    ];
    await ask(`/${id}/confirm`, {});
    await until(id, ({ pullRequest }) => pullRequest !== undefined);
    await server.restart();
    await until(id, ({ summary }) => summary?.phase === 'succeeded');
    for (const late = Date.now() + 120_000; app.git('log', '-1', '--format=%s', 'claude/count') !== 'Two';) {
      assert.ok(Date.now() < late, server.log.join('\n'));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(forge.pulls.filter(({ head }) => head === 'claude/count').length, 1);
  });

  it('lists the blockers of a task that failed, with its work pushed', async () => {
    server.turns = [bash(commit('half', 'Half of it')), bash('echo left > left.txt'), { status: 400 }];
    const { id } = await submit({
      prompt: 'Do the impossible @everybody, fixes #1',
      source: { kind: 'url', url: git.url('acme/api') },
      switches: { draftEarly: true, autoPullRequest: true },
      branch: 'claude/impossible',
    });
    await until(id, ({ summary, stage }) => summary?.phase === 'failed' || stage === 'failed');
    const pull = () => forge.pulls.find(({ head }) => head === 'claude/impossible');
    for (const late = Date.now() + 120_000; !/pushed as the last commit/.test(pull()?.body ?? '');) {
      if (Date.now() > late) assert.fail(`${pull()?.body ?? 'none'}\n${server.log.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const body = pull()?.body ?? '';
    assert.equal(pull()?.draft, true);
    assert.equal(pull()?.title, 'Do the impossible @ everybody, fixes # 1');
    assert.match(body, /### Blockers\n\n- Failure: ` agent_error `/);
    assert.match(body, /Committed: one commit/);
    assert.match(body, /one file, pushed as the last commit of this branch/);
    assert.equal(app.git('show', 'claude/impossible:left.txt'), 'left');
    assert.equal(app.git('log', '--format=%s', 'claude/impossible~1', '-1'), 'Half of it');
  });

  it('fails with the choices when the orchestrator names what the token does not see', async () => {
    server.turns = [bash(answer({ repository: 'torvalds/secret', reason: 'A guess.' })), { text: 'There.' }];
    const { id } = await submit({ prompt: 'Work on the site', source: { kind: 'find' } });
    const { problem } = await until(id, ({ stage }) => stage === 'failed');
    assert.equal(problem?.code, 'repository_not_found');
    assert.match(problem.message, /torvalds\/secret/);
    assert.match(problem.mend, /It could be acme\/site, acme\/api\./);
  });

  it("holds the forge's token in no log, no answer and no file of the server's", async () => {
    const { tasks } = await ask<{ tasks: TaskView[] }>('');
    const texts = [...server.log, JSON.stringify(tasks)];
    for (const name of await readdir(join(server.data, 'tasks')))
      texts.push(await readFile(join(server.data, 'tasks', name, 'events.ndjson'), 'utf8'));
    for (const secret of [forge.token, forgeSecrets.clone, forgeSecrets.download])
      assert.ok(!texts.some((text) => text.includes(secret)), secret);
    assert.ok(forge.requests.some(({ authorization }) => authorization === `Bearer ${forge.token}`));
  });
});
