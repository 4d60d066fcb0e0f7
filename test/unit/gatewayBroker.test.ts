import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { readFileSync, statSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Disposable } from '../../src/base/disposable.ts';
import { listenBroker, maxRequestBytes, type AccessRecord } from '../../src/gateway/broker.ts';
import { anthropicUpstream } from '../../src/gateway/upstream.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { temporaryFolder } from '../support/gitRepo.ts';

type Auth = Extract<Upstream, { kind: 'anthropic' }>['auth'];

const token = 'task-token';
const secret = 'sk-real-secret';

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

describe('gatewayBroker', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let upstream: Server;
  let broker: Disposable | undefined;
  let records: AccessRecord[];
  /** What the upstream answers; set by each test. */
  let answer: RequestListener;

  beforeEach(async () => {
    folder = temporaryFolder();
    records = [];
    answer = (request, response) => {
      void text(request).then((body) =>
        response.end(
          JSON.stringify({ url: request.url, method: request.method, headers: request.headers, body }),
        ),
      );
    };
    upstream = createServer((request, response) => answer(request, response));
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  });
  afterEach(() => {
    broker?.dispose();
    upstream.closeAllConnections();
    upstream.close();
    folder.dispose();
  });

  const socketPath = (): string => join(folder.path, 'model.sock');

  async function listen(auth: Auth = { type: 'api_key', value: secret }, baseUrl?: string): Promise<void> {
    const { port } = upstream.address() as AddressInfo;
    const responder = anthropicUpstream({
      kind: 'anthropic',
      baseUrl: baseUrl ?? `http://127.0.0.1:${port}/base/`,
      auth,
    });
    broker = await listenBroker(socketPath(), token, responder, (entry) => records.push(entry));
  }

  async function ask(
    path: string,
    options: {
      method?: string;
      headers?: Record<string, string>;
      body?: string | Buffer;
      onChunk?: (chunk: string) => void;
    } = {},
  ): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      const { method = 'POST', headers = { authorization: `Bearer ${token}` } } = options;
      const request = httpRequest(
        { agent: false, socketPath: socketPath(), path, method, headers },
        (response) => {
          let body = '';
          response.on('data', (chunk) => {
            body += String(chunk);
            options.onChunk?.(String(chunk));
          });
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text: body }),
          );
          response.on('error', reject);
        },
      );
      request.on('error', reject);
      request.end(options.body ?? (method === 'POST' ? '{}' : ''));
    });
  }

  it('replaces the credential, and passes the rest on', async () => {
    await listen();
    assert.equal(statSync(socketPath()).mode & 0o777, 0o666);
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
    const { port } = upstream.address() as AddressInfo;
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
      host: `127.0.0.1:${port}`,
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
      broker?.dispose();
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
    answer = (_, response) => {
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
    answer = (request, response) => {
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
    answer = (_, response) => {
      response.writeHead(429, { 'retry-after': '7' });
      response.end('{"type":"error"}');
    };
    await listen();
    const { status, headers, text: body } = await ask('/v1/messages');
    assert.deepEqual([status, headers['retry-after'], body], [429, '7', '{"type":"error"}']);
  });

  it('follows no redirect', async () => {
    let asked = 0;
    answer = (_, response) => {
      asked++;
      response.writeHead(307, { location: 'http://127.0.0.1:1/' });
      response.end();
    };
    await listen();
    const { status, headers } = await ask('/v1/messages');
    assert.deepEqual([status, headers.location, asked], [502, undefined, 1]);
  });

  it('says when the endpoint cannot be reached, without a secret', async () => {
    await listen({ type: 'bearer', value: secret }, 'http://127.0.0.1:1');
    const { status, text: body } = await ask('/v1/messages');
    assert.equal(status, 502);
    assert.match(body, /ECONNREFUSED/);
    assert.ok(!body.includes(secret));
  });

  it('breaks off when the endpoint does, so that half an answer is no answer', async () => {
    answer = (_, response) => {
      response.write('half');
      setTimeout(() => response.destroy(), 20);
    };
    await listen();
    await assert.rejects(ask('/v1/messages'));
  });

  it('trusts the authorities of the system, and nobody else', async () => {
    const key = join(folder.path, 'key.pem');
    const cert = join(folder.path, 'cert.pem');
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
      const through = async (authorities: string): Promise<Answer> => {
        broker?.dispose();
        const auth: Auth = { type: 'api_key', value: secret };
        const responder = anthropicUpstream({ kind: 'anthropic', baseUrl, auth }, authorities);
        broker = await listenBroker(socketPath(), token, responder, (entry) => records.push(entry));
        return await ask('/v1/messages');
      };
      assert.equal((await through(cert)).text, 'secure');
      const { status, text: body } = await through(join(folder.path, 'nothing'));
      assert.equal(status, 502);
      assert.match(body, /SELF_SIGNED_CERT/);
    } finally {
      secure.closeAllConnections();
      secure.close();
    }
  });

  it('leaves the endpoint when the client leaves', async () => {
    const left = new Promise<void>((resolve) => {
      answer = (_, response) => {
        response.write('working');
        response.on('close', resolve);
      };
    });
    await listen();
    await assert.rejects(
      new Promise((_, reject) => {
        const request = httpRequest(
          { socketPath: socketPath(), path: '/v1/messages', method: 'POST', headers: { 'x-api-key': token } },
          (response) => response.once('data', () => request.destroy(new Error('left'))).on('error', reject),
        );
        request.on('error', reject);
        request.end('{}');
      }),
    );
    await left;
  });

  it('takes no request that is too large, announced or not', async () => {
    answer = (request) => request.resume();
    await listen();
    const headers = { 'x-api-key': token };
    const announced = await ask('/v1/messages', {
      headers: { ...headers, 'content-length': String(maxRequestBytes + 1) },
    }).catch(String);
    assert.ok(typeof announced === 'string' || announced.status === 413);
    const chunk = Buffer.alloc(1 << 20);
    const streamed = await new Promise<number | string>((resolve) => {
      const request = httpRequest(
        { socketPath: socketPath(), path: '/v1/messages', method: 'POST', headers },
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

  it('records each request without a header, a query or a body', async () => {
    await listen();
    await ask('/v1/messages?key=query-secret', { body: '{"body-secret":1}' });
    await ask(`/${'x'.repeat(1000)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(
      records.map(({ method, path, status }) => [method, path.length, status]),
      [
        ['POST', '/v1/messages'.length, 200],
        ['POST', 200, 403],
      ],
    );
    assert.ok(!/secret|token/.test(JSON.stringify(records)));
  });
});

async function text(stream: IncomingMessage): Promise<string> {
  let all = '';
  for await (const chunk of stream) all += String(chunk);
  return all;
}
