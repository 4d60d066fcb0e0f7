import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { ModelMeter } from '../../src/gateway/modelMeter.ts';
import { costOf, isPriced, modelVersion, type Priced } from '../../src/gateway/prices.ts';
import type { Upstream } from '../../src/protocol/control.ts';
import { ModelGateway, sse, streamEvents } from '../support/modelGateway.ts';

const million: Priced = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0, fast: false };
const used = (part: Partial<Priced>): Priced => ({ ...million, ...part });

describe('gatewaySpend', () => {
  describe('prices', () => {
    it('knows a model by any of its names', () => {
      const names: [string, string | undefined][] = [
        ['claude-opus-4-5-20251101', 'opus-4.5'],
        ['claude-opus-4-5', 'opus-4.5'],
        ['claude-opus-4-20250514', 'opus-4'],
        ['claude-opus-4-0', 'opus-4'],
        ['claude-sonnet-5-5[1m]', 'sonnet-5.5'],
        ['eu.anthropic.claude-opus-5-5', 'opus-5.5'],
        ['us.anthropic.claude-sonnet-4-5-20250929-v1:0', 'sonnet-4.5'],
        ['anthropic.claude-3-5-haiku-20241022-v1:0', 'haiku-3.5'],
        ['claude-3-opus@20240229', 'opus-3'],
        ['claude-haiku-4-5@20251001', 'haiku-4.5'],
        [
          'arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0',
          'sonnet-4',
        ],
        ['arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc', undefined],
        ['gpt-x', undefined],
      ];
      for (const [name, version] of names) {
        assert.equal(modelVersion(name), version, name);
        assert.equal(isPriced(name), version !== undefined, name);
      }
    });

    it('counts each kind of token at its price', () => {
      const usd = (model: string, part: Partial<Priced>, regional = false): number =>
        Number(costOf(model, used(part), regional).usd.toFixed(6));
      const opus = 'claude-opus-4-5';
      assert.equal(usd(opus, { input: 1e6 }), 5);
      assert.equal(usd(opus, { output: 1e6 }), 25);
      assert.equal(usd(opus, { cacheRead: 1e6 }), 0.5);
      assert.equal(usd(opus, { cacheWrite: 1e6 }), 6.25);
      assert.equal(usd(opus, { cacheWriteHour: 1e6 }), 10);
      assert.equal(usd(opus, { input: 1e6 }, true), 5.5);
      assert.equal(usd('claude-opus-4-1', { input: 1e6 }, true), 15);
      assert.equal(usd('claude-opus-4-6', { output: 1e6, fast: true }), 150);
      assert.equal(usd('claude-haiku-5-5', { input: 1e5, output: 1e6 }), 0.51);
      assert.equal(usd('claude-haiku-5-5', { cacheRead: 1e5, input: 10, output: 1e6 }), 2.505005);
      assert.equal(costOf(opus, used({ input: 1 }), false).estimated, false);
    });

    it('takes the dearest price for a model that is not known', () => {
      const { usd, estimated } = costOf('claude-opus-9', used({ input: 1e6, output: 1e6 }), false);
      assert.deepEqual([usd, estimated], [90, true]);
      for (const known of ['claude-fable-5-1', 'claude-opus-5', 'claude-sonnet-4-5', 'claude-haiku-3-5'])
        assert.ok(costOf(known, used({ output: 1e6 }), false).usd <= 75, known);
    });
  });

  describe('meter', () => {
    const usage = {
      input_tokens: 11,
      output_tokens: 22,
      cache_read_input_tokens: 33,
      cache_creation_input_tokens: 44,
      cache_creation: { ephemeral_5m_input_tokens: 4, ephemeral_1h_input_tokens: 40 },
    };
    const counted = { inputTokens: 11, outputTokens: 22, cacheReadTokens: 33, cacheWriteTokens: 44 };

    it('reads a stream that comes in any pieces', async () => {
      const bytes = Buffer.from(sse(streamEvents('claude-opus-4-5', usage, ['naïve 😀', '"usage"'])));
      await fc.assert(
        fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), async (lengths) => {
          const meter = new ModelMeter('text/event-stream; charset=utf-8', '', 0);
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const end = at + (lengths[i % lengths.length] ?? 1);
            meter.see(bytes.subarray(at, end));
            at = end;
          }
          const total = await meter.total();
          assert.deepEqual(total.usage, counted);
          assert.deepEqual([total.priced.cacheWrite, total.priced.cacheWriteHour], [4, 40]);
          assert.deepEqual([total.model, total.guessed], ['claude-opus-4-5', false]);
        }),
        { numRuns: 50 },
      );
    });

    it('reads a whole answer, packed or not', async () => {
      const whole = JSON.stringify({ type: 'message', model: 'claude-opus-4-5', content: [], usage });
      for (const [encoding, bytes] of [
        ['', Buffer.from(whole)],
        ['gzip', gzipSync(whole)],
      ] as const) {
        const meter = new ModelMeter('application/json', encoding, 0);
        meter.see(bytes.subarray(0, 10));
        meter.see(bytes.subarray(10));
        const { usage, guessed } = await meter.total();
        assert.deepEqual([usage, guessed], [counted, false]);
      }
    });

    it('counts what was seen of an answer that broke off, and guesses its length', async () => {
      const text = 'x'.repeat(4000);
      const [start, , delta] = streamEvents('claude-opus-4-5', usage, [text]);
      assert.ok(start !== undefined && delta !== undefined);
      const meter = new ModelMeter('text/event-stream', '', 0);
      meter.see(Buffer.from(sse([start, delta])));
      const { usage: seen, guessed } = await meter.total();
      assert.equal(seen.inputTokens, 11);
      assert.ok(seen.outputTokens >= 1000 && seen.outputTokens < 1010, String(seen.outputTokens));
      assert.equal(guessed, true);
      const nothing = await new ModelMeter('', '', 4000).total();
      assert.equal(nothing.usage.inputTokens, 1000);
    });

    it('is not led astray by what is no answer', async () => {
      for (const text of [
        'data: {"usage"',
        'data: {"usage":{"output_tokens":-5}}',
        'data: {"type":"message_delta","usage":{"output_tokens":"9"}}',
        '"usage"',
      ]) {
        const meter = new ModelMeter('text/event-stream', '', 0);
        meter.see(Buffer.from(`${text}\n\n`));
        assert.equal((await meter.total()).usage.outputTokens, 0, text);
      }
    });
  });

  describe('allowance', () => {
    let gateway: ModelGateway;
    beforeEach(async () => (gateway = await ModelGateway.open()));
    afterEach(() => gateway.close());

    const upstream = (): Upstream => ({
      kind: 'anthropic',
      baseUrl: gateway.serviceUrl,
      auth: { type: 'api_key', value: 'k' },
    });
    /** Each answer costs 1 US dollar. */
    const dollar = { input_tokens: 200_000, output_tokens: 0 };
    let asked: string[];

    beforeEach(() => {
      asked = [];
      gateway.answer = (request, response) => {
        asked.push(request.url ?? '');
        request.resume();
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(sse(streamEvents('claude-opus-4-5', dollar)));
      };
    });
    const stream = { body: '{"stream":true,"model":"claude-opus-4-5"}' };

    it('says what each answer cost, once', async () => {
      await gateway.listen(upstream());
      await gateway.ask('/v1/messages', stream);
      await gateway.until('request');
      assert.deepEqual(
        gateway.said.map(({ type }) => type),
        ['spend', 'request'],
      );
      const [spend] = gateway.saidOf('spend');
      assert.deepEqual(
        [spend?.model, spend?.usd, spend?.estimated, spend?.request],
        ['claude-opus-4-5', 1, false, gateway.saidOf('request')[0]?.id],
      );
    });

    it('costs nothing to count tokens, and for an answer that is a refusal', async () => {
      await gateway.listen(upstream());
      await gateway.ask('/v1/messages/count_tokens');
      gateway.answer = (_, response) => response.writeHead(529).end('{"usage":{"input_tokens":5}}');
      await gateway.ask('/v1/messages');
      await gateway.until('request', 2);
      assert.equal(gateway.saidOf('spend').length, 0);
    });

    it('holds requests while it is used up, keeps their streams alive, and lets them go on', async () => {
      await gateway.listen(upstream(), { spentUsd: 1, allowanceUsd: 2, times: { pingMs: 10 } });
      await gateway.ask('/v1/messages', stream);
      await gateway.until('spend');
      let pings = 0;
      const held = [1, 2].map(() =>
        gateway.ask('/v1/messages', { ...stream, onChunk: (text) => (pings += /"ping"/.test(text) ? 1 : 0) }),
      );
      await gateway.until('spend_paused');
      while (pings < 4) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(asked.length, 1);
      // What costs nothing does not wait.
      assert.equal((await gateway.ask('/v1/messages/count_tokens')).status, 200);
      assert.equal((await gateway.ask('/v1/models', { method: 'GET' })).status, 200);
      gateway.broker.setAllowance(2);
      assert.equal(gateway.saidOf('spend_resumed').length, 0);
      gateway.broker.setAllowance(10);
      for (const { status, text } of await Promise.all(held)) {
        assert.equal(status, 200);
        assert.match(
          text,
          /^(event: ping\ndata: {"type":"ping"}\n\n)+event: message_start\n[^]*message_stop/,
        );
      }
      await gateway.until('spend', 3);
      assert.deepEqual(
        gateway.said.map(({ type }) => type).filter((type) => type.startsWith('spend')),
        ['spend', 'spend_paused', 'spend_resumed', 'spend', 'spend'],
      );
      const [paused] = gateway.saidOf('spend_paused');
      assert.deepEqual([paused?.spentUsd, paused?.allowanceUsd], [2, 2]);
    });

    it('pauses again when the new allowance is used up too, and knows none', async () => {
      await gateway.listen(upstream(), { spentUsd: 5, allowanceUsd: 5 });
      const held = gateway.ask('/v1/messages', stream);
      await gateway.until('spend_paused');
      gateway.broker.setAllowance(5.5);
      await held;
      const again = gateway.ask('/v1/messages', stream);
      await gateway.until('spend_paused', 2);
      gateway.broker.setAllowance(null);
      assert.equal((await again).status, 200);
    });

    it('forgets a request whose agent left while it waited', async () => {
      await gateway.listen(upstream(), { allowanceUsd: 0 });
      const left = new AbortController();
      const held = gateway.ask('/v1/messages', { ...stream, signal: left.signal });
      await gateway.until('spend_paused');
      left.abort();
      await assert.rejects(held);
      await gateway.until('request');
      gateway.broker.setAllowance(1);
      assert.equal(gateway.saidOf('request')[0]?.verdict, 'failed');
      assert.deepEqual([asked.length, gateway.saidOf('spend').length], [0, 0]);
    });

    it('tells of a refusal inside of a stream that it began', async () => {
      await gateway.listen(upstream(), { allowanceUsd: 0, times: { pingMs: 5 } });
      gateway.answer = (_, response) =>
        response
          .writeHead(429)
          .end('{"type":"error","error":{"type":"rate_limit_error","message":"slow \\"down\\""}}');
      let pinged: () => void = () => undefined;
      const ping = new Promise<void>((resolve) => (pinged = resolve));
      const held = gateway.ask('/v1/messages', { ...stream, onChunk: pinged });
      await ping;
      gateway.broker.setAllowance(null);
      const { text } = await held;
      const error = /event: error\ndata: (.*)\n\n$/.exec(text)?.[1] ?? '';
      assert.deepEqual(JSON.parse(error), {
        type: 'error',
        error: { type: 'rate_limit_error', message: 'slow "down"' },
      });
    });

    it('ends an answer that is running when the allowance is used up', async () => {
      let go: (() => void) | undefined;
      gateway.answer = (_, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(': begun\n\n');
        go = () => response.end(sse(streamEvents('claude-opus-4-5', dollar)));
      };
      await gateway.listen(upstream(), { allowanceUsd: 0.5 });
      const running = gateway.ask('/v1/messages', { ...stream, onChunk: () => go?.() });
      gateway.broker.setAllowance(0.1);
      assert.match((await running).text, /message_stop/);
    });

    it('counts what an agent left behind by leaving', async () => {
      const arrived = Promise.withResolvers<undefined>();
      gateway.answer = (request) => request.resume().once('end', () => arrived.resolve(undefined));
      await gateway.listen(upstream());
      const left = new AbortController();
      const body = JSON.stringify({ model: 'claude-opus-4-5', system: 'x'.repeat(40_000) });
      const held = gateway.ask('/v1/messages', { body, signal: left.signal });
      await arrived.promise;
      left.abort();
      await assert.rejects(held);
      await gateway.until('spend');
      const [spend] = gateway.saidOf('spend');
      assert.ok(spend?.estimated === true && spend.usd > 0.05 && spend.usd < 0.06, String(spend?.usd));
    });

    it('takes no money for a script, unless the script says so', async () => {
      const usage = { inputTokens: 200_000, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
      await gateway.listen({
        kind: 'scripted',
        turns: [{ text: 'a' }, { text: 'b', model: 'claude-opus-4-5', usage }],
      });
      const request = (answers: number): { body: string } => ({
        body: JSON.stringify({
          model: 'any',
          stream: true,
          tools: [{ name: 'Bash' }],
          messages: [{ role: 'user' }, ...Array.from({ length: answers }, () => ({ role: 'assistant' }))].map(
            (message) => ({ ...message, content: 'x' }),
          ),
        }),
      });
      await gateway.ask('/v1/messages', request(0));
      await gateway.ask('/v1/messages', request(1));
      await gateway.until('spend', 2);
      assert.deepEqual(
        gateway.saidOf('spend').map(({ usd, estimated }) => [usd, estimated]),
        [
          [0, false],
          [1, false],
        ],
      );
    });
  });
});
