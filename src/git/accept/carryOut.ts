import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError, isErrno } from '../../base/errors.ts';
import { bringBlobs, committerOf } from './branch.ts';
import { modes } from './entries.ts';
import { changed, execute } from './execute.ts';
import type { Followed } from './followRenames.ts';
import type { Hold } from './hold.ts';
import { indexEntries, indexWith, type IndexEntry } from './indexFile.ts';
import { sha256Of, type Journal, type Plan, type RefRecord } from './journal.ts';
import type { Clash, Merger } from './merger.ts';
import type { AcceptOptions, AcceptResult } from './options.ts';
import { shownPath, type GitPath } from './paths.ts';
import { decideFiles, stageFiles } from './planFiles.ts';
import { planIndex, type IndexChange } from './planIndex.ts';
import type { Scratch } from './scratch.ts';
import type { Settlements } from './settled.ts';
import { lookAt, whatIsKept, type Wanted } from './userFiles.ts';
import { WorkTree } from './workTree.ts';

/** What an accept works with. */
export interface Accepting {
  options: AcceptOptions;
  scratch: Scratch;
  hold: Hold;
  journal: Journal;
  /** From the base to what was chosen, with files where the user has them. */
  followed: Followed;
  /** Old names of files that the task has renamed, by their new ones: what the user has of the old goes along. */
  along: ReadonlyMap<GitPath, GitPath>;
  merger: Merger;
  settlements: Settlements;
}

export interface Wish {
  wanted: ReadonlyMap<GitPath, Wanted>;
  /** The index gets the same. */
  staged: boolean;
  ref?: RefRecord;
  /** Throws where something is not as it was when the wish was made. */
  verify?: () => Promise<void>;
}

/** What happened, or what keeps it from happening. */
export type Carried = { id: string; files: number } | { conflicts: Clash[] };

/** Brings a wish about: looks at the user's files, merges, writes the journal, and then everything, or nothing. */
export async function carryOut(accepting: Accepting, wish: Wish): Promise<Carried> {
  const { options, scratch, hold, journal, merger, settlements } = accepting;
  const { repository, signal } = options;
  const { wanted } = wish;
  const paths = new Map([...wanted].filter(([, each]) => !isSubmodule(each)));
  const indexSeen = await sha256Of(join(repository.gitDir, 'index'));
  const index =
    wanted.size === 0 ? new Map<GitPath, IndexEntry>() : await indexEntries(scratch.asUser(), wanted);
  for (const [path, { hidden }] of index) if (hidden !== undefined) throw isHidden(path, hidden);
  const tree = new WorkTree(repository.workTree);
  const keeps = await whatIsKept(scratch);
  const decided = await decideFiles(
    merger,
    paths,
    await lookAt(scratch, tree, paths, keeps),
    accepting.along,
    settlements.settled,
  );
  const { clashes } = decided;
  for (const clash of clashes) refuseInTheWay(clash);
  if (clashes.length > 0) return { conflicts: clashes };
  const indexChanges = wish.staged ? await planIndex(merger, wanted, index, decided) : [];
  const files = await stageFiles(scratch, tree, hold, journal, keeps, decided.now);
  const { workTree, gitDir, commonDir } = repository;
  const plan: Plan = {
    version: 1,
    id: journal.id,
    workTree,
    gitDir,
    commonDir,
    ...files,
    ...(indexChanges.length === 0 ? {} : { index: await stageIndex(accepting, indexChanges, indexSeen) }),
    ...(wish.ref === undefined ? {} : { ref: wish.ref }),
    ...(options.note === undefined ? {} : { note: options.note }),
  };
  if (plan.files.length === 0 && plan.index === undefined && plan.ref === undefined)
    throw new SallyportError(
      'nothing_to_accept',
      'Your files have all of it already.',
      'There is nothing to do.',
    );
  await hold.point({ journal: options.journal, id: journal.id });
  await journal.write(plan);
  const seen = new Map([...decided.now].map(([path, { found }]) => [path, found]));
  const verify = wish.verify ?? (() => Promise.resolve());
  await execute({ plan, journal, hold, seen, env: committerOf(repository), verify, signal });
  await settlements.forget();
  return { id: journal.id, files: plan.files.length };
}

/** With all contents, and remembered, so that what the user makes of them is taken for these and no others. */
export async function tell(
  { merger, settlements }: Accepting,
  clashes: readonly Clash[],
): Promise<AcceptResult> {
  const conflicts = await merger.tell(clashes);
  await settlements.ask(clashes);
  return { kind: 'conflicts', conflicts };
}

/** What no content settles is no conflict to be merged. */
export function refuseInTheWay({ path, inTheWay }: Clash): void {
  if (inTheWay === undefined) return;
  throw new SallyportError(
    'accept_refused',
    `${JSON.stringify(shownPath(path))} cannot be written: ${inTheWay}.`,
    'Move that away, or leave the file out.',
  );
}

export function isSubmodule({ from, to }: Wanted): boolean {
  return from?.mode === modes.submodule || to?.mode === modes.submodule;
}

async function stageIndex(
  { options, scratch, hold, journal }: Accepting,
  changes: readonly IndexChange[],
  seen: string | undefined,
): Promise<NonNullable<Plan['index']>> {
  const { repository, signal } = options;
  const blobs = changes
    .map((each) => each.new)
    .filter((side) => side !== undefined && side.mode !== modes.submodule)
    .map((side) => side?.oid ?? '');
  await bringBlobs(repository, scratch.options, [...new Set(blobs)], signal);
  const path = join(repository.gitDir, 'index');
  await copyFile(path, journal.index).catch((thrown: unknown) => {
    if (!isErrno(thrown, 'ENOENT')) throw thrown;
  });
  const old = (await sha256Of(journal.index)) ?? null;
  // What becomes of each entry was decided by what it was.
  if (old !== (seen ?? null)) throw changed('The index');
  const staged = join(hold.folder, 'index');
  await indexWith(
    repository,
    staged,
    changes.map((each) => [each.path, each.new] as const),
    signal,
  );
  const made = await sha256Of(staged);
  if (made === undefined) throw new Error('git wrote no index');
  return {
    old,
    new: made,
    entries: changes.map((each) => ({ path: each.path, old: each.old ?? null, new: each.new ?? null })),
  };
}

function isHidden(path: GitPath, how: 'assume-unchanged' | 'skip-worktree'): SallyportError {
  const name = JSON.stringify(shownPath(path));
  return how === 'skip-worktree'
    ? new SallyportError(
        'accept_refused',
        `${name} is not in your work tree: your sparse checkout leaves it out.`,
        `Add its folder with "git sparse-checkout add", leave the file out, or accept as a branch.`,
      )
    : new SallyportError(
        'accept_refused',
        `You told git to assume that ${name} is unchanged.`,
        `Run "git update-index --no-assume-unchanged" for it, leave the file out, or accept as a branch.`,
      );
}
