import { copyFile, rm, stat, statfs as fsStatfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import type { Identity, Snapshot, SnapshotMode } from '../protocol/task.ts';
import { git, gitStream, type GitOptions } from './process.ts';
import type { Quarantine } from './quarantine.ts';
import { objectKinds, receivePack } from './receive.ts';
import { readHead, refuseOperation, type Repository } from './repository.ts';

export type Statfs = (path: string) => Promise<{ bavail: number; bsize: number }>;

/** The author of a snapshot whose user has not told git a name; it never leaves the machine by itself. */
const nobody: Identity = { name: 'Sallyport', email: 'sallyport@localhost' };

/**
 * Makes the commit that a task starts from, in the quarantine, and keeps it there. Reads the user's repository and
 * writes nothing to it: an own copy of the index is worked on, and new objects go to the quarantine. Only the time of an object file that both share by a hard link may be
 * renewed, by git itself. Ignored files never enter. Fails with `repository_too_large`, `operation_in_progress`, `disk_full` and what git fails with.
 */
export async function takeSnapshot(
  repository: Repository,
  quarantine: Quarantine,
  mode: SnapshotMode,
  signal?: AbortSignal,
  options: { statfs?: Statfs } = {},
): Promise<Snapshot> {
  const { workTree, gitDir } = repository;
  const theirs: GitOptions = { mode: 'user', cwd: workTree, gitDir, workTree, signal };
  const head = await readHead(theirs, workTree);
  if (mode !== 'head') await refuseOperation(theirs, gitDir);
  await quarantine.create(signal);
  await checkSpace(repository, quarantine, options.statfs ?? fsStatfs, signal);
  await quarantine.adopt({ ...repository, head }, signal);
  const snapshot = (commit: string): Snapshot => ({
    mode,
    commit,
    head,
    ...(repository.headBranch === undefined ? {} : { headBranch: repository.headBranch }),
  });
  if (mode === 'head') return snapshot(head);

  return await quarantine.use(signal, async () => {
    const folder = await quarantine.temporaryFolder();
    try {
      const index = join(folder, 'index');
      await copyIndex(join(gitDir, 'index'), index);
      const writing: GitOptions = {
        ...theirs,
        env: { GIT_INDEX_FILE: index, GIT_OBJECT_DIRECTORY: quarantine.objects },
      };
      await bringStaged(repository, quarantine, writing);
      await git(['add', '--update'], writing);
      if (mode === 'untracked') await addUntracked(writing);
      const tree = line(await git(['write-tree'], writing));
      if (tree === line(await git(['rev-parse', `${head}^{tree}`], quarantine.options(signal))))
        return snapshot(head);
      const commit = await commitTree(quarantine, tree, head, repository.identity ?? nobody, signal);
      await quarantine.keep(commit, signal);
      return snapshot(commit);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

/**
 * Copies the index with its time. Git takes a file that is as old as the index for possibly changed; a younger copy
 * would make it miss an edit of the same size in the same moment. Rounded down, because an older one only costs time.
 */
async function copyIndex(from: string, to: string): Promise<void> {
  try {
    const { mtimeMs } = await stat(from);
    await copyFile(from, to);
    const seconds = Math.floor(mtimeMs) / 1000;
    await utimes(to, seconds, seconds);
  } catch (thrown) {
    // A repository without an index is one where everything is about to be deleted, and git takes it as such.
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
  }
}

/** Brings in the blobs that the index names and HEAD's history does not have. */
async function bringStaged(
  repository: Repository,
  quarantine: Quarantine,
  writing: GitOptions,
): Promise<void> {
  const args = [
    'diff-index',
    '--cached',
    '--raw',
    '-z',
    '--no-abbrev',
    '--no-renames',
    '--ignore-submodules=none',
    'HEAD',
  ];
  const { stdout } = await git(args, writing);
  const blobs = new Set<string>();
  for (const field of stdout.toString('latin1').split('\0')) {
    const [, mode, blob] = /^:[0-7]{6} ([0-7]{6}) [0-9a-f]+ ([0-9a-f]+) /.exec(field) ?? [];
    if (blob !== undefined && mode !== '160000' && !/^0+$/.test(blob)) blobs.add(blob);
  }
  const here = await objectKinds([...blobs], quarantine.options(writing.signal));
  const missing = [...blobs].filter((blob) => !here.has(blob));
  if (missing.length === 0) return;
  const packing = gitStream(['pack-objects', '--stdout', '-q', '--window=0'], {
    gitDir: repository.commonDir,
    signal: writing.signal,
    input: missing.map((blob) => `${blob}\n`).join(''),
  });
  await receivePack(quarantine, packing.stdout, { strict: false, tips: [], signal: writing.signal });
}

async function addUntracked(writing: GitOptions): Promise<void> {
  const { stdout } = await git(['ls-files', '--others', '--exclude-standard', '-z'], writing);
  if (stdout.length === 0) return;
  // A repository inside this one is listed as a folder, which update-index passes over: its content is not this one's
  // to give.
  await git(['update-index', '--add', '-z', '--stdin'], { ...writing, input: stdout });
}

async function commitTree(
  quarantine: Quarantine,
  tree: string,
  parent: string,
  { name, email }: Identity,
  signal: AbortSignal | undefined,
): Promise<string> {
  const args = ['commit-tree', '-p', parent, '-m', 'Sallyport snapshot: uncommitted changes', tree];
  const made = await git(args, {
    ...quarantine.options(signal),
    env: {
      GIT_AUTHOR_NAME: name,
      GIT_AUTHOR_EMAIL: email,
      GIT_COMMITTER_NAME: name,
      GIT_COMMITTER_EMAIL: email,
    },
  });
  return line(made);
}

async function checkSpace(
  repository: Repository,
  quarantine: Quarantine,
  statfs: Statfs,
  signal: AbortSignal | undefined,
): Promise<void> {
  const [needed, space] = await Promise.all([
    quarantine.diskNeeded(repository, signal),
    statfs(quarantine.gitDir),
  ]);
  const free = space.bavail * space.bsize;
  if (needed <= free) return;
  throw new SallyportError(
    'repository_too_large',
    `A copy of ${repository.ref.name} may need ${megabytes(needed)}, and only ${megabytes(free)} are free where Sallyport keeps its data.`,
    `Free some space on the volume of ${quarantine.gitDir} and try again.`,
  );
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6).toLocaleString('en')} MB`;
}

function line(result: { stdout: Buffer }): string {
  return result.stdout.toString().trim();
}
