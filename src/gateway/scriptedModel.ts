import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Upstream } from '../protocol/control.ts';
import { apiError } from './apiError.ts';
import type { ModelAnswer, ModelBackend, ModelRequest } from './modelBackend.ts';
import { MessagesRequest, answersSoFar, isHelperRequest } from './messagesRequest.ts';

/** One answer of a model without a model. */
export type Turn = Extract<Upstream, { kind: 'scripted' }>['turns'][number] & {
  /** Waits between the pieces of the text, in milliseconds. */
  pieceMs?: number;
};

/** Chooses the answer to a request, from the request alone: nothing is kept between requests. */
export type Script = (request: MessagesRequest) => Turn;

/** The turn is told by the number of answers in the conversation. When they run out, the model ends its turn. */
export function fixedScript(turns: readonly Turn[]): Script {
  return (request) => turns[answersSoFar(request)] ?? { text: 'Done.' };
}

const textPiece = 24;
const jsonPiece = 120;

/** Answers the Messages API as a script says, streamed or whole. */
export function scriptedModel(script: Script): ModelBackend {
  return {
    local: true,
    host: 'scripted',
    port: 0,
    ask: (request, signal) => answer(request, script, signal),
  };
}

async function answer(
  { call, body }: ModelRequest,
  script: Script,
  signal: AbortSignal,
): Promise<ModelAnswer> {
  if (call.kind === 'models') return whole(200, { data: [], has_more: false, first_id: null, last_id: null });
  const inputTokens = Math.ceil(body.length / 4);
  if (call.kind === 'count') return whole(200, { input_tokens: inputTokens });
  const parsed = MessagesRequest.safeParse(JSON.parse(body.toString('utf8')));
  if (!parsed.success) return whole(400, apiError(400, 'The request is no message request.'));

  const request = parsed.data;
  const turn: Turn = isHelperRequest(request) ? { text: 'Sallyport task' } : script(request);
  if (turn.delayMs !== undefined) await delay(turn.delayMs, undefined, { signal });
  if (turn.status !== undefined)
    return whole(turn.status, apiError(turn.status, `Scripted refusal with status ${turn.status}.`));
  const message = toMessage(turn, request, inputTokens);
  const free = turn.usage === undefined && turn.model === undefined;
  if (request.stream !== true) return { ...whole(200, message), free };
  return {
    status: 200,
    headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' },
    body: Readable.from(stream(message, turn.pieceMs ?? 0, signal), { objectMode: false }),
    free,
  };
}

function whole(status: number, body: unknown): ModelAnswer {
  const bytes = Buffer.from(JSON.stringify(body));
  return {
    status,
    headers: { 'content-type': 'application/json', 'content-length': bytes.length },
    body: Readable.from([bytes], { objectMode: false }),
    free: true,
  };
}

type Block =
  | { type: 'text'; text: string }
  | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> };

interface Message {
  id: string;
  type: 'message';
  role: 'assistant';
  model: string;
  content: Block[];
  stop_reason: 'end_turn' | 'tool_use';
  stop_sequence: null;
  usage: Record<
    'input_tokens' | 'output_tokens' | 'cache_creation_input_tokens' | 'cache_read_input_tokens',
    number
  >;
}

function toMessage(turn: Turn, request: MessagesRequest, inputTokens: number): Message {
  const count = answersSoFar(request);
  const content: Block[] = [];
  if (turn.text !== undefined && turn.text !== '') content.push({ type: 'text', text: turn.text });
  for (const [index, { name, input }] of (turn.tools ?? []).entries()) {
    content.push({ type: 'tool_use', id: `toolu_${count}_${index}`, name, input });
  }
  if (content.length === 0) content.push({ type: 'text', text: 'Done.' });
  return {
    id: `msg_${count}_${inputTokens}`,
    type: 'message',
    role: 'assistant',
    model: turn.model ?? request.model,
    content,
    stop_reason: content.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: turnUsage(turn) ?? {
      input_tokens: inputTokens,
      output_tokens: Math.ceil(JSON.stringify(content).length / 4),
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
    },
  };
}

function turnUsage({ usage }: Turn): Message['usage'] | undefined {
  if (usage === undefined) return undefined;
  return {
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    cache_creation_input_tokens: usage.cacheWriteTokens,
    cache_read_input_tokens: usage.cacheReadTokens,
  };
}

/** Server-sent events, in the order and the shapes of the Messages API. */
async function* stream(message: Message, pieceMs: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  const event = (type: string, fields: Record<string, unknown>): Buffer =>
    Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  const usage = { ...message.usage, output_tokens: 1 };
  yield event('message_start', { message: { ...message, content: [], stop_reason: null, usage } });
  for (const [index, block] of message.content.entries()) {
    const empty = block.type === 'text' ? { ...block, text: '' } : { ...block, input: {} };
    yield event('content_block_start', { index, content_block: empty });
    const whole = block.type === 'text' ? block.text : JSON.stringify(block.input);
    for (const piece of pieces(whole, block.type === 'text' ? textPiece : jsonPiece)) {
      const delta =
        block.type === 'text'
          ? { type: 'text_delta', text: piece }
          : { type: 'input_json_delta', partial_json: piece };
      yield event('content_block_delta', { index, delta });
      if (pieceMs > 0) await delay(pieceMs, undefined, { signal });
    }
    yield event('content_block_stop', { index });
  }
  const { stop_reason, stop_sequence } = message;
  yield event('message_delta', { delta: { stop_reason, stop_sequence }, usage: message.usage });
  yield event('message_stop', {});
}

/** Cuts text without parting characters; a long one into a thousand pieces, so that it does not take forever. */
function* pieces(text: string, shortest: number): Generator<string, void> {
  const length = Math.max(shortest, Math.ceil(text.length / 1000));
  for (let at = 0; at < text.length;) {
    const parts = isHighSurrogate(text.charCodeAt(at + length - 1));
    const end = at + length + (parts ? 1 : 0);
    yield text.slice(at, end);
    at = end;
  }
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
