import { createHash } from 'node:crypto';
import { access, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { Sha } from '../protocol/grammar.ts';
import type { Identity, RepositoryRef } from '../protocol/task.ts';
import { git, type GitOptions, type GitResult } from './process.ts';

/** A repository of the user's, as it was when it was looked at. */
export interface Repository {
  ref: RepositoryRef;
  /** Absolute paths. In a linked worktree `gitDir` is the worktree's own and `commonDir` the repository's. */
  workTree: string;
  gitDir: string;
  commonDir: string;
  /** The commit that HEAD names. */
  head: string;
  /** Short name of the branch, or undefined for a detached HEAD. */
  headBranch?: string;
  /** Who commits here, by the user's configuration; undefined unless both parts are set. */
  identity?: Identity;
  /** Submodules and large files stay at home: the sandbox sees a commit name, or a pointer file. */
  hasSubmodules: boolean;
  usesLfs: boolean;
}

/** The oldest git whose safety settings all work: GIT_CONFIG_GLOBAL came with it. */
const oldestGit = [2, 32] as const;

/**
 * Looks at the repository that `path` is in. Fails with `no_repository`, `bare_repository`, `no_commit`,
 * `operation_in_progress`, `unsupported_repository` or `git_missing`.
 * @param options `duringOperation` allows a repository in the middle of a merge or a rebase
 */
export async function openRepository(
  path: string,
  signal?: AbortSignal,
  options: { duringOperation?: boolean } = {},
): Promise<Repository> {
  if (!(await isFolder(path))) {
    throw new SallyportError('no_repository', `There is no folder ${path}.`, 'Open a folder that exists.');
  }
  const at: GitOptions = { mode: 'user', cwd: path, signal };
  await checkVersion(at);
  const bare = await git(['rev-parse', '--is-bare-repository', '--is-inside-work-tree'], at).catch(
    (thrown: unknown) => {
      throw notOpened(path, thrown);
    },
  );
  const [isBare, inWorkTree] = bare.stdout.toString().split('\n');
  if (isBare === 'true') {
    throw new SallyportError(
      'bare_repository',
      `${path} is a bare repository: it has no files to work on.`,
      'Clone it, and open the clone.',
    );
  }
  if (inWorkTree !== 'true') {
    throw new SallyportError(
      'no_repository',
      `${path} lies inside a .git folder.`,
      'Open the folder above it.',
    );
  }
  const [workTree, gitDir, commonDir] = await Promise.all([
    pathOf('--show-toplevel', at),
    pathOf('--absolute-git-dir', at),
    pathOf('--git-common-dir', at),
  ]);
  const inside: GitOptions = { mode: 'user', cwd: workTree, gitDir, workTree, signal };
  const [config, format] = await Promise.all([
    readConfig(inside),
    git(['rev-parse', '--show-object-format'], inside).then(firstLine),
  ]);
  if (config.partial) {
    throw new SallyportError(
      'unsupported_repository',
      `${workTree} is a partial clone: part of its history is not on this machine.`,
      'Clone it again without --filter.',
    );
  }
  if (await exists(join(commonDir, 'shallow'))) {
    throw new SallyportError(
      'unsupported_repository',
      `${workTree} is a shallow clone: its history is cut off.`,
      'Run "git fetch --unshallow" and try again.',
    );
  }
  if (format !== 'sha1') {
    throw new SallyportError(
      'unsupported_repository',
      `${workTree} names its objects with ${format}, which Sallyport does not support.`,
      'Use a repository with SHA-1 object names.',
    );
  }
  const head = await readHead(inside, workTree);
  if (options.duringOperation !== true) await refuseOperation(inside, gitDir);
  const [branch, submodules, usesLfs, id] = await Promise.all([
    git(['symbolic-ref', '--quiet', '--short', 'HEAD'], { ...inside, okCodes: [0, 1] }),
    git(['cat-file', '-e', 'HEAD:.gitmodules'], { ...inside, okCodes: [0, 1, 128] }),
    findLfs(inside),
    repositoryId(commonDir),
  ]);
  return {
    ref: { id, name: basename(workTree), path: workTree },
    workTree,
    gitDir,
    commonDir,
    head,
    ...(branch.code === 0 ? { headBranch: firstLine(branch) } : {}),
    ...(config.identity === undefined ? {} : { identity: config.identity }),
    hasSubmodules: submodules.code === 0,
    usesLfs,
  };
}

/** The commit that HEAD names now. */
export async function readHead(options: GitOptions, workTree: string): Promise<string> {
  const found = await git(['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'], {
    ...options,
    okCodes: [0, 1, 128],
  });
  const head = Sha.safeParse(firstLine(found));
  if (found.code === 0 && head.success) return head.data;
  throw new SallyportError(
    'no_commit',
    `${workTree} has no commit yet.`,
    'Make a first commit ("git commit --allow-empty -m Start" is enough) and try again.',
  );
}

/** Refuses a repository in the middle of something: its tree is a mixture that nobody wants an agent to start from. */
export async function refuseOperation(options: GitOptions, gitDir: string): Promise<void> {
  const operations: [file: string, name: string, abort: string][] = [
    ['MERGE_HEAD', 'A merge', 'git merge'],
    ['rebase-merge', 'A rebase', 'git rebase'],
    ['rebase-apply', 'A rebase', 'git rebase'],
    ['CHERRY_PICK_HEAD', 'A cherry-pick', 'git cherry-pick'],
    ['REVERT_HEAD', 'A revert', 'git revert'],
  ];
  for (const [file, name, program] of operations) {
    if (await exists(join(gitDir, file))) {
      throw new SallyportError(
        'operation_in_progress',
        `${name} is in progress.`,
        `Finish it, or end it with "${program} --abort", and try again.`,
      );
    }
  }
  const unmerged = await git(['ls-files', '--unmerged', '-z'], options);
  if (unmerged.stdout.length > 0) {
    throw new SallyportError(
      'operation_in_progress',
      'Some files have conflicts that are not resolved.',
      'Resolve them ("git status" lists them), "git add" them, and try again.',
    );
  }
}

/** Stable for all worktrees of a repository: its name made plain, and a hash of where it is. */
async function repositoryId(commonDir: string): Promise<string> {
  const place = await realpath(commonDir);
  const name = basename(place) === '.git' ? basename(dirname(place)) : basename(place, '.git');
  const slug = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replaceAll(/^-+|-+$/g, '');
  const hash = createHash('sha256').update(place).digest('hex').slice(0, 16);
  return slug === '' ? hash : `${slug}-${hash}`;
}

async function checkVersion(options: GitOptions): Promise<void> {
  const version = firstLine(await git(['version'], options));
  const found = /(\d+)\.(\d+)/.exec(version);
  const [major, minor] = [Number(found?.[1] ?? 0), Number(found?.[2] ?? 0)];
  if (major > oldestGit[0] || (major === oldestGit[0] && minor >= oldestGit[1])) return;
  throw new SallyportError(
    'git_missing',
    `This machine has ${version}; Sallyport needs git ${oldestGit.join('.')} or newer.`,
    'Install a newer git and try again.',
  );
}

async function pathOf(what: string, options: GitOptions): Promise<string> {
  const { stdout } = await git(['rev-parse', '--path-format=absolute', what], options);
  return stdout.toString().replace(/\n$/, '');
}

async function readConfig(options: GitOptions): Promise<{ partial: boolean; identity?: Identity }> {
  const pattern =
    '^((user|author)\\.(name|email)|extensions\\.partialclone|remote\\..*\\.(promisor|partialclonefilter))$';
  const { stdout } = await git(['config', '-z', '--get-regexp', pattern], { ...options, okCodes: [0, 1] });
  const values = new Map<string, string>();
  let partial = false;
  for (const entry of stdout.toString().split('\0')) {
    const [key = '', ...value] = entry.split('\n');
    values.set(key, value.join('\n'));
    if (/^extensions\.|^remote\./.test(key) && value.join('\n') !== 'false') partial = true;
  }
  const name = values.get('author.name') ?? values.get('user.name') ?? '';
  const email = values.get('author.email') ?? values.get('user.email') ?? '';
  return name === '' || email === '' ? { partial } : { partial, identity: { name, email } };
}

async function findLfs(options: GitOptions): Promise<boolean> {
  const args = [
    'grep',
    '--quiet',
    '--no-textconv',
    '-F',
    '-e',
    'filter=lfs',
    'HEAD',
    '--',
    ':(glob)**/.gitattributes',
  ];
  return (await git(args, { ...options, okCodes: [0, 1] })).code === 0;
}

function notOpened(path: string, thrown: unknown): unknown {
  if (!(thrown instanceof SallyportError) || thrown.code !== 'git_failed') return thrown;
  if (/dubious ownership|unsafe repository/.test(thrown.message)) {
    return new SallyportError(
      'unsupported_repository',
      `git does not trust ${path}: the folder belongs to another user.`,
      `If you trust it, run: git config --global --add safe.directory ${JSON.stringify(path)}`,
      { cause: thrown },
    );
  }
  if (/not a git repository/i.test(thrown.message)) {
    return new SallyportError(
      'no_repository',
      `${path} is not in a git repository.`,
      'Open a folder that is, or run "git init" and make a first commit.',
      { cause: thrown },
    );
  }
  return thrown;
}

function firstLine(result: GitResult): string {
  return result.stdout.toString().split('\n', 1)[0] ?? '';
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
