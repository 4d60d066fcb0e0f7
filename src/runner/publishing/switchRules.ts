import { SallyportError } from '../../base/errors.ts';
import { isCiFile } from '../../git/ciFiles.ts';
import { changedFiles } from '../../git/diff.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { ReviewState } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { plural } from '../../protocol/words.ts';
import type { BranchLook } from './taskPublishing.ts';

/**
 * The commit that the branch at the forge is to stand at: the newest that was taken in. Of a task that failed also what the
 * agent left uncommitted, so that its work can be gone on with elsewhere. Pure.
 */
export function targetOf(state: TaskState): string | undefined {
  const imported = new Set(state.imported);
  const brought = state.commits.filter(({ sha }) => imported.has(sha));
  const newest = brought.findLast(({ branch }) => branch === state.spec.branch) ?? brought.at(-1);
  const { leftovers, phase } = state;
  const failed = phase === 'failed' || phase === 'timed_out';
  const base = newest?.sha ?? state.spec.snapshot.commit;
  if (failed && leftovers !== undefined && imported.has(leftovers.commit) && leftovers.parent === base)
    return leftovers.commit;
  return newest?.sha;
}

/**
 * A switch is a yes to code, which somebody reads before it is merged. It is none to what a forge runs at once, with the
 * repository's secrets. Throws `push_refused`.
 */
export async function checkCiFiles(
  quarantine: Quarantine,
  from: string,
  to: string,
  where: 'server' | 'host',
  signal: AbortSignal,
): Promise<void> {
  const changes = await changedFiles(quarantine, from, to, signal);
  const paths = changes.flatMap(({ path, from: old }) => (old === undefined ? [path] : [path, old]));
  const found = paths.find(isCiFile);
  if (found === undefined) return;
  throw new SallyportError(
    'push_refused',
    `Nothing was pushed: the commits change ${safeLine(found)}, which the forge would obey before anybody has looked.`,
    where === 'server'
      ? 'Read the diff, then fetch the commits from the runner and push them yourself; or have the agent take that change back.'
      : 'Read the diff, then push the branch yourself; or have the agent take that change back.',
  );
}

/** Who has turned something down wants to decide on the rest as well. Throws `push_refused`. Pure. */
export function checkVerdicts({ verdicts, edits }: Pick<ReviewState, 'verdicts' | 'edits'>): void {
  if (!Object.values(verdicts).includes('rejected') && Object.keys(edits).length === 0) return;
  throw new SallyportError(
    'push_refused',
    'You have rejected or edited something of this task, so nothing more of it is pushed by itself.',
    'Push what you want of it with Push Branch….',
  );
}

/**
 * Whether a switch may move the branch from where it stands: its own branch only, made by this task, and nothing of the user's
 * own along with it. Resolves to the commit that may be overwritten, because this task has pushed it. Throws `push_refused` or
 * `push_protected`. Pure.
 * @param mine commits of the task
 * @param pushed those of them that it has pushed to this branch
 */
export function checkBranch(
  branch: string,
  look: BranchLook,
  { mine, pushed }: { mine: readonly string[]; pushed: readonly string[] },
): string | undefined {
  if (look.protectedWhy !== undefined) {
    throw new SallyportError(
      'push_protected',
      `${look.protectedWhy} Nothing is pushed there by itself.`,
      'Push to it yourself with Push Branch…, or start the task on another branch.',
    );
  }
  if (look.earlierCommits > 0) {
    throw new SallyportError(
      'push_refused',
      `The task began on ${plural(look.earlierCommits, 'commit')} that the remote has not. A switch does not push what was there before the task.`,
      'Push them first, or push the branch yourself with Push Branch….',
    );
  }
  const { at, relation } = look;
  if (at === undefined || relation === 'same') return undefined;
  if (relation === 'ahead' && (mine.includes(at) || pushed.includes(at))) return undefined;
  if (relation === 'other' && pushed.includes(at)) return at;
  throw new SallyportError(
    'push_refused',
    `The branch ${branch} is there already, with commits that are not of this task.`,
    'Push to another branch with Push Branch…, or delete that one at the forge.',
  );
}
