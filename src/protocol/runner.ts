import type { TaskId } from './grammar.ts';
import type { TaskSpec } from './task.ts';
import type { TaskEvent } from './taskEvent.ts';
import type { TaskState } from './taskState.ts';
import type { Terminal, TerminalSize } from './terminal.ts';

/** Bytes that come in pieces. */
export type ByteStream = AsyncIterable<Uint8Array>;

/**
 * A place where tasks run. Whoever holds one cannot tell which kind it is. Every failure is a SallyportError; a task
 * that cannot go on says so in its own log instead.
 */
export interface Runner {
  /**
   * Takes a task in. Resolves as soon as the task is in the log, long before the sandbox stands; what follows is told
   * by events. `snapshot` is a git bundle of `spec.snapshot.commit`, read once.
   */
  submit(spec: TaskSpec, snapshot: () => ByteStream, signal?: AbortSignal): Promise<TaskState>;
  /** Every task that the runner knows, oldest first. Finds those whose sandbox outlived the runner again. */
  list(): Promise<TaskState[]>;
  /** The events after number `after`, then the live ones; ends when the task is over and its sandbox is gone. */
  events(id: TaskId, after: number, signal: AbortSignal): AsyncIterable<TaskEvent>;
  /** A git bundle of every imported commit of the task but what `have` reaches. */
  bundle(id: TaskId, have: readonly string[], signal?: AbortSignal): Promise<ByteStream>;
  /**
   * Says something to the agent of a conversation. Resolves when it is in the log (`said`), which is before the agent has
   * it: while it works, one message waits for the end of its turn. Throws `conflict` for a task that takes no messages,
   * `task_busy` when one waits already, and `prompt_empty` or `prompt_too_long`.
   * @param options.by who says it, where several people use the runner
   */
  send(id: TaskId, text: string, options?: { by?: string | undefined }): Promise<void>;
  /**
   * A shell in the sandbox beside the agent, as the agent's user in its workspace, with no more rights than the agent has.
   * All viewers share one; it begins with the first, and ends by itself or with the sandbox. Throws `conflict` when no
   * sandbox runs.
   * @param signal aborts the opening, and later leaves the terminal
   */
  terminal(id: TaskId, size: TerminalSize, signal?: AbortSignal): Promise<Terminal>;
  /**
   * Ends the agent's work, in whatever state; what it committed or left is still brought in. A conversation that waits for
   * its user is finished by it, and ends as its last turn did. Idempotent.
   */
  stop(id: TaskId): Promise<void>;
  /** Forgets the task, its log and its quarantined commits. Refuses while it runs or commits are not imported, unless forced. */
  remove(id: TaskId, options?: { force?: boolean }): Promise<void>;
}
