import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Disposable } from '../base/disposable.ts';
import { git } from '../git/process.ts';
import { commitLogArgs, parseCommitLog } from '../git/log.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import { existingCommits } from './bundle.ts';
import { ReflogReader, names, type ReflogEntry } from './reflog.ts';
import { RefWatch } from './refWatch.ts';

/** A commit writes several files at once; they are looked at together. Milliseconds. */
const debounceMs = 4;
/** Pause between two looks, in milliseconds: a burst of commits is not to lose half of the machine to us. */
const pauseMs = 25;
/** How often is looked without a sign, in milliseconds; and how often where the kernel gives no signs. */
const pollMs = 2000;
const pollUnwatchedMs = 200;
/** How many known tips a walk is told to stop at. */
const maxFrontier = 400;
/** How many new tips one walk starts from. */
const maxTips = 5000;

/**
 * Announces every commit that appears in a repository, on any branch, on a detached HEAD, and those that were amended
 * away again; parents first, each once.
 */
export class CommitWatch implements Disposable {
  private readonly folder: string;
  private readonly gitDir: string;
  private readonly onCommits: (commits: Commit[]) => void;
  private readonly reflogs: ReflogReader;
  private readonly refs: RefWatch;
  /** Tips that were looked at. */
  private readonly seen: Set<string>;
  private readonly announced = new Set<string>();
  /** Known tips, newest last: a walk ends at them, so that each commit is visited about once. */
  private frontier: string[];
  private readonly start: string;
  /** Read from the reflogs, which tell it once, and not yet looked at: git can fail in between. */
  private unlooked: ReflogEntry[] = [];
  private watched = false;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private again = false;
  private disposed = false;
  private dueAt = Number.POSITIVE_INFINITY;
  /** When the last look ended. */
  private lookedAt = 0;

  /**
   * @param start the commit whose history is known
   * @param known further ones, the newest last
   */
  constructor(
    folder: string,
    start: string,
    onCommits: (commits: Commit[]) => void,
    known: readonly string[] = [],
  ) {
    this.folder = folder;
    this.gitDir = join(folder, '.git');
    this.start = start;
    this.onCommits = onCommits;
    this.reflogs = new ReflogReader(this.gitDir);
    this.refs = new RefWatch(this.gitDir, () =>
      this.schedule(Math.max(debounceMs, this.lookedAt + pauseMs - Date.now())),
    );
    this.seen = new Set([start, ...known]);
    this.frontier = known.slice(-maxFrontier);
  }

  /** Begins to watch. Commits that are there already are announced too. */
  async begin(): Promise<void> {
    await this.scan().catch(() => undefined);
    this.schedule(pollMs);
  }

  /** Looks now. Resolves when everything that was there at the time of the call is announced. */
  scan(): Promise<void> {
    this.again = true;
    this.running ??= this.scanWhileAsked().finally(() => (this.running = undefined));
    return this.running;
  }

  dispose(): void {
    this.disposed = true;
    clearTimeout(this.timer);
    this.refs.dispose();
  }

  private schedule(delay: number): void {
    const due = Date.now() + delay;
    if (this.disposed || due >= this.dueAt) return;
    clearTimeout(this.timer);
    this.dueAt = due;
    this.timer = setTimeout(() => {
      this.dueAt = Number.POSITIVE_INFINITY;
      // Git can be in the middle of something; the next look sees it.
      void this.scan()
        .catch(() => undefined)
        .finally(() => this.schedule(this.watched ? pollMs : pollUnwatchedMs));
    }, delay);
  }

  private async scanWhileAsked(): Promise<void> {
    while (this.again) {
      this.again = false;
      // New folders first: what is written into them before they are watched is then seen by the scan.
      if (!this.disposed) this.watched = await this.refs.sync();
      await this.scanOnce();
      this.lookedAt = Date.now();
    }
  }

  private async scanOnce(): Promise<void> {
    this.unlooked.push(...(await this.reflogs.read()));
    if (this.reflogs.holds) this.again = true;
    const tips = [...this.unlooked, ...(await this.readRefs())];
    const fresh = new Map<string, string | undefined>();
    for (const { sha, branch } of tips) {
      if (this.seen.has(sha)) continue;
      if (!fresh.has(sha) || fresh.get(sha) === undefined) fresh.set(sha, branch);
    }
    const candidates = [...fresh.keys()];
    for (let at = 0; at < candidates.length; at += maxTips) {
      await this.announce(candidates.slice(at, at + maxTips), fresh);
    }
    this.unlooked = [];
  }

  private async announce(candidates: string[], branches: Map<string, string | undefined>): Promise<void> {
    const there = await existingCommits(this.folder, [...candidates, ...this.frontier, this.start]);
    const tips = candidates.filter((sha) => there.has(sha));
    const stops = [this.start, ...this.frontier].filter((sha) => there.has(sha)).map((sha) => `^${sha}`);
    if (tips.length > 0) {
      const log = await git(commitLogArgs([...tips, ...stops], { reverse: true }), { cwd: this.folder });
      const commits = parseCommitLog(log.stdout).filter(({ sha }) => !this.announced.has(sha));
      for (const { sha } of commits) this.announced.add(sha);
      if (commits.length > 0) this.onCommits(withBranches(commits, branches));
    }
    for (const sha of candidates) this.seen.add(sha);
    this.frontier = [...this.frontier, ...tips].slice(-maxFrontier);
  }

  private async readRefs(): Promise<{ sha: string; branch?: string }[]> {
    const format = '%(objectname) %(*objectname) %(refname)';
    const { stdout } = await git(['for-each-ref', `--format=${format}`, 'refs/heads', 'refs/tags'], {
      cwd: this.folder,
    });
    const tips: { sha: string; branch?: string }[] = [];
    for (const line of stdout.toString('utf8').split('\n')) {
      const [name = '', peeled = '', ...rest] = line.split(' ');
      const ref = rest.join(' ');
      const sha = peeled === '' ? name : peeled;
      if (sha === '') continue;
      tips.push(ref.startsWith('refs/heads/') ? { sha, branch: ref.slice('refs/heads/'.length) } : { sha });
    }
    const worktrees = join(this.gitDir, 'worktrees');
    const owners = [this.gitDir, ...(await names(worktrees)).map((name) => join(worktrees, name))];
    for (const owner of owners) {
      const head = (await readFile(join(owner, 'HEAD'), 'latin1').catch(() => '')).trim();
      if (/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(head)) tips.push({ sha: head });
    }
    return tips;
  }
}

/**
 * Says for each commit on which branch it was made: the one whose tip it was, else that of the commit that follows it.
 * @param commits parents first
 */
export function withBranches(commits: Commit[], tips: ReadonlyMap<string, string | undefined>): Commit[] {
  const branches = new Map(tips);
  for (const { sha, parents } of commits.toReversed()) {
    const branch = branches.get(sha);
    if (branch === undefined) continue;
    for (const parent of parents) if (branches.get(parent) === undefined) branches.set(parent, branch);
  }
  return commits.map((commit) => {
    const branch = branches.get(commit.sha);
    return branch === undefined ? commit : { ...commit, branch };
  });
}
