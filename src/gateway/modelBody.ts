import type { IncomingMessage } from 'node:http';
import * as z from 'zod/mini';
import type { ModelCall } from './modelCall.ts';
import { ModelFailure } from './modelBackend.ts';
import { remoteReach, remoteReachOfCount } from './remoteReach.ts';

/**
 * Longest request of the agent's, in bytes: several times what a model of a million tokens reads as text. It is in memory
 * several times over while it is checked, and in a gateway of 256 MiB that must end nothing.
 */
export const maxRequestBytes = 16 << 20;

/** What all requests together may hold, in bytes: the gateway's memory is small, and the agent is not trusted with it. */
const maxHeldBytes = 20 << 20;

/**
 * Most values in a request. A list of a million empty objects is short as text and large as what was read of it; requests
 * of a million tokens have less, commas in their text counted.
 */
const maxValues = 500_000;

/** Counts what the requests of one gateway hold in memory. */
export class BodyRoom {
  private held = 0;

  /** Throws a `ModelFailure` that says to come again later when there is no room. */
  take(bytes: number): void {
    if (this.held + bytes > maxHeldBytes)
      throw new ModelFailure(529, 'The gateway holds too many large requests at once. Try again later.');
    this.held += bytes;
  }

  give(bytes: number): void {
    this.held -= bytes;
  }
}

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
 * @param taken is called with the bytes that it takes of the room, which are the caller's to give back
 */
export async function readModelBody(
  request: IncomingMessage,
  call: ModelCall,
  room: BodyRoom,
  taken: (bytes: number) => void,
): Promise<ModelBody> {
  if (request.method === 'GET') return { bytes: Buffer.alloc(0), streams: false };
  const { 'content-encoding': encoding, 'content-length': length } = request.headers;
  if (encoding !== undefined && encoding !== 'identity')
    throw new ModelBlocked(415, 'The gateway takes no encoded request.');
  if (Number(length ?? 0) > maxRequestBytes) throw tooLarge();
  const json = parsed(
    await readText(request, (bytes) => {
      room.take(bytes);
      taken(bytes);
    }),
  );
  const wrapped = call.kind === 'count' && call.framing === 'eventstream';
  const reason = wrapped ? remoteReachOfCount(json) : remoteReach(json);
  if (reason !== undefined) throw new ModelBlocked(403, reason);
  const { model, stream } = Asked.safeParse(json).data ?? {};
  return {
    bytes: written(json),
    ...(model === undefined ? {} : { model }),
    streams: call.streams ?? stream === true,
  };
}

async function readText(request: IncomingMessage, take: (bytes: number) => void): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  // The stream is left whole, so that a refusal can still be answered.
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxRequestBytes) throw tooLarge();
    take(part.length);
    parts.push(part);
  }
  const whole = Buffer.concat(parts);
  if (whole.length > maxValues && valuesIn(whole) > maxValues)
    throw new ModelBlocked(413, 'The request has too many parts.');
  return whole.toString('utf8');
}

function written(json: unknown): Buffer {
  try {
    return Buffer.from(JSON.stringify(json));
  } catch {
    // What can be read can be too deep to be written.
    throw new ModelBlocked(400, 'The request is nested too deep.');
  }
}

/** No less than the values that begin in it. */
function valuesIn(bytes: Buffer): number {
  let count = 0;
  for (const byte of bytes) if (byte === comma || byte === bracket || byte === brace) count++;
  return count;
}

const [comma, bracket, brace] = [0x2c, 0x5b, 0x7b];

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ModelBlocked(400, 'The request is no JSON.');
  }
}

function tooLarge(): ModelBlocked {
  return new ModelBlocked(413, `The request is larger than ${maxRequestBytes >> 20} MiB.`);
}
