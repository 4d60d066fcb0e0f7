import type * as z from 'zod/mini';
import { isAbort, SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import { failureOf, type Refuser } from './failures.ts';

export interface RestApi extends Refuser {
  /** Address of the API. */
  base: string;
  /** Go with every request: what proves who asks, and which version of the API is meant. */
  headers: Readonly<Record<string, string>>;
}

export interface RestRequest {
  method?: 'GET' | 'POST' | 'PATCH' | 'PUT';
  /** Below the API, with its query; or a whole address of the same API's. */
  path: string;
  body?: unknown;
  /** What is asked for, for people: "repository octo/app". */
  what: string;
  signal: AbortSignal;
}

export interface RestAnswer<T> {
  value: T;
  /** Address of the next page, as a header says it. */
  next?: string;
}

/** How long one request may take, in milliseconds. */
const requestMs = 30_000;
const maxAnswerBytes = 16 << 20;

/** JSON over HTTP with a token, to one API and nowhere else: no redirect is followed. */
export class RestClient {
  private readonly api: RestApi;
  private readonly base: URL;

  constructor(api: RestApi) {
    this.api = api;
    this.base = new URL(api.base.replace(/\/+$/, ''));
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
          accept: 'application/json',
          'user-agent': 'sallyport',
          ...this.api.headers,
          ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      });
      const json = parse(await this.textOf(answer));
      if (!answer.ok) throw failureOf(this.api, request.what, answer.status, answer.headers, json);
      const parsed = schema.safeParse(json);
      if (!parsed.success) throw this.strange(`an answer that is none of its API`);
      const next = nextOf(answer.headers.get('link') ?? '');
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
    const url = URL.canParse(path) ? new URL(path) : undefined;
    // The token goes to no other host, whatever an answer said, and to no other program at the same one.
    if (url?.origin !== this.base.origin) throw this.strange('an address at another host');
    if (!url.pathname.startsWith(`${this.base.pathname.replace(/\/$/, '')}/`))
      throw this.strange('an address outside its API');
    return url;
  }

  private async textOf(answer: Response): Promise<string> {
    if (answer.body === null) return '';
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > maxAnswerBytes) throw this.strange(`an answer of more than ${maxAnswerBytes} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  /** For what no API says. */
  strange(what: string): SallyportError {
    return new SallyportError(
      'forge_unreachable',
      `${this.api.forge} gave ${what}.`,
      "Check the address of the forge's API, and try again later.",
    );
  }

  private unreachable(why: string, cause: unknown): SallyportError {
    return new SallyportError(
      'forge_unreachable',
      `${this.api.forge} could not be reached at ${this.base.host}: ${safeLine(why, 200)}.`,
      this.api.owner === 'runner'
        ? "Check the runner's network and the status of the forge, then try again."
        : 'Check your network and the status of the forge, then try again.',
      { cause },
    );
  }
}

function nextOf(link: string): string | undefined {
  const found = /<([^<>]{1,2000})>;\s*rel="?next"?/.exec(link)?.[1];
  return found !== undefined && URL.canParse(found) ? found : undefined;
}

/** What undici hides behind "fetch failed". */
function causeOf(thrown: unknown): string {
  const { cause } = thrown as { cause?: NodeJS.ErrnoException };
  return cause?.code ?? (thrown instanceof Error ? thrown.message : String(thrown));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
