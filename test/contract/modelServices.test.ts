import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as z from 'zod/mini';
import { chunkFrame } from '../../src/gateway/bedrockFrames.ts';
import { isSigned } from '../support/awsSignature.ts';
import { engineKinds, engines } from '../support/engines.ts';
import { bodyOf, sse } from '../support/modelGateway.ts';
import { Bench } from '../support/tasks.ts';

const region = 'eu-central-1';
const project = 'a-project';
const secretAccessKey = 'the/secret+of/the+test0000000000000000000';
const accessToken = 'ya29.the-token-of-the-test';
const usage = { input_tokens: 1000, output_tokens: 200 };

const Asked = z.object({
  messages: z.array(z.object({ role: z.string() })),
  tools: z.optional(z.array(z.unknown())),
});

/** A model that has the agent commit once, and then says that it is done: the events of one streamed answer. */
function answerTo(body: string): { type: string }[] {
  const { messages, tools = [] } = Asked.parse(JSON.parse(body));
  const first = tools.length > 0 && !messages.some(({ role }) => role === 'assistant');
  const input = { command: 'echo one > one.txt && git add one.txt && git commit -qm "Add one"' };
  const start = (block: object) => ({ type: 'content_block_start', index: 0, content_block: block });
  const delta = (piece: object) => ({ type: 'content_block_delta', index: 0, delta: piece });
  const message = {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude-sonnet-4-5',
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { ...usage, output_tokens: 1 },
  };
  return [
    { type: 'message_start', ...{ message } },
    ...(first
      ? [
          start({ type: 'tool_use', id: 'toolu_1', name: 'Bash', input: {} }),
          delta({ type: 'input_json_delta', partial_json: JSON.stringify(input) }),
        ]
      : [start({ type: 'text', text: '' }), delta({ type: 'text_delta', text: 'It is done.' })]),
    { type: 'content_block_stop', ...{ index: 0 } },
    {
      type: 'message_delta',
      ...{ delta: { stop_reason: first ? 'tool_use' : 'end_turn', stop_sequence: null }, usage },
    },
    { type: 'message_stop' },
  ];
}

for (const name of engineKinds) {
  describe(`model services on ${name}`, () => {
    let bench: Bench;
    let server: Server;
    /** How a request was proved; what is not good is answered as a refusal. */
    let judge: (request: IncomingMessage, body: string) => boolean;
    const seen: { url: string; good: boolean }[] = [];

    before(async () => {
      bench = await Bench.open((await engines())[name]);
      bench.demonstration = false;
      server = createServer((request, response) => {
        void bodyOf(request).then((body) => {
          const good = judge(request, body);
          seen.push({ url: request.url ?? '', good });
          if (!good) {
            response.writeHead(403, { 'content-type': 'application/json' }).end('{"message":"Forbidden"}');
          } else if (request.url?.includes('invoke-with-response-stream') === true) {
            response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' });
            for (const event of answerTo(body)) response.write(chunkFrame(event));
            response.end();
          } else {
            response.writeHead(200, { 'content-type': 'text/event-stream' }).end(sse(answerTo(body)));
          }
        });
      }).listen(0, '0.0.0.0');
      await once(server, 'listening');
    });
    after(async () => {
      server.close();
      await bench.close();
    });
    beforeEach(() => seen.splice(0));

    function endpoint(): string {
      const { port } = server.address() as AddressInfo;
      return `http://host.${name === 'docker' ? 'docker' : 'containers'}.internal:${port}`;
    }

    /** A whole task; the secret is nowhere in its log. */
    async function assertCommits(model: string, secret: string): Promise<void> {
      const repositoryPath = await bench.repository();
      const { spec } = await bench.service.submit({
        prompt: 'Do it.',
        snapshot: 'head',
        repositoryPath,
        model,
      });
      const events = await bench.events(spec.id);
      const end = events.find((event) => event.type === 'ended');
      assert.equal(end?.outcome, 'succeeded', JSON.stringify(end));
      const state = bench.state(spec.id);
      assert.deepEqual(
        state.commits.map(({ subject }) => subject),
        ['Add one'],
      );
      assert.equal(state.spend.usage.outputTokens >= 2 * usage.output_tokens, true);
      assert.ok(state.spend.usd > 0);
      assert.ok(!(await bench.logText(spec.id)).includes(secret));
    }

    it('are reached with signatures of the gateway on Bedrock, by an inference profile', async () => {
      const model = `arn:aws:bedrock:${region}:123456789012:application-inference-profile/abcdef012345`;
      bench.modelService = { kind: 'bedrock', region };
      bench.upstream = {
        kind: 'bedrock',
        region,
        endpoint: endpoint(),
        auth: { type: 'keys', accessKeyId: 'ASIAIOSFODNN7EXAMPLE', secretAccessKey, sessionToken: 'session' },
      };
      judge = (request, body) =>
        isSigned(request, Buffer.from(body), secretAccessKey, { region, service: 'bedrock' });
      await assertCommits(model, secretAccessKey);
      assert.ok(seen.length >= 2 && seen.every(({ good }) => good), JSON.stringify(seen));
      assert.ok(seen.some(({ url }) => decodeURIComponent(url).includes(model)));
    });

    it("are reached with the gateway's token on Vertex AI", async () => {
      bench.modelService = { kind: 'vertex', project, region: 'europe-west1' };
      bench.upstream = { kind: 'vertex', project, region: 'europe-west1', endpoint: endpoint(), accessToken };
      judge = (request) => request.headers.authorization === `Bearer ${accessToken}`;
      await assertCommits('claude-sonnet-4-5', accessToken);
      assert.ok(seen.length >= 2 && seen.every(({ good }) => good), JSON.stringify(seen));
      assert.ok(seen.every(({ url }) => url.includes(`/projects/${project}/locations/europe-west1/`)));
    });
  });
}
