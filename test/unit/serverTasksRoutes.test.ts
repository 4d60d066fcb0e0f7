import assert from 'node:assert/strict';
import type { Problem, TaskPage, TaskView } from '../../src/protocol/runnerApi.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const url = 'https://forge.example.invalid/ada/demo';

describe('routes of the tasks', () => {
  let server: TestServer;
  let token: string;
  let reader: string;

  before(async () => {
    server = await startTestServer();
    const session = await server.user('ada', 'member');
    token = await server.token(session, ['tasks:read', 'tasks:write']);
    reader = await server.token(session, ['tasks:read']);
  });
  after(() => server.close());

  const submit = (prompt: string, more: object = {}): Promise<TaskView> =>
    server.ask('/api/v1/tasks', {
      token,
      method: 'POST',
      json: { prompt, source: { kind: 'url', url }, ...more },
    });

  async function failed(id: string): Promise<TaskView> {
    for (let tries = 0; tries < 4000; tries++) {
      const view = await server.ask<TaskView>(`/api/v1/tasks/${id}`, { token });
      if (view.stage === 'failed') return view;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('It did not fail');
  }

  async function problem(path: string, init: Parameters<TestServer['fetch']>[1]): Promise<Problem> {
    const answer = await server.fetch(path, init);
    assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
    return (await answer.json()) as Problem;
  }

  it('take a task in, show it, change it, repeat it and remove it', async () => {
    const { id, stage } = await submit('First words', { priority: 3 });
    assert.equal(stage, 'fetching');
    assert.equal((await failed(id)).problem?.code, 'repository_unreachable');
    const changed = await server.ask<TaskView>(`/api/v1/tasks/${id}`, {
      token,
      method: 'PATCH',
      json: { title: '  A title ', shared: true, priority: -1 },
    });
    assert.deepEqual([changed.title, changed.shared, changed.priority], ['A title', true, -1]);
    const again = await server.fetch(`/api/v1/tasks/${id}/retry`, { token, method: 'POST' });
    assert.equal(again.status, 201);
    const second = (await again.json()) as TaskView;
    assert.deepEqual([second.retryOf, second.shared], [id, true]);
    await failed(second.id);
    for (const one of [id, second.id])
      assert.deepEqual(await server.ask(`/api/v1/tasks/${one}`, { token, method: 'DELETE' }), {});
    assert.equal((await problem(`/api/v1/tasks/${id}`, { token })).code, 'task_unknown');
    const actions = server.running.context.store
      .prepare("SELECT action, subject, user FROM audit WHERE action LIKE 'task.%' ORDER BY n")
      .all();
    assert.deepEqual(
      actions.map(({ action, subject }) => [action, subject]),
      [
        ['task.submit', id],
        ['task.change', id],
        ['task.retry', second.id],
        ['task.remove', id],
        ['task.remove', second.id],
      ],
    );
    assert.ok(actions.every(({ user }) => typeof user === 'string' && user !== ''));
  });

  it('list in pages, and by what the query says', async () => {
    const ids: string[] = [];
    for (const word of ['red', 'green', 'blue']) ids.unshift((await submit(`Paint it ${word}`)).id);
    for (const id of ids) await failed(id);
    const list = (query: string): Promise<TaskPage> => server.ask(`/api/v1/tasks?${query}`, { token });
    const first = await list('limit=2');
    assert.deepEqual(
      first.tasks.map(({ id }) => id),
      ids.slice(0, 2),
    );
    const second = await list(`limit=2&cursor=${first.next ?? ''}`);
    assert.deepEqual(
      second.tasks.map(({ id }) => id),
      ids.slice(2),
    );
    assert.equal(second.next, undefined);
    assert.equal((await list('q=green')).tasks.length, 1);
    assert.equal((await list('owner=me&state=failed,queued')).tasks.length, 3);
    assert.equal((await list('state=running')).tasks.length, 0);
    assert.equal((await list(`repository=${encodeURIComponent(url)}`)).tasks.length, 3);
    for (const query of ['limit=0', 'limit=501', 'limit=x', 'cursor=x', 'state=A', 'q='.padEnd(400, 'x')])
      assert.equal((await problem(`/api/v1/tasks?${query}`, { token })).status, 400, query);
  });

  it('say in one way what a task cannot do now, and what to do', async () => {
    const { id } = await submit('Nothing to say');
    await failed(id);
    for (const [path, json] of [
      ['messages', { text: 'Hello' }],
      ['budget', { usd: 5 }],
      ['egress', { allow: 'task', mode: 'open' }],
      ['confirm', {}],
    ] as const) {
      const told = await problem(`/api/v1/tasks/${id}/${path}`, { token, method: 'POST', json });
      assert.deepEqual([told.status, told.code], [409, 'conflict'], path);
      assert.ok(told.mend.length > 5);
    }
    assert.equal((await server.fetch(`/api/v1/tasks/${id}/cancel`, { token, method: 'POST' })).status, 200);
    const key = { 'idempotency-key': 'x'.repeat(300) };
    const json = { prompt: 'x', source: { kind: 'url', url } };
    assert.equal(
      (await problem('/api/v1/tasks', { token, method: 'POST', json, headers: key })).code,
      'invalid_input',
    );
    const upload = await problem('/api/v1/uploads/0123456789abcdef0123456789abcdef', {
      token,
      method: 'PATCH',
      json: { bytes: 1 },
      headers: { 'upload-offset': '0' },
    });
    assert.deepEqual([upload.status, upload.code], [400, 'invalid_input']);
  });

  it('change nothing for a token that may only read', async () => {
    const { id } = await submit('Only to be read');
    await failed(id);
    assert.equal((await server.fetch(`/api/v1/tasks/${id}`, { token: reader })).status, 200);
    for (const [method, path] of [
      ['POST', '/api/v1/tasks'],
      ['PATCH', `/api/v1/tasks/${id}`],
      ['DELETE', `/api/v1/tasks/${id}`],
      ['POST', `/api/v1/tasks/${id}/retry`],
      ['POST', '/api/v1/uploads'],
      ['POST', '/api/v1/uploads/known'],
    ] as const) {
      const init = { token: reader, method, ...(method === 'DELETE' ? {} : { json: {} }) };
      assert.equal((await problem(path, init)).status, 403, `${method} ${path}`);
    }
  });

  it('answer what was spent today', async () => {
    assert.deepEqual(await server.ask('/api/v1/spend', { token }), { usd: 0 });
  });
});
