import type { Isolation, TaskSpec } from '../protocol/task.ts';
import type { IsolationWish } from './isolation.ts';
import type { DoctorCheck } from './taskService.ts';
import type { UserPolicy } from './userPolicy.ts';
import type { WorkspaceStore } from './workspaceStore.ts';

/** What a task's beginning needs besides its runner. */
export interface TaskSurroundings {
  /** Where the quarantines of this machine's own repositories are. */
  quarantineRoot: string;
  workspaces: WorkspaceStore;
  /** The user's own settings; read anew for each task. */
  policy: () => UserPolicy;
  /** Tasks keep their switches, and this machine does what they say; else the runner does. */
  carriesOutSwitches?: boolean;
  /** Reads how the container is to be made; undefined when that is the runner's own affair. */
  isolation(wish: IsolationWish, workspaceFolder: string): Promise<Isolation | undefined>;
  /** Finds and checks the model's credential, or says that it is the runner's. Throws `no_credentials` and others. */
  model(repositoryPath: string, wanted: string | undefined, signal: AbortSignal): Promise<TaskSpec['model']>;
  doctor(options?: { callModel?: boolean; signal?: AbortSignal }): Promise<DoctorCheck[]>;
}
