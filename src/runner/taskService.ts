import type { Disposable } from '../base/disposable.ts';
import type { SallyportError } from '../base/errors.ts';
import type { Event } from '../base/event.ts';
import type { DetailedChange } from '../git/diff.ts';
import type { SecretFinding } from '../git/secretScan.ts';
import type { Upstream } from '../protocol/control.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { QuestionAnswer } from '../protocol/question.ts';
import type { EgressMode } from '../protocol/egress.ts';
import type { Switches } from '../protocol/runnerApi.ts';
import type { Limits, ModelService, SnapshotMode } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import type { IsolationWish } from './isolation.ts';
import type { TaskPublishing } from './publishing/taskPublishing.ts';
import type { TaskReview } from './review/taskReview.ts';

/** Where the model's answers come from, decided on the host. `upstream` holds the credential and is never stored. */
export interface ResolvedModel {
  /** For people: "Anthropic API key from ANTHROPIC_API_KEY". Never the value. */
  label: string;
  demonstration: boolean;
  /** Which protocol the agent is to speak; Anthropic's own when it is not named. */
  service?: ModelService;
  upstream: Upstream;
  /**
   * Gets a fresh credential when this one expires or was refused. Undefined for one that cannot be renewed. Single
   * flight: parallel tasks share one renewal. Throws `auth_expired`, `auth_refused`.
   */
  renew?: (reason: 'expired' | 'refused', signal: AbortSignal) => Promise<Upstream>;
}

export interface SubmitRequest {
  /** Any path inside the repository. */
  repositoryPath: string;
  prompt: string;
  snapshot: SnapshotMode;
  model?: string;
  branch?: string;
  /** Further command line options of the agent, as they are. */
  agentArgs?: string[];
  limits?: Partial<Limits>;
  /** Joins the workspace's and the user's own rules; `mode` stands in for theirs. */
  egress?: { mode?: EgressMode; rules?: string[] };
  /** US dollars. */
  budgetUsd?: number;
  /** Stands in for the user's own. */
  isolation?: IsolationWish;
  /** After each turn the agent waits for the next message (`send`), instead of ending. */
  conversation?: boolean;
  /** Whether the agent asks before it uses a tool, in a conversation; it does not by default. */
  permissions?: 'skip' | 'ask';
  /** What the runner does by itself with the task's commits. Only a runner with a server does. */
  switches?: Partial<Switches>;
  /**
   * What to do about likely keys in what the sandbox would get: `ask` throws `SecretsFound`, `send` goes on, and
   * `accept` goes on and never asks about these findings in this repository again.
   */
  secrets?: 'ask' | 'send' | 'accept';
}

export interface FollowUp {
  /** Whether the agent then waits for the next message; as before when it is not said. */
  conversation?: boolean | undefined;
  /** Who says it, where several people use the runner. */
  by?: string | undefined;
  signal?: AbortSignal;
}

export interface Continuation {
  /** As the earlier task when it is not said. */
  conversation?: boolean;
  branch?: string;
  signal?: AbortSignal;
}

/** How a user decides on a request that no rule lets through. */
export type EgressAnswer =
  { allow: 'task' | 'workspace'; rule: string } | { allow: 'task'; mode: EgressMode } | { refuse: string };

/** What all tasks of one repository share, kept in the data folder: never in a file that an agent could change. */
export interface WorkspaceSettings {
  egressRules: string[];
  /** Id of the credential source that was shown to the user and confirmed. */
  credential?: string;
  /** Fingerprints of findings of the secrets scan that the user accepted. */
  acceptedSecrets: string[];
}

export type { SecretFinding };

/** From one commit to another, by object name. */
export interface Range {
  from: string;
  to: string;
}

export interface DoctorCheck {
  name: string;
  ok: boolean | 'warning';
  detail: string;
  mend?: string;
}

/**
 * All that a user does with tasks, for whatever shows them: the editor, the terminal. It puts a repository, a runner
 * and a quarantine together; failures are SallyportErrors.
 */
export interface TaskService extends Disposable {
  /** The new state of a task, after each batch of its events. */
  readonly onDidChange: Event<TaskState>;
  readonly onDidRemove: Event<TaskId>;
  /** A failure that is no task's own, such as a full disk. */
  readonly onTrouble: Event<SallyportError>;
  /** Loads the tasks and finds running sandboxes again. Idempotent. */
  open(): Promise<void>;
  /** Oldest first. */
  tasks(): readonly TaskState[];
  task(id: TaskId): TaskState | undefined;
  /** Resolves when the task is in the log; image, gateway and sandbox follow as events. */
  submit(request: SubmitRequest, signal?: AbortSignal): Promise<TaskState>;
  /** As of `Runner.send`. */
  send(id: TaskId, text: string, options?: { by?: string | undefined }): Promise<void>;
  /**
   * Gives a task that is over a further prompt. The task goes on with the same conversation, branch and log: in the sandbox
   * that was kept, else in a new one, from its newest commit and what was left uncommitted. Resolves when that is in the
   * log (`reopened`). Throws `task_busy` for one that is not over, `conflict` while commits of it are not in the quarantine.
   */
  followUp(id: TaskId, prompt: string, options?: FollowUp): Promise<TaskState>;
  /**
   * A new task, on a branch of its own, from the end of a turn of another: its commits, what was uncommitted then, and the
   * conversation as it was. The other one is left as it is. Throws `not_found` for a turn without a checkpoint, `conflict`
   * while that is not in the quarantine.
   */
  continueFrom(id: TaskId, at: { turn: number }, prompt: string, options?: Continuation): Promise<TaskState>;
  /**
   * Makes a commit of what the agent left uncommitted, on the task's branch in the quarantine, by the task's identity. Throws
   * `conflict` when there is nothing, or while the task is not over, and `invalid_input` for a message that is none.
   */
  commitLeftovers(id: TaskId, message: string): Promise<TaskState>;
  /** Answers what the agent asks. Throws `conflict` when it does not ask this any more, `invalid_input` for what does not fit. */
  answerQuestion(
    id: TaskId,
    question: string,
    answer: QuestionAnswer,
    options?: { by?: string | undefined },
  ): Promise<void>;
  /** Has the agent of a conversation stop what it does, and wait, or take up the message that waits. */
  interrupt(id: TaskId, options?: { by?: string | undefined }): Promise<void>;
  /** As of `Runner.terminal`. */
  terminal(id: TaskId, size: TerminalSize, signal?: AbortSignal): Promise<Terminal>;
  stop(id: TaskId): Promise<void>;
  remove(id: TaskId, options?: { force?: boolean }): Promise<void>;
  /** In batches: what the log holds after number `after`, then live. */
  events(id: TaskId, after: number, signal: AbortSignal): AsyncIterable<TaskEvent[]>;
  /** What would be accepted: from the snapshot to the newest imported commit. Undefined while there is none. */
  result(id: TaskId): Range | undefined;
  /** From the snapshot to what the agent left uncommitted; undefined when it left nothing. */
  leftovers(id: TaskId): Range | undefined;
  /** Files that differ; without a range those of `result`. */
  changes(id: TaskId, range?: Range): Promise<DetailedChange[]>;
  /** The same as a unified diff, cut at 8 MiB. */
  patch(id: TaskId, range?: Range): Promise<{ text: string; truncated: boolean }>;
  /** Content of a file by object name, from the quarantine; at most 64 MiB. */
  blob(id: TaskId, oid: string): Promise<Uint8Array>;
  /** The inspection of what the task made: the same object while the task is there. Throws `task_unknown`. */
  review(id: TaskId): TaskReview;
  /**
   * Pushes and pull requests of a task, from this machine with its user's own credentials. Throws `task_unknown`.
   * @param hosts the user's setting of which hosts are forges, as it is
   */
  publishing(id: TaskId, hosts: () => unknown): TaskPublishing;
  /** Creates the branch in the user's repository at the newest imported commit, and changes nothing else of it. */
  acceptAsBranch(id: TaskId, branch: string): Promise<{ branch: string }>;
  /** Takes effect at once, also for a request that waits. Throws `invalid_rule`. */
  answerEgress(id: TaskId, answer: EgressAnswer): Promise<void>;
  /** What the task may cost in all, in US dollars; null is no limit. A paused task goes on when it fits. */
  setBudget(id: TaskId, usd: number | null): Promise<void>;
  /** What all tasks cost today (UTC), in US dollars. */
  spentToday(): Promise<number>;
  /** Looks at the day's budget again, after its setting was changed: paused tasks go on when it fits. */
  budgetsChanged(): Promise<void>;
  workspaceSettings(repositoryPath: string): Promise<WorkspaceSettings>;
  changeWorkspaceSettings(repositoryPath: string, change: Partial<WorkspaceSettings>): Promise<void>;
  /** With `callModel` one request for one token is sent to the model. */
  doctor(options?: { callModel?: boolean; signal?: AbortSignal }): Promise<DoctorCheck[]>;
}
