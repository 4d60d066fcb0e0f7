import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';

/** A killed holder's lock is void after this, in milliseconds; a living one touches it more often. As the CLI has it. */
const staleMs = 60_000;
const touchMs = 5000;
const lookMs = 200;
/** Longest wait: a holder that was killed, and some more. */
const waitMs = staleMs + 15_000;

export interface HeldLock {
  /** True when another process took the lock over: this machine slept, or its clock jumped. */
  lost(): boolean;
  release(): Promise<void>;
}

/**
 * Takes the locks under which the Claude CLI renews its login: `.oauth_refresh.lock` in its folder, which newer
 * releases take, and `<folder>.lock` beside it, which all of them take. Both are folders made by `proper-lockfile`.
 * Undefined when `settled` said meanwhile that there is nothing left to do.
 */
export async function lockLogin(
  folder: string,
  signal: AbortSignal,
  settled: () => Promise<boolean>,
): Promise<HeldLock | undefined> {
  // Read when it is needed: it listens for the end of the process from then on.
  const { lock } = await import('proper-lockfile');
  let lost = false;
  // The library knows its locks by the first argument, so the two need two.
  const take = async (file: string, lockfilePath: string): Promise<(() => Promise<void>) | undefined> => {
    try {
      return await lock(file, {
        lockfilePath,
        realpath: false,
        stale: staleMs,
        update: touchMs,
        onCompromised: () => (lost = true),
      });
    } catch (thrown) {
      if (isErrno(thrown, 'ELOCKED')) return undefined;
      throw thrown;
    }
  };
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch(() => undefined);
  const older = `${await realpath(folder).catch(() => folder)}.lock`;
  const until = performance.now() + waitMs;
  for (;;) {
    signal.throwIfAborted();
    let newer: (() => Promise<void>) | undefined;
    try {
      newer = await take(folder, join(folder, '.oauth_refresh.lock'));
    } catch {
      throw new SallyportError(
        'auth_expired',
        'The Claude login cannot be renewed, because no lock can be made in its folder.',
        `See that you may write to ${folder} and that the disk has room.`,
      );
    }
    if (newer !== undefined) {
      // The home folder itself may be read-only; the newer lock is then the only one, for the CLI as well.
      const second = await take(older, older).catch(() => 'impossible' as const);
      const held = [second, newer].filter((release) => typeof release === 'function');
      const release = async (): Promise<void> => {
        for (const one of held) await one().catch(() => undefined);
      };
      if (second !== undefined) return { lost: () => lost, release };
      await release();
    }
    if (await settled()) return undefined;
    if (performance.now() > until) {
      throw new SallyportError(
        'auth_expired',
        'The Claude login has expired, and another program has been renewing it for more than a minute.',
        'Run `claude` once to see whether the login still works.',
      );
    }
    await pause(lookMs, signal);
  }
}
