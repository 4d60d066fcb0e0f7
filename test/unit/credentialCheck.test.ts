import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { SallyportError } from '../../src/base/errors.ts';
import { proxyFor } from '../../src/credentials/proxy.ts';
import { fetchThroughEnvironment } from '../../src/credentials/reach.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import {
  createModelSources,
  type ModelSourceOptions,
  type ModelSources,
} from '../../src/runner/modelSources.ts';
import type { ResolvedModel } from '../../src/runner/taskService.ts';
import { certificateFor } from '../support/certificate.ts';
import { allTextOf, noPrograms } from '../support/credentialHome.ts';
import { StsFake } from '../support/stsFake.ts';

const secret = 'sk-ant-api03-marker-of-a-secret';

interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** A model service whose answers a test chooses by path. */
class Service {
  readonly requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] =
    [];
  answers: Record<string, Answer> = {
    '/v1/models': { status: 200, body: { data: [{ id: 'claude-big' }, { id: 'claude-haiku-x' }] } },
  };
  readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      void (async () => {
        const parts: Buffer[] = [];
        for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
        const { method = '', url = '', headers } = request;
        this.requests.push({ method, url, headers, body: Buffer.concat(parts).toString() });
        const path = url.replace(/^http:\/\/[^/]+/, '').replace(/\?.*$/, '');
        const { status, body = {}, headers: extra = {} } = this.answers[path] ?? { status: 404 };
        response
          .writeHead(status, { 'content-type': 'application/json', ...extra })
          .end(JSON.stringify(body));
      })();
    });
  }

  async listen(): Promise<string> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

describe('the check of a credential', () => {
  let service: Service;
  let url: string;
  let now: number;
  const sources = (options: Partial<ModelSourceOptions> = {}): ModelSources =>
    createModelSources({
      env: {},
      homeFolder: '/nonexistent',
      stored: () => Promise.resolve(undefined),
      settings: () => ({ modelSource: 'auto' }),
      exec: noPrograms,
      platform: 'linux',
      now: () => now,
      ...options,
    });
  const modelOf = (upstream: Upstream): ResolvedModel => ({
    label: 'a key from a test',
    demonstration: false,
    upstream,
  });
  const key = (baseUrl: string, type: 'api_key' | 'bearer' | 'oauth' = 'api_key'): ResolvedModel =>
    modelOf({ kind: 'anthropic', baseUrl, auth: { type, value: secret } });
  /** Anthropic's own host, played by the service. */
  const asAnthropic: typeof fetch = (input, init) => {
    assert.ok(typeof input === 'string');
    return fetchThroughEnvironment({})(input.replace('https://api.anthropic.com', url), init);
  };

  async function failure(work: Promise<unknown>): Promise<SallyportError> {
    const thrown: unknown = await work.then(
      () => assert.fail('it was found good'),
      (error: unknown) => error,
    );
    assert.ok(thrown instanceof SallyportError, String(thrown));
    assert.ok(!allTextOf(thrown).includes('marker'), 'the secret is in the failure');
    assert.ok(thrown.mend.length > 10 && thrown.message.endsWith('.'));
    return thrown;
  }

  beforeEach(async () => {
    service = new Service();
    url = await service.listen();
    now = Date.now();
  });
  afterEach(() => service.stop());

  it('asks for the list of models, with what each kind of credential shows', async () => {
    const all = sources({ fetch: asAnthropic });
    await all.check(key('https://api.anthropic.com'));
    await all.check(key('https://api.anthropic.com', 'oauth'));
    await all.check(key(url, 'bearer'));
    const shown = service.requests.map(({ method, url: path, headers }) => [
      `${method} ${path}`,
      headers['x-api-key'],
      headers.authorization,
      headers['anthropic-beta'],
    ]);
    assert.deepEqual(shown, [
      ['GET /v1/models?limit=1', secret, undefined, undefined],
      ['GET /v1/models?limit=1', undefined, `Bearer ${secret}`, 'oauth-2025-04-20'],
      ['GET /v1/models?limit=1', undefined, `Bearer ${secret}`, undefined],
    ]);
  });

  it('remembers a good answer for ten minutes, and a bad one not at all', async () => {
    const all = sources({ fetch: asAnthropic });
    const model = key('https://api.anthropic.com');
    await all.check(model);
    now += 9 * 60_000;
    await all.check(model);
    assert.equal(service.requests.length, 1);
    now += 2 * 60_000;
    await all.check(model);
    assert.equal(service.requests.length, 2);
    await all.check(model, { deep: true, model: 'claude-x' }).catch(() => undefined);
    assert.ok(service.requests.length > 2, 'a deep check is another one');
    service.answers = { '/v1/models': { status: 401 } };
    const other = modelOf({
      kind: 'anthropic',
      baseUrl: 'https://api.anthropic.com',
      auth: { type: 'api_key', value: `${secret}2` },
    });
    service.requests.splice(0);
    await failure(all.check(other));
    await failure(all.check(other));
    assert.equal(service.requests.length, 2);
  });

  it('tells the kinds of refusal apart, whatever the service quotes', async () => {
    const error = (type: string, message = ''): object => ({
      type: 'error',
      error: { type, message: `${message} ${secret}` },
    });
    const cases: [Answer, string, RegExp][] = [
      [
        { status: 401, body: error('authentication_error', 'invalid x-api-key') },
        'auth_refused',
        /does not accept/,
      ],
      [
        { status: 401, body: error('authentication_error', 'OAuth token has expired') },
        'auth_expired',
        /has expired/,
      ],
      [{ status: 403, body: error('permission_error', 'no access') }, 'not_enabled', /no permission/],
      [
        { status: 400, body: error('invalid_request_error', 'This organization has been disabled.') },
        'not_enabled',
        /disabled/,
      ],
      [
        { status: 400, body: error('invalid_request_error', 'Your credit balance is too low') },
        'capacity_reached',
        /no credit/,
      ],
      [{ status: 402, body: {} }, 'capacity_reached', /no credit/],
      [
        { status: 429, body: error('rate_limit_error'), headers: { 'retry-after': '90' } },
        'capacity_reached',
        /limit/,
      ],
      [
        { status: 400, body: error('invalid_request_error', 'Claude AI usage limit reached') },
        'capacity_reached',
        /usage limit/,
      ],
      [{ status: 529, body: error('overloaded_error') }, 'capacity_reached', /overloaded/],
      [{ status: 503, body: 'no JSON object' }, 'capacity_reached', /overloaded/],
      [{ status: 500, body: error('api_error') }, 'model_unreachable', /HTTP 500/],
      [
        { status: 302, headers: { location: `https://x.example.com/?${secret}` } },
        'model_unreachable',
        /redirect/,
      ],
      [{ status: 200, body: { welcome: 'to the hotel' } }, 'model_unreachable', /Something else answers/],
      [{ status: 407 }, 'model_unreachable', /proxy wants/],
    ];
    for (const [answer, code, pattern] of cases) {
      service.answers = { '/v1/models': answer };
      const refusal = await failure(sources({ fetch: asAnthropic }).check(key('https://api.anthropic.com')));
      assert.equal(refusal.code, code, JSON.stringify(answer));
      assert.match(refusal.message, pattern);
    }
    service.answers = { '/v1/models': { status: 429, headers: { 'retry-after': '90' } } };
    const busy = await failure(sources({ fetch: asAnthropic }).check(key('https://api.anthropic.com')));
    assert.match(busy.mend, /in 90 seconds/);
  });

  it('does not ask of another service for a list of models, and not of a token that has no right to it', async () => {
    service.answers = {};
    await sources().check(key(url, 'bearer'));
    const body = {
      error: {
        type: 'permission_error',
        message: 'OAuth token does not meet scope requirement user:profile',
      },
    };
    service.answers = { '/v1/models': { status: 403, body } };
    await sources({ fetch: asAnthropic }).check(key('https://api.anthropic.com', 'oauth'));
    await failure(sources({ fetch: asAnthropic }).check(key('https://api.anthropic.com')));
  });

  it('asks for one token when it is to be deep, of a small model of the list', async () => {
    service.answers['/v1/messages'] = { status: 200, body: { content: [] } };
    const all = sources();
    await all.check(key(url), { deep: true });
    const asked: unknown = JSON.parse(service.requests.at(-1)?.body ?? '');
    assert.deepEqual(asked, {
      model: 'claude-haiku-x',
      max_tokens: 1,
      messages: [{ role: 'user', content: 'Hi' }],
    });
    service.answers['/v1/messages'] = {
      status: 404,
      body: { error: { type: 'not_found_error', message: 'model: x' } },
    };
    assert.equal((await failure(all.check(key(url), { deep: true, model: 'x' }))).code, 'not_enabled');
    service.answers = {};
    assert.match((await failure(sources().check(key(url), { deep: true }))).mend, /Name the model/);
  });

  it('says why a service cannot be reached', async () => {
    const cases: [string, RegExp][] = [
      ['http://127.0.0.1:1', /refuses the connection \(ECONNREFUSED\)/],
      ['http://name.invalid', /name does not resolve \((?:ENOTFOUND|EAI_AGAIN)\)/],
      [url.replace('http', 'https'), /speaks no TLS/],
    ];
    for (const [address, pattern] of cases) {
      const refusal = await failure(sources().check(key(address)));
      assert.equal(refusal.code, 'model_unreachable');
      assert.match(refusal.message, pattern);
    }
    const codes: [string, RegExp][] = [
      ['SELF_SIGNED_CERT_IN_CHAIN', /certificate/],
      ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', /certificate/],
      ['ETIMEDOUT', /in time/],
      ['ECONNRESET', /cannot be reached/],
    ];
    for (const [code, pattern] of codes) {
      const cause = Object.assign(new Error(secret), { code });
      const refused: typeof fetch = () => Promise.reject(new TypeError(`fetch failed ${secret}`, { cause }));
      assert.match(
        (await failure(sources({ fetch: refused }).check(key('https://models.example.com')))).message,
        pattern,
      );
    }
  });

  it('trusts the authorities of this machine, and no other', async () => {
    const { key: serverKey, cert } = certificateFor('localhost');
    const server = createTlsServer({ key: serverKey, cert }, (_request, response) =>
      response.writeHead(404).end(),
    );
    server.listen(0, 'localhost');
    await once(server, 'listening');
    const address = `https://localhost:${(server.address() as AddressInfo).port}`;
    const refusal = await failure(sources({ authorities: () => [] }).check(key(address)));
    assert.match(refusal.message, /certificate that this machine does not trust/);
    await sources({ authorities: () => [cert] }).check(key(address));
    server.close();
  });

  it('ends when it is not wanted any more', async () => {
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const leaving = new AbortController();
    silent.once('connection', () => leaving.abort());
    const address = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    await assert.rejects(sources().check(key(address), { signal: leaving.signal }), { name: 'AbortError' });
    silent.close();
  });

  it('goes through the proxy of the environment, in the two ways that proxies have', async () => {
    const seen: string[] = [];
    service.server.on('connect', (request: IncomingMessage, socket: { end(text: string): void }) => {
      seen.push(`CONNECT ${request.url ?? ''} ${request.headers['proxy-authorization'] ?? ''}`);
      socket.end(`HTTP/1.1 403 ${secret}\r\n\r\n`);
    });
    const proxy = url.replace('http://', 'http://ada:marker@');
    const env = { HTTP_PROXY: proxy, https_proxy: proxy, NO_PROXY: 'direct.example.com' };
    await sources({ env }).check(key('http://models.example.com', 'bearer'));
    assert.equal(service.requests[0]?.url, 'http://models.example.com/v1/models?limit=1');
    assert.equal(service.requests[0].headers['proxy-authorization'], `Basic ${btoa('ada:marker')}`);
    assert.equal(service.requests[0].headers.host, 'models.example.com');
    const refusal = await failure(sources({ env }).check(key('https://models.example.com')));
    assert.match(refusal.message, /the proxy refuses \(PROXY_403\)/);
    assert.deepEqual(seen, [`CONNECT models.example.com:443 Basic ${btoa('ada:marker')}`]);
  });

  it('reads the variables of proxies as others do', () => {
    const env = {
      HTTPS_PROXY: 'proxy.example.com:3128',
      no_proxy: '.internal.example.com, exact.example.com:8443 10.0.0.1',
    };
    const through = (text: string, variables: Record<string, string> = env): string | undefined =>
      proxyFor(new URL(text), variables)?.href;
    assert.equal(through('https://api.example.com'), 'http://proxy.example.com:3128/');
    assert.equal(through('http://api.example.com'), undefined);
    assert.equal(through('https://a.internal.example.com'), undefined);
    assert.equal(through('https://exact.example.com:8443'), undefined);
    assert.notEqual(through('https://exact.example.com'), undefined);
    assert.equal(through('https://10.0.0.1'), undefined);
    assert.equal(through('https://localhost:1'), undefined);
    assert.equal(through('https://[::1]:1'), undefined);
    assert.equal(
      through('https://x.example.com', { ALL_PROXY: 'http://p.example.com', NO_PROXY: '*' }),
      undefined,
    );
    assert.equal(through('https://x.example.com', { ALL_PROXY: 'socks5://p.example.com' }), undefined);
  });

  describe('for Bedrock', () => {
    let sts: StsFake;
    const bedrock = (auth: Extract<Upstream, { kind: 'bedrock' }>['auth']): ResolvedModel =>
      modelOf({ kind: 'bedrock', region: 'eu-central-1', endpoint: url, auth });
    const keys = {
      type: 'keys',
      accessKeyId: 'ASIAGOOD',
      secretAccessKey: secret,
      sessionToken: 'marker-token',
    } as const;
    const model = 'eu.anthropic.claude-sonnet-4-5-20250929-v1:0';
    const path = `/model/${encodeURIComponent(model)}/invoke`;
    const here = (): ModelSources => sources({ env: { AWS_ENDPOINT_URL_STS: sts.url } });

    beforeEach(async () => {
      sts = await StsFake.start();
    });
    afterEach(() => sts.stop());

    it('asks STS whose the keys are, and the model for one token when it is to be deep', async () => {
      assert.equal((await failure(here().check(bedrock(keys)))).code, 'auth_refused');
      sts.keys.set('ASIAGOOD', { role: true });
      await here().check(bedrock(keys));
      assert.deepEqual(
        sts.calls.map(({ action }) => action),
        ['GetCallerIdentity', 'GetCallerIdentity'],
      );
      service.answers = { [path]: { status: 200, body: {} } };
      await here().check(bedrock(keys), { deep: true, model });
      const request = service.requests.at(-1);
      assert.equal(request?.method, 'POST');
      assert.match(
        request.headers.authorization ?? '',
        /^AWS4-HMAC-SHA256 Credential=ASIAGOOD\/\d{8}\/eu-central-1\/bedrock\/aws4_request, SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}$/,
      );
      assert.equal(request.headers['x-amz-security-token'], 'marker-token');
      assert.match(request.body, /"max_tokens":1/);
    });

    it('tells a model without access from keys that are refused', async () => {
      sts.keys.set('ASIAGOOD', { role: true });
      const cases: [number, string, string][] = [
        [403, "You don't have access to the model with the specified model ID.", 'not_enabled'],
        [400, 'Invocation of model ID x with on-demand throughput isn’t supported.', 'not_enabled'],
        [403, 'The security token included in the request is invalid.', 'auth_refused'],
        [403, 'The security token included in the request is expired', 'auth_expired'],
        [429, 'Too many tokens, please wait before trying again.', 'capacity_reached'],
      ];
      for (const [status, message, code] of cases) {
        service.answers = { [path]: { status, body: { message: `${message} ${secret}` } } };
        assert.equal((await failure(here().check(bedrock(keys), { deep: true, model }))).code, code, message);
      }
      const unnamed = await failure(here().check(bedrock(keys), { deep: true }));
      assert.equal(unnamed.code, 'cloud_misconfigured');
    });

    it('asks with an API key for the list of models', async () => {
      const auth = { type: 'bearer', value: secret } as const;
      const asked: string[] = [];
      const answer =
        (status: number, body: object): typeof fetch =>
        (input, init) => {
          asked.push(
            `${input instanceof URL ? input.href : ''} ${new Headers(init?.headers).get('authorization') ?? ''}`,
          );
          return Promise.resolve(Response.json(body, { status }));
        };
      await sources({ fetch: answer(200, {}) }).check(bedrock(auth));
      await sources({
        fetch: answer(403, { Message: 'User is not authorized to perform: bedrock:ListFoundationModels' }),
      }).check(bedrock(auth));
      assert.equal(
        asked[0],
        `https://bedrock.eu-central-1.amazonaws.com/foundation-models?byProvider=anthropic Bearer ${secret}`,
      );
      const body = { Message: 'Authentication failed: Please make sure your API Key is valid.' };
      assert.equal(
        (await failure(sources({ fetch: answer(403, body) }).check(bedrock(auth)))).code,
        'auth_refused',
      );
    });
  });

  it('asks Vertex AI for one token when it is to be deep, and tells an API that is off from a model that is not enabled', async () => {
    const vertex = modelOf({
      kind: 'vertex',
      project: 'my-project',
      region: 'us-east5',
      endpoint: url,
      accessToken: secret,
    });
    const model = 'claude-haiku-4-5@20251001';
    const path = `/v1/projects/my-project/locations/us-east5/publishers/anthropic/models/${model}:rawPredict`;
    await sources().check(vertex);
    assert.equal(service.requests.length, 0);
    service.answers = { [path]: { status: 200 } };
    await sources().check(vertex, { deep: true, model });
    assert.equal(service.requests[0]?.headers.authorization, `Bearer ${secret}`);
    const cases: [number, object, string, RegExp][] = [
      [
        403,
        {
          status: 'PERMISSION_DENIED',
          message: 'Vertex AI API has not been used in project 1 before or it is disabled.',
        },
        'not_enabled',
        /API is not enabled/,
      ],
      [
        404,
        { status: 'NOT_FOUND', message: `Publisher Model was not found ${secret}` },
        'not_enabled',
        /model is not enabled/,
      ],
      [401, { status: 'UNAUTHENTICATED' }, 'auth_refused', /does not accept/],
      [429, { status: 'RESOURCE_EXHAUSTED' }, 'capacity_reached', /limit/],
    ];
    for (const [status, error, code, pattern] of cases) {
      service.answers = { [path]: { status, body: { error } } };
      const refusal = await failure(sources().check(vertex, { deep: true, model }));
      assert.equal(refusal.code, code);
      assert.match(refusal.message, pattern);
    }
    assert.equal(
      (await failure(sources().check(vertex, { deep: true, model: '../x' }))).code,
      'cloud_misconfigured',
    );
  });

  it('has nothing to ask of the demonstration model', async () => {
    await sources().check(modelOf({ kind: 'demonstration' }), { deep: true });
  });
});
