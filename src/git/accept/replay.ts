import type { Identity } from '../../protocol/task.ts';
import { gitStream } from '../process.ts';
import { Committer, type RawCommit } from './commits.ts';
import { carriedAlong } from './carriedAlong.ts';
import { fields, same, type Change, type Side } from './entries.ts';
import type { Clash, Merger } from './merger.ts';
import { foldersOf, shownPath, type GitPath } from './paths.ts';
import type { Settled } from './planFiles.ts';
import type { Scratch } from './scratch.ts';

/** Changes by their paths; what is in none of them is as in the tree they start from. */
type Changes = ReadonlyMap<GitPath, Change>;

export interface Onto {
  /** Trees: what everything is compared with, what was chosen, and what the user's branch has. */
  base: string;
  chosen: string;
  head: string;
}

/**
 * What the user's branch becomes: its tree with what was chosen. Resolves to the entries that differ from the branch's own, and
 * what does not go together.
 */
export async function mergeOnto(
  scratch: Scratch,
  merger: Merger,
  { base, chosen, head }: Onto,
  along: ReadonlyMap<GitPath, GitPath>,
  settled: Settled,
): Promise<{ final: Map<GitPath, Side>; clashes: Clash[] }> {
  const [wanted, theirs] = [
    byPath(await scratch.changes(base, chosen)),
    byPath(await scratch.changes(base, head)),
  ];
  const final = new Map<GitPath, Side>();
  const clashes: Clash[] = [];
  const carried = carriedAlong(along, (path) => {
    const change = wanted.get(path);
    return change === undefined
      ? undefined
      : { from: change.before, user: versionIn(theirs, path, change.before), to: change.after };
  });
  const leaving = new Set([...carried.values()].map(({ path }) => path));
  for (const { path, before, after } of wanted.values()) {
    if (leaving.has(path)) {
      final.set(path, undefined);
      continue;
    }
    const { from, user } = carried.get(path) ?? { from: before, user: versionIn(theirs, path, before) };
    const merged = await merger.merge(path, from, user, after);
    if (merged.kind === 'clean') final.set(path, merged.side);
    else {
      const made = await settled(merged.clash);
      if (made === undefined) clashes.push(merged.clash);
      else final.set(path, made.side);
    }
  }
  const added = [...final].filter(
    ([path, side]) => side !== undefined && versionIn(theirs, path, wanted.get(path)?.before) === undefined,
  );
  clashes.push(...(await inTheWay(scratch, head, new Map(added), final)));
  return { final, clashes };
}

/** Files whose name is a folder's in the tree, or the other way round. */
async function inTheWay(
  scratch: Scratch,
  tree: string,
  added: ReadonlyMap<GitPath, Side>,
  final: ReadonlyMap<GitPath, Side>,
): Promise<Clash[]> {
  if (added.size === 0) return [];
  const folders = new Set([...added.keys()].flatMap(foldersOf));
  const clashes: Clash[] = [];
  const args = ['ls-tree', '-r', '-z', '--name-only', '--full-tree', tree];
  for await (const path of fields(gitStream(args, scratch.options).stdout)) {
    if (final.has(path) && final.get(path) === undefined) continue;
    const above = foldersOf(path).find((each) => added.has(each));
    const below = folders.has(path) ? path : undefined;
    const at = above ?? below;
    if (at === undefined) continue;
    const name = JSON.stringify(shownPath(path));
    const why = above === undefined ? `${name} is a file on your branch` : `your branch has ${name}`;
    clashes.push({ path: at, base: undefined, current: undefined, incoming: added.get(at), inTheWay: why });
  }
  return clashes;
}

export interface Replay extends Onto {
  /** The commit of the user's that the new ones come on. */
  onto: string;
  commits: readonly RawCommit[];
  final: ReadonlyMap<GitPath, Side>;
  along: ReadonlyMap<GitPath, GitPath>;
  message: string | undefined;
  identity: Identity;
}

/**
 * Makes the agent's commits anew on the user's branch, each without what was not chosen; those that are left with nothing are
 * left out. The last one's tree is what `mergeOnto` found, whatever came out of merges on the way: where one of them cannot be
 * done, a commit takes the final version of that file. Resolves to the last commit, with the tree.
 */
export async function replay(
  scratch: Scratch,
  merger: Merger,
  { base, chosen, head, onto, commits, final, along, message, identity }: Replay,
): Promise<{ commit: string; tree: string }> {
  const last = commits.at(-1)?.tree ?? base;
  const wanted = byPath(await scratch.changes(base, chosen));
  const whole = byPath(await scratch.changes(base, last));
  const theirs = byPath(await scratch.changes(base, head));
  const committer = await Committer.of(scratch, identity);
  const finalTree = await scratch.treeWith(head, final);
  let tip = { commit: onto, tree: head };
  let before = base;
  for (const commit of commits) {
    scratch.signal?.throwIfAborted();
    const here = byPath(await scratch.changes(base, commit.tree));
    const entries = new Map<GitPath, Side>();
    for (const path of new Set([...here.keys(), ...wanted.keys()])) {
      const old = (here.get(path) ?? wanted.get(path))?.before;
      const mine = versionIn(here, path, old);
      const side = await without(
        merger,
        path,
        old,
        mine,
        versionIn(whole, path, old),
        versionIn(wanted, path, old),
      );
      if (same(side, old)) continue;
      const user = versionIn(theirs, path, old);
      const merged = await merger.merge(path, old, user, side);
      const settled = final.has(path) ? final.get(path) : user;
      const isLast = same(side, versionIn(wanted, path, old));
      // What the user has of the old name is in the last version of the new one.
      const isFinal = isLast || merged.kind === 'clash' || (along.has(path) && final.has(path));
      entries.set(path, isFinal ? settled : merged.side);
    }
    const tree = await scratch.treeWith(head, entries);
    // What was empty from the beginning was meant to be.
    const wasEmpty = commit.tree === before && commit.parents.length === 1;
    before = commit.tree;
    if (tree === tip.tree && !wasEmpty) continue;
    const { author, date, message: text } = commit;
    tip = { commit: await committer.commit({ tree, parent: tip.commit, message: text, author, date }), tree };
  }
  if (tip.tree !== finalTree) {
    const text = message ?? 'Changes of a task';
    const made = { tree: finalTree, parent: tip.commit, message: ended(text), author: identity };
    tip = { commit: await committer.commit(made), tree: finalTree };
  }
  return tip;
}

/**
 * What a commit has of what was chosen. `whole` is what all commits made of the file, `chosen` what was taken of that; the
 * difference is taken out of what this commit has.
 */
async function without(
  merger: Merger,
  path: GitPath,
  old: Side,
  mine: Side,
  whole: Side,
  chosen: Side,
): Promise<Side> {
  if (same(mine, old)) return old;
  if (same(mine, whole)) return chosen;
  const merged = await merger.merge(path, whole, mine, chosen);
  return merged.kind === 'clean' ? merged.side : chosen;
}

function byPath(changes: readonly Change[]): Changes {
  return new Map(changes.map((each) => [each.path, each]));
}

function versionIn(changes: Changes, path: GitPath, otherwise: Side): Side {
  const change = changes.get(path);
  return change === undefined ? otherwise : change.after;
}

/** As `git commit -m` has it. */
export function ended(message: string): string {
  return message.endsWith('\n') ? message : `${message}\n`;
}
