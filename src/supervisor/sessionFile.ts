import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ControlFailure } from '../base/controlSocket.ts';
import { maxSessionBytes } from '../protocol/control.ts';

/** What the agent has written down of its conversation. Throws `no_session` for what is none, or is too large. */
export async function readSession(path: string): Promise<AsyncIterable<Uint8Array>> {
  const none = new ControlFailure('no_session', 'The agent has written down no conversation.');
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
