import { once } from 'node:events';
import { Readable } from 'node:stream';
import type { Duplex } from 'node:stream';
import type Docker from 'dockerode';
import { SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { Demultiplexer } from './demux.ts';
import type { ContainerState, Exec } from './engine.ts';
import { codeOf, engineFailure, messageOf, statusOf } from './failures.ts';
import { accept, ExecInspection } from './schemas.ts';

interface ExecOptions {
  inspect: () => Promise<ContainerState | undefined>;
  stdin?: ByteStream;
  user?: string;
  signal: AbortSignal;
}

/** Bytes of stdout that are kept for a reader before the program has to wait. */
const stdoutBuffer = 1 << 20;
/** Bytes of stderr that are kept: its end. */
const maxStderr = 64 << 10;
/** Between two looks at a program that has closed its output but not ended, in milliseconds. */
const exitPoll = 10;

/** How long a program may go on after its output has ended, in milliseconds. */
const lostAfterMs = 15_000;
const unknownExit = -1;

/** Between two tries to run something in a paused container, in milliseconds. */
const pausedPoll = 200;

const doing = 'running a program in a container';

/** Runs a program in a running container. When `signal` aborts the streams break; the program itself is left to its fate. */
export async function runExec(
  docker: Docker,
  id: string,
  argv: string[],
  options: ExecOptions,
): Promise<Exec> {
  const { stdin, user, signal } = options;
  const wanted = {
    AttachStdin: stdin !== undefined,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    Cmd: argv,
    ...(user === undefined ? {} : { User: user }),
  };
  const { exec, socket } = await beginExec(docker, id, wanted, options);

  const stdout = new Readable({ highWaterMark: stdoutBuffer, read: () => socket.resume() });
  // Told to whoever reads; without a reader it is no crash.
  stdout.on('error', () => undefined);
  const stderr = new Tail(maxStderr);
  const onAbort = (): void => void socket.destroy(abortReason(signal));
  signal.addEventListener('abort', onAbort, { once: true });

  const ended = new Promise<void>((resolve, reject) => {
    const demultiplexer = new Demultiplexer((number, data) => {
      if (number === 2) stderr.push(data);
      else if (!stdout.push(data)) socket.pause();
    });
    socket.on('data', (chunk: Uint8Array) => {
      try {
        demultiplexer.push(chunk);
      } catch (thrown) {
        socket.destroy(thrown as Error);
      }
    });
    socket.on('end', resolve);
    // Podman closes its side when the program ends, read or not: what the program did not read has no reader any more.
    socket.on('error', (error) => (stdin !== undefined && isBrokenPipe(error) ? resolve() : reject(error)));
    socket.on('close', resolve);
    if (signal.aborted) onAbort();
    if (stdin !== undefined) {
      feed(socket, stdin).catch((thrown: unknown) => {
        socket.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
      });
    }
  });

  const finish = async (): Promise<{ exitCode: number; stderr: string }> => {
    try {
      await ended;
      const exitCode = await exitCodeOf(exec, signal);
      stdout.push(null);
      return { exitCode, stderr: stderr.text() };
    } catch (thrown) {
      const failure = signal.aborted ? abortReason(signal) : engineFailure(thrown, doing);
      stdout.destroy(failure);
      throw failure;
    } finally {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
    }
  };
  const done = finish();
  // Whoever reads only stdout hears of a failure there.
  done.catch(() => undefined);
  return { stdout, done };
}

/** Starts the program; in a container that is paused, as soon as it goes on. */
export async function beginExec(
  docker: Docker,
  id: string,
  wanted: Docker.ExecCreateOptions & { AttachStdin: boolean; Tty: boolean },
  { signal, inspect }: Pick<ExecOptions, 'signal' | 'inspect'>,
): Promise<{ exec: Docker.Exec; socket: Duplex }> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const exec = await docker.getContainer(id).exec(wanted);
      const { AttachStdin: stdin, Tty } = wanted;
      return { exec, socket: await exec.start({ hijack: true, stdin, Detach: false, Tty }) };
    } catch (thrown) {
      if (statusOf(thrown) === undefined) throw engineFailure(thrown, doing);
      const state = await inspect();
      if (state?.status !== 'running') {
        throw new SallyportError(
          'sandbox_failed',
          `A program cannot be run in a container that does not run: ${messageOf(thrown)}`,
          'Look into the log of the task to see why its container ended.',
          { cause: thrown },
        );
      }
      // It may have gone on between the two answers.
      const wasPaused = state.paused === true || /\bis paused\b/.test(messageOf(thrown));
      if (!wasPaused) throw engineFailure(thrown, doing);
      await pause(pausedPoll, signal);
    }
  }
}

/** Writes stdin at the speed of the program. A program that ends before it has read everything is no failure. */
async function feed(socket: Duplex, stdin: ByteStream): Promise<void> {
  const closed = once(socket, 'close').catch(() => undefined);
  for await (const chunk of stdin) {
    if (socket.destroyed || socket.writableEnded) return;
    if (!socket.write(chunk)) await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
  }
  if (!socket.destroyed) socket.end();
}

/**
 * The exit code of a program whose output has ended. Podman can lose the exit of a program, whose session then counts as
 * running for ever: after `lostAfterMs` the code is `unknownExit`.
 */
export async function exitCodeOf(exec: Docker.Exec, signal: AbortSignal): Promise<number> {
  for (let waited = 0, step = exitPoll; ; step = Math.min(step * 2, 250)) {
    const state = accept(ExecInspection, await exec.inspect(), 'exec inspect');
    if (!state.Running && state.ExitCode !== null && state.ExitCode !== undefined) return state.ExitCode;
    signal.throwIfAborted();
    if (waited > lostAfterMs) return unknownExit;
    await new Promise((resolve) => setTimeout(resolve, step));
    waited += step;
  }
}

export function isBrokenPipe(error: Error): boolean {
  return codeOf(error) === 'EPIPE' || codeOf(error) === 'ECONNRESET';
}

export function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new DOMException('Aborted', 'AbortError');
}

/** Keeps the end of what goes through. */
class Tail {
  private parts: Uint8Array[] = [];
  private bytes = 0;
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  push(data: Uint8Array): void {
    this.parts.push(data);
    this.bytes += data.length;
    while (this.parts[0] !== undefined && this.bytes - this.parts[0].length >= this.limit) {
      this.bytes -= this.parts[0].length;
      this.parts.shift();
    }
  }

  text(): string {
    return Buffer.concat(this.parts).subarray(-this.limit).toString('utf8');
  }
}
