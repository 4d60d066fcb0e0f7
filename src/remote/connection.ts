import { WebSocket } from 'ws';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import {
  apiVersion,
  closeCodes,
  oldestApi,
  type ServerVersion,
  type StreamRequest,
} from '../protocol/runnerApi.ts';
import { backoffDelay, defaultBackoff, type Backoff } from './backoff.ts';
import { failureOf, unreachable } from './runnerFailures.ts';
import { parseJson, readAll, type RunnerAccess } from './runnerHttp.ts';
import { openSocket } from './runnerSocket.ts';
import { readMessage, type Hello, type RunnerSaid } from './streamMessage.ts';

/** How it stands with a runner. `since` is in milliseconds since the epoch. */
export type ConnectionStatus =
  | { kind: 'connecting' }
  | { kind: 'online'; version: ServerVersion; user: Hello['user'] }
  /** It is tried again by itself. */
  | { kind: 'offline'; since: number; error: SallyportError }
  /** The credential is not taken: the user has to do something. */
  | { kind: 'refused'; error: SallyportError }
  /** The versions do not fit, and which side is the older one. */
  | { kind: 'version'; update: 'runner' | 'client'; error: SallyportError };

export interface ConnectionOptions {
  access: RunnerAccess;
  log: Logger;
  backoff?: Backoff | undefined;
  /** A connection that is silent for so long is asked, and left when it stays silent so long again, in milliseconds. */
  heartbeatMs?: number | undefined;
}

/** Which side is too old for the other. */
interface Misfit {
  update: 'runner' | 'client';
  error: SallyportError;
}

/** Why a connection ended. */
type Ending = { error: SallyportError; update?: undefined } | Misfit;

/** Longest frame that is taken, in bytes: the longest event, in JSON. */
const maxFrameBytes = 96 << 20;
const maxProblemBytes = 64 << 10;
/** What the user has to mend is tried again this rarely by itself, in milliseconds. */
const rareMs = 300_000;

/**
 * The one WebSocket to a runner. It is opened anew whenever it breaks off; who follows something says so again at each
 * `onOpen`. It holds no events: what is read is handed on at once, and `hold` stops the reading.
 */
export class Connection implements Disposable {
  private readonly options: ConnectionOptions;
  private readonly backoff;
  private readonly said = new Emitter<{ message: RunnerSaid; bytes: number }>();
  private readonly opened = new Emitter<Hello>();
  private readonly changed = new Emitter<ConnectionStatus>();
  private readonly over = new AbortController();
  private socket: WebSocket | undefined;
  private current: ConnectionStatus = { kind: 'connecting' };
  private wake: AbortController | undefined;
  private running: Promise<void> | undefined;
  private held = false;

  /** A message, and how long its frame was. */
  readonly onMessage = this.said.event;
  /** A new connection; all tasks come next. */
  readonly onOpen = this.opened.event;
  readonly onDidChangeStatus = this.changed.event;

  constructor(options: ConnectionOptions) {
    this.options = options;
    this.backoff = options.backoff ?? defaultBackoff;
  }

  get status(): ConnectionStatus {
    return this.current;
  }

  /** Begins to connect. Idempotent. */
  start(): void {
    this.running ??= this.run();
  }

  /** Does not wait for the next attempt: the user has signed in, or the network is back. */
  retry(): void {
    this.wake?.abort();
  }

  /** Nothing is sent while there is no connection. */
  send(request: StreamRequest): void {
    if (this.current.kind === 'online' && this.socket?.readyState === WebSocket.OPEN)
      this.socket.send(JSON.stringify(request));
  }

  /** Stops reading from the network until `release`: the runner has to wait. */
  hold(): void {
    this.held = true;
    this.socket?.pause();
  }

  release(): void {
    this.held = false;
    this.socket?.resume();
  }

  private async run(): Promise<void> {
    let failures = 0;
    let since = Date.now();
    while (!this.isOver()) {
      this.wake = new AbortController();
      // Who is offline stays so until it is over.
      if (this.current.kind !== 'offline') this.tell({ kind: 'connecting' });
      const end = await this.once(() => (failures = 0)).catch((thrown: unknown): Ending => ({
        error: asSallyportError(thrown),
      }));
      if (this.isOver()) return;
      const { error, update } = end;
      this.options.log.debug(`The connection to ${this.options.access.url.host} ended: ${error.message}`);
      let delay = rareMs;
      if (update !== undefined) this.tell({ kind: 'version', update, error });
      else if (['unauthorized', 'forbidden', 'no_credentials'].includes(error.code))
        this.tell({ kind: 'refused', error });
      else {
        if (this.wasOnline) since = Date.now();
        this.wasOnline = false;
        this.tell({ kind: 'offline', since, error });
        delay = backoffDelay(failures++, this.backoff);
      }
      await pause(delay, AbortSignal.any([this.over.signal, this.wake.signal]));
    }
  }

  private wasOnline = false;

  private isOver(): boolean {
    return this.over.signal.aborted;
  }

  private tell(status: ConnectionStatus): void {
    this.current = status;
    this.changed.fire(status);
  }

  /** One connection, to its end. Resolves to why it ended. */
  private async once(good: () => void): Promise<Ending> {
    const { access, log } = this.options;
    const token = await access.token();
    const url = new URL('api/v1/stream', access.url);
    this.over.signal.throwIfAborted();
    const { socket, agent } = openSocket(access, url, token, maxFrameBytes);
    this.socket = socket;
    const stop = (): void => socket.terminate();
    this.over.signal.addEventListener('abort', stop);
    const beat = this.heartbeat(socket);
    try {
      return await new Promise<Ending>((resolve) => {
        let failed: unknown;
        let greeted = false;
        const end = (ending: Ending): void => {
          resolve(ending);
          socket.terminate();
        };
        socket.on('unexpected-response', (request, answer) => {
          void readAll(answer, maxProblemBytes, access.url)
            .catch(() => Buffer.of())
            .then((body) => end({ error: failureOf(answer.statusCode ?? 0, parseJson(body)) }))
            .finally(() => request.destroy());
        });
        socket.on('error', (error) => (failed = error));
        socket.on('message', (data: Buffer, isBinary: boolean) => {
          beat.alive();
          const message = isBinary ? undefined : readMessage(data.toString());
          if (message === undefined) {
            log.debug(`A frame of ${data.length} bytes is no message that this version knows`);
            return;
          }
          if (message.type === 'hello') {
            if (greeted) return;
            greeted = true;
            const misfit = misfitOf(message.version);
            if (misfit !== undefined) {
              end(misfit);
              return;
            }
            good();
            this.wasOnline = true;
            this.tell({ kind: 'online', version: message.version, user: message.user });
            this.opened.fire(message);
            if (this.held) socket.pause();
            return;
          }
          // A runner that does not say first who it is, is none.
          if (!greeted) end({ error: notARunner() });
          else this.said.fire({ message, bytes: data.length });
        });
        socket.on('close', (code: number) => {
          resolve({ error: failed === undefined ? closedBy(code) : ofSocket(url, failed) });
        });
      });
    } finally {
      beat.dispose();
      this.over.signal.removeEventListener('abort', stop);
      if (this.socket === socket) this.socket = undefined;
      agent.destroy();
    }
  }

  /** Silence is no end: a peer that went away without a word is found out by asking. */
  private heartbeat(socket: WebSocket): Disposable & { alive: () => void } {
    const every = this.options.heartbeatMs ?? 20_000;
    let silent = 0;
    const alive = (): void => {
      silent = 0;
    };
    socket.on('pong', alive);
    socket.on('ping', alive);
    const timer = setInterval(() => {
      // What is not read cannot be heard.
      if (this.held || socket.readyState !== WebSocket.OPEN) return;
      if (silent++ >= 2) socket.terminate();
      else socket.ping();
    }, every);
    timer.unref();
    return { alive, dispose: () => clearInterval(timer) };
  }

  dispose(): void {
    this.over.abort();
    this.said.dispose();
    this.opened.dispose();
    this.changed.dispose();
  }
}

/** Says which side is too old for the other, if one is. */
export function misfitOf(version: ServerVersion): Misfit | undefined {
  if (version.oldestApi > apiVersion)
    return {
      update: 'client',
      error: new SallyportError(
        'runner_version',
        `The runner has version ${shown(version)}, which this version of Sallyport is too old for.`,
        'Update Sallyport on this machine.',
      ),
    };
  if (version.api < oldestApi)
    return {
      update: 'runner',
      error: new SallyportError(
        'runner_version',
        `The runner has version ${shown(version)}, which is too old for this version of Sallyport.`,
        'Update the runner.',
      ),
    };
  return undefined;
}

function shown({ version, api }: ServerVersion): string {
  return `${/^[\w.+-]{1,40}$/.test(version) ? version : '?'} (API ${api})`;
}

function notARunner(): SallyportError {
  return new SallyportError(
    'runner_unreachable',
    'What answers there is no runner of Sallyport.',
    'Correct the address of the runner.',
  );
}

function closedBy(code: number): SallyportError {
  if (code === closeCodes.unauthorized) return failureOf(401, undefined);
  if (code === closeCodes.forbidden) return failureOf(403, undefined);
  return new SallyportError(
    'runner_unreachable',
    code === closeCodes.tooSlow
      ? 'The runner ended the connection, because this side did not keep up.'
      : `The connection to the runner ended (${code}).`,
    'It is opened again by itself.',
  );
}

function ofSocket(url: URL, failed: unknown): SallyportError {
  if (failed instanceof Error && 'code' in failed && failed.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH')
    return new SallyportError(
      'runner_unreachable',
      `The runner sent a message of more than ${maxFrameBytes >> 20} MiB, which is not taken.`,
      'The log of the runner says more.',
    );
  return unreachable(url, failed);
}
