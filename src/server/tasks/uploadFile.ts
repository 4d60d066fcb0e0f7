import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { isErrno, SallyportError } from '../../base/errors.ts';
import type { ByteStream } from '../../protocol/runner.ts';

/**
 * Appends a piece to a file; one that is not taken to its end stays as far as it came. Throws `conflict` when the file does not end at
 * `offset`; `too_large` for more than `total` bytes in all; `cancelled` for a piece that breaks off, `disk_full`.
 * @param silenceMs how long nothing may come, in milliseconds
 * @param signal lets another connection take its place
 */
export async function appendPiece(
  path: string,
  { offset, total, data }: { offset: number; total: number; data: ByteStream },
  silenceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    const { size } = await file.stat();
    if (offset !== size)
      throw new SallyportError(
        'conflict',
        `The upload stands at ${size} bytes, and what came begins at ${offset}.`,
        'Ask where it stands (GET), and go on from there.',
      );
    let at = size;
    for await (const chunk of unlessSilent(data, silenceMs, signal)) {
      if (at + chunk.length > total) {
        // Of a piece that is too long nothing can be trusted.
        await file.truncate(size);
        throw new SallyportError(
          'too_large',
          `More came than the ${total} bytes that were announced.`,
          'Begin a new upload with the right size.',
        );
      }
      await writeAll(file, chunk);
      at += chunk.length;
    }
  } catch (thrown) {
    if (isErrno(thrown, 'ENOSPC', 'EDQUOT'))
      throw new SallyportError('disk_full', 'The disk of the runner is full.', 'Go on when it has room.', {
        cause: thrown,
      });
    throw thrown;
  } finally {
    await file.close();
  }
}

/** In bytes; 0 of a file that is not there. */
export async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return 0;
    throw thrown;
  }
}

/** SHA-256, in hexadecimal. */
export async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

/** Of a connection whose place another one takes. */
export function busy(): SallyportError {
  return new SallyportError(
    'conflict',
    'Another connection goes on with this upload.',
    'Let one connection at a time send it.',
  );
}

/** The same bytes. Ends the source when nothing comes for too long, or when `signal` aborts. */
async function* unlessSilent(
  data: ByteStream,
  silenceMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const iterator = data[Symbol.asyncIterator]();
  let finished = false;
  try {
    for (;;) {
      const { promise: interrupted, reject } = Promise.withResolvers<never>();
      interrupted.catch(() => undefined);
      const leave = (): void => reject(busy());
      const timer = setTimeout(
        () =>
          reject(
            new SallyportError('cancelled', 'Nothing came for too long.', 'Go on with the upload later.'),
          ),
        silenceMs,
      );
      if (signal.aborted) leave();
      signal.addEventListener('abort', leave, { once: true });
      try {
        const next = await Promise.race([iterator.next().catch(brokenOff), interrupted]);
        if (next.done === true) {
          finished = true;
          return;
        }
        yield next.value;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', leave);
      }
    }
  } finally {
    // A source that gives nothing may not end either.
    if (!finished) void iterator.return?.().catch(() => undefined);
  }
}

function brokenOff(thrown: unknown): never {
  throw new SallyportError('cancelled', 'The connection broke off.', 'Go on with the upload.', {
    cause: thrown,
  });
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten;
}
