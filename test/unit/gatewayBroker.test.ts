import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { readFileSync, statSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { BrokerOptions } from '../../src/gateway/broker.ts';
import { maxRequestBytes } from '../../src/gateway/modelBody.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { ModelGateway, bodyOf, sse, streamEvents, type Answer } from '../support/modelGateway.ts';

type Anthropic = Extract<Upstream, { kind: 'anthropic' }>;
type Auth = Anthropic['auth'];

const token = 'task-token';
const secret = 'sk-real-secret';

describe('gatewayBroker', () => {
  let gateway: ModelGateway;

  beforeEach(async () => (gateway = await ModelGateway.open()));
  afterEach(() => gateway.close());

  const ask: ModelGateway['ask'] = (path, options) => gateway.ask(path, options);
  const upstream = (auth: Auth = { type: 'api_key', value: secret }): Anthropic => ({
    kind: 'anthropic',
    baseUrl: `${gateway.serviceUrl}/base/`,
    auth,
  });

  async function listen(auth?: Auth, change: Partial<Anthropic> = {}): Promise<void> {
    await gateway.listen({ ...upstream(auth), ...change });
  }

  it('replaces the credential, and passes the rest on', async () => {
    await listen();
    assert.equal(statSync(gateway.socketPath).mode & 0o777, 0o666);
    const { status, text: body } = await ask('/v1/messages?beta=true', {
      headers: {
        authorization: `Bearer ${token}`,
        'x-api-key': 'something else',
        'proxy-authorization': 'Basic x',
        cookie: 'a=b',
        host: 'evil.example',
        connection: 'keep-alive, x-hop',
        'x-hop': '1',
        'anthropic-version': '2023-06-01',
        'anthropic-beta': 'one,two',
        'content-type': 'application/json',
      },
      body: '{"hello":1}',
    });
    assert.equal(status, 200);
    const seen = JSON.parse(body) as {
      url: string;
      method: string;
      headers: IncomingHttpHeaders;
      body: string;
    };
    assert.equal(seen.url, '/base/v1/messages?beta=true');
    assert.equal(seen.body, '{"hello":1}');
    const { connection: _, 'transfer-encoding': __, 'content-length': ___, ...headers } = seen.headers;
    assert.deepEqual(headers, {
      host: `127.0.0.1:${gateway.servicePort}`,
      'accept-encoding': 'identity',
      'x-api-key': secret,
      'anthropic-version': '2023-06-01',
      'anthropic-beta': 'one,two',
      'content-type': 'application/json',
    });
  });

  it('knows the three kinds of credential', async () => {
    const headersFor = async (
      auth: Auth,
      headers: Record<string, string> = {},
    ): Promise<IncomingHttpHeaders> => {
      await listen(auth);
      const { text: body } = await ask('/v1/messages', { headers: { 'x-api-key': token, ...headers } });
      return (JSON.parse(body) as { headers: IncomingHttpHeaders }).headers;
    };
    const bearer = await headersFor({ type: 'bearer', value: secret });
    assert.equal(bearer.authorization, `Bearer ${secret}`);
    assert.equal(bearer['x-api-key'], undefined);
    assert.equal(bearer['anthropic-beta'], undefined);
    const oauth = await headersFor(
      { type: 'oauth', value: secret },
      { 'anthropic-beta': 'a, oauth-2025-04-20' },
    );
    assert.equal(oauth.authorization, `Bearer ${secret}`);
    assert.equal(oauth['anthropic-beta'], 'a,oauth-2025-04-20');
    assert.equal((await headersFor({ type: 'oauth', value: secret }))['anthropic-beta'], 'oauth-2025-04-20');
  });

  it('lets nobody in without the token of the task', async () => {
    let reached = 0;
    gateway.answer = (_, response) => {
      reached++;
      response.end();
    };
    await listen();
    const tries: Record<string, string>[] = [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: token },
      { 'x-api-key': secret },
      { 'x-api-key': `${token}x` },
      { authorization: 'Bearer ' },
    ];
    for (const headers of tries) {
      const { status, text: body } = await ask('/v1/messages', { headers, body: '{}' });
      assert.equal(status, 401);
      assert.equal((JSON.parse(body) as { error: { type: string } }).error.type, 'authentication_error');
    }
    assert.equal(reached, 0);
  });

  it('lets only the model through, and says so', async () => {
    await listen();
    const refused: [string, string][] = [
      ['POST', '/v1/complete'],
      ['GET', '/v1/messages'],
      ['POST', '/v1/messages/'],
      ['POST', '/v1/messages/batches'],
      ['POST', '/v1/messages/../files'],
      ['POST', '/v1/messages%2f..%2ffiles'],
      ['POST', '//evil.example/v1/messages'],
      ['POST', 'http://evil.example/v1/messages'],
      ['GET', '/v1/organizations'],
      ['GET', '/__proto__'],
      ['DELETE', '/'],
    ];
    for (const [method, path] of refused) {
      const { status, text: body } = await ask(path, { method });
      assert.equal(status, 403, `${method} ${path}`);
      assert.match(body, /only the model's messages can be reached/);
    }
    assert.equal((await ask('/v1/messages/count_tokens')).status, 200);
    assert.equal((await ask('/v1/models', { method: 'GET' })).status, 200);
    // The probe of the command line comes without a token.
    assert.equal((await ask('/', { method: 'HEAD', headers: {} })).status, 200);
  });

  it('streams in both directions, chunk by chunk', async () => {
    let second: (() => void) | undefined;
    gateway.answer = (request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'x-kept': 'yes', 'set-cookie': 'no=1' });
      response.write('one');
      second = () => response.end('two');
      request.resume();
    };
    await listen();
    const chunks: string[] = [];
    // The second chunk is only sent when the first has come through.
    const { headers } = await ask('/v1/messages', {
      onChunk: (chunk) => {
        chunks.push(chunk);
        if (chunks.length === 1) second?.();
      },
    });
    assert.deepEqual(chunks, ['one', 'two']);
    assert.equal(headers['x-kept'], 'yes');
    assert.equal(headers['set-cookie'], undefined);
  });

  it('passes refusals of the endpoint on as they are', async () => {
    gateway.answer = (_, response) => {
      response.writeHead(429, { 'retry-after': '7' });
      response.end('{"type":"error"}');
    };
    await listen();
    const { status, headers, text: body } = await ask('/v1/messages');
    assert.deepEqual([status, headers['retry-after'], body], [429, '7', '{"type":"error"}']);
  });

  it('follows no redirect', async () => {
    let asked = 0;
    gateway.answer = (_, response) => {
      asked++;
      response.writeHead(307, { location: 'http://127.0.0.1:1/' });
      response.end();
    };
    await listen();
    const { status, headers } = await ask('/v1/messages');
    assert.deepEqual([status, headers.location, asked], [502, undefined, 1]);
  });

  it('says when the endpoint cannot be reached, without a secret', async () => {
    await listen({ type: 'bearer', value: secret }, { baseUrl: 'http://127.0.0.1:1' });
    const { status, text: body } = await ask('/v1/messages');
    assert.equal(status, 502);
    assert.match(body, /ECONNREFUSED/);
    assert.ok(!body.includes(secret));
  });

  it('breaks off when the endpoint does, so that half an answer is no answer', async () => {
    gateway.answer = (_, response) => {
      response.write('half');
      setTimeout(() => response.destroy(), 20);
    };
    await listen();
    await assert.rejects(ask('/v1/messages'));
  });

  it('trusts the authorities of the system, and nobody else', async () => {
    const key = join(gateway.path, 'key.pem');
    const cert = join(gateway.path, 'cert.pem');
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const made = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      key,
      '-out',
      cert,
    ];
    execFileSync('openssl', [...made, ...subject], { stdio: 'ignore' });
    const secure = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => {
      response.end('secure');
    });
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    try {
      const baseUrl = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`;
      const through = async (authorities: string[]): Promise<Answer> => {
        await gateway.listen({ ...upstream(), baseUrl }, { authorities });
        return await ask('/v1/messages');
      };
      assert.equal((await through([readFileSync(cert, 'utf8')])).text, 'secure');
      const { status, text: body } = await through([]);
      assert.equal(status, 502);
      assert.match(body, /SELF_SIGNED_CERT/);
    } finally {
      secure.closeAllConnections();
      secure.close();
    }
  });

  it('leaves the endpoint when the client leaves', async () => {
    const left = new Promise<void>((resolve) => {
      gateway.answer = (_, response) => {
        response.write('working');
        response.on('close', resolve);
      };
    });
    await listen();
    await assert.rejects(
      new Promise((_, reject) => {
        const request = httpRequest(
          {
            socketPath: gateway.socketPath,
            path: '/v1/messages',
            method: 'POST',
            headers: { 'x-api-key': token },
          },
          (response) => response.once('data', () => request.destroy(new Error('left'))).on('error', reject),
        );
        request.on('error', reject);
        request.end('{}');
      }),
    );
    await left;
  });

  it('takes no request that is too large, announced or not', async () => {
    gateway.answer = (request) => request.resume();
    await listen();
    const headers = { 'x-api-key': token };
    const announced = await ask('/v1/messages', {
      headers: { ...headers, 'content-length': String(maxRequestBytes + 1) },
    }).catch(String);
    assert.ok(typeof announced === 'string' || announced.status === 413);
    const chunk = Buffer.alloc(1 << 20);
    const streamed = await new Promise<number | string>((resolve) => {
      const request = httpRequest(
        { socketPath: gateway.socketPath, path: '/v1/messages', method: 'POST', headers },
        (response) => resolve(response.statusCode ?? 0),
      );
      request.on('error', (error) => resolve(String(error)));
      const more = (): void => {
        let room = true;
        while (room) room = request.write(chunk);
        request.once('drain', more);
      };
      more();
    });
    assert.ok(streamed === 413 || /EPIPE|ECONNRESET/.test(String(streamed)), String(streamed));
  });

  it('reads no request that is small as text and large in memory', async () => {
    await listen();
    const { status, text } = await ask('/v1/messages', { body: `{"system":[${'{},'.repeat(600_000)}{}]}` });
    assert.equal(status, 413);
    assert.match(text, /too many parts/);
    const deep = await ask('/v1/messages', { body: `{"x":${'['.repeat(400_000)}${']'.repeat(400_000)}}` });
    assert.equal(deep.status, 400);
    assert.match(deep.text, /too deep/);
  });

  it('holds no more than it has room for, whatever the agent sends at once', async () => {
    await gateway.listen(upstream(), { allowanceUsd: 0 });
    const body = Buffer.from(JSON.stringify({ system: 'x'.repeat(9 << 20) }));
    const left = new AbortController();
    const two = [1, 2].map(() => ask('/v1/messages', { body, signal: left.signal }).catch(() => undefined));
    await gateway.until('spend_paused');
    // The second one is there when it is told so by the third, which has no place beside it.
    for (;;) {
      const third = await ask('/v1/messages/count_tokens', { body }).catch(() => undefined);
      if (third?.status === 529) break;
    }
    left.abort();
    await Promise.all(two);
    for (;;) if ((await ask('/v1/messages/count_tokens', { body })).status === 200) break;
  });

  it('sends what it checked, not what came: a key that stands twice cannot slip past', async () => {
    await listen();
    const twice = '{"tools":[{"type":"web_fetch_20250910","name":"f"}],"tools":[]}';
    const { text: answer } = await ask('/v1/messages', { body: twice });
    assert.equal((JSON.parse(answer) as { body: string }).body, '{"tools":[]}');
    const other = await ask('/v1/messages', { body: '{"tools":[],"tools":[{"type":"web_fetch_20250910"}]}' });
    assert.equal(other.status, 403);
    assert.match(other.text, /Blocked by Sallyport/);
    const { authorization } = { authorization: `Bearer ${token}` };
    const packed = await ask('/v1/messages', { headers: { authorization, 'content-encoding': 'gzip' } });
    assert.equal(packed.status, 415);
  });

  it('says each request in the ledger, without a header, a query or a body', async () => {
    await listen();
    await ask('/v1/messages?key=query-value', { body: '{"body-value":1}' });
    await ask(`/${'x'.repeat(1000)}`);
    await ask('/v1/messages', { headers: { 'x-api-key': 'header-value' } });
    await gateway.until('request', 3);
    assert.deepEqual(
      gateway
        .saidOf('request')
        .map(({ kind, host, port, method, path, verdict, status }) => [
          ...[kind, host, port, method, path?.length, verdict, status],
        ]),
      [
        ['model', '127.0.0.1', gateway.servicePort, 'POST', '/v1/messages'.length, 'allowed', 200],
        ['model', '127.0.0.1', gateway.servicePort, 'POST', 300, 'blocked', 403],
        ['model', '127.0.0.1', gateway.servicePort, 'POST', '/v1/messages'.length, 'blocked', 401],
      ],
    );
    const [first] = gateway.saidOf('request');
    assert.equal(first?.bytesOut, '{"body-value":1}'.length);
    assert.ok(first.bytesIn > 100);
    assert.ok(!/-value|task-token|sk-real/.test(gateway.printed));
  });

  it('prints no credential, whatever happens', async () => {
    const secrets = ['sk-first-secret', 'sk-second-secret'];
    const [first = '', second = ''] = secrets;
    await gateway.listen(upstream({ type: 'oauth', value: first }), { times: { credentialMs: 2000 } });
    gateway.answer = (request, response) => {
      void bodyOf(request).then(() => {
        // A service that repeats what it got.
        const { authorization = '' } = request.headers;
        response.writeHead(authorization.includes(first) ? 401 : 500, { 'x-echo': authorization });
        response.end(JSON.stringify({ error: { message: `token has expired: ${authorization}` } }));
      });
    };
    const asked = ask('/v1/messages');
    await gateway.until('credential_wanted');
    gateway.broker.setUpstream(upstream({ type: 'oauth', value: second }));
    assert.equal((await asked).status, 500);
    gateway.answer = (_, response) => response.destroy();
    await ask('/v1/messages').catch(() => undefined);
    await ask('/v1/files', { headers: { authorization: `Bearer ${second}` } });
    assert.throws(() => gateway.broker.setUpstream({ kind: 'demonstration' }), /another service/);
    await gateway.until('request', 3);
    for (const value of [...secrets, token]) assert.ok(!gateway.printed.includes(value), value);
  });

  it('never goes where clouds hand out credentials, and does go to private addresses', async () => {
    for (const host of ['169.254.169.254', '169.254.170.2', '[fd00:ec2::254]', 'metadata.google.internal']) {
      await listen(undefined, { baseUrl: `http://${host}` });
      const { status, text } = await ask('/v1/messages');
      assert.equal(status, 502, host);
      assert.match(text, /hands out credentials/, host);
    }
    await listen();
    assert.equal((await ask('/v1/messages')).status, 200);
  });

  it('takes another connection when the service ends the one that was kept', async () => {
    let connections = 0;
    let requests = 0;
    const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}';
    const service = createTcpServer((client) => {
      connections++;
      client.on('error', () => client.destroy());
      client.on('data', () => {
        requests++;
        // The third connection's second request is answered by hanging up: it was ended in that very moment.
        if (requests === 5) client.resetAndDestroy();
        else if (requests === 2 || requests === 3) client.end(answer);
        else client.write(answer);
      });
    });
    await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
    try {
      await listen(undefined, { baseUrl: `http://127.0.0.1:${(service.address() as AddressInfo).port}` });
      for (let i = 0; i < 5; i++) {
        assert.equal((await ask('/v1/messages')).status, 200, String(i));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.deepEqual([connections, requests], [4, 6]);
    } finally {
      service.close();
    }
  });

  it("goes through the company's proxy", async () => {
    const asked: string[] = [];
    const proxy = createTcpServer((client) => {
      client.once('data', (head) => {
        asked.push(head.toString('latin1').split('\r\n', 1)[0] ?? '');
        const onward = connect(gateway.servicePort, '127.0.0.1', () => {
          client.write('HTTP/1.1 200 OK\r\n\r\n');
          client.pipe(onward).pipe(client);
        });
        for (const socket of [client, onward]) socket.on('error', () => socket.destroy());
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    try {
      const network: BrokerOptions['network'] = {
        proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
      };
      await gateway.listen({ ...upstream(), baseUrl: 'http://model.example.com' }, { network });
      assert.equal((await ask('/v1/messages')).status, 200);
      assert.deepEqual(asked, ['CONNECT model.example.com:80 HTTP/1.1']);
    } finally {
      proxy.close();
    }
  });

  it('ends an answer after which nothing comes any more', async () => {
    gateway.answer = (request) => request.resume();
    await gateway.listen(upstream(), { times: { silentMs: 500 } });
    const { status, text } = await ask('/v1/messages');
    assert.equal(status, 504);
    assert.match(text, /said nothing/);
    gateway.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('event: ping\ndata: {"type":"ping"}\n\n');
    };
    const begun = await ask('/v1/messages', { body: '{"stream":true}' });
    assert.match(begun.text, /event: error\ndata: .*said nothing/);
  });

  describe('with a credential that does not last', () => {
    const valid = { type: 'oauth', value: 'sk-new' } as const;
    const stale = { type: 'oauth', value: 'sk-old' } as const;
    const expired = {
      type: 'error',
      error: { type: 'authentication_error', message: 'OAuth token has expired' },
    };
    let seen: string[];

    beforeEach(() => {
      seen = [];
      gateway.answer = (request, response) => {
        void bodyOf(request).then((body) => {
          seen.push(body);
          const good = request.headers.authorization === `Bearer ${valid.value}`;
          response.writeHead(good ? 200 : 401, { 'content-type': 'application/json' });
          response.end(JSON.stringify(good ? { type: 'message' } : expired));
        });
      };
    });

    it('waits for another one when it is refused, and asks once more with the same request', async () => {
      await gateway.listen(upstream(stale));
      const asked = [ask('/v1/messages', { body: '{"a":1}' }), ask('/v1/messages', { body: '{"a":2}' })];
      await gateway.until('credential_wanted');
      gateway.broker.setUpstream(upstream(valid));
      assert.deepEqual(
        (await Promise.all(asked)).map(({ status }) => status),
        [200, 200],
      );
      assert.deepEqual(
        gateway.saidOf('credential_wanted').map(({ reason, status }) => [reason, status]),
        [['expired', 401]],
      );
      assert.equal(seen.filter((body) => body === '{"a":1}').length, 2);
    });

    it('waits before it asks when it knows that it has expired', async () => {
      await gateway.listen({ ...upstream(stale), expiresAt: Date.now() + 1000 });
      const asked = ask('/v1/messages');
      await gateway.until('credential_wanted');
      assert.equal(seen.length, 0);
      gateway.broker.setUpstream({ ...upstream(valid), expiresAt: Date.now() + 3_600_000 });
      assert.equal((await asked).status, 200);
      assert.equal(seen.length, 1);
      assert.deepEqual(
        gateway.saidOf('credential_wanted').map(({ reason }) => reason),
        ['expired'],
      );
    });

    it('passes the refusal on when none comes, and never asks a third time', async () => {
      await gateway.listen(upstream(stale), { times: { credentialMs: 30 } });
      const { status, text } = await ask('/v1/messages');
      assert.deepEqual([status, JSON.parse(text)], [401, expired]);
      assert.equal((await ask('/v1/messages')).status, 401);
      assert.equal(seen.length, 2);
      gateway.broker.setUpstream(upstream({ type: 'oauth', value: 'sk-other' }));
      assert.equal((await ask('/v1/messages')).status, 401);
      assert.equal(gateway.saidOf('credential_wanted').length, 2);
    });

    it('waits no longer when the same one is given again', async () => {
      await gateway.listen(upstream(stale));
      const asked = ask('/v1/messages');
      await gateway.until('credential_wanted');
      gateway.broker.setUpstream(upstream(stale));
      assert.equal((await asked).status, 401);
      assert.equal(seen.length, 1);
    });

    it('does not wait for a fixed key that is wrong', async () => {
      const wrong = { type: 'error', error: { type: 'authentication_error', message: 'invalid x-api-key' } };
      gateway.answer = (_, response) => response.writeHead(401).end(JSON.stringify(wrong));
      await listen();
      assert.equal((await ask('/v1/messages')).status, 401);
      assert.equal(gateway.saidOf('credential_wanted').length, 0);
    });

    it('takes a credential that is not asked for, for the next request', async () => {
      await gateway.listen(upstream(stale));
      gateway.broker.setUpstream(upstream(valid));
      assert.equal((await ask('/v1/messages')).status, 200);
    });
  });

  it('passes an answer on no faster than the agent takes it', async () => {
    const events = sse(
      streamEvents('m', { input_tokens: 1, output_tokens: 1 }, Array(50).fill('x'.repeat(1 << 20))),
    );
    let written = 0;
    const over = new Promise<void>((resolve) => {
      gateway.answer = (_, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const pieces = events.match(/[^]{1,65536}/g) ?? [];
        const more = (): void => {
          for (;;) {
            const piece = pieces[written];
            if (piece === undefined) {
              response.end();
              resolve();
              return;
            }
            written++;
            if (!response.write(piece)) break;
          }
          response.once('drain', more);
        };
        more();
      };
    });
    await listen();
    await new Promise<void>((resolve, reject) => {
      const request = httpRequest(
        {
          socketPath: gateway.socketPath,
          path: '/v1/messages',
          method: 'POST',
          headers: { 'x-api-key': token },
        },
        (response) => {
          response.pause();
          setTimeout(() => {
            // Some megabytes fill the buffers on the way; then the service has to wait.
            if (written * 65_536 > 40 << 20) reject(new Error('nothing held the service back'));
            let bytes = 0;
            response.on('data', (piece: Buffer) => (bytes += piece.length)).resume();
            response.on('end', () => (bytes === events.length ? resolve() : reject(new Error('not whole'))));
          }, 300);
        },
      );
      request.on('error', reject);
      request.end('{"stream":true}');
    });
    await over;
  });
});
