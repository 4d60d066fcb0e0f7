import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import type { UnnumberedEvent } from '../../src/runner/taskLog.ts';
import { AheadOfTime } from '../support/aheadOfTime.ts';
import { ada, aUser, grace, StreamServer, upTo } from '../support/streamServer.ts';

const note = (text: string): UnnumberedEvent => ({ type: 'notice', level: 'info', text, t: 1 });

/** The events of an NDJSON answer, as they come. */
async function* lines(answer: Response): AsyncGenerator<Record<string, unknown>> {
  let rest = '';
  for await (const chunk of answer.body!) {
    rest += Buffer.from(chunk).toString();
    const whole = rest.split('\n');
    rest = whole.pop() ?? '';
    for (const line of whole) if (line !== '') yield JSON.parse(line) as Record<string, unknown>;
  }
}

async function comes(isSo: () => boolean): Promise<void> {
  while (!isSo()) await pause(5);
}

async function numbersOf(answer: Response): Promise<unknown[]> {
  const numbers: unknown[] = [];
  for await (const { n } of lines(answer)) numbers.push(n);
  return numbers;
}

describe("a task's events over HTTP", () => {
  let server: StreamServer;
  let id: string;
  const events = (): string => `/api/v1/tasks/${id}/events`;
  beforeEach(async () => {
    server = await StreamServer.start({ heartbeatMs: 60 });
    id = await server.tasks.add(ada);
  });
  afterEach(() => server.stop());

  it('come as lines: what the log holds, then what happens, until the log is over', async () => {
    await server.tasks.say(id, note('one'), note('two'));
    const answer = await server.fetch(events());
    assert.equal(answer.headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    const reading = numbersOf(answer);
    for (let i = 0; i < 20; i++) await server.tasks.say(id, note(`later ${i}`));
    await server.tasks.finish(id);
    assert.deepEqual(await reading, upTo(25));
  });

  it('begin after any number, and end at once for who wants only what is there', async () => {
    await server.tasks.say(id, ...Array.from({ length: 3000 }, (_, i) => note(`${i} ${'x'.repeat(200)}`)));
    for (const after of [0, 1, 1499, 2999, 3000]) {
      const answer = await server.fetch(`${events()}?follow=false&after=${after}`);
      assert.deepEqual(await numbersOf(answer), upTo(3001).slice(after), `after ${after}`);
    }
    assert.equal(await server.text(`${events()}?follow=false&after=3001`), '');
  });

  it('are heard of before the first one is there', async () => {
    const early = await server.tasks.add(ada, { begun: false });
    const answer = await server.fetch(`/api/v1/tasks/${early}/events`);
    assert.equal(answer.status, 200);
    const first = lines(answer).next();
    await server.tasks.begin(early);
    const { value } = (await first) as IteratorYieldResult<Record<string, unknown>>;
    assert.equal(value['type'], 'submitted');
  });

  it('come as Server-Sent Events to whoever accepts them, which go on after the last one seen', async () => {
    await server.tasks.say(id, note('a\nb\u2028c'));
    const leaving = new AbortController();
    const answer = await server.fetch(events(), {
      headers: { accept: 'text/event-stream' },
      signal: leaving.signal,
    });
    assert.equal(answer.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    let text = '';
    for await (const chunk of answer.body!) {
      text += Buffer.from(chunk).toString();
      if (text.includes(': still here')) break;
    }
    assert.match(
      text,
      /^retry: \d+\n\nid: 1\ndata: \{[^\n]*"n":1,[^\n]*\}\n\nid: 2\ndata: \{[^\n]*"n":2,[^\n]*\}\n\n(?:: still here\n\n)+$/,
    );
    await server.tasks.finish(id);
    const again = await server.text(events(), {
      headers: { accept: 'text/event-stream', 'last-event-id': '2' },
    });
    assert.match(again, /^retry: \d+\n\nid: 3\ndata: .*\n\nid: 4\ndata: .*\n\nevent: over\ndata: \{\}\n\n$/);
    const over = await server.fetch(events(), {
      headers: { accept: 'text/event-stream', 'last-event-id': '4' },
    });
    assert.equal(over.status, 204);
  });

  it('are nobody’s but the owner’s, and none for a task that is not there', async () => {
    const foreign = await server.fetch(events(), { user: 'grace' });
    assert.equal(foreign.status, 404);
    assert.equal(((await foreign.json()) as { code: string }).code, 'task_unknown');
    assert.equal((await server.fetch('/api/v1/tasks/0000000000nobody/events')).status, 404);
    assert.equal((await server.fetch(events(), { user: 'nobody' })).status, 401);
    assert.equal((await server.fetch(`${events()}?after=-1`)).status, 400);
    assert.equal((await server.fetch(`${events()}?after=1e3`)).status, 400);
  });

  it('end for a reader that may not see the task any more, and say so', async () => {
    server.tasks.share(id, true);
    const answer = await server.fetch(events(), { user: 'grace' });
    const told: Record<string, unknown>[] = [];
    for await (const line of lines(answer)) {
      told.push(line);
      if (told.length === 1) server.tasks.share(id, false);
    }
    assert.equal((told[1]?.['problem'] as { code: string }).code, 'not_found');
    assert.equal(told.length, 2);
  });

  it('end when the credential is revoked, also in the middle of a silence', async () => {
    const answer = await server.fetch(events());
    const told: Record<string, unknown>[] = [];
    for await (const line of lines(answer)) {
      told.push(line);
      if (told.length === 1) server.revoked.add('ada');
    }
    assert.equal((told[1]?.['problem'] as { code: string }).code, 'unauthorized');
  });

  it('are read once for all who follow, and not at all when nobody does', async () => {
    const leaving = new AbortController();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => server.fetch(events(), { signal: leaving.signal })),
    );
    const first = answers.map((answer) => lines(answer));
    for (const reader of first) assert.equal((await reader.next()).done, false);
    assert.equal(server.tasks.readers, 1);
    assert.equal(server.hub.counters().open, 10);
    leaving.abort();
    for (const reader of first) await reader.next().catch(() => undefined);
    await comes(() => server.tasks.readers === 0 && server.hub.counters().open === 0);
    assert.equal(server.hub.counters().tasks, 0);
  });

  it('can be had over a WebSocket at the same address, one message each', async () => {
    await server.tasks.say(id, note('one'));
    const listener = server.socket(`${events()}?after=1`);
    await listener.until((messages) => messages.length === 1);
    await server.tasks.finish(id);
    assert.deepEqual(await listener.close(), { code: 1000, reason: 'The log is over.' });
    assert.deepEqual(
      listener.messages.map((message) => message['n']),
      [2, 3, 4],
    );
    const foreign = server.socket(events(), 'grace');
    assert.equal((await foreign.close()).code, 4404);
  });
});

describe("the stream of a runner's client", () => {
  let server: StreamServer;
  beforeEach(async () => {
    server = await StreamServer.start({ changesMs: 20 });
  });
  afterEach(() => server.stop());

  it('says who is there and what tasks there are, and then what changes', async () => {
    const mine = await server.tasks.add(ada, { prompt: 'Mine' });
    await server.tasks.add(grace, { prompt: 'Hers' });
    const listener = server.socket('/api/v1/stream');
    const hello = await listener.type('hello');
    assert.deepEqual(hello['user'], { id: 'ada', name: 'ada', role: 'member' });
    assert.deepEqual(hello['version'], { name: 'sallyport-runner', version: '1.2.3', api: 1, oldestApi: 1 });
    const { tasks } = (await listener.type('tasks')) as unknown as {
      tasks: { id: string; state?: unknown }[];
    };
    assert.deepEqual(
      tasks.map((task) => task.id),
      [mine],
    );
    assert.deepEqual(
      listener.messages.map(({ type }) => type),
      ['hello', 'tasks'],
    );
    const later = await server.tasks.add(ada, { prompt: 'Later' });
    const told = await listener.until((messages) =>
      messages.find(({ type, task }) => type === 'task' && (task as { id: string }).id === later),
    );
    assert.equal('state' in (told['task'] as object), false);
    await server.tasks.remove(ada, mine);
    assert.equal((await listener.type('removed'))['task'], mine);
  });

  it('shows a task while it is shared, and lets go of its events when it is not', async () => {
    const hers = await server.tasks.add(grace);
    const listener = await server.socket('/api/v1/stream').open();
    await listener.type('tasks');
    listener.send({ type: 'follow', task: hers, after: 0 });
    const refused = await listener.type('problem');
    assert.equal((refused['problem'] as { code: string }).code, 'task_unknown');
    server.tasks.share(hers, true);
    await listener.type('task');
    listener.send({ type: 'follow', task: hers, after: 0 });
    await listener.until(() => listener.numbers(hers).length === 1);
    server.tasks.share(hers, false);
    assert.equal((await listener.type('removed'))['task'], hers);
    await listener.until((messages) => messages.filter(({ type }) => type === 'problem').length === 2);
    await server.tasks.say(hers, note('secret'));
    await server.tasks.add(ada);
    await listener.until((messages) => messages.filter(({ type }) => type === 'task').length === 2);
    assert.ok(!JSON.stringify(listener.messages).includes('secret'));
    await comes(() => server.tasks.readers === 0);
  });

  it('goes on for the others when the one may not see the task any more for whom it was read first', async () => {
    const id = await server.tasks.add(ada);
    server.tasks.share(id, true);
    const [first, second] = [server.socket('/api/v1/stream', 'grace'), server.socket('/api/v1/stream')];
    for (const listener of [first, second]) {
      await listener.open();
      listener.send({ type: 'follow', task: id, after: 0 });
      await listener.until(() => listener.numbers(id).length === 1);
    }
    server.tasks.share(id, false);
    for (let i = 0; i < 20; i++) {
      await server.tasks.say(id, note(`${i}`));
      await pause(2);
    }
    await first.type('problem');
    await second.until(() => second.numbers(id).length === 21);
    assert.deepEqual(second.numbers(id), upTo(21));
    assert.equal(first.numbers(id).length, 1);
    assert.equal(server.tasks.readers, 1);
  });

  it('follows many tasks at once, each in order and once, and stops following', async () => {
    const ids = await Promise.all(upTo(5).map(() => server.tasks.add(ada)));
    const listener = await server.socket('/api/v1/stream').open();
    for (const id of ids) listener.send({ type: 'follow', task: id, after: 0 });
    for (let i = 0; i < 50; i++) {
      for (const id of ids) void server.tasks.say(id, note(`${i}`), note('and'));
      if (i % 10 === 0) await pause(5);
    }
    for (const id of ids) {
      await listener.until(() => listener.numbers(id).length >= 101);
      assert.deepEqual(listener.numbers(id), upTo(101));
    }
    const [one = '', ...others] = ids;
    listener.send({ type: 'unfollow', task: one });
    for (const id of others) await server.tasks.finish(id);
    await server.tasks.say(one, note('unheard'));
    await listener.until(
      (messages) => messages.filter(({ type }) => type === 'over').length === others.length,
    );
    assert.equal(listener.numbers(one).length, 101);
    await comes(() => server.tasks.readers === 0);
  });

  it('goes on after the last event that was seen, from the file and live, while all goes on', async () => {
    const id = await server.tasks.add(ada);
    const over = new AbortController();
    const writing = (async () => {
      for (let i = 0; !over.signal.aborted; i++) {
        await server.tasks.say(id, ...upTo(50).map((j) => note(`${i}.${j} ${'x'.repeat(500)}`)));
        await pause(1);
      }
    })();
    const seen: number[] = [];
    for (let round = 0; round < 5; round++) {
      const listener = await server.socket('/api/v1/stream').open();
      listener.send({ type: 'follow', task: id, after: seen.length });
      await listener.until(() => listener.numbers(id).length > 500);
      listener.socket.terminate();
      await listener.close();
      seen.push(...listener.numbers(id));
    }
    over.abort();
    await writing;
    assert.deepEqual(seen, upTo(seen.length));
  });

  it('tells who lags behind all of it, from the file, and nobody waits for them', async () => {
    const id = await server.tasks.add(ada);
    const [slow, fast] = [server.socket('/api/v1/stream'), server.socket('/api/v1/stream')];
    await Promise.all([slow.open(), fast.open()]);
    for (const listener of [slow, fast]) {
      listener.send({ type: 'follow', task: id, after: 0 });
      await listener.until(() => listener.numbers(id).length === 1);
    }
    slow.socket.pause();
    const count = 20_000;
    for (let i = 0; i < count / 100; i++)
      await server.tasks.say(id, ...upTo(100).map(() => note('y'.repeat(1000))));
    await fast.until(() => fast.numbers(id).length === count + 1);
    assert.deepEqual(fast.numbers(id), upTo(count + 1));
    assert.ok(slow.numbers(id).length < count);
    slow.socket.resume();
    await slow.until(() => slow.numbers(id).length === count + 1);
    assert.deepEqual(slow.numbers(id), upTo(count + 1));
  });

  it('brings long events whole, and what else is to be told between them', async () => {
    const id = await server.tasks.add(ada);
    const listener = await server.socket('/api/v1/stream').open();
    listener.send({ type: 'follow', task: id, after: 0 });
    const lengths = [3 << 20, 10, 1 << 20, 64 << 10, 100_000, (60 << 10) - 100, 1];
    for (const length of lengths) {
      await server.tasks.say(id, note('é'.repeat(length)));
      server.tasks.amend(id, { title: `${length}` });
    }
    await listener.until(() => listener.numbers(id).length === lengths.length + 1);
    const told = listener.messages.flatMap(({ type, events = [] }) => (type === 'events' ? events : []));
    assert.deepEqual(
      told.slice(1).map((event) => event.type === 'notice' && event.text.length),
      lengths,
    );
    await listener.until((messages) =>
      messages.some(({ type, task }) => type === 'task' && (task as { title: string }).title === '1'),
    );
    const lines = (await server.text(`/api/v1/tasks/${id}/events?follow=false`)).trim().split('\n');
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { n: number }).n),
      upTo(lengths.length + 1),
    );
  });

  it('answers a message that is none with a close and its code', async () => {
    for (const wrong of [
      'nonsense',
      '{"type":"follow"}',
      '{"type":"follow","task":"../etc","after":0}',
      '[]',
    ]) {
      const listener = await server.socket('/api/v1/stream').open();
      listener.send(wrong);
      assert.equal((await listener.close()).code, 4400, wrong);
    }
    const listener = await server.socket('/api/v1/stream').open();
    listener.socket.send(Buffer.from([1, 2, 3]));
    assert.equal((await listener.close()).code, 4400);
  });

  it('closes when the credential is revoked or loses its right', async () => {
    const listener = await server.socket('/api/v1/stream').open();
    await listener.type('tasks');
    server.revoked.add('ada');
    assert.equal((await listener.close()).code, 4401);
  });

  it('shows what a new role may see, and hides what it may not', async () => {
    const hers = await server.tasks.add(grace);
    const listener = await server.socket('/api/v1/stream').open();
    await listener.type('tasks');
    server.users.set('ada', aUser('ada', 'admin'));
    const shown = await listener.type('task');
    assert.equal((shown['task'] as { id: string }).id, hers);
    listener.send({ type: 'follow', task: hers, after: 0 });
    await listener.until(() => listener.numbers(hers).length === 1);
    server.users.set('ada', ada);
    assert.equal((await listener.type('removed'))['task'], hers);
    await listener.type('problem');
  });

  it('takes a dead client for gone, and an idle one for alive', async () => {
    const { heartbeatMs, silenceMs } = server.hub.limits;
    const time = new AheadOfTime();
    try {
      const alive = await server.socket('/api/v1/stream').open();
      const dead = await server.socket('/api/v1/stream').open();
      dead.socket.pause();
      const asked = once(alive.socket, 'ping');
      time.pass(heartbeatMs + 1);
      await asked;
      // What the server answers after the client's answer shows that it has heard that one.
      const heard = once(alive.socket, 'pong');
      alive.socket.ping();
      await heard;
      time.pass(silenceMs - heartbeatMs);
      await comes(() => server.hub.counters().open === 1);
      await pause(200);
      assert.equal(alive.closed, undefined);
      assert.equal(server.hub.counters().open, 1);
    } finally {
      time.dispose();
    }
  });

  it('says farewell when the server closes', async () => {
    const listener = await server.socket('/api/v1/stream').open();
    await listener.type('tasks');
    server.hub.dispose();
    server.hub.dispose();
    assert.equal((await listener.close()).code, 1001);
  });
});

describe('what a task has made', () => {
  let server: StreamServer;
  let id: string;
  beforeEach(async () => {
    server = await StreamServer.start();
    id = await server.tasks.add(ada);
  });
  afterEach(() => server.stop());

  const said = (text: string): UnnumberedEvent => ({ type: 'text', text, t: 2, s: 1 });

  it('is a log for people, without what steers a terminal', async () => {
    await server.tasks.say(id, said('\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u202ehidden'), note('two'));
    const answer = await server.fetch(`/api/v1/tasks/${id}/logs?follow=false`);
    assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
    const text = await answer.text();
    assert.match(text, /^task .*\nmodel: demonstration model/);
    assert.ok(text.endsWith('\nred  ‹U+202E›hidden\n! two\n'), text);
    assert.ok(!text.includes('\u001b'));
  });

  it('is a log that goes on, and can begin at its last lines', async () => {
    await server.tasks.say(id, ...upTo(500).map((n) => note(`line ${n}`)));
    assert.equal(
      await server.text(`/api/v1/tasks/${id}/logs?follow=false&tail=2`),
      '! line 499\n! line 500\n',
    );
    const whole = await server.text(`/api/v1/tasks/${id}/logs?follow=false`);
    assert.equal(await server.text(`/api/v1/tasks/${id}/logs?follow=false&tail=10000`), whole);
    const answer = await server.fetch(`/api/v1/tasks/${id}/logs?tail=1`);
    const reading = answer.text();
    await server.tasks.say(id, note('later'));
    await server.tasks.finish(id);
    assert.equal(await reading, '! line 500\n! later\n■ succeeded: It succeeded.\n');
  });

  it('is a log that ends with a word for who may not read it any more', async () => {
    server.tasks.share(id, true);
    const answer = await server.fetch(`/api/v1/tasks/${id}/logs`, { user: 'grace' });
    const reading = answer.text();
    await pause(50);
    server.tasks.share(id, false);
    assert.match(await reading, /! There is no task .*, or you may not see it\.\n$/);
  });

  it('is a bundle, for what the client does not have', async () => {
    server.tasks.bundleBytes = [Buffer.from('# v2 git bundle\n'), Buffer.from([0, 255])];
    const [a, b] = ['a'.repeat(40), 'b'.repeat(40)];
    const answer = await server.fetch(`/api/v1/tasks/${id}/bundle?have=${a},${b}`);
    assert.equal(answer.headers.get('content-type'), 'application/x-git-bundle');
    assert.match(answer.headers.get('content-disposition') ?? '', /^attachment/);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), Buffer.concat(server.tasks.bundleBytes));
    const many = upTo(3000).map((n) => n.toString(16).padStart(40, '0'));
    const posted = await server.fetch(`/api/v1/tasks/${id}/bundle`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ have: many }),
    });
    assert.equal(posted.status, 200);
    await posted.arrayBuffer();
    await (await server.fetch(`/api/v1/tasks/${id}/bundle`)).arrayBuffer();
    assert.deepEqual(server.tasks.haves, [[a, b], many, []]);
    assert.equal((await server.fetch(`/api/v1/tasks/${id}/bundle?have=--upload-pack`)).status, 400);
    assert.equal((await server.fetch(`/api/v1/tasks/${id}/bundle`, { user: 'grace' })).status, 404);
  });

  it('is a diff of the task’s own commits, and of no others', async () => {
    server.tasks.patchText = 'diff --git a/a b/a\n';
    const url = `/api/v1/tasks/${id}/diff`;
    const answer = await server.fetch(url);
    assert.equal(answer.headers.get('content-type'), 'text/x-diff; charset=utf-8');
    assert.equal(await answer.text(), server.tasks.patchText);
    const { commit } = server.tasks.state(ada, id).spec.snapshot;
    const other = 'c'.repeat(40);
    assert.equal((await server.fetch(`${url}?from=${commit}&to=${commit}`)).status, 200);
    assert.equal((await server.fetch(`${url}?from=${commit}&to=${other}`)).status, 404);
    assert.equal((await server.fetch(`${url}?from=${commit}`)).status, 400);
    assert.equal((await server.fetch(`${url}?from=--output=x&to=${commit}`)).status, 400);
    assert.deepEqual(server.tasks.ranges, [undefined, { from: commit, to: commit }]);
  });

  it('is a list of files with names of any bytes, and their contents as bytes', async () => {
    const none = '0'.repeat(40);
    const blob = 'd'.repeat(40);
    const change = {
      status: 'added' as const,
      oldMode: '000000',
      newMode: '100644',
      oldBlob: none,
      newBlob: blob,
      binary: false,
    };
    server.tasks.detailed = [
      { ...change, path: 'ä.txt', rawPath: Buffer.from('ä.txt') },
      { ...change, path: '\ufffd.txt', rawPath: Buffer.from([0xff, 0x2e, 0x74, 0x78, 0x74]) },
    ];
    await server.tasks.say(id, {
      type: 'commit',
      s: 1,
      t: 1,
      commit: {
        sha: blob,
        parents: [],
        author: '',
        email: '',
        date: 1,
        subject: '',
        body: '',
        files: [],
      },
    });
    const found = JSON.parse(await server.text(`/api/v1/tasks/${id}/changes`)) as { changes: object[] };
    assert.deepEqual(found.changes, [
      { ...change, path: 'ä.txt' },
      { ...change, path: '\ufffd.txt', rawPath: '/y50eHQ=' },
    ]);
    server.tasks.blobs.set(blob, Buffer.from('<script>alert(1)</script>'));
    const answer = await server.fetch(`/api/v1/tasks/${id}/blobs/${blob}`);
    assert.equal(answer.headers.get('content-type'), 'application/octet-stream');
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    assert.match(answer.headers.get('content-disposition') ?? '', /^attachment/);
    assert.match(answer.headers.get('content-security-policy') ?? '', /sandbox/);
    assert.equal(await answer.text(), '<script>alert(1)</script>');
    assert.equal((await server.fetch(`/api/v1/tasks/${id}/blobs/${none}`)).status, 404);
    assert.equal((await server.fetch(`/api/v1/tasks/${id}/blobs/HEAD`)).status, 400);
  });

  it('is a ledger, as JSON or for a spreadsheet', async () => {
    const request = (host: string, verdict: 'allowed' | 'blocked', n: number): UnnumberedEvent => ({
      type: 'request',
      id: n,
      g: n,
      t: 2000,
      started: 1000,
      kind: 'tunnel',
      host,
      port: 443,
      verdict,
      bytesOut: 10,
      bytesIn: 20,
    });
    await server.tasks.say(
      id,
      { type: 'tool_use', id: 't1', name: 'Bash', input: { command: 'npm ci' }, t: 900, s: 1 },
      request('registry.example.com', 'allowed', 1),
      request('=cmd()', 'blocked', 2),
    );
    const url = `/api/v1/tasks/${id}/ledger`;
    const rows = JSON.parse(await server.text(url)) as Record<string, unknown>[];
    assert.deepEqual(
      rows.map(({ host, verdict, tool, milliseconds }) => ({ host, verdict, tool, milliseconds })),
      [
        { host: 'registry.example.com', verdict: 'allowed', tool: 'Bash', milliseconds: 1000 },
        { host: '=cmd()', verdict: 'blocked', tool: 'Bash', milliseconds: 1000 },
      ],
    );
    const csv = await server.fetch(`${url}?show=blocked`, { headers: { accept: 'text/csv' } });
    assert.equal(csv.headers.get('content-type'), 'text/csv; charset=utf-8');
    const text = await csv.text();
    assert.equal(text.trim().split('\r\n').length, 2);
    assert.ok(text.includes('"\'=cmd()"'), text);
    assert.equal((await server.fetch(url, { user: 'grace' })).status, 404);
  });
});
