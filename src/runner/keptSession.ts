import { createReadStream } from 'node:fs';
import { copyFile, open, rename, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { maxSessionBytes } from '../protocol/control.ts';
import type { ByteStream } from '../protocol/runner.ts';

/**
 * What an agent has written down of its conversation, in the folder of its task, so that a later task can go on with it. It
 * comes from a sandbox and goes into another one; on the host nothing reads it.
 */

const kept = 'session.jsonl';
/** The conversation of an earlier task that this one goes on with. */
const taken = 'resumed.jsonl';

export async function hasSession(folder: string): Promise<boolean> {
  return await stat(join(folder, kept)).then(
    (file) => file.isFile(),
    () => false,
  );
}

/** Appears whole or not at all. Throws `too_large`. */
export async function keepSession(folder: string, data: ByteStream): Promise<void> {
  const path = join(folder, kept);
  const aside = `${path}.${process.pid}`;
  const file = await open(aside, 'w', 0o600);
  try {
    let bytes = 0;
    for await (const chunk of data) {
      bytes += chunk.length;
      if (bytes > maxSessionBytes)
        throw new SallyportError(
          'too_large',
          'The conversation is too long to be kept.',
          'Start a new task.',
        );
      await file.writeFile(chunk);
    }
    await file.close();
    await rename(aside, path);
  } finally {
    await file.close().catch(() => undefined);
    await rm(aside, { force: true });
  }
}

/**
 * Takes the conversation of one task over to another. False when it was not kept.
 * @param bytes how much of it, from its beginning: an agent only ever adds lines
 */
export async function takeSession(from: string, to: string, bytes?: number): Promise<boolean> {
  const path = join(from, kept);
  const size = await stat(path).then(
    (file) => (file.isFile() ? file.size : 0),
    () => 0,
  );
  if (size === 0 || (bytes !== undefined && size < bytes)) return false;
  await copyFile(path, join(to, taken));
  if (bytes !== undefined) await truncate(join(to, taken), bytes);
  return true;
}

/** What was kept. */
export function keptSession(folder: string): ByteStream {
  return createReadStream(join(folder, kept)) as ByteStream;
}

/** What was taken over. */
export function takenSession(folder: string): ByteStream {
  return createReadStream(join(folder, taken)) as ByteStream;
}
