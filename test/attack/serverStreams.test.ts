import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { AheadOfTime } from '../support/aheadOfTime.ts';
import { StreamProcess } from '../support/streamProcess.ts';
import { ada, grace, Listener, StreamServer, upTo } from '../support/streamServer.ts';

const slowMs = 3000;

/** A bare connection that asked for something and reads nothing of the answer. */
async function mute(port: number, head: string, body: Uint8Array = Buffer.alloc(0)): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.pause();
  socket.write(`${head}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ada\r\n\r\n`);
  if (body.length > 0) socket.write(body);
  return socket;
}

/** A frame as a client sends it: masked, with whatever bits. */
function frame(payload: Buffer, { first = 0x81, mask = true, length = payload.length } = {}): Buffer {
  const bit = mask ? 0x80 : 0;
  const head =
    length < 126
      ? Buffer.from([first, bit | length])
      : length < 65_536
        ? Buffer.from([first, bit | 126, length >> 8, length & 255])
        : Buffer.concat([Buffer.from([first, bit | 127]), bigEndian(length)]);
  // A mask of zeros changes nothing.
  return Buffer.concat([head, mask ? Buffer.alloc(4) : Buffer.alloc(0), payload]);
}

function bigEndian(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

const upgrade = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}`;

describe('readers that do not read', () => {
  let server: StreamProcess;
  const open: { destroy(): void }[] = [];
  beforeEach(async () => {
    server = await StreamProcess.start({ slowMs, graceMs: 3000, sweepMs: 200 });
  });
  afterEach(() => {
    for (const one of open.splice(0)) one.destroy();
    server.kill();
  });

  function client(): Listener {
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}/api/v1/stream`, {
      headers: { authorization: 'Bearer ada' },
      perMessageDeflate: false,
    });
    open.push({ destroy: () => socket.terminate() });
    return new Listener(socket);
  }

  it('cost the others nothing, take bounded memory, and are closed with a code', async () => {
    const [task = ''] = await server.addTasks(1);
    const healthy = await client().open();
    healthy.send({ type: 'follow', task, after: 0 });
    await healthy.until(() => healthy.numbers().length === 1);
    const stalled: Listener[] = [];
    for (let i = 0; i < 100; i++) {
      const listener = await client().open();
      listener.send({ type: 'follow', task, after: 0 });
      await listener.until(() => listener.numbers().length === 1);
      listener.socket.pause();
      stalled.push(listener);
    }
    const follow = frame(Buffer.from(JSON.stringify({ type: 'follow', task, after: 0 })));
    for (let i = 0; i < 34; i++) {
      open.push(
        await mute(server.port, upgrade('/api/v1/stream'), follow),
        await mute(server.port, `GET /api/v1/tasks/${task}/events HTTP/1.1`),
        await mute(server.port, `GET /api/v1/tasks/${task}/events HTTP/1.1\r\nAccept: text/event-stream`),
      );
    }
    while ((await server.look()).open < 203) await pause(50);
    const before = await server.look();

    // 48 MB, which would be 10 GB for two hundred.
    const rounds = 480;
    const saying = server.say({ tasks: [task], rounds, events: 100, length: 900, everyMs: 5 });
    await healthy.until(() => {
      return healthy.numbers().length === rounds * 100 + 1;
    });
    await saying;
    assert.deepEqual(healthy.numbers(), upTo(rounds * 100 + 1));
    const full = await server.look();
    const grown = (full.peakRss - before.rss) / 2 ** 20;
    assert.ok(grown < 300, `The server has taken ${grown.toFixed(0)} MiB more than before.`);

    let now = await server.look();
    while (now.slowClosed < 202) {
      await pause(200);
      now = await server.look();
    }
    // Whoever reads again in time hears why, and can go on where it was.
    for (const listener of stalled) listener.socket.resume();
    const codes = await Promise.all(stalled.map(async (listener) => (await listener.close()).code));
    assert.ok(codes.filter((code) => code === 4408).length > 50, codes.join(' '));
    while ((await server.look()).open > 1) await pause(50);
    const again = await client().open();
    const [one] = stalled;
    const last = one?.numbers().at(-1) ?? 0;
    again.send({ type: 'follow', task, after: last });
    await again.until(() => again.numbers().length === rounds * 100 + 1 - last);
    assert.deepEqual([...(one?.numbers() ?? []), ...again.numbers()], upTo(rounds * 100 + 1));

    await server.say({ tasks: [task], rounds: 1, events: 10, length: 10 });
    await healthy.until(() => healthy.numbers().length === rounds * 100 + 11);
    for (const listener of [healthy, again]) listener.socket.close();
    while ((await server.look()).open > 0) await pause(20);
    const end = await server.look();
    assert.equal(end.readers, 0);
    assert.ok(end.held - before.held < 30 << 20, 'What was held for them is not let go.');
    assert.equal(await server.stop(), 0);
  });

  it('of many long events at once take no more than that', async () => {
    const tasks = await server.addTasks(30);
    await server.say({ tasks, rounds: 8, events: 1, length: 1 << 20 });
    const before = await server.look();
    const follows = Buffer.concat(
      tasks.map((task) => frame(Buffer.from(JSON.stringify({ type: 'follow', task, after: 0 })))),
    );
    for (let i = 0; i < 20; i++) open.push(await mute(server.port, upgrade('/api/v1/stream'), follows));
    while ((await server.look()).open < 20) await pause(20);
    await pause(1500);
    const grown = ((await server.look()).held - before.held) / 2 ** 20;
    assert.ok(grown < 60, `The server holds ${grown.toFixed(0)} MiB more than before.`);
    for (const one of open.splice(0)) one.destroy();
    while ((await server.look()).open > 0) await pause(20);
    assert.equal(await server.stop(), 0);
  });
});

describe('readers that are slow', () => {
  it('are not closed as long as they take something, however long the event is', async () => {
    // They answer no ping, which is another reason to close them.
    const server = await StreamServer.start({ silenceMs: 24 * 60 * 60_000 });
    const id = await server.tasks.add(ada);
    await server.tasks.say(id, { type: 'notice', level: 'info', text: 'x'.repeat(16 << 20), t: 1 });
    const time = new AheadOfTime();
    const follow = frame(Buffer.from(JSON.stringify({ type: 'follow', task: id, after: 0 })));
    const slow = [
      await mute(server.port, upgrade('/api/v1/stream'), follow),
      await mute(server.port, `GET /api/v1/tasks/${id}/events HTTP/1.1`),
    ];
    const read = slow.map(() => 0);
    let closed = 0;
    for (const one of slow) one.on('close', () => closed++);
    while (read.some((bytes) => bytes < 16 << 20) && closed === 0) {
      for (const [i, one] of slow.entries()) read[i] = (read[i] ?? 0) + sizeOf(one.read());
      // So much of the time that a reader has, in all many times that.
      time.pass(server.hub.limits.slowMs / 60);
      await pause(15);
    }
    time.dispose();
    assert.equal(closed, 0);
    assert.equal(server.hub.counters().slowClosed, 0);
    for (const one of slow) one.destroy();
    await server.stop();
  });

  it('and stop taking a bundle do not keep what makes it', async () => {
    const server = await StreamServer.start({ slowMs: 500 });
    const id = await server.tasks.add(ada);
    server.tasks.bundleBytes = upTo(1000).map(() => Buffer.alloc(64 << 10));
    const stalled = await mute(server.port, `GET /api/v1/tasks/${id}/bundle HTTP/1.1`);
    while (server.tasks.packing === 0) await pause(5);
    while (server.tasks.packing === 1) await pause(20);
    assert.equal(server.hub.counters().slowClosed, 1);
    stalled.destroy();
    await server.stop();
  });

  it('of a bundle do not take half of one for a whole when their credential is revoked', async () => {
    const server = await StreamServer.start();
    const id = await server.tasks.add(ada);
    server.tasks.bundleBytes = upTo(2000).map(() => Buffer.alloc(64 << 10));
    const answer = await server.fetch(`/api/v1/tasks/${id}/bundle`);
    const reader = answer.body!.getReader();
    await reader.read();
    server.revoked.add('ada');
    while (server.hub.counters().open > 0) await pause(10);
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    });
    await server.stop();
  });
});

function sizeOf(chunk: unknown): number {
  return Buffer.isBuffer(chunk) ? chunk.length : 0;
}

describe('clients of a stream that mean ill', () => {
  let server: StreamServer;
  let id: string;
  let foreign: string;
  beforeEach(async () => {
    server = await StreamServer.start({ followsPerSocket: 5, messagesPerSweep: 200, connectionsPerUser: 20 });
    id = await server.tasks.add(ada);
    foreign = await server.tasks.add(grace, { prompt: 'Nobody else may read this' });
  });
  afterEach(() => server.stop());

  /** Whether a bare WebSocket that sends these bytes is ended, and for that reason if it still hears one. */
  async function endsWith(code: number, ...bytes: Buffer[]): Promise<void> {
    const socket = await mute(server.port, upgrade('/api/v1/stream'));
    for (const one of bytes) socket.write(one);
    let all = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => (all = Buffer.concat([all, chunk])));
    socket.resume();
    await new Promise((closed) => socket.on('close', closed));
    const at = all.lastIndexOf(0x88);
    if (at !== -1 && all.length - at >= 4) assert.equal(all.readUInt16BE(at + 2), code);
  }

  it('get no further with frames that break the protocol', async () => {
    const follow = Buffer.from(JSON.stringify({ type: 'follow', task: id, after: 0 }));
    await endsWith(1002, frame(follow, { mask: false }));
    await endsWith(1002, frame(follow, { first: 0xf1 }));
    await endsWith(1002, frame(follow, { first: 0x83 }));
    await endsWith(1007, frame(Buffer.from([0xff, 0xfe, 0xfd])));
    // Said to be 8 exabytes, or half a megabyte that comes; or small pieces without an end.
    await endsWith(1009, frame(Buffer.alloc(10), { length: 2 ** 52 }));
    await endsWith(1009, frame(Buffer.alloc(512 << 10, 32)));
    const piece = Buffer.alloc(60 << 10, 32);
    await endsWith(1009, frame(piece, { first: 0x01 }), ...upTo(9).map(() => frame(piece, { first: 0x00 })));
    for (const junk of upTo(20)) {
      const bytes = randomBytes(junk * 50);
      const socket = await mute(server.port, upgrade('/api/v1/stream'), bytes);
      socket.resume();
      await pause(5);
      socket.destroy();
    }
    const healthy = await server.socket('/api/v1/stream').open();
    healthy.send({ type: 'follow', task: id, after: 0 });
    await healthy.until(() => healthy.numbers(id).length === 1);
  });

  it('hear nothing of foreign tasks, by no way', async () => {
    const listener = await server.socket('/api/v1/stream').open();
    await listener.type('tasks');
    for (const task of [foreign, '0000000000nobody']) listener.send({ type: 'follow', task, after: 0 });
    await listener.until((messages) => messages.filter(({ type }) => type === 'problem').length === 2);
    const problems = listener.messages.flatMap(({ type, problem }) =>
      type === 'problem' ? [{ ...(problem as object), detail: '' }] : [],
    );
    assert.deepEqual(problems[0], problems[1]);
    for (const path of ['events', 'logs', 'bundle', 'diff', 'changes', 'ledger', `blobs/${'a'.repeat(40)}`]) {
      const [theirs, none] = await Promise.all(
        [foreign, '0000000000nobody'].map((task) => server.fetch(`/api/v1/tasks/${task}/${path}`)),
      );
      assert.equal(theirs?.status, 404, path);
      assert.equal(none?.status, 404, path);
    }
    assert.equal((await server.socket(`/api/v1/tasks/${foreign}/events`).close()).code, 4404);
    await server.tasks.say(foreign, { type: 'notice', level: 'info', text: 'secret', t: 1 });
    server.tasks.amend(foreign, { title: 'secret' });
    await server.tasks.add(ada);
    await listener.type('task');
    assert.ok(!JSON.stringify(listener.messages).includes('secret'));
    assert.ok(!JSON.stringify(listener.messages).includes('Nobody else'));
  });

  it('are cut off everywhere once their token is revoked', async () => {
    const url = `/api/v1/tasks/${id}`;
    const sockets = [server.socket('/api/v1/stream'), server.socket(`${url}/events`)];
    for (const socket of sockets) await socket.open();
    const answers = await Promise.all([
      server.fetch(`${url}/events`),
      server.fetch(`${url}/events`, { headers: { accept: 'text/event-stream' } }),
      server.fetch(`${url}/logs`),
    ]);
    const texts = answers.map((answer) => answer.text());
    await server.socket('/api/v1/stream', 'grace').type('tasks');
    while (server.hub.counters().open < 6) await pause(5);
    server.revoked.add('ada');
    for (const socket of sockets) assert.equal((await socket.close()).code, 4401);
    const [lines = '', events = '', log = ''] = await Promise.all(texts);
    assert.match(lines, /"code":"unauthorized"/);
    assert.match(events, /event: problem\ndata: .*"code":"unauthorized"/);
    assert.match(log, /! The credential is not valid any more/);
    while (server.hub.counters().open > 1) await pause(5);
    await server.tasks.say(id, { type: 'notice', level: 'info', text: 'secret', t: 1 });
    for (const socket of sockets) assert.ok(!JSON.stringify(socket.messages).includes('secret'));
  });

  it('cannot open streams or follow tasks without end, nor talk without end', async () => {
    const ids = await Promise.all(upTo(7).map(() => server.tasks.add(ada)));
    const greedy = await server.socket('/api/v1/stream').open();
    for (const task of ids) greedy.send({ type: 'follow', task, after: 0 });
    await greedy.until((messages) => messages.filter(({ type }) => type === 'problem').length === 2);
    const followed = (): number =>
      new Set(greedy.messages.flatMap(({ type, task }) => (type === 'events' ? [task] : []))).size;
    await greedy.until(() => followed() === 5);
    const chatty = await server.socket('/api/v1/stream').open();
    for (let i = 0; i < 5000; i++) chatty.send({ type: 'unfollow', task: id });
    assert.equal((await chatty.close()).code, 4400);
    const many = upTo(25).map(() => server.socket('/api/v1/stream'));
    await pause(200);
    while (many.filter(({ closed }) => closed !== undefined).length < 6) await pause(10);
    assert.ok(server.hub.counters().open <= 20);
    assert.equal((await server.fetch(`/api/v1/tasks/${id}/logs`)).status, 429);
    const other = await server.socket('/api/v1/stream', 'grace').open();
    await other.type('tasks');
  });
});
