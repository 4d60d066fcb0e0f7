import { chmod, copyFile, lstat, open, rename, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../base/errors.ts';
import { syncFolder } from '../../base/syncFolder.ts';
import { git, type GitOptions } from '../process.ts';
import { same } from './entries.ts';
import { inParallel } from './inParallel.ts';
import { asideName, likeOld, putLink, putNew, putOver, sameState, stagedPath, stateOf } from './files.ts';
import { IndexLock, type Hold } from './hold.ts';
import { indexEntries, indexWith } from './indexFile.ts';
import { sha256Of, syncFile, type FileRecord, type Journal, type Plan, type RefRecord } from './journal.ts';
import { shownPath, type GitPath } from './paths.ts';
import { Blocked, WorkTree, foundAt, type Found, type Place } from './workTree.ts';

/**
 * Makes everything what it was before an accept, from whatever point of it. What is neither as it was nor as it became was
 * changed by somebody else since, and stays; its names are what this resolves to. It can be killed and run again.
 */
export async function takeBack(plan: Plan, journal: Journal, hold: Hold): Promise<string[]> {
  const touchesTree = plan.files.length > 0 || plan.index !== undefined;
  const lock = touchesTree ? await IndexLock.take(plan.gitDir, plan.id) : undefined;
  try {
    const kept: string[] = [];
    if (plan.ref !== undefined) kept.push(...(await refBack(plan, plan.ref)));
    if (plan.index !== undefined) kept.push(...(await indexBack(plan, journal, hold)));
    kept.push(...(await filesBack(plan, journal, hold)));
    return kept;
  } finally {
    await lock?.release();
  }
}

/** What is not as the accept left it, by name; empty where all of it can be taken back. */
export async function changedSince(plan: Plan): Promise<string[]> {
  const changed: string[] = [];
  const tree = new WorkTree(plan.workTree);
  await inParallel(plan.files, async (file) => {
    const found = await lookNow(tree, plan, file.path);
    // A folder that is where a file is to come back holds what somebody put there.
    const isFolder = found.kind === 'folder' && file.old.kind !== 'absent' && !plan.made.includes(file.path);
    if (isFolder || !sameState(stateOf(found), file.new)) changed.push(shownPath(file.path));
  });
  if (plan.index !== undefined && (await sha256Of(join(plan.gitDir, 'index'))) !== plan.index.new) {
    const now = await indexEntries(theirGit(plan), new Set(plan.index.entries.map(({ path }) => path)));
    for (const each of plan.index.entries) {
      const entry = now.get(each.path);
      if (!same(entry?.side, each.new ?? undefined) || entry?.hidden !== undefined)
        changed.push(`${shownPath(each.path)} (staged)`);
    }
  }
  if (plan.ref !== undefined && (await readRef(plan, plan.ref.name)) !== plan.ref.new)
    changed.push(plan.ref.name.replace(/^refs\/heads\//, ''));
  return [...new Set(changed)].sort();
}

async function refBack(plan: Plan, ref: RefRecord): Promise<string[]> {
  const now = await readRef(plan, ref.name);
  if (now !== ref.new) return now === (ref.old ?? undefined) ? [] : [ref.name];
  const command =
    ref.old === null ? `delete ${ref.name} ${ref.new}` : `update ${ref.name} ${ref.old} ${ref.new}`;
  await git(['update-ref', '-m', 'sallyport: taken back', '--stdin'], {
    ...theirGit(plan),
    input: `${command}\n`,
  });
  return [];
}

async function indexBack(plan: Plan, journal: Journal, hold: Hold): Promise<string[]> {
  const record = plan.index;
  const path = join(plan.gitDir, 'index');
  const now = await sha256Of(path);
  if (record === undefined || now === (record.old ?? undefined)) return [];
  const aside = join(hold.folder, 'index-back');
  await rm(aside, { force: true });
  if (now === record.new) {
    if (record.old === null) {
      await rm(path, { force: true });
      return [];
    }
    const { mode } = await stat(path);
    await copyFile(journal.index, aside);
    await chmod(aside, mode & 0o777);
    await syncFile(aside);
    await rename(aside, path);
    return [];
  }
  // Git writes it anew for its own ends; what counts are the entries.
  const entries = await indexEntries(theirGit(plan), new Set(record.entries.map((each) => each.path)));
  const kept: string[] = [];
  const back: [string, { mode: string; oid: string } | undefined][] = [];
  for (const { path: name, old, new: made } of record.entries) {
    const side = entries.get(name)?.side;
    if (same(side, old ?? undefined)) continue;
    if (same(side, made ?? undefined)) back.push([name, old ?? undefined]);
    else kept.push(`${shownPath(name)} (staged)`);
  }
  if (back.length > 0) {
    await indexWith(plan, aside, back);
    await syncFile(aside);
    await rename(aside, path);
  }
  return kept;
}

async function filesBack(plan: Plan, journal: Journal, hold: Hold): Promise<string[]> {
  const tree = new WorkTree(plan.workTree);
  const kept: string[] = [];
  const back: [number, FileRecord, exists: boolean][] = [];
  await inParallel(plan.files.entries(), async ([index, file]) => {
    const near = `${file.path.slice(0, file.path.lastIndexOf('/') + 1)}${asideName(plan.id, index)}`;
    await tree.at(near, async (place) => await rm(place.path, { force: true })).catch(passOverBlocked);
    const state = stateOf(await lookNow(tree, plan, file.path));
    if (sameState(state, file.old)) return;
    if (sameState(state, file.new)) back.push([index, file, file.new.kind !== 'absent']);
    else kept.push(shownPath(file.path));
  });
  const gone = new Set<string>();
  for (const { path } of plan.above) {
    if ((await lookNow(tree, plan, path)).kind === 'absent') gone.add(path);
  }
  await inParallel(back, async ([, file, exists]) => {
    if (file.old.kind !== 'absent' || !exists) return;
    await tree.at(file.path, async (place) => {
      if (await isStill(place, file)) await rm(place.path, { force: true });
      else kept.push(shownPath(file.path));
    });
  });
  for (const folder of plan.made.toReversed()) {
    await tree
      .at(folder, async (place) => await rmdir(place.path).catch(passOverFull))
      .catch(passOverBlocked);
  }
  await inParallel(back, async ([index, file, exists]) => {
    if (file.old.kind === 'absent') return;
    try {
      const put = async (place: Place): Promise<boolean> =>
        await putBack(
          journal,
          stagedPath(hold.folder, index),
          place,
          file,
          exists,
          asideName(plan.id, index),
        );
      if ((await tree.at(file.path, put, { make: true })) !== true) kept.push(shownPath(file.path));
    } catch (thrown) {
      // In between somebody made something of that name.
      if (!(thrown instanceof Blocked) && !isErrno(thrown, 'EEXIST', 'EISDIR', 'ENOTEMPTY')) throw thrown;
      kept.push(shownPath(file.path));
    }
  });
  for (const { path, mode } of plan.above.filter((each) => gone.has(each.path))) {
    await tree.at(path, async (place) => await chmod(place.path, mode)).catch(passOverBlocked);
  }
  for (const folder of new Set(back.map(([, { path }]) => path.slice(0, path.lastIndexOf('/') + 1)))) {
    await tree.at(`${folder}x`, async (place) => await syncFolder(place.folder)).catch(passOverBlocked);
  }
  return kept.sort();
}

/**
 * Puts the old content in the place of the new one, or where nothing is. Says whether it did: not where it was changed in between.
 * @param aside the name to use beside the file for a moment
 */
async function putBack(
  journal: Journal,
  staged: string,
  place: Place,
  file: FileRecord,
  exists: boolean,
  aside: string,
): Promise<boolean> {
  const { old } = file;
  if (old.kind === 'file') {
    await rm(staged, { force: true });
    await writeOld(journal, old.at ?? 0, old.size ?? 0, staged, old.mode);
    if (file.new.kind === 'file') await likeOld(staged, old.mode, await lstat(place.path));
  }
  if (exists && !(await isStill(place, file))) return false;
  if (old.kind === 'link') await putLink(old.target, place, exists ? aside : undefined);
  else await (exists ? putOver : putNew)(staged, place, aside);
  return true;
}

async function isStill(place: Place, file: FileRecord): Promise<boolean> {
  return sameState(stateOf(await foundAt(place.path)), file.new);
}

/** A path below what the accept made a file of is not there; one below somebody else's file or link is none of ours. */
async function lookNow(tree: WorkTree, plan: Plan, path: GitPath): Promise<Found> {
  try {
    return await tree.look(path);
  } catch (thrown) {
    if (!(thrown instanceof Blocked)) throw thrown;
    const isOurs = plan.files.some((each) => each.path === thrown.at && each.new.kind !== 'absent');
    return { kind: isOurs ? 'absent' : 'other' };
  }
}

function passOverFull(thrown: unknown): void {
  if (!isErrno(thrown, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR')) throw thrown;
}

function passOverBlocked(thrown: unknown): void {
  if (!(thrown instanceof Blocked)) throw thrown;
}

async function writeOld(
  journal: Journal,
  at: number,
  size: number,
  file: string,
  mode: number,
): Promise<void> {
  const from = await open(journal.contents, 'r');
  try {
    const to = await open(file, 'wx', 0o600);
    try {
      if (size > 0) {
        for await (const chunk of from.createReadStream({
          start: at,
          end: at + size - 1,
          autoClose: false,
        }))
          await to.writeFile(chunk as Buffer);
      }
      await to.chmod(mode);
      await to.sync();
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

export async function readRef(plan: Pick<Plan, 'gitDir'>, name: string): Promise<string | undefined> {
  const found = await git(['rev-parse', '--verify', '--quiet', '--end-of-options', name], {
    ...theirGit(plan),
    okCodes: [0, 1, 128],
  });
  return found.code === 0 ? found.stdout.toString().trim() : undefined;
}

function theirGit({ gitDir }: Pick<Plan, 'gitDir'>): GitOptions {
  return { gitDir, cwd: gitDir };
}
