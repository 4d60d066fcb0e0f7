import type { Quarantine } from '../git/quarantine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { Identity, Limits, Snapshot } from '../protocol/task.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { SubmitRequest, TaskService } from './taskService.ts';

/** A task on a commit that is in a quarantine already. Mounts, images and further isolation are the runner's own affair. */
export interface SnapshotRequest extends Pick<
  SubmitRequest,
  'prompt' | 'model' | 'branch' | 'agentArgs' | 'egress' | 'budgetUsd' | 'conversation'
> {
  id: TaskId;
  /** The first line of the prompt when it is not said. */
  title?: string;
  /** `id` names the quarantine that holds the snapshot's commit. */
  repository: { id: string; name: string };
  snapshot: Snapshot;
  identity: Identity;
  limits: Limits;
  /** As of `SubmitRequest`. */
  permissions?: 'skip' | 'ask';
  /** Added to the agent's own instructions. */
  instructions?: string;
  /** The agent goes on with what was said in that task, where that is kept. */
  resume?: TaskId;
  /** With `resume`: from the end of that turn of it, with its commits and what was uncommitted. */
  turn?: number;
  /** What is left uncommitted at the end is committed with this message. */
  commitMessage?: string;
  /** The sandbox may read the forge. */
  forge?: boolean;
}

/** What the server of a runner needs of the tasks on its own machine, besides what every user does. */
export interface ServedTasks extends TaskService {
  /**
   * As `submit`, of a commit that was brought into a quarantine before. Throws `not_found` when it is not there, and what
   * `submit` throws.
   */
  submitSnapshot(request: SnapshotRequest, signal?: AbortSignal): Promise<TaskState>;
  /** The commits of one repository. Touches nothing. */
  quarantine(repositoryId: string): Quarantine;
  /** A git bundle of every imported commit of the task but what `have` reaches. Throws `task_unknown`. */
  bundle(id: TaskId, have: readonly string[]): Promise<ByteStream>;
}
