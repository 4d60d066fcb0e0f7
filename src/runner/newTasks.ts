import { dirname } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import { Quarantine } from '../git/quarantine.ts';
import { openRepository } from '../git/repository.ts';
import { scanSnapshot } from '../git/secretScan.ts';
import { takeSnapshot } from '../git/snapshot.ts';
import type { TaskId } from '../protocol/grammar.ts';
import { commitEachInstructions, switchWords, wholeSwitches } from '../protocol/switches.ts';
import { defaultLimits, newTaskId, titleOf, type Snapshot, type TaskSpec } from '../protocol/task.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { BranchNames } from './branchNames.ts';
import { policyFor } from './egressAnswers.ts';
import { checkCommitMessage, checkpointAt, isOnItsWay, workOf } from './goingOn.ts';
import { checkMountPoints } from './isolation.ts';
import { SecretsFound } from './secretsFound.ts';
import type { SnapshotRequest } from './servedTasks.ts';
import { checkBudget, checkPrompt, taskUnknown } from './submissionChecks.ts';
import type { TaskRunner } from './taskRunner.ts';
import type { Continuation, SubmitRequest, WorkspaceSettings } from './taskService.ts';
import type { TaskSurroundings } from './taskSurroundings.ts';

/** How long what a turn has brought is waited for, in milliseconds. */
const bringingMs = 10_000;

/** Makes tasks: of a repository here, of a snapshot that somebody sent, or of the end of a turn of an earlier task. */
export class NewTasks {
  private readonly runner: TaskRunner;
  private readonly around: TaskSurroundings;
  private readonly branches: BranchNames;

  constructor(runner: TaskRunner, around: TaskSurroundings) {
    this.runner = runner;
    this.around = around;
    this.branches = new BranchNames(() => runner.known().map((task) => task.spec.branch));
  }

  async submit(
    request: SubmitRequest,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<TaskState> {
    checkPrompt(request.prompt);
    const branch = this.branches.choose(request.branch);
    const policy = this.around.policy();
    const budgetUsd = request.budgetUsd ?? policy.budgetUsd;
    if (budgetUsd !== undefined) checkBudget(budgetUsd);
    const repository = await openRepository(request.repositoryPath, signal);
    const isolation = await this.around.isolation(request.isolation ?? policy.isolation, repository.ref.path);
    const workspace = await this.around.workspaces.read(repository.ref.id);
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
    const branch = this.branches.choose(request.branch);
    const policy = this.around.policy();
    const budgetUsd = request.budgetUsd ?? policy.budgetUsd;
    if (budgetUsd !== undefined) checkBudget(budgetUsd);
    const isolation = await this.around.isolation(policy.isolation, dirname(this.around.quarantineRoot));
    const egress = policyFor(policy.egress, await this.around.workspaces.read(repository.id), request.egress);
    const model = await this.around.model('', request.model, signal);
    const quarantine = Quarantine.open(this.around.quarantineRoot, repository.id);
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
      branch: this.branches.choose(branch),
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
    await this.around.workspaces.change(repositoryId, (settings) => ({
      ...settings,
      acceptedSecrets: [...new Set([...settings.acceptedSecrets, ...fingerprints])],
    }));
  }

  private known(id: TaskId): TaskState {
    const task = this.runner.state(id);
    if (task !== undefined) return task;
    throw taskUnknown(id);
  }
}
