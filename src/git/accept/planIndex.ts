import { SallyportError } from '../../base/errors.ts';
import { otherWay } from './carriedAlong.ts';
import { same, type Side } from './entries.ts';
import type { IndexEntry } from './indexFile.ts';
import type { Merger } from './merger.ts';
import { shownPath, type GitPath } from './paths.ts';
import type { Decided } from './planFiles.ts';
import type { Wanted } from './userFiles.ts';

export interface IndexChange {
  path: GitPath;
  old: Side;
  new: Side;
}

/**
 * What becomes of the index: the same change as the files get. What the user has staged of other lines stays staged, and
 * what they have not is not staged by the way. Fails with `accept_refused` where that cannot be kept apart.
 */
export async function planIndex(
  merger: Merger,
  wanted: ReadonlyMap<GitPath, Wanted>,
  index: ReadonlyMap<GitPath, IndexEntry>,
  { now: files, carried, along }: Omit<Decided, 'clashes'>,
): Promise<IndexChange[]> {
  const changes: IndexChange[] = [];
  const mixed: string[] = [];
  const leaving = new Set([...carried.values()].map(({ path }) => path));
  for (const each of wanted.values()) {
    const { path, from, to } = each;
    const old = index.get(path)?.side;
    const edited = carried.get(path);
    const or = otherWay(each, along, wanted, (name) => index.get(name)?.side);
    // Of a file that takes another name, what is staged under the old one.
    const staged = edited === undefined ? old : index.get(edited.path)?.side;
    const file = files.get(path);
    const seen = edited === undefined ? file?.was : edited.user;
    let side: Side;
    if (leaving.has(path)) side = undefined;
    else if (edited === undefined && or !== undefined) side = or.to;
    // The index has what the file had, or nothing of a file that was not tracked: it has what the file has from now on.
    else if (file !== undefined && (same(staged, seen) || (old === undefined && from !== undefined)))
      side = file.is;
    else {
      const merged = await merger.merge(path, edited?.from ?? from, staged, to);
      if (merged.kind === 'clash') {
        mixed.push(JSON.stringify(shownPath(path)));
        continue;
      }
      side = merged.side;
    }
    if (!same(old, side)) changes.push({ path, old, new: side });
  }
  if (mixed.length === 0) return changes;
  throw new SallyportError(
    'accept_refused',
    `You have staged something else of ${mixed.slice(0, 10).join(', ')}${mixed.length > 10 ? ' and more' : ''}, on lines that change.`,
    'Commit that or unstage it, and accept again; or accept without staging.',
  );
}
