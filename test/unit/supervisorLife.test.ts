import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ofType, processesWith, Sandbox } from '../support/sandbox.ts';

const result = 'echo "$OK"';

describe('supervisorLife', () => {
  let sandbox: Sandbox;
  beforeEach(() => (sandbox = new Sandbox()));
  afterEach(() => sandbox.dispose());

  it('makes the workspace, proves that egress is closed, and only then runs the agent', async () => {
    const events = await sandbox.run(
      `cat "$HOME/sub/settings"; echo; git config user.name; git status --short --branch; "${process.execPath}" -e "fetch(process.argv[1]).then((r) => r.text()).then(console.log)" "$BASE_URL"; ${result}`,
      { branch: 'claude/x', identity: { name: 'Zoë "Z" \\ O', email: 'z@example.com' } },
    );
    assert.deepEqual(events.map(({ type }) => type).slice(0, 3), ['started', 'workspace', 'egress']);
    const [workspace] = ofType(events, 'workspace');
    assert.deepEqual(
      { ...workspace, ms: 0, t: 0 },
      { type: 'workspace', branch: 'claude/x', commit: sandbox.commit, files: 2, ms: 0, s: 2, t: 0 },
    );
    assert.deepEqual(
      ofType(events, 'output').map(({ text }) => text),
      ['set', 'Zoë "Z" \\ O', '## claude/x', 'hello from the gateway'],
    );
    const [ended] = ofType(events, 'ended');
    assert.equal(ended?.outcome, 'succeeded');
    assert.equal(events.at(-1), ended);
    assert.deepEqual(ofType(events, 'leftovers'), []);
  });

  it('tells the agent where the forge can be read, where its task may', async () => {
    const script = `echo "$SALLYPORT_FORGE_URL $SALLYPORT_TASK_TOKEN $BASE_URL"; ${result}`;
    const words = async (change: { forge?: boolean }): Promise<string[]> =>
      ofType(await sandbox.run(script, change), 'output').map(({ text }) => text ?? '');
    const [said = ''] = await words({ forge: true });
    const [url, token, base] = said.split(' ');
    assert.equal(url, `${base ?? ''}/forge`);
    assert.equal(token, 'task-token');
    sandbox.dispose();
    sandbox = new Sandbox();
    const [silence = ''] = await words({});
    assert.match(silence, /^ {2}http:/);
  });

  it('starts no agent when anything gets out', async () => {
    sandbox.restart({
      proveEgress: () => Promise.resolve([{ what: 'DNS', blocked: false, detail: 'answered' }]),
    });
    const events = await sandbox.run('echo I run');
    assert.equal(ofType(events, 'egress')[0]?.closed, false);
    assert.deepEqual(ofType(events, 'output'), []);
    assert.equal(ofType(events, 'ended')[0]?.kind, 'egress_open');
  });

  it('says so when the gateway does not come', async () => {
    await sandbox.start('echo I run');
    await sandbox.supervisor.over;
    assert.equal(ofType(sandbox.events(), 'ended')[0]?.kind, 'gateway');
    assert.deepEqual(ofType(sandbox.events(), 'output'), []);
  });

  it('refuses a broken bundle, in the reply and in the log', async () => {
    for (const bundle of [
      sandbox.bundle().subarray(0, 200),
      Buffer.from('no bundle'),
      Buffer.alloc(2 << 20),
    ]) {
      await assert.rejects(sandbox.start('echo', {}, bundle), { code: 'git_failed' });
      await sandbox.supervisor.over;
      assert.equal(ofType(sandbox.events(), 'ended')[0]?.kind, 'workspace');
      sandbox.dispose();
      sandbox = new Sandbox();
    }
  });

  it('takes one task only, and answers what is malformed', async () => {
    await sandbox.listen();
    await sandbox.start('sleep 10');
    await assert.rejects(sandbox.start('echo'), { code: 'busy' });
    await assert.rejects(sandbox.ask({ op: 'resume', after: 1, spec: sandbox.spec('') }), { code: 'busy' });
    await assert.rejects(sandbox.ask({ op: 'dance' }), { code: 'invalid_input' });
    await assert.rejects(sandbox.ask({ op: 'bundle', want: ['--output=/x'], have: [] }), {
      code: 'invalid_input',
    });
  });

  it('says whether it was told a task since it was started', async () => {
    assert.deepEqual(await sandbox.ask({ op: 'status' }), { ok: true, busy: false });
    await sandbox.run(result);
    assert.deepEqual(await sandbox.ask({ op: 'status' }), { ok: true, busy: true });
    sandbox.restart();
    assert.deepEqual(await sandbox.ask({ op: 'status' }), { ok: true, busy: false });
    await sandbox.ask({ op: 'resume', after: 1, spec: sandbox.spec('') });
    assert.deepEqual(await sandbox.ask({ op: 'status' }), { ok: true, busy: true });
    await sandbox.supervisor.over;
  });

  const endings: [name: string, script: string, want: object][] = [
    ['exits at once', 'exit 7', { outcome: 'failed', kind: 'exit', exitCode: 7 }],
    ['ends well without a result', 'true', { outcome: 'failed', kind: 'exit', exitCode: 0 }],
    ['says a result and then fails', `${result}; exit 3`, { outcome: 'failed', kind: 'exit', exitCode: 3 }],
    ['kills itself', 'kill -9 $$', { outcome: 'failed', kind: 'killed', signal: 'SIGKILL' }],
    [
      'is refused',
      'echo "${OK/false/true}"; exit 1',
      { outcome: 'failed', kind: 'auth_refused', exitCode: 1 },
    ],
    ['is not there', 'missing', { outcome: 'failed', kind: 'agent_missing' }],
  ];
  for (const [name, script, want] of endings) {
    it(`tells an agent that ${name}`, async () => {
      const events = await sandbox.run(script);
      const ended = ofType(events, 'ended');
      assert.equal(ended.length, 1);
      const { outcome, kind, exitCode, signal, message, mend } = ended[0]!;
      assert.deepEqual(
        {
          outcome,
          kind,
          ...(exitCode === undefined ? {} : { exitCode }),
          ...(signal === undefined ? {} : { signal }),
        },
        want,
      );
      assert.match(message, /\.$/);
      assert.match(mend ?? '', /\.$/);
    });
  }

  it('says in the message what the agent wrote to stderr at last', async () => {
    const events = await sandbox.run('echo first >&2; echo the cause >&2; exit 1');
    assert.match(ofType(events, 'ended')[0]!.message, /exit code 1\. It said at last: the cause$/);
  });

  it('ends an agent that hangs at the time limit', async () => {
    const events = await sandbox.run('sleep 1000', { limits: { ...sandbox.spec('').limits, timeMs: 100 } });
    const [ended] = ofType(events, 'ended');
    assert.equal(ended?.outcome, 'timed_out');
    assert.equal(ended.signal, 'SIGINT');
  });

  it('stops an agent that ignores every polite signal, with all that it started', async () => {
    const mark = `sleep-mark-${process.pid}`;
    await sandbox.listen();
    await sandbox.start(
      `trap '' INT TERM; exec 3<&0; (exec -a ${mark} sleep 1000) & setsid bash -c 'exec -a ${mark} sleep 1000' & echo up; while :; do read -t 1 line <&3 || sleep 0.1; done`,
    );
    await sandbox.until((events) => ofType(events, 'output').find(({ text }) => text === 'up'));
    await sandbox.until(() => (processesWith(mark).length >= 2 ? true : undefined));
    await sandbox.ask({ op: 'stop' });
    await sandbox.supervisor.over;
    const [ended] = ofType(sandbox.events(), 'ended');
    assert.equal(ended?.outcome, 'stopped');
    assert.equal(ended.signal, 'SIGKILL');
    assert.deepEqual(processesWith(mark), []);
  });

  it('stops before the agent runs, and a stop after the end changes nothing', async () => {
    let closed: (() => void) | undefined;
    const proven = new Promise<void>((resolve) => (closed = resolve));
    sandbox.restart({ proveEgress: () => proven.then(() => []) });
    await sandbox.listen();
    await sandbox.start('echo I run');
    await sandbox.ask({ op: 'stop' });
    closed?.();
    await sandbox.supervisor.over;
    await sandbox.ask({ op: 'stop' });
    const events = sandbox.events();
    assert.deepEqual(
      ofType(events, 'ended').map(({ outcome }) => outcome),
      ['stopped'],
    );
    assert.deepEqual(ofType(events, 'output'), []);
  });

  it('does not wait for what the agent left running', async () => {
    const mark = `sleep-left-${process.pid}`;
    const events = await sandbox.run(`setsid bash -c 'exec -a ${mark} sleep 1000' & sleep 0.1; ${result}`);
    assert.equal(ofType(events, 'ended')[0]?.outcome, 'succeeded');
    assert.deepEqual(processesWith(mark), []);
  });

  it('keeps what is not committed: edits, deletions, new files, and not what is ignored', async () => {
    const events = await sandbox.run(
      `echo two >> a.txt; echo new > "n\nl"; git rm -q --cached .gitignore; rm .gitignore; mkdir -p .git/info; echo ignored > .git/info/exclude; echo x > ignored; ${result}`,
    );
    const [leftovers] = ofType(events, 'leftovers');
    assert.equal(leftovers?.parent, sandbox.commit);
    assert.deepEqual(leftovers.files, [
      { path: '.gitignore', status: 'deleted', added: 0, removed: 1 },
      { path: 'a.txt', status: 'modified', added: 1, removed: 0 },
      { path: 'n\nl', status: 'added', added: 1, removed: 0 },
    ]);
    assert.equal(sandbox.workspace.git('show', `${leftovers.commit}:a.txt`), 'one\ntwo');
    // Index and files are as the agent left them.
    assert.equal(sandbox.workspace.git('status', '--short'), 'D  .gitignore\n M a.txt\n?? "n\\nl"');
    assert.equal(events.at(-1)?.type, 'ended');
  });

  it('goes on after a restart: numbers, commits and leftovers, but no agent', async () => {
    await sandbox.listen();
    await sandbox.start('git commit -q --allow-empty -m made; echo edit >> a.txt; echo up; sleep 1000');
    const last = await sandbox.until(
      (events) => ofType(events, 'output').find(({ text }) => text === 'up')?.s,
    );
    await sandbox.until((events) => ofType(events, 'commit')[0]);
    sandbox.supervisor.dispose();
    // A killed supervisor writes nothing more; this one, which is only disposed, has to be waited for.
    await sandbox.supervisor.over;
    const before = Math.max(last, sandbox.events().at(-1)!.s);
    sandbox.restart();
    await sandbox.ask({ op: 'resume', after: before, spec: sandbox.spec('') });
    await sandbox.supervisor.over;
    const events = sandbox.events(before);
    assert.deepEqual(
      events.map(({ s, type }) => [s - before, type]),
      [
        [1, 'commit'],
        [2, 'checkpoint'],
        [3, 'leftovers'],
        [4, 'ended'],
      ],
    );
    assert.equal(ofType(events, 'ended')[0]?.kind, 'engine_gone');
    // A second restart keeps the very same commit.
    sandbox.restart();
    await sandbox.ask({ op: 'resume', after: before + 4, spec: sandbox.spec('') });
    await sandbox.supervisor.over;
    assert.equal(
      ofType(sandbox.events(before + 3), 'leftovers')[0]?.commit,
      ofType(events, 'leftovers')[0]?.commit,
    );
  });

  it('comes back from a restart before there was a workspace', async () => {
    await sandbox.ask({ op: 'resume', after: 0, spec: sandbox.spec('') });
    await sandbox.supervisor.over;
    assert.equal(ofType(sandbox.events(), 'ended')[0]?.kind, 'engine_gone');
  });

  it('keeps the task token out of everything but the agent', async () => {
    const events = await sandbox.run(`git commit -q --allow-empty -m x; ${result}`);
    assert.ok(!JSON.stringify(events).includes('task-token'));
    const environment = readFileSync('/proc/self/environ', 'utf8');
    assert.ok(!environment.includes('task-token'));
    assert.ok(existsSync(join(sandbox.workspace.path, '.git')));
    assert.ok(!readFileSync(join(sandbox.workspace.path, '.git', 'config'), 'utf8').includes('task-token'));
  });
});
