import { randomBytes } from 'node:crypto';
import { link, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, SallyportError } from '../../base/errors.ts';
import { pause } from '../../base/pause.ts';
import { isHeld, newClaim } from '../ownership.ts';

/** Between two looks at a lock that another has, in milliseconds. */
const lookMs = 8;

export interface LockOptions {
  /** How long the lock is waited for, in milliseconds. */
  patienceMs?: number;
  signal?: AbortSignal | undefined;
}

/**
 * Runs `work` while no other process, and no other caller of this one, does so for the same folder. A lock whose holder
 * was killed is void. Throws `task_busy` when the lock is not to be had in time, `task_unknown` when the folder above is gone.
 *
 * The lock is the file with the highest number in the folder: free when it is empty, else it holds the claim of whoever has
 * it. To take it is to make the file with the next number, which only one can; and a lock is never given up by deleting
 * the highest, so that nobody who looked too early takes a number twice.
 */
export async function withLock<T>(
  folder: string,
  work: () => Promise<T>,
  { patienceMs = 20_000, signal }: LockOptions = {},
): Promise<T> {
  const mine = await take(folder, Date.now() + patienceMs, signal);
  try {
    return await work();
  } finally {
    await truncate(mine, 0).catch((thrown: unknown) => {
      // The folder was removed meanwhile, and the lock with it.
      if (!isErrno(thrown, 'ENOENT')) throw thrown;
    });
  }
}

async function take(folder: string, until: number, signal: AbortSignal | undefined): Promise<string> {
  await mkdir(folder, { mode: 0o700 }).catch((thrown: unknown) => {
    if (isErrno(thrown, 'ENOENT')) throw removed(thrown);
    if (!isErrno(thrown, 'EEXIST')) throw thrown;
  });
  const claim = newClaim();
  const aside = join(folder, `claim-${randomBytes(8).toString('hex')}`);
  await writeFile(aside, claim, { mode: 0o600 });
  try {
    for (;;) {
      signal?.throwIfAborted();
      const taken = await tryTake(folder, aside);
      if (taken !== undefined) return taken;
      if (Date.now() > until) {
        throw new SallyportError(
          'task_busy',
          'Another window works on the same review.',
          'Wait until it is done, or close that window, and try again.',
        );
      }
      await pause(lookMs * (0.5 + Math.random()), signal ?? new AbortController().signal);
    }
  } finally {
    await rm(aside, { force: true });
  }
}

async function tryTake(folder: string, aside: string): Promise<string | undefined> {
  const highest = (await numbers(folder)).at(-1) ?? 0;
  if (highest > 0) {
    const text = await readFile(join(folder, String(highest)), 'utf8').catch(() => undefined);
    // It was superseded in this moment.
    if (text === undefined || (text !== '' && isHeld(text))) return undefined;
  }
  const next = highest + 1;
  const path = join(folder, String(next));
  try {
    await link(aside, path);
  } catch (thrown) {
    if (isErrno(thrown, 'EEXIST')) return undefined;
    throw thrown;
  }
  const all = await numbers(folder);
  if (all.at(-1) !== next) {
    await rm(path, { force: true });
    return undefined;
  }
  for (const old of all) if (old < next) await rm(join(folder, String(old)), { force: true });
  return path;
}

export function removed(cause: unknown): SallyportError {
  return new SallyportError(
    'task_unknown',
    'The task of this review was removed.',
    'Look at the list of tasks.',
    { cause },
  );
}

async function numbers(folder: string): Promise<number[]> {
  return (await readdir(folder))
    .filter((name) => /^[1-9]\d{0,14}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}
