import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { noUsage } from '../../src/protocol/usage.ts';
import type { UnnumberedEvent } from '../../src/runner/taskLog.ts';
import { emptyBundle, emptyCommit } from '../../src/server/compat/emptyRepository.ts';
import { queryRoute } from '../../src/server/compat/queryRoute.ts';
import { compatRoutes } from '../../src/server/compat/routes.ts';
import { ada, type Listener, StreamServer } from '../support/streamServer.ts';

const run = promisify(execFile);
const t = 5;
const session: UnnumberedEvent = {
  type: 'session',
  sessionId: 's',
  model: 'm',
  version: '1',
  tools: [],
  t,
  s: 1,
};
const text = (words: string): UnnumberedEvent => ({ type: 'text', text: words, t, s: 2 });
const result = (words: string): UnnumberedEvent => ({
  type: 'result',
  isError: false,
  text: words,
  durationMs: 1,
  costUsd: 0,
  turns: 1,
  usage: noUsage,
  t,
  s: 3,
});
const turn = (number: number, outcome: 'succeeded' | 'failed' = 'succeeded'): UnnumberedEvent => ({
  type: 'turn',
  number,
  outcome,
  ...(outcome === 'failed' ? { message: 'The agent has failed.' } : {}),
  t,
  s: 4,
});

function post(server: StreamServer, path: string, body: unknown, headers = {}): Promise<Response> {
  return server.fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

describe('the HTTP API of Claude Code containers: tasks', () => {
  let server: StreamServer;
  beforeEach(async () => {
    server = await StreamServer.start({}, compatRoutes);
  });
  afterEach(() => server.stop());

  it('takes a prompt, says that it runs, and how it ended', async () => {
    const prompt = 'In the acme-api repo, fix the token refresh bug';
    const answer = await post(server, '/task', { prompt });
    assert.equal(answer.status, 200);
    const task = (await answer.json()) as { id: string; status: string; prompt: string; startedAt: string };
    assert.equal(task.status, 'running');
    assert.equal(task.prompt, prompt);
    assert.equal(new Date(task.startedAt).toISOString(), task.startedAt);
    const { submission } = server.tasks.submissions[0]!;
    assert.deepEqual(submission.source, { kind: 'find', confirm: false });
    assert.deepEqual(submission.switches, {
      commitEach: true,
      autoPush: true,
      draftEarly: true,
      autoPullRequest: true,
    });
    const running = await (await server.fetch(`/task/${task.id}`)).json();
    assert.deepEqual(running, { ...task });
    server.tasks.amend(task.id, {
      pullRequest: { url: 'https://forge.example.com/pull/7', number: 7, state: 'open' },
    });
    await server.tasks.finish(task.id);
    const done = (await (await server.fetch(`/task/${task.id}`)).json()) as Record<string, unknown>;
    assert.equal(done['status'], 'completed');
    assert.equal(done['pr_url'], 'https://forge.example.com/pull/7');
    assert.ok(Date.parse(String(done['completedAt'])) >= Date.parse(task.startedAt));
  });

  it('lists the own tasks in an array, newest first, with why they failed', async () => {
    const first = await server.tasks.add(ada, { prompt: 'first' });
    await server.tasks.say(first, {
      type: 'ended',
      outcome: 'failed',
      kind: 'exit',
      exitCode: 2,
      message: 'The agent ended with exit code 2.',
      t,
    });
    const second = await server.tasks.add(ada, { prompt: 'second' });
    await server.tasks.finish(second, 'timed_out');
    const third = await server.tasks.add(ada, { stage: 'failed', begun: false });
    server.tasks.amend(third, {
      stage: 'failed',
      problem: { code: 'auth_refused', message: 'The credential was refused.', mend: 'Renew it.' },
    });
    const list = (await (await server.fetch('/tasks')).json()) as Record<string, unknown>[];
    assert.deepEqual(
      list.map(({ id, status, error, errorType }) => ({ id, status, error, errorType })),
      [
        { id: third, status: 'failed', error: 'The credential was refused.', errorType: 'auth_expired' },
        {
          id: second,
          status: 'failed',
          error: 'The task has reached its time limit.',
          errorType: 'timeout',
        },
        { id: first, status: 'failed', error: 'The agent ended with exit code 2.', errorType: 'exit_code' },
      ],
    );
    assert.deepEqual(await (await server.fetch('/tasks', { user: 'grace' })).json(), []);
  });

  it('streams the log of a task as text until it is over', async () => {
    const id = await server.tasks.add(ada);
    const answer = await server.fetch(`/task/${id}/logs`);
    assert.match(answer.headers.get('content-type') ?? '', /^text\/plain/);
    const reading = answer.text();
    await server.tasks.say(id, text('Hello.'));
    await server.tasks.finish(id);
    assert.match(await reading, /\nHello\.\n■ succeeded: It succeeded\.\n$/);
  });

  it('answers with an error and its words to what is not right', async () => {
    const wrong: [Promise<Response>, number, RegExp][] = [
      [post(server, '/task', {}), 400, /prompt is required/],
      [post(server, '/task', { prompt: '  ' }), 400, /prompt is required/],
      [post(server, '/task', { prompt: 7 }), 400, /prompt is required/],
      [post(server, '/query', { prompt: null }), 400, /prompt is required/],
      [post(server, '/task', { prompt: 'x'.repeat(100_001) }), 413, /100,001 characters/],
      [post(server, '/task', '{'), 400, /./],
      [post(server, '/task', '[]'), 400, /./],
      [post(server, '/query', { prompt: 'x', options: { model: {} } }), 400, /model/],
      [server.fetch('/task/abc123de'), 404, /There is no/],
      [server.fetch('/task/0000000000nobody/logs'), 404, /There is no/],
      [server.fetch('/tasks', { user: 'nobody' }), 401, /token/],
    ];
    for (const [asking, status, words] of wrong) {
      const answer = await asking;
      const body = (await answer.json()) as Record<string, string>;
      assert.equal(answer.status, status, JSON.stringify(body));
      assert.match(body['error'] ?? '', words);
      assert.equal(body['error'], body['detail']);
      assert.ok(body['code'] !== undefined && body['mend'] !== undefined);
    }
    const anonymous = await fetch(`${server.url}/tasks`);
    assert.equal(anonymous.status, 401);
    assert.ok('error' in ((await anonymous.json()) as object));
    assert.deepEqual(server.tasks.submissions, []);
  });

  it('takes the token in either header', async () => {
    for (const headers of [{ authorization: 'Bearer ada' }, { 'x-api-key': 'ada' }]) {
      assert.equal((await fetch(`${server.url}/tasks`, { headers: headers as never })).status, 200);
    }
  });
});

describe('the HTTP API of Claude Code containers: questions', () => {
  let server: StreamServer;
  beforeEach(async () => {
    server = await StreamServer.start({}, compatRoutes);
  });
  afterEach(() => server.stop());

  it('are answered with what the agent said in the end', async () => {
    server.tasks.onSubmit = (id) => {
      void server.tasks.say(id, session, text('Let me see.'), result('\u001b[1mFour.\u001b[0m'));
      void server.tasks.finish(id);
    };
    const answer = await post(server, '/query', { prompt: 'What is 2+2?', options: { model: 'claude-x' } });
    assert.equal(answer.status, 200);
    const { timestamp, ...rest } = (await answer.json()) as { timestamp: string };
    assert.deepEqual(rest, { success: true, response: 'Four.', messageCount: 3 });
    assert.equal(new Date(timestamp).toISOString(), timestamp);
    const { submission } = server.tasks.submissions[0]!;
    assert.equal(submission.model, 'claude-x');
    assert.equal(submission.source.kind === 'snapshot' && submission.source.snapshot.commit, emptyCommit);
    await post(server, '/query', { prompt: 'And again?' });
    assert.equal(server.tasks.uploads.length, 1);
    assert.deepEqual(server.tasks.cancelled, []);
  });

  it('say why there is no answer', async () => {
    server.tasks.onSubmit = (id) =>
      void server.tasks.say(id, {
        type: 'ended',
        outcome: 'failed',
        kind: 'auth_refused',
        message: 'The service refused the credential.',
        mend: 'Renew it.',
        t,
      });
    const answer = await post(server, '/query', { prompt: 'Hello?' });
    assert.equal(answer.status, 503);
    const body = (await answer.json()) as Record<string, unknown>;
    assert.equal(body['success'], false);
    assert.equal(body['error'], 'The service refused the credential.');
    assert.equal(body['code'], 'auth_refused');
  });

  it('are withdrawn when the client goes away', async () => {
    const leaving = new AbortController();
    const asked = new Promise<void>((resolve) => (server.tasks.onSubmit = () => resolve()));
    const asking = server
      .fetch('/query', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"prompt":"Think long."}',
        signal: leaving.signal,
      })
      .catch(() => undefined);
    await asked;
    leaving.abort();
    await asking;
    while (server.tasks.cancelled.length === 0) await pause(5);
    assert.equal(server.tasks.readers, 0);
  });

  it('are withdrawn when their time is over', async () => {
    await server.stop();
    server = await StreamServer.start({}, (router, context) => queryRoute(router, context, 100));
    const answer = await post(server, '/query', { prompt: 'Think long.' });
    assert.equal(answer.status, 504);
    const body = (await answer.json()) as Record<string, unknown>;
    assert.match(String(body['error']), /no answer within/);
    assert.equal(body['success'], false);
    assert.equal(server.tasks.cancelled.length, 1);
  });

  it('begin in a commit that git takes, which holds nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sallyport-empty-'));
    try {
      const bundle = emptyBundle();
      await writeFile(join(folder, 'a.bundle'), bundle);
      const git = async (...args: string[]): Promise<string> =>
        (await run('git', ['-C', folder, ...args])).stdout.trim();
      await git('init', '-q', '--bare');
      await git('-c', 'fetch.fsckObjects=true', 'bundle', 'verify', 'a.bundle');
      await git('fetch', '-q', 'a.bundle', 'refs/sallyport/snapshot:refs/heads/main');
      assert.equal(await git('rev-parse', 'main'), emptyCommit);
      assert.equal(await git('ls-tree', 'main'), '');
      await git('fsck', '--strict');
      assert.deepEqual(
        createHash('sha256').update(emptyBundle()).digest(),
        createHash('sha256').update(bundle).digest(),
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('the HTTP API of Claude Code containers: conversations', () => {
  let server: StreamServer;
  beforeEach(async () => {
    server = await StreamServer.start({}, compatRoutes);
  });
  afterEach(() => server.stop());

  const types = (listener: Listener): string[] => listener.messages.map(({ type }) => type);

  it('go on from prompt to prompt, with text as it is said', async () => {
    const listener = server.socket('/ws');
    await listener.type('ready');
    const made = new Promise<string>((resolve) => (server.tasks.onSubmit = resolve));
    listener.send({ type: 'query', prompt: 'Who are you?', options: { model: 'claude-x' } });
    const id = await made;
    await server.tasks.say(id, session, text('I am'));
    const said = await listener.type('text');
    assert.equal(said['text'], 'I am');
    assert.deepEqual(types(listener), ['ready', 'text']);
    await server.tasks.say(id, text('an agent.'), result('I am an agent.'), turn(1));
    const done = await listener.type('done');
    assert.equal(done['response'], 'I am an agent.');
    assert.equal(done['messageCount'], 4);
    assert.equal(server.tasks.submissions[0]?.submission.conversation, true);

    server.tasks.onSend = (task, words) => void server.tasks.say(task, text(`You said: ${words}`), turn(2));
    listener.send('And now?');
    await listener.until((messages) => messages.filter(({ type }) => type === 'done').length === 2);
    assert.deepEqual(server.tasks.sent, [{ id, text: 'And now?' }]);
    assert.deepEqual(types(listener), ['ready', 'text', 'text', 'done', 'text', 'done']);
    assert.equal(listener.messages[4]?.['text'], 'You said: And now?');

    listener.socket.close();
    while (server.tasks.cancelled.length === 0) await pause(5);
    assert.deepEqual(server.tasks.cancelled, [id]);
  });

  it('say what goes wrong, and take the next prompt', async () => {
    const listener = server.socket('/ws');
    for (const wrong of ['{"type":"query"}', '{"prompt":""}', '[]', '7']) {
      const before = listener.messages.length;
      await listener.type('ready');
      listener.send(wrong);
      const error = await listener.until((messages) =>
        messages.slice(before).find(({ type }) => type === 'error'),
      );
      assert.equal(typeof error['error'], 'string', wrong);
    }
    const made = new Promise<string>((resolve) => (server.tasks.onSubmit = resolve));
    listener.send({ prompt: 'Try' });
    const first = await made;
    listener.send({ prompt: 'Too early' });
    await listener.until((messages) => messages.find(({ code }) => code === 'task_busy'));
    await server.tasks.say(first, {
      type: 'ended',
      outcome: 'failed',
      kind: 'rate_limited',
      message: 'Too much.',
      t,
    });
    await listener.until((messages) => messages.find(({ code }) => code === 'capacity_reached'));
    server.tasks.onSubmit = (id) => void server.tasks.say(id, text('Here again.'), turn(1));
    listener.send({ prompt: 'Once more' });
    assert.equal((await listener.type('done'))['response'], 'Here again.');
    assert.equal(server.tasks.submissions.length, 2);
    assert.deepEqual(server.tasks.sent, []);
  });

  it('stop when they are told to', async () => {
    const listener = server.socket('/ws');
    await listener.type('ready');
    const made = new Promise<string>((resolve) => (server.tasks.onSubmit = resolve));
    listener.send({ prompt: 'Think long' });
    const id = await made;
    await pause(20);
    listener.send({ type: 'cancel' });
    assert.equal((await listener.type('error'))['code'], 'cancelled');
    assert.deepEqual(server.tasks.cancelled, [id]);
  });

  it('end when the connection goes in the middle of an answer', async () => {
    const listener = server.socket('/ws');
    await listener.type('ready');
    const made = new Promise<string>((resolve) => (server.tasks.onSubmit = resolve));
    listener.send({ prompt: 'Think long' });
    const id = await made;
    listener.socket.terminate();
    while (server.tasks.cancelled.length === 0) await pause(5);
    assert.deepEqual(server.tasks.cancelled, [id]);
    while (server.tasks.readers > 0) await pause(5);
  });

  it('are for nobody without a credential, and end with it', async () => {
    const nobody = server.socket('/ws', 'nobody');
    await nobody.close();
    assert.deepEqual(nobody.messages, []);
    const listener = server.socket('/ws');
    await listener.type('ready');
    server.revoked.add('ada');
    assert.equal((await listener.close()).code, 4401);
  });
});
