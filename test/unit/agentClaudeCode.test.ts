import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Reading } from '../../src/agent/adapter.ts';
import { claudeCode } from '../../src/agent/claudeCode.ts';
import type { TaskSpec } from '../../src/protocol/task.ts';
import { aSpec } from '../support/specs.ts';

const place = {
  baseUrl: 'http://127.0.0.1:4000',
  proxyUrl: 'http://127.0.0.1:4001',
  token: 'the-token',
  home: '/home/agent',
  workspace: '/workspace',
  path: '/usr/bin:/bin',
};
const spec = aSpec({ model: { label: 'API key', demonstration: false } });

function read(lines: readonly unknown[], of = spec): (Reading | undefined)[] {
  const reader = claudeCode.reader(of);
  return lines.map((line) => reader(typeof line === 'string' ? line : JSON.stringify(line)));
}

describe('agentClaudeCode', () => {
  it('gives the prompt over stdin, and keeps the environment to what it needs', () => {
    const prompt = `--help ${'x'.repeat(90_000)}`;
    const { argv, env, stdin, files } = claudeCode.command(
      aSpec({
        prompt,
        agent: { kind: 'claude-code', model: 'opus', args: ['--max-turns', '3'] },
        model: spec.model,
      }),
      place,
    );
    assert.equal(stdin, prompt);
    assert.deepEqual(argv, [
      ...['claude', '-p', '--output-format', 'stream-json', '--verbose', '--dangerously-skip-permissions'],
      ...['--model', 'opus', '--max-turns', '3'],
    ]);
    assert.equal(env.ANTHROPIC_BASE_URL, place.baseUrl);
    assert.equal(env.ANTHROPIC_AUTH_TOKEN, 'the-token');
    assert.equal(env.ANTHROPIC_MODEL, 'opus');
    assert.ok(!('ANTHROPIC_API_KEY' in env));
    assert.deepEqual(
      files.map(({ path }) => path),
      ['/home/agent/.claude.json'],
    );
    assert.ok(!JSON.stringify([argv, files]).includes('the-token'));
  });

  it('adds instructions before the options of the user, which stand', () => {
    const { argv, stdin } = claudeCode.command(
      aSpec({
        agent: { kind: 'claude-code', args: ['--verbose'], instructions: 'Commit often.' },
        prompt: 'Go',
      }),
      place,
    );
    assert.deepEqual(argv.slice(-3), ['--append-system-prompt', 'Commit often.', '--verbose']);
    assert.equal(stdin, 'Go');
  });

  it('speaks the protocol of the service, and shows nothing but the token of the task', () => {
    const envFor = (service: NonNullable<TaskSpec['model']['service']>): Record<string, string> =>
      claudeCode.command(aSpec({ model: { ...spec.model, service } }), place).env;
    const bedrock = envFor({ kind: 'bedrock', region: 'eu-west-1' });
    assert.deepEqual(
      [bedrock.CLAUDE_CODE_USE_BEDROCK, bedrock.CLAUDE_CODE_SKIP_BEDROCK_AUTH, bedrock.AWS_REGION],
      ['1', '1', 'eu-west-1'],
    );
    assert.equal(bedrock.ANTHROPIC_BEDROCK_BASE_URL, place.baseUrl);
    assert.equal(bedrock.ANTHROPIC_AUTH_TOKEN, 'the-token');
    assert.ok(!('ANTHROPIC_BASE_URL' in bedrock) && !('AWS_ACCESS_KEY_ID' in bedrock));
    const vertex = envFor({ kind: 'vertex', project: 'a-project', region: 'europe-west1' });
    assert.deepEqual(
      [vertex.CLAUDE_CODE_USE_VERTEX, vertex.CLAUDE_CODE_SKIP_VERTEX_AUTH, vertex.CLOUD_ML_REGION],
      ['1', '1', 'europe-west1'],
    );
    assert.equal(vertex.ANTHROPIC_VERTEX_PROJECT_ID, 'a-project');
    assert.equal(vertex.ANTHROPIC_VERTEX_BASE_URL, `${place.baseUrl}/v1`);
    assert.equal(vertex.ANTHROPIC_AUTH_TOKEN, 'the-token');
  });

  it('lets a request wait longer than the command line would by itself', () => {
    const { env } = claudeCode.command(spec, place);
    assert.ok(Number(env.API_TIMEOUT_MS) >= 12 * 3_600_000);
    // A longer one overflows the timer and ends at once.
    assert.ok(Number(env.API_TIMEOUT_MS) < 2 ** 31);
    assert.deepEqual([env.API_FORCE_IDLE_TIMEOUT, env.CLAUDE_ENABLE_STREAM_WATCHDOG], ['0', '0']);
  });

  it('sends everything but the model through the proxy', () => {
    const { env } = claudeCode.command(spec, place);
    assert.deepEqual([env.HTTPS_PROXY, env.http_proxy], [place.proxyUrl, place.proxyUrl]);
    assert.match(env.NO_PROXY ?? '', /\b127\.0\.0\.1\b/);
    const without = claudeCode.command(spec, { ...place, proxyUrl: '' }).env;
    assert.ok(!Object.keys(without).some((name) => /proxy/i.test(name)));
  });

  it('reads what the real command line wrote', () => {
    const lines = readFileSync(new URL('../fixtures/claude-stream.ndjson', import.meta.url), 'utf8')
      .trimEnd()
      .split('\n');
    const bodies = read(lines).flatMap((reading) => reading?.bodies ?? []);
    const usage = (inputTokens: number, outputTokens: number): object => ({
      inputTokens,
      outputTokens,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    });
    const [session, ...rest] = bodies;
    assert.equal(session?.type, 'session');
    assert.equal(session.model, 'claude-sonnet-4-5');
    assert.equal(session.version, '2.1.329');
    assert.ok(session.tools.includes('Bash'));
    assert.deepEqual(rest, [
      { type: 'text', text: 'Hello' },
      // Once for the answer, which comes as three messages.
      { type: 'usage', usage: usage(21860, 1) },
      {
        type: 'tool_use',
        id: 'toolu_0_0',
        name: 'Bash',
        input: { command: 'echo hi; echo err >&2; false', description: 'x' },
      },
      { type: 'tool_use', id: 'toolu_0_1', name: 'Read', input: { file_path: '/workspace/dot.png' } },
      { type: 'tool_result', id: 'toolu_0_1', isError: false, text: '[image: image/png, 70 bytes]' },
      { type: 'tool_result', id: 'toolu_0_0', isError: true, text: 'Exit code 1\nhi\nerr' },
      { type: 'text', text: 'Bye' },
      { type: 'usage', usage: usage(22047, 1) },
      {
        type: 'result',
        isError: false,
        text: 'Bye',
        durationMs: 183,
        costUsd: 0.132831,
        turns: 3,
        usage: usage(43907, 74),
      },
    ]);
  });

  it('keeps what it does not know, whole', () => {
    const messages = [
      { type: 'system', subtype: 'compact_boundary', n: 1 },
      { type: 'brand_new', deep: { a: [1] } },
      { type: 'user', message: { role: 'user', content: 'a prompt for a helper' } },
      { type: 'assistant', message: { no: 'content' } },
      { no: 'type' },
    ];
    assert.deepEqual(
      read(messages),
      messages.map((message) => ({ bodies: [{ type: 'unknown', message }] })),
    );
    const block = { type: 'server_tool_use', id: 'x' };
    assert.deepEqual(read([{ type: 'assistant', message: { content: [block] } }]), [
      { bodies: [{ type: 'unknown', message: block }] },
    ]);
  });

  it('reads thinking, block arrays and empty results', () => {
    const content = [
      {
        type: 'tool_result',
        tool_use_id: 'a',
        content: [
          { type: 'text', text: 'one' },
          { type: 'text', text: 'two' },
        ],
      },
      { type: 'tool_result', tool_use_id: 'b' },
    ];
    const readings = read([
      { type: 'assistant', message: { content: [{ type: 'thinking', thinking: 'hm', signature: 's' }] } },
      { type: 'user', message: { role: 'user', content } },
    ]);
    assert.deepEqual(
      readings.flatMap((reading) => reading?.bodies),
      [
        { type: 'thinking', text: 'hm' },
        { type: 'tool_result', id: 'a', isError: false, text: 'one\ntwo' },
        { type: 'tool_result', id: 'b', isError: false, text: '' },
      ],
    );
  });

  it('leaves lines alone that are no message', () => {
    assert.deepEqual(
      read(['plain text', '{"cut', '[1]', '"text"', '', ' {"type":"x"}']),
      Array(6).fill(undefined),
    );
  });

  it('believes is_error, not the subtype, and says why by the status', () => {
    const verdict = (fields: object): string | undefined =>
      read([{ type: 'result', subtype: 'success', is_error: true, ...fields }])[0]?.verdict?.kind;
    assert.equal(verdict({ api_error_status: 401, result: 'Failed to authenticate.' }), 'auth_refused');
    assert.equal(verdict({ api_error_status: 403 }), 'auth_refused');
    assert.equal(verdict({ api_error_status: 429 }), 'rate_limited');
    assert.equal(verdict({ api_error_status: 529 }), 'model_unavailable');
    assert.equal(verdict({ api_error_status: 404 }), 'model_unavailable');
    assert.equal(verdict({ result: 'API Error: Connection error.' }), 'model_unavailable');
    assert.equal(verdict({ result: 'API Error: 400 prompt is too long' }), 'agent_error');
    assert.equal(verdict({ subtype: 'error_max_turns' }), 'agent_error');
    assert.equal(
      read([{ type: 'result', subtype: 'error_during_execution', is_error: false }])[0]?.verdict,
      undefined,
    );
  });

  it('tells a model that is not enabled from a credential that is refused, with a mend for each service', () => {
    // As the command line writes them, of answers with such a status and message.
    const model = (kind: 'bedrock' | 'vertex'): TaskSpec => {
      const service =
        kind === 'bedrock' ? { kind, region: 'eu-west-1' } : { kind, project: 'a-project', region: 'global' };
      return aSpec({ model: { ...spec.model, service } });
    };
    const verdict = (of: TaskSpec, status: number, result: string): [string, string] => {
      const line = { type: 'result', subtype: 'success', is_error: true, api_error_status: status, result };
      const { kind = '', mend = '' } = read([line], of)[0]?.verdict ?? {};
      return [kind, mend];
    };
    const aws =
      'AWS authentication failed · enable this model for your account and region in the Amazon Bedrock console, or run --model to pick another model · API Error: 403 ';
    const google =
      'Google Cloud authentication failed · if credentials are current, check GCP IAM permissions and Vertex AI model access · API Error: 403 ';
    const absent = "You don't have access to the model with the specified model ID.";
    const [kind, mend] = verdict(model('bedrock'), 403, aws + absent);
    assert.equal(kind, 'not_enabled');
    assert.match(mend, /Bedrock console/);
    const [refused, renew] = verdict(model('bedrock'), 403, `${aws}The security token is expired`);
    assert.equal(refused, 'auth_refused');
    assert.match(renew, /aws sso login/);
    const [denied, login] = verdict(model('vertex'), 403, `${google}Permission denied on resource`);
    assert.equal(denied, 'auth_refused');
    assert.match(login, /gcloud auth/);
    const missing =
      'API Error: 404 Publisher Model x was not found or your project does not have access to it.';
    assert.equal(verdict(model('vertex'), 404, missing)[0], 'not_enabled');
  });

  it('tells of a retry, with the wait', () => {
    const retry = {
      type: 'system',
      subtype: 'api_retry',
      attempt: 2,
      max_retries: 4,
      retry_delay_ms: 1204,
      error_status: 529,
    };
    assert.deepEqual(read([retry]), [
      {
        bodies: [
          {
            type: 'notice',
            level: 'warning',
            text: "The model's endpoint refused (HTTP 529); trying again in 1.2 s (2 of 4).",
          },
        ],
      },
    ]);
  });

  it('says that the demonstration costs nothing', () => {
    const demonstration = aSpec({ model: { label: 'demonstration model', demonstration: true } });
    const [reading] = read([{ type: 'result', is_error: false, total_cost_usd: 2.5 }], demonstration);
    const [body] = reading?.bodies ?? [];
    assert.ok(body?.type === 'result');
    assert.equal(body.costUsd, 0);
    assert.equal(
      claudeCode.command(demonstration, place).env.ANTHROPIC_DEFAULT_HAIKU_MODEL,
      'sallyport-demonstration',
    );
  });
});
