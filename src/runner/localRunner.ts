import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import type { Engine, ImageRecipe } from '../engine/engine.ts';
import { commitLeftovers } from '../git/leftoversCommit.ts';
import { Quarantine } from '../git/quarantine.ts';
import type { ForgeAccess } from '../protocol/control.ts';
import { foldAll } from '../protocol/foldTask.ts';
import { TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { newTaskId, type TaskSpec } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import { hasEnded, isAtRest, type TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import type { Admission } from './admission.ts';
import type { Ask } from './asks.ts';
import { Attendance, type TaskEntry } from './attendance.ts';
import { budgetGoingOn } from './budget.ts';
import type { DataFolder } from './dataFolder.ts';
import { EngineLink } from './engineLink.ts';
import { readFinalState } from './finalState.ts';
import { checkLeftovers, checkMayGoOn } from './goingOn.ts';
import { checkRoom } from './logLimit.ts';
import { askOwner, stopFromAside } from './otherOwner.ts';
import { checkPrompt } from './submissionChecks.ts';
import { SandboxKeeping } from './sandboxKeeping.ts';
import { Spending } from './spending.ts';
import { adoptStrays } from './strays.ts';
import type { Surroundings } from './surroundings.ts';
import { checkMayTalk } from './talk.ts';
import { TaskBeginning } from './taskBeginning.ts';
import { containersOf } from './taskContainers.ts';
import { TaskLog } from './taskLog.ts';
import type { Reopening, TaskRunner } from './taskRunner.ts';
import type { ResolvedModel } from './taskService.ts';
import { Terminals } from './terminals.ts';
import type { UserPolicy } from './userPolicy.ts';
import { Wakes } from './wakes.ts';

export interface LocalRunnerOptions {
  data: DataFolder;
  connect: () => Promise<Engine>;
  recipe: () => Promise<ImageRecipe>;
  /** Where the answers of a task's model come from; asked at each start of a gateway. */
  model: (spec: TaskSpec) => Promise<ResolvedModel>;
  /** The user's settings; read anew each time. */
  policy: () => UserPolicy;
  /** What the sandbox of a task with `forge` in its spec may read; holds a token. */
  forge?: ForgeAccess | undefined;
  log: Logger;
  /** Longest log of a task, in bytes. */
  logBytes?: number | undefined;
  /** The queue before the sandboxes; without one every task gets its sandbox at once. */
  admission?: Admission | undefined;
}

/** Tasks on this machine's container engine. */
export class LocalRunner implements TaskRunner {
  private readonly options: LocalRunnerOptions;
  private readonly entries = new Map<TaskId, TaskEntry>();
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<TaskId>();
  private readonly trouble = new Emitter<SallyportError>();
  private opening: Promise<void> | undefined;
  private readonly link: EngineLink;
  private readonly spending: Spending;
  private readonly keeping: SandboxKeeping;
  private readonly wakes: Wakes;
  private readonly attendance: Attendance;
  private readonly beginning: TaskBeginning;
  private readonly terminals: Terminals;
  private disposed = false;

  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  /** A failure that belongs to no single task's log, such as a full disk. */
  readonly onTrouble = this.trouble.event;

  constructor(options: LocalRunnerOptions) {
    this.options = options;
    const { data, policy, log } = options;
    this.link = new EngineLink(options);
    this.spending = new Spending({
      folder: data.spend,
      policy,
      onMoved: () => this.budgetsChanged(),
      log,
    });
    this.keeping = new SandboxKeeping({
      known: () => this.known(),
      policy: () => policy().keep,
      remove: (id) => this.removeKept(id),
      log,
    });
    this.wakes = new Wakes(data.tasks, log);
    this.attendance = new Attendance({
      tasks: data.tasks,
      around: () => this.surroundings(),
      changed: (state) => this.changed.fire(state),
      wake: (id) => this.wakes.tell(id),
      log,
    });
    this.beginning = new TaskBeginning({
      tasks: data.tasks,
      home: data.id,
      engine: () => this.engine(),
      entry: (id) => this.entries.get(id),
      log,
    });
    this.terminals = new Terminals(() => this.engine(), data.id);
  }

  /** The engine, connected on first use and anew after it went away. */
  engine(): Promise<Engine> {
    return this.link.engine();
  }

  async submit(wanted: TaskSpec, snapshot: () => ByteStream, signal?: AbortSignal): Promise<TaskState> {
    this.options.admission?.check(wanted.limits.memoryBytes);
    await this.open();
    signal?.throwIfAborted();
    if (this.entries.has(wanted.id)) {
      throw new SallyportError(
        'invalid_input',
        `There is a task ${wanted.id} already.`,
        'Submit it under a new id.',
      );
    }
    const folder = this.folderOf(wanted.id);
    const log = await TaskLog.open(folder);
    let begun;
    try {
      begun = await this.beginning.write(log, wanted);
    } catch (thrown) {
      // Of what could not begin nothing stays.
      await log.close();
      await rm(folder, { recursive: true, force: true });
      throw thrown;
    }
    const { state, release } = begun;
    const entry = this.add(log, state);
    if (release !== undefined) entry.release = release;
    this.changed.fire(state);
    this.attendance.attend(entry, snapshot);
    return state;
  }

  /** Loads the logs, and attends to what is not over. Idempotent. */
  open(): Promise<void> {
    this.opening ??= this.load();
    return this.opening;
  }

  private async load(): Promise<void> {
    const held = this.options.admission?.hold();
    this.wakes.listen((id) => this.woken(id));
    await this.loadAll();
    // What has containers but no log, because the data folder was lost, is taken up from its labels.
    void this.adoptStrays()
      .catch((thrown: unknown) =>
        this.options.log.debug(`No engine to look for strays: ${asSallyportError(thrown).message}`),
      )
      .finally(() => held?.dispose());
  }

  private async loadAll(): Promise<void> {
    for (const name of (await readdir(this.options.data.tasks)).sort()) {
      if (!TaskId.safeParse(name).success) continue;
      try {
        await this.loadTask(name);
      } catch (thrown) {
        const error = asSallyportError(thrown);
        this.options.log.error(`Task ${name} could not be loaded: ${error.message}`);
        this.trouble.fire(error);
      }
    }
  }

  private async loadTask(id: TaskId): Promise<void> {
    const folder = this.folderOf(id);
    const known = await readFinalState(folder);
    const log = known === undefined ? await TaskLog.open(folder) : TaskLog.openFinished(folder);
    let state = known;
    if (state === undefined) for await (const batch of log.read(0)) state = foldAll(batch, state);
    // A folder without a first event is a submission that was killed before it was one.
    if (state === undefined) {
      await rm(folder, { recursive: true, force: true });
      return;
    }
    const entry = this.add(log, state);
    this.changed.fire(state);
    if (!isAtRest(state)) await this.attendance.take(entry);
  }

  private add(log: TaskLog, state: TaskState): TaskEntry {
    const { id, repository } = state.spec;
    const quarantine = Quarantine.open(this.options.data.quarantine, repository.id);
    const entry: TaskEntry = { log, state, quarantine, leaving: new AbortController() };
    this.entries.set(id, entry);
    log.onAppend((events) => this.attendance.fold(entry, events));
    log.onTrouble((error) => {
      if (error !== undefined) this.trouble.fire(error);
    });
    return entry;
  }

  /** Another process has let a task go on, or put it away. */
  private woken(id: TaskId): void {
    const entry = this.entries.get(id);
    if (entry === undefined || isMine(entry)) return;
    this.attendance
      .take(entry)
      .catch((thrown: unknown) =>
        this.options.log.warn(`Looking at ${id}: ${asSallyportError(thrown).message}`),
      );
  }

  private async removeKept(id: TaskId): Promise<void> {
    const entry = this.entries.get(id);
    if (entry === undefined || isMine(entry)) return;
    // Without an engine nothing can be removed, and nobody is to wait for it.
    await this.engine();
    await this.attendance.takeAtRest(entry);
  }

  private surroundings(): Surroundings {
    const { data, model, forge, policy, log, logBytes, admission } = this.options;
    return {
      engine: () => this.engine(),
      engineGone: () => this.link.forget(),
      image: (report, signal) => this.link.image(report, signal),
      allowance: (state) => this.spending.allowance(state),
      spent: (task, event) => this.spending.record(task, event),
      budgetsMoved: () => void this.budgetsChanged(),
      keepsUntil: (state) => this.keeping.until(state),
      makeRoom: () => this.keeping.makeRoom(),
      home: data.id,
      model,
      forge,
      policy,
      log,
      logBytes,
      admission,
    };
  }

  /** What all tasks of this data folder have cost today (UTC), in US dollars. */
  spentToday(): Promise<number> {
    return this.spending.today();
  }

  /** Tells every running task's gateway what it may spend by now. Resolves when those that can be reached know. */
  async budgetsChanged(): Promise<void> {
    await Promise.all([...this.entries.values()].map(async ({ life }) => await life?.budgetsMoved()));
  }

  private async adoptStrays(): Promise<void> {
    const strays = adoptStrays(await this.engine(), this.options.data, (id) => this.entries.has(id));
    for await (const id of strays) await this.loadTask(id);
  }

  async list(): Promise<TaskState[]> {
    await this.open();
    return this.known();
  }

  /** What is loaded, oldest first. */
  known(): TaskState[] {
    return [...this.entries.values()]
      .map((entry) => entry.state)
      .sort((a, b) => (a.spec.id < b.spec.id ? -1 : 1));
  }

  state(id: TaskId): TaskState | undefined {
    return this.entries.get(id)?.state;
  }

  async *events(id: TaskId, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent, void> {
    for await (const batch of this.batches(id, after, signal)) yield* batch;
  }

  /** As `events`, in the batches in which they come. */
  async *batches(id: TaskId, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[], void> {
    await this.open();
    const entry = this.entry(id);
    if (isAtRest(entry.state) && after >= entry.state.lastEvent) return;
    for await (const batch of entry.log.follow(after, signal)) {
      yield batch;
      if (isAtRest(entry.state) && (batch.at(-1)?.n ?? 0) >= entry.state.lastEvent) return;
    }
  }

  async bundle(id: TaskId, have: readonly string[]): Promise<ByteStream> {
    await this.open();
    return this.entry(id).quarantine.bundle(id, [...have]);
  }

  async stop(id: TaskId): Promise<void> {
    await this.open();
    const entry = this.entry(id);
    if (hasEnded(entry.state)) return;
    if (entry.life !== undefined) await entry.life.stop();
    else {
      const engine = await this.engine();
      const { sandbox } = await containersOf(engine, this.options.data.id, id);
      if (sandbox?.status === 'running') await stopFromAside(engine, sandbox.id);
      else await this.askOwner(entry, { op: 'stop' });
    }
  }

  /**
   * Does what a user decides about a task that is under way, whichever process attends to it. Resolves when it is in the log;
   * where this process attends to it, when its gateway knows too. Nothing happens to a task that is over.
   */
  async answer(id: TaskId, ask: Ask): Promise<void> {
    await this.open();
    const entry = this.entry(id);
    if (hasEnded(entry.state)) return;
    if (entry.life !== undefined) await entry.life.answer(ask);
    else await this.askOwner(entry, ask);
  }

  async send(id: TaskId, text: string, { by }: { by?: string | undefined } = {}): Promise<void> {
    checkPrompt(text);
    await this.open();
    checkMayTalk(this.entry(id).state);
    const message = newTaskId(Date.now());
    await this.answer(id, { op: 'say', id: message, text, ...(by === undefined ? {} : { by }) });
    const { state } = this.entry(id);
    // It ended in the very moment.
    if (state.conversation?.said.includes(message) !== true) checkMayTalk(state);
  }

  async reopen(id: TaskId, { text, conversation, by }: Reopening, signal?: AbortSignal): Promise<TaskState> {
    await this.open();
    const entry = this.entry(id);
    this.options.admission?.check(entry.state.spec.limits.memoryBytes);
    return await this.attendance.atRest(entry, signal, async () => {
      const { state, log } = entry;
      checkMayGoOn(state);
      checkRoom(log.bytes, this.options.logBytes);
      const reopened = {
        type: 'reopened' as const,
        message: newTaskId(Date.now()),
        text,
        ...(by === undefined ? {} : { by }),
        conversation: conversation ?? state.conversation !== undefined,
        budgetUsd: budgetGoingOn(state),
      };
      await log.append([{ ...reopened, t: Date.now() }]);
      this.attendance.attend(entry);
      return entry.state;
    });
  }

  async commitLeftovers(id: TaskId, message: string): Promise<TaskState> {
    await this.open();
    const entry = this.entry(id);
    return await this.attendance.atRest(entry, undefined, async () => {
      const { spec } = entry.state;
      const leftovers = checkLeftovers(entry.state).commit;
      const { branch, identity } = spec;
      const commit = await commitLeftovers(entry.quarantine, {
        task: id,
        leftovers,
        branch,
        identity,
        message,
      });
      await entry.log.append([{ type: 'leftovers_committed', commit, t: Date.now() }]);
      return entry.state;
    });
  }

  async terminal(id: TaskId, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    await this.open();
    return await this.terminals.view(this.entry(id).state, size, signal);
  }

  /** Leaves it to the process that attends to the task. */
  private askOwner(entry: TaskEntry, ask: Ask): Promise<void> {
    const folder = this.folderOf(entry.state.spec.id);
    return askOwner({ state: () => entry.state, onDidChange: this.onDidChange, folder }, ask);
  }

  async remove(id: TaskId, { force = false }: { force?: boolean } = {}): Promise<void> {
    await this.open();
    const entry = this.entry(id);
    const { state } = entry;
    if (!force && !hasEnded(state)) {
      throw new SallyportError('task_busy', 'The task is still running.', 'Stop it first, then remove it.');
    }
    if (!force && state.pendingImports.length > 0) {
      throw new SallyportError(
        'commits_not_imported',
        `${state.pendingImports.length} commits of the task are not in the quarantine; removing it would delete the only copy.`,
        'Wait until they are imported, or remove it by force to discard them.',
      );
    }
    if (entry.life === undefined) await this.attendance.claimForRemoval(entry);
    if (!entry.state.sandboxRemoved) await entry.life?.discard();
    entry.life?.dispose();
    entry.leaving.abort();
    await entry.log.close();
    await entry.quarantine.removeTask(id);
    this.entries.delete(id);
    await entry.release?.();
    await rm(this.folderOf(id), { recursive: true, force: true });
    this.removed.fire(id);
  }

  folderOf(id: TaskId): string {
    return join(this.options.data.tasks, id);
  }

  quarantineOf(id: TaskId): Quarantine {
    return this.entry(id).quarantine;
  }

  private entry(id: TaskId): TaskEntry {
    const entry = this.entries.get(id);
    if (entry !== undefined) return entry;
    throw new SallyportError(
      'task_unknown',
      `There is no task ${id}.`,
      'It may have been removed; look at the list of tasks.',
    );
  }

  /** Leaves every task to itself; sandboxes go on, and are found again. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const part of [this.spending, this.keeping, this.wakes, this.terminals, this.attendance])
      part.dispose();
    for (const entry of this.entries.values()) this.attendance.leave(entry);
    this.link.dispose();
  }
}

/** True while this process attends to the task, or is about to. */
function isMine({ life, release }: TaskEntry): boolean {
  return life !== undefined || release !== undefined;
}
