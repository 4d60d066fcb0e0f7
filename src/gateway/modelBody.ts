import type { IncomingMessage } from 'node:http';
import * as z from 'zod/mini';
import type { ModelCall } from './modelCall.ts';
import { ModelFailure } from './modelBackend.ts';
import { remoteReach, remoteReachOfCount } from './remoteReach.ts';

/** Longest request of the agent's, in bytes. */
export const maxRequestBytes = 64 << 20;

const Asked = z.looseObject({
  model: z.optional(z.string()),
  stream: z.optional(z.nullable(z.boolean())),
});

/** What an agent asks of its model, checked. */
export interface ModelBody {
  /** What is sent. */
  bytes: Buffer;
  /** What the body itself names; the path of some services does instead. */
  model?: string;
  streams: boolean;
}

/** A request that is not passed on by a rule of the gateway's, rather than by an accident. */
export class ModelBlocked extends ModelFailure {}

/**
 * The whole body, checked and written anew: what was checked is what is sent, whatever another parser makes of a key
 * that stands twice. Throws `ModelBlocked` for one that may not pass.
 */
export async function readModelBody(request: IncomingMessage, call: ModelCall): Promise<ModelBody> {
  if (request.method === 'GET') return { bytes: Buffer.alloc(0), streams: false };
  const { 'content-encoding': encoding, 'content-length': length } = request.headers;
  if (encoding !== undefined && encoding !== 'identity')
    throw new ModelBlocked(415, 'The gateway takes no encoded request.');
  if (Number(length ?? 0) > maxRequestBytes) throw tooLarge();
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxRequestBytes) throw tooLarge();
    parts.push(part);
  }
  let json: unknown;
  try {
    json = JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch {
    throw new ModelBlocked(400, 'The request is no JSON.');
  }
  const wrapped = call.kind === 'count' && call.framing === 'eventstream';
  const reason = wrapped ? remoteReachOfCount(json) : remoteReach(json);
  if (reason !== undefined) throw new ModelBlocked(403, reason);
  const { model, stream } = Asked.safeParse(json).data ?? {};
  return {
    bytes: Buffer.from(JSON.stringify(json)),
    ...(model === undefined ? {} : { model }),
    streams: call.streams ?? stream === true,
  };
}

function tooLarge(): ModelBlocked {
  return new ModelBlocked(413, `The request is larger than ${maxRequestBytes >> 20} MiB.`);
}
