import { isRegular, same, type Side } from './entries.ts';
import type { GitPath } from './paths.ts';
import type { Wanted } from './userFiles.ts';

/** What is wanted of a path, and what the user has there. */
export interface Versions {
  from: Side;
  user: Side;
  to: Side;
}

/** What the user has made of a file that the task has renamed: it is merged under the new name, and leaves the old one. */
export interface Carried {
  /** The old name. */
  path: GitPath;
  from: Side;
  user: Side;
}

/**
 * Of files that the task has renamed those that the user has edited under their old names, by the new ones. What the user has
 * under the new name already is left to a merge of its own.
 * @param along old names by the new ones
 */
export function carriedAlong(
  along: ReadonlyMap<GitPath, GitPath>,
  versionsOf: (path: GitPath) => Versions | undefined,
): Map<GitPath, Carried> {
  const carried = new Map<GitPath, Carried>();
  for (const [now, old] of along) {
    const [there, here] = [versionsOf(old), versionsOf(now)];
    if (there === undefined || here === undefined) continue;
    const isRenamed =
      isRegular(there.from) && there.to === undefined && here.from === undefined && isRegular(here.to);
    const isEdited = isRegular(there.user) && !same(there.user, there.from);
    if (isRenamed && isEdited && here.user === undefined)
      carried.set(now, { path: old, from: there.from, user: there.user });
  }
  return carried;
}

/**
 * The other way of a path to its end, where the user has what it begins with. Of a file that the task has renamed, what the user
 * has under the old name says it.
 */
export function otherWay(
  { path, or }: Wanted,
  along: ReadonlyMap<GitPath, GitPath>,
  wanted: ReadonlyMap<GitPath, Wanted>,
  sideOf: (path: GitPath) => Side,
): Wanted['or'] {
  if (or === undefined || !same(sideOf(path), or.from)) return undefined;
  const old = along.get(path);
  const there = old === undefined ? undefined : wanted.get(old)?.or;
  return old === undefined || there === undefined || same(sideOf(old), there.from) ? or : undefined;
}
