import { dirname } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import { pause } from '../base/pause.ts';
import { openForge } from '../forge/openForge.ts';
import { acceptAsBranch } from '../git/accept/branch.ts';
import { changedFiles, patch, type DetailedChange } from '../git/diff.ts';
import { BlobReader } from '../git/parts/blobReader.ts';
import { Quarantine } from '../git/quarantine.ts';
import { openRepository } from '../git/repository.ts';
import { scanSnapshot } from '../git/secretScan.ts';
import { takeSnapshot } from '../git/snapshot.ts';
import { defaultBranchName, isBranchName, maxPromptLength, type TaskId } from '../protocol/grammar.ts';
import { commitEachInstructions, switchWords, wholeSwitches } from '../protocol/switches.ts';
import { leftoversRange, resultRange } from '../protocol/ranges.ts';
import {
  defaultLimits,
  newTaskId,
  titleOf,
  type Isolation,
  type Snapshot,
  type TaskSpec,
} from '../protocol/task.ts';
import type { ByteStream } from '../protocol/runner.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { QuestionAnswer } from '../protocol/question.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import {
  checkpointAt,
  checkCommitMessage,
  checkLeftovers,
  checkMayGoOn,
  isOnItsWay,
  workOf,
} from './goingOn.ts';
import { checkAnswer, policyFor } from './egressAnswers.ts';
import { checkMountPoints, type IsolationWish } from './isolation.ts';
import { needsNetwork } from './sandboxNames.ts';
import { Reviews } from './review/reviews.ts';
import { TaskPublisher } from './publishing/taskPublisher.ts';
import type { TaskPublishing } from './publishing/taskPublishing.ts';
import type { TaskReview } from './review/taskReview.ts';
import { SecretsFound } from './secretsFound.ts';
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

const patchBytes = 8 << 20;
/** How long what a turn has brought is waited for, in milliseconds. */
const bringingMs = 10_000;
const blobBytes = 64 << 20;

/** Tasks of any runner: puts it together with repositories and quarantines of this machine. */
export class RunnerTasks implements ServedTasks {
  private readonly runner: TaskRunner;
  private readonly around: TaskSurroundings;
  private readonly workspaces: WorkspaceStore;
  private readonly reviews: Reviews;
  private readonly trouble = new Emitter<SallyportError>();
  private settling: Promise<void> | undefined;
  /** Branch names of tasks whose submission is under way. */
  private readonly given = new Set<string>();
  /** By quarantine. One without work has no process. */
  private readonly readers = new Map<string, BlobReader>();
  readonly onDidChange;
  readonly onDidRemove;
  readonly onTrouble;

  constructor(runner: TaskRunner, around: TaskSurroundings) {
    this.runner = runner;
    this.around = around;
    this.workspaces = around.workspaces;
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

  async submit(
    request: SubmitRequest,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<TaskState> {
    checkPrompt(request.prompt);
    const branch = this.branchName(request.branch);
    const policy = this.around.policy();
    const budgetUsd = request.budgetUsd ?? policy.budgetUsd;
    if (budgetUsd !== undefined) checkBudget(budgetUsd);
    const repository = await openRepository(request.repositoryPath, signal);
    const isolation = await this.around.isolation(request.isolation ?? policy.isolation, repository.ref.path);
    const workspace = await this.workspaces.read(repository.ref.id);
    const egress = policyFor(policy.egress, workspace, request.egress);
    const model = await this.around.model(repository.ref.path, request.model, signal);
    const quarantine = Quarantine.open(this.around.quarantineRoot, repository.ref.id);
    await quarantine.adopt(repository, signal);
    const snapshot = await takeSnapshot(repository, quarantine, request.snapshot, signal);
    await checkMountPoints(isolation?.mounts ?? [], quarantine.options(signal), snapshot.commit);
    if (request.secrets !== 'send')
      await this.checkSecrets(
        repository.ref.id,
        quarantine,
        snapshot,
        workspace,
        request.secrets ?? 'ask',
        signal,
      );
    const now = Date.now();
    const switches =
      this.around.carriesOutSwitches === true && request.switches !== undefined
        ? wholeSwitches(request.switches)
        : undefined;
    const spec: TaskSpec = {
      id: newTaskId(now),
      title: titleOf(request.prompt),
      prompt: request.prompt,
      agent: {
        kind: 'claude-code',
        ...(request.model === undefined ? {} : { model: request.model }),
        ...(request.agentArgs === undefined ? {} : { args: request.agentArgs }),
        ...(request.permissions === undefined ? {} : { permissions: request.permissions }),
        ...(switches?.commitEach === true ? { instructions: commitEachInstructions } : {}),
      },
      repository: repository.ref,
      snapshot,
      branch,
      identity: repository.identity ?? { name: 'Sallyport', email: 'sallyport@localhost' },
      limits: { ...defaultLimits, ...request.limits },
      model,
      egress,
      ...(budgetUsd === undefined ? {} : { budgetUsd }),
      ...(isolation === undefined ? {} : { isolation }),
      ...(switches === undefined || switchWords(switches) === '' ? {} : { switches }),
      ...(request.conversation === true ? { conversation: true } : {}),
      ...(policy.commitMessage === undefined ? {} : { commitMessage: policy.commitMessage }),
      createdAt: now,
    };
    const wishes = request.switches === undefined ? {} : { switches: request.switches };
    return await this.runner.submit(spec, () => quarantine.snapshotBundle(snapshot), signal, wishes);
  }

  async submitSnapshot(
    request: SnapshotRequest,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<TaskState> {
    const { id, prompt, snapshot, repository, identity, limits } = request;
    checkPrompt(prompt);
    const commitMessage = request.commitMessage ?? this.around.policy().commitMessage;
    if (commitMessage !== undefined) checkCommitMessage(commitMessage);
    const branch = this.branchName(request.branch);
    const policy = this.around.policy();
    const budgetUsd = request.budgetUsd ?? policy.budgetUsd;
    if (budgetUsd !== undefined) checkBudget(budgetUsd);
    const isolation = await this.around.isolation(policy.isolation, dirname(this.around.quarantineRoot));
    const egress = policyFor(policy.egress, await this.workspaces.read(repository.id), request.egress);
    const model = await this.around.model('', request.model, signal);
    const quarantine = this.quarantine(repository.id);
    if (!(await quarantine.has(snapshot.commit, signal))) {
      throw new SallyportError(
        'not_found',
        `The commit ${snapshot.commit} of ${repository.name} is not here.`,
        'Upload it first, then submit the task.',
      );
    }
    await checkMountPoints(isolation?.mounts ?? [], quarantine.options(signal), snapshot.commit);
    const spec: TaskSpec = {
      id,
      title: request.title ?? titleOf(prompt),
      prompt,
      agent: {
        kind: 'claude-code',
        ...(request.model === undefined ? {} : { model: request.model }),
        ...(request.agentArgs === undefined ? {} : { args: request.agentArgs }),
        ...(request.permissions === undefined ? {} : { permissions: request.permissions }),
        ...(request.instructions === undefined ? {} : { instructions: request.instructions }),
      },
      repository: { ...repository, path: '' },
      snapshot,
      branch,
      identity,
      limits,
      model,
      egress,
      ...(budgetUsd === undefined ? {} : { budgetUsd }),
      ...(isolation === undefined ? {} : { isolation }),
      ...(request.forge === true ? { forge: true } : {}),
      ...(request.conversation === true ? { conversation: true } : {}),
      ...(commitMessage === undefined ? {} : { commitMessage }),
      ...(await this.resumed(request, quarantine, signal)),
      createdAt: Date.now(),
    };
    return await this.runner.submit(spec, () => quarantine.snapshotBundle(snapshot), signal);
  }

  /** Of which task a submission takes up the conversation, and where it begins. */
  private async resumed(
    { resume, turn, repository }: SnapshotRequest,
    quarantine: Quarantine,
    signal: AbortSignal,
  ): Promise<Pick<TaskSpec, 'resume' | 'from'>> {
    if (resume === undefined) return {};
    if (turn === undefined) return { resume: { task: resume } };
    const earlier = this.known(resume);
    if (earlier.spec.repository.id !== repository.id) {
      throw new SallyportError(
        'invalid_input',
        'The task to go on from is one of another repository.',
        'Submit it for the same repository.',
      );
    }
    return {
      resume: { task: resume, turn },
      from: workOf(await checkpointAt(earlier, turn, quarantine, signal)),
    };
  }

  quarantine(repositoryId: string): Quarantine {
    return Quarantine.open(this.around.quarantineRoot, repositoryId);
  }

  bundle(id: TaskId, have: readonly string[]): Promise<ByteStream> {
    return this.runner.bundle(id, have);
  }

  private async checkSecrets(
    repositoryId: string,
    quarantine: Quarantine,
    snapshot: Snapshot,
    { acceptedSecrets: accepted }: WorkspaceSettings,
    decision: 'ask' | 'accept',
    signal: AbortSignal,
  ): Promise<void> {
    const { findings, more } = await scanSnapshot(quarantine, snapshot, { accepted, signal });
    if (findings.length === 0 && more === 0) return;
    if (decision === 'ask') throw new SecretsFound(findings, more);
    const fingerprints = findings.map(({ fingerprint }) => fingerprint);
    await this.workspaces.change(repositoryId, (settings) => ({
      ...settings,
      acceptedSecrets: [...new Set([...settings.acceptedSecrets, ...fingerprints])],
    }));
  }

  private branchName(wanted: string | undefined): string {
    const branch = wanted ?? this.freeBranchName();
    if (isBranchName(branch)) return branch;
    throw new SallyportError(
      'invalid_branch',
      `"${branch}" is not a valid branch name.`,
      'Choose another, such as claude/my-task.',
    );
  }

  /** By the second, and counted on where two tasks begin within one. */
  private freeBranchName(): string {
    const name = defaultBranchName(new Date());
    const taken = new Set([...this.given, ...this.tasks().map((task) => task.spec.branch)]);
    let free = name;
    for (let i = 2; taken.has(free); i++) free = `${name}-${i}`;
    this.given.add(free);
    return free;
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

  async continueFrom(
    id: TaskId,
    { turn }: { turn: number },
    prompt: string,
    { conversation, branch, signal = new AbortController().signal }: Continuation = {},
  ): Promise<TaskState> {
    checkPrompt(prompt);
    const quarantine = this.runner.quarantineOf(id);
    await this.brought(id, turn, signal);
    const earlier = this.known(id);
    const from = await checkpointAt(earlier, turn, quarantine, signal);
    const { spec } = earlier;
    const now = Date.now();
    const next: TaskSpec = {
      ...spec,
      id: newTaskId(now),
      title: titleOf(prompt),
      prompt,
      branch: this.branchName(branch),
      from: workOf(from),
      model: await this.around.model(spec.repository.path, spec.agent.model, signal),
      conversation: conversation ?? spec.conversation ?? false,
      resume: { task: id, turn },
      createdAt: now,
    };
    return await this.runner.submit(next, () => quarantine.snapshotBundle(next.snapshot), signal);
  }

  /** What a turn has just brought is on its way for a moment. */
  private async brought(id: TaskId, turn: number, signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    const look = (state: TaskState): void => {
      if (state.spec.id === id && !isOnItsWay(state, turn)) done.abort();
    };
    const listening = this.runner.onDidChange(look);
    look(this.known(id));
    await pause(bringingMs, AbortSignal.any([done.signal, signal]));
    listening.dispose();
    signal.throwIfAborted();
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
    if (task === undefined)
      throw new SallyportError('task_unknown', `There is no task ${id}.`, 'It may have been removed.');
    return task;
  }

  dispose(): void {
    this.reviews.dispose();
    this.trouble.dispose();
    this.runner.dispose();
  }
}

function checkBudget(usd: number): void {
  if (Number.isFinite(usd) && usd > 0) return;
  throw new SallyportError(
    'invalid_input',
    `${usd} is no budget.`,
    'Give an amount in US dollars above 0, such as 5, or none for no limit.',
  );
}

/** Throws `prompt_empty` or `prompt_too_long`. */
export function checkPrompt(prompt: string): void {
  if (prompt.trim() === '') {
    throw new SallyportError('prompt_empty', 'The prompt is empty.', 'Say what the agent is to do.');
  }
  if (prompt.length > maxPromptLength) {
    throw new SallyportError(
      'prompt_too_long',
      `The prompt has ${prompt.length.toLocaleString('en')} characters; at most ${maxPromptLength.toLocaleString('en')} are possible.`,
      'Put the long part into a file of the repository and name that file in the prompt.',
    );
  }
}
