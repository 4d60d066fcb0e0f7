import * as http from 'node:http';
import * as https from 'node:https';
import type * as z from 'zod/mini';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { NewToken } from '../protocol/accounts.ts';
import { ServerVersion } from '../protocol/runnerApi.ts';
import { misfitOf } from '../remote/connection.ts';
import { failureOf, unreachable } from '../remote/runnerFailures.ts';
import { makeAgent } from '../remote/runnerHttp.ts';
import { outwardWay } from '../runner/outwardWay.ts';
import type { UserPolicy } from '../runner/userPolicy.ts';

// All that speaks to a runner is a bundle of its own, read when the first runner is used.
export { checkRunner, createRemoteTaskService } from '../remote/remoteTasks.ts';

/** Longest answer that is taken, in bytes, and how long it may take, in milliseconds. */
const maxBytes = 64 << 10;
const patienceMs = 20_000;

interface Asked {
  /** Base address, with a slash at its end. */
  runner: URL;
  /** The user's settings for the way to the network. */
  policy: UserPolicy;
  signal?: AbortSignal | undefined;
}

/** Asks an address whether a runner answers there that fits this version. Throws `runner_unreachable`, `runner_version`. */
export async function runnerVersion(asked: Asked): Promise<ServerVersion> {
  const version = await ask(asked, 'GET', 'api/v1/version', ServerVersion).catch((thrown: unknown) => {
    const error = asSallyportError(thrown);
    // Whatever else answers there answers this address in its own way.
    if (!['invalid_input', 'not_found', 'unauthorized', 'forbidden'].includes(error.code)) throw error;
    throw new SallyportError(
      'runner_unreachable',
      `What answers at ${asked.runner.host} is no runner of Sallyport.`,
      'Look at the address: the runner names it when it starts.',
      { cause: error },
    );
  });
  const misfit = misfitOf(version);
  if (misfit !== undefined) throw misfit.error;
  return version;
}

/** Exchanges the code that the browser brought for a token. Throws `unauthorized` when it is not good any more. */
export async function exchangeCode(asked: Asked, code: string, verifier: string): Promise<string> {
  return (await ask(asked, 'POST', 'auth/exchange', NewToken, { code, verifier })).token;
}

async function ask<S extends z.ZodMiniType>(
  { runner, policy, signal }: Asked,
  method: 'GET' | 'POST',
  path: string,
  schema: S,
  body?: object,
): Promise<z.output<S>> {
  const url = new URL(path, runner);
  const { agent, trust } = makeAgent(url, outwardWay(url, policy, process.env), false);
  const patience = AbortSignal.timeout(patienceMs);
  const both = signal === undefined ? patience : AbortSignal.any([signal, patience]);
  const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  try {
    const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const headers = {
        accept: 'application/json',
        ...(data === undefined ? {} : { 'content-type': 'application/json', 'content-length': data.length }),
      };
      const send = url.protocol === 'https:' ? https.request : http.request;
      const outgoing = send(url, { method, headers, agent, signal: both, ...trust }, (answer) => {
        const parts: Buffer[] = [];
        let size = 0;
        answer.on('data', (part: Buffer) => {
          size += part.length;
          if (size > maxBytes) outgoing.destroy(new Error('The answer is too long'));
          else parts.push(part);
        });
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
        );
        answer.on('error', reject);
      });
      outgoing.on('error', reject);
      outgoing.end(data);
    });
    const json = parse(text);
    if (status < 200 || status >= 300) throw failureOf(status, json);
    const read = schema.safeParse(json);
    if (read.success) return read.data;
    throw failureOf(404, undefined);
  } catch (thrown) {
    if (signal?.aborted === true) throw thrown;
    if (patience.aborted)
      throw unreachable(url, Object.assign(new Error('No answer in time'), { code: 'ETIMEDOUT' }));
    throw unreachable(url, thrown);
  } finally {
    agent.destroy();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
