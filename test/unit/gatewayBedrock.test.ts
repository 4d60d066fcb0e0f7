import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { FrameReader, chunkFrame, encodeFrame, exceptionFrame } from '../../src/gateway/bedrockFrames.ts';
import { signForBedrock } from '../../src/gateway/bedrockSignature.ts';
import { modelRoute } from '../../src/gateway/modelCall.ts';
import { endpointOf } from '../../src/gateway/modelEndpoint.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { isSigned } from '../support/awsSignature.ts';
import { ModelGateway, bodyOf, streamEvents } from '../support/modelGateway.ts';

type Bedrock = Extract<Upstream, { kind: 'bedrock' }>;

const keys = {
  type: 'keys',
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  sessionToken: 'the-session',
} as const;
const region = 'eu-west-1';
const model = 'eu.anthropic.claude-opus-4-5-20251101-v1:0';
const arn = 'arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123';
const streamPath = `/model/${encodeURIComponent(model)}/invoke-with-response-stream`;
const eventStream = 'application/vnd.amazon.eventstream';

describe('gatewayBedrock', () => {
  describe('signature', () => {
    it('is what botocore makes of the same request', () => {
      // botocore 1.40, SigV4Auth(credentials, 'bedrock', 'eu-west-1'), at 2026-01-02T03:04:05Z.
      const known: [path: string, sessionToken: string | undefined, signature: string][] = [
        [streamPath, undefined, '96a25923435e75a9c1a66c0224e1e687cd8a2f4b24fb0cf2fdad51ff42a96ea1'],
        [streamPath, 'the-session', '3a6bc8d35213adcfa158dfd96690b87cd053d522b4c470f49af8c06155580fe9'],
        [
          `/model/${encodeURIComponent(arn)}/invoke`,
          undefined,
          'ab7926f73b31d2e64cd78c5f75c7ee8c36bff92288bd2febe0796e1621af047f',
        ],
        [
          `/model/${encodeURIComponent(arn)}/invoke`,
          'the-session',
          '3e93228bd6516268ef56a10b2802204bdd7055e8a2a2d6fc20c10702f3a3e787',
        ],
      ];
      for (const [path, sessionToken, signature] of known) {
        const { accessKeyId, secretAccessKey } = keys;
        const signed = signForBedrock(
          {
            method: 'POST',
            host: 'bedrock-runtime.eu-west-1.amazonaws.com',
            path,
            headers: {
              accept: 'application/json',
              'anthropic-version': '2023-06-01',
              'content-type': 'application/json',
              'user-agent': 'a client',
            },
            body: Buffer.from('{"a":1}'),
          },
          region,
          { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
          '20260102T030405Z',
        );
        assert.ok(signed.authorization?.endsWith(`Signature=${signature}`), signed.authorization);
        assert.equal(signed['x-amz-security-token'], sessionToken);
        assert.equal(signed['user-agent'], 'a client');
      }
    });
  });

  describe('paths', () => {
    const route = modelRoute({ kind: 'bedrock', region, auth: keys });

    it('lets models and inference profiles through, however they are encoded, and encodes them one way', () => {
      const names = [
        model,
        'anthropic.claude-3-5-haiku-20241022-v1:0',
        'eu.anthropic.claude-opus-5-5',
        'global.anthropic.claude-sonnet-5-5',
        arn,
        'arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-opus-4-5-20251101-v1:0',
        'arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-3-5-sonnet-20240620-v1:0',
      ];
      for (const name of names) {
        // As the AWS clients write it, as the agent does, and in lower case.
        for (const written of [
          encodeURIComponent(name),
          name.replaceAll('/', '%2F'),
          name.replaceAll('/', '%2f').replaceAll(':', '%3a'),
        ]) {
          const call = route('POST', `/model/${written}/invoke-with-response-stream`, '');
          assert.equal(call?.path, `/model/${encodeURIComponent(name)}/invoke-with-response-stream`, written);
          assert.equal(call.model, name);
        }
        assert.equal(route('POST', `/model/${encodeURIComponent(name)}/invoke`, '')?.kind, 'message');
        assert.equal(route('POST', `/model/${encodeURIComponent(name)}/count-tokens`, '')?.kind, 'count');
      }
    });

    it('lets nothing else through', () => {
      const refused: [string, string, string?][] = [
        ['GET', streamPath],
        ['POST', `/model/${model}/converse`],
        ['POST', `/model/${model}/converse-stream`],
        ['POST', `/model/${model}/async-invoke`],
        ['POST', `/model/${model}/invoke`, '?x=1'],
        ['POST', `/model/${model}/invoke/`],
        ['POST', `/model/${model}/../invoke`],
        ['POST', `//model/${model}/invoke`],
        ['POST', `/model/${arn}/invoke`],
        ['POST', `/model/${model}%2F..%2F..%2Finvoke/invoke`],
        ['POST', `/model/${encodeURIComponent(encodeURIComponent(arn))}/invoke`],
        ['POST', `/model/%/invoke`],
        ['POST', `/model/${model}%00/invoke`],
        ['POST', `/model/${model}%0A/invoke`],
        ['POST', '/model/amazon.nova-reel-v1:0/invoke'],
        ['POST', '/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aprompt%2Fabc/invoke'],
        ['POST', '/model/arn%3Aaws%3As3%3A%3A%3Aanthropic.bucket/invoke'],
        ['POST', '/model//invoke'],
        ['POST', `/model/${model}/__proto__`],
        ['GET', '/inference-profiles'],
        ['POST', '/v1/messages'],
        ['POST', '/guardrail/x/version/1/apply'],
      ];
      for (const [method, path, query = ''] of refused)
        assert.equal(route(method, path, query), undefined, `${method} ${path}`);
      // Nor does Bedrock's way pass where another service is configured.
      const other = modelRoute({
        kind: 'anthropic',
        baseUrl: 'http://x',
        auth: { type: 'api_key', value: 'x' },
      });
      assert.equal(other('POST', streamPath, ''), undefined);
    });

    it("goes to the region's own endpoint", () => {
      const at = (region: string): string => endpointOf({ kind: 'bedrock', region, auth: keys }).href;
      assert.equal(at('eu-west-1'), 'https://bedrock-runtime.eu-west-1.amazonaws.com/');
      assert.equal(at('cn-north-1'), 'https://bedrock-runtime.cn-north-1.amazonaws.com.cn/');
    });
  });

  describe('frames', () => {
    it('are read in any pieces', () => {
      const payloads = ['{"a":1}', '', 'x'.repeat(5000), '😀'];
      const bytes = Buffer.concat(payloads.map((text) => encodeFrame({ ':event-type': 'chunk' }, text)));
      fc.assert(
        fc.property(fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1 }), (lengths) => {
          const reader = new FrameReader();
          const read: string[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const end = at + (lengths[i % lengths.length] ?? 1);
            read.push(...reader.read(bytes.subarray(at, end)).map((payload) => payload.toString('utf8')));
            at = end;
          }
          assert.deepEqual(read, payloads);
        }),
        { numRuns: 100 },
      );
    });

    it('bear the sums that clients check', () => {
      const frame = exceptionFrame('throttlingException', 'naïve');
      assert.equal(frame.readUInt32BE(0), frame.length);
      assert.equal(frame.readUInt32BE(8), crc32(frame.subarray(0, 8)));
      assert.equal(frame.readUInt32BE(frame.length - 4), crc32(frame.subarray(0, -4)));
    });

    it('are given up where they are none', () => {
      const reader = new FrameReader();
      assert.deepEqual(reader.read(Buffer.alloc(64, 0xff)), []);
      assert.deepEqual(reader.read(chunkFrame({ type: 'ping' })), []);
      fc.assert(
        fc.property(fc.uint8Array(), (bytes) => Array.isArray(new FrameReader().read(Buffer.from(bytes)))),
      );
    });
  });

  describe('at the gateway', () => {
    let gateway: ModelGateway;
    beforeEach(async () => (gateway = await ModelGateway.open()));
    afterEach(() => gateway.close());

    const upstream = (auth: Bedrock['auth'] = keys): Bedrock => ({
      kind: 'bedrock',
      region,
      endpoint: gateway.serviceUrl,
      auth,
    });
    const usage = { input_tokens: 200_000, output_tokens: 0 };
    const frames = (): Buffer => Buffer.concat(streamEvents('claude-opus-4-5', usage).map(chunkFrame));

    it('signs each request, whatever the sandbox claims to be', async () => {
      const seen: [boolean, string | undefined, IncomingHttpHeaders][] = [];
      gateway.answer = (request, response) => {
        void bodyOf(request).then((body) => {
          const good = isSigned(request, Buffer.from(body), keys.secretAccessKey, {
            region,
            service: 'bedrock',
          });
          seen.push([good, request.url, request.headers]);
          response.end('{}');
        });
      };
      await gateway.listen(upstream());
      const headers = {
        authorization: `Bearer ${gateway.token}`,
        accept: 'application/json',
        'content-type': 'application/json',
        'anthropic-version': '2023-06-01',
        'user-agent': 'claude-cli/2.1.329 (external, sdk-cli)',
        'x-amz-date': '20200101T000000Z',
        'x-amz-security-token': 'of-the-sandbox',
        'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
        'x-amzn-bedrock-guardrailidentifier': 'x',
        'x-forwarded-for': '10.0.0.1',
        cookie: 'a=b',
        host: 'evil.example.com',
      };
      const paths = [`/model/${arn.replace('/', '%2F')}/invoke`, streamPath];
      for (const path of paths)
        await gateway.ask(path, { headers, body: '{"anthropic_version":"x", "a":"é"}' });
      assert.deepEqual(
        seen.map(([good, url]) => [good, url]),
        [
          [true, `/model/${encodeURIComponent(arn)}/invoke`],
          [true, streamPath],
        ],
      );
      const [, second] = seen;
      assert.ok(second !== undefined);
      const { authorization, 'x-amz-date': date, ...rest } = second[2];
      assert.match(String(authorization), /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\//);
      assert.notEqual(date, '20200101T000000Z');
      assert.deepEqual(rest, {
        accept: 'application/json',
        'accept-encoding': 'identity',
        'anthropic-version': '2023-06-01',
        connection: 'keep-alive',
        'content-length': String(Buffer.byteLength('{"anthropic_version":"x","a":"é"}')),
        'content-type': 'application/json',
        host: `127.0.0.1:${gateway.servicePort}`,
        'user-agent': 'claude-cli/2.1.329 (external, sdk-cli)',
        'x-amz-security-token': 'the-session',
      });
    });

    it("answers the agent's look for profiles itself, and quietly", async () => {
      let reached = 0;
      gateway.answer = () => reached++;
      await gateway.listen(upstream());
      for (const path of [
        '/inference-profiles?type=SYSTEM_DEFINED',
        `/inference-profiles/${encodeURIComponent(arn)}`,
      ])
        assert.equal((await gateway.ask(path, { method: 'GET', headers: {} })).status, 403);
      assert.deepEqual([reached, gateway.said], [0, []]);
    });

    it('shows a Bedrock API key as it is', async () => {
      await gateway.listen(upstream({ type: 'bearer', value: 'bedrock-key' }));
      const { text } = await gateway.ask(streamPath);
      const { headers } = JSON.parse(text) as { headers: Record<string, string> };
      assert.equal(headers.authorization, 'Bearer bedrock-key');
    });

    it('passes the stream of events on as it is, and counts it', async () => {
      const bytes = frames();
      gateway.answer = (_, response) => {
        response.writeHead(200, { 'content-type': eventStream });
        response.write(bytes.subarray(0, 100));
        setTimeout(() => response.end(bytes.subarray(100)), 5);
      };
      await gateway.listen(upstream());
      const answer = await gateway.ask(streamPath);
      assert.deepEqual(answer.bytes, bytes);
      assert.equal(answer.headers['content-type'], eventStream);
      await gateway.until('spend');
      const [spend] = gateway.saidOf('spend');
      // A profile of a region costs a tenth more.
      assert.deepEqual([spend?.model, spend?.usd, spend?.estimated], ['claude-opus-4-5', 1.1, false]);
    });

    it('keeps a stream that waits for money alive with frames, and tells of a failure in one', async () => {
      gateway.answer = (_, response) =>
        response
          .writeHead(503, { 'x-amzn-errortype': 'ServiceUnavailableException' })
          .end('{"message":"later"}');
      await gateway.listen(upstream(), { allowanceUsd: 0, times: { pingMs: 5 } });
      let pinged: () => void = () => undefined;
      const ping = new Promise<void>((resolve) => (pinged = resolve));
      const held = gateway.ask(streamPath, { onChunk: pinged });
      await ping;
      gateway.broker.setAllowance(null);
      const { bytes, headers } = await held;
      assert.equal(headers['content-type'], eventStream);
      const payloads = new FrameReader()
        .read(bytes)
        .map((payload) => JSON.parse(payload.toString()) as unknown);
      assert.deepEqual(payloads[0], { bytes: Buffer.from('{"type":"ping"}').toString('base64') });
      assert.deepEqual(payloads.at(-1), { message: 'later' });
      assert.ok(bytes.includes('internalServerException'));
    });

    it('asks for other keys when the session has expired, and signs with these', async () => {
      const expired = { message: 'The security token included in the request is expired' };
      const ids: string[] = [];
      gateway.answer = (request, response) => {
        void bodyOf(request).then(() => {
          const id = /Credential=(\w+)/.exec(request.headers.authorization ?? '')?.[1] ?? '';
          ids.push(id);
          if (id !== 'AKIDNEW') {
            response.writeHead(403, { 'x-amzn-errortype': 'ExpiredTokenException' });
            response.end(JSON.stringify(expired));
            return;
          }
          response.writeHead(200, { 'content-type': eventStream }).end(frames());
        });
      };
      await gateway.listen(upstream());
      const asked = gateway.ask(streamPath);
      await gateway.until('credential_wanted');
      gateway.broker.setUpstream(upstream({ ...keys, accessKeyId: 'AKIDNEW' }));
      assert.equal((await asked).status, 200);
      assert.deepEqual(ids, ['AKIDEXAMPLE', 'AKIDNEW']);
      assert.deepEqual(
        gateway.saidOf('credential_wanted').map(({ reason }) => reason),
        ['expired'],
      );
    });

    it('passes on that the account may not use the model, and waits for nothing', async () => {
      const denied = { message: "You don't have access to the model with the specified model ID." };
      gateway.answer = (_, response) =>
        response.writeHead(403, { 'x-amzn-errortype': 'AccessDeniedException' }).end(JSON.stringify(denied));
      await gateway.listen(upstream());
      const { status, text } = await gateway.ask(streamPath);
      assert.deepEqual([status, JSON.parse(text)], [403, denied]);
      assert.equal(gateway.saidOf('credential_wanted').length, 0);
    });

    it('checks what the body would reach, also of what is only counted', async () => {
      await gateway.listen(upstream());
      const tools = { tools: [{ type: 'web_search_20250305', name: 'web_search' }] };
      assert.equal((await gateway.ask(streamPath, { body: JSON.stringify(tools) })).status, 403);
      const count = (body: unknown): Promise<{ status: number }> =>
        gateway.ask(`/model/${model}/count-tokens`, { body: JSON.stringify(body) });
      const wrapped = (body: unknown): unknown => ({
        input: { invokeModel: { body: Buffer.from(JSON.stringify(body)).toString('base64') } },
      });
      assert.equal((await count(wrapped(tools))).status, 403);
      assert.equal((await count({ input: { converse: {} } })).status, 403);
      assert.equal((await count(wrapped({ messages: [] }))).status, 200);
    });
  });
});
