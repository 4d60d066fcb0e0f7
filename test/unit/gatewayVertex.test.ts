import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { modelRoute } from '../../src/gateway/modelCall.ts';
import { endpointOf } from '../../src/gateway/modelEndpoint.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { ModelGateway, sse, streamEvents } from '../support/modelGateway.ts';

type Vertex = Extract<Upstream, { kind: 'vertex' }>;

const folder = '/v1/projects/a-project/locations/europe-west1/publishers/anthropic/models/';
const streamPath = `${folder}claude-opus-4-5@20251101:streamRawPredict`;

describe('gatewayVertex', () => {
  let gateway: ModelGateway;
  beforeEach(async () => (gateway = await ModelGateway.open()));
  afterEach(() => gateway.close());

  const upstream = (change: Partial<Vertex> = {}): Vertex => ({
    kind: 'vertex',
    project: 'a-project',
    region: 'europe-west1',
    endpoint: gateway.serviceUrl,
    accessToken: 'ya29.real',
    ...change,
  });

  it("lets Claude's models of the configured project and region through, and nothing else", () => {
    const route = modelRoute(upstream());
    const passed: [string, string][] = [
      [`${folder}claude-opus-5-5:streamRawPredict`, 'message'],
      [`${folder}claude-opus-4-5%4020251101:rawPredict`, 'message'],
      [`${folder}count-tokens:rawPredict`, 'count'],
    ];
    for (const [path, kind] of passed) assert.equal(route('POST', path, '')?.kind, kind, path);
    assert.equal(
      route('POST', passed[1]?.[0] ?? '', '')?.path,
      `${folder}claude-opus-4-5@20251101:rawPredict`,
    );
    const refused: [string, string, string?][] = [
      ['GET', streamPath],
      ['POST', streamPath, '?alt=sse'],
      ['POST', streamPath.replace('a-project', 'another')],
      ['POST', streamPath.replace('europe-west1', 'us-east5')],
      ['POST', streamPath.replace('anthropic', 'google')],
      ['POST', streamPath.replace('/v1/', '/v1beta1/')],
      ['POST', streamPath.replace('streamRawPredict', 'predict')],
      ['POST', `${folder}gemini-pro:streamRawPredict`],
      ['POST', `${folder}../../google/models/claude-x:rawPredict`],
      ['POST', `${folder}claude-x%2F..%2Fy:rawPredict`],
      ['POST', `${folder}claude-x:rawPredict:rawPredict`],
      ['POST', `${folder}claude-x%00:rawPredict`],
      ['POST', '/v1/projects/a-project/locations/europe-west1/endpoints/1:rawPredict'],
      ['POST', '/v1/messages'],
    ];
    for (const [method, path, query = ''] of refused)
      assert.equal(route(method, path, query), undefined, `${method} ${path}`);
  });

  it('goes to the endpoint of the region', () => {
    const at = (region: string): string =>
      endpointOf({ kind: 'vertex', project: 'p', region, accessToken: 't' }).href;
    assert.equal(at('europe-west1'), 'https://europe-west1-aiplatform.googleapis.com/');
    assert.equal(at('global'), 'https://aiplatform.googleapis.com/');
    assert.equal(at('eu'), 'https://aiplatform.eu.rep.googleapis.com/');
  });

  it("shows the real token, and nothing of the sandbox's", async () => {
    await gateway.listen(upstream());
    const { text } = await gateway.ask(streamPath, {
      headers: {
        authorization: `Bearer ${gateway.token}`,
        'x-goog-user-project': 'another',
        'x-goog-api-key': 'k',
        'x-forwarded-for': '10.0.0.1',
        'anthropic-beta': 'a',
      },
    });
    const { headers, url } = JSON.parse(text) as { headers: IncomingHttpHeaders; url: string };
    assert.equal(url, streamPath);
    const { connection: _, ...kept } = headers;
    assert.deepEqual(kept, {
      'accept-encoding': 'identity',
      'anthropic-beta': 'a',
      authorization: 'Bearer ya29.real',
      'content-length': '2',
      host: `127.0.0.1:${gateway.servicePort}`,
    });
  });

  it('counts a stream, dearer where a region is promised', async () => {
    gateway.answer = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(
        sse(streamEvents('claude-opus-4-5-20251101', { input_tokens: 200_000, output_tokens: 0 })),
      );
    };
    await gateway.listen(upstream());
    await gateway.ask(streamPath, { body: '{"stream":true}' });
    await gateway.listen(upstream({ region: 'global' }));
    await gateway.ask(streamPath.replace('europe-west1', 'global'), { body: '{"stream":true}' });
    await gateway.until('spend', 2);
    assert.deepEqual(
      gateway.saidOf('spend').map(({ usd }) => usd),
      [1.1, 1],
    );
  });

  it('asks for another token when this one is refused', async () => {
    gateway.answer = (request, response) => {
      request.resume();
      const good = request.headers.authorization === 'Bearer ya29.new';
      const error = {
        code: 401,
        message: 'Request had invalid authentication credentials.',
        status: 'UNAUTHENTICATED',
      };
      response.writeHead(good ? 200 : 401).end(JSON.stringify(good ? {} : { error }));
    };
    await gateway.listen(upstream());
    const asked = gateway.ask(streamPath);
    await gateway.until('credential_wanted');
    gateway.broker.setUpstream(upstream({ accessToken: 'ya29.new' }));
    assert.equal((await asked).status, 200);
    assert.equal(gateway.saidOf('credential_wanted')[0]?.reason, 'refused');
  });
});
