import { SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { connectEngine } from '../engine/connect.ts';
import { sandboxRecipe } from '../engine/imageRecipe.ts';
import { acceptAsBranch } from '../git/accept.ts';
import { blob, changedFiles, patch, type DetailedChange } from '../git/diff.ts';
import { Quarantine } from '../git/quarantine.ts';
import { openRepository } from '../git/repository.ts';
import { takeSnapshot } from '../git/snapshot.ts';
import { defaultBranchName, isBranchName, maxPromptLength, type TaskId } from '../protocol/grammar.ts';
import { defaultLimits, newTaskId, titleOf, type TaskSpec } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { openDataFolder } from './dataFolder.ts';
import { examine } from './doctor.ts';
import { LocalRunner } from './localRunner.ts';
import type {
  DoctorCheck,
  Range,
  ResolvedModel,
  SubmitRequest,
  TaskService,
  WorkspaceSettings,
} from './taskService.ts';
import type { UserPolicy } from './userPolicy.ts';

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
  /** The user's own settings for the network and money; read anew for each task. */
  policy: () => UserPolicy;
  log: Logger;
}

const patchBytes = 8 << 20;
const blobBytes = 64 << 20;

/** Tasks on this machine's own engine. */
export async function createTaskService(options: LocalTaskOptions): Promise<TaskService> {
  const data = await openDataFolder(options.dataFolder);
  const runner = new LocalRunner({
    data,
    connect: () => connectEngine(discoveryOptions(options)),
    recipe: () => sandboxRecipe(options.distFolder, options.containerFolder),
    model: (demonstration) => modelFor(demonstration, options.credentials),
    log: options.log,
  });
  return new LocalTasks(runner, data.quarantine, options);
}

function discoveryOptions(options: LocalTaskOptions): Parameters<typeof connectEngine>[0] {
  const setting = options.engineSetting();
  return { env: process.env, ...(setting === undefined ? {} : { setting }) };
}

/** A task keeps its kind of model for life: one that began with the demonstration never gets a credential, and the other way round. */
async function modelFor(
  demonstration: boolean,
  credentials: () => Promise<ResolvedModel>,
): Promise<ResolvedModel> {
  const found = await credentials().catch((thrown: unknown) => {
    if (!demonstration) throw thrown;
    return undefined;
  });
  if (found?.demonstration === demonstration) return found;
  if (demonstration)
    return { label: 'demonstration model', demonstration, upstream: { kind: 'demonstration' } };
  throw new SallyportError(
    'no_credentials',
    'The task began with a credential, and there is none now.',
    'Set the API key again, then start a new task.',
  );
}

class LocalTasks implements TaskService {
  private readonly runner: LocalRunner;
  private readonly quarantineRoot: string;
  private readonly options: LocalTaskOptions;
  /** Branch names of tasks whose submission is under way. */
  private readonly given = new Set<string>();
  readonly onDidChange;
  readonly onDidRemove;
  readonly onTrouble;

  constructor(runner: LocalRunner, quarantineRoot: string, options: LocalTaskOptions) {
    this.runner = runner;
    this.quarantineRoot = quarantineRoot;
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
    const model = await this.options.credentials();
    const repository = await openRepository(request.repositoryPath, signal);
    const quarantine = Quarantine.open(this.quarantineRoot, repository.ref.id);
    await quarantine.adopt(repository, signal);
    const snapshot = await takeSnapshot(repository, quarantine, request.snapshot, signal);
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
      model: { label: model.label, demonstration: model.demonstration },
      createdAt: now,
    };
    return await this.runner.submit(spec, () => quarantine.snapshotBundle(snapshot), signal);
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

  answerEgress(): Promise<void> {
    throw new Error('Not there yet');
  }

  setBudget(): Promise<void> {
    throw new Error('Not there yet');
  }

  spentToday(): Promise<number> {
    throw new Error('Not there yet');
  }

  budgetsChanged(): Promise<void> {
    throw new Error('Not there yet');
  }

  workspaceSettings(): Promise<WorkspaceSettings> {
    throw new Error('Not there yet');
  }

  changeWorkspaceSettings(): Promise<void> {
    throw new Error('Not there yet');
  }

  async doctor({ signal }: { signal?: AbortSignal } = {}): Promise<DoctorCheck[]> {
    return await examine(this.options, signal);
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
