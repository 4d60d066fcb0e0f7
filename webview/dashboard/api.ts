import type * as z from 'zod/mini';
import { Problem } from '../../src/protocol/runnerApi.ts';

/** What the server refused, in its own words. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly mend: string;

  constructor(problem: Pick<Problem, 'status' | 'code' | 'detail' | 'mend'>) {
    super(problem.detail);
    this.name = 'ApiError';
    this.status = problem.status;
    this.code = problem.code;
    this.mend = problem.mend;
  }
}

/** Anything thrown, as something that can be told. */
export function told(thrown: unknown): { message: string; mend: string; code: string } {
  if (thrown instanceof ApiError) return { message: thrown.message, mend: thrown.mend, code: thrown.code };
  return {
    message: thrown instanceof Error ? thrown.message : String(thrown),
    mend: 'Reload the page; if it comes again, look at the log of the server.',
    code: 'internal',
  };
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface Options<S extends z.ZodMiniType> {
  body?: unknown;
  /** What the answer has to be; without it the answer is left unread. */
  schema?: S;
  signal?: AbortSignal;
  headers?: Readonly<Record<string, string>>;
}

/** Longest wait for an answer, in milliseconds. */
const patience = 60_000;

/**
 * Speaks to the server that the page came from; the session's cookie goes along by itself. Throws an ApiError, also
 * where nobody answers.
 */
export class Api {
  /** Told when the session is not valid any more. */
  onSignedOut: () => void = () => undefined;

  async call<S extends z.ZodMiniType>(
    method: Method,
    path: string,
    options: Options<S> = {},
  ): Promise<z.output<S>> {
    const response = await this.send(method, path, options);
    const { schema } = options;
    if (schema === undefined || response.status === 204) {
      await response.arrayBuffer();
      return undefined as z.output<S>;
    }
    const parsed = schema.safeParse(await response.json().catch(() => undefined));
    if (!parsed.success) throw new ApiError(misunderstood);
    return parsed.data;
  }

  /** A text, and the headers that came with it. */
  async text(path: string, signal?: AbortSignal): Promise<{ text: string; headers: Headers }> {
    const response = await this.send('GET', path, signal === undefined ? {} : { signal });
    return { text: await response.text(), headers: response.headers };
  }

  private async send(
    method: Method,
    path: string,
    { body, signal, headers }: Options<z.ZodMiniType>,
  ): Promise<Response> {
    const late = AbortSignal.timeout(patience);
    const response = await fetch(path, {
      method,
      credentials: 'same-origin',
      redirect: 'error',
      signal: signal === undefined ? late : AbortSignal.any([signal, late]),
      headers: {
        accept: 'application/json, text/plain;q=0.5',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((thrown: unknown) => {
      if (signal?.aborted === true) throw thrown;
      throw new ApiError(unreachable);
    });
    if (response.ok) return response;
    const problem = Problem.safeParse(await response.json().catch(() => undefined));
    const error = new ApiError(
      problem.success
        ? problem.data
        : { ...misunderstood, status: response.status, detail: `The server answered ${response.status}.` },
    );
    if (response.status === 401 && path.startsWith('/api/')) this.onSignedOut();
    throw error;
  }
}

const unreachable = {
  status: 0,
  code: 'runner_unreachable',
  detail: 'The server does not answer.',
  mend: 'Look whether it runs and whether you are online, then try again.',
};

const misunderstood = {
  status: 500,
  code: 'runner_version',
  detail: 'The server answered something that this page does not understand.',
  mend: 'Reload the page: the server may be of another version now.',
};
