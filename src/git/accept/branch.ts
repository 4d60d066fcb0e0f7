import { join } from 'node:path';
import { SallyportError } from '../../base/errors.ts';
import { Sha, isBranchName } from '../../protocol/grammar.ts';
import { git, gitStream, type GitOptions } from '../process.ts';
import type { Quarantine } from '../quarantine.ts';
import { checkConnected, objectKinds, receivePack, type Store } from '../receive.ts';
import type { Repository } from '../repository.ts';

/**
 * Makes `refs/heads/<branch>` at `sha` in the user's repository. Nothing else of it changes but that the objects are
 * added: no hook runs, no other ref, no index, no file, no configuration. Fails with `invalid_branch`, `branch_exists`,
 * and `import_refused` when the commit is not whole.
 */
export async function acceptAsBranch(
  repository: Repository,
  quarantine: Quarantine,
  sha: string,
  branch: string,
  signal?: AbortSignal,
): Promise<void> {
  await prepareBranch(repository, quarantine, sha, branch, signal);
  const theirs = theirGit(repository, signal);
  try {
    await git(['update-ref', '-m', acceptReason, '--stdin'], {
      ...theirs,
      env: committerOf(repository),
      input: `create refs/heads/${branch} ${sha}\n`,
    });
  } catch (thrown) {
    // Someone else may have made the name in the meantime.
    await refuseTaken(theirs, branch);
    throw thrown;
  }
}

/** What the reflog says. */
export const acceptReason = 'sallyport: accepted';

/** All of `acceptAsBranch` but the branch. */
export async function prepareBranch(
  repository: Repository,
  quarantine: Quarantine,
  sha: string,
  branch: string,
  signal?: AbortSignal,
): Promise<void> {
  await checkFree(repository, branch, signal);
  if (!Sha.safeParse(sha).success || !(await quarantine.has(sha, signal))) {
    throw new SallyportError(
      'import_refused',
      `Commit ${sha} is not in the quarantine.`,
      'Wait until it is imported.',
    );
  }
  await bring(repository, quarantine.options(signal), sha, signal);
}

/** Fails with `invalid_branch` and `branch_exists`. */
export async function checkFree(repository: Repository, branch: string, signal?: AbortSignal): Promise<void> {
  if (!isBranchName(branch)) {
    throw new SallyportError(
      'invalid_branch',
      `${JSON.stringify(branch)} is not a valid branch name.`,
      'Use letters, digits, dashes and slashes.',
    );
  }
  await refuseTaken(theirGit(repository, signal), branch);
}

/** An explicit directory of the repository, hardened: neither its hooks nor the user's configuration take part. */
function theirGit({ commonDir }: Repository, signal: AbortSignal | undefined): GitOptions {
  return { gitDir: commonDir, cwd: commonDir, signal };
}

/** Brings a commit with its history into the user's repository, out of the stores that `source` reads. */
export async function bring(
  repository: Repository,
  source: GitOptions,
  sha: string,
  signal?: AbortSignal,
): Promise<void> {
  const theirs = theirGit(repository, signal);
  if ((await objectKinds([sha], theirs)).get(sha) === 'commit' && (await isWhole(sha, theirs))) return;
  const { stdout } = await git(['for-each-ref', '--format=%(objectname)', 'refs/heads/'], theirs);
  const tips = [
    ...new Set([
      repository.head,
      ...stdout
        .toString()
        .split('\n')
        .filter((line) => line !== ''),
    ]),
  ];
  const shared = await objectKinds(tips, source);
  const have = tips.filter((tip) => shared.get(tip) === 'commit');
  const packing = gitStream(['pack-objects', '--revs', '--stdout', '--thin', '--delta-base-offset', '-q'], {
    ...source,
    input: [sha, ...have.map((tip) => `^${tip}`)].map((line) => `${line}\n`).join(''),
  });
  await receivePack(storeOf(repository), packing.stdout, { strict: true, tips: [sha], signal });
}

/** Brings files' contents into the user's repository, those that are not there. */
export async function bringBlobs(
  repository: Repository,
  source: GitOptions,
  oids: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const here = await objectKinds(oids, theirGit(repository, signal));
  const missing = oids.filter((oid) => !here.has(oid));
  if (missing.length === 0) return;
  const packing = gitStream(['pack-objects', '--stdout', '-q', '--window=0'], {
    ...source,
    input: missing.map((oid) => `${oid}\n`).join(''),
  });
  await receivePack(storeOf(repository), packing.stdout, { strict: true, tips: [], signal });
}

function storeOf({ commonDir }: Repository): Store {
  return { gitDir: commonDir, objects: join(commonDir, 'objects') };
}

async function isWhole(sha: string, theirs: GitOptions): Promise<boolean> {
  try {
    await checkConnected([sha], theirs);
    return true;
  } catch (thrown) {
    if (thrown instanceof SallyportError && thrown.code === 'git_failed') return false;
    throw thrown;
  }
}

/** Fails when the branch is there, or one that is a folder of it or that it is a folder of. */
async function refuseTaken(theirs: GitOptions, branch: string): Promise<void> {
  const { stdout } = await git(['for-each-ref', '--format=%(refname)', 'refs/heads/'], theirs);
  const taken = stdout
    .toString()
    .split('\n')
    .map((ref) => ref.slice('refs/heads/'.length));
  const collides = (name: string): string | undefined =>
    taken.find((other) => other === name || other.startsWith(`${name}/`) || name.startsWith(`${other}/`));
  const other = collides(branch);
  if (other === undefined) return;
  const candidates = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((n) => [
    `${branch}-${n + 1}`,
    `${branch.replaceAll('/', '-')}-${n + 1}`,
  ]);
  const free =
    candidates.find((name) => collides(name) === undefined) ?? `${branch.replaceAll('/', '-')}-${Date.now()}`;
  throw new SallyportError(
    'branch_exists',
    other === branch
      ? `The branch ${branch} exists already.`
      : `The branch ${branch} cannot be made beside the branch ${other}.`,
    `Choose another name: ${free} is free.`,
  );
}

export function committerOf(repository: Repository): Record<string, string> {
  if (repository.identity === undefined) return {};
  return { GIT_COMMITTER_NAME: repository.identity.name, GIT_COMMITTER_EMAIL: repository.identity.email };
}
