import assert from 'node:assert/strict';
import { once } from 'node:events';
import WebSocket from 'ws';
import { closeCodes } from '../../src/protocol/runnerApi.ts';
import { SharedTerminal } from '../../src/runner/sharedTerminal.ts';
import { terminalLimits, type TerminalLimits } from '../../src/server/terminal/terminalSocket.ts';
import { terminalRoutes } from '../../src/server/terminal/terminalRoutes.ts';
import { AheadOfTime } from '../support/aheadOfTime.ts';
import { FakeTerminal } from '../support/fakeTerminal.ts';
import { ada, aUser, StreamServer } from '../support/streamServer.ts';

describe('terminals of the server', () => {
  let server: StreamServer;
  let program: FakeTerminal;
  let shared: SharedTerminal;
  let id: string;

  async function start(limits: Partial<TerminalLimits> = {}): Promise<void> {
    server = await StreamServer.start({}, (router, context) =>
      terminalRoutes(router, context, { ...terminalLimits, sweepMs: 20, ...limits }),
    );
    program = new FakeTerminal();
    shared = new SharedTerminal(program, { cols: 80, rows: 24 });
    server.tasks.onTerminal = (size) => shared.view(size);
    const view = await server.tasks.submit(ada, { prompt: 'Go', source: { kind: 'url', url: 'x' } } as never);
    id = view.id;
  }
  afterEach(async () => {
    shared.dispose();
    await server.stop();
  });

  function connect(query = '', user = 'ada'): Viewer {
    const url = `${server.url.replace('http', 'ws')}/api/v1/tasks/${id}/terminal${query}`;
    return new Viewer(new WebSocket(url, { headers: { authorization: `Bearer ${user}` } }));
  }

  it('carries what is shown and typed as bytes, sizes as text, and says how it ended', async () => {
    await start();
    const viewer = connect('?cols=100&rows=30');
    assert.deepEqual(await viewer.text(), { type: 'opened' });
    program.print(Buffer.from([0, 255, 27, 10]));
    await viewer.until((bytes) => bytes.length === 4);
    assert.deepEqual([...viewer.bytes], [0, 255, 27, 10]);
    viewer.socket.send(Buffer.from('ls\n'));
    viewer.socket.send(JSON.stringify({ type: 'resize', cols: 50, rows: 20 }));
    await until(() => program.typed === 'ls\n' && program.sizes.length === 2);
    assert.deepEqual(program.sizes, [
      { cols: 100, rows: 30 },
      { cols: 50, rows: 20 },
    ]);
    program.exit(7);
    assert.deepEqual(await viewer.text(), { type: 'end', reason: 'exit', code: 7 });
    assert.equal(await viewer.closed, 1000);
  });

  it('refuses before it is a WebSocket whoever may not, and sizes that are none', async () => {
    await start();
    server.users.set('vera', aUser('vera', 'viewer'));
    for (const [query, user, status] of [
      ['', 'nobody', 401],
      ['', 'vera', 403],
      ['?cols=0', 'ada', 400],
      ['?cols=80;id', 'ada', 400],
      ['?rows=1001', 'ada', 400],
    ] as const) {
      const { socket } = connect(query, user);
      const [, answer] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
      assert.equal(answer.statusCode, status, `${user} ${query}`);
      socket.on('error', () => undefined);
      socket.terminate();
    }
    const stranger = connect('', 'grace');
    assert.equal((await stranger.text()).type, 'problem');
    assert.equal(await stranger.closed, closeCodes.notFound);
  });

  it('says why there is none', async () => {
    await start();
    server.tasks.onTerminal = undefined;
    const viewer = connect();
    const { type, problem } = await viewer.text();
    assert.deepEqual([type, (problem as { code: string }).code], ['problem', 'conflict']);
    assert.equal(await viewer.closed, 1011);
  });

  it('closes whoever sends what is no message', async () => {
    await start();
    for (const text of ['', '{', '{"type":"exec"}', '{"type":"resize","cols":0,"rows":5}']) {
      const viewer = connect();
      await viewer.text();
      viewer.socket.send(text);
      assert.equal(await viewer.closed, closeCodes.badMessage);
    }
    assert.equal(program.typed, '');
  });

  it('closes a viewer whose credential is not valid any more, or is worth less', async () => {
    await start();
    server.users.set('eve', aUser('ada'));
    const revoked = connect();
    await revoked.text();
    const lowered = connect('', 'eve');
    await lowered.text();
    server.users.set('eve', aUser('ada', 'viewer'));
    assert.equal(await lowered.closed, closeCodes.forbidden);
    server.revoked.add('ada');
    assert.equal(await revoked.closed, closeCodes.unauthorized);
  });

  it('keeps little of what a shell does not read, and closes whoever types on', async () => {
    await start({ typedBytes: 100_000 });
    program.deaf = new Promise(() => undefined);
    const viewer = connect();
    await viewer.text();
    for (let i = 0; i < 20; i++) viewer.socket.send(Buffer.alloc(10_000));
    assert.equal(await viewer.closed, closeCodes.tooSlow);
  });

  it('closes a viewer that stalls, while another one reads on', async () => {
    await start({ graceMs: 100 });
    const stalled = connect();
    await stalled.text();
    stalled.socket.pause();
    const reader = connect();
    await reader.text();
    const total = 64 << 20;
    for (let sent = 0; sent < total; sent += 64 << 10) program.print(Buffer.alloc(64 << 10, 'x'));
    await reader.until((bytes) => bytes.length === total);
    const time = new AheadOfTime();
    time.pass(terminalLimits.slowMs + 1);
    // So that it is looked at.
    await new Promise((resolve) => setTimeout(resolve, 200));
    time.dispose();
    // Its end is heard when it reads again, if not lost with what was on the way.
    stalled.socket.resume();
    const code = await stalled.closed;
    assert.ok(code === closeCodes.tooSlow || code === 1006, String(code));
    assert.ok(stalled.bytes.length < total);
  });

  it('leaves the shell to others when a viewer goes, and opens only so many for one user', async () => {
    await start({ perUser: 2 });
    const [one, two] = [connect(), connect()];
    await Promise.all([one.text(), two.text()]);
    const third = connect();
    assert.equal(await third.closed, 1011);
    one.socket.terminate();
    await one.closed;
    program.print('still here');
    await two.until((bytes) => bytes.toString() === 'still here');
    await until(async () => {
      const again = connect();
      const code = await Promise.race([again.text().then(() => 0), again.closed]);
      again.socket.terminate();
      return code === 0;
    });
  });
});

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10));
}

class Viewer {
  readonly socket: WebSocket;
  readonly closed: Promise<number>;
  private readonly parts: Buffer[] = [];
  private readonly texts: string[] = [];
  private length = 0;

  constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)));
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) {
        this.parts.push(data);
        this.length += data.length;
      } else this.texts.push(data.toString());
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.parts);
  }

  async until(holds: (bytes: { length: number; toString(): string }) => boolean): Promise<void> {
    const seen = { toString: () => this.bytes.toString() };
    await until(() => holds(Object.assign(seen, { length: this.length })));
  }

  /** The next text. */
  async text(): Promise<Record<string, unknown>> {
    await until(() => this.texts.length > 0 || this.socket.readyState === WebSocket.CLOSED);
    return JSON.parse(this.texts.shift() ?? '{}') as Record<string, unknown>;
  }
}
