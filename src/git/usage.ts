import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Keeps pruning apart from everything that adds objects, between processes: objects that no ref names yet are what
 * pruning deletes. Adders do not disturb each other. A marker is a file that names its process, so that one left by a
 * process that died counts for nothing.
 */

/**
 * An older marker counts for nothing, in milliseconds: its process number may be another's by now, or it is of another
 * machine that shares the disk.
 */
const markerAge = 60 * 60_000;
const retryAfter = 50;
/** Those of this process. */
const own = new Set<string>();
const host = hostname().replaceAll(/[^A-Za-z0-9]/g, '') || 'host';

/** Runs `work` while nothing is pruned. */
export async function whileInUse<T>(
  folder: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  for (;;) {
    signal?.throwIfAborted();
    // First mark, then look: of two that do so at once, at least one sees the other.
    const marker = await mark(folder, 'use');
    try {
      if (!(await anyAlive(folder, 'prune'))) return await work();
    } finally {
      await unmark(marker);
    }
    await sleep(retryAfter, undefined, { ...(signal === undefined ? {} : { signal }) });
  }
}

/** Runs `work` unless objects are being added or pruned; says whether it ran. */
export async function whileUnused(folder: string, work: () => Promise<void>): Promise<boolean> {
  const marker = await mark(folder, 'prune');
  try {
    if ((await anyAlive(folder, 'use')) || (await anyAlive(folder, 'prune', marker))) return false;
    await work();
    return true;
  } finally {
    await unmark(marker);
  }
}

async function mark(folder: string, kind: 'use' | 'prune'): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${kind}.${host}.${process.pid}.${randomBytes(6).toString('hex')}`);
  own.add(path);
  await writeFile(path, '');
  return path;
}

async function unmark(path: string): Promise<void> {
  own.delete(path);
  await rm(path, { force: true });
}

async function anyAlive(folder: string, kind: 'use' | 'prune', except?: string): Promise<boolean> {
  for (const name of await readdir(folder)) {
    const [ofKind, ofHost, pid] = name.split('.');
    const path = join(folder, name);
    if (ofKind !== kind || path === except) continue;
    if (await isAlive(path, ofHost, Number(pid))) return true;
    await rm(path, { force: true });
  }
  return false;
}

async function isAlive(path: string, ofHost: string | undefined, pid: number): Promise<boolean> {
  if (ofHost === host && pid === process.pid) return own.has(path);
  if (ofHost === host && !isRunning(pid)) return false;
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs < markerAge;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}
