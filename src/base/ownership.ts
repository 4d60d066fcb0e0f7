import { randomBytes } from 'node:crypto';
import { constants, readFileSync } from 'node:fs';
import { copyFile, link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isErrno } from './errors.ts';

/**
 * One process at a time attends to a task: appends to its log, imports its commits, removes its sandbox. Other windows
 * read along. The claim is a file with the process' number and start time, so that the claim of a killed process is
 * known to be void, even when its number is in use again.
 */
export async function claim(path: string): Promise<(() => Promise<void>) | undefined> {
  const mine = newClaim();
  const aside = `${path}.${mine.slice(-12)}`;
  await writeFile(aside, mine, { mode: 0o600 });
  try {
    for (let tries = 0; tries < 3; tries++) {
      try {
        await linkNew(aside, path);
        return () => release(path, mine);
      } catch (thrown) {
        if (!isErrno(thrown, 'EEXIST')) throw thrown;
      }
      const theirs = await readFile(path, 'utf8').catch(() => '');
      if (isHeld(theirs)) return undefined;
      // Renamed away before it is deleted: of two processes that find it void, one wins the rename.
      await rename(path, `${aside}.void`).catch(() => undefined);
      const taken = await readFile(`${aside}.void`, 'utf8').catch(() => '');
      // The other won, and its own claim was what was renamed.
      if (isHeld(taken)) await linkNew(`${aside}.void`, path).catch(() => undefined);
      await rm(`${aside}.void`, { force: true });
    }
    return undefined;
  } finally {
    await rm(aside, { force: true });
  }
}

/**
 * Gives a finished file a second name, if that is free; throws EEXIST when it is not. Where the file system has no such names,
 * as FAT has none, it is copied: then there is a moment in which it can be seen unfinished.
 */
export async function linkNew(file: string, path: string): Promise<void> {
  try {
    await link(file, path);
  } catch (thrown) {
    if (!isErrno(thrown, 'EPERM', 'ENOTSUP', 'ENOSYS', 'EMLINK')) throw thrown;
    await copyFile(file, path, constants.COPYFILE_EXCL);
  }
}

/** What a claim of this process says; never twice the same. */
export function newClaim(): string {
  return `${identify(process.pid) ?? String(process.pid)} ${randomBytes(6).toString('hex')}`;
}

async function release(path: string, mine: string): Promise<void> {
  const theirs = await readFile(path, 'utf8').catch(() => '');
  if (theirs === mine) await rm(path, { force: true });
}

/** Whether the process that made the claim lives. */
export function isHeld(claimText: string): boolean {
  const owner = claimText.slice(0, claimText.lastIndexOf(' '));
  const pid = Number.parseInt(owner, 10);
  return Number.isInteger(pid) && pid > 0 && identify(pid) === owner;
}

/** `<pid>:<start time>` of a living process; the start time is known on Linux only. */
function identify(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    if (!isErrno(thrown, 'EPERM')) return undefined;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command name, in parentheses, may hold anything; the fields are counted from behind it. Field 22 is the start.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : `${pid}:${fields[19] ?? ''}`;
  } catch {
    return String(pid);
  }
}
