import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { SallyportError, asSallyportError } from '../base/errors.ts';
import type { ByteStream } from '../protocol/runner.ts';

/**
 * `hardened` reads no configuration but the repository's own, and overrides what of that could run a program: for
 * every repository that holds a sandbox's objects. `user` keeps the user's configuration, because filters and line
 * endings decide what `git add` writes, but keeps git from writing anything by the way.
 */
export type GitMode = 'hardened' | 'user';

export interface GitOptions {
  mode?: GitMode;
  cwd?: string;
  gitDir?: string;
  workTree?: string;
  /** Added last; `undefined` removes. */
  env?: Record<string, string | undefined>;
  /** Added configuration, which wins over the repository's. */
  config?: readonly (readonly [key: string, value: string])[];
  input?: Uint8Array | string | ByteStream;
  signal?: AbortSignal | undefined;
  /** For objects that a sandbox made: bounds what git takes of memory for one of them, and what it looks into. */
  bounded?: boolean;
  /** Longest standard output that is taken, in bytes. */
  maxBytes?: number;
  /** In milliseconds. */
  timeoutMs?: number;
  /** Exit codes that are no failure; 0 by default. */
  okCodes?: readonly number[];
  /** The program; found on the PATH by default. */
  program?: string;
  /** Hears standard error as it comes. */
  onStderr?: (text: string) => void;
}

export interface GitResult {
  stdout: Buffer;
  stderr: string;
  code: number;
}

export interface GitStream {
  /** Standard output. Ends with the failure of the process, if it fails; leaving it early ends the process. */
  stdout: ByteStream;
  /** Settles when the process is gone. */
  done: Promise<void>;
}

/** How much of standard error is kept, its end, in characters. */
const maxStderr = 64 << 10;
/** Between SIGTERM and SIGKILL, in milliseconds. */
const killGrace = 2000;

const hardenedConfig: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['core.attributesFile', '/dev/null'],
  ['core.excludesFile', '/dev/null'],
  ['protocol.allow', 'never'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['submodule.recurse', 'false'],
  ['commit.gpgSign', 'false'],
  ['log.showSignature', 'false'],
];

/**
 * One object may take as much memory as git itself makes deltas of by default; what is larger is passed on in pieces.
 * A text of over 16 MiB counts as binary: comparing two takes many times their size.
 */
const boundedConfig: readonly (readonly [string, string])[] = [
  ['pack.threads', '1'],
  ['grep.threads', '1'],
  ['core.deltaBaseCacheLimit', '32m'],
  ['core.bigFileThreshold', '16m'],
];
const allocationLimit = '512m';

const userConfig: readonly (readonly [string, string])[] = [
  ['core.fsmonitor', 'false'],
  ['core.splitIndex', 'false'],
  ['core.untrackedCache', 'false'],
  ['core.hooksPath', '/dev/null'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['submodule.recurse', 'false'],
];

/** The environment of a git process. Inherited GIT_* variables never count: they may point at another repository. */
export function gitEnvironment(
  options: GitOptions,
  inherited: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const hardened = options.mode !== 'user';
  const env: NodeJS.ProcessEnv = {};
  for (const [name, value] of Object.entries(inherited)) {
    if (!name.toUpperCase().startsWith('GIT_')) env[name] = value;
  }
  // LANGUAGE keeps messages in English without changing the encoding that the user's filters run under.
  Object.assign(env, {
    LANGUAGE: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
  });
  if (hardened) {
    Object.assign(env, {
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_ATTR_NOSYSTEM: '1',
    });
  }
  if (options.bounded === true) env.GIT_ALLOC_LIMIT = allocationLimit;
  const config = [
    ...(hardened ? hardenedConfig : userConfig),
    ...(options.bounded === true ? boundedConfig : []),
    ...(options.config ?? []),
  ];
  env.GIT_CONFIG_COUNT = String(config.length);
  for (const [index, [key, value]] of config.entries()) {
    env[`GIT_CONFIG_KEY_${index}`] = key;
    env[`GIT_CONFIG_VALUE_${index}`] = value;
  }
  if (options.gitDir !== undefined) env.GIT_DIR = options.gitDir;
  if (options.workTree !== undefined) env.GIT_WORK_TREE = options.workTree;
  for (const [name, value] of Object.entries(options.env ?? {})) {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
    if (value === undefined) delete env[name];
    else env[name] = value;
  }
  return env;
}

/**
 * Runs git to its end and collects its output. Fails with `git_missing`, `git_failed`, `disk_full` or `cancelled`.
 * @param args the whole command line, as an array: never a shell string
 */
export async function git(args: readonly string[], options: GitOptions = {}): Promise<GitResult> {
  const running = start(args, options);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of running.stdout) {
    size += chunk.length;
    if (options.maxBytes !== undefined && size > options.maxBytes) {
      running.kill(tooMuch(args, options.maxBytes));
      break;
    }
    chunks.push(chunk);
  }
  const { code, stderr } = await running.ended;
  return { stdout: Buffer.concat(chunks), stderr, code };
}

/** Runs git and hands its output out as it comes. */
export function gitStream(args: readonly string[], options: GitOptions = {}): GitStream {
  const running = start(args, options);
  const stdout = async function* (): AsyncGenerator<Uint8Array, void> {
    let whole = false;
    let size = 0;
    try {
      for await (const chunk of running.stdout) {
        size += chunk.length;
        if (options.maxBytes !== undefined && size > options.maxBytes) {
          running.kill(tooMuch(args, options.maxBytes));
          break;
        }
        yield chunk;
      }
      whole = true;
    } finally {
      if (!whole)
        running.kill(new SallyportError('cancelled', 'The reader left.', 'Start it again when you like.'));
    }
    await running.ended;
  };
  const done = running.ended.then(() => undefined);
  // Who only reads learns of a failure from the stream.
  done.catch(() => undefined);
  return { stdout: stdout(), done };
}

interface Running {
  stdout: AsyncIterable<Uint8Array>;
  /** Rejects with a SallyportError. */
  ended: Promise<{ code: number; stderr: string }>;
  /** Ends the process; `ended` rejects with `reason`. */
  kill(reason: Error): void;
}

function start(args: readonly string[], options: GitOptions): Running {
  const { signal, input } = options;
  if (signal?.aborted === true) throw cancelled(args);
  const child = spawn(options.program ?? 'git', args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: gitEnvironment(options),
    stdio: ['pipe', 'pipe', 'pipe'],
    windowsHide: true,
    // A group of its own, so that a filter that git started can be ended with it.
    detached: process.platform !== 'win32',
  });
  let reason: Error | undefined;
  let gone = false;
  const timers: NodeJS.Timeout[] = [];
  const end = (name: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined && process.platform !== 'win32') process.kill(-child.pid, name);
      else child.kill(name);
    } catch {
      // It is gone already.
    }
  };
  const kill = (why: Error): void => {
    if (gone || reason !== undefined) return;
    reason = why;
    end('SIGTERM');
    timers.push(setTimeout(() => end('SIGKILL'), killGrace));
    // What a killed process has still written is of no use, and unread it would keep `close` from coming.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const onAbort = (): void => kill(cancelled(args));
  signal?.addEventListener('abort', onAbort, { once: true });
  if (options.timeoutMs !== undefined)
    timers.push(setTimeout(() => kill(tooSlow(args, options.timeoutMs)), options.timeoutMs));

  // Without a listener Node throws away what was not read when the process exits, and its reader may come later.
  child.stdout.on('readable', () => undefined);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-maxStderr);
    options.onStderr?.(text);
  });
  // A process that ends before it has read its input breaks the pipe: its exit code says why.
  child.stdin.on('error', () => undefined);
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array)
    child.stdin.end(input ?? '');
  else void feed(child.stdin, input).catch((thrown: unknown) => kill(asSallyportError(thrown)));

  const ended = new Promise<{ code: number; stderr: string }>((resolve, reject) => {
    const settle = (): void => {
      gone = true;
      for (const timer of timers) clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    child.once('error', (error: NodeJS.ErrnoException) => {
      settle();
      child.stdout.destroy();
      // A working directory that is gone gives the same code as a program that is not there.
      const noProgram = error.code === 'ENOENT' && (options.cwd === undefined || existsSync(options.cwd));
      reject(noProgram ? missing(error) : failure(args, error.message, undefined, error));
    });
    child.once('close', (code, killer) => {
      settle();
      if (reason !== undefined) reject(reason);
      else if (code !== null && (options.okCodes ?? [0]).includes(code)) resolve({ code, stderr });
      else reject(failure(args, stderr, code ?? killer ?? undefined));
    });
  });
  ended.catch(() => undefined);
  return { stdout: untilDestroyed(child.stdout, ended), ended, kill };
}

/** The chunks of a stream; one that is destroyed because the process ended badly ends with that failure. */
async function* untilDestroyed(
  stream: NodeJS.ReadableStream & AsyncIterable<Uint8Array>,
  ended: Promise<unknown>,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* stream;
  } catch (thrown) {
    await ended;
    throw thrown;
  }
}

async function feed(stdin: NodeJS.WritableStream & { destroyed: boolean }, input: ByteStream): Promise<void> {
  for await (const chunk of input) {
    if (stdin.destroyed) return;
    if (!stdin.write(chunk)) {
      await new Promise<void>((resolve) => {
        const go = (): void => {
          stdin.off('drain', go);
          stdin.off('close', go);
          resolve();
        };
        stdin.on('drain', go);
        stdin.on('close', go);
      });
    }
  }
  stdin.end();
}

function command(args: readonly string[]): string {
  return `git ${args[0] ?? ''}`;
}

function cancelled(args: readonly string[]): SallyportError {
  return new SallyportError('cancelled', `${command(args)} was cancelled.`, 'Start it again when you like.');
}

function tooMuch(args: readonly string[], maxBytes: number): SallyportError {
  return new SallyportError(
    'git_failed',
    `${command(args)} wrote more than ${maxBytes} bytes.`,
    'The content is larger than Sallyport shows; read it with git itself.',
  );
}

function tooSlow(args: readonly string[], timeoutMs: number | undefined): SallyportError {
  return new SallyportError(
    'git_failed',
    `${command(args)} took longer than ${Math.round((timeoutMs ?? 0) / 1000)} s and was stopped.`,
    'Try again when the machine is less busy.',
  );
}

function missing(cause: unknown): SallyportError {
  return new SallyportError(
    'git_missing',
    'git was not found on the PATH.',
    'Install git (Debian and Ubuntu: "apt-get install git"; macOS: "xcode-select --install"; Windows: https://git-scm.com) and try again.',
    { cause },
  );
}

function failure(
  args: readonly string[],
  stderr: string,
  code: number | string | undefined,
  cause?: unknown,
): SallyportError {
  if (/ENOSPC|No space left on device|Disk quota exceeded/i.test(stderr)) {
    return new SallyportError(
      'disk_full',
      `${command(args)} failed: the disk is full.`,
      'Free some space and try again.',
      {
        cause,
      },
    );
  }
  const lines = stderr.trim().split('\n').slice(-5).join('\n');
  const how =
    typeof code === 'number' ? ` (exit code ${code})` : code === undefined ? '' : ` (killed by ${code})`;
  return new SallyportError(
    'git_failed',
    `${command(args)} failed${how}: ${lines === '' ? 'it said nothing.' : lines}`,
    'Check the repository with "git status" and "git fsck", then try again.',
    { cause },
  );
}
