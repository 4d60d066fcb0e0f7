import assert from 'node:assert/strict';
import WebSocket from 'ws';
import type { TaskView } from '../../src/protocol/runnerApi.ts';
import { engines } from '../support/engines.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { Listener, upTo } from '../support/streamServer.ts';

/** Where the engine makes no difference: what is tried is what stands between a client and the agent. */
describe('clients of the HTTP API of Claude Code containers, on a real server', () => {
  let server: TestServer;
  let token: string;
  before(async () => {
    server = await startTestServer({ engine: (await engines()).docker });
    token = await server.adminToken();
  });
  after(() => server.close());

  function socket(path: string): Listener {
    const url = `${server.url.replace('http', 'ws')}${path}`;
    return new Listener(new WebSocket(url, { headers: { 'x-api-key': token } }));
  }

  it('get an answer to a question, from an agent in a sandbox without a repository', async () => {
    server.turns = [{ text: 'Four, as ever.' }];
    const answer = await server.ask<Record<string, unknown>>('/query', {
      method: 'POST',
      token,
      json: { prompt: 'What is two and two?' },
    });
    assert.equal(answer['success'], true);
    assert.equal(answer['response'], 'Four, as ever.');
    assert.ok(Number(answer['messageCount']) >= 3);
    const [task] = await server.ask<{ id: string; status: string; prompt: string }[]>('/tasks', { token });
    assert.equal(task?.status, 'completed');
    const log = await (await server.fetch(`/task/${task.id}/logs`, { token })).text();
    assert.match(log, /\nFour, as ever\.\n/);
    assert.match(log, /■ succeeded/);
  });

  it('have a conversation over one WebSocket, and the same events come by every way', async () => {
    server.turns = [{ text: 'I am an agent.' }, { text: 'Still the same one.' }];
    const watching = socket('/api/v1/stream');
    await watching.type('tasks');
    const listener = socket('/ws');
    await listener.type('ready');
    const prompt = 'Who are you?';
    listener.send({ prompt });
    const done = await listener.type('done');
    assert.equal(done['response'], 'I am an agent.');
    // The one before may still be told of.
    const task = await watching.until((messages) =>
      messages.map(taskOf).find((one) => one?.prompt === prompt),
    );
    watching.send({ type: 'follow', task: task.id, after: 0 });
    listener.send({ prompt: 'And now?' });
    await listener.until((messages) => messages.filter(({ type }) => type === 'done').length === 2);
    assert.equal(listener.messages.at(-1)?.['response'], 'Still the same one.');
    listener.socket.close();
    await watching.type('over');
    const numbers = watching.numbers(task.id);
    assert.deepEqual(numbers, upTo(numbers.length));
    const events = await (await server.fetch(`/api/v1/tasks/${task.id}/events`, { token })).text();
    const lines = events
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { n: number; type: string });
    assert.deepEqual(
      lines.map(({ n }) => n),
      numbers,
    );
    assert.match(lines.at(-1)?.type ?? '', /^sandbox_(kept|removed)$/);
    watching.socket.close();
  });
});

function taskOf(message: { type: string }): TaskView | undefined {
  return message.type === 'task' ? (message as unknown as { task: TaskView }).task : undefined;
}
