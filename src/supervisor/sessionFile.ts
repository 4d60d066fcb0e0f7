import { constants } from 'node:fs';
import { lstat, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ControlFailure } from '../base/controlSocket.ts';
import { maxSessionBytes } from '../protocol/control.ts';

/** The agent writes a little later than it speaks: how long its file has to be silent, and how long that is waited for, in milliseconds. */
const settledMs = 100;
const settlingMs = 1000;
const lookMs = 20;

/** What the agent has written down of its conversation. Throws `no_session` for what is none, or is too large. */
export async function readSession(path: string): Promise<AsyncIterable<Uint8Array>> {
  const none = noSession();
  // Not a pipe, whose opening would wait for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW).catch(
    () => {
      throw none;
    },
  );
  const stat = await file.stat();
  if (!stat.isFile() || stat.size === 0 || stat.size > maxSessionBytes) {
    await file.close();
    throw none;
  }
  // It ends where it ended then, also for a file that grows.
  return file.createReadStream({ end: stat.size - 1 }) as AsyncIterable<Uint8Array>;
}

/** Puts a conversation where the agent looks for it. Throws `too_large`. */
export async function writeSession(path: string, data: AsyncIterable<Uint8Array>): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const aside = `${path}.part`;
  const file = await open(aside, 'w', 0o600);
  try {
    let bytes = 0;
    for await (const chunk of data) {
      bytes += chunk.length;
      if (bytes > maxSessionBytes) throw new ControlFailure('too_large', 'The conversation is too long.');
      await file.writeFile(chunk);
    }
  } catch (thrown) {
    await file.close();
    await rm(aside, { force: true });
    throw thrown;
  }
  await file.close();
  await rename(aside, path);
}

/** Throws `no_session` when there is nothing for the agent to go on with. */
export async function checkSession(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isFile() !== true || found.size === 0 || found.size > maxSessionBytes) throw noSession();
}

/**
 * How much of a conversation is written down by now, in bytes, in whole lines; undefined for nothing.
 * @param isGrowing what was said last may still come
 */
export async function settledSession(path: string, isGrowing: boolean): Promise<number | undefined> {
  const until = performance.now() + settlingMs;
  let size = 0;
  for (let since = performance.now(); performance.now() < until;) {
    const now = await lstat(path).catch(() => undefined);
    const found = now?.isFile() === true ? now.size : 0;
    if (found !== size) since = performance.now();
    size = found;
    if (!isGrowing || (size > 0 && performance.now() - since >= settledMs)) break;
    await delay(lookMs);
  }
  if (size > maxSessionBytes) return undefined;
  const whole = await lastLineEnd(path, size);
  return whole > 0 ? whole : undefined;
}

/** Offset behind the last newline within the first `size` bytes; 0 where there is none in their last mebibyte. */
async function lastLineEnd(path: string, size: number): Promise<number> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW).catch(
    () => undefined,
  );
  if (file === undefined) return 0;
  try {
    const from = Math.max(0, size - (1 << 20));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    return from + buffer.subarray(0, bytesRead).lastIndexOf('\n') + 1;
  } finally {
    await file.close();
  }
}

function noSession(): ControlFailure {
  return new ControlFailure('no_session', 'The agent has written down no conversation.');
}
