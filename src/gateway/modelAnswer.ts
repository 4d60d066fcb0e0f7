import type { ServerResponse } from 'node:http';
import { apiError, sendApiError } from './apiError.ts';
import { chunkFrame, exceptionFrame } from './bedrockFrames.ts';
import { ModelFailure, type ModelAnswer } from './modelBackend.ts';
import type { Framing } from './modelCall.ts';

/** How often a stream that waits shows that it lives, in milliseconds. Clients give up on one that is silent. */
const pingMs = 10_000;

const contentTypes: Record<Framing, string> = {
  sse: 'text/event-stream; charset=utf-8',
  eventstream: 'application/vnd.amazon.eventstream',
};

/** Longest answer that is read to its end rather than passed on, in bytes. */
const maxReadBytes = 64 << 10;

/** The answer to one request of the agent's: an answer of the model's as it comes, or a failure that the agent understands. */
export class AgentAnswer {
  private readonly response: ServerResponse;
  private readonly framing: Framing;
  private readonly streams: boolean;

  constructor(response: ServerResponse, framing: Framing, streams: boolean) {
    this.response = response;
    this.framing = framing;
    this.streams = streams;
  }

  /**
   * Keeps the agent waiting for as long as it takes: a stream is begun and says `ping`. Who asked for a whole answer waits
   * in silence. Ends with what it returns.
   */
  keepWaiting(everyMs = pingMs): () => void {
    if (!this.streams) return () => undefined;
    const timer = setInterval(() => {
      this.begin();
      this.write({ type: 'ping' });
    }, everyMs);
    return () => clearInterval(timer);
  }

  /**
   * Passes an answer on, each piece as it comes and no faster than the agent takes it. Resolves when it is over; rejects
   * when it broke off, or with a `ModelFailure` after `silentMs` milliseconds without a piece.
   */
  async pass(answer: ModelAnswer, see: (piece: Buffer) => void, silentMs: number): Promise<void> {
    const { response } = this;
    const { body } = answer;
    if (response.headersSent && (answer.status !== 200 || !isStream(answer))) {
      // The stream is begun: what else came is told as the failure that it is.
      const said = await readAnswer(body);
      throw new ModelFailure(answer.status === 200 ? 502 : answer.status, messageOf(said));
    }
    if (!response.headersSent) {
      response.writeHead(answer.status, answer.headers);
      response.flushHeaders();
    }
    await new Promise<void>((resolve, reject) => {
      const silence = setTimeout(() => {
        reject(silent(silentMs));
        body.destroy();
      }, silentMs);
      const settle = (done: () => void) => (): void => {
        clearTimeout(silence);
        done();
      };
      const broken = settle(() => reject(new Error('The answer broke off')));
      body.on('data', (piece: Buffer) => {
        silence.refresh();
        see(piece);
      });
      body.once('end', settle(resolve)).once('error', broken).once('close', broken);
      response.once('close', broken);
      body.pipe(response, { end: false });
    });
    response.end();
  }

  /** Tells the agent of a failure: by the status, or within the stream where it is begun. */
  fail(status: number, message: string): void {
    const { response } = this;
    if (!response.headersSent) {
      sendApiError(response, status, message);
    } else if (this.streams && !response.writableEnded && !response.destroyed) {
      if (this.framing === 'sse') this.write(apiError(status, message));
      else response.write(exceptionFrame(exceptionType(status), message));
      response.end();
    } else {
      response.destroy();
    }
  }

  private begin(): void {
    if (this.response.headersSent) return;
    this.response.writeHead(200, {
      'content-type': contentTypes[this.framing],
      'cache-control': 'no-cache',
    });
    this.response.flushHeaders();
  }

  private write(event: { type: string }): void {
    if (this.framing === 'eventstream') this.response.write(chunkFrame(event));
    else this.response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  }
}

/** The service said nothing for too long. */
export function silent(ms: number): ModelFailure {
  return new ModelFailure(504, `The model's endpoint said nothing for ${Math.round(ms / 60_000)} minutes.`);
}

function isStream({ headers }: ModelAnswer): boolean {
  return /event-?stream/.test(headers['content-type'] ?? '');
}

function exceptionType(status: number): string {
  if (status === 429) return 'throttlingException';
  if (status === 504) return 'modelTimeoutException';
  return status >= 500 ? 'internalServerException' : 'validationException';
}

/** The beginning of an answer that is no stream. */
export async function readAnswer(body: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body as AsyncIterable<Buffer>) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes >= maxReadBytes) break;
  }
  return Buffer.concat(pieces).subarray(0, maxReadBytes);
}

/** What an error of the service's says, of any of its shapes. */
function messageOf(said: Buffer): string {
  const text = said.toString('utf8');
  const message = /"message"\s*:\s*("(?:[^"\\]|\\.)*")/i.exec(text)?.[1];
  try {
    if (message !== undefined) return String(JSON.parse(message));
  } catch {
    // Told as it came.
  }
  return text.slice(0, 500);
}
