import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WebSocket } from 'ws';
import { Quarantine } from '../../src/git/quarantine.ts';
import type { TaskSpec } from '../../src/protocol/task.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { UnnumberedEvent } from '../../src/runner/taskLog.ts';
import { bundle, commitOf, nameOf, pack, packed, treeOf } from '../support/evilPacks.ts';
import { FakeRunner } from '../support/fakeRunner.ts';
import { fingerprint, GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { RemoteClient, until } from '../support/remoteClient.ts';
import { aSpec } from '../support/specs.ts';

/*
 * A runner that is in an attacker's hands, against a client that submits to it: it may lie about its own tasks, and it
 * gets what was submitted to it. It must not reach anything else of the user's machine.
 */

const note = (words: string): UnnumberedEvent => ({ type: 'notice', level: 'info', text: words, t: 2 });

/** A commit with a file of that name and what it contains, in a pack. */
function evilCommit(name: string, parents: string[], mode = '100644'): { sha: string; parts: Buffer[] } {
  const blob = Buffer.from('[core]\n\tfsmonitor = touch /tmp/owned\n');
  const tree = treeOf([[mode, name, nameOf('blob', blob)]]);
  const commit = commitOf(nameOf('tree', tree), parents);
  return {
    sha: nameOf('commit', commit),
    parts: [packed('blob', blob), packed('tree', tree), packed('commit', commit)],
  };
}

describe('a runner in the hands of an attacker', function () {
  this.timeout('60s');
  let runner: FakeRunner;
  let client: RemoteClient;
  let folder: ReturnType<typeof temporaryFolder>;
  let repository: GitRepo;

  beforeEach(async () => {
    runner = await FakeRunner.start();
    client = await RemoteClient.open(runner.url);
    folder = temporaryFolder();
    repository = new GitRepo(join(folder.path, 'project'));
    repository.write('README.md', '# Project\n');
    repository.commit('First');
  });
  afterEach(async () => {
    await client.close();
    await runner.close();
    folder.dispose();
  });

  async function submitted(): Promise<TaskSpec> {
    return (
      await client.service.submit({ repositoryPath: repository.path, prompt: 'Do it.', snapshot: 'head' })
    ).spec;
  }

  /** The runner says that it has that commit, and hands out that bundle. */
  function offer(id: string, sha: string, bytes: Buffer): void {
    runner.bundles.set(id, bytes);
    const commit = {
      sha,
      parents: [],
      author: 'x',
      email: 'x',
      date: 1,
      subject: 'Innocent',
      body: '',
      files: [],
    };
    runner.say(
      id,
      { type: 'commit', t: 2, s: 1, commit },
      { type: 'imported', t: 3, tips: [sha], commits: [commit] },
    );
  }

  const refs = (id: string, sha: string): string[] => [`${sha} refs/tasks/${id}/commits/${sha}`];

  it('brings no evil commit into the quarantine, and says that it was refused', async () => {
    const spec = await submitted();
    const before = fingerprint(repository.path);
    const base = spec.snapshot.commit;
    const cases: [what: string, build: (id: string) => { sha: string; bytes: Buffer }][] = [
      [
        '.git as a folder',
        (id) => {
          const inner = treeOf([['100644', 'config', nameOf('blob', Buffer.from('x'))]]);
          const tree = treeOf([['40000', '.GIT', nameOf('tree', inner)]]);
          const commit = commitOf(nameOf('tree', tree), [base]);
          const sha = nameOf('commit', commit);
          const parts = [
            packed('blob', Buffer.from('x')),
            packed('tree', inner),
            packed('tree', tree),
            packed('commit', commit),
          ];
          return { sha, bytes: bundle(pack(parts), refs(id, sha), [base]) };
        },
      ],
      [
        'a path upwards',
        (id) => {
          const { sha, parts } = evilCommit('..', [base]);
          return { sha, bytes: bundle(pack(parts), refs(id, sha), [base]) };
        },
      ],
      [
        'a commit that is not whole',
        (id) => {
          const { sha, parts } = evilCommit('a', [base]);
          return { sha, bytes: bundle(pack(parts.slice(1)), refs(id, sha), [base]) };
        },
      ],
      [
        'a pack that says that it holds four billion objects',
        (id) => {
          const { sha, parts } = evilCommit('a', [base]);
          return { sha, bytes: bundle(pack(parts, 0xffffffff), refs(id, sha), [base]) };
        },
      ],
      ['what is no bundle', (id) => ({ sha: '1'.repeat(40), bytes: Buffer.from(`<html>${id}</html>`) })],
      [
        'another commit than it said',
        (id) => {
          const { sha, parts } = evilCommit('a', [base]);
          return { sha: '2'.repeat(40), bytes: bundle(pack(parts), refs(id, sha), [base]) };
        },
      ],
      [
        'a commit whose name is a lie',
        (id) => {
          const { parts } = evilCommit('a', [base]);
          return { sha: '3'.repeat(40), bytes: bundle(pack(parts), refs(id, '3'.repeat(40)), [base]) };
        },
      ],
    ];
    for (const [what, build] of cases) {
      const { spec: own } = await client.service.submit({
        repositoryPath: repository.path,
        prompt: what,
        snapshot: 'head',
      });
      const { sha, bytes } = build(own.id);
      offer(own.id, sha, bytes);
      const events = await client.eventsUpTo(own.id, 3);
      const last = events.at(-1);
      assert.ok(
        last?.type === 'import_failed' && last.code === 'import_refused',
        `${what}: ${JSON.stringify(last)}`,
      );
      assert.equal(client.service.result(own.id), undefined, what);
      assert.deepEqual(client.service.task(own.id)?.imported, [], what);
      assert.deepEqual(client.service.task(own.id)?.refusedImports, [sha], what);
      // And the log goes on.
      runner.say(own.id, note('after'));
      assert.equal((await client.eventsUpTo(own.id, 4)).at(-1)?.type, 'notice', what);
      const quarantine = Quarantine.open(join(client.data, 'quarantine'), own.repository.id);
      // A sound commit that nobody announced may be there; it is no result of the task's.
      const there = (await quarantine.tips(own.id)).map((tip) => tip.sha);
      assert.ok(!there.includes(sha), what);
      assert.equal(there.length, what === 'another commit than it said' ? 1 : 0, what);
    }
    assert.deepEqual(fingerprint(repository.path), before);
    assert.ok(!existsSync('/tmp/owned'));
    // One task's bundle is no other task's affair.
    repository.write('good', 'good\n');
    const good = repository.commit('Good');
    repository.git('update-ref', 'refs/heads/good', good);
    const bytes = repository.raw([
      'bundle',
      'create',
      '-q',
      '--version=2',
      '-',
      'refs/heads/good',
      `^${base}`,
    ]);
    offer(
      spec.id,
      good,
      Buffer.from(
        bytes.toString('latin1').replace('refs/heads/good', refs(spec.id, good)[0]?.slice(41) ?? ''),
        'latin1',
      ),
    );
    await until(() => client.service.result(spec.id)?.to === good, 'the good commit', client.log);
  });

  it('asks a runner no more whose bundles were refused again and again', async () => {
    const { id, snapshot } = await submitted();
    for (let i = 0; i < 8; i++) {
      const { sha, parts } = evilCommit(`..`, [snapshot.commit], i % 2 === 0 ? '100644' : '100755');
      offer(id, i < 2 ? sha : String(i).repeat(40), bundle(pack(parts), refs(id, sha), [snapshot.commit]));
    }
    await client.eventsUpTo(id, 17);
    assert.equal(runner.haves.length, 3);
  });

  it('has no say over refs of other tasks, bases, or branches that are none', async () => {
    const first = await submitted();
    const second = await submitted();
    repository.write('x', 'x\n');
    const sha = repository.commit('Made there');
    const quarantine = Quarantine.open(join(client.data, 'quarantine'), first.repository.id);
    const names = [
      `refs/tasks/${first.id}/commits/${sha}`,
      `refs/tasks/${first.id}/heads/good`,
      `refs/tasks/${first.id}/heads/../../../../escaped`,
      `refs/tasks/${second.id}/commits/${sha}`,
      `refs/tasks/${second.id}/heads/theirs`,
      `refs/bases/${sha}`,
      'refs/heads/main',
      'HEAD',
    ];
    repository.git('update-ref', 'refs/heads/made', sha);
    const made = repository.raw([
      'bundle',
      'create',
      '-q',
      '--version=2',
      '-',
      'refs/heads/made',
      `^${first.snapshot.commit}`,
    ]);
    const packBytes = made.subarray(made.indexOf('PACK'));
    offer(
      first.id,
      sha,
      bundle(
        packBytes,
        names.map((name) => `${sha} ${name}`),
        [first.snapshot.commit],
      ),
    );
    await until(() => (client.service.task(first.id)?.lastEvent ?? 0) >= 3, 'the events', client.log);
    assert.deepEqual(await quarantine.tips(second.id), []);
    const all = new GitRepo(quarantine.gitDir, { init: false })
      .git('for-each-ref', '--format=%(refname)')
      .split('\n');
    const mine = new RegExp(
      `^refs/(tasks/${first.id}/(commits/${sha}|heads/)|bases/${first.snapshot.commit}$)`,
    );
    assert.deepEqual(
      all.filter((ref) => !mine.test(ref)),
      [],
    );
    assert.ok(!all.some((ref) => ref.includes('escaped')));
  });

  it('cannot name a repository of this machine, or a folder', async () => {
    const mine = await submitted();
    const sent: Partial<TaskSpec>[] = [
      { repository: { ...mine.repository } },
      { repository: { id: mine.repository.id, name: '../../x', path: repository.path } },
      { repository: { id: 'x', name: 'x', path: '/etc' } },
    ];
    const quarantine = Quarantine.open(join(client.data, 'quarantine'), mine.repository.id);
    const before = new GitRepo(quarantine.gitDir, { init: false }).git('for-each-ref');
    for (const change of sent) {
      const spec = aSpec({ ...change, snapshot: mine.snapshot });
      runner.add(spec);
      await client.eventsUpTo(spec.id, 1);
      const seen = client.service.task(spec.id)?.spec.repository;
      assert.equal(seen?.path, '');
      assert.notEqual(seen.id, mine.repository.id);
      await assert.rejects(client.service.acceptAsBranch(spec.id, 'x'));
      await assert.rejects(client.service.blob(spec.id, repository.git('rev-parse', 'HEAD:README.md')));
      // The base that this machine has is not said to be here.
      offer(spec.id, '4'.repeat(40), Buffer.from('x'));
      await client.eventsUpTo(spec.id, 3);
      assert.deepEqual(runner.haves.at(-1), []);
    }
    assert.equal(new GitRepo(quarantine.gitDir, { init: false }).git('for-each-ref'), before);
    // Nor can it say of a task of this machine that it began somewhere else.
    const other = await submitted();
    const first = (await client.eventsUpTo(other.id, 1))[0];
    assert.ok(first?.type === 'submitted' && first.spec.snapshot.commit === other.snapshot.commit);
  });

  it('cannot say that a task of this machine began with another commit', async () => {
    runner.onFollow = (socket, task) => {
      const [first] = runner.task(task).events as TaskEvent[];
      assert.ok(first?.type === 'submitted');
      const snapshot = { ...first.spec.snapshot, commit: '5'.repeat(40) };
      const repositoryRef = { id: 'another', name: 'another', path: '/etc' };
      const spec = { ...first.spec, snapshot, repository: repositoryRef };
      runner.send(socket, { type: 'events', task, events: [{ ...first, spec }] });
      return true;
    };
    const spec = await submitted();
    assert.equal(spec.snapshot.commit, repository.git('rev-parse', 'HEAD'));
    assert.equal(spec.repository.path, repository.path);
  });

  it('cannot write outside of its mirror with the ids that it names', async () => {
    await client.service.open();
    await client.status('online');
    const good = aSpec();
    const ids = [
      '../../../escaped',
      '/tmp/escaped',
      '..',
      '',
      'A'.repeat(300),
      'con',
      '__proto__',
      `${good.id}/../x`,
    ];
    for (const id of ids) {
      const view = { ...viewOf(good), id };
      runner.broadcast({ type: 'task', task: view });
      runner.broadcast({ type: 'tasks', tasks: [view] });
      runner.broadcast({
        type: 'events',
        task: id,
        events: [{ n: 1, t: 1, type: 'submitted', spec: { ...good, id } }],
      });
      runner.broadcast({ type: 'removed', task: id });
      runner.broadcast({ type: 'over', task: id });
    }
    runner.add(good);
    await client.eventsUpTo(good.id, 1);
    assert.deepEqual(
      client.service.tasks().map(({ spec }) => spec.id),
      [good.id],
    );
    const remote = join(client.data, 'remote');
    assert.deepEqual(readdirSync(join(remote, readdirSync(remote)[0] ?? '', 'tasks')), [good.id]);
    assert.deepEqual(readdirSync(client.data).sort(), ['id', 'quarantine', 'remote', 'tasks']);
  });

  function viewOf(spec: TaskSpec): Record<string, unknown> {
    return {
      id: spec.id,
      title: 'x',
      prompt: 'x',
      source: { kind: 'find', confirm: false },
      owner: { id: 'u1', name: 'Anna' },
      shared: false,
      priority: 0,
      switches: { commitEach: false, autoPush: false, draftEarly: false, autoPullRequest: false },
      createdAt: 1,
      stage: 'task',
    };
  }

  const lies: [what: string, tell: (socket: WebSocket, id: string, spec: TaskSpec) => unknown[]][] = [
    ['begins with something else', () => [{ n: 1, ...note('x') }]],
    ['begins with an event that is none', () => [{ n: 1, t: 1, type: 'submitted', spec: { evil: true } }]],
    [
      'is of another task',
      (_s, _id, spec) => [{ n: 1, t: 1, type: 'submitted', spec: { ...spec, id: aSpec().id } }],
    ],
    ['has no numbers', () => [{ ...note('x') }]],
    [
      'has a number that is none',
      () => [
        { ...note('x'), n: 1e308 },
        { ...note('x'), n: 1.5 },
        { ...note('x'), n: -1 },
      ],
    ],
    [
      'leaves events out',
      (_s, _id, spec) => [
        { n: 1, t: 1, type: 'submitted', spec },
        { ...note('x'), n: 3 },
      ],
    ],
    ['is nothing', () => [null, 1, 'x', []]],
  ];
  for (const [what, tell] of lies) {
    it(`is not followed where a log ${what}, and other tasks are`, async () => {
      const evil = aSpec();
      const good = aSpec();
      runner.onFollow = (socket, task) => {
        if (task !== evil.id) return false;
        runner.send(socket, { type: 'events', task, events: tell(socket, task, evil) });
        return true;
      };
      runner.add(evil);
      runner.add(good);
      await client.service.open();
      runner.say(good.id, note('fine'));
      await client.eventsUpTo(good.id, 2);
      await until(() => client.troubles.some((line) => line.includes(evil.id)), 'a word on it', client.log);
      assert.ok((client.service.task(evil.id)?.lastEvent ?? 0) <= 1);
      const remote = join(client.data, 'remote');
      const file = join(remote, readdirSync(remote)[0] ?? '', 'tasks', evil.id, 'events.ndjson');
      const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
      assert.ok(lines <= 1);
    });
  }

  it('says things twice, out of order and again, and every event is there once', async () => {
    const spec = aSpec();
    runner.add(spec);
    runner.say(spec.id, ...Array.from({ length: 20 }, (_, i) => note(`${i}`)));
    runner.onFollow = (socket, task, after) => {
      const events = runner.task(task).events;
      for (const [from, to] of [
        [after, after + 5],
        [0, 3],
        [after + 2, after + 9],
        [15, 18],
        [after, 21],
        [0, 21],
      ] as const)
        runner.send(socket, { type: 'events', task, events: events.slice(from, to) });
      return true;
    };
    await client.service.open();
    const events = await client.eventsUpTo(spec.id, 21);
    assert.deepEqual(
      events.map(({ n }) => n),
      Array.from({ length: 21 }, (_, i) => i + 1),
    );
  });

  it('cannot fill the memory with a frame, or with frames that nobody asked for', async () => {
    const spec = aSpec();
    runner.add(spec);
    await client.service.open();
    await client.eventsUpTo(spec.id, 1);
    const before = process.memoryUsage().rss;
    const unknown = aSpec().id;
    const long = 'x'.repeat(1 << 20);
    for (let i = 0; i < 100; i++)
      runner.broadcast({ type: 'events', task: unknown, events: [{ n: 1 + i, ...note(long) }] });
    runner.say(spec.id, note('after'));
    await client.eventsUpTo(spec.id, 2);
    assert.equal(client.service.task(unknown), undefined);
    // A frame of 200 MB ends the connection, before it is read.
    let peak = 0;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20);
    const huge = Buffer.alloc(200 << 20, 0x20);
    let sent = 0;
    runner.onFollow = (socket) => {
      if (sent++ > 0) return false;
      socket.send(huge, { binary: false });
      return true;
    };
    runner.dropStreams();
    await until(
      () => client.log.some((line) => line.includes('more than 96 MiB')),
      'the end of the connection',
      client.log,
    );
    runner.say(spec.id, note('after the frame'));
    await client.eventsUpTo(spec.id, 3);
    clearInterval(watch);
    // What the fake itself holds of it is in there too.
    assert.ok(peak - before < 900 << 20, `${(peak - before) >> 20} MiB`);
  });

  it('gets the token at its own address only', async () => {
    const elsewhere = await FakeRunner.start();
    try {
      runner.onRequest = (request, response) => {
        response.writeHead(307, { location: `${elsewhere.url}${request.url ?? ''}` }).end();
        return true;
      };
      await assert.rejects(submitted(), { code: 'runner_unreachable' });
      await assert.rejects(client.service.spentToday(), { code: 'runner_unreachable' });
      assert.deepEqual(elsewhere.requests, []);
    } finally {
      await elsewhere.close();
    }
  });

  it('cannot make the client send more than what was submitted', async () => {
    repository.write('secret-of-another-branch', 'x\n');
    repository.git('checkout', '-q', '-b', 'private');
    const secret = repository.commit('Private');
    repository.git('checkout', '-q', 'main');
    runner.onRequest = (request, response) => {
      if (request.url !== '/api/v1/uploads/known') return false;
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ commits: [secret, '6'.repeat(40), '--output=/tmp/owned'] }));
      return true;
    };
    await assert.rejects(submitted(), { code: 'runner_version' });
    runner.onRequest = (request, response) => {
      if (request.url !== '/api/v1/uploads/known') return false;
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ commits: [secret, '6'.repeat(40)] }));
      return true;
    };
    const spec = await submitted();
    assert.ok(await runner.quarantine.has(spec.snapshot.commit));
    assert.ok(!(await runner.quarantine.has(secret)));
  });

  it('cannot take away what was submitted from here by not naming it any more', async () => {
    const { id } = await submitted();
    runner.tasks.delete(id);
    const other = aSpec();
    runner.dropStreams();
    await client.status('online');
    runner.add(other);
    await client.eventsUpTo(other.id, 1);
    assert.ok(client.service.task(id));
  });

  it('cannot colour its errors, or make them long', async () => {
    runner.onRequest = (_request, response) => {
      const detail = `\u001b]0;owned\u0007${'x'.repeat(10_000)}`;
      const problem = { type: 'x', title: 'x', status: 400, detail, code: 'made_up', mend: '\u202eevil' };
      response.writeHead(400, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
      return true;
    };
    await assert.rejects(client.service.spentToday(), (thrown: Error & { code: string; mend: string }) => {
      assert.equal(thrown.code, 'invalid_input');
      assert.ok(thrown.message.length <= 600 && !/[\u001b\u0007]/.test(thrown.message));
      assert.ok(!thrown.mend.includes('\u202e'));
      return true;
    });
  });
});
