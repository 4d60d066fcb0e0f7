import * as http from 'node:http';
import * as https from 'node:https';
import { HttpsProxyAgent } from 'https-proxy-agent';
import type * as z from 'zod/mini';
import { isAbort, SallyportError } from '../base/errors.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { OutwardWay } from '../runner/outwardWay.ts';
import { failureOf, unreachable } from './runnerFailures.ts';

/** How to get to a runner, and as whom. */
export interface RunnerAccess {
  /** With a slash at its end. */
  url: URL;
  /** Asked before each request. Throws what there is to say when there is none. */
  token: () => Promise<string>;
  way: (url: URL) => OutwardWay;
}

export interface RunnerRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  /** Below the base address, without a slash at its beginning. */
  path: string;
  query?: readonly (readonly [name: string, value: string])[];
  headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  bytes?: Uint8Array;
  signal?: AbortSignal | undefined;
}

/** Longest JSON that is taken, in bytes. */
const maxJsonBytes = 64 << 20;
const maxProblemBytes = 64 << 10;
/** How long a server may be silent, in milliseconds. */
const silence = 120_000;

/** Requests to one runner: with its token, through the user's proxy, and no further than its own address. */
export class RunnerHttp {
  private readonly access: RunnerAccess;
  private agent: { agent: http.Agent; trust: { ca?: string[] } } | undefined;

  constructor(access: RunnerAccess) {
    this.access = access;
  }

  /** Sends it and checks the answer. Throws what the server said, `runner_unreachable`, or `runner_version` for an answer that is none. */
  async json<S extends z.ZodMiniType>(request: RunnerRequest, schema: S): Promise<z.output<S>> {
    const answer = await this.send(request);
    const parsed = schema.safeParse(parseJson(await readAll(answer, maxJsonBytes, this.access.url)));
    if (parsed.success) return parsed.data;
    throw new SallyportError(
      'runner_version',
      'The runner answered something that this version of Sallyport does not understand.',
      "Update the runner and Sallyport to the same version, and check that the address is the runner's.",
    );
  }

  /** Sends it and leaves the answer aside. */
  async done(request: RunnerRequest): Promise<void> {
    (await this.send(request)).destroy();
  }

  /** The answer's bytes. Ends with `runner_unreachable` when it breaks off. */
  async stream(request: RunnerRequest): Promise<ByteStream> {
    return whole(await this.send(request), this.access.url);
  }

  private async send({
    method,
    path,
    query = [],
    json,
    bytes,
    signal,
    ...rest
  }: RunnerRequest): Promise<http.IncomingMessage> {
    const url = new URL(path, this.access.url);
    for (const [name, value] of query) url.searchParams.append(name, value);
    const token = await this.access.token();
    const body = json === undefined ? bytes : Buffer.from(JSON.stringify(json));
    const headers: Record<string, string> = {
      accept: 'application/json',
      authorization: `Bearer ${token}`,
      ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      ...(bytes === undefined ? {} : { 'content-type': 'application/octet-stream' }),
      ...(body === undefined ? {} : { 'content-length': String(body.length) }),
      ...rest.headers,
    };
    const answer = await this.exchange(url, { method, headers, signal }, body);
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    throw failureOf(status, parseJson(await readAll(answer, maxProblemBytes, url).catch(() => Buffer.of())));
  }

  private exchange(
    url: URL,
    {
      signal,
      ...options
    }: { method: string; headers: Record<string, string>; signal: AbortSignal | undefined },
    body: Uint8Array | undefined,
  ): Promise<http.IncomingMessage> {
    const { agent, trust } = (this.agent ??= makeAgent(url, this.access.way(url)));
    const send = url.protocol === 'https:' ? https.request : http.request;
    return new Promise((resolve, reject) => {
      const outgoing = send(url, {
        ...options,
        ...trust,
        agent,
        ...(signal === undefined ? {} : { signal }),
      });
      outgoing.setTimeout(silence, () =>
        outgoing.destroy(Object.assign(new Error('No answer in time'), { code: 'ETIMEDOUT' })),
      );
      outgoing.on('error', (error) => {
        // The settings may have been changed since.
        this.agent = undefined;
        reject(signal?.aborted === true ? error : unreachable(url, error));
      });
      outgoing.on('proxyConnect', ({ statusCode }: { statusCode: number }) => {
        if (statusCode !== 200) outgoing.destroy(proxyRefusal(statusCode));
      });
      outgoing.on('response', resolve);
      outgoing.end(body);
    });
  }

  dispose(): void {
    this.agent?.agent.destroy();
    this.agent = undefined;
  }
}

/** Of a proxy that opens no tunnel. */
export function proxyRefusal(status: number): SallyportError {
  return new SallyportError(
    'runner_unreachable',
    `The proxy on the way to the runner answered ${status}.`,
    'Look at the proxy settings; the proxy may want a user name and a password.',
  );
}

/** Connections for one server. */
export function makeAgent(
  url: URL,
  { proxy, trust }: OutwardWay,
  keepAlive = true,
): { agent: http.Agent; trust: { ca?: string[] } } {
  if (url.protocol !== 'https:') return { agent: new http.Agent({ keepAlive }), trust: {} };
  if (proxy !== undefined) return { agent: new HttpsProxyAgent(proxy, { keepAlive, ...trust }), trust };
  return { agent: new https.Agent({ keepAlive }), trust };
}

async function* whole(answer: http.IncomingMessage, url: URL): ByteStream {
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) yield chunk;
  } catch (thrown) {
    if (isAbort(thrown)) throw thrown;
    throw unreachable(url, thrown);
  }
  if (!answer.complete) throw unreachable(url, Object.assign(new Error('Cut off'), { code: 'ECONNRESET' }));
}

/** Reads an answer to its end. Throws for one that is longer than `maxBytes`, or breaks off. */
export async function readAll(answer: http.IncomingMessage, maxBytes: number, url: URL): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of whole(answer, url)) {
    size += part.length;
    if (size > maxBytes) {
      answer.destroy();
      throw new SallyportError(
        'runner_version',
        `The runner answered more than ${maxBytes} bytes.`,
        "Check that the address is the runner's.",
      );
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Undefined for what is no JSON. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString()) as unknown;
  } catch {
    return undefined;
  }
}
