import { SallyportError, asSallyportError } from '../../base/errors.ts';
import { Sha } from '../../protocol/grammar.ts';
import { gitStream } from '../process.ts';
import type { Quarantine } from '../quarantine.ts';

interface Request {
  oid: string;
  maxBytes: number;
  /** It was asked of a process that went away. */
  again: boolean;
  done: boolean;
  resolve(content: Uint8Array): void;
  reject(why: Error): void;
}

/** A process without a request ends after this time, in milliseconds. */
const defaultIdleMs = 5000;
/** More than this is not read only to be thrown away: the process is ended instead, in bytes. */
const maxSkipped = 4 << 20;

/**
 * Reads many blobs of a quarantine through one git process, which is started when it is needed and ends when it is not. What
 * it was asked when it went away is asked of another one, once.
 */
export class BlobReader {
  private readonly quarantine: Quarantine;
  private readonly idleMs: number;
  private process: Process | undefined;
  private disposed = false;

  constructor(quarantine: Quarantine, options: { idleMs?: number } = {}) {
    this.quarantine = quarantine;
    this.idleMs = options.idleMs ?? defaultIdleMs;
  }

  /** The content of a blob; fails with `git_failed` when it is longer than `maxBytes`, or not there. */
  async read(oid: string, maxBytes: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (!Sha.safeParse(oid).success) {
      throw new SallyportError(
        'invalid_input',
        `Not an object name: ${JSON.stringify(oid.slice(0, 80))}.`,
        'Report this.',
      );
    }
    if (signal?.aborted === true || this.disposed) throw cancelled();
    return await new Promise((resolve, reject) => {
      const onAbort = (): void => settle(() => reject(cancelled()));
      const request: Request = {
        oid,
        maxBytes,
        again: false,
        done: false,
        resolve: (content) => settle(() => resolve(content)),
        reject: (why) => settle(() => reject(why)),
      };
      const settle = (how: () => void): void => {
        if (request.done) return;
        request.done = true;
        signal?.removeEventListener('abort', onAbort);
        how();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.ask(request);
    });
  }

  dispose(): void {
    this.disposed = true;
    this.process?.end();
    this.process = undefined;
  }

  private ask(request: Request): void {
    this.process ??= this.start();
    this.process.ask(request);
  }

  private start(): Process {
    const started: Process = new Process(this.quarantine, this.idleMs, (open, why) => {
      if (this.process === started) this.process = undefined;
      for (const request of open) {
        if (request.done) continue;
        if (request.again || this.disposed) request.reject(this.disposed ? cancelled() : why);
        else {
          request.again = true;
          this.ask(request);
        }
      }
    });
    return started;
  }
}

/** One `git cat-file --batch`. */
class Process {
  private readonly waiting: Request[] = [];
  private readonly asked: Request[] = [];
  private readonly idleMs: number;
  private readonly stop = new AbortController();
  private wake: (() => void) | undefined;
  private ended = false;
  private idle: NodeJS.Timeout | undefined;

  constructor(
    quarantine: Quarantine,
    idleMs: number,
    onEnd: (open: readonly Request[], why: SallyportError) => void,
  ) {
    this.idleMs = idleMs;
    const { stdout } = gitStream(['cat-file', '--batch'], {
      ...quarantine.options(this.stop.signal),
      bounded: true,
      input: this.requests(),
    });
    void this.read(stdout)
      .then(() => gone(), asSallyportError)
      .then((why) => {
        this.ended = true;
        clearTimeout(this.idle);
        this.wake?.();
        onEnd([...this.asked, ...this.waiting], why);
      });
  }

  ask(request: Request): void {
    clearTimeout(this.idle);
    this.waiting.push(request);
    this.wake?.();
  }

  /** Without waiting for what was asked. */
  end(): void {
    this.ended = true;
    this.stop.abort();
    this.wake?.();
  }

  private async *requests(): AsyncGenerator<Uint8Array, void> {
    while (!this.ended) {
      const next = this.waiting.shift();
      if (next !== undefined) {
        if (next.done) continue;
        this.asked.push(next);
        yield Buffer.from(`${next.oid}\n`);
      } else {
        await new Promise<void>((resolve) => (this.wake = resolve));
        this.wake = undefined;
      }
    }
  }

  private async read(stdout: AsyncIterable<Uint8Array>): Promise<void> {
    let header: Uint8Array[] = [];
    let content: { request: Request; kept: Buffer | undefined; at: number; size: number } | undefined;
    for await (const chunk of stdout) {
      let at = 0;
      while (at < chunk.length) {
        if (content !== undefined) {
          // The content and a newline.
          const piece = chunk.subarray(at, at + content.size + 1 - content.at);
          content.kept?.set(piece.subarray(0, content.size - content.at), content.at);
          content.at += piece.length;
          at += piece.length;
          if (content.at <= content.size) continue;
          if (content.kept !== undefined) content.request.resolve(content.kept);
          content = undefined;
          this.answered();
          continue;
        }
        const stop = chunk.indexOf(10, at);
        header.push(chunk.subarray(at, stop === -1 ? chunk.length : stop));
        if (stop === -1) break;
        at = stop + 1;
        const line = Buffer.concat(header).toString('latin1');
        header = [];
        const request = this.asked[0];
        if (request === undefined) throw new Error('git answered without being asked');
        const [, type = '', length = ''] = /^[0-9a-f]+ ([a-z]+) ([0-9]+)$/.exec(line) ?? [];
        if (type === '') {
          request.reject(missing(line));
          this.answered();
          continue;
        }
        const size = Number(length);
        const wanted = !request.done && type === 'blob' && size <= request.maxBytes;
        if (type !== 'blob') request.reject(missing(`${request.oid} is no content of a file`));
        if (size > request.maxBytes) request.reject(tooLong(size, request.maxBytes));
        if (!wanted && size > maxSkipped) {
          this.asked.shift();
          return;
        }
        content = { request, kept: wanted ? Buffer.allocUnsafe(size) : undefined, at: 0, size };
      }
    }
  }

  private answered(): void {
    this.asked.shift();
    if (this.asked.length > 0 || this.waiting.length > 0) return;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.end(), this.idleMs);
  }
}

function cancelled(): SallyportError {
  return new SallyportError('cancelled', 'Reading was cancelled.', 'Start it again when you like.');
}

function gone(): SallyportError {
  return new SallyportError(
    'git_failed',
    'git ended before it had answered.',
    'Try again; "git fsck" says what is wrong with a repository.',
  );
}

function missing(line: string): SallyportError {
  return new SallyportError(
    'git_failed',
    `A content could not be read: ${line.slice(0, 200)}.`,
    'Check the quarantine with "git fsck".',
  );
}

function tooLong(size: number, maxBytes: number): SallyportError {
  return new SallyportError(
    'git_failed',
    `A file of ${size} bytes is longer than the ${maxBytes} that are shown.`,
    'The content is larger than Sallyport shows; read it with git itself.',
  );
}
