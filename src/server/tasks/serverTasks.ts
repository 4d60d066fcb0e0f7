import type { Disposable } from '../../base/disposable.ts';
import type { Event } from '../../base/event.ts';
import type { ByteStream } from '../../protocol/runner.ts';
import type {
  EgressAnswerBody,
  Submission,
  TaskPage,
  TaskView,
  UploadRequest,
  UploadState,
} from '../../protocol/runnerApi.ts';
import type { QuestionAnswer } from '../../protocol/question.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../../protocol/terminal.ts';
import type { Range } from '../../runner/taskService.ts';
import type { DetailedChange } from '../../git/diff.ts';
import type { User } from '../principal.ts';

export interface TaskQuery {
  /** Any of these phases or stages. */
  states?: string[] | undefined;
  owner?: string | undefined;
  repository?: string | undefined;
  /** Words in title and prompt. */
  words?: string | undefined;
  limit: number;
  cursor?: string | undefined;
}

export interface TaskChange {
  shared?: boolean | undefined;
  priority?: number | undefined;
  title?: string | undefined;
}

/**
 * The tasks of a server: whose they are, what comes before their sandbox, and what is done with their commits. Each
 * call names who asks; a task that this user may not see is `task_unknown`, one that they may only read is `forbidden`.
 */
export interface ServerTasks extends Disposable {
  /** A new task, or a change of one; several changes within 100 ms are one. */
  readonly onDidChange: Event<TaskView>;
  readonly onDidRemove: Event<string>;
  /** Whether that user may see the task. For those who listen. */
  mayRead(user: User, view: Pick<TaskView, 'owner' | 'shared'>): boolean;
  submit(user: User, submission: Submission, idempotencyKey?: string): Promise<TaskView>;
  list(user: User, query: TaskQuery): TaskPage;
  /** All that the user may see, oldest first, with summaries. */
  all(user: User): TaskView[];
  /** With `state`. */
  get(user: User, id: string): TaskView;
  /** Throws `task_unknown`; `conflict` while the task has no log yet. */
  state(user: User, id: string): TaskState;
  change(user: User, id: string, change: TaskChange): TaskView;
  cancel(user: User, id: string): Promise<TaskView>;
  /** The same submission once more, as a new task. */
  retry(user: User, id: string): Promise<TaskView>;
  /** Yes to what the orchestrator found, or to another repository. */
  confirm(
    user: User,
    id: string,
    choice: { repository?: string | undefined; branch?: string | undefined },
  ): Promise<TaskView>;
  remove(user: User, id: string, force: boolean): Promise<void>;
  /** A message to the agent of a conversation that waits, or a follow-up to a task that is over. */
  send(
    user: User,
    id: string,
    text: string,
    options?: { conversation?: boolean | undefined },
  ): Promise<TaskView>;
  /** Makes a commit of what the agent left uncommitted. Throws `conflict` where there is nothing. */
  commitLeftovers(user: User, id: string, message: string): Promise<TaskView>;
  /** An answer to what the agent asks. Throws `conflict` when it does not ask this any more. */
  answerQuestion(user: User, id: string, question: string, answer: QuestionAnswer): Promise<void>;
  /** Has the agent of a conversation stop what it does, and wait for the next message. */
  interrupt(user: User, id: string): Promise<void>;
  /** A shell in the task's sandbox. Throws `conflict` when none runs. */
  terminal(user: User, id: string, size: TerminalSize, signal?: AbortSignal): Promise<Terminal>;
  answerEgress(user: User, id: string, answer: EgressAnswerBody): Promise<void>;
  setBudget(user: User, id: string, usd: number | null): Promise<void>;
  spentToday(): Promise<number>;
  /** In batches: waits for the task's log to begin, then what it holds after number `after`, then live. Ends with the log. */
  events(user: User, id: string, after: number, signal: AbortSignal): AsyncIterable<TaskEvent[]>;
  bundle(user: User, id: string, have: readonly string[]): Promise<ByteStream>;
  result(user: User, id: string): Range | undefined;
  changes(user: User, id: string, range?: Range): Promise<DetailedChange[]>;
  patch(user: User, id: string, range?: Range): Promise<{ text: string; truncated: boolean }>;
  blob(user: User, id: string, oid: string): Promise<Uint8Array>;
  knownCommits(user: User, repository: string, commits: readonly string[]): Promise<string[]>;
  beginUpload(user: User, request: UploadRequest): Promise<UploadState>;
  uploadState(user: User, id: string): Promise<UploadState>;
  /** Throws `conflict` when `offset` is not where the upload stands. */
  continueUpload(user: User, id: string, offset: number, data: ByteStream): Promise<UploadState>;
  counts(): { queued: number; running: number; all: number };
  /** Nothing new begins; resolves when what is being written is written. Sandboxes go on. */
  close(): Promise<void>;
}
