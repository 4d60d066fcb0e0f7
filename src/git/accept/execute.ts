import { lstat, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError, asSallyportError, isErrno } from '../../base/errors.ts';
import { syncFolder } from '../../base/syncFolder.ts';
import { git } from '../process.ts';
import { asideName, putLink, putNew, putOver, sameState, stagedPath, stateOf } from './files.ts';
import { inParallel } from './inParallel.ts';
import { IndexLock, type Hold } from './hold.ts';
import { sha256Of, type Journal, type Plan } from './journal.ts';
import { shownPath, type GitPath } from './paths.ts';
import { takeBack } from './takeBack.ts';
import { Blocked, WorkTree, foundAt, sameStamp, stampOf, type Found, type Place } from './workTree.ts';

export interface Execution {
  plan: Plan;
  journal: Journal;
  hold: Hold;
  /** What was seen of the files when it was decided what becomes of them. */
  seen: ReadonlyMap<string, Found>;
  /** Of who updates a ref. */
  env: Record<string, string>;
  /** Throws when something that was looked at is not so any more. Called once nobody else can change the index. */
  verify: () => Promise<void>;
  signal?: AbortSignal | undefined;
}

/**
 * Does what the plan says, or nothing: what fails in the middle is taken back. The plan is in the journal, and the new
 * contents are in the hold's folder.
 */
export async function execute(run: Execution): Promise<void> {
  const { plan, journal, hold, signal } = run;
  const touchesTree = plan.files.length > 0 || plan.index !== undefined;
  let lock: IndexLock | undefined;
  try {
    if (touchesTree) lock = await IndexLock.take(plan.gitDir, plan.id, signal);
  } catch (thrown) {
    // Nothing is changed yet.
    await journal.setBack();
    throw told(thrown);
  }
  try {
    if (
      plan.index !== undefined &&
      (await sha256Of(join(plan.gitDir, 'index'))) !== (plan.index.old ?? undefined)
    )
      throw changed('The index');
    await run.verify();
    await writeFiles(run);
    if (plan.index !== undefined) await rename(join(hold.folder, 'index'), join(plan.gitDir, 'index'));
    await moveRef(run);
    await syncFolders(plan);
    // A lock is never left behind by what counts as done.
    await lock?.release();
    await journal.setDone();
  } catch (thrown) {
    try {
      await takeBack(plan, journal, hold);
      await journal.setBack();
    } catch (second) {
      throw new SallyportError(
        'internal',
        `${asSallyportError(thrown).message} Taking back what was done already failed too: ${asSallyportError(second).message}`,
        'It is taken back as soon as that can be done: free the disk, close programs that use these files, and look at the task again.',
        { cause: thrown },
      );
    }
    throw told(thrown);
  }
}

async function writeFiles(run: Execution): Promise<void> {
  const { plan, hold, signal } = run;
  const tree = new WorkTree(plan.workTree);
  const going = plan.files.filter((file) => file.new.kind === 'absent');
  await inParallel(going, async ({ path }) => {
    signal?.throwIfAborted();
    await tree.at(path, async (place) => {
      await checkSeen(run, path, place);
      await rm(place.path);
    });
  });
  for (const { path } of plan.above.toReversed()) {
    await tree.at(path, async (place) => await rmdir(place.path).catch(passOverFull));
  }
  await inParallel(plan.files.entries(), async ([index, { path, old, new: made }]) => {
    if (made.kind === 'absent') return;
    signal?.throwIfAborted();
    await tree.at(
      path,
      async (place) => {
        await checkSeen(run, path, place);
        const over = old.kind !== 'absent';
        const aside = asideName(plan.id, index);
        if (made.kind === 'link') await putLink(made.target, place, over ? aside : undefined);
        else await (over ? putOver : putNew)(stagedPath(hold.folder, index), place, aside);
      },
      { make: true },
    );
  });
}

/** Right before it is touched: what was not there is not, and what was there is as it was seen. */
async function checkSeen(run: Execution, path: GitPath, place: Place): Promise<void> {
  const before = run.seen.get(path) ?? { kind: 'absent' };
  const stat = await lstat(place.path, { bigint: true }).catch((thrown: unknown) => {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  });
  if (stat === undefined && before.kind === 'absent') return;
  if (stat !== undefined && 'stamp' in before) {
    if (sameStamp(stampOf(stat), before.stamp)) return;
    const expected = stateOf(before);
    if (expected !== undefined && sameState(stateOf(await foundAt(place.path)), expected)) return;
  }
  throw changed(JSON.stringify(shownPath(path)));
}

async function moveRef({ plan, env, signal }: Execution): Promise<void> {
  const { ref, gitDir } = plan;
  if (ref === undefined) return;
  const command =
    ref.old === null ? `create ${ref.name} ${ref.new}` : `update ${ref.name} ${ref.new} ${ref.old}`;
  await git(['update-ref', '-m', ref.reason, '--stdin'], {
    gitDir,
    cwd: gitDir,
    signal,
    env,
    input: `${command}\n`,
  });
}

/** Names are as durable as contents before anything counts as done. */
async function syncFolders(plan: Plan): Promise<void> {
  const tree = new WorkTree(plan.workTree);
  const folders = new Set(plan.files.map(({ path }) => path.slice(0, path.lastIndexOf('/') + 1)));
  for (const folder of folders) {
    // One that became a file is a name in the folder above.
    await tree.at(`${folder}x`, async (place) => await syncFolder(place.folder)).catch(passOverBlocked);
  }
  await syncFolder(plan.gitDir);
}

function passOverBlocked(thrown: unknown): void {
  if (!(thrown instanceof Blocked)) throw thrown;
}

function passOverFull(thrown: unknown): void {
  if (!isErrno(thrown, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR')) throw thrown;
}

export function changed(what: string): SallyportError {
  return new SallyportError(
    'conflict',
    `${what} was changed while it was accepted.`,
    'Nothing was changed by the accept. Try again.',
  );
}

/** What the file system says, in the user's terms. */
export function told(thrown: unknown): unknown {
  if (thrown instanceof Blocked) return changed(JSON.stringify(shownPath(thrown.at)));
  if (isErrno(thrown, 'EEXIST', 'ENOTDIR', 'ENOENT', 'ELOOP')) return changed('Something in the work tree');
  if (isErrno(thrown, 'ENOSPC', 'EDQUOT'))
    return new SallyportError(
      'disk_full',
      'The disk is full. Nothing was changed.',
      'Free some space and try again.',
      { cause: thrown },
    );
  if (isErrno(thrown, 'EACCES', 'EPERM', 'EROFS', 'EBUSY', 'ETXTBSY'))
    return new SallyportError(
      'accept_refused',
      `A file cannot be written: ${asSallyportError(thrown).message} Nothing was changed.`,
      'See that you may write there and that no other program keeps the file, and try again.',
      { cause: thrown },
    );
  return asSallyportError(thrown);
}
