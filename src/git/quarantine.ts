import { randomBytes } from 'node:crypto';
import { access, chmod, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SallyportError, isAbort } from '../base/errors.ts';
import { Sha, TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { RepositoryRef, type Snapshot } from '../protocol/task.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import { checked } from './checked.ts';
import { receiveBundle, refusal } from './incomingBundles.ts';
import { clearLeftovers } from './leftoverFiles.ts';
import { commitLogArgs, parseCommitLog } from './log.ts';
import { oldDefects } from './oldDefects.ts';
import { bundleOfRefs, thinBundle, wholeBundle } from './outgoingBundles.ts';
import { git, gitStream, type GitOptions } from './process.ts';
import { objectKinds, type Store } from './receive.ts';
import type { Repository } from './repository.ts';
import { keepTaskRefs, refsUnder, updateRefs, type Tip } from './taskRefs.ts';
import { checkUse, taskLimits, TaskUses, type TaskUse } from './taskUse.ts';
import { whileInUse, whileUnused } from './usage.ts';
import { bringHistory, bytesNeeded } from './usersHistory.ts';

export interface ImportOptions {
  tips: readonly Tip[];
  /** Of the bundle, in bytes. */
  maxBytes?: number;
  /** Of what stands before the pack, in bytes. */
  maxHeaderBytes?: number;
  /** What the task started from comes along, with what old histories have. */
  withHistory?: boolean;
  timeoutMs?: number;
  /** For the task as a whole: 8 GiB and 50,000 commits by default. */
  limits?: TaskUse;
  signal?: AbortSignal | undefined;
}

export interface ImportBaseOptions {
  /** Of the bundle, in bytes. */
  maxBytes: number;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

const defaultMaxBytes = 2 * 2 ** 30;
const defaultTimeoutMs = 120_000;
/** Longest description of commits that is read, in bytes. */
const maxLogBytes = 256 << 20;
/**
 * The host's own bare repository for one repository of the user's. It holds what tasks start from (`refs/bases/<sha>`)
 * and what they made (`refs/tasks/<id>/commits/<sha>`, `refs/tasks/<id>/heads/<branch>`); a review keeps what it makes itself
 * (`refs/reviews/<id>/<object>`). Safe to be used by several processes at once. Only hardened git runs in it.
 */
export class Quarantine implements Store {
  readonly gitDir: string;
  readonly objects: string;
  private readonly root: string;
  private readonly markers: string;
  private readonly uses: TaskUses;

  private constructor(root: string, repositoryId: string) {
    this.root = root;
    this.gitDir = join(root, `${repositoryId}.git`);
    this.objects = join(this.gitDir, 'objects');
    this.markers = join(this.gitDir, 'sallyport-usage');
    this.uses = new TaskUses(join(this.gitDir, 'sallyport-used'));
  }

  /** Touches nothing: the repository is made when something is brought in. */
  static open(root: string, repositoryId: string): Quarantine {
    return new Quarantine(root, checked(RepositoryRef.shape.id, repositoryId, 'repository id'));
  }

  /** Makes the repository, with mode 0700, unless it is there. */
  async create(signal?: AbortSignal): Promise<void> {
    if (await this.exists()) return;
    await mkdir(this.root, { recursive: true, mode: 0o700 });
    await clearLeftovers(this.root, /^\.new-/);
    const temporary = join(this.root, `.new-${randomBytes(8).toString('hex')}`);
    try {
      // No template: it would bring hooks, and excludes of the machine.
      await git(['init', '--bare', '--quiet', '--template=', '--initial-branch=none', temporary], { signal });
      await chmod(temporary, 0o700);
      await rename(temporary, this.gitDir);
    } catch (thrown) {
      if (!(await this.exists())) throw thrown;
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  /** Runs `work` in a quarantine that exists and is not pruned meanwhile. */
  async use<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      await this.create(signal);
      return await whileInUse(this.markers, signal, work);
    } catch (thrown) {
      throw told(thrown, signal);
    }
  }

  /** A folder for temporary files on the quarantine's volume. */
  async temporaryFolder(): Promise<string> {
    const folder = join(this.gitDir, 'sallyport-tmp', randomBytes(8).toString('hex'));
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  /** Options for git to run in this repository. */
  options(signal?: AbortSignal): GitOptions {
    return { gitDir: this.gitDir, cwd: this.gitDir, signal };
  }

  /** Brings in HEAD of the user's repository with its history, and keeps it. */
  async adopt(repository: Repository, signal?: AbortSignal): Promise<void> {
    await this.use(signal, async () => {
      const bases = await this.bases(signal);
      if (bases.includes(repository.head)) return;
      await bringHistory(this, repository, bases, signal);
      await this.keep(repository.head, signal);
    });
  }

  /** Keeps a commit as something that tasks start from. */
  async keep(sha: string, signal?: AbortSignal): Promise<void> {
    await git(['update-ref', `refs/bases/${checked(Sha, sha, 'object name')}`, sha], this.options(signal));
  }

  /** As `keep`, of a commit that may not be here: says whether it is. */
  async keepKnown(sha: string, signal?: AbortSignal): Promise<boolean> {
    return await this.use(signal, async () => {
      const isHere = (await this.known([sha], signal)).length > 0;
      if (isHere) await this.keep(sha, signal);
      return isHere;
    });
  }

  /** Whether all of these are reached from `by`, or are it. */
  async reaches(by: string, shas: readonly string[], signal?: AbortSignal): Promise<boolean> {
    for (const sha of [by, ...shas]) checked(Sha, sha, 'object name');
    if ((await this.known([by, ...shas], signal)).length <= shas.length) return false;
    const input = [...shas, `^${by}`].map((line) => `${line}\n`).join('');
    const { stdout } = await git(['rev-list', '--max-count=1', '--stdin'], {
      ...this.options(signal),
      input,
    });
    return stdout.length === 0;
  }

  /** Whether a commit, tree or file is part of one of these commits or of their history. */
  async holds(commits: readonly string[], oid: string, signal?: AbortSignal): Promise<boolean> {
    checked(Sha, oid, 'object name');
    const here = await this.known(commits, signal);
    if (here.length === 0) return false;
    const listing = gitStream(
      ['rev-list', '--objects', '--in-commit-order', '--no-object-names', '--stdin'],
      {
        ...this.options(signal),
        input: here.map((line) => `${line}\n`).join(''),
      },
    );
    let rest = '';
    for await (const chunk of listing.stdout) {
      const lines = `${rest}${Buffer.from(chunk).toString('latin1')}`.split('\n');
      rest = lines.pop() ?? '';
      if (lines.includes(oid)) return true;
    }
    return false;
  }

  /**
   * A git bundle with the full history of a snapshot. Sizes matter less than time: the way into a sandbox is short.
   * @param snapshot.uncommitted a commit that comes along without a name
   */
  snapshotBundle(
    snapshot: Pick<Snapshot, 'commit'> & { uncommitted?: string | undefined },
    signal?: AbortSignal,
  ): ByteStream {
    return wholeBundle(this.options(signal), snapshot);
  }

  /** The same for a way that is long: as small as can be, without what the commits of `have` reach. All of them must be here. */
  thinSnapshotBundle(
    snapshot: Pick<Snapshot, 'commit'>,
    have: readonly string[],
    signal?: AbortSignal,
  ): ByteStream {
    return thinBundle(this.options(signal), snapshot, have);
  }

  /**
   * Commits that a receiver may have of a snapshot's history, newest first and ever further apart: at most 1000, the
   * snapshot itself among them.
   */
  async landmarks(snapshot: Pick<Snapshot, 'commit'>, signal?: AbortSignal): Promise<string[]> {
    const commit = checked(Sha, snapshot.commit, 'object name');
    const { stdout } = await git(['rev-list', '--first-parent', commit], this.options(signal));
    const all = stdout.toString().trimEnd().split('\n');
    return all
      .filter((_, index) => index < 500 || index % 2 ** Math.ceil(Math.log2(index / 25)) === 0)
      .slice(0, 1000);
  }

  /**
   * Takes in what a task made: all of it or nothing. Everything is checked: the bundle's form, its size, every object by
   * git's fsck, and that the tips are whole. Resolves to those of the tips that the bundle names; a task can have lost
   * some meanwhile. Fails with `import_refused`.
   */
  async importBundle(taskId: string, bundle: ByteStream, options: ImportOptions): Promise<string[]> {
    const id = checked(TaskId, taskId, 'task id');
    const { tips, timeoutMs = defaultTimeoutMs, limits = taskLimits, signal } = options;
    for (const { sha } of tips) checked(Sha, sha, 'object name');
    try {
      return await this.use(signal, async () => {
        const used = await this.uses.of(id);
        let brought: Tip[] = [];
        const size = await receiveBundle(this, bundle, {
          maxHeaderBytes: options.maxHeaderBytes,
          expect: ({ refs }) => {
            const named = new Set(refs.map((ref) => ref.sha));
            brought = tips.filter((tip) => named.has(tip.sha));
            checkUse(used, brought.length, limits);
            return {
              strict: true,
              tolerate: options.withHistory === true ? oldDefects : [],
              tips: brought.map((tip) => tip.sha),
              maxBytes: Math.min(options.maxBytes ?? defaultMaxBytes, limits.bytes - used.bytes),
              timeoutMs,
              signal,
            };
          },
        });
        await keepTaskRefs(this.options(signal), id, brought);
        await this.uses.set(id, { bytes: used.bytes + size, tips: used.tips + brought.length });
        return brought.map((tip) => tip.sha);
      });
    } catch (thrown) {
      throw refusal(
        thrown,
        'What the sandbox sent was not taken in',
        'The log of the task shows what the agent did.',
      );
    }
  }

  /**
   * Takes in a commit that tasks are to start from, with its history, out of a bundle that somebody sent, and keeps it.
   * All of it or nothing; checked as `importBundle` checks, but for what old histories have. The bundle names this commit and no
   * other. Fails with `import_refused`.
   */
  async importBase(commit: string, bundle: ByteStream, options: ImportBaseOptions): Promise<void> {
    const sha = checked(Sha, commit, 'object name');
    const { maxBytes, timeoutMs, signal } = options;
    try {
      await this.use(signal, async () => {
        await receiveBundle(this, bundle, {
          expect: ({ refs }) => {
            if (refs.length !== 1 || refs[0]?.sha !== sha)
              throw new Error(`it has to name the commit ${sha} once, and nothing else`);
            return { strict: true, tolerate: oldDefects, tips: [sha], maxBytes, timeoutMs, signal };
          },
        });
        await this.keep(sha, signal);
      });
    } catch (thrown) {
      throw refusal(thrown, 'The bundle was not taken in', 'Check the repository with "git fsck".');
    }
  }

  /** The commits that `to` reaches and `from` does not, newest first; at most 100,000. */
  async between(from: string, to: string, signal?: AbortSignal): Promise<string[]> {
    for (const sha of [from, to]) checked(Sha, sha, 'object name');
    const { stdout } = await git(['rev-list', '--max-count=100000', to, `^${from}`], this.options(signal));
    return stdout
      .toString()
      .split('\n')
      .filter((line) => line !== '');
  }

  /** Keeps commits that are here as a task's own. */
  async keepTips(taskId: string, tips: readonly Tip[], signal?: AbortSignal): Promise<void> {
    const id = checked(TaskId, taskId, 'task id');
    for (const { sha } of tips) checked(Sha, sha, 'object name');
    await this.use(signal, () => keepTaskRefs(this.options(signal), id, tips));
  }

  /** Those of the commits that are here. */
  async known(shas: readonly string[], signal?: AbortSignal): Promise<string[]> {
    for (const sha of shas) checked(Sha, sha, 'object name');
    if (!(await this.exists())) return [];
    const kinds = await objectKinds(shas, this.options(signal));
    return shas.filter((sha) => kinds.get(sha) === 'commit');
  }

  /** Whether the object is here. */
  async has(object: string, signal?: AbortSignal): Promise<boolean> {
    if (!(await this.exists())) return false;
    const sha = checked(Sha, object.replace(/\^\{(tree|commit)\}$/, ''), 'object name');
    const name = object === sha ? `${sha}^{commit}` : object;
    return (
      (await git(['cat-file', '-e', name], { ...this.options(signal), okCodes: [0, 1, 128] })).code === 0
    );
  }

  /** What git reads of these commits, in their order. */
  async commits(shas: readonly string[], signal?: AbortSignal): Promise<Commit[]> {
    for (const sha of shas) checked(Sha, sha, 'object name');
    if (shas.length === 0) return [];
    const options: GitOptions = { ...this.options(signal), bounded: true, maxBytes: maxLogBytes };
    const { stdout } = await git(commitLogArgs(shas, { noWalk: true }), options);
    return parseCommitLog(stdout);
  }

  /** Every ref of a task. */
  async tips(taskId: string, signal?: AbortSignal): Promise<{ sha: string; ref: string }[]> {
    return await this.refs(`refs/tasks/${checked(TaskId, taskId, 'task id')}/`, signal);
  }

  /** A git bundle of all refs of a task, without what `have` reaches. */
  async *bundle(taskId: string, have: readonly string[], signal?: AbortSignal): ByteStream {
    const tips = await this.tips(taskId, signal);
    if (tips.length === 0) {
      throw new SallyportError(
        'task_unknown',
        `Task ${taskId} has no commit here.`,
        'Wait until it has made one.',
      );
    }
    yield* bundleOfRefs(this.options(signal), tips, have);
  }

  /** Forgets what a task made, and what its review did. Its objects go with the next `prune`. */
  async removeTask(taskId: string, signal?: AbortSignal): Promise<void> {
    const refs = [
      ...(await this.tips(taskId, signal)),
      ...(await this.refs(`refs/reviews/${taskId}/`, signal)),
    ];
    await this.uses.forget(taskId);
    if (refs.length === 0) return;
    await updateRefs(
      this.options(signal),
      refs.map(({ ref }) => `delete ${ref}`),
    );
  }

  /**
   * Deletes the objects that no ref reaches, and what killed processes left; packs the rest. Does nothing while objects
   * are being added: says whether it ran.
   * @param keepBases the bases to keep, besides those that tasks reach; all of them by default
   */
  async prune(keepBases?: readonly string[], signal?: AbortSignal): Promise<boolean> {
    if (!(await this.exists())) return true;
    return await whileUnused(this.markers, async () => {
      if (keepBases !== undefined) {
        const gone = (await this.bases(signal)).filter((sha) => !keepBases.includes(sha));
        await updateRefs(
          this.options(signal),
          gone.map((sha) => `delete refs/bases/${sha}`),
        );
      }
      const options: GitOptions = { ...this.options(signal), config: [['repack.writeBitmaps', 'false']] };
      await git(['pack-refs', '--all', '--prune'], options);
      await git(['repack', '-a', '-d', '-n', '--quiet'], options);
      await git(['prune', '--expire=now'], options);
      await clearLeftovers(join(this.gitDir, 'sallyport-tmp'), /./);
    });
  }

  /** Upper estimate of what a snapshot of the repository takes here, in bytes. */
  async diskNeeded(repository: Repository, signal?: AbortSignal): Promise<number> {
    return await bytesNeeded(repository, (await this.bases(signal)).length > 0, signal);
  }

  private async exists(): Promise<boolean> {
    return await access(join(this.gitDir, 'HEAD')).then(
      () => true,
      () => false,
    );
  }

  /** The commits that tasks start from. */
  async bases(signal?: AbortSignal): Promise<string[]> {
    return (await this.refs('refs/bases/', signal)).map(({ sha }) => sha);
  }

  private async refs(
    prefix: string,
    signal: AbortSignal | undefined,
  ): Promise<{ sha: string; ref: string }[]> {
    if (!(await this.exists())) return [];
    return await refsUnder(this.options(signal), prefix);
  }
}

/** Says what cannot be helped here in the user's terms. */
function told(thrown: unknown, signal: AbortSignal | undefined): unknown {
  if (thrown instanceof SallyportError) return thrown;
  if (signal?.aborted === true || isAbort(thrown)) {
    return new SallyportError('cancelled', 'Cancelled.', 'Start it again when you like.', { cause: thrown });
  }
  const code = (thrown as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new SallyportError('disk_full', 'The disk is full.', 'Free some space and try again.', {
      cause: thrown,
    });
  }
  return thrown;
}
