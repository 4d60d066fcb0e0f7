import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import type { Duplex } from 'node:stream';
import { join } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import { checkRunner, createRemoteTaskService, type ConnectionStatus } from '../../src/remote/remoteTasks.ts';
import { readRunnerAddress } from '../../src/remote/runnerAddress.ts';
import { defaultPolicy, type UserPolicy } from '../../src/runner/userPolicy.ts';
import { certificateFor } from '../support/certificate.ts';
import { FakeRunner } from '../support/fakeRunner.ts';
import { RemoteClient, until } from '../support/remoteClient.ts';

const policy = (): UserPolicy => defaultPolicy;

function failing(code: string, words: RegExp): (thrown: unknown) => boolean {
  return (thrown) => {
    assert.ok(thrown instanceof SallyportError, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    assert.match(`${thrown.message} ${thrown.mend}`, words);
    return true;
  };
}

describe('connection to a remote runner', function () {
  let runner: FakeRunner;
  let client: RemoteClient | undefined;

  beforeEach(async () => {
    runner = await FakeRunner.start();
    client = undefined;
  });
  afterEach(async () => {
    await client?.close();
    await runner.close();
  });

  it('takes https addresses, and http only of this machine', () => {
    const given = [
      'https://runner.example.com',
      'http://localhost:3000',
      'http://127.0.0.2/x',
      'http://[::1]:1/',
    ];
    assert.deepEqual(
      given.map((text) => readRunnerAddress(text).href),
      ['https://runner.example.com/', 'http://localhost:3000/', 'http://127.0.0.2/x/', 'http://[::1]:1/'],
    );
    const wrong = [
      'runner.example.com',
      'ftp://runner.example.com',
      'https://user:secret@runner.example.com',
      'https://runner.example.com/?token=secret',
      'https://runner.example.com/#x',
      'http://runner.example.com',
      'http://localhost.example.com',
      'http://127.0.0.1.example.com',
    ];
    for (const text of wrong)
      assert.throws(
        () => readRunnerAddress(text),
        (thrown: unknown) => failing('invalid_input', /./)(thrown) && !String(thrown).includes('secret'),
        text,
      );
    assert.equal(readRunnerAddress('http://10.0.0.1', { plainHttp: true }).href, 'http://10.0.0.1/');
  });

  it('says who the runner is and for whom it takes the token', async () => {
    const { version, user, url } = await checkRunner({ url: runner.url, token: 'slp_good', policy });
    assert.equal(version.version, '1.2.3');
    assert.equal(user.name, 'Anna');
    assert.equal(url, `${runner.url}/`);
  });

  it('says what is wrong with an address or a token, and what to do', async () => {
    const check = (token = 'slp_good', url = runner.url): Promise<unknown> =>
      checkRunner({ url, token, policy });
    await assert.rejects(check('slp_bad'), failing('unauthorized', /Do it/));
    runner.version = { ...runner.version, oldestApi: 99, api: 99 };
    await assert.rejects(check(), failing('runner_version', /Update Sallyport on this machine/));
    runner.version = { ...runner.version, oldestApi: 0, api: 0 };
    await assert.rejects(check(), failing('runner_version', /Update the runner/));
    runner.version = { hello: 'world' };
    await assert.rejects(check(), failing('runner_unreachable', /no runner of Sallyport/));
    runner.onRequest = (_request, response) => {
      response.writeHead(302, { location: 'https://elsewhere.example.com/' }).end();
      return true;
    };
    await assert.rejects(check(), failing('runner_unreachable', /redirect/));
    const { port } = runner;
    await runner.close();
    await assert.rejects(
      check('slp_good', `http://127.0.0.1:${port}`),
      failing('runner_unreachable', /listens/),
    );
    await assert.rejects(
      check('slp_good', 'https://runner.invalid'),
      failing('runner_unreachable', /not known|no answer/),
    );
    runner = await FakeRunner.start();
  });

  it('tells how it stands, and comes back by itself', async () => {
    client = await RemoteClient.open(runner.url);
    const seen: ConnectionStatus['kind'][] = [];
    client.service.onDidChangeStatus(({ kind }) => seen.push(kind));
    await client.service.open();
    const online = await client.status('online');
    assert.ok(online.kind === 'online' && online.user.name === 'Anna' && online.version.version === '1.2.3');
    runner.dropStreams(1001);
    await until(() => seen.includes('offline'), 'the break');
    await client.status('online');
    assert.deepEqual(seen, ['connecting', 'online', 'offline', 'online']);
  });

  it('does not hammer a runner that refuses the token, and tries at once when it is told to', async () => {
    runner.token = 'slp_new';
    client = await RemoteClient.open(runner.url);
    await client.service.open();
    const refused = await client.status('refused');
    assert.ok(refused.kind === 'refused' && refused.error.code === 'unauthorized');
    await new Promise((passed) => setTimeout(passed, 300));
    assert.equal(runner.requests.filter((request) => request.startsWith('WS')).length, 1);
    client.token = 'slp_new';
    client.service.reconnect();
    await client.status('online');
  });

  it('is refused when the runner ends the stream because the token is not valid any more', async () => {
    client = await RemoteClient.open(runner.url);
    await client.service.open();
    await client.status('online');
    runner.token = 'slp_other';
    runner.dropStreams(4401);
    await client.status('refused');
  });

  it('says which side to update when the versions do not fit', async () => {
    for (const [api, oldestApi, update] of [
      [0, 0, 'runner'],
      [7, 7, 'client'],
    ] as const) {
      runner.version = { ...runner.version, api, oldestApi };
      client = await RemoteClient.open(runner.url);
      await client.service.open();
      const status = await client.status('version');
      assert.ok(
        status.kind === 'version' && status.update === update && status.error.code === 'runner_version',
      );
      await client.close();
      client = undefined;
    }
  });

  it('fits a newer runner that still knows this version', async () => {
    runner.version = { ...runner.version, api: 5, oldestApi: 1, more: { x: 1 } };
    client = await RemoteClient.open(runner.url);
    await client.service.open();
    await client.status('online');
  });

  it('leaves a runner that has gone silent', async () => {
    // It takes connections, greets, and never says a word again, not even to a ping.
    const silent = createServer();
    silent.on('upgrade', (request, socket) => {
      socket.on('error', () => undefined);
      const key = request.headers['sec-websocket-key'] ?? '';
      void import('node:crypto').then(({ createHash }) => {
        const accept = createHash('sha1')
          .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64');
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
        );
        const hello = JSON.stringify({ type: 'hello', version: runner.version, user: runner.user });
        socket.write(
          Buffer.concat([
            Buffer.from([0x81, 126, hello.length >> 8, hello.length & 255]),
            Buffer.from(hello),
          ]),
        );
      });
    });
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    client = await RemoteClient.open(`http://127.0.0.1:${port}`, { heartbeatMs: 30 });
    const seen: ConnectionStatus['kind'][] = [];
    client.service.onDidChangeStatus(({ kind }) => seen.push(kind));
    await client.service.open();
    await until(() => seen.includes('offline'), 'the end of the silence');
    assert.deepEqual(seen.slice(0, 3), ['connecting', 'online', 'offline']);
    client.service.dispose();
    silent.closeAllConnections();
    silent.close();
  });

  it('takes what is no runner for none', async () => {
    runner.version = { ...runner.version };
    runner.user = { id: 'u', name: 'x', role: 'superuser' as never };
    client = await RemoteClient.open(runner.url);
    await client.service.open();
    const status = await client.status('offline');
    assert.ok(
      status.kind === 'offline' && /no runner of Sallyport/.test(status.error.message),
      JSON.stringify(status),
    );
  });

  it('is disposed of at any moment, and twice', async () => {
    client = await RemoteClient.open(runner.url);
    const opening = client.service.open();
    client.service.dispose();
    client.service.dispose();
    await opening;
    await new Promise((passed) => setTimeout(passed, 100));
    assert.equal(runner.streams, 0);
    client.service = await client.another();
    await client.service.open();
    await client.status('online');
    client.service.dispose();
    await until(() => runner.streams === 0, 'the end of the stream');
  });

  describe('over TLS and proxies', () => {
    let folder: string;
    let front: Server;
    let proxy: Server;
    const tunnels: string[] = [];

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'sallyport-tls-'));
    });
    after(() => rm(folder, { recursive: true, force: true }));

    beforeEach(async () => {
      tunnels.length = 0;
      const { cert, key } = certificateFor('runner.example.com');
      await writeFile(join(folder, 'ca.pem'), cert);
      front = createTlsServer({ cert, key });
      const forward = (head: string, socket: Duplex, rest: Buffer): void => {
        const to = connect(runner.port, '127.0.0.1');
        for (const one of [socket, to]) one.on('error', () => undefined);
        to.write(head);
        to.write(rest);
        socket.pipe(to).pipe(socket);
      };
      const headOf = (request: IncomingMessage): string => {
        const lines: string[] = [];
        for (let i = 0; i < request.rawHeaders.length; i += 2)
          lines.push(`${request.rawHeaders[i] ?? ''}: ${request.rawHeaders[i + 1] ?? ''}`);
        return `${request.method ?? ''} ${request.url ?? ''} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
      };
      front.on('upgrade', (request, socket, head) => forward(headOf(request), socket, head));
      front.on('request', (request, response) => {
        void fetch(`${runner.url}${request.url ?? ''}`, {
          headers: { authorization: request.headers.authorization ?? '' },
        }).then(async (answer) => {
          response.writeHead(answer.status, { 'content-type': 'application/json' });
          response.end(await answer.text());
        });
      });
      front.listen(0, '127.0.0.1');
      await once(front, 'listening');
      proxy = createServer();
      proxy.on('connect', (request, socket) => {
        tunnels.push(request.url ?? '');
        const to = connect((front.address() as AddressInfo).port, '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          socket.pipe(to).pipe(socket);
        });
        for (const one of [socket, to]) one.on('error', () => undefined);
      });
      proxy.listen(0, '127.0.0.1');
      await once(proxy, 'listening');
    });
    afterEach(() => {
      for (const server of [front, proxy]) {
        server.closeAllConnections();
        server.close();
      }
    });

    const through = (): UserPolicy => ({
      ...defaultPolicy,
      network: { proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` },
      extraCaFile: join(folder, 'ca.pem'),
    });

    it('goes through the proxy of the settings, and knows the authority that the user named', async () => {
      assert.match(readFileSync(join(folder, 'ca.pem'), 'utf8'), /CERTIFICATE/);
      const url = 'https://runner.example.com:8443';
      const { user } = await checkRunner({ url, token: 'slp_good', policy: through });
      assert.equal(user.name, 'Anna');
      client = await RemoteClient.open(url, { policy: through });
      await client.service.open();
      await client.status('online');
      assert.ok(
        tunnels.length >= 2 && tunnels.every((to) => to === 'runner.example.com:8443'),
        tunnels.join(),
      );
    });

    it('does not talk to a runner whose certificate nobody vouches for', async () => {
      const without = (): UserPolicy => ({ ...defaultPolicy, network: through().network });
      const url = 'https://runner.example.com:8443';
      await assert.rejects(
        checkRunner({ url, token: 'slp_good', policy: without }),
        failing('runner_unreachable', /authority.*extraCa/s),
      );
      assert.deepEqual(runner.requests, []);
    });

    it('says that it is the proxy that does not let it through', async () => {
      proxy.removeAllListeners('connect');
      proxy.on('connect', (_request, socket) =>
        socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n'),
      );
      await assert.rejects(
        checkRunner({ url: 'https://runner.example.com', token: 'slp_good', policy: through }),
        failing('runner_unreachable', /proxy/),
      );
    });
  });

  it('refuses an address before it does anything', async () => {
    await assert.rejects(
      createRemoteTaskService({
        url: 'http://runner.example.com',
        token: () => Promise.resolve('x'),
        dataFolder: '/nowhere',
        policy,
        log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      }),
      failing('invalid_input', /encryption/),
    );
  });
});
