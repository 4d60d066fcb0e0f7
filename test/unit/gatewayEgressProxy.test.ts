import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { mock } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { classify } from '../../src/base/addresses.ts';
import { systemResolver } from '../../src/gateway/egress/resolver.ts';
import { helloMessage, inRecords, serverName } from '../support/clientHello.ts';
import { EgressBench, type RequestEvent } from '../support/egress.ts';

const host = 'host.example.com';
const established = 'HTTP/1.1 200 Connection established\r\n\r\n';

describe('gatewayEgressProxy', () => {
  let bench: EgressBench;
  let hello: Buffer;

  before(() => {
    hello = inRecords(helloMessage([serverName(host)]));
  });

  beforeEach(() => {
    bench = new EgressBench();
  });

  afterEach(() => bench.dispose());

  async function web(listener: RequestListener = (_, response) => response.end('hello')): Promise<number> {
    return await bench.listen(createServer(listener));
  }

  /** The one entry of the ledger. */
  async function entry(): Promise<RequestEvent> {
    const [first, ...further] = await bench.requests(1);
    assert.ok(first !== undefined && further.length === 0);
    return first;
  }

  function get(port: number, path = '/', name = host): string {
    return `GET http://${name}:${port}${path} HTTP/1.1\r\nHost: ${name}:${port}\r\n\r\n`;
  }

  function connectTo(port: number, name = host): string {
    return `CONNECT ${name}:${port} HTTP/1.1\r\nHost: ${name}:${port}\r\n\r\n`;
  }

  function blocked(answer: string, code: string, status = 403): void {
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} Blocked by Sallyport\\r\\n`));
    assert.match(answer, new RegExp(`\\r\\nx-sallyport-blocked: ${code}\\r\\n`));
    assert.match(answer, /\r\ncontent-type: text\/plain; charset=utf-8\r\n/);
    assert.match(answer, /\r\n\r\nBlocked by Sallyport: .+\.\n$/);
  }

  describe('tunnels', () => {
    it('carry bytes both ways, and are told with true numbers', async () => {
      const { port } = await bench.listenRaw((socket) => socket.pipe(socket));
      await bench.start({ rules: [`${host}:${port}`] });
      const client = bench.client(connectTo(port), hello, 'and more');
      await client.until('and more');
      client.socket.end('!');
      const answer = await client.text();
      const echo = hello.toString('latin1') + 'and more!';
      assert.equal(answer, established + echo);
      const { t, started, ...told } = await entry();
      assert.ok(started <= t);
      assert.deepEqual(told, {
        g: 1,
        type: 'request',
        id: 1,
        kind: 'tunnel',
        host,
        port,
        verdict: 'allowed',
        reason: `${host}:${port}`,
        status: 200,
        bytesOut: echo.length,
        bytesIn: echo.length,
      });
    });

    it('wait for a slow client, byte by byte', async () => {
      const { port, taken } = await bench.listenRaw((socket) => socket.pipe(socket));
      await bench.start({ rules: [`${host}:${port}`] });
      const client = bench.client();
      client.socket.setNoDelay(true);
      for (const byte of Buffer.concat([Buffer.from(connectTo(port)), hello.subarray(0, -1)])) {
        client.socket.write(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
      await client.until('\r\n\r\n');
      assert.equal(taken.length, 0);
      client.socket.write(hello.subarray(-1));
      await client.until(hello.toString('latin1'));
      client.socket.end();
      assert.equal(await client.text(), established + hello.toString('latin1'));
    });

    const hellos: [what: string, code: RegExp, bytes: () => Buffer, answer: Buffer | string][] = [
      [
        'another name than the one asked for',
        /begins TLS with other\.example\.com/,
        () => inRecords(helloMessage([serverName('other.example.com')])),
        alert(112),
      ],
      [
        'a name below the one asked for',
        /begins TLS with a\.host\.example\.com/,
        () => inRecords(helloMessage([serverName(`a.${host}`)])),
        alert(112),
      ],
      [
        'a name with a dot at its end',
        /begins TLS with/,
        () => inRecords(helloMessage([serverName(`${host}.`)])),
        alert(112),
      ],
      ['no name', /does not say in TLS/, () => inRecords(helloMessage([])), alert(112)],
      [
        'an encrypted name',
        /Encrypted Client Hello/,
        () => inRecords(helloMessage([serverName(host), [0xfe0d, Buffer.alloc(8)]])),
        alert(40),
      ],
      ['SSH', /does not begin with TLS/, () => Buffer.from('SSH-2.0-OpenSSH_9.6\r\n'), ''],
    ];
    for (const [what, sentence, bytes, answer] of hellos) {
      it(`that begin with ${what} are closed, and nothing goes out`, async () => {
        const { port, taken } = await bench.listenRaw();
        await bench.start({ rules: [`${host}:${port}`], holdMs: 60_000 });
        const words = await bench.ask(connectTo(port), bytes());
        assert.equal(words, established + answer.toString('latin1'));
        const { verdict, reason = '', askable, bytesOut, bytesIn } = await entry();
        assert.deepEqual([verdict, askable, bytesOut, bytesIn], ['blocked', false, 0, 0]);
        assert.match(reason, sentence);
        assert.equal(taken.length, 0);
      });
    }

    it('that begin with HTTP get an answer that can be read', async () => {
      const { port, taken } = await bench.listenRaw();
      await bench.start({ rules: [`${host}:${port}`] });
      const words = await bench.ask(connectTo(port), `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      blocked(words.slice(established.length), 'not_tls');
      assert.equal(taken.length, 0);
    });

    it('that stay silent are closed', async () => {
      const { port, taken } = await bench.listenRaw();
      await bench.start({ rules: [`${host}:${port}`] }, { limits: { helloMs: 30 } });
      assert.equal(await bench.ask(connectTo(port), hello.subarray(0, 50)), established);
      assert.match((await entry()).reason ?? '', /did not begin with TLS in time/);
      assert.equal(taken.length, 0);
    });

    it('whose client leaves at once are told', async () => {
      const { port } = await bench.listenRaw();
      await bench.start({ rules: [`${host}:${port}`] });
      const client = bench.client(connectTo(port));
      await client.until('\r\n\r\n');
      client.socket.destroy();
      assert.deepEqual([(await entry()).verdict, (await entry()).bytesOut], ['failed', 0]);
    });

    it('let one direction end before the other', async () => {
      const { port } = await bench.listenRaw((socket) => {
        let got = 0;
        socket.on('data', (chunk: Buffer) => (got += chunk.length));
        socket.on('end', () => socket.end(`got ${got}`));
      });
      await bench.start({ rules: [`${host}:${port}`] });
      const client = bench.client(connectTo(port), hello);
      await client.until('\r\n\r\n');
      client.socket.end('x'.repeat(1000));
      assert.equal(await client.text(), `${established}got ${hello.length + 1000}`);
    });

    it('end on both sides when one breaks off', async () => {
      const { port, taken } = await bench.listenRaw((socket) => {
        socket.write('welcome');
        socket.on('end', () => socket.end());
      });
      await bench.start({ rules: [`${host}:${port}`] });
      const one = bench.client(connectTo(port), hello);
      await one.until('welcome');
      taken[0]?.resetAndDestroy();
      assert.equal(await one.text(), `${established}welcome`);
      const other = bench.client(connectTo(port), hello);
      await other.until('welcome');
      other.socket.destroy();
      assert.ok(taken[1] !== undefined);
      taken[1].resume();
      await once(taken[1], 'close');
      assert.equal((await bench.requests(2)).filter(({ verdict }) => verdict === 'allowed').length, 2);
    });

    it('hold little of what a client does not take', async () => {
      const chunk = Buffer.alloc(1 << 20);
      const total = 64;
      const { port, taken } = await bench.listenRaw((socket) => {
        for (let i = 0; i < total; i++) socket.write(chunk);
      });
      await bench.start({ rules: [`${host}:${port}`] });
      const socket = connect(bench.socketPath);
      socket.on('error', () => undefined);
      socket.pause();
      socket.write(connectTo(port));
      socket.write(hello);
      let before = -1;
      for (;;) {
        await delay(100);
        const left = taken[0]?.writableLength;
        if (left === before) break;
        if (left !== undefined) before = left;
      }
      assert.ok(before > (total / 2) * chunk.length, String(before));
      socket.destroy();
    });

    it('that stay silent for long are closed', async () => {
      const { port } = await bench.listenRaw((socket) => socket.write('welcome'));
      await bench.start({ rules: [`${host}:${port}`] }, { limits: { idleMs: 1000 } });
      assert.equal(await bench.ask(connectTo(port), hello), `${established}welcome`);
      assert.equal((await entry()).verdict, 'allowed');
    });

    it('say so when nobody answers', async () => {
      const { port } = await bench.listenRaw();
      bench.dispose();
      bench = new EgressBench();
      await bench.start({ rules: [`${host}:${port}`] });
      assert.equal(await bench.ask(connectTo(port), hello), established + alert(80).toString('latin1'));
      const { verdict, reason } = await entry();
      assert.deepEqual([verdict, reason], ['failed', `${host}:${port} could not be reached (ECONNREFUSED).`]);
    });
  });

  describe('addresses', () => {
    it('are looked up once, and that answer is connected to', async () => {
      const port = await web();
      const answers = [['127.0.0.1'], ['127.0.0.9']];
      await bench.start(
        { rules: [`${host}:${port}`] },
        { resolve: () => Promise.resolve(answers.shift() ?? []) },
      );
      assert.match(await bench.ask(get(port)), /hello$/);
      assert.deepEqual(bench.lookups, [host]);
    });

    it('are tried in turn', async () => {
      const port = await web();
      await bench.start(
        { rules: [`${host}:${port}`] },
        { resolve: () => Promise.resolve(['127.0.0.2', '127.0.0.3', '127.0.0.1']) },
      );
      assert.match(await bench.ask(get(port)), /hello$/);
    });

    const names: [what: string, rule: string, addresses: string[], code: string][] = [
      ['the loopback', '', ['127.0.0.1'], 'address'],
      ['the loopback, with a rule for private ones', ' private', ['127.0.0.1'], 'address'],
      ['the metadata service', ' private', ['169.254.169.254'], 'address'],
      ['the credentials of a task', ' private', ['169.254.170.2'], 'address'],
      ['the metadata service over IPv6', ' private', ['fd00:ec2::254'], 'address'],
      ['a mapped loopback', ' private', ['::ffff:127.0.0.1'], 'address'],
      ['nowhere', ' private', ['0.0.0.0'], 'address'],
      ['a public one and the loopback', '', ['203.0.113.7', '::1'], 'address'],
      ['a private one', '', ['10.0.0.1'], 'private_address'],
      ['a public and a private one', '', ['203.0.113.7', '172.17.0.1'], 'private_address'],
    ];
    for (const [what, rule, addresses, code] of names) {
      it(`of ${what} are refused`, async () => {
        await bench.start(
          { rules: [`${host}${rule} GET`, `${host}:8443${rule}`], holdMs: 60_000 },
          { classify, resolve: () => Promise.resolve(addresses) },
        );
        blocked(await bench.ask(get(80)), code);
        blocked(await bench.ask(connectTo(8443), hello), code);
        for (const { verdict, askable } of await bench.requests(2)) {
          assert.deepEqual([verdict, askable], ['blocked', false]);
        }
      });
    }

    it('that are private pass by a rule that says so', async () => {
      const port = await web();
      await bench.start({ rules: [`${host}:${port} private`] }, { classify: () => 'private' });
      assert.match(await bench.ask(get(port)), /hello$/);
    });

    it('of the real resolver are checked: localhost is this machine', async () => {
      await bench.start({ rules: ['localhost private'] }, { classify, resolve: systemResolver });
      blocked(await bench.ask(get(80, '/', 'localhost')), 'address');
    });

    it('that are not found are told', async () => {
      await bench.start(
        { rules: [host] },
        { resolve: () => Promise.reject(Object.assign(new Error('secret text'), { code: 'ENOTFOUND' })) },
      );
      assert.match(
        await bench.ask(get(80)),
        /^HTTP\/1\.1 502 [^]*has no address that could be found \(ENOTFOUND\)\.\n$/,
      );
      assert.equal((await entry()).verdict, 'failed');
    });

    it('that are not found in time are told', async () => {
      await bench.start(
        { rules: [host] },
        { resolve: () => new Promise(() => undefined), limits: { resolveMs: 20 } },
      );
      assert.match(await bench.ask(get(80)), /\(ETIMEDOUT\)\.\n$/);
    });
  });

  describe('plain requests', () => {
    it('pass with what belongs to them, and without what belongs to the connection', async () => {
      const seen: IncomingMessage[] = [];
      let body = '';
      const port = await web((request, response) => {
        seen.push(request);
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          response.writeHead(201, 'Made', [
            'X-One',
            'a',
            'X-One',
            'b',
            'Set-Cookie',
            'c=d',
            'Keep-Alive',
            'timeout=9',
            'Connection',
            'keep-alive, X-Gone',
            'X-Gone',
            'x',
            'X-Sallyport-Blocked',
            'not_listed',
            'Proxy-Authenticate',
            'Basic',
            'Content-Length',
            '4',
          ]);
          response.end('made');
        });
      });
      await bench.start({ rules: [`${host}:${port} POST`] });
      const answer = await bench.ask(
        `POST http://${host}:${port}/a%20b?c=d HTTP/1.1\r\nHost: ${host}:${port}\r\nCookie: x=y\r\nX-A: 1\r\nX-A: 2\r\n` +
          'Proxy-Authorization: Basic Zm9v\r\nProxy-Connection: keep-alive\r\nConnection: Upgrade, X-Mine\r\nX-Mine: 1\r\n' +
          'Upgrade: websocket\r\nTE: trailers\r\nContent-Length: 5\r\n\r\nhello',
      );
      const [request] = seen;
      assert.deepEqual([request?.method, request?.url], ['POST', '/a%20b?c=d']);
      assert.deepEqual(request?.rawHeaders, [
        ...['Host', `${host}:${port}`, 'Cookie', 'x=y', 'X-A', '1', 'X-A', '2'],
        ...['Content-Length', '5', 'Connection', 'close'],
      ]);
      assert.equal(body, 'hello');
      const [head = '', content] = answer.split('\r\n\r\n');
      assert.match(head, /^HTTP\/1\.1 201 Made\r\nX-One: a\r\nX-One: b\r\nSet-Cookie: c=d\r\n/);
      assert.match(head, /\r\nConnection: close$/);
      assert.doesNotMatch(head, /gone|keep-alive|sallyport|authenticate/i);
      assert.equal(content, 'made');
      const { method, path, status, bytesOut, bytesIn, verdict } = await entry();
      assert.deepEqual(
        { method, path, status, bytesOut, bytesIn, verdict },
        { method: 'POST', path: '/a%20b', status: 201, bytesOut: 5, bytesIn: 4, verdict: 'allowed' },
      );
    });

    it('pass with a body in chunks, also back', async () => {
      const port = await web((request, response) => request.pipe(response));
      await bench.start({ rules: [`${host}:${port} POST`] });
      const answer = await bench.ask(
        `POST http://${host}:${port}/ HTTP/1.1\r\nHost: ${host}:${port}\r\nTransfer-Encoding: chunked\r\n\r\n`,
        '5\r\nhello\r\n',
        '1\r\n!\r\n0\r\n\r\n',
      );
      assert.match(
        answer,
        /Transfer-Encoding: chunked\r\n\r\n(5\r\nhello\r\n1\r\n!|6\r\nhello!)\r\n0\r\n\r\n$/,
      );
      assert.deepEqual([(await entry()).bytesOut, (await entry()).bytesIn], [6, 6]);
    });

    it('get a redirect as it is', async () => {
      const port = await web((_, response) =>
        response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
      );
      await bench.start({ rules: [`${host}:${port}`] });
      assert.match(
        await bench.ask(get(port)),
        /^HTTP\/1\.1 302 Found\r\nlocation: http:\/\/169\.254\.169\.254\/\r\n/,
      );
      assert.deepEqual(bench.lookups, [host]);
    });

    it('pass one by one: what follows on the connection is thrown away', async () => {
      const urls: string[] = [];
      const port = await web((request, response) => {
        urls.push(request.url ?? '');
        response.end('hello');
      });
      await bench.start({ rules: [`${host}:${port}`, 'a.example.com', `${host}:${port} POST`] });
      const answer = await bench.ask(get(port, '/one'), get(port, '/two'));
      assert.equal(answer.match(/HTTP\/1\.1/g)?.length, 1);
      await bench.ask(
        `POST http://${host}:${port}/three HTTP/1.1\r\nHost: ${host}:${port}\r\nContent-Length: 2\r\n\r\nhi${get(port, '/four')}`,
      );
      const noise = await bench.ask(get(port, '/five'), 'no request at all\r\n\r\n');
      assert.match(noise, /hello$/);
      assert.deepEqual(urls, ['/one', '/three', '/five']);
      assert.equal((await bench.requests(3)).length, 3);
    });

    it('cannot carry a second request to the upstream server in a damaged body', async () => {
      const heard: string[] = [];
      const { port } = await bench.listenRaw((socket) =>
        socket.on('data', (chunk: Buffer) => heard.push(chunk.toString())),
      );
      await bench.start({ rules: [`${host}:${port} POST`] });
      const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n';
      for (const body of [
        `0\r\nX: y\n\r\n${smuggled}`,
        `5;a\nb\r\nhello${smuggled}`,
        `0\r\n\r\n${smuggled}`,
        `-1\r\n${smuggled}`,
      ]) {
        const client = bench.client(
          `POST http://${host}:${port}/ HTTP/1.1\r\nHost: ${host}:${port}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
        );
        await delay(30);
        client.socket.destroy();
      }
      await bench.requests(4);
      assert.doesNotMatch(heard.join(''), /\r\nGET \/smuggled|^GET/m);
    });

    it('are broken off at a damaged body', async () => {
      const { port } = await bench.listenRaw();
      await bench.start({ rules: [`${host}:${port} POST`] });
      await bench.ask(
        `POST http://${host}:${port}/ HTTP/1.1\r\nHost: ${host}:${port}\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n`,
      );
      assert.equal((await entry()).verdict, 'failed');
    });

    it('of HTTP/1.0 get an answer of HTTP/1.0’s kind', async () => {
      const port = await web((_, response) => {
        response.write('in ');
        response.end('pieces');
      });
      await bench.start({ rules: [`${host}:${port}`] });
      const answer = await bench.ask(`GET http://${host}:${port}/ HTTP/1.0\r\n\r\n`);
      assert.doesNotMatch(answer, /chunked/i);
      assert.match(answer, /\r\n\r\nin pieces$/);
    });

    const broken: [what: string, answer: string, expected: RegExp][] = [
      ['something else than HTTP', 'SSH-2.0-x\r\n', /^HTTP\/1\.1 502 /],
      ['nothing', '', /^HTTP\/1\.1 502 /],
      [
        'two lengths',
        'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
        /^HTTP\/1\.1 502 /,
      ],
      [
        'a switch of protocols',
        'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
        /^HTTP\/1\.1 502 /,
      ],
      ['an endless head', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(50_000)}\r\n\r\n`, /^HTTP\/1\.1 502 /],
      [
        'less than it promised',
        'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc',
        /^HTTP\/1\.1 200 OK\r\n[^]*Content-Length: 10\r\n[^]*abc$/,
      ],
    ];
    for (const [what, answer, expected] of broken) {
      it(`tell the failure when the server answers ${what}`, async () => {
        const { port } = await bench.listenRaw((socket) => socket.once('data', () => socket.end(answer)));
        await bench.start({ rules: [`${host}:${port}`] });
        assert.match(await bench.ask(get(port)), expected);
        assert.equal((await entry()).verdict, 'failed');
      });
    }

    it('that are refused can be read, and their bodies are not waited for', async () => {
      await bench.start({ rules: [host] });
      const text = await bench.ask(
        'POST http://other.example.com/x HTTP/1.1\r\nHost: other.example.com\r\nContent-Length: 1000000\r\n\r\n',
        'x'.repeat(100_000),
      );
      blocked(text, 'not_listed');
      assert.match(
        text,
        /\r\n\r\nBlocked by Sallyport: other\.example\.com is not on the list of this sandbox\. Ask the user to allow it\.\n$/,
      );
      const { verdict, askable, status, method, path } = await entry();
      assert.deepEqual([verdict, askable, status, method, path], ['blocked', true, 403, 'POST', '/x']);
      assert.deepEqual(bench.lookups, []);
    });

    const refused: [what: string, request: string, code: string, status?: number][] = [
      ['an address', get(80, '/', '169.254.169.254'), 'ip_literal'],
      ['an address in one number', 'CONNECT 2130706433:443 HTTP/1.1\r\n\r\n', 'ip_literal'],
      ['an IPv6 address', 'CONNECT [::ffff:127.0.0.1]:443 HTTP/1.1\r\n\r\n', 'ip_literal'],
      ['an origin-form target', `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 'scheme'],
      ['https without a tunnel', `GET https://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 'scheme'],
      ['another Host', `GET http://${host}/ HTTP/1.1\r\nHost: other.example.com\r\n\r\n`, 'host_mismatch'],
      ['TLS to the proxy itself', '\x16\x03\x01\x02\x00\x01', 'malformed', 400],
      [
        'two kinds of length',
        `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
        'malformed',
        400,
      ],
    ];
    for (const [what, request, code, status] of refused) {
      it(`with ${what} are refused, and nobody is asked`, async () => {
        await bench.start({ policy: { mode: 'open', rules: [] }, holdMs: 60_000 });
        blocked(await bench.ask(Buffer.from(request, 'latin1')), code, status);
        const { verdict, askable } = await entry();
        assert.deepEqual([verdict, askable], ['blocked', false]);
        assert.deepEqual(bench.lookups, []);
      });
    }
  });

  describe('waiting for an answer', () => {
    it('goes on when the user allows it', async () => {
      const port = await web();
      const proxy = await bench.start({ holdMs: 60_000 });
      const client = bench.client(get(port));
      const [waiting] = await bench.waiting(1);
      assert.deepEqual([waiting?.host, waiting?.port, waiting?.method], [host, port, 'GET']);
      proxy.setPolicy({ mode: 'list', rules: ['unrelated.example.com'] }, []);
      proxy.setPolicy({ mode: 'list', rules: [`${host}:${port}`] }, []);
      assert.match(await client.text(), /hello$/);
      const { id, verdict, reason } = await entry();
      assert.deepEqual([id, verdict, reason], [waiting?.id, 'allowed', `${host}:${port}`]);
    });

    it('goes on for a tunnel too, with what its client has sent meanwhile', async () => {
      const { port } = await bench.listenRaw((socket) => socket.pipe(socket));
      const proxy = await bench.start({ holdMs: 60_000 });
      const client = bench.client(connectTo(port), hello);
      await bench.waiting(1);
      proxy.setPolicy({ mode: 'list', rules: [`${host}:${port}`] }, []);
      await client.until(hello.toString('latin1'));
      client.socket.end();
      assert.equal(await client.text(), established + hello.toString('latin1'));
    });

    it('ends when the user says no', async () => {
      const proxy = await bench.start({ holdMs: 60_000 });
      const client = bench.client(get(80));
      await bench.waiting(1);
      proxy.setPolicy({ mode: 'list', rules: [] }, [host]);
      blocked(await client.text(), 'user_refused');
      blocked(await bench.ask(get(80)), 'user_refused');
      assert.equal((await bench.waiting(1)).length, 1);
    });

    it('ends when the time is over; later requests are refused at once until the policy changes', async () => {
      const proxy = await bench.start({ holdMs: 50 });
      blocked(await bench.ask(get(80)), 'not_listed');
      blocked(await bench.ask(get(80)), 'not_listed');
      blocked(await bench.ask(connectTo(443)), 'not_listed');
      assert.deepEqual(
        bench.events.map((event) => [event.type, 'port' in event ? event.port : undefined]),
        [
          ['request_waiting', 80],
          ['request', 80],
          ['request', 80],
          ['request_waiting', 443],
          ['request', 443],
        ],
      );
      proxy.setPolicy({ mode: 'list', rules: [] }, []);
      blocked(await bench.ask(get(80)), 'not_listed');
      assert.equal((await bench.waiting(3)).length, 3);
    });

    it('is shared by requests for the same host', async () => {
      const port = await web();
      const proxy = await bench.start({ holdMs: 60_000 });
      const clients = [bench.client(get(port)), bench.client(get(port))];
      const waiting = await bench.waiting(2);
      assert.equal(waiting[0]?.until, waiting[1]?.until);
      proxy.setPolicy({ mode: 'list', rules: [`${host}:${port}`] }, []);
      for (const client of clients) assert.match(await client.text(), /hello$/);
    });

    it('ends when the client leaves', async () => {
      await bench.start({ holdMs: 60_000 });
      const client = bench.client(get(80));
      const [waiting] = await bench.waiting(1);
      client.socket.destroy();
      const { id, verdict, askable } = await entry();
      assert.deepEqual([id, verdict, askable], [waiting?.id, 'blocked', true]);
    });

    it('holds little of what the client sends meanwhile', async () => {
      await bench.start({ holdMs: 60_000 });
      const bytes = 8 << 20;
      const client = bench.client(connectTo(443), Buffer.alloc(bytes));
      await bench.waiting(1);
      let before = -1;
      while (client.socket.writableLength !== before) {
        before = client.socket.writableLength;
        await delay(50);
      }
      assert.ok(before > bytes / 2, String(before));
    });

    it('is for so many at once', async () => {
      await bench.start({ holdMs: 60_000 }, { limits: { waiting: 2 } });
      bench.client(get(80, '/', 'a.example.com'));
      bench.client(get(80, '/', 'b.example.com'));
      await bench.waiting(2);
      blocked(await bench.ask(get(80, '/', 'c.example.com')), 'not_listed');
    });

    it('is for so many hosts until the policy changes', async () => {
      await bench.start({ holdMs: 1 }, { limits: { asked: 2 } });
      for (const name of ['a', 'b', 'c'])
        blocked(await bench.ask(get(80, '/', `${name}.example.com`)), 'not_listed');
      assert.equal((await bench.waiting(2)).length, 2);
    });

    it('is not for what no rule could mend', async () => {
      await bench.start({ policy: { mode: 'closed', rules: [] }, holdMs: 60_000 });
      blocked(await bench.ask(get(80)), 'closed');
      assert.equal((await entry()).askable, false);
    });
  });

  describe('a change of the policy', () => {
    it('closes open tunnels that would not be allowed any more, and leaves the others', async () => {
      const { port } = await bench.listenRaw((socket) => socket.write('welcome'));
      const proxy = await bench.start({ rules: [`${host}:${port}`, `other.example.com:${port}`] });
      const gone = bench.client(connectTo(port), hello);
      const kept = bench.client(
        connectTo(port, 'other.example.com'),
        inRecords(helloMessage([serverName('other.example.com')])),
      );
      await gone.until('welcome');
      await kept.until('welcome');
      proxy.setPolicy({ mode: 'list', rules: [`other.example.com:${port}`] }, []);
      await gone.text();
      const { verdict, reason, bytesIn } = await entry();
      assert.deepEqual([verdict, bytesIn], ['blocked', 'welcome'.length]);
      assert.match(reason ?? '', /^The rule was removed\./);
      assert.equal(kept.socket.destroyed, false);
    });

    it('ends requests whose answer has not come', async () => {
      const arrived = Promise.withResolvers<undefined>();
      const port = await web(() => arrived.resolve(undefined));
      const proxy = await bench.start({ rules: [`${host}:${port}`] });
      const client = bench.client(get(port));
      await arrived.promise;
      proxy.setPolicy({ mode: 'closed', rules: [] }, []);
      blocked(await client.text(), 'rule_removed');
    });

    it('ends requests to a private address that is not allowed any more', async () => {
      const { port } = await bench.listenRaw((socket) => socket.write('welcome'));
      const proxy = await bench.start({ rules: [`${host}:${port} private`] }, { classify: () => 'private' });
      const client = bench.client(connectTo(port), hello);
      await client.until('welcome');
      proxy.setPolicy({ mode: 'list', rules: [`${host}:${port}`] }, []);
      await client.text();
      assert.equal((await entry()).verdict, 'blocked');
    });
  });

  describe('the ledger', () => {
    it('lists so many refusals, counts the rest, and tells the number', async () => {
      const port = await web();
      await bench.start({ rules: [`${host}:${port}`], holdMs: 60_000 }, { limits: { listedRefusals: 5 } });
      for (let i = 0; i < 12; i++) await bench.ask(get(80, '/', '127.0.0.1'));
      blocked(await bench.ask(get(80, '/', 'new.example.com')), 'not_listed');
      assert.match(await bench.ask(get(port)), /hello$/);
      bench.dispose();
      assert.deepEqual(
        bench.events.map(({ g, type }) => [g, type]),
        [1, 2, 3, 4, 5, 6].map((g) => [g, 'request']).concat([[7, 'gateway_notice']]),
      );
      const last = bench.events.at(-1);
      assert.ok(last?.type === 'gateway_notice');
      assert.equal(
        last.text,
        '8 further requests were refused or failed and are not listed, the last to new.example.com.',
      );
      const ids = bench.events.flatMap((event) => (event.type === 'request' ? [event.id] : []));
      assert.deepEqual(ids, [1, 2, 3, 4, 5, 6]);
    });

    it('lists again in the next window, fewer after a flood', async () => {
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        await bench.start({}, { limits: { listedRefusals: 10, windowMs: 60_000 } });
        for (let i = 0; i < 15; i++) await bench.ask(get(80));
        mock.timers.tick(60_000);
        for (let i = 0; i < 5; i++) await bench.ask(get(80));
        bench.dispose();
      } finally {
        mock.timers.reset();
      }
      const types = bench.events.map(({ type }) => type);
      assert.deepEqual(types, [
        ...Array.from({ length: 10 }, () => 'request'),
        'gateway_notice',
        'request',
        'gateway_notice',
      ]);
    });

    it('gets the end of what is open when the proxy ends', async () => {
      const { port } = await bench.listenRaw((socket) => socket.write('welcome'));
      await bench.start({ rules: [`${host}:${port}`], holdMs: 60_000 });
      const open = bench.client(connectTo(port), hello);
      await open.until('welcome');
      bench.client(get(80, '/', 'a.example.com'));
      await bench.waiting(1);
      bench.dispose();
      const told = bench.events.flatMap((event) => (event.type === 'request' ? [event] : []));
      assert.deepEqual(
        told.map(({ verdict, bytesOut, bytesIn }) => [verdict, bytesOut, bytesIn]),
        [
          ['allowed', hello.length, 7],
          ['failed', 0, 0],
        ],
      );
      bench.dispose();
      assert.equal(bench.events.filter(({ type }) => type === 'request').length, 2);
    });

    it('holds nothing that could be taken for something else', async () => {
      await bench.start();
      await bench.ask(Buffer.from(`CONNECT b\u00fccher\u202e.example.com:443 HTTP/1.1\r\n\r\n`, 'utf8'));
      await bench.ask(get(80, `/${'a'.repeat(1000)}`));
      for (const event of await bench.requests(2)) {
        assert.match(event.host, /^[\x20-\x7e]*$/);
        assert.ok((event.path ?? '').length <= 300);
      }
    });
  });

  it('answers any bytes in any pieces, tells each once, and lets none of them out', async () => {
    const { port, taken } = await bench.listenRaw();
    await bench.start({ rules: [`${host}:${port}`] }, { limits: { listedRefusals: 10_000 } });
    const piece = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          connectTo(port),
          'CONNECT ',
          'GET http://',
          'a.example.com',
          ' HTTP/1.1\r\n',
          'Host: ',
          '\r\n\r\n',
          'x: y\r\n',
        )
        .map((text) => Buffer.from(text)),
      fc.nat(hello.length - 1).map((length) => hello.subarray(0, length)),
    );
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 6 }), async (pieces) => {
        if (Buffer.concat(pieces).length === 0) return;
        const client = bench.client(...pieces.filter(({ length }) => length > 0));
        client.socket.end();
        await client.text();
        client.socket.destroy();
        runs++;
        const told = await bench.requests(runs);
        assert.equal(told.length, runs);
        assert.notEqual(told.at(-1)?.verdict, 'allowed');
      }),
      { numRuns: 300 },
    );
    assert.equal(taken.length, 0);
  });

  describe('limits', () => {
    it('turns connections away when too many are open, and tells how many', async () => {
      const proxy = await bench.start({ holdMs: 60_000 }, { limits: { connections: 2 } });
      bench.client(get(80));
      bench.client(get(80));
      await bench.waiting(2);
      blocked(await bench.ask(get(80)), 'too_many', 503);
      proxy.dispose();
      const last = bench.events.at(-1);
      assert.ok(last?.type === 'gateway_notice');
      assert.equal(last.text, '1 connections were turned away, because too many were open.');
    });

    it('waits for a head only so long', async () => {
      await bench.start({}, { limits: { headMs: 1000 } });
      const client = bench.client('GET http://a.example.com/ HTTP/1.1\r\nX: ');
      assert.match(await client.text(), /^HTTP\/1\.1 408 /);
      assert.equal((await entry()).verdict, 'failed');
    });

    it('closes a connection that says nothing, without a word in the ledger', async () => {
      await bench.start({}, { limits: { headMs: 30 } });
      assert.equal(await bench.client().text(), '');
      bench.dispose();
      assert.deepEqual(bench.events, []);
    });

    it('ends a connection that says nothing without a word in the ledger, too, when the proxy ends', async () => {
      await bench.start();
      const client = bench.client();
      await once(client.socket, 'connect');
      await bench.ask(get(80));
      bench.dispose();
      assert.deepEqual(
        bench.events.map(({ type }) => type),
        ['request'],
      );
    });

    it('ends a plain request that stands still', async () => {
      const port = await web(() => undefined);
      await bench.start({ rules: [`${host}:${port}`] }, { limits: { idleMs: 50 } });
      assert.match(await bench.ask(get(port)), /^HTTP\/1\.1 408 /);
    });

    it('does not read on from a client that was refused', async () => {
      await bench.start({}, { limits: { lingerMs: 50 } });
      const client = bench.client(get(80));
      const talk = setInterval(() => client.socket.write(Buffer.alloc(1 << 16)), 5);
      client.socket.once('close', () => clearInterval(talk));
      blocked(await client.until('.\n'), 'not_listed');
      while (!client.socket.closed) await delay(10);
    });
  });

  describe('a proxy of the company', () => {
    interface Company {
      server: Server;
      asked: { method: string; target: string; authorization: string | undefined }[];
    }

    function company(port: () => number, status = 200): Company {
      const asked: Company['asked'] = [];
      const note = (request: IncomingMessage): void => {
        const { method = '', url: target = '' } = request;
        asked.push({ method, target, authorization: request.headers['proxy-authorization'] });
      };
      const server = createServer((request, response) => {
        note(request);
        response.writeHead(status).end('through the company');
      });
      server.on('connect', (request, socket: Socket) => {
        note(request);
        const onward = connect(port(), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          onward.pipe(socket).pipe(onward);
        });
      });
      return { server, asked };
    }

    const unknown = (): Promise<never> => Promise.reject(Object.assign(new Error(), { code: 'ENOTFOUND' }));
    const authorization = `Basic ${Buffer.from('user:pass').toString('base64')}`;

    it('gets tunnels and plain requests, with its user', async () => {
      const { port } = await bench.listenRaw((socket) => socket.pipe(socket));
      const { server, asked } = company(() => port);
      const at = await bench.listen(server);
      const network = { proxy: `http://user:pass@127.0.0.1:${at}` };
      await bench.start({ rules: [host], network }, { resolve: unknown });
      const client = bench.client(connectTo(443), hello);
      await client.until(hello.toString('latin1'));
      client.socket.end();
      assert.equal(await client.text(), established + hello.toString('latin1'));
      assert.match(await bench.ask(get(80, '/x?y')), /through the company/);
      assert.deepEqual(asked, [
        { method: 'CONNECT', target: `${host}:443`, authorization },
        { method: 'GET', target: `http://${host}/x?y`, authorization },
      ]);
      assert.equal((await bench.requests(2))[0]?.bytesOut, hello.length);
      // The second time it is known that only the proxy knows the name.
      assert.deepEqual(bench.lookups, [host]);
    });

    it('does not get what the policy refuses, nor a name that stands for this machine', async () => {
      const { server, asked } = company(() => 1);
      const network = { proxy: `http://127.0.0.1:${await bench.listen(server)}` };
      await bench.start({ rules: [host], network }, { classify });
      blocked(await bench.ask(get(80)), 'address');
      blocked(await bench.ask(connectTo(443), hello), 'address');
      blocked(await bench.ask(get(80, '/', 'other.example.com')), 'not_listed');
      assert.deepEqual(asked, []);
    });

    it('hears of a tunnel only after its first flight was checked', async () => {
      const { server, asked } = company(() => 1);
      const network = { proxy: `http://127.0.0.1:${await bench.listen(server)}` };
      await bench.start({ rules: [host], network }, { resolve: unknown });
      await bench.ask(connectTo(443), inRecords(helloMessage([serverName('other.example.com')])));
      await bench.requests(1);
      assert.deepEqual(asked, []);
    });

    it('is let go when the client leaves before its answer', async () => {
      const { port, taken } = await bench.listenRaw((socket) => socket.resume());
      const network = { proxy: `http://127.0.0.1:${port}` };
      await bench.start({ rules: [host], network }, { resolve: unknown });
      const client = bench.client(connectTo(443), hello);
      await client.until('\r\n\r\n');
      while (taken[0] === undefined) await delay(5);
      client.socket.destroy();
      await once(taken[0], 'end');
      assert.equal((await entry()).verdict, 'failed');
    });

    it('is not used for hosts that are named as exempt', async () => {
      const port = await web();
      const { server, asked } = company(() => 1);
      const network = { proxy: `http://127.0.0.1:${await bench.listen(server)}`, noProxy: '.example.com' };
      await bench.start({ rules: [`${host}:${port}`], network });
      assert.match(await bench.ask(get(port)), /hello$/);
      assert.deepEqual(asked, []);
    });

    it('that refuses the user of the settings is told', async () => {
      const { server } = company(() => 1, 407);
      const network = { proxy: `http://user:pass@127.0.0.1:${await bench.listen(server)}` };
      await bench.start({ rules: [host], network }, { resolve: unknown });
      assert.match(await bench.ask(get(80)), /^HTTP\/1\.1 502 [^]*refuses the gateway's user\.\n$/);
    });

    it('that cannot be used is told at the start', async () => {
      await assert.rejects(bench.start({ network: { proxy: 'socks5://127.0.0.1:1080' } }), {
        code: 'invalid_input',
      });
    });
  });
});

function alert(description: number): Buffer {
  return Buffer.from([21, 3, 3, 0, 2, 2, description]);
}
