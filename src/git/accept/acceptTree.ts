import { SallyportError } from '../../base/errors.ts';
import { Sha } from '../../protocol/grammar.ts';
import { refuseOperation } from '../repository.ts';
import { acceptReason, bring, checkFree, prepareBranch } from './branch.ts';
import { carryOut, isSubmodule, tell, type Accepting } from './carryOut.ts';
import { Committer } from './commits.ts';
import { asCommits } from './asCommits.ts';
import type { Change } from './entries.ts';
import { told } from './execute.ts';
import { Followed } from './followRenames.ts';
import type { Hold } from './hold.ts';
import { Journal } from './journal.ts';
import { Merger } from './merger.ts';
import type { AcceptOptions, AcceptResult } from './options.ts';
import { shownPath, unsafePath } from './paths.ts';
import { holding } from './recover.ts';
import { tasksRenames } from './renames.ts';
import { ended } from './replay.ts';
import { Scratch } from './scratch.ts';
import { Settlements } from './settled.ts';
import type { Wanted } from './userFiles.ts';
import { usersRenames } from './usersRenames.ts';

/**
 * Takes a tree of the quarantine into the user's repository, whole or not at all: whatever fails is taken back, and what a killed
 * process left half done is by `recoverAccepts`. No hook runs. Conflicts change nothing. Fails with `nothing_to_accept`,
 * `accept_refused`, `operation_in_progress`, `branch_exists`, `invalid_branch`, `conflict`, `too_large`, `disk_full`.
 */
export async function acceptTree(options: AcceptOptions): Promise<AcceptResult> {
  for (const name of [options.base, options.tree, ...options.commits]) {
    if (!Sha.safeParse(name).success)
      throw new SallyportError('invalid_input', 'Not a name of an object.', 'Report this.');
  }
  const journal = await Journal.create(options.journal, options.repository.gitDir);
  let isKept = false;
  try {
    const result = await holding(
      options.repository.gitDir,
      async (hold) => await take(options, journal, hold),
    );
    isKept = result.kind === 'done';
    return result;
  } catch (thrown) {
    // What could not be taken back is as soon as somebody looks.
    isKept = (await journal.plan()) !== undefined && !(await journal.isBack());
    throw told(thrown);
  } finally {
    if (!isKept) await journal.remove();
  }
}

async function take(options: AcceptOptions, journal: Journal, hold: Hold): Promise<AcceptResult> {
  const { repository, quarantine, target, signal } = options;
  return await Scratch.use(quarantine, repository, signal, async (scratch) => {
    const { base, tree } = options;
    const chosen = await scratch.changes(base, tree);
    const renames = await usersRenames(scratch, base, chosen, target);
    const followed = await Followed.of(scratch, { base, tree, changes: chosen }, renames);
    const { changes } = followed;
    checkPaths(changes);
    const along = target.kind === 'branch' ? new Map() : await tasksRenames(scratch, followed);
    const merger = new Merger(scratch);
    const settlements = await Settlements.of(scratch, options);
    const accepting: Accepting = { options, scratch, hold, journal, followed, along, merger, settlements };
    if (target.kind === 'branch') return await asBranch(accepting, target.branch);
    if (changes.length === 0) {
      throw new SallyportError(
        'nothing_to_accept',
        'Nothing that changes a file is chosen.',
        'Accept a part first.',
      );
    }
    await refuseOperation(scratch.asUser(), repository.gitDir);
    return target.kind === 'tree' ? await asFiles(accepting, target.staged) : await asCommits(accepting);
  });
}

async function asFiles(accepting: Accepting, staged: boolean): Promise<AcceptResult> {
  const wanted = new Map(
    accepting.followed.changes.map(({ path, before, after }) => [path, { path, from: before, to: after }]),
  );
  for (const each of wanted.values()) if (isSubmodule(each)) throw submodule(each);
  const carried = await carryOut(accepting, { wanted, staged });
  if ('conflicts' in carried) return await tell(accepting, carried.conflicts);
  return { kind: 'done', undo: carried.id, files: carried.files };
}

/**
 * The agent's own commits where all of them are taken, else one commit on the base. What the user had not committed when the
 * task began is in the base, as a commit of its own below the agent's: without it the branch would not be what was reviewed.
 */
async function asBranch(accepting: Accepting, branch: string): Promise<AcceptResult> {
  const { options, scratch, followed } = accepting;
  const { changes } = followed;
  const { repository, quarantine, base, tree, commits, whole, identity, signal } = options;
  await checkFree(repository, branch, signal);
  let commit = whole ? commits.at(-1) : undefined;
  if (commit !== undefined) await prepareBranch(repository, quarantine, commit, branch, signal);
  else {
    if (changes.length === 0)
      throw new SallyportError('nothing_to_accept', 'Nothing is chosen.', 'Accept a part first.');
    const committer = await Committer.of(scratch, identity);
    const message = ended(options.message ?? 'Changes of a task');
    commit = await committer.commit({ tree, parent: base, message, author: identity });
    await bring(repository, scratch.options, commit, signal);
  }
  const ref = { name: `refs/heads/${branch}`, old: null, new: commit, reason: acceptReason };
  const verify = async (): Promise<void> => await checkFree(repository, branch, signal);
  const carried = await carryOut(accepting, { wanted: new Map(), staged: false, ref, verify });
  if ('conflicts' in carried) return await tell(accepting, carried.conflicts);
  return { kind: 'done', undo: carried.id, branch, commit, files: changes.length };
}

function checkPaths(changes: readonly Change[]): void {
  for (const { path } of changes) {
    const why = unsafePath(path);
    if (why === undefined) continue;
    throw new SallyportError(
      'accept_refused',
      `${JSON.stringify(shownPath(path))} is never written: ${why}.`,
      'Leave this file out.',
    );
  }
}

function submodule({ path }: Wanted): SallyportError {
  return new SallyportError(
    'accept_refused',
    `${JSON.stringify(shownPath(path))} is a submodule: its commit is not among your files.`,
    'Leave it out, or accept as a branch or as commits.',
  );
}
