import { randomBytes } from 'node:crypto';
import { access, chmod, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as z from 'zod/mini';
import { SallyportError, asSallyportError, isAbort } from '../base/errors.ts';
import { Sha, TaskId, isBranchName } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { RepositoryRef, type Snapshot } from '../protocol/task.ts';
import { encodeBundleHeader, readBundle } from './bundle.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import { commitLogArgs, parseCommitLog } from './log.ts';
import { linkObjects } from './link.ts';
import { oldDefects } from './oldDefects.ts';
import { git, gitStream, type GitOptions } from './process.ts';
import { alternate, objectKinds, receivePack, type Store } from './receive.ts';
import type { Repository } from './repository.ts';
import { whileInUse, whileUnused } from './usage.ts';

/** A commit that a task made; `branch` is where it stands at the tip of. */
export interface Tip {
  sha: string;
  branch?: string | undefined;
}

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
  limits?: TaskLimits;
  signal?: AbortSignal | undefined;
}

export interface ImportBaseOptions {
  /** Of the bundle, in bytes. */
  maxBytes: number;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** The ref under which a snapshot's bundle names its commit. */
export const snapshotRef = 'refs/sallyport/snapshot';

const defaultMaxBytes = 2 * 2 ** 30;
const defaultTimeoutMs = 120_000;
/** Longest description of commits that is read, in bytes. */
const maxLogBytes = 256 << 20;
/** What one task may bring in, in all its bundles: bytes that they take in the store, and commits with a ref. */
const taskLimits = { bytes: 8 * 2 ** 30, tips: 50_000 };
type TaskLimits = typeof taskLimits;
/** Files of a process that was killed are cleared away after this time, in milliseconds. */
const leftoverAge = 60 * 60_000;

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

  private constructor(root: string, repositoryId: string) {
    this.root = root;
    this.gitDir = join(root, `${repositoryId}.git`);
    this.objects = join(this.gitDir, 'objects');
    this.markers = join(this.gitDir, 'sallyport-usage');
  }

  /** Touches nothing: the repository is made when something is brought in. */
  static open(root: string, repositoryId: string): Quarantine {
    return new Quarantine(root, check(RepositoryRef.shape.id, repositoryId, 'repository id'));
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
      const theirs = join(repository.commonDir, 'objects');
      // Links bring in what is in the store itself; what it borrows from others has to be copied.
      const borrows =
        (await readFile(join(theirs, 'info', 'alternates'), 'utf8').catch(() => '')).trim() !== '';
      if (bases.length === 0 && !borrows) {
        await linkObjects(theirs, this.objects, signal);
      }
      if (!(await this.has(`${repository.head}^{tree}`, signal)) || bases.length > 0) {
        await this.copyFrom(theirs, repository.head, bases, signal);
      }
      await this.keep(repository.head, signal);
    });
  }

  /** Keeps a commit as something that tasks start from. */
  async keep(sha: string, signal?: AbortSignal): Promise<void> {
    await git(['update-ref', `refs/bases/${check(Sha, sha, 'object name')}`, sha], this.options(signal));
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
    for (const sha of [by, ...shas]) check(Sha, sha, 'object name');
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
    check(Sha, oid, 'object name');
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
  async *snapshotBundle(
    snapshot: Pick<Snapshot, 'commit'> & { uncommitted?: string | undefined },
    signal?: AbortSignal,
  ): ByteStream {
    const commit = check(Sha, snapshot.commit, 'object name');
    const more = snapshot.uncommitted === undefined ? [] : [check(Sha, snapshot.uncommitted, 'object name')];
    yield encodeBundleHeader({ prerequisites: [], refs: [{ sha: commit, name: snapshotRef }] });
    const revisions = [commit, ...more].map((line) => `${line}\n`).join('');
    yield* this.pack(revisions, ['--window=0'], [['pack.compression', '1']], signal);
  }

  /** The same for a way that is long: as small as can be, without what the commits of `have` reach. All of them must be here. */
  async *thinSnapshotBundle(
    snapshot: Pick<Snapshot, 'commit'>,
    have: readonly string[],
    signal?: AbortSignal,
  ): ByteStream {
    const commit = check(Sha, snapshot.commit, 'object name');
    const prerequisites = have.map((sha) => check(Sha, sha, 'object name'));
    yield encodeBundleHeader({ prerequisites, refs: [{ sha: commit, name: snapshotRef }] });
    const revisions = [commit, ...prerequisites.map((sha) => `^${sha}`)].map((line) => `${line}\n`).join('');
    yield* this.pack(revisions, ['--thin'], [], signal);
  }

  /**
   * Commits that a receiver may have of a snapshot's history, newest first and ever further apart: at most 1000, the
   * snapshot itself among them.
   */
  async landmarks(snapshot: Pick<Snapshot, 'commit'>, signal?: AbortSignal): Promise<string[]> {
    const commit = check(Sha, snapshot.commit, 'object name');
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
    const id = check(TaskId, taskId, 'task id');
    const { tips, timeoutMs = defaultTimeoutMs, limits = taskLimits, signal } = options;
    for (const { sha } of tips) check(Sha, sha, 'object name');
    try {
      return await this.use(signal, async () => {
        const { header, pack } = await readBundle(bundle, options.maxHeaderBytes);
        const named = new Set(header.refs.map((ref) => ref.sha));
        const brought = tips.filter((tip) => named.has(tip.sha));
        const used = await this.usedBy(id);
        let size = 0;
        try {
          if (used.bytes >= limits.bytes)
            throw new Error(`the task has brought in ${used.bytes} bytes already, and no more are allowed`);
          if (used.tips + brought.length > limits.tips)
            throw new Error(`the task has made more than ${limits.tips} commits`);
          await this.checkPrerequisites(header.prerequisites, signal);
          const shas = brought.map((tip) => tip.sha);
          const maxBytes = Math.min(options.maxBytes ?? defaultMaxBytes, limits.bytes - used.bytes);
          const tolerate = options.withHistory === true ? oldDefects : [];
          size = await receivePack(this, pack, {
            strict: true,
            tolerate,
            tips: shas,
            maxBytes,
            timeoutMs,
            signal,
          });
        } finally {
          await pack.return(undefined);
        }
        await this.createRefs(id, brought, signal);
        await this.addUsed(id, { bytes: used.bytes + size, tips: used.tips + brought.length });
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
    const sha = check(Sha, commit, 'object name');
    const { maxBytes, timeoutMs, signal } = options;
    try {
      await this.use(signal, async () => {
        const { header, pack } = await readBundle(bundle);
        try {
          if (header.refs.length !== 1 || header.refs[0]?.sha !== sha)
            throw new Error(`it has to name the commit ${sha} once, and nothing else`);
          await this.checkPrerequisites(header.prerequisites, signal);
          const limits = { maxBytes, timeoutMs, signal };
          await receivePack(this, pack, { strict: true, tolerate: oldDefects, tips: [sha], ...limits });
        } finally {
          await pack.return(undefined);
        }
        await this.keep(sha, signal);
      });
    } catch (thrown) {
      throw refusal(thrown, 'The bundle was not taken in', 'Check the repository with "git fsck".');
    }
  }

  /** The commits that `to` reaches and `from` does not, newest first; at most 100,000. */
  async between(from: string, to: string, signal?: AbortSignal): Promise<string[]> {
    for (const sha of [from, to]) check(Sha, sha, 'object name');
    const { stdout } = await git(['rev-list', '--max-count=100000', to, `^${from}`], this.options(signal));
    return stdout
      .toString()
      .split('\n')
      .filter((line) => line !== '');
  }

  /** Keeps commits that are here as a task's own. */
  async keepTips(taskId: string, tips: readonly Tip[], signal?: AbortSignal): Promise<void> {
    const id = check(TaskId, taskId, 'task id');
    for (const { sha } of tips) check(Sha, sha, 'object name');
    await this.use(signal, () => this.createRefs(id, tips, signal));
  }

  /** Those of the commits that are here. */
  async known(shas: readonly string[], signal?: AbortSignal): Promise<string[]> {
    for (const sha of shas) check(Sha, sha, 'object name');
    if (!(await this.exists())) return [];
    const kinds = await objectKinds(shas, this.options(signal));
    return shas.filter((sha) => kinds.get(sha) === 'commit');
  }

  private async checkPrerequisites(shas: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const kinds = await objectKinds(shas, this.options(signal));
    const absent = shas.find((sha) => kinds.get(sha) !== 'commit');
    if (absent !== undefined) throw new Error(`it builds on commit ${absent}, which is not here`);
  }

  /** Whether the object is here. */
  async has(object: string, signal?: AbortSignal): Promise<boolean> {
    if (!(await this.exists())) return false;
    const sha = check(Sha, object.replace(/\^\{(tree|commit)\}$/, ''), 'object name');
    const name = object === sha ? `${sha}^{commit}` : object;
    return (
      (await git(['cat-file', '-e', name], { ...this.options(signal), okCodes: [0, 1, 128] })).code === 0
    );
  }

  /** What git reads of these commits, in their order. */
  async commits(shas: readonly string[], signal?: AbortSignal): Promise<Commit[]> {
    for (const sha of shas) check(Sha, sha, 'object name');
    if (shas.length === 0) return [];
    const options: GitOptions = { ...this.options(signal), bounded: true, maxBytes: maxLogBytes };
    const { stdout } = await git(commitLogArgs(shas, { noWalk: true }), options);
    return parseCommitLog(stdout);
  }

  /** Every ref of a task. */
  async tips(taskId: string, signal?: AbortSignal): Promise<{ sha: string; ref: string }[]> {
    return await this.refs(`refs/tasks/${check(TaskId, taskId, 'task id')}/`, signal);
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
    for (const sha of have) check(Sha, sha, 'object name');
    const kinds = await objectKinds(have, this.options(signal));
    const known = have.filter((sha) => kinds.get(sha) === 'commit');
    const revisions = [...tips.map((tip) => tip.sha), ...known.map((sha) => `^${sha}`)]
      .map((line) => `${line}\n`)
      .join('');
    const { stdout } = await git(['rev-list', '--boundary', '--stdin'], {
      ...this.options(signal),
      input: revisions,
    });
    const listed = stdout.toString().split('\n');
    // A tip that the receiver has already is no boundary of anything, but the receiver must have it all the same.
    const fresh = new Set(listed);
    const prerequisites = new Set([
      ...listed.filter((line) => line.startsWith('-')).map((line) => line.slice(1)),
      ...known.filter((sha) => tips.some((tip) => tip.sha === sha && !fresh.has(sha))),
    ]);
    const refs = tips.map(({ sha, ref }) => ({ sha, name: ref }));
    yield encodeBundleHeader({ prerequisites: [...prerequisites], refs });
    yield* this.pack(revisions, ['--thin'], [], signal);
  }

  /** Forgets what a task made, and what its review did. Its objects go with the next `prune`. */
  async removeTask(taskId: string, signal?: AbortSignal): Promise<void> {
    const refs = [
      ...(await this.tips(taskId, signal)),
      ...(await this.refs(`refs/reviews/${taskId}/`, signal)),
    ];
    await rm(this.usedPath(taskId), { force: true });
    if (refs.length > 0)
      await this.updateRefs(
        refs.map(({ ref }) => `delete ${ref}`),
        signal,
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
        if (gone.length > 0)
          await this.updateRefs(
            gone.map((sha) => `delete refs/bases/${sha}`),
            signal,
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
    const options: GitOptions = { gitDir: repository.gitDir, cwd: repository.workTree, mode: 'user', signal };
    const [counted, listed, bases] = await Promise.all([
      git(['count-objects', '-v'], options),
      git(['ls-tree', '-r', '-z', '--long', 'HEAD'], options),
      this.bases(signal),
    ]);
    let tree = 0;
    for (const entry of listed.stdout.toString('latin1').split('\0')) {
      tree += Number(/^\S+ \S+ \S+ +(\d+)\t/.exec(entry)?.[1] ?? 0);
    }
    // The history is brought in once.
    const history = bases.length > 0 ? 0 : kibibytes(counted.stdout.toString());
    return history + 2 * tree;
  }

  private usedPath(taskId: string): string {
    return join(this.gitDir, 'sallyport-used', taskId);
  }

  /** What a task has brought in so far. Only who attends to the task writes it. */
  private async usedBy(taskId: string): Promise<TaskLimits> {
    const text = await readFile(this.usedPath(taskId), 'utf8').catch(() => '');
    const [bytes = '', tips = ''] = text.split(' ');
    return { bytes: Number.parseInt(bytes) || 0, tips: Number.parseInt(tips) || 0 };
  }

  private async addUsed(taskId: string, used: TaskLimits): Promise<void> {
    const path = this.usedPath(taskId);
    await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
    await writeFile(`${path}.new`, `${used.bytes} ${used.tips}\n`);
    await rename(`${path}.new`, path);
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
    const { stdout } = await git(
      ['for-each-ref', '--format=%(objectname) %(refname)', prefix],
      this.options(signal),
    );
    const lines = stdout.toString().split('\n');
    return lines
      .filter((line) => line !== '')
      .map((line) => ({ sha: line.slice(0, 40), ref: line.slice(41) }));
  }

  /** Copies a commit's history out of a store of the user's, reading its objects only: no program of it is run. */
  private async copyFrom(
    objects: string,
    head: string,
    bases: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const packing = gitStream(['pack-objects', '--revs', '--stdout', '--thin', '--delta-base-offset', '-q'], {
      ...this.options(signal),
      env: alternate(objects),
      input: [head, ...bases.map((sha) => `^${sha}`)].map((line) => `${line}\n`).join(''),
    });
    // Not strict: the user's history may hold defects of old tools, and is the user's.
    await receivePack(this, packing.stdout, { strict: false, tips: [head], signal });
  }

  private async *pack(
    revisions: string,
    args: readonly string[],
    config: readonly (readonly [string, string])[],
    signal: AbortSignal | undefined,
  ): ByteStream {
    const packing = gitStream(['pack-objects', '--revs', '--stdout', '--delta-base-offset', '-q', ...args], {
      ...this.options(signal),
      config,
      input: revisions,
    });
    yield* packing.stdout;
  }

  private async createRefs(id: string, tips: readonly Tip[], signal: AbortSignal | undefined): Promise<void> {
    const heads = new Map<string, string>();
    for (const { sha, branch } of tips) {
      // The commit is kept in any case; a branch is only a name for people, and one may not be a folder of another.
      if (branch === undefined || !isBranchName(branch)) continue;
      if (![...heads.keys()].some((other) => collide(other, branch))) heads.set(branch, sha);
    }
    const prefix = `refs/tasks/${id}/heads/`;
    const old = (await this.refs(prefix, signal)).map(({ ref }) => ref.slice(prefix.length));
    const inTheWay = old.filter((name) => [...heads.keys()].some((branch) => collide(name, branch)));
    if (inTheWay.length > 0)
      await this.updateRefs(
        inTheWay.map((name) => `delete ${prefix}${name}`),
        signal,
      );
    await this.updateRefs(
      [
        ...tips.map(({ sha }) => `update refs/tasks/${id}/commits/${sha} ${sha}`),
        ...[...heads].map(([branch, sha]) => `update ${prefix}${branch} ${sha}`),
      ],
      signal,
    );
  }

  private async updateRefs(commands: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const input = commands.map((line) => `${line}\n`).join('');
    await git(['update-ref', '--stdin'], { ...this.options(signal), input });
  }
}

function collide(a: string, b: string): boolean {
  return a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}

function check<T>(schema: z.ZodMiniType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new SallyportError('invalid_input', `Not a valid ${what}: ${JSON.stringify(value)}.`, 'Report this.');
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

/** What stands for the user when an import fails: what went wrong with the bundle, or what is wrong with the machine. */
function refusal(thrown: unknown, what: string, mend: string): SallyportError {
  if (thrown instanceof SallyportError && thrown.code !== 'git_failed') return thrown;
  if (typeof (thrown as NodeJS.ErrnoException).code === 'string' && !(thrown instanceof SallyportError)) {
    return asSallyportError(thrown);
  }
  const raw = thrown instanceof Error ? thrown.message : String(thrown);
  const message = /attempting to allocate|out of memory/i.test(raw)
    ? 'one of its objects would take more memory than is allowed.'
    : raw;
  return new SallyportError(
    'import_refused',
    `${what}: ${message}`,
    `Nothing of it is in the quarantine. ${mend}`,
    { cause: thrown },
  );
}

function kibibytes(counted: string): number {
  const values = [...counted.matchAll(/^(?:size|size-pack): (\d+)$/gm)].map((match) => Number(match[1]));
  return values.reduce((sum, value) => sum + value, 0) * 1024;
}

async function clearLeftovers(folder: string, pattern: RegExp): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((each) => pattern.test(each))) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > leftoverAge)
      await rm(path, { recursive: true, force: true });
  }
}
