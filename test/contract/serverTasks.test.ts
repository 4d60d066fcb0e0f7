import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { connectEngine } from '../../src/engine/connect.ts';
import type { Submission, TaskView } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { Admission } from '../../src/runner/admission.ts';
import { openDataFolder } from '../../src/runner/dataFolder.ts';
import { createTaskService } from '../../src/runner/localTasks.ts';
import { labelNames } from '../../src/runner/sandboxNames.ts';
import type { ServedTasks } from '../../src/runner/servedTasks.ts';
import { defaultPolicy } from '../../src/runner/userPolicy.ts';
import type { User } from '../../src/server/principal.ts';
import { openStore } from '../../src/server/store.ts';
import type { ServerTasks } from '../../src/server/tasks/serverTasks.ts';
import { createServerTasks } from '../../src/server/tasks/tasks.ts';
import { engines } from '../support/engines.ts';
import { collect, GitRepo, pieces } from '../support/gitRepo.ts';
import { aSubmission, bundleOf, snapshotOf } from '../support/serverTasks.ts';
import { assertWhole, bash, only, type Turns } from '../support/tasks.ts';

const root = resolve(import.meta.dirname, '..', '..');
const gibi = 2 ** 30;
const day = 24 * 3_600_000;
/** A sandbox starts in a few seconds, also where other tests run beside it. */
const patience = 90_000;

const ada: User = { id: 'user-ada', login: 'ada@example.com', name: 'Ada', role: 'member' };

/** A server's tasks on a real engine, and their user. */
class Bench {
  readonly data: string;
  readonly address: string;
  store!: DatabaseSync;
  service!: ServedTasks;
  tasks!: ServerTasks;
  admission!: Admission;
  turns: Turns = [];
  queue = { parallel: 1, memoryBytes: 3 * gibi };
  now: () => number = Date.now;
  readonly log: string[] = [];
  repo!: GitRepo;
  commit = '';

  constructor(data: string, address: string) {
    this.data = data;
    this.address = address;
  }

  async open(): Promise<void> {
    this.store = openStore(join(this.data, 'runner.sqlite'));
    this.store
      .prepare(
        "INSERT OR IGNORE INTO users (id, login, name, role, created_at) VALUES (?, ?, ?, 'member', 1)",
      )
      .run(ada.id, ada.login, ada.name);
    await this.begin();
    this.repo = new GitRepo(join(this.data, 'work'));
    this.repo.write('README.md', '# Work\n');
    this.commit = this.repo.commit('First');
    const bytes = bundleOf(this.repo, this.commit);
    const { id } = await this.tasks.beginUpload(ada, {
      repository: { id: 'demo-1', name: 'demo' },
      commit: this.commit,
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    });
    await this.tasks.continueUpload(ada, id, 0, pieces(bytes));
  }

  async begin(): Promise<void> {
    const line = (level: string) => (message: string) => void this.log.push(`${level} ${message}`);
    const log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
    this.admission = new Admission(this.queue);
    this.service = await createTaskService({
      dataFolder: this.data,
      distFolder: join(root, 'dist'),
      containerFolder: join(root, 'container'),
      engineSetting: () => this.address,
      policy: () => ({ ...defaultPolicy, egress: { mode: 'closed', rules: [] } }),
      credentials: () =>
        Promise.resolve({
          label: 'scripted model',
          demonstration: true,
          upstream: { kind: 'scripted', turns: this.turns },
        }),
      admission: this.admission,
      log,
    });
    this.tasks = await createServerTasks({
      config: {
        dataFolder: this.data,
        queue: this.queue,
        limits: { findingMs: 60_000, workMs: 120_000 },
        retentionMs: 10 * day,
        privateForges: [],
      },
      store: this.store,
      service: this.service,
      admission: this.admission,
      audit: { record: () => undefined },
      log,
      now: () => this.now(),
    });
  }

  async restart(): Promise<void> {
    await this.tasks.close();
    this.service.dispose();
    await this.begin();
  }

  async submit(turns: Turns, change: Partial<Parameters<typeof aSubmission>[0]> = {}): Promise<TaskView> {
    this.turns = turns;
    const source: Submission['source'] = snapshotOf(this.commit);
    const limits = { memoryBytes: gibi };
    return await this.tasks.submit(ada, aSubmission({ source, limits, ...change }));
  }

  /** Every event until the sandbox is gone, or until `enough` says so. */
  async events(id: string, enough: (event: TaskEvent) => boolean = () => false): Promise<TaskEvent[]> {
    const all: TaskEvent[] = [];
    const leave = new AbortController();
    const signal = AbortSignal.any([leave.signal, AbortSignal.timeout(patience)]);
    for await (const batch of this.tasks.events(ada, id, 0, signal)) {
      all.push(...batch);
      if (batch.some(enough)) leave.abort();
    }
    assert.ok(leave.signal.aborted || all.some(({ type }) => type === 'sandbox_removed'), tail(all));
    return all;
  }

  async started(id: string): Promise<void> {
    await this.events(id, ({ type }) => type === 'tool_use');
  }

  /** Of these tasks, those that have containers. */
  async sandboxed(...ids: string[]): Promise<string[]> {
    const { id: home } = await openDataFolder(this.data);
    const engine = await connectEngine({ setting: this.address });
    try {
      const all = await engine.list({ [labelNames.home]: home });
      return ids.filter((id) => all.some(({ labels }) => labels[labelNames.task] === id));
    } finally {
      engine.dispose();
    }
  }

  async close(): Promise<void> {
    for (const { spec } of this.service.tasks())
      await this.service.remove(spec.id, { force: true }).catch(() => undefined);
    await this.tasks.close();
    this.service.dispose();
    this.store.close();
    await rm(this.data, { recursive: true, force: true });
  }
}

function tail(events: readonly TaskEvent[]): string {
  return `not in time: ${JSON.stringify(events.slice(-4))}`;
}

/** What a task was told of its place in the queue. */
function queueOf(events: readonly TaskEvent[]): string[] {
  return only(events, 'progress').flatMap(({ stage, text }) => (stage === 'queue' ? [text] : []));
}

function endOf(events: readonly TaskEvent[]): { t: number; outcome: string } {
  const [ended] = only(events, 'ended');
  assert.ok(ended, tail(events));
  return { t: ended.t, outcome: ended.outcome };
}

/** Longer than any test: it is stopped. */
const long = bash('sleep 60');
const quick = [bash('git commit -q --allow-empty -m Quick'), { text: 'Done.' }];

describe('tasks of a server on Docker', () => {
  let bench: Bench;

  before(async () => {
    bench = new Bench(await mkdtemp(join(tmpdir(), 'sallyport-server-')), (await engines()).docker);
    await bench.open();
    // The image, and the time in which an engine still writes it: no test's clock runs meanwhile.
    const { id } = await bench.submit([{ text: 'Ready' }]);
    assert.equal(endOf(await bench.events(id)).outcome, 'succeeded');
  });
  after(() => bench.close());

  it('wait for their turn without a sandbox, in the order of priority and age, and can be stopped there', async () => {
    const first = await bench.submit([long, { text: 'ok' }]);
    await bench.started(first.id);
    const plain = await bench.submit(quick);
    const later = await bench.submit(quick);
    const urgent = await bench.submit(quick, { priority: 5 });
    const asked = await bench.submit(quick);
    const told = await bench.events(asked.id, (event) => queueOf([event]).length > 0);
    assert.match(queueOf(told).at(-1) ?? '', /3 tasks/);
    bench.tasks.change(ada, asked.id, { priority: 9 });
    assert.deepEqual(await bench.sandboxed(first.id, plain.id, later.id, urgent.id, asked.id), [first.id]);
    assert.deepEqual(bench.tasks.counts().queued, 4);
    // Stopped in the queue: it is over at once, whatever the others do.
    await bench.tasks.cancel(ada, later.id);
    const stopped = await bench.events(later.id);
    assertWhole(stopped);
    assert.equal(endOf(stopped).outcome, 'stopped');
    assert.ok(only(stopped, 'started').length === 0);
    assert.deepEqual(await bench.sandboxed(later.id), []);
    await bench.tasks.cancel(ada, first.id);
    const ends: { id: string; began: number; end: number }[] = [];
    for (const { id } of [plain, urgent, asked]) {
      const events = await bench.events(id);
      assertWhole(events);
      const { t, outcome } = endOf(events);
      assert.equal(outcome, 'succeeded');
      ends.push({ id, began: only(events, 'started')[0]?.t ?? 0, end: t });
    }
    ends.sort((a, b) => a.began - b.began);
    assert.deepEqual(
      ends.map(({ id }) => id),
      [asked.id, urgent.id, plain.id],
    );
    // Never two at the same time.
    for (const [index, { began }] of ends.entries())
      assert.ok(index === 0 || began >= (ends[index - 1]?.end ?? 0));
  });

  it('keep their places and their turns when the server ends and begins again', async () => {
    const running = await bench.submit([
      bash('sleep 12; git commit -q --allow-empty -m Slow'),
      { text: 'ok' },
    ]);
    await bench.started(running.id);
    const waiting = await bench.submit(quick);
    await bench.events(waiting.id, (event) => queueOf([event]).length > 0);
    await bench.restart();
    const queued = await bench.events(waiting.id, (event) => queueOf([event]).length > 0);
    assert.deepEqual(await bench.sandboxed(running.id, waiting.id), [running.id]);
    assert.ok(queueOf(queued).length > 0);
    const first = await bench.events(running.id);
    const second = await bench.events(waiting.id);
    for (const events of [first, second]) {
      assertWhole(events);
      assert.equal(endOf(events).outcome, 'succeeded');
    }
    assert.ok((only(second, 'started')[0]?.t ?? 0) >= endOf(first).t);
    assert.equal(bench.tasks.state(ada, running.id).imported.length, 1);
  });

  it('share the memory that all of them get', async () => {
    bench.queue = { parallel: 4, memoryBytes: 3 * gibi };
    await bench.restart();
    const large = await bench.submit([long, { text: 'ok' }], { limits: { memoryBytes: 2 * gibi } });
    await bench.started(large.id);
    const other = await bench.submit(quick, { limits: { memoryBytes: 2 * gibi } });
    const small = await bench.submit(quick);
    await bench.events(small.id, (event) => queueOf([event]).length > 0);
    // There would be room for the small one, but the other one comes before it.
    assert.deepEqual(await bench.sandboxed(large.id, other.id, small.id), [large.id]);
    await assert.rejects(bench.submit(quick, { limits: { memoryBytes: 4 * gibi } }), {
      code: 'invalid_input',
      message: /4 GiB.*3 GiB/,
    });
    await bench.tasks.cancel(ada, large.id);
    for (const { id } of [other, small]) assert.equal(endOf(await bench.events(id)).outcome, 'succeeded');
    bench.queue = { parallel: 1, memoryBytes: 3 * gibi };
    await bench.restart();
  });

  it('are repeated, and go on from where they have come to', async () => {
    const first = await bench.submit([
      bash('echo made > made.txt; git add made.txt; git commit -qm Made'),
      { text: 'ok' },
    ]);
    await bench.events(first.id);
    bench.turns = quick;
    const again = await bench.tasks.retry(ada, first.id);
    assert.equal(endOf(await bench.events(again.id)).outcome, 'succeeded');
    assert.equal(bench.tasks.state(ada, again.id).spec.snapshot.commit, bench.commit);
    // The agent goes on with its conversation, in which it has answered twice.
    bench.turns = [{}, {}, bash('cat made.txt; git log --format=%s -2'), { text: 'ok' }];
    const next = await bench.tasks.send(ada, first.id, 'What did you make?');
    assert.equal(next.id, first.id);
    const events = await bench.events(next.id);
    assert.equal(only(events, 'tool_result').at(-1)?.text, 'made\nMade\nFirst', tail(events));
    const { to } = bench.tasks.result(ada, first.id) ?? {};
    assert.equal(only(events, 'workspace').at(-1)?.commit, to);
    assert.equal(only(events, 'reopened')[0]?.by, ada.name);
  });

  it('are removed when they are old, but never with the only copy of a commit', async () => {
    const views: TaskView[] = [];
    // What the model says is asked for when a task gets its sandbox.
    for (const turns of [quick, quick, [{ text: 'Nothing to do.' }]]) {
      const view = await bench.submit(turns);
      await bench.events(view.id);
      views.push(view);
    }
    const [commits, copied, empty] = views as [TaskView, TaskView, TaskView];
    const bundle = await collect(await bench.tasks.bundle(ada, copied.id, []));
    assert.match(bundle.toString('latin1', 0, 20), /# v2 git bundle/);
    bench.now = () => Date.now() + 11 * day;
    await bench.restart();
    const deadline = Date.now() + patience;
    const left = (): string[] => bench.tasks.all(ada).map(({ id }) => id);
    while (left().includes(empty.id) && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(left().includes(commits.id));
    assert.ok(!left().includes(copied.id) && !left().includes(empty.id));
    assert.equal((await bench.tasks.changes(ada, commits.id)).length, 0);
    assert.ok(bench.tasks.result(ada, commits.id));
  });
});
