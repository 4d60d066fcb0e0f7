import { randomBytes } from 'node:crypto';
import { watch, type FSWatcher } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import type { Engine, ImageRecipe } from '../engine/engine.ts';
import { commitLeftovers } from '../git/leftoversCommit.ts';
import { Quarantine } from '../git/quarantine.ts';
import type { ForgeAccess } from '../protocol/control.ts';
import { SessionId, TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { newTaskId, TaskSpec } from '../protocol/task.ts';
import type { Commit, TaskEvent } from '../protocol/taskEvent.ts';
import { hasEnded, isAtRest, type TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import type { Admission } from './admission.ts';
import { isHeeded } from './askEvents.ts';
import { asksFolder, leaveAsk, type Ask } from './asks.ts';
import { allowanceOf, budgetGoingOn } from './budget.ts';
import { call, request } from './control.ts';
import type { DataFolder } from './dataFolder.ts';
import { readFinalState, writeFinalState } from './finalState.ts';
import { checkLeftovers, checkMayGoOn } from './goingOn.ts';
import { keepSession, takeSession } from './keptSession.ts';
import { defaultKeep, expired, keptUntil, type KeepPolicy } from './keptSandboxes.ts';
import { checkRoom } from './logLimit.ts';
import { claim } from './ownership.ts';
import { checkPrompt } from './runnerTasks.ts';
import { labelNames } from './sandboxNames.ts';
import { SharedWork } from './sharedWork.ts';
import { SpendLedger } from './spendLedger.ts';
import { checkMayTalk } from './talk.ts';
import { foldAll } from '../protocol/foldTask.ts';
import type { Surroundings } from './surroundings.ts';
import { TaskLife } from './taskLife.ts';
import { TaskLog } from './taskLog.ts';
import type { Reopening, TaskRunner } from './taskRunner.ts';
import type { ResolvedModel } from './taskService.ts';
import { Terminals } from './terminals.ts';
import type { UserPolicy } from './userPolicy.ts';

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

/** Between two looks at what tasks of other processes have spent, in milliseconds. */
const spendWatchMs = 2000;
/** Between two looks at the sandboxes that are kept, in milliseconds. */
const sweepMs = 5000;
/** How long after the engine's disk was full nothing is kept, in milliseconds. */
const fullMs = 60_000;
/** How long a task that has ended may take until it is at rest, when somebody waits for that, in milliseconds. */
const restPatience = 30_000;
const restPollMs = 50;
/** Of the name of a file that is there for a moment. */
const wakeSuffix = '.woken';
/** How long the process that attends to a task may take to do what another one asks for, in milliseconds. */
const askPatience = 10_000;

interface Entry {
  log: TaskLog;
  state: TaskState;
  quarantine: Quarantine;
  life?: TaskLife;
  release?: () => Promise<void>;
  /** Reads along with another process. */
  reading?: boolean;
  /** Ends the reading along with another process. */
  leaving: AbortController;
}

/** Tasks on this machine's container engine. */
export class LocalRunner implements TaskRunner {
  private readonly options: LocalRunnerOptions;
  private readonly entries = new Map<TaskId, Entry>();
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<TaskId>();
  private readonly trouble = new Emitter<SallyportError>();
  private opening: Promise<void> | undefined;
  private connection: Promise<Engine> | undefined;
  private readonly imageWork: SharedWork<string>;
  private imageTag: string | undefined;
  private readonly ledger: SpendLedger;
  private readonly spendWatch: NodeJS.Timeout;
  private readonly terminals: Terminals;
  private spentSeen = 0;
  private readonly sweeper: NodeJS.Timeout;
  private sweeping = false;
  /** When the engine's disk was full last, in milliseconds since the epoch. */
  private fullAt = 0;
  private watcher: FSWatcher | undefined;
  /** Tells what this process says to others from what they say. */
  private readonly tag = randomBytes(6).toString('hex');
  private disposed = false;

  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  /** A failure that belongs to no single task's log, such as a full disk. */
  readonly onTrouble = this.trouble.event;

  constructor(options: LocalRunnerOptions) {
    this.options = options;
    this.ledger = new SpendLedger(options.data.spend);
    this.terminals = new Terminals(() => this.engine(), options.data.id);
    this.spendWatch = setInterval(() => void this.watchSpending(), spendWatchMs);
    this.spendWatch.unref();
    this.sweeper = setInterval(() => void this.sweep(), sweepMs);
    this.sweeper.unref();
    this.imageWork = new SharedWork(async (report, signal) => {
      const engine = await this.engine();
      const recipe = await options.recipe();
      await engine.ensureImage(recipe, report, signal);
      this.imageTag = recipe.tag;
    });
  }

  /** The engine, connected on first use and anew after it went away. */
  engine(): Promise<Engine> {
    this.connection ??= this.options.connect().catch((thrown: unknown) => {
      this.connection = undefined;
      throw thrown;
    });
    return this.connection;
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
    const folder = join(this.options.data.tasks, wanted.id);
    const log = await TaskLog.open(folder);
    let begun;
    try {
      begun = await this.begin(log, wanted, folder);
    } catch (thrown) {
      // Of what could not begin nothing stays.
      await log.close();
      await rm(folder, { recursive: true, force: true });
      throw thrown;
    }
    const { spec, state, release } = begun;
    const quarantine = this.quarantine(spec);
    const entry: Entry = {
      log,
      state,
      quarantine,
      leaving: new AbortController(),
      ...(release && { release }),
    };
    this.entries.set(spec.id, entry);
    this.listen(entry);
    this.changed.fire(state);
    this.attend(entry, snapshot);
    return state;
  }

  /** Writes the first event of a task. Throws `disk_full`: what has begun waits for room, but nobody is to wait to begin. */
  private async begin(
    log: TaskLog,
    wanted: TaskSpec,
    folder: string,
  ): Promise<{ spec: TaskSpec; state: TaskState; release: (() => Promise<void>) | undefined }> {
    const spec = await this.withSession(wanted, folder);
    const release = await claim(join(folder, 'owner'));
    await log.beginWriting(() => undefined);
    let state: TaskState | undefined;
    const { promise: full, reject } = Promise.withResolvers<never>();
    const first = log.onAppend((events) => (state = foldAll(events, state)));
    const trouble = log.onTrouble((error) => error !== undefined && reject(error));
    try {
      const commits = await this.inherit(spec);
      const t = Date.now();
      const inherited = commits.length === 0 ? [] : [{ type: 'inherited' as const, commits, t }];
      await Promise.race([log.append([{ type: 'submitted', t, spec }, ...inherited]), full]);
    } finally {
      first.dispose();
      trouble.dispose();
    }
    if (state === undefined) throw new Error('The log took no event');
    return { spec, state, release };
  }

  /** A task that goes on with the conversation of another one gets it here, if it was kept. */
  private async withSession({ resume, ...spec }: TaskSpec, folder: string): Promise<TaskSpec> {
    const earlier = resume === undefined ? undefined : this.entries.get(resume.task)?.state;
    if (resume === undefined || earlier === undefined) return spec;
    const { task, turn } = resume;
    const at = earlier.checkpoints.find((one) => one.turn === turn);
    const id = SessionId.safeParse(turn === undefined ? earlier.sessionId : at?.session?.id);
    const without = { ...spec, resume: { task, ...(turn === undefined ? {} : { turn }) } };
    // Only what it wrote down of its newest conversation is kept.
    if (!id.success || id.data !== earlier.sessionId) return without;
    if (turn !== undefined) await this.bringSession(earlier, id.data);
    if (!(await takeSession(join(this.options.data.tasks, task), folder, at?.session?.bytes))) return without;
    const before = earlier.spec.resume?.session?.costUsd ?? 0;
    const session = { id: id.data, costUsd: before + (at ?? earlier).costUsd };
    return { ...spec, resume: { ...without.resume, session } };
  }

  /** Of a task that is not over the conversation is in its sandbox only: what there is of it by now is kept. */
  private async bringSession({ spec, endedAt }: TaskState, id: string): Promise<void> {
    if (endedAt !== undefined) return;
    try {
      const engine = await this.engine();
      const labels = { [labelNames.home]: this.options.data.id, [labelNames.task]: spec.id };
      const all = await engine.list({ ...labels, [labelNames.role]: 'sandbox' });
      const sandbox = all.find(({ status }) => status === 'running');
      if (sandbox === undefined) return;
      const signal = AbortSignal.timeout(askPatience);
      const { data, reply } = await call(engine, sandbox.id, { op: 'session', id }, { signal });
      await keepSession(join(this.options.data.tasks, spec.id), data);
      await reply;
    } catch (thrown) {
      this.options.log.warn(`The conversation of ${spec.id}: ${asSallyportError(thrown).message}`);
    }
  }

  /** A task that goes on from a turn of another one has its commits from the beginning. */
  private async inherit(spec: TaskSpec): Promise<Commit[]> {
    const { id, from, resume, branch } = spec;
    const earlier = resume?.turn === undefined ? undefined : this.entries.get(resume.task);
    if (from === undefined || earlier === undefined) return [];
    const { quarantine, state } = earlier;
    const uncommitted = from.uncommitted === undefined ? [] : [from.uncommitted];
    const reached = new Set(await quarantine.between(spec.snapshot.commit, from.commit));
    const commits = state.commits
      .filter(({ sha }) => reached.has(sha) && state.imported.includes(sha))
      .map((commit) => ({ ...commit, branch }));
    await quarantine.keepTips(id, [
      ...[...commits.map(({ sha }) => sha), ...uncommitted]
        .filter((sha) => sha !== from.commit)
        .map((sha) => ({ sha })),
      { sha: from.commit, branch },
    ]);
    return commits;
  }

  /** Loads the logs, and attends to what is not over. Idempotent. */
  open(): Promise<void> {
    this.opening ??= this.load();
    return this.opening;
  }

  private async load(): Promise<void> {
    const held = this.options.admission?.hold();
    this.watchForOthers();
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
    const folder = join(this.options.data.tasks, id);
    const known = await readFinalState(folder);
    const log = known === undefined ? await TaskLog.open(folder) : TaskLog.openFinished(folder);
    let state = known;
    if (state === undefined) for await (const batch of log.read(0)) state = foldAll(batch, state);
    // A folder without a first event is a submission that was killed before it was one.
    if (state === undefined) {
      await rm(folder, { recursive: true, force: true });
      return;
    }
    const quarantine = this.quarantine(state.spec);
    const entry: Entry = { log, state, quarantine, leaving: new AbortController() };
    this.entries.set(id, entry);
    this.listen(entry);
    this.changed.fire(state);
    if (!isAtRest(state)) await this.take(entry);
  }

  /** Becomes the task's owner, or reads along while another process is. */
  private async take(entry: Entry): Promise<void> {
    if (entry.reading === true) return;
    const { id } = entry.state.spec;
    const release = await this.claim(id);
    if (release === undefined) {
      entry.reading = true;
      const tick = async (): Promise<boolean> => {
        if (isAtRest(entry.state)) return true;
        const mine = await this.claim(id);
        if (mine === undefined) return false;
        await this.own(entry, mine);
        return true;
      };
      entry.log
        .readAlong(tick, entry.leaving.signal)
        .catch((thrown: unknown) => {
          this.options.log.warn(`Reading along with ${id}: ${asSallyportError(thrown).message}`);
        })
        .finally(() => (entry.reading = false));
      return;
    }
    await this.own(entry, release);
  }

  /** @param anyhow attends to it also when it is at rest */
  private async own(entry: Entry, release: () => Promise<void>, anyhow = false): Promise<void> {
    entry.release = release;
    await entry.log.beginWriting((event) => this.fold(entry, [event]));
    if (isAtRest(entry.state) && (!anyhow || entry.state.sandboxRemoved)) await this.rest(entry);
    else this.attend(entry, this.snapshotOf(entry), entry.state.startedAt);
  }

  private attend(entry: Entry, snapshot: () => ByteStream, began?: number): void {
    const life = this.lifeOf(entry, snapshot, began);
    entry.life = life;
    void life
      .run()
      .then(() => this.rest(entry))
      .then(() => this.wake(entry.state.spec.id));
  }

  private lifeOf(entry: Entry, snapshot: () => ByteStream, began?: number): TaskLife {
    return new TaskLife({
      state: entry.state,
      folder: join(this.options.data.tasks, entry.state.spec.id),
      log: entry.log,
      around: this.surroundings(),
      quarantine: entry.quarantine,
      snapshot,
      began,
    });
  }

  /** A task at rest is nobody's: whoever wants it to go on, or its sandbox to go, claims it. */
  private async rest(entry: Entry): Promise<void> {
    const { state } = entry;
    if (!isAtRest(state)) return;
    delete entry.life;
    if (state.sandboxRemoved && !this.disposed) {
      await writeFinalState(join(this.options.data.tasks, state.spec.id), state).catch((thrown: unknown) => {
        this.options.log.debug(`No final state for ${state.spec.id}: ${asSallyportError(thrown).message}`);
      });
    }
    const { release } = entry;
    delete entry.release;
    await entry.log.endWriting();
    await release?.();
  }

  private surroundings(): Surroundings {
    return {
      engine: () => this.engine(),
      engineGone: () => {
        const broken = this.connection;
        this.connection = undefined;
        void broken?.then((engine) => engine.dispose()).catch(() => undefined);
      },
      image: async (report, signal) => {
        const engine = await this.engine();
        if (this.imageTag === undefined || !(await engine.hasImage(this.imageTag))) {
          await this.imageWork.join(report, signal);
        }
        if (this.imageTag === undefined) throw new Error('The image was built without a tag');
        return this.imageTag;
      },
      model: this.options.model,
      forge: this.options.forge,
      policy: this.options.policy,
      allowance: async (state) => {
        const { dayBudgetUsd: limitUsd } = this.options.policy();
        const spentUsd = limitUsd === undefined ? 0 : await this.spentToday();
        return allowanceOf(state, { spentUsd, limitUsd });
      },
      spent: async (task, { g, t, usd }) => {
        await this.ledger.record(task, g, usd, t).catch((thrown: unknown) => {
          this.options.log.error(`The day's spending was not written: ${asSallyportError(thrown).message}`);
        });
      },
      budgetsMoved: () => void this.budgetsChanged(),
      keepsUntil: (state) =>
        this.outlived().includes(state.spec.id) ? undefined : keptUntil(state, this.keepPolicy(), Date.now()),
      makeRoom: () => {
        this.fullAt = Date.now();
        void this.sweep();
      },
      home: this.options.data.id,
      log: this.options.log,
      logBytes: this.options.logBytes,
      admission: this.options.admission,
    };
  }

  /** What all tasks of this data folder have cost today (UTC), in US dollars. */
  spentToday(): Promise<number> {
    return this.ledger.total(Date.now());
  }

  /** Tells every running task's gateway what it may spend by now. Resolves when those that can be reached know. */
  async budgetsChanged(): Promise<void> {
    await Promise.all([...this.entries.values()].map(async ({ life }) => await life?.budgetsMoved()));
  }

  /** Tasks of other processes spend of the same day; and a day ends. */
  private async watchSpending(): Promise<void> {
    if (this.options.policy().dayBudgetUsd === undefined) return;
    const spent = await this.spentToday().catch(() => this.spentSeen);
    if (spent === this.spentSeen) return;
    this.spentSeen = spent;
    await this.budgetsChanged();
  }

  private listen(entry: Entry): void {
    entry.log.onAppend((events) => this.fold(entry, events));
    entry.log.onTrouble((error) => {
      if (error !== undefined) this.trouble.fire(error);
    });
  }

  private fold(entry: Entry, events: readonly TaskEvent[]): void {
    const before = entry.state;
    entry.state = foldAll(events, before) ?? before;
    // Whoever takes a log up again reads it from its beginning.
    if (entry.state === before) return;
    entry.life?.fold(entry.state);
    this.changed.fire(entry.state);
  }

  private async adoptStrays(): Promise<void> {
    const engine = await this.engine();
    for (const container of await engine.list({ [labelNames.home]: this.options.data.id })) {
      const id = container.labels[labelNames.task] ?? '';
      if (container.labels[labelNames.role] !== 'sandbox' || this.entries.has(id)) continue;
      const spec = TaskSpec.safeParse(parseJson(container.labels[labelNames.spec] ?? ''));
      if (!spec.success || spec.data.id !== id) continue;
      const folder = join(this.options.data.tasks, id);
      const log = await TaskLog.open(folder);
      const release = await claim(join(folder, 'owner'));
      if (release === undefined) continue;
      await log.beginWriting(() => undefined);
      await log.append([{ type: 'submitted', t: spec.data.createdAt, spec: spec.data }]);
      await log.close();
      await release();
      await this.loadTask(id);
    }
  }

  private quarantine(spec: TaskSpec): Quarantine {
    return Quarantine.open(this.options.data.quarantine, spec.repository.id);
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
    else await this.stopFromAside(entry);
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
    return await this.atRest(entry, signal, async () => {
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
      this.attend(entry, this.snapshotOf(entry));
      return entry.state;
    });
  }

  async commitLeftovers(id: TaskId, message: string): Promise<TaskState> {
    await this.open();
    const entry = this.entry(id);
    return await this.atRest(entry, undefined, async () => {
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

  /**
   * Does something with a task at rest as its owner, after what other processes have done with it is read in. Whoever lets it
   * go on stays the owner. Throws `task_busy` when it is not at rest, or another process has it.
   */
  private async atRest<T>(entry: Entry, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    await this.claimAtRest(entry, signal ?? new AbortController().signal);
    try {
      return await work();
    } finally {
      if (entry.life === undefined) await this.rest(entry);
      this.wake(entry.state.spec.id);
    }
  }

  private async claimAtRest(entry: Entry, signal: AbortSignal): Promise<void> {
    const { id } = entry.state.spec;
    const until = performance.now() + restPatience;
    while (performance.now() < until) {
      signal.throwIfAborted();
      if (!hasEnded(entry.state)) checkMayGoOn(entry.state);
      // What has just ended is being brought in and put away.
      const release =
        entry.life === undefined && entry.release === undefined ? await this.claim(id) : undefined;
      if (release !== undefined) {
        entry.release = release;
        await entry.log.beginWriting((event) => this.fold(entry, [event]));
        if (isAtRest(entry.state)) return;
        // Another process let it go on, and has left it.
        this.attend(entry, this.snapshotOf(entry), entry.state.startedAt);
        if (!hasEnded(entry.state)) checkMayGoOn(entry.state);
      }
      await pause(restPollMs, signal);
    }
    if (entry.life !== undefined) checkMayGoOn(entry.state);
    throw elsewhere(id);
  }

  private async claim(id: TaskId): Promise<(() => Promise<void>) | undefined> {
    const release = await claim(join(this.options.data.tasks, id, 'owner'));
    if (!this.disposed || release === undefined) return release;
    // Nobody is left to attend to it.
    await release();
    throw new SallyportError('cancelled', 'The tasks were closed.', 'Open them again.');
  }

  private snapshotOf({ quarantine, state }: Entry): () => ByteStream {
    return () => quarantine.snapshotBundle(state.spec.snapshot);
  }

  /** Other processes that think a task at rest look at it again. */
  private wake(id: TaskId): void {
    if (this.disposed) return;
    const path = join(this.options.data.tasks, `${id}.${this.tag}${wakeSuffix}`);
    void writeFile(path, '', { mode: 0o600 })
      .then(() => rm(path, { force: true }))
      .catch((thrown: unknown) => this.options.log.debug(asSallyportError(thrown).message));
  }

  /** One watch for all that is at rest. Where the system does not tell, a window sees it when it is asked for the task. */
  private watchForOthers(): void {
    if (this.disposed) return;
    try {
      this.watcher = watch(this.options.data.tasks, { persistent: false }, (_, name) => {
        const [id = '', tag, suffix] = name?.split('.') ?? [];
        if (suffix === undefined || `.${suffix}` !== wakeSuffix || tag === this.tag) return;
        const entry = this.entries.get(id);
        if (entry === undefined || entry.life !== undefined || entry.release !== undefined) return;
        this.take(entry).catch((thrown: unknown) =>
          this.options.log.warn(`Looking at ${name}: ${asSallyportError(thrown).message}`),
        );
      });
      this.watcher.on('error', () => undefined);
    } catch {
      // As said.
    }
  }

  /** Removes the sandboxes that are not to be kept any longer. */
  private async sweep(): Promise<void> {
    if (this.sweeping) return;
    this.sweeping = true;
    try {
      for (const id of this.outlived()) {
        const entry = this.entries.get(id);
        if (entry === undefined || entry.life !== undefined || entry.release !== undefined) continue;
        // Without an engine nothing can be removed, and nobody is to wait for it.
        await this.engine();
        const release = await this.claim(id);
        if (release !== undefined) await this.own(entry, release, true);
      }
    } catch (thrown) {
      this.options.log.debug(`Kept sandboxes: ${asSallyportError(thrown).message}`);
    } finally {
      this.sweeping = false;
    }
  }

  private outlived(): TaskId[] {
    return expired(this.known(), this.keepPolicy(), Date.now());
  }

  /** Where the disk has just been full, nothing is kept. */
  private keepPolicy(): KeepPolicy {
    const policy = this.options.policy().keep ?? defaultKeep;
    return Date.now() - this.fullAt < fullMs ? { ...policy, count: 0 } : policy;
  }

  async terminal(id: TaskId, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    await this.open();
    return await this.terminals.view(this.entry(id).state, size, signal);
  }

  /** Leaves it to the process that attends to the task, and waits until the log says that it is done. */
  private async askOwner(entry: Entry, ask: Ask): Promise<void> {
    if (isHeeded(entry.state, ask)) return;
    const { id } = entry.state.spec;
    const withdraw = await leaveAsk(join(this.options.data.tasks, id, asksFolder), ask);
    const done = new AbortController();
    const listening = this.changed.event((state) => {
      if (state.spec.id === id && (isHeeded(state, ask) || hasEnded(state))) done.abort();
    });
    if (!isHeeded(entry.state, ask)) await pause(askPatience, done.signal);
    listening.dispose();
    if (isHeeded(entry.state, ask) || hasEnded(entry.state)) return;
    await withdraw();
    throw elsewhere(id);
  }

  /** Stops a task that another process attends to: the supervisor listens to everybody on this machine. */
  private async stopFromAside(entry: Entry): Promise<void> {
    const { id } = entry.state.spec;
    const engine = await this.engine();
    const all = await engine.list({ [labelNames.home]: this.options.data.id, [labelNames.task]: id });
    const sandbox = all.find((one) => one.labels[labelNames.role] === 'sandbox' && one.status === 'running');
    if (sandbox === undefined) {
      await this.askOwner(entry, { op: 'stop' });
      return;
    }
    try {
      await request(engine, sandbox.id, { op: 'stop' });
    } catch (thrown) {
      // The owner removes the sandbox as soon as the agent has ended, which can be before the reply.
      if ((await engine.inspect(sandbox.id)) !== undefined) throw thrown;
    }
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
    if (entry.life === undefined) await this.claimForRemoval(entry);
    if (!entry.state.sandboxRemoved) await entry.life?.discard();
    entry.life?.dispose();
    entry.leaving.abort();
    await entry.log.close();
    await entry.quarantine.removeTask(id);
    this.entries.delete(id);
    await entry.release?.();
    await rm(join(this.options.data.tasks, id), { recursive: true, force: true });
    this.removed.fire(id);
  }

  folderOf(id: TaskId): string {
    return join(this.options.data.tasks, id);
  }

  /** Throws `task_busy` when another process has the task, or let it go on. */
  private async claimForRemoval(entry: Entry): Promise<void> {
    const { id } = entry.state.spec;
    let release: (() => Promise<void>) | undefined;
    // Whoever has just put it away lets go of it in a moment.
    for (let tries = 0; release === undefined; tries++) {
      if (tries > askPatience / restPollMs) throw elsewhere(id);
      if (tries > 0) await pause(restPollMs, entry.leaving.signal);
      release = await this.claim(id);
    }
    entry.release = release;
    await entry.log.beginWriting((event) => this.fold(entry, [event]));
    if (!hasEnded(entry.state)) {
      this.attend(entry, this.snapshotOf(entry), entry.state.startedAt);
      throw elsewhere(id);
    }
    if (!entry.state.sandboxRemoved) entry.life = this.lifeOf(entry, this.snapshotOf(entry));
  }

  quarantineOf(id: TaskId): Quarantine {
    return this.entry(id).quarantine;
  }

  private entry(id: TaskId): Entry {
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
    clearInterval(this.spendWatch);
    clearInterval(this.sweeper);
    this.watcher?.close();
    this.terminals.dispose();
    for (const entry of this.entries.values()) {
      entry.life?.dispose();
      entry.leaving.abort();
      void entry.log.close().then(() => entry.release?.());
    }
    void this.connection?.then((engine) => engine.dispose()).catch(() => undefined);
  }
}

function elsewhere(id: TaskId): SallyportError {
  return new SallyportError(
    'task_busy',
    `Another window attends to the task ${id}.`,
    'Use the window that started it, or close that window and try again.',
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
