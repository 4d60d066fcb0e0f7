import type * as z from 'zod/mini';
import { isAbort, SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import { failureOf } from './failures.ts';

export interface RestRequest {
  method?: 'GET' | 'POST' | 'PATCH';
  /** Below the API, with its query; or a whole address of the same API's. */
  path: string;
  body?: unknown;
  /** What is asked for, for people: "the repository octo/app". */
  what: string;
  signal: AbortSignal;
}

export interface RestAnswer<T> {
  value: T;
  /** Address of the next page, of the same API's. */
  next?: string;
}

/** How long one request may take, in milliseconds. */
const requestMs = 30_000;
const maxAnswerBytes = 16 << 20;

/** JSON over HTTP with a bearer token, to one API and nowhere else: no redirect is followed. */
export class RestClient {
  private readonly forge: string;
  private readonly base: URL;
  private readonly token: string;

  /** @param base of the API */
  constructor(forge: string, base: string, token: string) {
    this.forge = forge;
    this.base = new URL(base.replace(/\/+$/, ''));
    this.token = token;
  }

  async ask<S extends z.ZodMiniType>(schema: S, request: RestRequest): Promise<RestAnswer<z.output<S>>> {
    const url = this.address(request.path);
    const late = AbortSignal.timeout(requestMs);
    try {
      const answer = await fetch(url, {
        method: request.method ?? 'GET',
        redirect: 'manual',
        signal: AbortSignal.any([request.signal, late]),
        headers: {
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${this.token}`,
          'user-agent': 'sallyport',
          'x-github-api-version': '2022-11-28',
          ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      });
      const json = parse(await textOf(answer, this.forge));
      if (!answer.ok) throw failureOf(this.forge, request.what, answer.status, answer.headers, json);
      const parsed = schema.safeParse(json);
      if (!parsed.success) throw this.strange(`an answer that is none of its API`);
      const next = this.next(answer.headers.get('link') ?? '');
      return { value: parsed.data, ...(next === undefined ? {} : { next }) };
    } catch (thrown) {
      if (thrown instanceof SallyportError) throw thrown;
      if (request.signal.aborted && isAbort(thrown))
        throw new SallyportError('cancelled', 'Cancelled.', 'Start it again when you like.');
      throw this.unreachable(late.aborted ? 'it did not answer in time' : causeOf(thrown), thrown);
    }
  }

  private address(path: string): URL {
    if (path.startsWith('/')) return new URL(`${this.base.href.replace(/\/$/, '')}${path}`);
    const url = new URL(path);
    // The token goes to no other host, whatever an answer said.
    if (url.origin !== this.base.origin) throw this.strange('an address at another host');
    return url;
  }

  private next(link: string): string | undefined {
    const found = /<([^<>]{1,2000})>;\s*rel="next"/.exec(link)?.[1];
    return found !== undefined && URL.canParse(found) ? found : undefined;
  }

  private strange(what: string): SallyportError {
    return new SallyportError(
      'forge_unreachable',
      `${this.forge} gave ${what}.`,
      "Check the address of the forge's API, and try again later.",
    );
  }

  private unreachable(why: string, cause: unknown): SallyportError {
    return new SallyportError(
      'forge_unreachable',
      `${this.forge} could not be reached at ${this.base.host}: ${safeLine(why, 200)}.`,
      "Check the runner's network and the status of the forge, then try again.",
      { cause },
    );
  }
}

/** What undici hides behind "fetch failed". */
function causeOf(thrown: unknown): string {
  const { cause } = thrown as { cause?: NodeJS.ErrnoException };
  return cause?.code ?? (thrown instanceof Error ? thrown.message : String(thrown));
}

async function textOf(answer: Response, forge: string): Promise<string> {
  if (answer.body === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > maxAnswerBytes) {
      throw new SallyportError(
        'forge_unreachable',
        `${forge} gave an answer of more than ${maxAnswerBytes} bytes.`,
        "Check the address of the forge's API.",
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
