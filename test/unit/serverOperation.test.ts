import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import type { StreamMessage, TaskPage, TaskView, UploadState } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { migrations } from '../../src/server/migrations.ts';
import { openStore } from '../../src/server/store.ts';
import { GitRepo, temporaryFolder } from '../support/gitRepo.ts';
import { startTestServer, type TestServer, type TestServerOptions } from '../support/server.ts';
import { ServerProcess } from '../support/serverProcess.ts';
import { bundleOf, snapshotOf } from '../support/serverTasks.ts';

const run = promisify(execFile);
const hour = 3_600_000;
const patience = 45_000;

/** A server without an engine, its data, and who asks it. A task there is over as soon as it is begun. */
class Operated {
  readonly folder = temporaryFolder();
  readonly repo: GitRepo;
  readonly commit: string;
  readonly bytes: Buffer;
  server!: TestServer;
  token = '';
  private readonly options: TestServerOptions;

  private constructor(options: TestServerOptions) {
    this.options = options;
    this.repo = new GitRepo(join(this.folder.path, 'work'));
    this.repo.write('README.md', '# Work\n');
    this.commit = this.repo.commit('First');
    this.bytes = bundleOf(this.repo, this.commit);
  }

  static async open(options: TestServerOptions = {}): Promise<Operated> {
    const operated = new Operated(options);
    await mkdir(operated.data, { recursive: true });
    operated.server = await startTestServer({ data: operated.data, ...options });
    operated.token = await operated.server.adminToken();
    return operated;
  }

  get data(): string {
    return this.options.data ?? join(this.folder.path, 'data');
  }

  ask<T>(path: string, init: Parameters<TestServer['fetch']>[1] = {}): Promise<T> {
    return this.server.ask<T>(path, { token: this.token, ...init });
  }

  announce(bytes: Uint8Array = this.bytes, commit = this.commit): Promise<UploadState> {
    return this.ask('/api/v1/uploads', {
      method: 'POST',
      json: {
        repository: { id: 'work-1', name: 'work' },
        commit,
        bytes: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      },
    });
  }

  put(id: string, offset: number, bytes: Uint8Array): Promise<Response> {
    return this.server.fetch(`/api/v1/uploads/${id}`, {
      method: 'PATCH',
      token: this.token,
      headers: { 'content-type': 'application/octet-stream', 'upload-offset': String(offset) },
      body: new Uint8Array(bytes),
    });
  }

  async bring(): Promise<void> {
    const { id, complete } = await this.announce();
    if (!complete) assert.equal((await this.put(id, 0, this.bytes)).status, 200);
  }

  submit(prompt = 'Work'): Promise<TaskView> {
    return this.ask('/api/v1/tasks', {
      method: 'POST',
      json: { prompt, source: snapshotOf(this.commit, 'work-1') },
    });
  }

  /** Waits until its log is whole. */
  async over(id: string): Promise<TaskEvent[]> {
    const answer = await this.server.fetch(`/api/v1/tasks/${id}/events`, {
      token: this.token,
      signal: AbortSignal.timeout(patience),
    });
    assert.equal(answer.status, 200);
    return linesOf(await answer.text());
  }

  log(id: string): string {
    return join(this.data, 'tasks', id, 'events.ndjson');
  }

  async close(): Promise<void> {
    await this.server.close();
    this.folder.dispose();
  }
}

function linesOf(text: string): TaskEvent[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TaskEvent);
}

async function problemOf(answer: Response): Promise<{ status: number; code: string; mend: string }> {
  const { code, mend } = (await answer.json()) as { code: string; mend: string };
  return { status: answer.status, code, mend };
}

/** What the first version of the store held, with rows in every table that has something to lose. */
function firstStore(path: string): void {
  const store = new DatabaseSync(path);
  store.exec(`PRAGMA journal_mode = WAL; BEGIN; ${migrations[0] ?? ''}; PRAGMA user_version = 1; COMMIT;`);
  store.exec(`
    INSERT INTO users (id, login, name, role, created_at) VALUES ('u1', 'ada', 'Ada', 'admin', 1);
    INSERT INTO tokens (id, hash, user, name, prefix, scopes, kind, created_at)
      VALUES ('t1', 'h1', 'u1', 'editor', 'slp_abc', '["tasks:read"]', 'named', 2);
    INSERT INTO tasks (id, owner, shared, stage, priority, submission, created_at)
      VALUES ('0mwqq6nscun6ag3', 'u1', 0, 'cancelled', 0,
        '{"prompt":"Old","source":{"kind":"url","url":"https://forge.example.com/a/b"}}', 3);
    INSERT INTO settings VALUES ('greeting', 'hello');
  `);
  store.close();
}

function contentOf(store: DatabaseSync): unknown {
  const tables = ['users', 'sessions', 'tokens', 'tasks', 'settings', 'uploads', 'idempotency', 'audit'];
  return tables.map((table) =>
    store
      .prepare(`SELECT * FROM ${table}`)
      .all()
      .map((row) => ({ ...row })),
  );
}

describe('an upgrade', () => {
  let folder: string;
  const path = (): string => join(folder, 'runner.sqlite');

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-upgrade-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('brings what the first version wrote up to date, each step once', () => {
    firstStore(path());
    const steps = [
      ...migrations,
      "ALTER TABLE tasks ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
      'CREATE TABLE notes (id TEXT PRIMARY KEY, task TEXT NOT NULL REFERENCES tasks (id)) STRICT; INSERT INTO notes SELECT id, id FROM tasks',
    ];
    const store = openStore(path(), steps);
    assert.equal(store.prepare('PRAGMA user_version').get()?.['user_version'], steps.length);
    assert.deepEqual(
      {
        ...store
          .prepare(
            'SELECT t.note, n.id, u.login FROM tasks t JOIN notes n ON n.task = t.id JOIN users u ON u.id = t.owner',
          )
          .get(),
      },
      { note: 'none', id: '0mwqq6nscun6ag3', login: 'ada' },
    );
    store.close();
    const again = openStore(path(), steps);
    assert.equal(again.prepare('SELECT count(*) AS n FROM notes').get()?.['n'], 1);
    again.close();
    // And the older one refuses it, with a word on what to do.
    assert.throws(() => openStore(path()), { code: 'runner_version', mend: /newer version|backup/ });
  });

  it('that fails leaves everything as it was, and the version before goes on', () => {
    firstStore(path());
    const before = openStore(path());
    const content = contentOf(before);
    before.close();
    const broken = [
      ...migrations,
      'ALTER TABLE users ADD COLUMN note TEXT; DELETE FROM settings; INSERT INTO nowhere VALUES (1)',
    ];
    assert.throws(() => openStore(path(), broken), { code: 'server_misconfigured', message: /nowhere/ });
    const after = openStore(path());
    assert.deepEqual(contentOf(after), content);
    after.close();
    // What held the store has let it go.
    openStore(path(), [...migrations, 'CREATE TABLE notes (id TEXT) STRICT']).close();
  });

  it('is made by the server itself when it starts on the data of the first version', async () => {
    firstStore(path());
    const server = await startTestServer({ data: folder });
    try {
      assert.equal(server.running.context.auth.needsSetUp(), false);
      assert.equal(server.running.users(), 1);
      assert.equal(server.running.context.tasks.counts().all, 1);
    } finally {
      await server.close();
    }
  });
});

describe('the log of a task', () => {
  let operated: Operated;

  beforeEach(async () => {
    operated = await Operated.open();
    await operated.bring();
  });
  afterEach(() => operated.close());

  it('whose last line was torn off is read as far as it was whole', async () => {
    const { id } = await operated.submit();
    const events = await operated.over(id);
    await operated.server.running.close();
    await appendFile(operated.log(id), '{"n":4,"t":1,"type":"text","te');
    await operated.server.restart();
    assert.deepEqual(await operated.over(id), events);
    const { state } = await operated.ask<TaskView>(`/api/v1/tasks/${id}`);
    assert.equal(state?.['phase'], 'failed');
  });

  it('of a task that was at work goes on behind the last whole line', async () => {
    const { id } = await operated.submit();
    const [first] = await operated.over(id);
    await operated.server.running.close();
    // As a crash of the machine leaves it: begun, and a piece of the next event.
    await rm(join(operated.data, 'tasks', id, 'state.json'), { force: true });
    await writeFile(operated.log(id), `${JSON.stringify(first)}\n{"n":2,"t":`);
    await operated.server.restart();
    const events = await operated.over(id);
    assert.deepEqual(events[0], first);
    assert.deepEqual(
      events.map(({ n }) => n),
      events.map((_, index) => index + 1),
    );
    assert.equal(events.at(-1)?.type, 'sandbox_removed');
    assert.deepEqual(linesOf(await readFile(operated.log(id), 'utf8')), events);
  });

  it('that is damaged in its middle is told to whoever asks, and the other tasks go on', async () => {
    const [bad, good] = [await operated.submit('Bad'), await operated.submit('Good')];
    await operated.over(bad.id);
    const events = await operated.over(good.id);
    await operated.server.running.close();
    const lines = (await readFile(operated.log(bad.id), 'utf8')).split('\n');
    lines[1] = '\0'.repeat(40);
    await writeFile(operated.log(bad.id), lines.join('\n'));
    await operated.server.restart();
    assert.ok(operated.server.log.some((line) => line.startsWith('error') && line.includes(bad.id)));
    assert.deepEqual(await operated.over(good.id), events);
    const page = await operated.ask<TaskPage>('/api/v1/tasks');
    assert.deepEqual(page.tasks.map(({ id }) => id).sort(), [bad.id, good.id].sort());
    const view = await operated.ask<TaskView>(`/api/v1/tasks/${bad.id}`);
    assert.equal(view.problem?.code, 'log_damaged');
    assert.notEqual(view.problem.mend, '');
    // Nobody waits for what never comes.
    assert.equal(view.stage, 'failed');
    assert.deepEqual(await operated.over(bad.id), []);
    await operated.over((await operated.submit('Later')).id);
    // The file is as it was found.
    assert.equal(await readFile(operated.log(bad.id), 'utf8'), lines.join('\n'));
  });
});

describe('a clock that jumps', () => {
  it('an hour forth and back ends no session, token, stream or wait, and loses no order', async () => {
    let jump = 0;
    const operated = await Operated.open({ now: () => Date.now() + jump });
    try {
      const cookie = await operated.server.session();
      await operated.bring();
      const stream = await streamOf(operated);
      const ids: string[] = [];
      for (jump of [0, hour, 0, -hour, hour, -hour, 0]) {
        const { id } = await operated.submit(`At ${jump}`);
        ids.push(id);
        const events = await operated.over(id);
        assert.equal(events.at(-1)?.type, 'sandbox_removed');
        const me = await operated.server.fetch('/api/v1/me', { headers: { cookie } });
        assert.equal(me.status, 200, await me.text());
        stream.follow(id);
        await stream.until((message) => message.type === 'over' && message.task === id);
      }
      assert.equal(stream.closed(), undefined);
      const { tasks } = await operated.ask<TaskPage>('/api/v1/tasks?limit=500');
      assert.deepEqual(tasks.map(({ id }) => id).sort(), [...ids].sort());
      // In pages each comes once.
      const paged: string[] = [];
      for (let cursor = ''; ;) {
        const page = await operated.ask<TaskPage>(`/api/v1/tasks?limit=2${cursor}`);
        paged.push(...page.tasks.map(({ id }) => id));
        if (page.next === undefined) break;
        cursor = `&cursor=${encodeURIComponent(page.next)}`;
      }
      assert.deepEqual(
        paged,
        tasks.map(({ id }) => id),
      );

      // Whoever had to wait for a wrong password in the future does not wait longer for it.
      jump = hour;
      const signIn = (password: string): Promise<Response> =>
        operated.server.fetch('/auth/login', {
          method: 'POST',
          headers: { origin: operated.server.url },
          json: { login: 'admin', password },
        });
      const answers = [];
      for (let i = 0; i < 7; i++) answers.push((await signIn('wrong wrong wrong')).status);
      assert.ok(answers.includes(429), answers.join());
      jump = 0;
      const end = Date.now() + patience;
      let last = await signIn('correct horse battery');
      while (last.status === 429 && Date.now() < end) {
        await new Promise((passed) => setTimeout(passed, 250));
        last = await signIn('correct horse battery');
      }
      assert.equal(last.status, 200, await last.text());
      stream.close();
    } finally {
      await operated.close();
    }
  });
});

interface Stream {
  follow: (task: string) => void;
  until: (wanted: (message: StreamMessage) => boolean) => Promise<void>;
  closed: () => number | undefined;
  close: () => void;
}

async function streamOf({ server, token }: Operated): Promise<Stream> {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/api/v1/stream`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const messages: StreamMessage[] = [];
  let code: number | undefined;
  socket.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString()) as StreamMessage));
  socket.on('close', (closed) => (code = closed));
  socket.on('error', () => undefined);
  const until: Stream['until'] = async (wanted) => {
    const end = Date.now() + patience;
    while (!messages.some(wanted)) {
      assert.ok(
        Date.now() < end && code === undefined,
        `closed ${code}: ${JSON.stringify(messages.slice(-3))}`,
      );
      await new Promise((passed) => setTimeout(passed, 10));
    }
  };
  await until(({ type }) => type === 'tasks');
  return {
    follow: (task) => socket.send(JSON.stringify({ type: 'follow', task, after: 0 })),
    until,
    closed: () => code,
    close: () => socket.terminate(),
  };
}

describe('a disk that is full', () => {
  let path: string;
  let operated: Operated;
  const resize = (kibibytes: number): Promise<unknown> =>
    run('mount', ['-o', `remount,size=${kibibytes}k`, path]);
  /** What is on it now, in kibibytes. */
  const used = async (): Promise<number> => {
    const { stdout } = await run('df', ['--output=used', '-k', path]);
    return Number(stdout.trim().split('\n').at(-1));
  };

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'sallyport-disk-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=600m', 'tmpfs', path]);
    operated = await Operated.open({ data: join(path, 'data') });
  });
  afterEach(async () => {
    await operated.close();
    await run('umount', ['-l', path]);
    await rm(path, { recursive: true, force: true });
  });

  it('is told to who uploads, and the upload goes on where it was when there is room', async () => {
    operated.repo.write('big', [...crypto.getRandomValues(new Uint32Array(16_384))].join('\n').repeat(20));
    const random = Buffer.concat(
      Array.from({ length: 64 }, () => crypto.getRandomValues(new Uint8Array(65_536))),
    );
    operated.repo.write('random', random.toString('base64'));
    const commit = operated.repo.commit('Big');
    const bytes = bundleOf(operated.repo, commit);
    const { id } = await operated.announce(bytes, commit);
    await resize((await used()) + 1024);
    const refused = await problemOf(await operated.put(id, 0, bytes));
    assert.deepEqual([refused.status, refused.code], [507, 'disk_full']);
    assert.notEqual(refused.mend, '');
    assert.equal((await operated.server.fetch('/api/v1/version')).status, 200);
    // One that would not fit anyway is not begun.
    const other = operated.announce(Buffer.alloc(1 << 20), '1'.repeat(40));
    await assert.rejects(other, /507.*disk_full/);
    await resize(600 * 1024);
    const { offset } = await operated.ask<UploadState>(`/api/v1/uploads/${id}`);
    assert.ok(offset > 0 && offset < bytes.length, `${offset} of ${bytes.length}`);
    const rest = await operated.put(id, offset, bytes.subarray(offset));
    assert.deepEqual(await rest.json(), { id, offset: bytes.length, complete: true });
  });

  it('holds tasks up with a clear word, and the server goes on when there is room', async () => {
    await operated.bring();
    const before = await operated.submit('Before');
    await operated.over(before.id);
    await resize(await used());
    // Until also what the store has in reserve is used up.
    let refused: { status: number; code: string; mend: string } | undefined;
    for (let i = 0; i < 300 && refused === undefined; i++) {
      const answer = await operated.server.fetch('/api/v1/tasks', {
        method: 'POST',
        token: operated.token,
        json: { prompt: 'x'.repeat(50_000), source: snapshotOf(operated.commit, 'work-1') },
        signal: AbortSignal.timeout(patience),
      });
      if (answer.ok) await answer.body?.cancel();
      else refused = await problemOf(answer);
    }
    assert.ok(refused, 'nothing was refused');
    assert.deepEqual(
      [refused.status, refused.code],
      [507, 'disk_full'],
      operated.server.log.slice(-5).join('\n'),
    );
    assert.notEqual(refused.mend, '');
    assert.equal((await operated.server.fetch('/api/v1/version')).status, 200);
    const shown = await operated.ask<TaskPage>('/api/v1/tasks?limit=500');
    await resize(600 * 1024);
    const { id } = await operated.submit('After');
    assert.equal((await operated.over(id)).at(-1)?.type, 'sandbox_removed');
    // What was answered with a task is one, and comes to its end.
    for (const { id } of shown.tasks) {
      const { stage } = await operated.ask<TaskView>(`/api/v1/tasks/${id}`);
      if (stage === 'task') assert.equal((await operated.over(id)).at(-1)?.type, 'sandbox_removed');
    }
    await operated.server.restart();
    const { tasks } = await operated.ask<TaskPage>('/api/v1/tasks?limit=500');
    assert.deepEqual(
      shown.tasks.filter(({ id }) => !tasks.some((one) => one.id === id)),
      [],
    );
  });
});

describe('a disk of the logs that is full', () => {
  it('keeps no submission waiting, and nothing of it', async () => {
    const operated = await Operated.open();
    const tasks = join(operated.data, 'tasks');
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', tasks]);
    try {
      await operated.bring();
      const fill = join(tasks, 'fill');
      // All of it, and all but what a claim takes.
      for (const kibibytes of [64, 60]) {
        await rm(fill, { force: true });
        await writeFile(fill, new Uint8Array(kibibytes * 1024));
        const answer = await operated.server.fetch('/api/v1/tasks', {
          method: 'POST',
          token: operated.token,
          json: { prompt: 'x'.repeat(50_000), source: snapshotOf(operated.commit, 'work-1') },
          signal: AbortSignal.timeout(patience),
        });
        const refused = await problemOf(answer);
        assert.deepEqual([refused.status, refused.code], [507, 'disk_full']);
        assert.deepEqual(await readdir(tasks), ['fill']);
        assert.deepEqual((await operated.ask<TaskPage>('/api/v1/tasks')).tasks, []);
      }
      await rm(fill);
      const { id } = await operated.submit();
      assert.equal((await operated.over(id)).at(-1)?.type, 'sandbox_removed');
    } finally {
      await run('umount', ['-l', tasks]);
      await operated.close();
    }
  });
});

describe('a server and its end', () => {
  it('has its data folder for itself', async () => {
    const operated = await Operated.open();
    try {
      await assert.rejects(startTestServer({ data: operated.data }), {
        code: 'conflict',
        message: /Another server/,
        mend: /SALLYPORT_HOME/,
      });
      assert.equal((await operated.server.fetch('/api/v1/version')).status, 200);
    } finally {
      await operated.close();
    }
  });

  it('tells streams of all kinds that it goes, and waits for no upload', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const operated = await Operated.open({ env: { SALLYPORT_PRIVATE_FORGES: 'localhost' } });
    const { server, token } = operated;
    try {
      const stream = await streamOf(operated);
      // Its repository never answers, so that its log does not begin.
      const waiting = await operated.ask<TaskView>('/api/v1/tasks', {
        method: 'POST',
        json: { prompt: 'Wait', source: { kind: 'url', url: `http://localhost:${port}/acme/silent` } },
      });
      const open = async (accept: string): Promise<string> => {
        const answer = await server.fetch(`/api/v1/tasks/${waiting.id}/events`, {
          token,
          headers: { accept },
        });
        assert.equal(answer.status, 200);
        return await answer.text().catch((thrown: unknown) => `cut off: ${String(thrown)}`);
      };
      const lines = open('application/x-ndjson');
      const sse = open('text/event-stream');
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/api/v1/tasks/${waiting.id}/events`, {
        headers: { authorization: `Bearer ${token}` },
      });
      await new Promise((opened) => socket.once('open', opened));
      const closed = new Promise<number>((gone) => socket.once('close', gone));
      // An upload that never comes to its end.
      const { id } = await operated.announce(Buffer.alloc(5000), '2'.repeat(40));
      const endless = new ReadableStream<Uint8Array>({ start: (to) => to.enqueue(new Uint8Array(1000)) });
      const uploading = server
        .fetch(`/api/v1/uploads/${id}`, {
          method: 'PATCH',
          token,
          headers: { 'content-type': 'application/octet-stream', 'upload-offset': '0' },
          body: endless,
          duplex: 'half',
        })
        .then(
          (answer) => answer.status,
          () => 'cut off',
        );
      await new Promise((passed) => setTimeout(passed, 300));
      const end = await Promise.race([
        server.running.close().then(() => 'closed'),
        pause(patience, 'late', { ref: false }),
      ]);
      assert.equal(end, 'closed');
      assert.equal(await closed, 1001);
      for (let left = 100; stream.closed() === undefined && left > 0; left--)
        await new Promise((passed) => setTimeout(passed, 20));
      assert.equal(stream.closed(), 1001);
      for (const text of await Promise.all([lines, sse])) assert.match(text, /problem.*cancelled/s);
      assert.ok([409, 'cut off'].includes(await uploading), String(await uploading));
      await server.restart();
      const { offset } = await operated.ask<UploadState>(`/api/v1/uploads/${id}`);
      assert.ok(offset <= 1000);
    } finally {
      await operated.close();
      silent.close();
    }
  });

  it('ends once for two signals', async () => {
    const folder = temporaryFolder();
    const server = await ServerProcess.start({ data: folder.path });
    try {
      const first = server.end('SIGTERM');
      const second = server.end('SIGTERM');
      const late = pause(patience, 'late', { ref: false });
      assert.notEqual(await Promise.race([Promise.all([first, second]), late]), 'late');
      // It left nothing that keeps the next one from its data.
      await server.start();
    } finally {
      await server.end('SIGKILL');
      folder.dispose();
    }
  });
});
