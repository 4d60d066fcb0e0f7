import { isErrno } from '../../base/errors.ts';
import { Hold, busy } from './hold.ts';
import { Journal, type DoneAccept } from './journal.ts';
import { takeBack } from './takeBack.ts';

/** An accept that a killed process left half done, or its undoing. It is undone now. */
export interface RecoveredAccept {
  id: string;
  note?: string;
  /** What somebody changed since, and stayed as it is. */
  kept: string[];
}

/**
 * Takes back what killed processes left half done, as a journal's folder has it; what living ones are at is left alone. What
 * somebody changed since stays. Can be run at any time, and twice.
 */
export async function recoverAccepts(folder: string): Promise<RecoveredAccept[]> {
  const recovered: RecoveredAccept[] = [];
  for (const journal of await Journal.all(folder)) {
    const gitDir = await journal.gitDir();
    if (!(await Hold.isThere(gitDir)) && ((await isSettled(journal)) || (await journal.isOwned()))) {
      if (await journal.isBack()) await journal.remove();
      continue;
    }
    let hold: Hold | undefined;
    try {
      hold = await Hold.take(gitDir);
    } catch (thrown) {
      if (!isErrno(thrown, 'ENOENT', 'ENOTDIR')) throw thrown;
      // The repository is gone, and everything in it.
      await journal.remove();
      continue;
    }
    if (hold === undefined) continue;
    try {
      recovered.push(...(await settle(hold)));
      if (!(await journal.isGone()) && !(await isSettled(journal)) && !(await journal.isOwned()))
        recovered.push(await finish(journal, hold));
    } finally {
      await letGo(hold);
    }
    if (await journal.isBack()) await journal.remove();
  }
  return recovered;
}

/** Those that were done and not undone, oldest first. */
export async function doneAccepts(folder: string): Promise<DoneAccept[]> {
  const done: DoneAccept[] = [];
  for (const journal of await Journal.all(folder)) {
    if (!(await journal.isDone())) continue;
    const note = (await journal.plan())?.note;
    done.push({ id: journal.id, ...(note === undefined ? {} : { note }) });
  }
  return done;
}

/** Holds a repository while `work` runs, after what a killed process left there is taken back. */
export async function holding<T>(gitDir: string, work: (hold: Hold) => Promise<T>): Promise<T> {
  const hold = await Hold.take(gitDir);
  if (hold === undefined) throw busy();
  try {
    await settle(hold);
    return await work(hold);
  } finally {
    await letGo(hold);
  }
}

/** What could not be taken back is still pointed to, for whoever comes next. */
async function letGo(hold: Hold): Promise<void> {
  try {
    const pointer = await hold.pointer();
    const journal = pointer && (await Journal.find(pointer.journal, pointer.id));
    if (journal === undefined || (await isSettled(journal))) await hold.clear();
  } finally {
    await hold.release();
  }
}

/** What whoever held it before left, whichever journal that is in. */
async function settle(hold: Hold): Promise<RecoveredAccept[]> {
  const pointer = await hold.pointer();
  const journal = pointer && (await Journal.find(pointer.journal, pointer.id));
  const recovered = journal === undefined || (await isSettled(journal)) ? [] : [await finish(journal, hold)];
  await hold.clear();
  return recovered;
}

async function finish(journal: Journal, hold: Hold): Promise<RecoveredAccept> {
  await journal.own();
  const plan = await journal.plan();
  const kept = plan === undefined ? [] : await takeBack(plan, journal, hold);
  await journal.setBack();
  return { id: journal.id, ...(plan?.note === undefined ? {} : { note: plan.note }), kept };
}

async function isSettled(journal: Journal): Promise<boolean> {
  return (await journal.isDone()) || (await journal.isBack());
}
