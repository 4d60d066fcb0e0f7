import { once } from 'node:events';
import { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { isAbort } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { TerminalSize } from '../protocol/terminal.ts';
import type { ContainerState, EngineTerminal } from './engine.ts';
import { abortReason, beginExec, exitCodeOf, isBrokenPipe } from './exec.ts';
import { engineFailure, statusOf } from './failures.ts';

interface TerminalOptions {
  size: TerminalSize;
  user?: string;
  env?: Record<string, string>;
  workingDir?: string;
  inspect: () => Promise<ContainerState | undefined>;
  signal: AbortSignal;
}

/** Bytes that are kept for a reader before the program has to wait. */
const outputBuffer = 64 << 10;
/** A program that has only just begun has no size to change yet: how often, and how long between, in milliseconds. */
const resizeTries = 20;
const resizePause = 50;

const doing = 'running a terminal in a container';

/** Runs a program on a terminal, in a running container. */
export async function openTerminal(
  docker: Docker,
  id: string,
  argv: string[],
  { size, user, env = {}, workingDir, inspect, signal }: TerminalOptions,
): Promise<EngineTerminal> {
  const wanted = {
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: true,
    Cmd: argv,
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    ...(user === undefined ? {} : { User: user }),
    ...(workingDir === undefined ? {} : { WorkingDir: workingDir }),
  };
  const { exec, socket } = await beginExec(docker, id, wanted, { inspect, signal });
  const output = new Readable({ highWaterMark: outputBuffer, read: () => socket.resume() });
  output.on('error', () => undefined);
  const onAbort = (): void => void socket.destroy(abortReason(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  const closed = new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk: Uint8Array) => {
      if (!output.push(chunk)) socket.pause();
    });
    socket.on('end', resolve);
    socket.on('close', resolve);
    // A program that has ended reads nothing more of what is typed.
    socket.on('error', (error) => (isBrokenPipe(error) ? resolve() : reject(error)));
    if (signal.aborted) onAbort();
  });
  const finish = async (): Promise<number> => {
    try {
      await closed;
      signal.throwIfAborted();
      const code = await exitCodeOf(exec, signal);
      output.push(null);
      return code;
    } catch (thrown) {
      const failure = signal.aborted ? abortReason(signal) : engineFailure(thrown, doing);
      output.destroy(failure);
      throw failure;
    } finally {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
    }
  };
  const ended = finish();
  ended.catch(() => undefined);

  const resize = async ({ cols, rows }: TerminalSize): Promise<void> => {
    for (let tries = 1; !socket.destroyed; tries++) {
      try {
        await exec.resize({ h: rows, w: cols });
        return;
      } catch (thrown) {
        // Podman's word for done, which dockerode does not expect.
        if (statusOf(thrown) === 201) return;
        // It has not begun, or has ended meanwhile, which each engine says in its own words.
        if (statusOf(thrown) === undefined || tries >= resizeTries) throw engineFailure(thrown, doing);
        await pause(resizePause, signal);
      }
    }
  };
  await resize(size).catch((thrown: unknown) => {
    // A terminal of another size is better than none.
    if (isAbort(thrown)) throw thrown;
  });
  return {
    output,
    ended,
    resize,
    write: async (data) => {
      if (socket.destroyed || socket.writableEnded || socket.write(data)) return;
      const gone = new AbortController();
      await Promise.race([
        once(socket, 'drain', { signal: gone.signal }).catch(() => undefined),
        ended.catch(() => undefined),
      ]);
      gone.abort();
    },
  };
}
