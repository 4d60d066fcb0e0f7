import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeEvents, encodeEvent } from '../../src/protocol/panelMessages.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { feed, type FeedBatch } from '../../src/vscode/view/feed.ts';
import { Flow } from '../../src/vscode/view/flow.ts';

function output(n: number, size = 10): TaskEvent {
  return { n, t: 0, type: 'output', stream: 'stdout', text: 'x'.repeat(size) };
}

async function* batches(events: TaskEvent[], size: number): AsyncGenerator<TaskEvent[]> {
  for (let at = 0; at < events.length; at += size) {
    await Promise.resolve();
    yield events.slice(at, at + size);
  }
}

describe('the feed of a panel', () => {
  it('brings every event once and in order', async () => {
    const events = Array.from({ length: 5000 }, (_, i) => output(i + 1, i % 300));
    const flow = new Flow();
    const got: FeedBatch[] = [];
    await feed(batches(events, 37), {
      flow,
      first: true,
      newest: 5000,
      signal: new AbortController().signal,
      send: (batch) => {
        got.push(batch);
        queueMicrotask(() => flow.acknowledged(batch.batch));
      },
    });
    assert.deepEqual(
      got.flatMap(({ data }) => decodeEvents(data)),
      events,
    );
    assert.deepEqual(
      got.map(({ first }) => first),
      got.map((_, i) => i === 0),
    );
    assert.equal(got.at(-1)?.live, true);
    assert.ok(
      got.every(({ data }) => data.byteLength === data.buffer.byteLength),
      'no batch drags a larger buffer along',
    );
  });

  it('waits for a reader that does not say it took the batches in', async () => {
    const events = Array.from({ length: 80 }, (_, i) => output(i + 1, 100_000));
    const flow = new Flow();
    const got: FeedBatch[] = [];
    const feeding = feed(batches(events, 1), {
      flow,
      first: false,
      newest: 80,
      signal: new AbortController().signal,
      send: (batch) => got.push(batch),
    });
    const sent = (): number => got.reduce((sum, { data }) => sum + data.length, 0);
    while (sent() < 4 << 20) await sleep(5);
    await sleep(50);
    assert.ok(sent() < 4.5 * (1 << 20), `${sent()} bytes on their way`);
    const answering = setInterval(() => {
      for (const { batch } of got) flow.acknowledged(batch);
    }, 1);
    await feeding;
    clearInterval(answering);
    assert.equal(got.flatMap(({ data }) => decodeEvents(data)).length, 80);
  });

  it('ends at once when the panel is hidden, also while it waits', async () => {
    const events = Array.from({ length: 100 }, (_, i) => output(i + 1, 100_000));
    const hidden = new AbortController();
    let sent = 0;
    const feeding = feed(batches(events, 1), {
      flow: new Flow(),
      first: true,
      newest: 100,
      signal: hidden.signal,
      send: () => (sent += 1),
    });
    await sleep(50);
    hidden.abort();
    await feeding;
    const before = sent;
    await sleep(50);
    assert.equal(sent, before);
    assert.ok(sent < 100);
  });

  it('carries any text', () => {
    const event = { ...output(1), text: 'a\nb\u2028c"\\ü🙂\x1b[0m\ud800' } as TaskEvent;
    const [back] = decodeEvents(encodeEvent(event));
    assert.deepEqual(back, event);
    assert.deepEqual(decodeEvents(new Uint8Array()), []);
  });
});
