import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Disposable } from './disposable.ts';
import { decodeFrames, encodeData, encodeFrame, type Frame } from './frames.ts';

/**
 * The control channel inside a container: the main process listens on a unix socket that only its own user can open;
 * the host runs a second, short process there (`control`) that carries one request to it over stdin and stdout.
 * A request is one JSON frame and, where its kind says so, data frames with an end frame. The answer is, where there is
 * any, data frames with an end frame, and always one JSON frame at last, the reply.
 */

/** A failure that is told to the requester as `{ok: false, code, message}`. */
export class ControlFailure extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'ControlFailure';
    this.code = code;
  }
}

export interface ControlCall {
  request: unknown;
  /** The data that belongs to the request, up to its end frame. Throws when the requester goes away before that. */
  data: AsyncIterable<Uint8Array>;
  /** Answers with data, before the reply. */
  send(data: AsyncIterable<Uint8Array>): Promise<void>;
}

/** Resolves with what stands in the reply. */
export type ControlHandler = (call: ControlCall) => Promise<{ ok: true } & Record<string, unknown>>;

/** Listens on `path`, which is created anew with mode 0600. */
export async function listenControl(path: string, handler: ControlHandler): Promise<Disposable> {
  rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    void serve(socket, handler);
  });
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(mask);
  }
  chmodSync(path, 0o600);
  return {
    dispose: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function serve(socket: Socket, handler: ControlHandler): Promise<void> {
  // An iterator that is left early destroys its stream otherwise, before the reply is out.
  const frames = decodeFrames(socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>);
  let reply: Record<string, unknown>;
  try {
    const first = await frames.next();
    if (first.done === true || first.value.kind !== 'J')
      throw new ControlFailure('invalid_input', 'No request came.');
    reply = await handler({
      request: first.value.json,
      data: dataOf(frames),
      send: async (data) => {
        for await (const frame of encodeData(data)) await writeTo(socket, frame);
      },
    });
  } catch (thrown) {
    const code = thrown instanceof ControlFailure ? thrown.code : 'internal';
    reply = { ok: false, code, message: thrown instanceof Error ? thrown.message : String(thrown) };
  }
  if (socket.destroyed) return;
  socket.end(encodeFrame({ kind: 'J', json: reply }));
  // What still comes is not wanted, but unread bytes would reset the connection and the reply with it.
  void frames.return().then(
    () => socket.resume(),
    () => socket.destroy(),
  );
}

async function* dataOf(frames: AsyncGenerator<Frame, void>): AsyncIterable<Uint8Array> {
  for (;;) {
    const next = await frames.next();
    if (next.done === true) throw new ControlFailure('invalid_input', 'The data ended too early.');
    if (next.value.kind === 'E') return;
    if (next.value.kind !== 'D') throw new ControlFailure('invalid_input', 'A second request came.');
    yield next.value.data;
  }
}

function writeTo(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error === null || error === undefined ? resolve() : reject(error)));
  });
}

/**
 * The short process: carries stdin to the socket and back until the reply is out. Waits up to `waitMs` for the socket.
 */
export async function carryControl(
  path: string,
  stdin: Readable,
  stdout: Writable,
  waitMs = 10_000,
): Promise<void> {
  const socket = await connectWhenThere(path, waitMs);
  socket.on('error', () => socket.destroy());
  stdin.on('error', () => socket.destroy());
  stdin.pipe(socket);
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    await new Promise<void>((resolve, reject) => {
      stdout.write(chunk, (error) => (error === null || error === undefined ? resolve() : reject(error)));
    });
  }
  stdin.unpipe(socket);
  socket.destroy();
}

/** Connects to a unix socket that may appear only a little later. Throws the last error after `waitMs`. */
export async function connectWhenThere(path: string, waitMs: number, signal?: AbortSignal): Promise<Socket> {
  const end = Date.now() + waitMs;
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect({ path, allowHalfOpen: true });
        socket.once('error', reject);
        socket.once('connect', () => {
          socket.off('error', reject);
          resolve(socket);
        });
      });
    } catch (thrown) {
      if (Date.now() >= end) throw thrown;
      await delay(20, undefined, signal === undefined ? {} : { signal });
    }
  }
}
