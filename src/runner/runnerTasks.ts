import { SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import { openForge } from '../forge/openForge.ts';
import { acceptAsBranch } from '../git/accept/branch.ts';
import { changedFiles, patch, type DetailedChange } from '../git/diff.ts';
import { BlobReader } from '../git/parts/blobReader.ts';
import { Quarantine } from '../git/quarantine.ts';
import { openRepository } from '../git/repository.ts';
import type { TaskId } from '../protocol/grammar.ts';
import { leftoversRange, resultRange } from '../protocol/ranges.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { QuestionAnswer } from '../protocol/question.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import { checkCommitMessage, checkLeftovers, checkMayGoOn } from './goingOn.ts';
import { checkAnswer } from './egressAnswers.ts';
import { NewTasks } from './newTasks.ts';
import { needsNetwork } from './sandboxNames.ts';
import { Reviews } from './review/reviews.ts';
import { TaskPublisher } from './publishing/taskPublisher.ts';
import type { TaskPublishing } from './publishing/taskPublishing.ts';
import type { TaskReview } from './review/taskReview.ts';
import { checkBudget, checkPrompt, taskUnknown } from './submissionChecks.ts';
import type { ServedTasks, SnapshotRequest } from './servedTasks.ts';
import { checkMayAnswer } from './talk.ts';
import type { TaskRunner } from './taskRunner.ts';
import type {
  Continuation,
  DoctorCheck,
  EgressAnswer,
  FollowUp,
  Range,
  SubmitRequest,
  WorkspaceSettings,
} from './taskService.ts';
import type { TaskSurroundings } from './taskSurroundings.ts';
import type { WorkspaceStore } from './workspaceStore.ts';

const patchBytes = 8 << 20;
const blobBytes = 64 << 20;

/** Tasks of any runner: puts it together with repositories and quarantines of this machine. */
export class RunnerTasks implements ServedTasks {
  private readonly runner: TaskRunner;
  private readonly around: TaskSurroundings;
  private readonly workspaces: WorkspaceStore;
  private readonly reviews: Reviews;
  private readonly newTasks: NewTasks;
  private readonly trouble = new Emitter<SallyportError>();
  private settling: Promise<void> | undefined;
  /** By quarantine. One without work has no process. */
  private readonly readers = new Map<string, BlobReader>();
  readonly onDidChange;
  readonly onDidRemove;
  readonly onTrouble;

  constructor(runner: TaskRunner, around: TaskSurroundings) {
    this.runner = runner;
    this.around = around;
    this.workspaces = around.workspaces;
    this.newTasks = new NewTasks(runner, around);
    this.onDidChange = runner.onDidChange;
    this.onDidRemove = runner.onDidRemove;
    this.onTrouble = this.trouble.event;
    runner.onTrouble((error) => this.trouble.fire(error));
    this.reviews = new Reviews(runner, (id) => ({
      send: (text) => this.send(id, text),
      followUp: (text) => this.followUp(id, text),
    }));
  }

  async open(): Promise<void> {
    await this.runner.open();
    // What was being accepted when a process was killed.
    const ids = this.tasks().map(({ spec }) => spec.id);
    this.settling ??= this.reviews.settle(ids, (error) => this.trouble.fire(error));
  }

  tasks(): readonly TaskState[] {
    return this.runner.known();
  }

  task(id: TaskId): TaskState | undefined {
    return this.runner.state(id);
  }

  submit(request: SubmitRequest, signal?: AbortSignal): Promise<TaskState> {
    return this.newTasks.submit(request, signal);
  }

  submitSnapshot(request: SnapshotRequest, signal?: AbortSignal): Promise<TaskState> {
    return this.newTasks.submitSnapshot(request, signal);
  }

  quarantine(repositoryId: string): Quarantine {
    return Quarantine.open(this.around.quarantineRoot, repositoryId);
  }

  bundle(id: TaskId, have: readonly string[]): Promise<ByteStream> {
    return this.runner.bundle(id, have);
  }

  async send(id: TaskId, text: string, options?: { by?: string | undefined }): Promise<void> {
    checkPrompt(text);
    await this.runner.send(id, text, options);
  }

  async followUp(id: TaskId, prompt: string, { signal, ...options }: FollowUp = {}): Promise<TaskState> {
    checkPrompt(prompt);
    checkMayGoOn(this.known(id));
    return await this.runner.reopen(id, { text: prompt, ...options }, signal);
  }

  continueFrom(
    id: TaskId,
    from: { turn: number },
    prompt: string,
    options?: Continuation,
  ): Promise<TaskState> {
    return this.newTasks.continueFrom(id, from, prompt, options);
  }

  async commitLeftovers(id: TaskId, message: string): Promise<TaskState> {
    checkCommitMessage(message);
    checkLeftovers(this.known(id));
    return await this.runner.commitLeftovers(id, message);
  }

  async answerQuestion(
    id: TaskId,
    question: string,
    answer: QuestionAnswer,
    { by }: { by?: string | undefined } = {},
  ): Promise<void> {
    const state = this.known(id);
    // Said twice, or in two windows with the same words: the first one counts.
    if (state.conversation?.answers.some((one) => one.id === question) === true) return;
    checkMayAnswer(state, question, answer);
    await this.runner.answer(id, { op: 'answer', id: question, answer, ...(by === undefined ? {} : { by }) });
  }

  async interrupt(id: TaskId, { by }: { by?: string | undefined } = {}): Promise<void> {
    const { conversation } = this.known(id);
    if (conversation === undefined) {
      throw new SallyportError(
        'conflict',
        'This task is no conversation: its agent cannot be interrupted and go on.',
        'Stop the task; a follow-up goes on from where it was.',
      );
    }
    await this.runner.answer(id, { op: 'interrupt', ...(by === undefined ? {} : { by }) });
  }

  terminal(id: TaskId, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    return this.runner.terminal(id, size, signal);
  }

  stop(id: TaskId): Promise<void> {
    return this.runner.stop(id);
  }

  async remove(id: TaskId, options?: { force?: boolean }): Promise<void> {
    if (options?.force !== true) {
      await this.reviews.whileQuiet(id, () => this.runner.remove(id, options));
      return;
    }
    await this.reviews.settle([id], (error) => this.trouble.fire(error));
    await this.runner.remove(id, options);
  }

  events(id: TaskId, after: number, signal: AbortSignal): AsyncIterable<TaskEvent[]> {
    return this.runner.batches(id, after, signal);
  }

  result(id: TaskId): Range | undefined {
    return resultRange(this.known(id));
  }

  leftovers(id: TaskId): Range | undefined {
    return leftoversRange(this.known(id));
  }

  async changes(id: TaskId, range = this.result(id)): Promise<DetailedChange[]> {
    if (range === undefined) return [];
    return await changedFiles(this.runner.quarantineOf(id), range.from, range.to);
  }

  async patch(id: TaskId, range = this.result(id)): Promise<{ text: string; truncated: boolean }> {
    if (range === undefined) return { text: '', truncated: false };
    const { text, truncated } = await patch(this.runner.quarantineOf(id), range.from, range.to, {
      maxBytes: patchBytes,
    });
    return { text: text.toString('utf8'), truncated };
  }

  async blob(id: TaskId, oid: string): Promise<Uint8Array> {
    const quarantine = this.runner.quarantineOf(id);
    const reader = this.readers.get(quarantine.gitDir) ?? new BlobReader(quarantine);
    this.readers.set(quarantine.gitDir, reader);
    return await reader.read(oid, blobBytes);
  }

  review(id: TaskId): TaskReview {
    return this.reviews.of(id);
  }

  publishing(id: TaskId, hosts: () => unknown): TaskPublishing {
    return new TaskPublisher({
      state: () => this.known(id),
      quarantine: this.runner.quarantineOf(id),
      review: this.review(id),
      folder: this.runner.folderOf(id),
      ownSwitches: this.around.carriesOutSwitches === true,
      hosts,
      openForge: (place, token) => openForge(place, { ...token, owner: 'user' }),
    });
  }

  async acceptAsBranch(id: TaskId, branch: string): Promise<{ branch: string }> {
    const range = this.result(id);
    if (range === undefined) {
      throw new SallyportError(
        'invalid_input',
        'The task has no commit to accept yet.',
        'Wait for its first commit.',
      );
    }
    const { path } = this.known(id).spec.repository;
    if (path === '') {
      throw new SallyportError(
        'no_repository',
        'The task was not submitted from a repository of this machine, so there is none to make the branch in.',
        'Fetch the branch from where the runner pushed it, or accept the task where it was submitted.',
      );
    }
    const repository = await openRepository(path);
    await acceptAsBranch(repository, this.runner.quarantineOf(id), range.to, branch);
    return { branch };
  }

  async answerEgress(id: TaskId, answer: EgressAnswer): Promise<void> {
    checkAnswer(answer);
    const { spec } = this.known(id);
    if (!('refuse' in answer) && !needsNetwork(spec)) {
      throw new SallyportError(
        'invalid_input',
        'This task began as a demonstration without any network, and its gateway has none.',
        'Start a new task with a list of hosts, or an open network.',
      );
    }
    await this.runner.answer(id, { op: 'egress', answer });
    if (!('rule' in answer) || answer.allow !== 'workspace') return;
    await this.workspaces.change(spec.repository.id, (settings) => ({
      ...settings,
      egressRules: [...new Set([...settings.egressRules, answer.rule])],
    }));
  }

  async setBudget(id: TaskId, usd: number | null): Promise<void> {
    if (usd !== null) checkBudget(usd);
    this.known(id);
    await this.runner.answer(id, { op: 'budget', usd });
  }

  spentToday(): Promise<number> {
    return this.runner.spentToday();
  }

  budgetsChanged(): Promise<void> {
    return this.runner.budgetsChanged();
  }

  async workspaceSettings(repositoryPath: string): Promise<WorkspaceSettings> {
    const { ref } = await openRepository(repositoryPath);
    return await this.workspaces.read(ref.id);
  }

  async changeWorkspaceSettings(repositoryPath: string, change: Partial<WorkspaceSettings>): Promise<void> {
    for (const rule of change.egressRules ?? []) checkAnswer({ allow: 'workspace', rule });
    const { ref } = await openRepository(repositoryPath);
    await this.workspaces.change(ref.id, (settings) => ({ ...settings, ...change }));
  }

  async doctor(options?: { callModel?: boolean; signal?: AbortSignal }): Promise<DoctorCheck[]> {
    return await this.around.doctor(options);
  }

  private known(id: TaskId): TaskState {
    const task = this.task(id);
    if (task === undefined) throw taskUnknown(id);
    return task;
  }

  dispose(): void {
    this.reviews.dispose();
    this.trouble.dispose();
    this.runner.dispose();
  }
}
