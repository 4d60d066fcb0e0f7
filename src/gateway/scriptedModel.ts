import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Upstream } from '../protocol/control.ts';
import { sendApiError, sendJson } from './apiError.ts';
import { maxRequestBytes, type Responder } from './broker.ts';
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
export function scriptedModel(script: Script): Responder {
  return (request, response, path) => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    answer(request, response, path, script, gone.signal).catch((thrown: unknown) => {
      if (!gone.signal.aborted)
        sendApiError(response, 500, thrown instanceof Error ? thrown.message : String(thrown));
    });
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  script: Script,
  signal: AbortSignal,
): Promise<void> {
  if (path === '/v1/models') {
    sendJson(response, 200, { data: [], has_more: false, first_id: null, last_id: null });
    return;
  }
  const body = await readBody(request);
  if (body === undefined) {
    sendApiError(response, 413, `The request is larger than ${maxRequestBytes >> 20} MiB.`);
    return;
  }
  const inputTokens = Math.ceil(body.length / 4);
  if (path === '/v1/messages/count_tokens') {
    sendJson(response, 200, { input_tokens: inputTokens });
    return;
  }
  const parsed = parse(body);
  if (parsed === undefined) {
    sendApiError(response, 400, 'The request is no message request.');
    return;
  }

  const turn: Turn = isHelperRequest(parsed) ? { text: 'Sallyport task' } : script(parsed);
  if (turn.delayMs !== undefined) await delay(turn.delayMs, undefined, { signal });
  if (turn.status !== undefined) {
    sendApiError(response, turn.status, `Scripted refusal with status ${turn.status}.`);
    return;
  }
  const message = toMessage(turn, parsed, inputTokens);
  if (parsed.stream === true) await stream(response, message, turn.pieceMs ?? 0, signal);
  else sendJson(response, 200, message);
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
    model: request.model,
    content,
    stop_reason: content.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: inputTokens,
      output_tokens: Math.ceil(JSON.stringify(content).length / 4),
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
    },
  };
}

/** Server-sent events, in the order and the shapes of the Messages API. */
async function stream(
  response: ServerResponse,
  message: Message,
  pieceMs: number,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  });
  const send = (type: string, fields: Record<string, unknown>): void => {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  };
  const usage = { ...message.usage, output_tokens: 1 };
  send('message_start', { message: { ...message, content: [], stop_reason: null, usage } });
  for (const [index, block] of message.content.entries()) {
    const empty = block.type === 'text' ? { ...block, text: '' } : { ...block, input: {} };
    send('content_block_start', { index, content_block: empty });
    const whole = block.type === 'text' ? block.text : JSON.stringify(block.input);
    for (const piece of pieces(whole, block.type === 'text' ? textPiece : jsonPiece)) {
      const delta =
        block.type === 'text'
          ? { type: 'text_delta', text: piece }
          : { type: 'input_json_delta', partial_json: piece };
      send('content_block_delta', { index, delta });
      if (pieceMs > 0) await delay(pieceMs, undefined, { signal });
      if (response.writableNeedDrain) await once(response, 'drain', { signal });
    }
    send('content_block_stop', { index });
  }
  const { stop_reason, stop_sequence } = message;
  send('message_delta', { delta: { stop_reason, stop_sequence }, usage: message.usage });
  send('message_stop', {});
  response.end();
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

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxRequestBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parse(body: Buffer): MessagesRequest | undefined {
  try {
    return MessagesRequest.parse(JSON.parse(body.toString('utf8')));
  } catch {
    return undefined;
  }
}
