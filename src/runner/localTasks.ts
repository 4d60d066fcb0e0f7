import { SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { connectEngine } from '../engine/connect.ts';
import { sandboxRecipe } from '../engine/imageRecipe.ts';
import { acceptAsBranch } from '../git/accept.ts';
import { blob, changedFiles, patch, type DetailedChange } from '../git/diff.ts';
import { Quarantine } from '../git/quarantine.ts';
import { openRepository } from '../git/repository.ts';
import { scanSnapshot } from '../git/secretScan.ts';
import { takeSnapshot } from '../git/snapshot.ts';
import type { Upstream } from '../protocol/control.ts';
import { defaultBranchName, isBranchName, maxPromptLength, type TaskId } from '../protocol/grammar.ts';
import {
  defaultLimits,
  newTaskId,
  titleOf,
  type ModelService,
  type Snapshot,
  type TaskSpec,
} from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { openDataFolder, type DataFolder } from './dataFolder.ts';
import { examine } from './doctor.ts';
import { checkAnswer, policyFor } from './egressAnswers.ts';
import { checkMountPoints, readIsolation } from './isolation.ts';
import { LocalRunner } from './localRunner.ts';
import type { ModelSources } from './modelSources.ts';
import { needsNetwork } from './sandboxNames.ts';
import { SecretsFound } from './secretsFound.ts';
import type {
  DoctorCheck,
  EgressAnswer,
  Range,
  ResolvedModel,
  SubmitRequest,
  TaskService,
  WorkspaceSettings,
} from './taskService.ts';
import type { UserPolicy } from './userPolicy.ts';
import { WorkspaceStore } from './workspaceStore.ts';

// The extension loads all that runs tasks, and finds credentials for them, as one bundle.
export { createModelSources } from './modelSources.ts';

export interface LocalTaskOptions {
  /** Root of task logs and quarantines. */
  dataFolder: string;
  /** Folder with supervisor.js and gateway.js. */
  distFolder: string;
  /** Folder with the sandbox image's Dockerfile. */
  containerFolder: string;
  /** Socket path or URL of the engine; found by itself when undefined. */
  engineSetting: () => string | undefined;
  /** Asked at each start of a gateway, with the path of the task's repository. Throws `no_credentials`. */
  credentials: (repositoryPath?: string) => Promise<ResolvedModel>;
  /** Checks a credential before a task is submitted; and for the doctor, what was found, and a call of the model. */
  modelSources?: Pick<ModelSources, 'list' | 'check'>;
  /** The user's own settings for the network and money; read anew for each task. */
  policy: () => UserPolicy;
  log: Logger;
  /** Longest log of a task, in bytes; a gibibyte when it is not said. */
  logBytes?: number;
}

const patchBytes = 8 << 20;
const blobBytes = 64 << 20;

/** Tasks on this machine's own engine. */
export async function createTaskService(options: LocalTaskOptions): Promise<TaskService> {
  const data = await openDataFolder(options.dataFolder);
  const workspaces = new WorkspaceStore(data.workspaces);
  const runner = new LocalRunner({
    data,
    connect: () => connectEngine(discoveryOptions(options)),
    recipe: () =>
      sandboxRecipe(options.distFolder, options.containerFolder, process.env, options.policy().extraCaFile),
    model: (spec) => modelFor(spec, options.credentials),
    policy: options.policy,
    log: options.log,
    logBytes: options.logBytes,
  });
  return new LocalTasks(runner, data, workspaces, options);
}

function discoveryOptions(options: LocalTaskOptions): Parameters<typeof connectEngine>[0] {
  const setting = options.engineSetting();
  return { env: process.env, ...(setting === undefined ? {} : { setting }) };
}

/**
 * A task keeps its kind of model for life: one that began with the demonstration never gets a credential, and the other way
 * round; and its agent speaks one service's protocol.
 */
async function modelFor(
  { model: { demonstration, service }, repository }: TaskSpec,
  credentials: LocalTaskOptions['credentials'],
): Promise<ResolvedModel> {
  const found = await credentials(repository.path).catch((thrown: unknown) => {
    if (!demonstration) throw thrown;
    return undefined;
  });
  if (found?.demonstration === demonstration) {
    const [began, now] = [service?.kind ?? 'anthropic', serviceKind(found.upstream)];
    if (began === now) return found;
    throw new SallyportError(
      'no_credentials',
      `The task began with ${serviceNames[began]}, and the credential is for ${serviceNames[now]} now.`,
      'Choose the former credential again, or start a new task.',
    );
  }
  if (demonstration)
    return { label: 'demonstration model', demonstration, upstream: { kind: 'demonstration' } };
  throw new SallyportError(
    'no_credentials',
    'The task began with a credential, and there is none now.',
    'Set the credential again, or start a new task.',
  );
}

const serviceNames: Record<ModelService['kind'], string> = {
  anthropic: 'the Anthropic API',
  bedrock: 'Amazon Bedrock',
  vertex: 'Vertex AI',
};

function serviceKind({ kind }: Upstream): ModelService['kind'] {
  return kind === 'bedrock' || kind === 'vertex' ? kind : 'anthropic';
}

class LocalTasks implements TaskService {
  private readonly runner: LocalRunner;
  private readonly quarantineRoot: string;
  private readonly workspaces: WorkspaceStore;
  private readonly options: LocalTaskOptions;
  /** Branch names of tasks whose submission is under way. */
  private readonly given = new Set<string>();
  readonly onDidChange;
  readonly onDidRemove;
  readonly onTrouble;

  constructor(runner: LocalRunner, data: DataFolder, workspaces: WorkspaceStore, options: LocalTaskOptions) {
    this.runner = runner;
    this.quarantineRoot = data.quarantine;
    this.workspaces = workspaces;
    this.options = options;
    this.onDidChange = runner.onDidChange;
    this.onDidRemove = runner.onDidRemove;
    this.onTrouble = runner.onTrouble;
  }

  open(): Promise<void> {
    return this.runner.open();
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
    const branch = request.branch ?? this.freeBranchName();
    if (!isBranchName(branch)) {
      throw new SallyportError(
        'invalid_branch',
        `"${branch}" is not a valid branch name.`,
        'Choose another, such as claude/my-task.',
      );
    }
    const policy = this.options.policy();
    const budgetUsd = request.budgetUsd ?? policy.budgetUsd;
    if (budgetUsd !== undefined) checkBudget(budgetUsd);
    const repository = await openRepository(request.repositoryPath, signal);
    const isolation = await readIsolation(request.isolation ?? policy.isolation, {
      workspaceFolder: repository.ref.path,
      dataFolder: this.options.dataFolder,
      engineSetting: this.options.engineSetting(),
      env: process.env,
    });
    const workspace = await this.workspaces.read(repository.ref.id);
    const egress = policyFor(policy.egress, workspace, request.egress);
    const model = await this.options.credentials(repository.ref.path);
    if (!model.demonstration) {
      const named = request.model === undefined ? {} : { model: request.model };
      await this.options.modelSources?.check(model, { ...named, signal });
    }
    const quarantine = Quarantine.open(this.quarantineRoot, repository.ref.id);
    await quarantine.adopt(repository, signal);
    const snapshot = await takeSnapshot(repository, quarantine, request.snapshot, signal);
    await checkMountPoints(isolation.mounts ?? [], quarantine.options(signal), snapshot.commit);
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
    const spec: TaskSpec = {
      id: newTaskId(now),
      title: titleOf(request.prompt),
      prompt: request.prompt,
      agent: {
        kind: 'claude-code',
        ...(request.model === undefined ? {} : { model: request.model }),
        ...(request.agentArgs === undefined ? {} : { args: request.agentArgs }),
      },
      repository: repository.ref,
      snapshot,
      branch,
      identity: repository.identity ?? { name: 'Sallyport', email: 'sallyport@localhost' },
      limits: { ...defaultLimits, ...request.limits },
      model: {
        label: model.label,
        demonstration: model.demonstration,
        ...(model.service === undefined ? {} : { service: model.service }),
      },
      egress,
      ...(budgetUsd === undefined ? {} : { budgetUsd }),
      isolation,
      createdAt: now,
    };
    return await this.runner.submit(spec, () => quarantine.snapshotBundle(snapshot), signal);
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

  /** By the second, and counted on where two tasks begin within one. */
  private freeBranchName(): string {
    const name = defaultBranchName(new Date());
    const taken = new Set([...this.given, ...this.tasks().map((task) => task.spec.branch)]);
    let free = name;
    for (let i = 2; taken.has(free); i++) free = `${name}-${i}`;
    this.given.add(free);
    return free;
  }

  stop(id: TaskId): Promise<void> {
    return this.runner.stop(id);
  }

  remove(id: TaskId, options?: { force?: boolean }): Promise<void> {
    return this.runner.remove(id, options);
  }

  events(id: TaskId, after: number, signal: AbortSignal): AsyncIterable<TaskEvent[]> {
    return this.runner.batches(id, after, signal);
  }

  result(id: TaskId): Range | undefined {
    const task = this.known(id);
    const imported = new Set(task.imported);
    const brought = task.commits.filter((commit) => imported.has(commit.sha));
    const newest = brought.findLast((commit) => commit.branch === task.spec.branch) ?? brought.at(-1);
    return newest && { from: task.spec.snapshot.commit, to: newest.sha };
  }

  leftovers(id: TaskId): Range | undefined {
    const { leftovers, imported } = this.known(id);
    if (leftovers === undefined || !imported.includes(leftovers.commit)) return undefined;
    return { from: leftovers.parent, to: leftovers.commit };
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
    return await blob(this.runner.quarantineOf(id), oid, blobBytes);
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
    const repository = await openRepository(this.known(id).spec.repository.path);
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
    return await examine(this.options, options);
  }

  private known(id: TaskId): TaskState {
    const task = this.task(id);
    if (task === undefined)
      throw new SallyportError('task_unknown', `There is no task ${id}.`, 'It may have been removed.');
    return task;
  }

  dispose(): void {
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
