import * as z from 'zod/mini';
import type { TaskSpec } from '../protocol/task.ts';
import type { SandboxBody } from '../protocol/taskEvent.ts';
import type { Usage } from '../protocol/usage.ts';
import { answerLine, interruptLine, readCancel, readRequest } from './claudeCodeQuestions.ts';
import type { AgentAdapter, AgentCommand, AgentPlace, AgentReader, Reading, Verdict } from './adapter.ts';

/** Claude Code's command line: `claude -p` with one JSON message a line on stdout. */
export const claudeCode: AgentAdapter = {
  name: 'Claude Code',
  command,
  message,
  answer: answerLine,
  interrupt: interruptLine,
  sessionFile,
  reader,
};

/** The model name of the embedded demonstration model. */
const demonstrationModel = 'sallyport-demonstration';

function command(spec: TaskSpec, place: AgentPlace): AgentCommand {
  const model = spec.model.demonstration ? demonstrationModel : spec.agent.model;
  const argv = ['claude', '-p', '--output-format', 'stream-json', '--verbose'];
  // Without somebody to ask, a permission that is needed is a permission that is refused.
  const asks = spec.conversation === true && spec.agent.permissions === 'ask';
  argv.push(...(asks ? ['--permission-mode', 'default'] : ['--dangerously-skip-permissions']));
  if (spec.conversation === true)
    argv.push('--input-format', 'stream-json', '--permission-prompt-tool', 'stdio');
  if (spec.resume?.session !== undefined) argv.push('--resume', spec.resume.session.id);
  if (model !== undefined) argv.push('--model', model);
  // Before the user's own options: the last one stands.
  if (spec.agent.instructions !== undefined) argv.push('--append-system-prompt', spec.agent.instructions);
  argv.push(...(spec.agent.args ?? []));
  return {
    argv,
    env: {
      PATH: place.path,
      HOME: place.home,
      USER: 'agent',
      SHELL: '/bin/bash',
      LANG: 'C.UTF-8',
      TERM: 'dumb',
      NO_COLOR: '1',
      ...modelService(spec, place),
      ...modelPins(spec, model),
      ...proxies(place),
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      // Without a limit the CLI stays silent for minutes when the endpoint refuses.
      CLAUDE_CODE_MAX_RETRIES: '4',
      // While a budget is used up the gateway holds requests, for hours if need be, and keeps their streams alive with pings.
      // The CLI's own clocks do not all take those for life: they would end a request after 5 to 10 minutes, and the run
      // after some more. The gateway itself ends a request whose service is silent.
      API_TIMEOUT_MS: `${24 * 60 * 60_000}`,
      API_FORCE_IDLE_TIMEOUT: '0',
      CLAUDE_ENABLE_STREAM_WATCHDOG: '0',
      DISABLE_AUTOUPDATER: '1',
      // Nobody can type into an editor, a pager or a prompt.
      GIT_EDITOR: 'true',
      GIT_PAGER: 'cat',
      PAGER: 'cat',
      GIT_TERMINAL_PROMPT: '0',
      CI: '1',
    },
    // Not an argument: a prompt can be longer than an argument may be, and start with a dash.
    stdin: spec.conversation === true ? message(spec.prompt) : spec.prompt,
    files: [
      {
        path: `${place.home}/.claude.json`,
        content: JSON.stringify({
          hasCompletedOnboarding: true,
          bypassPermissionsModeAccepted: true,
          autoUpdates: false,
          projects: {
            [place.workspace]: { hasTrustDialogAccepted: true, hasCompletedProjectOnboarding: true },
          },
        }),
      },
    ],
  };
}

function message(text: string): string {
  return `${JSON.stringify({ type: 'user', message: { role: 'user', content: text } })}\n`;
}

/** Its folder is named after the workspace. */
function sessionFile(id: string, { home, workspace }: Pick<AgentPlace, 'home' | 'workspace'>): string {
  return `${home}/.claude/projects/${workspace.replaceAll(/[^a-zA-Z0-9]/g, '-')}/${id}.jsonl`;
}

/**
 * Where the CLI finds its model, and which protocol it speaks there. With Bedrock and Vertex AI it signs nothing: it shows
 * the task's token as a bearer token, as it does elsewhere.
 */
function modelService(spec: TaskSpec, { baseUrl, token }: AgentPlace): Record<string, string> {
  const service = spec.model.service ?? { kind: 'anthropic' };
  switch (service.kind) {
    case 'anthropic':
      return { ANTHROPIC_BASE_URL: baseUrl, ANTHROPIC_AUTH_TOKEN: token };
    case 'bedrock':
      return {
        CLAUDE_CODE_USE_BEDROCK: '1',
        CLAUDE_CODE_SKIP_BEDROCK_AUTH: '1',
        ANTHROPIC_BEDROCK_BASE_URL: baseUrl,
        ANTHROPIC_AUTH_TOKEN: token,
        AWS_REGION: service.region,
        AWS_EC2_METADATA_DISABLED: 'true',
      };
    case 'vertex':
      return {
        CLAUDE_CODE_USE_VERTEX: '1',
        CLAUDE_CODE_SKIP_VERTEX_AUTH: '1',
        ANTHROPIC_VERTEX_BASE_URL: `${baseUrl}/v1`,
        ANTHROPIC_AUTH_TOKEN: token,
        ANTHROPIC_VERTEX_PROJECT_ID: service.project,
        CLOUD_ML_REGION: service.region,
      };
  }
}

/** The model is on the loopback and is not asked for through the proxy. */
function proxies({ proxyUrl }: AgentPlace): Record<string, string> {
  if (proxyUrl === '') return {};
  const around = 'localhost,127.0.0.1,::1';
  return {
    HTTP_PROXY: proxyUrl,
    HTTPS_PROXY: proxyUrl,
    NO_PROXY: around,
    http_proxy: proxyUrl,
    https_proxy: proxyUrl,
    no_proxy: around,
  };
}

/** The demonstration model knows one name; a user's choice leaves the CLI's small helpers to the CLI. */
function modelPins(spec: TaskSpec, model: string | undefined): Record<string, string> {
  if (model === undefined) return {};
  if (!spec.model.demonstration) return { ANTHROPIC_MODEL: model };
  return {
    ANTHROPIC_MODEL: model,
    ANTHROPIC_DEFAULT_OPUS_MODEL: model,
    ANTHROPIC_DEFAULT_SONNET_MODEL: model,
    ANTHROPIC_DEFAULT_HAIKU_MODEL: model,
  };
}

const Count = z.catch(z.number(), 0);

const UsageIn = z.object({
  input_tokens: Count,
  output_tokens: Count,
  cache_read_input_tokens: Count,
  cache_creation_input_tokens: Count,
});

const Init = z.object({
  session_id: z.string(),
  model: z.string(),
  claude_code_version: z.catch(z.string(), ''),
  tools: z.array(z.string()),
});

const Message = z.object({
  id: z.optional(z.string()),
  content: z.array(z.looseObject({ type: z.string() })),
  usage: z.optional(z.nullable(UsageIn)),
});

const Retry = z.object({
  attempt: z.number(),
  max_retries: z.number(),
  retry_delay_ms: z.number(),
  error_status: z.catch(z.nullable(z.number()), null),
});

const TextBlock = z.object({ type: z.literal('text'), text: z.string() });
const ThinkingBlock = z.object({ type: z.literal('thinking'), thinking: z.string() });
const ToolUseBlock = z.object({
  type: z.literal('tool_use'),
  id: z.string(),
  name: z.string(),
  input: z.unknown(),
});
const ToolResultBlock = z.object({
  type: z.literal('tool_result'),
  tool_use_id: z.string(),
  is_error: z.optional(z.nullable(z.boolean())),
  content: z.optional(z.union([z.string(), z.array(z.looseObject({ type: z.string() }))])),
});

const Result = z.object({
  is_error: z.catch(z.boolean(), false),
  subtype: z.catch(z.string(), ''),
  result: z.catch(z.string(), ''),
  errors: z.catch(z.array(z.string()), []),
  duration_ms: Count,
  total_cost_usd: Count,
  num_turns: Count,
  usage: z.catch(UsageIn, {
    input_tokens: 0,
    output_tokens: 0,
    cache_read_input_tokens: 0,
    cache_creation_input_tokens: 0,
  }),
  api_error_status: z.catch(z.nullable(z.number()), null),
});
type Result = z.infer<typeof Result>;

function reader(spec: TaskSpec): AgentReader {
  // Each block of an answer comes as a message of its own, and repeats the id and the usage of the whole answer.
  let countedMessage: string | undefined;
  // With each result of a conversation the CLI says what all of it has cost so far.
  let costSoFar = spec.resume?.session?.costUsd ?? 0;

  return (line) => {
    const message = parseObject(line);
    if (message === undefined) return undefined;
    return read(message) ?? { bodies: [{ type: 'unknown', message }] };
  };

  function read(message: Record<string, unknown>): Reading | undefined {
    switch (message.type) {
      case 'system':
        return message.subtype === 'init'
          ? session(message)
          : message.subtype === 'api_retry'
            ? retry(message)
            : undefined;
      case 'assistant':
        return assistant(message.message);
      case 'user':
        return isInterruption(message.message) ? { bodies: [] } : user(message.message);
      case 'control_request': {
        const asked = readRequest(message);
        if (asked === undefined) return undefined;
        if ('reply' in asked) return { bodies: [], reply: asked.reply };
        return { bodies: [{ type: 'asked', question: asked.question.question }], question: asked.question };
      }
      case 'control_cancel_request': {
        const withdrawn = readCancel(message);
        return withdrawn === undefined ? undefined : { bodies: [], withdrawn };
      }
      case 'control_response':
        return { bodies: [] };
      case 'result': {
        const result = Result.safeParse(message);
        if (!result.success) return undefined;
        const { total_cost_usd: total } = result.data;
        const costUsd = Math.max(0, total - costSoFar);
        costSoFar = Math.max(costSoFar, total);
        return final({ ...result.data, total_cost_usd: costUsd }, spec);
      }
      default:
        return undefined;
    }
  }

  function assistant(json: unknown): Reading | undefined {
    const message = Message.safeParse(json);
    if (!message.success) return undefined;
    const { id, content, usage } = message.data;
    const bodies = content.map(blockBody);
    if (usage != null && (id === undefined || id !== countedMessage))
      bodies.push({ type: 'usage', usage: usageOf(usage) });
    countedMessage = id;
    return { bodies };
  }
}

function session(message: unknown): Reading | undefined {
  const init = Init.safeParse(message);
  if (!init.success) return undefined;
  const { session_id: sessionId, claude_code_version: version, model, tools } = init.data;
  return { bodies: [{ type: 'session', sessionId, model, version, tools }] };
}

function retry(message: unknown): Reading | undefined {
  const parsed = Retry.safeParse(message);
  if (!parsed.success) return undefined;
  const { attempt, max_retries: attempts, retry_delay_ms: wait, error_status: status } = parsed.data;
  const refusal = status === null ? 'could not be reached' : `refused (HTTP ${status})`;
  const text = `The model's endpoint ${refusal}; trying again in ${(wait / 1000).toFixed(1)} s (${attempt} of ${attempts}).`;
  return { bodies: [{ type: 'notice', level: 'warning', text }] };
}

/** What the CLI adds to the conversation when it was interrupted: the end of the turn says it. */
function isInterruption(json: unknown): boolean {
  const block = TextBlock.safeParse(Message.safeParse(json).data?.content[0]);
  return block.success && block.data.text.startsWith('[Request interrupted by user');
}

/** Only tool results are the agent's own; anything else in a user's message is kept whole. */
function user(json: unknown): Reading | undefined {
  const message = Message.safeParse(json);
  if (!message.success) return undefined;
  const results = message.data.content.map((block) => ToolResultBlock.safeParse(block));
  const bodies: SandboxBody[] = [];
  for (const { success, data } of results) {
    if (!success) return undefined;
    bodies.push({
      type: 'tool_result',
      id: data.tool_use_id,
      isError: data.is_error ?? false,
      text: resultText(data.content),
    });
  }
  return { bodies };
}

function blockBody(block: { type: string }): SandboxBody {
  const text = TextBlock.safeParse(block);
  if (text.success) return { type: 'text', text: text.data.text };
  const thinking = ThinkingBlock.safeParse(block);
  if (thinking.success) return { type: 'thinking', text: thinking.data.thinking };
  const tool = ToolUseBlock.safeParse(block);
  if (tool.success)
    return { type: 'tool_use', id: tool.data.id, name: tool.data.name, input: tool.data.input };
  return { type: 'unknown', message: block };
}

const Source = z.object({ media_type: z.catch(z.string(), ''), data: z.catch(z.string(), '') });

function resultText(content: z.infer<typeof ToolResultBlock>['content']): string {
  if (content === undefined) return '';
  if (typeof content === 'string') return content;
  return content
    .map((block) => {
      if (typeof block.text === 'string') return block.text;
      const source = Source.safeParse(block.source);
      if (!source.success) return `[${block.type}]`;
      const { media_type: mediaType, data } = source.data;
      const bytes = Math.floor((data.replace(/=+$/, '').length * 3) / 4);
      return `[${block.type}: ${mediaType}, ${bytes} bytes]`;
    })
    .join('\n');
}

function usageOf(usage: z.infer<typeof UsageIn>): Usage {
  return {
    inputTokens: usage.input_tokens,
    outputTokens: usage.output_tokens,
    cacheReadTokens: usage.cache_read_input_tokens,
    cacheWriteTokens: usage.cache_creation_input_tokens,
  };
}

function final(result: Result, spec: TaskSpec): Reading {
  const text = result.result === '' ? result.errors.join('\n') : result.result;
  const body: SandboxBody = {
    type: 'result',
    isError: result.is_error,
    text,
    durationMs: result.duration_ms,
    // The CLI takes an unknown model for one of Anthropic's; the demonstration costs nothing.
    costUsd: spec.model.demonstration ? 0 : result.total_cost_usd,
    turns: result.num_turns,
    usage: usageOf(result.usage),
  };
  // A failed run can say subtype "success": only is_error is to be believed.
  return result.is_error ? { bodies: [body], verdict: verdictOf(result, text, spec) } : { bodies: [body] };
}

/** What a service says of an account that may use it, but not this model. The CLI's own advice before it is left out. */
const notEnabled =
  /(don't|do not|does not) have access to the model|does not have access to it|use case details have not been submitted|model access is denied|not available in your region/i;

/** Says why a run failed, by the HTTP status of the model's endpoint where there is one. Pure. */
function verdictOf(result: Result, text: string, spec: TaskSpec): Verdict {
  const status =
    result.api_error_status ?? Number(/API Error: (?:[A-Za-z ]*)(\d{3})\b/.exec(text)?.[1] ?? Number.NaN);
  const said = text === '' ? '' : ` It said: ${shorten(text)}`;
  const service = spec.model.service?.kind ?? 'anthropic';
  if (status >= 400 && notEnabled.test(text.slice(Math.max(0, text.indexOf('API Error:'))))) {
    return {
      kind: 'not_enabled',
      message: `The account may not use this model (HTTP ${status}).${said}`,
      mend: enabling[service],
    };
  }
  if (status === 401 || status === 403) {
    return {
      kind: 'auth_refused',
      message: `The model's endpoint refused the credential (HTTP ${status}).${said}`,
      mend: renewing[service],
    };
  }
  if (status === 429) {
    return {
      kind: 'rate_limited',
      message: `The model's endpoint refused for too many requests (HTTP 429).${said}`,
      mend: 'Wait until the limit is lifted or raise it with the provider, then start the task again.',
    };
  }
  if (status === 404 || status >= 500 || /connection error|unable to connect|ECONN|timed out/i.test(text)) {
    return {
      kind: 'model_unavailable',
      message: `The model did not answer${Number.isNaN(status) ? '' : ` (HTTP ${status})`}.${said}`,
      mend:
        status === 404
          ? "Check the model's name, then start the task again."
          : "Check the network and the provider's status, then start the task again.",
    };
  }
  const reason = result.subtype === 'error_max_turns' ? ' at the limit of turns' : ' with an error';
  return {
    kind: 'agent_error',
    message: `Claude Code ended${reason}.${said}`,
    mend: "Read the end of the task's log for the cause, then start the task again.",
  };
}

const renewing = {
  anthropic: 'Check the credential with the command Sallyport: Set Credential, then start the task again.',
  bedrock:
    'Renew the AWS credential (such as with aws sso login) and check that its policy allows bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream, then start the task again.',
  vertex:
    'Renew the Google credential (gcloud auth application-default login) and check that it may use Vertex AI in this project, then start the task again.',
};

const enabling = {
  anthropic: 'Choose a model that the account has, then start the task again.',
  bedrock:
    'Enable the model for the account and region in the Amazon Bedrock console, or choose another one, then start the task again.',
  vertex:
    "Enable the model for the project in Vertex AI's Model Garden, or choose another model or region, then start the task again.",
};

function shorten(text: string): string {
  const line = text.trim().replaceAll(/\s+/g, ' ');
  return line.length <= 300 ? line : `${line.slice(0, 299)}…`;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const json: unknown = JSON.parse(line);
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
