import * as http from 'node:http';
import * as https from 'node:https';
import * as z from 'zod/mini';
import type { Disposable } from '../base/disposable.ts';
import type { ForgeAccess, NetworkWay } from '../protocol/control.ts';
import { agentThrough } from './egress/networkWay.ts';
import { forgeCall, type ForgeCall } from './forgeCall.ts';
import { isMetadata, isMetadataName } from './upstream.ts';

/** How a request to the forge ended. */
export interface ForgeAnswer {
  status: number;
  /** For the sandbox, as JSON. */
  text: string;
  verdict: 'allowed' | 'blocked' | 'failed';
  /** Why it was blocked or failed, a sentence. */
  reason?: string;
  /** From the forge, in bytes. */
  bytesIn: number;
}

/** Longest answer of the forge's that is read, in bytes. */
const maxAnswerBytes = 8 << 20;
/** How long the forge may take for a whole answer, in milliseconds. */
const answerMs = 30_000;
/** Of one sandbox: at once, and in all. The token's own allowance at the forge is everybody's. */
const limits = { atOnce: 6, inAll: 1500 };

const Message = z.object({ message: z.string() });

/** Reads the forge for a sandbox, with a token that the sandbox never sees. Follows no redirect. */
export class ForgeReader implements Disposable {
  readonly host: string;
  readonly port: number;
  private readonly base: URL;
  private readonly prefix: string;
  private readonly token: string;
  private readonly agent: http.Agent;
  private running = 0;
  private asked = 0;

  /** @param authorities PEM; the public ones and the system's when they are not given */
  constructor({ apiUrl, token }: ForgeAccess, network: NetworkWay, authorities?: string[]) {
    this.base = new URL(apiUrl);
    const secure = this.base.protocol === 'https:';
    this.host = this.base.hostname.replace(/^\[|\]$/g, '');
    this.port = this.base.port === '' ? (secure ? 443 : 80) : Number(this.base.port);
    this.prefix = this.base.pathname.replace(/\/+$/, '');
    this.token = token;
    this.agent = agentThrough(network, secure, authorities === undefined ? {} : { ca: authorities });
  }

  /** @param path below `/forge`; never rejects */
  async ask(method: string, path: string, query: string, signal: AbortSignal): Promise<ForgeAnswer> {
    const call = forgeCall(method, path, query);
    if (typeof call === 'string') return refused(403, 'blocked', `Blocked by Sallyport: ${call}`);
    if (this.running >= limits.atOnce)
      return refused(429, 'blocked', 'Too many requests to the forge at once. Wait for those under way.');
    if (this.asked >= limits.inAll)
      return refused(429, 'blocked', `This sandbox has asked the forge ${limits.inAll} times, and no more.`);
    this.running++;
    this.asked++;
    try {
      return await this.read(call, AbortSignal.any([signal, AbortSignal.timeout(answerMs)]));
    } catch (thrown) {
      if (thrown instanceof ForgeFailure) return refused(502, 'failed', thrown.message);
      // The text of the error can hold an address; its code is enough.
      const code = (thrown as NodeJS.ErrnoException).code ?? '';
      const reason = /^[A-Z_0-9]+$/.test(code) ? ` (${code})` : '';
      return refused(502, 'failed', `The forge could not be reached from the gateway${reason}.`);
    } finally {
      this.running--;
    }
  }

  dispose(): void {
    this.agent.destroy();
  }

  private async read(call: ForgeCall, signal: AbortSignal): Promise<ForgeAnswer> {
    const answer = await this.send(call.path, signal);
    const status = answer.statusCode ?? 502;
    if (status >= 300 && status < 400) {
      answer.destroy();
      throw new ForgeFailure(`The forge answered with a redirect (HTTP ${status}), which is not followed.`);
    }
    const bytes = await bodyOf(answer);
    const json = parse(bytes);
    if (status === 401)
      throw new ForgeFailure(
        "The forge refused the runner's token (HTTP 401). Its administrator can renew it.",
      );
    if (status >= 400) {
      const message = Message.safeParse(json).data?.message ?? 'The forge said no more.';
      return this.told(status, { message }, bytes.length);
    }
    const parsed = call.answer.safeParse(json);
    if (!parsed.success) throw new ForgeFailure('The forge gave an answer that is none of its API.');
    return this.told(status, parsed.data, bytes.length);
  }

  private told(status: number, body: unknown, bytesIn: number): ForgeAnswer {
    const text = JSON.stringify(body);
    if (text.includes(this.token)) throw new ForgeFailure('The answer of the forge held a credential.');
    return { status, text, verdict: 'allowed', bytesIn };
  }

  private send(path: string, signal: AbortSignal): Promise<http.IncomingMessage> {
    if (isMetadataName(this.host)) return Promise.reject(noForgeThere());
    return new Promise((resolve, reject) => {
      const request = (this.base.protocol === 'https:' ? https : http).request({
        agent: this.agent,
        host: this.host,
        port: this.port,
        method: 'GET',
        path: `${this.prefix}${path}`,
        signal,
        headers: {
          host: this.base.host,
          accept: 'application/vnd.github+json',
          'x-github-api-version': '2022-11-28',
          'accept-encoding': 'identity',
          'user-agent': 'sallyport',
          authorization: `Bearer ${this.token}`,
        },
      });
      request.once('socket', (socket) => {
        if (socket.remoteAddress !== undefined && isMetadata(socket.remoteAddress))
          request.destroy(noForgeThere());
      });
      request.once('response', resolve);
      request.on('error', reject);
      request.end();
    });
  }
}

class ForgeFailure extends Error {}

function noForgeThere(): ForgeFailure {
  return new ForgeFailure(
    "The forge's address is one at which a cloud hands out credentials, where no forge is.",
  );
}

function refused(status: number, verdict: 'blocked' | 'failed', reason: string): ForgeAnswer {
  return { status, text: JSON.stringify({ message: reason }), verdict, reason, bytesIn: 0 };
}

async function bodyOf(answer: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxAnswerBytes) {
      answer.destroy();
      throw new ForgeFailure(
        `The forge's answer is longer than ${maxAnswerBytes} bytes. Ask for less of it.`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
