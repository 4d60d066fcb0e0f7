import { constants } from 'node:fs';
import { open, writeFile, type FileHandle } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { SallyportError } from '../../base/errors.ts';
import { readObjects } from '../objects.ts';
import { carriedAlong, otherWay, type Carried } from './carriedAlong.ts';
import { modes, same, type Side } from './entries.ts';
import { changed } from './execute.ts';
import { likeOld, modeAs, stagedPath } from './files.ts';
import { smudge, type Smudging } from './filters.ts';
import type { Hold } from './hold.ts';
import { inParallel } from './inParallel.ts';
import { syncFile, type FileRecord, type Journal, type Plan, type State } from './journal.ts';
import type { Clash, Merger } from './merger.ts';
import { foldersOf, shownPath, type GitPath } from './paths.ts';
import type { Scratch } from './scratch.ts';
import type { Keeps, UserFile, Wanted } from './userFiles.ts';
import { Blocked, foundAt, type Found, type WorkTree } from './workTree.ts';

/** What the user made of a clash, if they did. */
export type Settled = (clash: Clash) => Promise<{ side: Side } | undefined>;

export interface Decided {
  /** What becomes of each path of the work tree that was looked at. */
  now: Map<GitPath, { was: Side; is: Side; found: Found }>;
  /** What left its old name for that of the task, by the new one. */
  carried: ReadonlyMap<GitPath, Carried>;
  /** All that the task has renamed: old names by the new ones. */
  along: ReadonlyMap<GitPath, GitPath>;
  clashes: Clash[];
}

/** Merges what is wanted with what the user has. */
export async function decideFiles(
  merger: Merger,
  wanted: ReadonlyMap<GitPath, Wanted>,
  files: ReadonlyMap<GitPath, UserFile>,
  along: ReadonlyMap<GitPath, GitPath>,
  settled: Settled,
): Promise<Decided> {
  const other = (each: Wanted): Wanted['or'] =>
    otherWay(each, along, wanted, (path) => files.get(path)?.side);
  const carried = carriedAlong(along, (path) => {
    const [want, user] = [wanted.get(path), files.get(path)];
    if (want === undefined || user === undefined || user.inTheWay !== undefined) return undefined;
    if (other(want) !== undefined) return undefined;
    return { from: want.from, user: user.side, to: want.to };
  });
  const leaving = new Set([...carried.values()].map(({ path }) => path));
  const decided: Decided = { now: new Map(), carried, along, clashes: [] };
  for (const each of wanted.values()) {
    const { path, from, to } = each;
    const user = files.get(path);
    if (user === undefined) throw new Error('a path was not looked at');
    const { side: was, found } = user;
    const set = (is: Side): void => void decided.now.set(path, { was, is, found });
    const [edited, or] = [carried.get(path), other(each)];
    if (leaving.has(path)) set(undefined);
    else if (user.inTheWay !== undefined) {
      decided.clashes.push({ path, base: from, current: was, incoming: to, inTheWay: user.inTheWay });
    } else if (edited === undefined && or !== undefined) set(or.to);
    else {
      const merged = await merger.merge(path, edited?.from ?? from, edited?.user ?? was, to);
      if (merged.kind === 'clean') set(merged.side);
      else {
        const made = await settled(merged.clash);
        if (made === undefined) decided.clashes.push(merged.clash);
        else set(made.side);
      }
    }
  }
  return decided;
}

/** Longest path that a link may name, in bytes. */
const maxTarget = 4095;

/**
 * Keeps what is there in the journal, and makes the new contents ready in the hold's folder. Resolves to what the plan says of
 * files.
 */
export async function stageFiles(
  scratch: Scratch,
  tree: WorkTree,
  hold: Hold,
  journal: Journal,
  keeps: Keeps,
  now: Decided['now'],
): Promise<Pick<Plan, 'files' | 'made' | 'above'>> {
  const writes = [...now].filter(([, { was, is }]) => !same(was, is)).sort(([a], [b]) => (a < b ? -1 : 1));
  const files: FileRecord[] = [];
  const smudging: Smudging[] = [];
  const contents = await open(journal.contents, 'wx', 0o600);
  try {
    let at = 0;
    for (const [index, [path, { was, is, found }]] of writes.entries()) {
      scratch.signal?.throwIfAborted();
      const old = await keep(tree, path, found, contents, at);
      if (old.kind === 'file') at += old.size ?? 0;
      const file = stagedPath(hold.folder, index);
      let made: State = { kind: 'absent' };
      if (is !== undefined) {
        if (is.mode === modes.link) made = await linkState(scratch, path, is.oid, keeps, file);
        else if (is.oid === was?.oid && found.kind === 'file') await copyAgain(tree, path, file);
        else smudging.push({ path, oid: is.oid, file, mode: is.mode === modes.program ? 0o777 : 0o666 });
        if (made.kind === 'absent') made = { kind: 'file', sha256: '', mode: 0 };
      }
      files.push({ path, old, new: made });
    }
    await contents.sync();
  } finally {
    await contents.close();
  }
  await smudge(scratch, smudging);
  await inParallel(writes.entries(), async ([index, [, { is, found }]]) => {
    const record = files[index];
    if (record?.new.kind !== 'file') return;
    const file = stagedPath(hold.folder, index);
    if (found.kind === 'file') {
      const program = keeps.programs ? is?.mode === modes.program : (found.mode & 0o100) !== 0;
      await likeOld(file, modeAs(found.mode, program), found.owner);
    }
    await syncFile(file);
    const staged = await foundAt(file);
    if (staged.kind !== 'file') throw new Error('a new content is not there');
    record.new = { kind: 'file', sha256: staged.sha256, mode: staged.mode };
  });
  return { files, ...(await foldersFor(tree, files)) };
}

/** Copies the content that was seen to the journal. */
async function keep(
  tree: WorkTree,
  path: GitPath,
  found: Found,
  contents: FileHandle,
  at: number,
): Promise<State> {
  if (found.kind === 'link') return { kind: 'link', target: found.target.toString('latin1') };
  if (found.kind !== 'file') return { kind: 'absent' };
  const sha256 = createHash('sha256');
  let size = 0;
  await reading(tree, path, async (chunk) => {
    sha256.update(chunk);
    size += chunk.length;
    await contents.writeFile(chunk);
  });
  if (sha256.digest('hex') !== found.sha256) throw changed(JSON.stringify(shownPath(path)));
  return { kind: 'file', sha256: found.sha256, mode: found.mode, at, size };
}

/** A file that only gets another mode keeps its bytes, even those that filters would make otherwise. */
async function copyAgain(tree: WorkTree, path: GitPath, file: string): Promise<void> {
  const to = await open(file, 'wx', 0o600);
  try {
    await reading(tree, path, async (chunk) => await to.writeFile(chunk));
  } finally {
    await to.close();
  }
}

async function reading(tree: WorkTree, path: GitPath, take: (chunk: Buffer) => Promise<void>): Promise<void> {
  await tree.at(path, async (place) => {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    const handle = await open(place.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      for await (const chunk of handle.createReadStream({ autoClose: false })) await take(chunk as Buffer);
    } finally {
      await handle.close();
    }
  });
}

async function linkState(
  scratch: Scratch,
  path: GitPath,
  oid: string,
  keeps: Keeps,
  file: string,
): Promise<State> {
  const [target = Buffer.alloc(0)] = await readObjects([oid], scratch.options);
  if (target.length === 0 || target.length > maxTarget || target.includes(0)) {
    throw new SallyportError(
      'accept_refused',
      `${JSON.stringify(shownPath(path))} is a link to something that is no path.`,
      'Leave it out.',
    );
  }
  if (keeps.links) return { kind: 'link', target: target.toString('latin1') };
  // As git does where there are no links: a file that holds the path.
  await writeFile(file, target, { flag: 'wx' });
  return { kind: 'absent' };
}

async function foldersFor(
  tree: WorkTree,
  files: readonly FileRecord[],
): Promise<Pick<Plan, 'made' | 'above'>> {
  const seen = new Map<GitPath, number | undefined>();
  const modeOf = async (folder: GitPath): Promise<number | undefined> => {
    if (!seen.has(folder)) {
      const found = await tree.look(folder).catch((thrown: unknown) => {
        if (thrown instanceof Blocked) return undefined;
        throw thrown;
      });
      seen.set(folder, found?.kind === 'folder' ? found.mode : undefined);
    }
    return seen.get(folder);
  };
  const made = new Set<GitPath>();
  const above = new Map<GitPath, number>();
  for (const file of files) {
    for (const folder of foldersOf(file.path)) {
      const mode = await modeOf(folder);
      if (file.new.kind !== 'absent' && mode === undefined) made.add(folder);
      if (file.new.kind === 'absent' && mode !== undefined) above.set(folder, mode);
    }
  }
  return {
    made: [...made].sort(),
    above: [...above].map(([path, mode]) => ({ path, mode })).sort((a, b) => (a.path < b.path ? -1 : 1)),
  };
}
