import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFiles } from '../../src/protocol/panelFiles.ts';
import { decodeEvents, type PanelMessage } from '../../src/protocol/panelMessages.ts';
import { readText } from '../../src/protocol/reviewMessages.ts';
import { closeCodes } from '../../src/protocol/runnerApi.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { type Follower, Live, type Socket } from '../../webview/dashboard/live.ts';
import { TaskHost, type TaskSurroundings } from '../../webview/dashboard/taskHost.ts';
import { aCommit, aSpec } from '../support/specs.ts';

class FakeSocket implements Socket {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly sent: unknown[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.closed = true;
  }

  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  hello(tasks: string[] = []): void {
    this.say({ type: 'hello', version: { api: 1, oldestApi: 1 } });
    this.say({ type: 'tasks', tasks: tasks.map((id) => ({ id })) });
  }

  end(code = 1006): void {
    this.onclose?.({ code });
  }
}

describe('the stream of the dashboard', () => {
  let sockets: FakeSocket[];
  let signedIn: boolean;
  let live: Live;
  let signedOut: number;

  beforeEach(() => {
    sockets = [];
    signedIn = true;
    signedOut = 0;
    live = new Live(
      () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket;
      },
      () => Promise.resolve(signedIn),
    );
    live.onSignedOut = () => (signedOut += 1);
    live.start();
  });
  afterEach(() => live.stop());

  const socket = (at: number): FakeSocket => {
    const one = sockets[at];
    assert.ok(one !== undefined);
    return one;
  };
  const follower = (got: TaskEvent[]): Follower => ({
    last: () => got.at(-1)?.n ?? 0,
    events: (events) => void got.push(...events),
    over: () => undefined,
  });
  const output = (n: number): TaskEvent => ({ n, t: 0, type: 'output', stream: 'stdout', text: String(n) });

  it('goes on after the last event when the connection comes back', async () => {
    const begun = Date.now();
    const got: TaskEvent[] = [];
    live.follow('a', follower(got));
    assert.deepEqual(socket(0).sent, [], 'nothing is asked before the greeting');
    socket(0).hello();
    assert.deepEqual(socket(0).sent, [{ type: 'follow', task: 'a', after: 0 }]);
    socket(0).say({ type: 'events', task: 'a', events: [output(1), output(2)] });
    socket(0).end();
    await sleep(0);
    assert.equal(live.connection, 'lost');
    assert.ok(live.nextAttempt > begun);
    live.hurry();
    socket(1).hello();
    assert.deepEqual(socket(1).sent, [{ type: 'follow', task: 'a', after: 2 }]);
    assert.equal(live.connection, 'live');
    // What an old connection still says is not heard.
    socket(0).say({ type: 'events', task: 'a', events: [output(9)] });
    assert.deepEqual(
      got.map(({ n }) => n),
      [1, 2],
    );
  });

  it('follows on when a task that was over goes on', () => {
    const got: TaskEvent[] = [];
    socket(0).hello(['a']);
    live.follow('a', follower(got));
    socket(0).say({ type: 'events', task: 'a', events: [output(1), output(2)] });
    socket(0).say({ type: 'task', task: { id: 'a', summary: { lastEvent: 2 } } });
    socket(0).say({ type: 'over', task: 'a' });
    socket(0).say({ type: 'task', task: { id: 'a', summary: { lastEvent: 2 } } });
    socket(0).say({ type: 'task', task: { id: 'b', summary: { lastEvent: 9 } } });
    assert.equal(socket(0).sent.length, 1, 'nothing more is there yet');
    for (const lastEvent of [3, 4])
      socket(0).say({ type: 'task', task: { id: 'a', summary: { lastEvent } } });
    assert.deepEqual(socket(0).sent.slice(1), [{ type: 'follow', task: 'a', after: 2 }]);
  });

  it('forgets what was removed while it was away, also when the tasks come in pieces', async () => {
    socket(0).hello(['a', 'b']);
    socket(0).end();
    await sleep(0);
    assert.deepEqual([...live.tasks.keys()], ['a', 'b'], 'what is known stays in sight meanwhile');
    live.hurry();
    socket(1).hello(['b']);
    socket(1).say({ type: 'tasks', tasks: [{ id: 'c' }] });
    socket(1).say({ type: 'task', task: { id: 'd', state: { large: true } } });
    socket(1).say({ type: 'removed', task: 'c' });
    assert.deepEqual([...live.tasks.keys()], ['b', 'd']);
    assert.deepEqual(live.tasks.get('d'), { id: 'd' });
  });

  it('says when the server has become too new for the page', () => {
    sockets[0]?.say({ type: 'hello', version: { api: 99, oldestApi: 98 } });
    assert.equal(live.connection, 'stale');
  });

  it('comes back by itself', async () => {
    socket(0).end();
    while (sockets.length < 2) await sleep(20);
    socket(1).hello();
    assert.equal(live.connection, 'live');
  });

  it('says when the session is over, and does not try again', async () => {
    socket(0).hello(['a']);
    socket(0).end(closeCodes.unauthorized);
    await sleep(0);
    assert.equal(signedOut, 1);
    assert.equal(sockets.length, 1);
  });

  it('asks in another way when it is not let in at all', async () => {
    signedIn = false;
    socket(0).end();
    await sleep(0);
    assert.equal(signedOut, 1);
  });

  it('follows no more when nobody listens', () => {
    socket(0).hello();
    const stop = live.follow('a', follower([]));
    stop();
    stop();
    assert.deepEqual(socket(0).sent.at(-1), { type: 'unfollow', task: 'a' });
    assert.equal(socket(0).sent.length, 2);
  });
});

const aPatch = `diff --git a/a.txt b/a.txt
index ${'1'.repeat(40)}..${'2'.repeat(40)} 100644
--- a/a.txt
+++ b/a.txt
@@ -1,2 +1,2 @@
 one
-two
+three
`;

describe('the host of a task in a browser', () => {
  const spec = aSpec();
  const events: TaskEvent[] = [
    { n: 1, t: 1, type: 'submitted', spec },
    { n: 2, t: 2, type: 'started', s: 1, spec, supervisor: '1' },
    { n: 3, t: 3, type: 'text', s: 2, text: 'x'.repeat(50) },
    { n: 4, t: 4, type: 'commit', s: 3, commit: aCommit('a') },
    { n: 5, t: 5, type: 'imported', tips: [aCommit('a').sha] },
  ];
  const stateAt = (n: number) => events.slice(0, n).reduce(reduce, initialState(spec, 1));

  function aHost(change: Partial<TaskSurroundings> = {}, steer = true) {
    const messages: PanelMessage[] = [];
    const calls: unknown[] = [];
    let follower: Follower | undefined;
    const around: TaskSurroundings = {
      state: () => Promise.resolve({ state: stateAt(3) }),
      follow: (one) => {
        follower = one;
        return () => (follower = undefined);
      },
      patch: () => Promise.resolve({ text: 'diff', truncated: false }),
      answer: (answer) => Promise.resolve(void calls.push(answer)),
      raise: (scope, usd) => Promise.resolve(void calls.push([scope, usd])),
      act: (action) => Promise.resolve(void calls.push(action)),
      say: (text) => Promise.resolve(void calls.push(['say', text])),
      interrupt: () => Promise.resolve(void calls.push('interrupt')),
      answerQuestion: (question, answer) => Promise.resolve(void calls.push([question, answer])),
      copy: (text) => Promise.resolve(void calls.push(text)),
      event: (n) => events[n - 1],
      showText: (title, text) => void calls.push([title, text]),
      exportLedger: () => Promise.resolve(),
      failed: (thrown) => void calls.push(thrown),
      saved: () => undefined,
      save: () => undefined,
      ...change,
    };
    const host = new TaskHost(around, steer);
    host.onMessage((message) => messages.push(message));
    return { host, messages, calls, follower: () => follower };
  }
  const shownEvents = (messages: readonly PanelMessage[]): number[] =>
    messages.flatMap((message) =>
      message.type === 'events' ? decodeEvents(message.data).map(({ n }) => n) : [],
    );

  const lastState = (messages: readonly PanelMessage[]): TaskState | undefined =>
    messages.findLast((message) => message.type === 'state')?.state;
  const comes = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await sleep(5);
  };

  it('brings the state, then every event once, and folds what is new into the state', async () => {
    const { host, messages, follower } = aHost();
    host.send({ type: 'ready', after: 0 });
    await sleep(0);
    follower()?.events(events.slice(0, 2));
    follower()?.events(events.slice(1, 5));
    await comes(() => shownEvents(messages).includes(5) && lastState(messages)?.lastEvent === 5);
    assert.deepEqual(shownEvents(messages), [1, 2, 3, 4, 5]);
    const batches = messages.filter((message) => message.type === 'events');
    assert.deepEqual(
      batches.map(({ first }) => first),
      batches.map((_, at) => at === 0),
    );
    assert.deepEqual(
      batches.map(({ live }) => live),
      [false, false, true],
      'live once all is through that there was at the beginning',
    );
    const states = messages.filter((message) => message.type === 'state');
    assert.deepEqual(
      states.slice(0, 1).map(({ state, result }) => ({ state, result })),
      [{ state: stateAt(3), result: undefined }],
    );
    assert.deepEqual(states.at(-1)?.state, stateAt(5));
    assert.deepEqual(states.at(-1)?.result, { from: spec.snapshot.commit, to: aCommit('a').sha });
    assert.equal(follower()?.last(), 5);
  });

  it('says that the task is gone', async () => {
    const { host, messages } = aHost({ state: () => Promise.resolve(undefined) });
    host.send({ type: 'ready', after: 0 });
    await sleep(0);
    assert.deepEqual(messages, [{ type: 'removed' }]);
  });

  it('makes the state from the events where the log had not begun', async () => {
    const { host, messages, follower } = aHost({ state: () => Promise.resolve({ state: undefined }) });
    host.send({ type: 'ready', after: 0 });
    await sleep(0);
    follower()?.events(events);
    await comes(() => lastState(messages) !== undefined);
    const states = messages.filter((message) => message.type === 'state');
    assert.deepEqual(
      states.map(({ state }) => state),
      [stateAt(5)],
    );
  });

  it('turns requests of the panel into those of the server, and tells of what went wrong', async () => {
    const refusal = Object.assign(new Error('No.'), { mend: 'Ask somebody else.' });
    const { host, messages, calls } = aHost({
      say: () => Promise.reject(refusal),
      copy: () => Promise.reject(refusal),
    });
    host.send({ type: 'allow', scope: 'task', rule: 'one.example.com' });
    host.send({ type: 'refuse', host: 'two.example.com' });
    host.send({ type: 'raise', scope: 'task', usd: 3 });
    host.send({ type: 'action', action: 'stop' });
    host.send({ type: 'openText', event: 3 });
    host.send({ type: 'say', request: 7, text: 'x', now: false });
    host.send({ type: 'answer', request: 8, question: 'q', answer: { kind: 'allow' } });
    host.send({ type: 'decide', what: { all: true }, verdict: 'accepted' });
    host.send({ type: 'copy', text: 'x' });
    await sleep(0);
    assert.deepEqual(calls, [
      { allow: 'task', rule: 'one.example.com' },
      { refuse: 'two.example.com' },
      ['task', 3],
      'stop',
      ['Event 3', 'x'.repeat(50)],
      ['q', { kind: 'allow' }],
      refusal,
    ]);
    assert.deepEqual(
      messages.sort((a, b) => Number('error' in b) - Number('error' in a)),
      [
        { type: 'talked', request: 7, error: { message: 'No.', mend: 'Ask somebody else.' } },
        { type: 'talked', request: 8 },
      ],
    );
  });

  it('shows the patches of the server as a review that is there to be read, and again when there is more', async () => {
    const ranges: unknown[] = [];
    const { host, messages, follower } = aHost({
      patch: (range) => {
        ranges.push(range);
        return Promise.resolve({ text: aPatch, truncated: false });
      },
    });
    host.send({ type: 'ready', after: 0 });
    await sleep(0);
    host.send({ type: 'review', request: 1, scope: { kind: 'all' } });
    await sleep(0);
    const reviews = () => messages.filter((message) => message.type === 'review');
    assert.deepEqual(
      reviews().map(({ request, total }) => [request, total]),
      [[1, 0]],
      'nothing is in the quarantine',
    );
    follower()?.events(events);
    await comes(() => reviews().length === 2);
    const [, second] = reviews();
    assert.ok(second);
    assert.deepEqual(ranges, [{ from: spec.snapshot.commit, to: aCommit('a').sha }]);
    assert.deepEqual(
      second.scopes.map(({ scope }) => scope.kind),
      ['all', 'commit'],
    );
    const [file] = readFiles(second.data);
    assert.ok(file);
    assert.equal(file.path, 'a.txt');
    host.send({ type: 'reviewText', request: 2, file: file.id, context: 3 });
    host.send({ type: 'reviewText', request: 3, file: 'f'.repeat(16), context: 3 });
    const texts = messages.filter((message) => message.type === 'reviewText');
    const [text, missing] = texts;
    assert.ok(text?.data);
    assert.deepEqual(
      readText(text.data).stretches.map(({ kind }) => kind),
      ['same', 'change'],
    );
    assert.ok(missing?.error);
  });

  it('says nothing more when it is disposed, and stops following', async () => {
    const { host, messages, follower } = aHost();
    host.send({ type: 'ready', after: 0 });
    await sleep(0);
    const one = follower();
    const before = messages.length;
    host.dispose();
    host.dispose();
    one?.events(events);
    await sleep(150);
    assert.equal(messages.length, before);
    assert.equal(follower(), undefined);
  });

  it('never offers what needs an editor or a repository, and nothing at all to who only looks', () => {
    const { host } = aHost({}, false);
    assert.deepEqual(host.can, {
      steer: false,
      buttons: false,
      accept: false,
      review: false,
      continue: false,
      editor: false,
      machine: false,
      place: 'Repository',
    });
  });
});
