import type { Disposable } from '../base/disposable.ts';
import type { SallyportError } from '../base/errors.ts';
import type { Event } from '../base/event.ts';
import type { Quarantine } from '../git/quarantine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { ByteStream, Runner } from '../protocol/runner.ts';
import type { Switches } from '../protocol/runnerApi.ts';
import type { TaskSpec } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Ask } from './asks.ts';

/** With what a task that is over goes on. */
export interface Reopening {
  text: string;
  /** Whether the agent then waits for the next message; as before when it is not said. */
  conversation?: boolean | undefined;
  by?: string | undefined;
}

/** A runner that keeps logs and commits of its tasks on this machine: as they come about, or as a mirror of another's. */
export interface TaskRunner extends Runner, Disposable {
  /** @param wishes what the runner is to do by itself with the commits, where it can */
  submit(
    spec: TaskSpec,
    snapshot: () => ByteStream,
    signal?: AbortSignal,
    wishes?: { switches?: Partial<Switches> },
  ): Promise<TaskState>;
  /** The new state of a task, after each batch of its events. */
  readonly onDidChange: Event<TaskState>;
  readonly onDidRemove: Event<TaskId>;
  /** A failure that belongs to no single task's log, such as a full disk. */
  readonly onTrouble: Event<SallyportError>;
  /** Loads what there is. Idempotent. */
  open(): Promise<void>;
  /** What is loaded, oldest first. */
  known(): TaskState[];
  state(id: TaskId): TaskState | undefined;
  /** As `events`, in the batches in which they come. */
  batches(id: TaskId, after: number, signal: AbortSignal): AsyncIterable<TaskEvent[]>;
  /** Where the task's log is on this machine, and what else is kept of it. */
  folderOf(id: TaskId): string;
  /** Where the task's commits are on this machine. Throws `task_unknown`. */
  quarantineOf(id: TaskId): Quarantine;
  /** As `TaskService.followUp`, of a text that was checked. */
  reopen(id: TaskId, reopening: Reopening, signal?: AbortSignal): Promise<TaskState>;
  /** As `TaskService.commitLeftovers`, with a message that was checked. */
  commitLeftovers(id: TaskId, message: string): Promise<TaskState>;
  /** Does what a user decides about a task that is under way. Nothing happens to one that is over. */
  answer(id: TaskId, ask: Ask): Promise<void>;
  /** What all tasks cost today (UTC), in US dollars. */
  spentToday(): Promise<number>;
  /** Looks at the day's budget again, after its setting was changed. */
  budgetsChanged(): Promise<void>;
}
