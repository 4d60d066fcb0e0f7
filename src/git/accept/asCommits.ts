import { SallyportError } from '../../base/errors.ts';
import { git } from '../process.ts';
import { readHead } from '../repository.ts';
import { acceptReason, bring } from './branch.ts';
import { carryOut, refuseInTheWay, tell, type Accepting } from './carryOut.ts';
import { linear } from './commits.ts';
import { same, type Side } from './entries.ts';
import { changed } from './execute.ts';
import type { Clash } from './merger.ts';
import type { AcceptResult } from './options.ts';
import type { GitPath } from './paths.ts';
import { mergeOnto, replay } from './replay.ts';
import { lookAt, whatIsKept, type Wanted } from './userFiles.ts';
import { WorkTree } from './workTree.ts';

/**
 * The agent's commits on the user's current branch, with files and index following. What the user has not committed stays
 * uncommitted, in the work tree.
 */
export async function asCommits(accepting: Accepting): Promise<AcceptResult> {
  const { options, scratch, merger, settlements, followed, along } = accepting;
  const { repository, commits, message, identity, signal } = options;
  const branch = await currentBranch(accepting);
  const onto = await readHead(scratch.asUser(), repository.workTree);
  const head = await scratch.treeOf(onto);
  const settled = async (clash: Clash): Promise<{ side: Side } | undefined> =>
    (await neverCommitted(accepting, clash)) ?? (await settlements.settled(clash));
  const trees = { base: await scratch.treeOf(followed.base), chosen: followed.tree, head };
  const { final, clashes } = await mergeOnto(scratch, merger, trees, along, settled);
  for (const clash of clashes) refuseInTheWay(clash);
  if (clashes.length > 0) return await tell(accepting, clashes);
  const list = await followed.commits(await linear(scratch, commits));
  const made = await replay(scratch, merger, {
    ...trees,
    onto,
    commits: list,
    final,
    along,
    message,
    identity,
  });
  if (made.commit === onto) {
    throw new SallyportError(
      'nothing_to_accept',
      `${branch} has all of it already.`,
      'There is nothing to do.',
    );
  }
  const wanted = new Map<GitPath, Wanted>();
  for (const { path, before, after } of await scratch.changes(head, made.tree))
    wanted.set(path, { path, from: before, to: after });
  for (const { path, before, after } of followed.changes) {
    const known = wanted.get(path);
    const there = known ?? { path, from: final.get(path), to: final.get(path) };
    // Where the user's file still is what the task began with, uncommitted edits too, it becomes what was reviewed.
    wanted.set(path, { ...there, or: { from: before, to: after } });
  }
  await bring({ ...repository, head: onto }, scratch.options, made.commit, signal);
  const ref = { name: `refs/heads/${branch}`, old: onto, new: made.commit, reason: acceptReason };
  const verify = async (): Promise<void> => {
    const isThere = (await currentBranch(accepting)) === branch;
    if (!isThere || (await readHead(scratch.asUser(), repository.workTree)) !== onto)
      throw changed('The current branch');
  };
  const carried = await carryOut(accepting, { wanted, staged: true, ref, verify });
  if ('conflicts' in carried) return await tell(accepting, carried.conflicts);
  return { kind: 'done', undo: carried.id, branch, commit: made.commit, files: carried.files };
}

/** A detached HEAD is refused: commits on none of the user's branches are easily lost. */
async function currentBranch({ scratch }: Accepting): Promise<string> {
  const args = ['symbolic-ref', '--quiet', 'HEAD'];
  const { stdout } = await git(args, { ...scratch.asUser(), okCodes: [0, 1] });
  const name = stdout.toString().trim();
  if (name.startsWith('refs/heads/')) return name.slice('refs/heads/'.length);
  throw new SallyportError(
    'accept_refused',
    'You are on no branch: HEAD is detached.',
    'Switch to a branch, or accept as a new branch.',
  );
}

/**
 * A file that the user had not committed when the task began, and has as it was then: to the branch it is new, and not one that
 * was deleted there.
 */
async function neverCommitted(
  { options, scratch }: Accepting,
  clash: Clash,
): Promise<{ side: Side } | undefined> {
  const { path, base, current, incoming } = clash;
  if (base === undefined || current !== undefined || incoming === undefined) return undefined;
  const wanted = new Map([[path, { path, from: base, to: incoming }]]);
  const tree = new WorkTree(options.repository.workTree);
  const seen = await lookAt(scratch, tree, wanted, await whatIsKept(scratch));
  return same(seen.get(path)?.side, base) ? { side: incoming } : undefined;
}
