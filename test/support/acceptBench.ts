import assert from 'node:assert/strict';
import { join } from 'node:path';
import { acceptTree } from '../../src/git/accept/acceptTree.ts';
import type { AcceptOptions, AcceptResult } from '../../src/git/accept/options.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { openRepository, type Repository } from '../../src/git/repository.ts';
import { takeSnapshot } from '../../src/git/snapshot.ts';
import type { AcceptTarget } from '../../src/protocol/review.ts';
import type { SnapshotMode } from '../../src/protocol/task.ts';
import { GitRepo, pieces, temporaryFolder } from './gitRepo.ts';

const task = 'abcdefghijklmno';

/** A user's repository, a sandbox's, and the quarantine between them. */
export class AcceptBench {
  readonly folder = temporaryFolder();
  readonly user: GitRepo;
  readonly sandbox: GitRepo;
  readonly journal: string;
  repository!: Repository;
  quarantine!: Quarantine;
  base!: string;

  constructor() {
    this.user = new GitRepo(join(this.folder.path, 'user'));
    this.sandbox = new GitRepo(join(this.folder.path, 'sandbox'));
    this.journal = join(this.folder.path, 'data', 'accepts');
  }

  /** Begins a task on what the user has. */
  async begin(mode: SnapshotMode = 'head'): Promise<void> {
    this.repository = await openRepository(this.user.path);
    this.quarantine = Quarantine.open(join(this.folder.path, 'data', 'q'), this.repository.ref.id);
    this.base = (await takeSnapshot(this.repository, this.quarantine, mode)).commit;
    await this.quarantine.keep(this.base);
    this.sandbox.git('fetch', '--quiet', this.quarantine.gitDir, `refs/bases/${this.base}`);
    this.sandbox.git('checkout', '--quiet', '--force', '-B', 'task', 'FETCH_HEAD');
  }

  /** Brings what the sandbox has on its branch into the quarantine; gives its commits, oldest first. */
  async end(): Promise<string[]> {
    const commits = this.sandbox
      .git('rev-list', '--topo-order', '--reverse', `${this.base}..HEAD`)
      .split('\n');
    const bundle = this.sandbox.raw(['bundle', 'create', '--quiet', '-', 'task', `^${this.base}`]);
    await this.quarantine.importBundle(task, pieces(bundle), { tips: [{ sha: commits.at(-1) ?? '' }] });
    return commits;
  }

  /** The tree of a commit of the sandbox. */
  tree(commit = 'HEAD'): string {
    return this.sandbox.git('rev-parse', `${commit}^{tree}`);
  }

  /** A tree that is not among the agent's own, brought into the quarantine. */
  async compose(tree: string): Promise<string> {
    const made = this.sandbox.git('commit-tree', '-p', this.base, '-m', 'composed', tree);
    this.sandbox.git('update-ref', 'refs/heads/composed', made);
    const bundle = this.sandbox.raw(['bundle', 'create', '--quiet', '-', 'composed', `^${this.base}`]);
    await this.quarantine.importBundle(task, pieces(bundle), { tips: [{ sha: made }] });
    return tree;
  }

  async accept(
    target: AcceptTarget,
    commits: readonly string[],
    more: Partial<AcceptOptions> = {},
  ): Promise<AcceptResult> {
    return await acceptTree({
      repository: this.repository,
      quarantine: this.quarantine,
      base: this.base,
      tree: more.tree ?? this.tree(commits.at(-1)),
      commits,
      whole: true,
      target,
      identity: { name: 'The Agent', email: 'agent@example.com' },
      journal: this.journal,
      ...more,
    });
  }

  dispose(): void {
    this.folder.dispose();
  }
}

/** What names an accept that was done. */
export function undoOf(result: AcceptResult): string {
  return result.kind === 'done' ? result.undo : assert.fail('there are conflicts');
}
