import type { RawCommit } from './commits.ts';
import type { Change, Side } from './entries.ts';
import type { GitPath } from './paths.ts';
import type { Scratch } from './scratch.ts';

/** Trees of a task in which files stand where the user has them now. */
export class Followed {
  readonly base: string;
  readonly tree: string;
  readonly changes: readonly Change[];
  private readonly scratch: Scratch;
  /** New names by the old ones. */
  private readonly renames: ReadonlyMap<GitPath, GitPath>;
  /** As the task has it. */
  private readonly from: { base: string; changes: readonly Change[] };

  private constructor(
    scratch: Scratch,
    renames: ReadonlyMap<GitPath, GitPath>,
    from: { base: string; changes: readonly Change[] },
    now: { base: string; tree: string; changes: readonly Change[] },
  ) {
    this.scratch = scratch;
    this.renames = renames;
    this.from = from;
    ({ base: this.base, tree: this.tree, changes: this.changes } = now);
  }

  /**
   * @param task `changes` are from the base to what was chosen
   * @param renames new names by the old ones, of files among the changes
   */
  static async of(
    scratch: Scratch,
    task: { base: string; tree: string; changes: readonly Change[] },
    renames: ReadonlyMap<GitPath, GitPath>,
  ): Promise<Followed> {
    const { base, tree, changes } = task;
    const from = { base, changes };
    if (renames.size === 0) return new Followed(scratch, renames, from, task);
    const before = new Map(changes.map((change) => [change.path, change.before]));
    const after = new Map(changes.map((change) => [change.path, change.after]));
    const newBase = await moved(scratch, base, renames, before);
    const newTree = await moved(scratch, tree, renames, after);
    if (newBase === undefined || newTree === undefined) return new Followed(scratch, new Map(), from, task);
    const now = { base: newBase, tree: newTree, changes: await scratch.changes(newBase, newTree) };
    return new Followed(scratch, renames, from, now);
  }

  /** The same of the commits in between. */
  async commits(commits: readonly RawCommit[]): Promise<RawCommit[]> {
    if (this.renames.size === 0) return [...commits];
    const { base, changes } = this.from;
    const made: RawCommit[] = [];
    for (const commit of commits) {
      const sides = new Map(changes.map(({ path, before }) => [path, before]));
      for (const { path, after } of await this.scratch.changes(base, commit.tree)) sides.set(path, after);
      const tree = await moved(this.scratch, commit.tree, this.renames, sides);
      made.push({ ...commit, tree: tree ?? commit.tree });
    }
    return made;
  }
}

/** Undefined where a file and a folder want the same name: git would make room by taking one away. */
async function moved(
  scratch: Scratch,
  tree: string,
  renames: ReadonlyMap<GitPath, GitPath>,
  sides: ReadonlyMap<GitPath, Side>,
): Promise<string | undefined> {
  const entries: [GitPath, Side][] = [];
  for (const [old, now] of renames) {
    const side = sides.get(old);
    // A commit in between may lack the file, or have something of its own under the new name.
    if (side !== undefined && sides.get(now) === undefined) entries.push([old, undefined], [now, side]);
  }
  const made = await scratch.treeWith(tree, entries);
  const differ = await scratch.changes(tree, made);
  return differ.length === entries.length ? made : undefined;
}
