import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Upstream } from '../protocol/control.ts';
import { ledgerText, type GatewayLog } from './eventLog.ts';
import { AgentAnswer, readAnswer, silent } from './modelAnswer.ts';
import { ModelFailure, type ModelAnswer, type ModelBackend, type ModelRequest } from './modelBackend.ts';
import { ModelBlocked, readModelBody, type BodyRoom } from './modelBody.ts';
import type { ModelCall } from './modelCall.ts';
import type { ModelCredential } from './modelCredential.ts';
import { ModelMeter } from './modelMeter.ts';
import { refusalOf } from './modelRefusal.ts';
import { costOf } from './prices.ts';
import type { SpendAllowance } from './spendAllowance.ts';

/** How long the service may say nothing, in milliseconds. */
const silentMs = 10 * 60_000;

export interface ExchangeParts {
  backend: () => ModelBackend;
  credential: ModelCredential;
  allowance: SpendAllowance;
  room: BodyRoom;
  log: GatewayLog;
  /** For tests; in milliseconds. */
  pingMs?: number | undefined;
  silentMs?: number | undefined;
}

/** How an exchange ended, for the ledger. */
export interface ExchangeResult {
  verdict: 'allowed' | 'blocked' | 'failed';
  reason?: string;
  bytesOut: number;
  bytesIn: number;
}

/**
 * One request of the agent's and its answer: checked, held while the money is used up or the credential is not good,
 * asked, asked once more with another credential, passed on, counted.
 */
export async function exchange(
  parts: ExchangeParts,
  id: number,
  call: ModelCall,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<ExchangeResult> {
  const result: ExchangeResult = { verdict: 'allowed', bytesOut: 0, bytesIn: 0 };
  const left = new AbortController();
  response.once('close', () => left.abort());
  let answer = new AgentAnswer(response, call.framing, false);
  let held = 0;
  try {
    const body = await readModelBody(request, call, parts.room, (bytes) => (held += bytes));
    answer = new AgentAnswer(response, call.framing, body.streams);
    const onward = { call, method: request.method ?? '', headers: request.headers, body: body.bytes };
    if (call.kind === 'message' && parts.allowance.isUsedUp) {
      const stop = answer.keepWaiting(parts.pingMs);
      await parts.allowance.room(left.signal).finally(stop);
    }
    await parts.credential.fresh(left.signal);
    result.bytesOut = body.bytes.length;
    const name = call.model ?? body.model ?? 'unknown';
    await converse(parts, id, onward, name, answer, result, left.signal);
  } catch (thrown) {
    const failure = thrown instanceof ModelFailure ? thrown : undefined;
    result.verdict = thrown instanceof ModelBlocked ? 'blocked' : 'failed';
    if (left.signal.aborted && failure === undefined) {
      result.reason = 'The agent left before the answer was over.';
    } else if (failure === undefined) {
      result.reason = "The model's endpoint broke off its answer.";
      // Half an answer is no answer: the agent is to see that it broke off.
      response.destroy();
    } else {
      result.reason = failure.message;
      // What still comes of the request is of no interest; the connection is closed rather than read to its end.
      if (!request.complete && !response.headersSent) response.setHeader('connection', 'close');
      answer.fail(failure.status, failure.message);
      request.resume();
    }
  } finally {
    parts.room.give(held);
  }
  return result;
}

async function converse(
  parts: ExchangeParts,
  id: number,
  onward: ModelRequest,
  name: string,
  answer: AgentAnswer,
  result: ExchangeResult,
  signal: AbortSignal,
): Promise<void> {
  const paid = onward.call.kind === 'message';
  const limit = parts.silentMs ?? silentMs;
  let head: ModelAnswer | undefined;
  let meter: ModelMeter | undefined;
  try {
    head = await askWithCredential(parts, onward, limit, signal);
    const { 'content-type': type, 'content-encoding': encoding } = head.headers;
    if (paid && head.status === 200) meter = new ModelMeter(type ?? '', encoding ?? '', onward.body.length);
    await answer.pass(
      head,
      (piece) => {
        result.bytesIn += piece.length;
        meter?.see(piece);
      },
      limit,
    );
  } catch (thrown) {
    // Who leaves while the service works has spent what it read.
    if (paid && head === undefined && signal.aborted && !parts.backend().local)
      meter = new ModelMeter('', '', onward.body.length);
    throw thrown;
  } finally {
    head?.body.destroy();
    if (meter !== undefined) await settle(parts, id, name, meter, head?.free ?? false);
  }
}

/** Says what the answer cost, and takes it off the allowance. */
async function settle(
  { allowance, credential, log }: ExchangeParts,
  request: number,
  name: string,
  meter: ModelMeter,
  free: boolean,
): Promise<void> {
  const { model = name, priced, usage, guessed, regional } = await meter.total();
  const cost = free
    ? { usd: 0, estimated: false }
    : costOf(model, priced, regional || isRegional(credential.upstream, name));
  allowance.spend(cost.usd);
  const estimated = cost.estimated || (guessed && cost.usd > 0);
  log.say({ type: 'spend', request, model: ledgerText(model), usage, usd: cost.usd, estimated });
}

/** Whether the service promises where the answer is made, which costs a tenth more. */
function isRegional(upstream: Upstream, name: string): boolean {
  if (upstream.kind === 'vertex') return upstream.region !== 'global';
  return upstream.kind === 'bedrock' && !/(^|\/)global\./.test(name);
}

/** The head of an answer. One that asks for another credential is tried once more, when there is another one. */
async function askWithCredential(
  { backend, credential }: ExchangeParts,
  onward: ModelRequest,
  limit: number,
  signal: AbortSignal,
): Promise<ModelAnswer> {
  const { upstream } = credential;
  const head = await askInTime(backend(), onward, limit, signal);
  if (head.status < 400) credential.accepted(upstream);
  if (![400, 401, 403].includes(head.status)) return head;
  const said = await readAnswer(head.body);
  const about = `${String(head.headers['x-amzn-errortype'] ?? '')} ${said.toString('utf8')}`;
  const reason = refusalOf(upstream, head.status, about);
  if (reason !== undefined && (await credential.refused(upstream, reason, head.status, signal)))
    return await askInTime(backend(), onward, limit, signal);
  const { 'content-length': _, ...headers } = head.headers;
  return { ...head, headers, body: Readable.from([said], { objectMode: false }) };
}

async function askInTime(
  backend: ModelBackend,
  onward: ModelRequest,
  limit: number,
  signal: AbortSignal,
): Promise<ModelAnswer> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), limit);
  try {
    return await backend.ask(onward, AbortSignal.any([signal, late.signal]));
  } catch (thrown) {
    if (late.signal.aborted) throw silent(limit);
    if (signal.aborted) throw new Error('The agent left', { cause: thrown });
    throw thrown;
  } finally {
    clearTimeout(timer);
  }
}
