import type { Disposable } from '../../base/disposable.ts';
import type { Event } from '../../base/event.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { FoundRepository, PullRequestView, Submission, Switches } from '../../protocol/runnerApi.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { User } from '../principal.ts';

/** Brings a branch of a repository at a forge into a quarantine, and keeps its commit as a base. */
export type FetchCommit = (request: {
  quarantine: Quarantine;
  url: string;
  /** The repository's own default when it is not said. */
  branch?: string;
  token?: string;
  /** Egress rules of hosts in private networks that may be reached. */
  privateHosts: readonly string[];
  signal: AbortSignal;
}) => Promise<{ commit: string; headBranch: string }>;

/** Finds the repository that a prompt means. */
export interface Finder {
  /**
   * Lets an orchestrator look, as a task of its own that is in nobody's list.
   * @param report called with that task's id before it is submitted, so that it is known whose it is
   * @param known the id that was reported before a restart of the server: that task is followed, or, when it has no log,
   * submitted under this id
   */
  find(
    user: User,
    submission: Submission,
    report: (task: TaskId) => void,
    signal: AbortSignal,
    known?: TaskId,
  ): Promise<{ task: TaskId; found: FoundRepository }>;
}

/** A task whose commits can go to a forge. */
export interface Publishable {
  state: TaskState;
  /** Of the repository that was fetched, as git takes it. */
  url: string;
  /** The branch from which the task started. */
  base: string | undefined;
  switches: Switches;
  owner: User;
  pushedBranch: string | undefined;
  /** The newest commit that is known to be at the forge. */
  pushedCommit: string | undefined;
  pullRequest: PullRequestView | undefined;
}

/** What a publisher sees of the tasks, and says of them. What it says is kept. */
export interface PublishedTasks {
  /** A task with switches has changed; several changes within 100 ms are one. */
  readonly onDidChange: Event<Publishable>;
  /** Those with switches, as they are now. */
  all(): Publishable[];
  quarantineOf(id: TaskId): Quarantine;
  pushed(id: TaskId, branch: string, commit: string): void;
  pullRequest(id: TaskId, pullRequest: PullRequestView): void;
  /** What went wrong with a push or a pull request; undefined when it is made good. */
  problem(id: TaskId, problem: { code: string; message: string; mend: string } | undefined): void;
}

/** Pushes commits and opens pull requests, as the switches of each task say. */
export interface Publisher extends Disposable {
  attach(tasks: PublishedTasks): void;
}
