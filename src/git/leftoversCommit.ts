import { SallyportError } from '../base/errors.ts';
import type { Identity } from '../protocol/task.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import { git } from './process.ts';
import type { Quarantine } from './quarantine.ts';

export interface LeftoversCommit {
  task: string;
  /** The commit that keeps what is uncommitted: its tree and its parent are taken over, as git has them. */
  leftovers: string;
  branch: string;
  /** Author and committer. */
  identity: Identity;
  message: string;
}

/**
 * Makes a commit of what a task left uncommitted, as the newest one of its branch in the quarantine. Throws `conflict` when what
 * was left is not there, or is no commit with one parent.
 */
export async function commitLeftovers(
  quarantine: Quarantine,
  { task, leftovers, branch, identity, message }: LeftoversCommit,
  signal?: AbortSignal,
): Promise<Commit> {
  const sha = await quarantine.use(signal, async () => {
    const [commit] = await quarantine.known([leftovers], signal);
    const [known] = commit === undefined ? [] : await quarantine.commits([commit], signal);
    const parent = known?.parents[0];
    if (known === undefined || parent === undefined || known.parents.length !== 1) throw notThere();
    const options = quarantine.options(signal);
    const made = await git(['commit-tree', '-p', parent, '-F', '-', `${leftovers}^{tree}`], {
      ...options,
      input: message,
      env: {
        GIT_AUTHOR_NAME: name(identity),
        GIT_AUTHOR_EMAIL: identity.email,
        GIT_COMMITTER_NAME: name(identity),
        GIT_COMMITTER_EMAIL: identity.email,
      },
    });
    return made.stdout.toString().trim();
  });
  await quarantine.keepTips(task, [{ sha, branch }], signal);
  const [commit] = await quarantine.commits([sha], signal);
  if (commit === undefined) throw new Error(`The commit ${sha} that was just made is not there`);
  return { ...commit, branch };
}

/** Git makes no commit of nobody's. */
function name({ name: said }: Identity): string {
  return said.trim() === '' ? 'Sallyport' : said;
}

function notThere(): SallyportError {
  return new SallyportError(
    'conflict',
    'What the agent left uncommitted is not in the quarantine.',
    'Wait until it is imported; if it was refused, the log of the task says why.',
  );
}
