import { SallyportError } from '../../base/errors.ts';
import { git } from '../process.ts';
import { objectKinds } from '../receive.ts';
import { refuseOperation } from '../repository.ts';
import { modes } from './entries.ts';
import { Journal, type Plan } from './journal.ts';
import { holding } from './recover.ts';
import { changedSince, takeBack } from './takeBack.ts';

/**
 * Makes everything what it was before an accept: files, index and branch. Fails with `conflict` where something of it was
 * changed since, with `not_found` where it was undone already; then nothing is changed.
 */
export async function undoAccept(folder: string, id: string, signal?: AbortSignal): Promise<void> {
  const journal = await Journal.open(folder, id);
  await holding(await journal.gitDir(), async (hold) => {
    // Whoever held the repository before may have been at this very thing.
    if ((await journal.isGone()) || (await journal.isBack())) return;
    const plan = await journal.plan();
    if (plan !== undefined && (await journal.isDone())) {
      signal?.throwIfAborted();
      await checkBranch(plan, signal);
      const changed = await changedSince(plan);
      if (changed.length > 0) throw since(changed);
      await checkStaged(plan, signal);
      signal?.throwIfAborted();
    }
    await journal.own();
    await hold.point({ journal: folder, id });
    await journal.setUndone();
    const kept = plan === undefined ? [] : await takeBack(plan, journal, hold);
    await journal.setBack();
    if (kept.length > 0) throw since(kept);
  }).finally(async () => {
    if (await journal.isBack()) await journal.remove();
  });
}

async function checkBranch(
  { ref, gitDir, workTree, files, index }: Plan,
  signal?: AbortSignal,
): Promise<void> {
  const options = { gitDir, cwd: gitDir, signal };
  if (files.length > 0 || index !== undefined)
    await refuseOperation({ ...options, workTree, cwd: workTree }, gitDir);
  if (ref === undefined) return;
  const name = ref.name.replace(/^refs\/heads\//, '');
  if (ref.old === null) {
    const { stdout } = await git(['worktree', 'list', '--porcelain'], options);
    if (!stdout.toString().split('\n').includes(`branch ${ref.name}`)) return;
    throw new SallyportError(
      'conflict',
      `The branch ${name} is checked out.`,
      'Switch to another branch, and undo then.',
    );
  }
  const head = await git(['symbolic-ref', '--quiet', 'HEAD'], { ...options, okCodes: [0, 1] });
  if (head.stdout.toString().trim() === ref.name) return;
  throw new SallyportError(
    'conflict',
    `The branch ${name} is not checked out any more.`,
    `Switch to ${name}, and undo then.`,
  );
}

/** What was staged before and never committed is nowhere but among git's objects, and git clears away what nothing names. */
async function checkStaged({ index, commonDir }: Plan, signal?: AbortSignal): Promise<void> {
  const wanted = (index?.entries ?? [])
    .map(({ old }) => old)
    .filter((old) => old !== null && old.mode !== modes.submodule)
    .map((old) => old?.oid ?? '');
  const here = await objectKinds([...new Set(wanted)], { gitDir: commonDir, cwd: commonDir, signal });
  if (wanted.every((oid) => here.has(oid))) return;
  throw new SallyportError(
    'conflict',
    'Git has cleared away what you had staged before the accept.',
    'Go back with git: "git restore" takes files from a commit.',
  );
}

/** Names shown at most. */
const shown = 10;

function since(changed: readonly string[]): SallyportError {
  const more = changed.length > shown ? ` and ${changed.length - shown} more` : '';
  return new SallyportError(
    'conflict',
    `Changed since it was accepted: ${changed.slice(0, shown).join(', ')}${more}.`,
    'Put back what was accepted, or go back with git.',
  );
}
