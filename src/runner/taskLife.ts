import { rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, isAbort, type SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import { PausableTimer } from '../base/pausableTimer.ts';
import { LineSplitter } from '../base/lines.ts';
import type { ContainerState, Engine } from '../engine/engine.ts';
import { engineWarnings } from '../engine/warnings.ts';
import { commitLeftovers } from '../git/leftoversCommit.ts';
import type { Quarantine } from '../git/quarantine.ts';
import { maxPromptLength, SessionId } from '../protocol/grammar.ts';
import { standing } from '../protocol/ranges.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { defaultIdleMs, hasOwnImage, type TaskSpec } from '../protocol/task.ts';
import type { Again } from '../protocol/control.ts';
import type { FailureKind, RunnerBody, Stage } from '../protocol/taskEvent.ts';
import { hasEnded, isAtRest, turnsOf, type TaskState, isAsking, isInTurn } from '../protocol/taskState.ts';
import { WireDecoder, type WireItem } from '../protocol/wire.ts';
import type { Admission } from './admission.ts';
import { takeAsks, type Ask } from './asks.ts';
import { call, request } from './control.ts';
import { watchDisk } from './diskWatch.ts';
import { eventOf, isAnswered } from './egressAnswers.ts';
import { GatewayKeeper, type GatewaySurroundings } from './gatewayKeeper.ts';
import { Importer } from './importer.ts';
import { hasSession, keepSession, keptSession, takenSession } from './keptSession.ts';
import { isBulk, isNeeded, logLimitBytes, logReserveBytes } from './logLimit.ts';
import { mountWarning } from './mounts.ts';
import { makeOwnPlace } from './ownImage.ts';
import {
  gatewayContainer,
  labelNames,
  labels,
  type OwnPlace,
  sandboxContainer,
  volumeName,
  writesElsewhere,
} from './sandboxNames.ts';
import { checkMayAnswer, checkMayTalk, toDeliver } from './talk.ts';
import type { TaskLog, UnnumberedEvent } from './taskLog.ts';
import type { ResolvedModel } from './taskService.ts';

/** What a life needs of the runner around it. */
export interface Surroundings extends GatewaySurroundings {
  /** Connects, or gives the connection that there is. */
  engine(): Promise<Engine>;
  /** Forgets a connection that broke. */
  engineGone(): void;
  /** Tag of the sandbox image, once it is there. */
  image(report: (line: string) => void, signal: AbortSignal): Promise<string>;
  home: string;
  /** Longest log of a task, in bytes. */
  logBytes?: number | undefined;
  /** The queue before the sandboxes; without one every task has a place. */
  admission?: Admission | undefined;
  /** Until when the sandbox of a task that is over is to be kept, in milliseconds since the epoch; undefined for not at all. */
  keepsUntil(state: TaskState): number | undefined;
  /** The engine's disk is full: what is only kept is to go. */
  makeRoom(): void;
}

/** Name of the folder in which other processes leave what they ask of a task. */
export const asksFolder = 'asks';

/** How long a stopped agent has to end before its container is stopped, in milliseconds: longer than the supervisor's own patience. */
const stopPatience = 15_000;
/** How long a supervisor may take to say whether it has its task, in milliseconds. */
const answerPatience = 15_000;
/** How long the agent's conversation may take to be brought out, in milliseconds. */
const sessionPatience = 20_000;
const maxFailures = 5;
/** How many imported commits the supervisor is told, so that it does not announce them again. */
const maxKnown = 1000;
/** How long past its time limit a task may last before its container is stopped from outside, in milliseconds. */
const overtime = 60_000;
/** How long a log may be silent before it counts as read to its end, in milliseconds. */
const silence = 1000;
const openingBrace = 0x7b;
const engineRetryMs = [250, 500, 1000, 2000, 5000];

/**
 * One task, attended to from its submission until its sandbox is removed. Every step begins by looking at what is there,
 * so the same path serves a new task, a task found again after this process was killed, and one whose engine was restarted.
 */
export class TaskLife {
  private current: TaskState;
  private readonly folder: string;
  private readonly log: TaskLog;
  private readonly around: Surroundings;
  private readonly quarantine: Quarantine;
  private readonly snapshot: () => ByteStream;
  /** In the queue. */
  private readonly turn: number;
  /** Nobody gets a place by waiting until it is known whether this task has a sandbox. */
  private readonly unseen: Disposable | undefined;
  private readonly importer: Importer;
  private readonly gateway: GatewayKeeper;
  /** Ends everything in this process, and leaves the sandbox alone. */
  private readonly leaving = new AbortController();
  /** Ends the preparation when the user stops the task. */
  private readonly stopping = new AbortController();
  /** The number of the sandbox's last event that went to the log. */
  private lastTaken: number;
  private endTaken: boolean;
  /** The number of the gateway's last event that went to the log. */
  private lastOfGateway: number;
  /** Why this process ends the task, whatever its sandbox says of its end. */
  private verdict: Extract<RunnerBody, { type: 'ended' }> | undefined;
  /** Of the time limit that is kept from outside. */
  private clock: PausableTimer | undefined;
  /** Of the wait for the message after `said`. */
  private idle: { said: string | undefined; timer: PausableTimer; renew: () => void } | undefined;
  private clockTold: Promise<void> = Promise.resolve();
  private clockRuns: boolean | undefined;
  private answering: Promise<void> = Promise.resolve();
  private delivering: Promise<void> = Promise.resolve();
  /** Messages that this process has handed to the supervisor. */
  private readonly delivered = new Set<string>();
  /** Ends with the present look at the task; a failure is followed by another. */
  private attempt: AbortSignal = this.leaving.signal;
  private engineTold = false;
  /** The task is at rest, and this life over. */
  private isDone = false;

  constructor(options: {
    state: TaskState;
    folder: string;
    log: TaskLog;
    around: Surroundings;
    quarantine: Quarantine;
    snapshot: () => ByteStream;
    /** When it began, for a task of before a restart: it keeps its turn in the queue. */
    began?: number | undefined;
  }) {
    this.current = options.state;
    this.lastTaken = options.state.lastSandboxEvent;
    this.lastOfGateway = options.state.lastGatewayEvent;
    this.endTaken = hasEnded(options.state);
    this.folder = options.folder;
    this.log = options.log;
    this.around = options.around;
    this.quarantine = options.quarantine;
    this.snapshot = options.snapshot;
    this.turn = options.around.admission?.takeTurn(options.began) ?? 0;
    this.unseen = options.around.admission?.hold();
    this.importer = new Importer(
      () => this.current,
      this.quarantine,
      (body) => this.append([body]),
      this.around.log,
    );
    this.gateway = new GatewayKeeper({
      state: () => this.current,
      folder: this.folder,
      around: this.around,
      append: (events) => this.append(events),
      setClock: (running) => this.setClock(running),
    });
  }

  private hasLeft(): boolean {
    return this.leaving.signal.aborted;
  }

  /** From the log rather than from this process: the stop may have been asked for before a restart. */
  private isStopping(): boolean {
    return this.current.phase === 'stopping';
  }

  private workspaceStands(): boolean {
    return this.current.workspaceReady || hasEnded(this.current);
  }

  /** Resolves when the sandbox is removed, or when this process leaves. Never rejects. */
  async run(): Promise<void> {
    const over = new AbortController();
    const listening = AbortSignal.any([over.signal, this.leaving.signal]);
    const asks = takeAsks(join(this.folder, asksFolder), (ask) => this.answerAnother(ask), listening);
    asks.catch((thrown: unknown) => this.around.log.warn(`Asks: ${asSallyportError(thrown).message}`));
    try {
      await this.runToEnd();
    } finally {
      this.isDone = isAtRest(this.current);
      over.abort();
      this.unseen?.dispose();
      this.around.admission?.leave(this.current.spec.id);
    }
  }

  private async runToEnd(): Promise<void> {
    for (let failures = 0; !this.hasLeft(); failures++) {
      const attempt = new AbortController();
      this.attempt = AbortSignal.any([attempt.signal, this.leaving.signal]);
      try {
        const engine = await this.around.engine();
        if (this.engineTold) {
          this.engineTold = false;
          failures = 0;
          await this.say({ type: 'reattached' });
        }
        await this.attend(engine);
        return;
      } catch (thrown) {
        // What still reads for this attempt would read along with the next one.
        attempt.abort();
        await this.reading?.done.catch(() => undefined);
        this.reading = undefined;
        await this.gateway.forget();
        if (this.hasLeft()) return;
        const error = asSallyportError(thrown);
        this.around.log.warn(`Task ${this.current.spec.id}: ${error.code}: ${error.message}`);
        const wait = await this.meet(error, failures).catch(() => false);
        if (!wait) return;
        await pause(engineRetryMs[Math.min(failures, engineRetryMs.length - 1)] ?? 5000, this.leaving.signal);
      }
    }
  }

  /**
   * Tells an error in the task's log where it is final, and decides whether to look again: at what has changed meanwhile,
   * at an engine that may come back, or at what a failed preparation left behind.
   */
  private async meet(error: SallyportError, failures: number): Promise<boolean> {
    const engineTrouble = error.code.startsWith('engine_');
    if (engineTrouble) this.around.engineGone();
    if (error.code === 'cancelled' && this.neverBegan()) {
      await this.sayStoppedEarly();
      return true;
    }
    const patience = !engineTrouble && this.current.phase !== 'preparing' && failures < maxFailures;
    if (patience) return true;
    if (!hasEnded(this.current) && (this.current.phase === 'preparing' || !engineTrouble)) {
      await this.end(error);
      if (engineTrouble && error.code !== 'engine_gone') {
        // There never was an engine, so there is nothing to remove either.
        await this.say({ type: 'sandbox_removed' });
        return false;
      }
      return true;
    }
    if (!engineTrouble) return false;
    if (!this.engineTold) {
      this.engineTold = true;
      const text =
        'The container engine does not answer. Sallyport waits for it and then goes on where it was.';
      await this.say({ type: 'notice', level: 'warning', text });
    }
    return true;
  }

  private async end(error: SallyportError): Promise<void> {
    if (error.code === 'disk_full') this.around.makeRoom();
    if (this.isStopping() || error.code === 'cancelled') {
      await this.sayStoppedEarly();
      return;
    }
    await this.say({
      type: 'ended',
      outcome: 'failed',
      kind: failureKind(error),
      message: error.message,
      mend: error.mend,
    });
  }

  /** Looks at what there is of the task, and takes it from there to its end. */
  private async attend(engine: Engine): Promise<void> {
    const found = await this.containers(engine);
    if (found.sandbox !== undefined) this.around.admission?.occupy(this.claim());
    this.unseen?.dispose();
    // Whoever attended to it before may have been killed while its files were counted.
    if (found.sandbox?.paused === true) await engine.unpause(found.sandbox.id);
    if (!this.workspaceStands() && found.sandbox !== undefined) {
      await this.readSandbox(engine, found.sandbox, 'past');
    }
    if (!this.workspaceStands() && !this.isStopping()) {
      if (!(await this.goOn(engine, found.sandbox))) {
        await this.removeContainers(engine);
        if (this.current.lastSandboxEvent > 0) await this.say({ type: 'prepared_anew' });
        await this.prepare(engine);
      }
    }
    if (!hasEnded(this.current) && this.neverBegan()) await this.sayStoppedEarly();
    const { sandbox } = await this.containers(engine);
    if (sandbox === undefined) await this.sandboxMissing();
    else await this.accompany(engine, sandbox);
    if (!this.hasLeft()) await this.finish(engine);
  }

  /** Stopped before the supervisor was told to begin: it has nothing to end. */
  private neverBegan(): boolean {
    return this.isStopping() && !this.current.begun;
  }

  private sayStoppedEarly(): Promise<void> {
    return this.say({ type: 'ended', outcome: 'stopped', message: 'Stopped before the agent began.' });
  }

  private async containers(engine: Engine): Promise<{ sandbox?: ContainerState; gateway?: ContainerState }> {
    const { spec } = this.current;
    const all = await engine.list({ [labelNames.home]: this.around.home, [labelNames.task]: spec.id });
    const sandbox = all.find((one) => one.labels[labelNames.role] === 'sandbox');
    const gateway = all.find((one) => one.labels[labelNames.role] === 'gateway');
    return { ...(sandbox === undefined ? {} : { sandbox }), ...(gateway === undefined ? {} : { gateway }) };
  }

  private claim(): { id: string; memoryBytes: number; turn: number } {
    const { id, limits } = this.current.spec;
    return { id, memoryBytes: limits.memoryBytes, turn: this.turn };
  }

  /** Waits in the queue, and tells how long it is. */
  private async takePlace(admission: Admission, signal: AbortSignal): Promise<void> {
    let telling: Promise<void> = Promise.resolve();
    let newest = '';
    const tell = (text: string): void => {
      newest = text;
      // One after the other, and what is old by then is not told any more.
      telling = telling.then(async () => {
        if (text === newest && !signal.aborted) await this.progress('queue', text);
      });
      telling.catch(() => undefined);
    };
    await admission.enter(this.claim(), tell, signal);
    newest = '';
    await telling;
    signal.throwIfAborted();
  }

  /** Image, volume, gateway, sandbox, workspace. Cancelled by stop. */
  private async prepare(engine: Engine): Promise<void> {
    const { spec } = this.current;
    const signal = AbortSignal.any([this.leaving.signal, this.stopping.signal]);
    const { model, image, token } = await this.makeReady(signal);
    for (const { text, mend } of engineWarnings(engine.info)) {
      await this.say({ type: 'notice', level: 'warning', text: `${text} ${mend}` });
    }
    await engine.createVolume(volumeName(spec), labels(spec, this.around.home));
    const broken = new AbortController();
    const both = AbortSignal.any([signal, broken.signal]);
    const place = hasOwnImage(spec) ? await this.ownPlace(engine, image, signal) : image;
    for (const mount of spec.isolation?.mounts ?? []) {
      const text = mountWarning(mount);
      if (text !== undefined) await this.say({ type: 'notice', level: 'warning', text });
    }
    const gateway = (async () => {
      const id = await engine.create(gatewayContainer(spec, this.around.home, image));
      await this.gateway.begin(engine, id, { token, model, signal: both, reading: this.attempt });
    })();
    const sandbox = (async () => {
      const told = (await this.stretch(false)) ?? spec;
      const id = await engine.create(sandboxContainer(spec, this.around.home, place, this.current.reopened));
      // A reader that is there before the start is the fastest, and has to look for nothing.
      const done = this.readSandbox(engine, { id }, 'live');
      done.catch(() => undefined);
      this.reading = { id, done };
      await engine.start(id);
      await this.restoreSession(engine, id, told, both);
      // The supervisor waits for the gateway by itself, so the workspace is made meanwhile.
      await this.startAgent(engine, id, told, token, both);
    })();
    // What fails first ends the other, and is the failure that is told.
    let failure: SallyportError | undefined;
    const first = (thrown: unknown): void => {
      failure ??= asSallyportError(thrown);
      broken.abort();
    };
    await Promise.all([gateway.catch(first), sandbox.catch(first)]);
    signal.throwIfAborted();
    if (failure !== undefined) throw failure;
  }

  /** What every beginning needs, before there is anything on the engine. */
  private async makeReady(
    signal: AbortSignal,
  ): Promise<{ model: ResolvedModel; image: string; token: string }> {
    if (this.around.admission !== undefined) await this.takePlace(this.around.admission, signal);
    const model = await this.around.model(this.current.spec);
    const image = await this.around.image((line) => void this.progress('image', line), signal);
    await this.progress('sandbox', 'Starting the sandbox');
    const token = randomBytes(24).toString('base64url');
    // Kept for a gateway that has to be started again; it opens nothing but this task's own gateway.
    await writeFile(join(this.folder, 'token'), token, { mode: 0o600 });
    signal.throwIfAborted();
    return { model, image, token };
  }

  /**
   * Goes on in the sandbox that was kept since the task was over. False when there is none, or it cannot be gone on with: then
   * a new one is made, from what the quarantine and this folder hold.
   */
  private async goOn(engine: Engine, found: ContainerState | undefined): Promise<boolean> {
    if (found === undefined || !isFormer(found, this.current)) return false;
    const signal = AbortSignal.any([this.leaving.signal, this.stopping.signal]);
    const spec = await this.stretch(true);
    if (spec === undefined) return false;
    // What fails here is not the sandbox' fault, which is kept for another try.
    const { model, image, token } = await this.makeReady(signal);
    try {
      const { gateway: old } = await this.containers(engine);
      if (old !== undefined) {
        await this.gateway.drain(engine, old);
        await engine.remove(old.id);
      }
      const gateway = await engine.create(gatewayContainer(this.current.spec, this.around.home, image));
      const starting = engine.start(found.id);
      starting.catch(() => undefined);
      await this.gateway.begin(engine, gateway, { token, model, signal, reading: this.attempt });
      await starting;
      const done = this.readSandbox(engine, found, 'live');
      done.catch(() => undefined);
      this.reading = { id: found.id, done };
      const again = this.again();
      const after = this.lastTaken;
      const adopted = this.adopted();
      const message = { op: 'continue' as const, spec, token, after, again, adopt: adopted !== undefined };
      await request(engine, found.id, message, {
        ...(adopted === undefined ? {} : { data: adopted }),
        signal,
      });
      return true;
    } catch (thrown) {
      const error = asSallyportError(thrown);
      if (this.hasLeft() || signal.aborted || error.code.startsWith('engine_')) throw thrown;
      this.around.log.warn(`Going on with ${this.current.spec.id} in its sandbox: ${error.message}`);
      const text =
        'The sandbox that was kept could not be gone on with. A new one is made, from the commits and what was uncommitted.';
      await this.say({ type: 'notice', level: 'warning', text });
      await this.reading?.done.catch(() => undefined);
      this.reading = undefined;
      return false;
    }
  }

  /** What the host has committed of what was left, and the kept sandbox does not know. */
  private adopted(): ByteStream | undefined {
    const { commits, head, imported } = this.current;
    const made = commits.find(({ sha }) => sha === head?.commit);
    const [parent] = made?.parents ?? [];
    if (made === undefined || parent === undefined || !imported.includes(made.sha)) return undefined;
    if (this.current.checkpoints.some(({ commit }) => commit === made.sha)) return undefined;
    return this.quarantine.thinSnapshotBundle({ commit: made.sha }, [parent], this.leaving.signal);
  }

  /** What the supervisor is told when the task goes on; undefined when the conversation does not fit the kept sandbox. */
  private async stretch(inKept: boolean): Promise<TaskSpec | undefined> {
    const { spec, prompt, conversation, sessionId, costUsd } = this.current;
    if (prompt === undefined) return inKept ? undefined : spec;
    const id = SessionId.safeParse(sessionId);
    const has = id.success && (inKept || (await hasSession(this.folder)));
    if (inKept && !has) return undefined;
    const before = spec.resume?.session;
    const session = has ? { id: id.data, costUsd: (before?.costUsd ?? 0) + costUsd } : before;
    return {
      ...spec,
      // An agent that remembers nothing has to hear what it was all about.
      prompt: session === undefined ? bothPrompts(spec.prompt, prompt.text) : prompt.text,
      conversation: conversation !== undefined,
      from: standing(this.current),
      resume: { task: spec.id, ...(session === undefined ? {} : { session }) },
    };
  }

  private again(): Again {
    const { prompt, imported } = this.current;
    return {
      turn: turnsOf(this.current),
      ...(prompt === undefined ? {} : { message: prompt.message }),
      known: imported.slice(-maxKnown),
    };
  }

  private ownPlace(engine: Engine, ourImage: string, signal: AbortSignal): Promise<OwnPlace> {
    const report = (line: string): void => void this.progress('image', line);
    return makeOwnPlace(engine, this.current.spec, { home: this.around.home, ourImage, report, signal });
  }

  /** Brings an earlier conversation in, for the agent to go on with: the task's own, or that of another one. */
  private async restoreSession(
    engine: Engine,
    id: string,
    { resume }: TaskSpec,
    signal: AbortSignal,
  ): Promise<void> {
    const session = resume?.session;
    if (session === undefined) return;
    const data = resume?.task === this.current.spec.id ? keptSession(this.folder) : takenSession(this.folder);
    await request(engine, id, { op: 'restore', id: session.id }, { data, signal });
  }

  /** Keeps what the agent has written down of its conversation. A task without is no worse for its user. */
  private async keepSession(engine: Engine): Promise<void> {
    const sessionId = SessionId.safeParse(this.current.sessionId);
    if (!sessionId.success) return;
    const { sandbox } = await this.containers(engine);
    if (sandbox?.status !== 'running') return;
    const signal = AbortSignal.any([AbortSignal.timeout(sessionPatience), this.leaving.signal]);
    try {
      const message = { op: 'session', id: sessionId.data } as const;
      const { data, reply } = await call(engine, sandbox.id, message, { signal });
      await keepSession(this.folder, data);
      await reply;
    } catch (thrown) {
      this.around.log.debug(
        `No conversation of ${this.current.spec.id} is kept: ${asSallyportError(thrown).message}`,
      );
    }
  }

  private async startAgent(
    engine: Engine,
    id: string,
    spec: TaskSpec,
    token: string,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const again = this.current.reopened > 0 ? { again: this.again() } : {};
    const data = spec.from === undefined ? this.snapshot() : this.quarantine.snapshotBundle(spec.from);
    try {
      await request(engine, id, { op: 'start', spec, token, ...again }, { data, signal });
    } catch (thrown) {
      // The supervisor's own word on a start that failed is in its log, and better.
      if (!signal.aborted) await pause(300, this.leaving.signal);
      if (!hasEnded(this.current)) throw thrown;
    }
  }

  /** The reading that began with the preparation. */
  private reading: { id: string; done: Promise<void> } | undefined;

  /** Follows a sandbox to the end of the agent's work and to the last import, reviving it where that needs it. */
  private async accompany(engine: Engine, found: ContainerState): Promise<void> {
    // It could not be started, so nothing ever ran in it and nothing is to be read.
    if (found.status === 'created') return;
    const sandbox = await this.endIfIdle(engine, found);
    const revived = sandbox.status !== 'running';
    if (revived) {
      await this.readSandbox(engine, sandbox, 'live');
      if (hasEnded(this.current) && !this.importsWait()) return;
      await this.sayWhyDead(sandbox);
      await this.revive(engine, sandbox);
    } else if (hasEnded(this.current) && !this.importsWait()) {
      return;
    }
    const known = this.reading;
    this.reading = undefined;
    const over = new AbortController();
    const keepingSignal = AbortSignal.any([over.signal, this.leaving.signal]);
    // An engine that fails here fails the reading too, and is told there.
    const find = async (): Promise<ContainerState | undefined> => (await this.containers(engine)).gateway;
    const keeping = revived
      ? undefined
      : this.gateway.keep(engine, find, keepingSignal, this.attempt).catch(() => undefined);
    this.clock = this.watchTime(engine, sandbox.id);
    // Whoever attended to it before may not have come to tell it.
    const running = this.current.paused === undefined;
    this.clock.setRunning(running && this.current.phase !== 'waiting');
    this.watchIdle(engine, sandbox.id);
    if (known === undefined && !revived) this.setClock(running);
    const guarding = this.guardDisk(engine, sandbox.id, keepingSignal);
    try {
      this.pull(engine, sandbox.id);
      this.deliver();
      if (!hasEnded(this.current)) {
        if (this.isStopping()) void this.stopSandbox(engine, sandbox.id);
        await (known?.id === sandbox.id ? known.done : this.readSandbox(engine, sandbox, 'live'));
      }
      if (this.hasLeft()) return;
      if (!hasEnded(this.current)) await this.bringBack(engine, sandbox.id);
      await this.importer.pull(engine, sandbox.id, this.leaving.signal);
    } finally {
      this.clock.dispose();
      this.clock = undefined;
      this.idle?.timer.dispose();
      this.idle = undefined;
      over.abort();
      await keeping;
      await guarding;
    }
  }

  /**
   * Whoever revived a sandbox may have been killed before its supervisor was told what to do. Such a one waits for ever:
   * it is ended here, so that it is read and revived like every other one that is dead.
   */
  private async endIfIdle(engine: Engine, sandbox: ContainerState): Promise<ContainerState> {
    const isMine = this.reading?.id === sandbox.id;
    if (sandbox.status !== 'running' || isMine || hasEnded(this.current) || !this.workspaceStands())
      return sandbox;
    if (await this.isBusy(engine, sandbox.id)) return sandbox;
    await engine.stop(sandbox.id, 0);
    return (await engine.inspect(sandbox.id)) ?? sandbox;
  }

  /** True as well for a supervisor that gives no answer: the agent can stop it, and an older one does not know the question. */
  private async isBusy(engine: Engine, id: string): Promise<boolean> {
    const signal = AbortSignal.any([AbortSignal.timeout(answerPatience), this.attempt]);
    try {
      return (await request(engine, id, { op: 'status' }, { signal })).busy !== false;
    } catch (thrown) {
      this.attempt.throwIfAborted();
      const error = asSallyportError(thrown);
      if (error.code.startsWith('engine_')) throw error;
      this.around.log.warn(`The supervisor of ${this.current.spec.id}: ${error.message}`);
      return true;
    }
  }

  /** The log ended and the agent's work did not: the container is dead, or gone, or its log broke off. */
  private async bringBack(engine: Engine, id: string): Promise<void> {
    const now = await engine.inspect(id);
    if (now === undefined) {
      await this.sandboxMissing();
      return;
    }
    if (now.status === 'running') throw new Error('The log of the sandbox broke off');
    await this.sayWhyDead(now);
    await this.revive(engine, now);
    await this.readSandbox(engine, now, 'live');
  }

  /** What only the host can know about the end of a container. What remains is said by the revived supervisor. */
  private async sayWhyDead(dead: ContainerState): Promise<void> {
    if (hasEnded(this.current)) return;
    const exitCode = dead.exitCode === undefined ? {} : { exitCode: dead.exitCode };
    if (this.verdict !== undefined) await this.say(this.verdict);
    else if (this.timeIsUp) {
      const message = 'The time limit was reached and the sandbox had to be ended from outside.';
      await this.say({ type: 'ended', outcome: 'timed_out', message });
    } else if (this.isStopping()) {
      await this.say({
        type: 'ended',
        outcome: 'stopped',
        message: 'Stopped; the sandbox had to be ended from outside.',
      });
    } else if (dead.oomKilled) {
      await this.say({
        type: 'ended',
        outcome: 'failed',
        kind: 'out_of_memory',
        ...exitCode,
        message: 'The sandbox reached its memory limit and was ended.',
        mend: 'Raise the memory limit in the settings, or ask for less at once.',
      });
    }
  }

  private timeIsUp = false;

  /**
   * The supervisor keeps the time limit; this is for a supervisor that cannot. Counted from now and not from the
   * submission, because the image may have been built in between.
   */
  private watchTime(engine: Engine, id: string): PausableTimer {
    return new PausableTimer(this.current.spec.limits.timeMs + overtime, () => {
      if (hasEnded(this.current)) return;
      this.timeIsUp = true;
      engine.stop(id, 2).catch(() => undefined);
    });
  }

  /**
   * A conversation waits no longer than its supervisor says it will, for each message of the user's: what a sandbox says of
   * waiting is a claim, and stops the clock.
   */
  private watchIdle(engine: Engine, id: string): void {
    const { conversation, spec } = this.current;
    if (conversation === undefined) return;
    const said = conversation.said.at(-1);
    const timer = new PausableTimer(
      (spec.limits.idleMs ?? defaultIdleMs) + overtime,
      () => {
        if (hasEnded(this.current)) return;
        this.timeIsUp = true;
        engine.stop(id, 2).catch(() => undefined);
      },
      this.current.phase === 'waiting',
    );
    this.idle?.timer.dispose();
    this.idle = { said, timer, renew: () => this.watchIdle(engine, id) };
  }

  /** The time in which a budget is used up is not the agent's. */
  private setClock(running: boolean): void {
    this.clock?.setRunning(running && this.current.phase !== 'waiting');
    if (this.clockRuns === running) return;
    this.clockRuns = running;
    this.clockTold = this.clockTold.then(async () => {
      if (hasEnded(this.current) || this.hasLeft()) return;
      try {
        const engine = await this.around.engine();
        const { sandbox } = await this.containers(engine);
        if (sandbox?.status !== 'running') return;
        await request(engine, sandbox.id, { op: 'clock', running }, { signal: this.leaving.signal });
      } catch (thrown) {
        this.clockRuns = undefined;
        this.around.log.warn(`The clock of ${this.current.spec.id}: ${asSallyportError(thrown).message}`);
      }
    });
  }

  private async guardDisk(engine: Engine, sandbox: string, signal: AbortSignal): Promise<void> {
    try {
      const { gateway } = await this.containers(engine);
      if (gateway === undefined) return;
      const { spec } = this.current;
      const watch = { sandbox, gateway: gateway.id, limitBytes: spec.limits.diskBytes };
      const over = await watchDisk(engine, { ...watch, uncounted: writesElsewhere(spec) }, signal);
      if (over !== undefined) this.cutOff('disk_full', over.message, over.mend);
    } catch (thrown) {
      // An engine that went away is told by the reading.
      if (!isAbort(thrown)) this.around.log.warn(`Disk watch: ${asSallyportError(thrown).message}`);
    }
  }

  /** Ends the agent for a reason of this side's; what it committed or left is still brought in. */
  private cutOff(kind: FailureKind, message: string, mend: string): void {
    if (this.verdict !== undefined || this.endTaken) return;
    if (kind === 'disk_full') this.around.makeRoom();
    this.verdict = { type: 'ended', outcome: 'failed', kind, message, mend };
    void this.interrupt();
  }

  /** Starts an ended container again, without the agent, so that what it holds can be brought out. */
  private async revive(engine: Engine, sandbox: ContainerState): Promise<void> {
    await engine.start(sandbox.id);
    const { spec, lastSandboxEvent } = this.current;
    const turn = turnUnderWay(this.current);
    const session = SessionId.safeParse(this.current.sessionId);
    // What was left out of a log that is too long has had its numbers too.
    const after = Math.max(lastSandboxEvent, this.lastTaken);
    await request(
      engine,
      sandbox.id,
      { op: 'resume', after, spec, turn, ...(session.success ? { session: session.data } : {}) },
      { signal: this.leaving.signal },
    );
  }

  /**
   * Copies the sandbox's log to the task's. `live`: until the agent's work is over and that is copied, or the container
   * has ended. `past`: what is there now, which is known by a silence.
   */
  private async readSandbox(engine: Engine, sandbox: { id: string }, until: 'live' | 'past'): Promise<void> {
    const enough = new AbortController();
    const signal = AbortSignal.any([enough.signal, this.attempt]);
    const decoder = new WireDecoder(this.current.lastSandboxEvent);
    let batch: UnnumberedEvent[] = [];
    const splitter = new LineSplitter((line) => {
      // Of a flood only what can be an event is looked at.
      if (this.verdict?.kind === 'log_limit' && line[0] !== openingBrace) return;
      for (const item of decoder.push(line)) {
        if (item.kind === 'event') batch.push(item.event);
        else batch.push({ type: 'notice', level: 'warning', text: describe(item), t: Date.now() });
      }
    }, 32 << 10);
    const idle = until === 'past' ? setTimeout(() => enough.abort(), silence) : undefined;
    try {
      for await (const chunk of engine.logs(sandbox.id, signal)) {
        splitter.push(chunk);
        if (batch.length === 0) continue;
        const events = batch;
        batch = [];
        await this.append(events);
        if (events.some(({ type }) => ['commit', 'leftovers', 'checkpoint'].includes(type)))
          this.pull(engine, sandbox.id);
        if (events.some((event) => event.type === 'ended')) return;
        idle?.refresh();
      }
    } catch (thrown) {
      if (!enough.signal.aborted) throw thrown;
    } finally {
      clearTimeout(idle);
      enough.abort();
    }
  }

  private pull(engine: Engine, container: string): void {
    this.importer.pull(engine, container, this.leaving.signal).catch((thrown: unknown) => {
      if (!isAbort(thrown)) this.around.log.warn(`Import broke off: ${asSallyportError(thrown).message}`);
    });
  }

  private async sandboxMissing(): Promise<void> {
    if (hasEnded(this.current)) return;
    await this.say({
      type: 'ended',
      outcome: this.isStopping() ? 'stopped' : 'failed',
      ...(this.isStopping() ? {} : { kind: 'sandbox_lost' as const }),
      message: 'The sandbox is gone: it was removed from outside.',
      mend: 'What was imported before is in the quarantine; start a new task for the rest.',
    });
  }

  private importsWait(): boolean {
    const { pendingImports, refusedImports, importFailure } = this.current;
    // A refusal is the last word on what was refused, and says nothing of the rest.
    const broken = importFailure !== undefined && importFailure.code !== 'import_refused';
    return pendingImports.length > refusedImports.length && !broken;
  }

  /** Everything is in: nothing stays but log and quarantine. A sandbox with the only copy of a commit is kept, stopped. */
  private async finish(engine: Engine): Promise<void> {
    if (!hasEnded(this.current)) throw new Error('The log of the sandbox ended early');
    await this.keepSession(engine);
    if (this.hasLeft()) return;
    if (this.current.pendingImports.length > 0) {
      const { sandbox, gateway } = await this.containers(engine);
      if (gateway !== undefined) {
        await this.gateway.drain(engine, gateway);
        await engine.remove(gateway.id);
      }
      if (sandbox !== undefined) {
        await engine.stop(sandbox.id, 2);
        return;
      }
    }
    await this.commitLeftovers();
    const until = this.around.keepsUntil(this.current);
    if (until !== undefined && (await this.keepSandbox(engine, until))) return;
    await this.removeContainers(engine);
    await this.say({ type: 'sandbox_removed' });
  }

  /** What was left uncommitted becomes a commit by itself, where the user wants that. */
  private async commitLeftovers(): Promise<void> {
    const { spec, leftovers, imported } = this.current;
    const { id: task, branch, identity, commitMessage: message } = spec;
    if (message === undefined || leftovers === undefined || !imported.includes(leftovers.commit)) return;
    try {
      const made = { task, leftovers: leftovers.commit, branch, identity, message };
      const commit = await commitLeftovers(this.quarantine, made, this.leaving.signal);
      await this.say({ type: 'leftovers_committed', commit });
    } catch (thrown) {
      if (this.hasLeft()) return;
      const text = `What was left uncommitted was not committed: ${asSallyportError(thrown).message}`;
      await this.say({ type: 'notice', level: 'warning', text });
    }
  }

  /** Keeps the sandbox, stopped, without its gateway. False when there is none. */
  private async keepSandbox(engine: Engine, until: number): Promise<boolean> {
    const { sandbox, gateway } = await this.containers(engine);
    if (sandbox === undefined || sandbox.status === 'created') return false;
    const { begun, workspaceReady } = this.current;
    // Nothing is in one that was never ready.
    if (!(begun && workspaceReady) && !isFormer(sandbox, this.current)) return false;
    if (gateway !== undefined) {
      await this.gateway.drain(engine, gateway);
      await engine.remove(gateway.id);
    }
    await engine.stop(sandbox.id, 2);
    await rm(join(this.folder, 'token'), { force: true });
    if (this.current.kept !== undefined) return true;
    // What it said after its end counts as said, so that it goes on behind it.
    await this.readSandbox(engine, sandbox, 'live');
    if (!this.hasLeft()) await this.say({ type: 'sandbox_kept', until, after: this.lastTaken });
    return true;
  }

  private async removeContainers(engine: Engine): Promise<void> {
    const { gateway } = await this.containers(engine);
    if (gateway !== undefined) await this.gateway.drain(engine, gateway);
    const { spec } = this.current;
    const all = { [labelNames.home]: this.around.home, [labelNames.task]: spec.id };
    await Promise.all((await engine.list(all)).map(({ id }) => engine.remove(id)));
    for (const { name } of await engine.listVolumes(all)) await engine.removeVolume(name);
    await rm(join(this.folder, 'token'), { force: true });
  }

  /** As `answer`, for another process: it learns from the log that nothing came of what is refused. */
  private async answerAnother(ask: Ask): Promise<void> {
    try {
      await this.answer(ask);
    } catch (thrown) {
      const { code } = asSallyportError(thrown);
      if (code !== 'conflict' && code !== 'task_busy') throw thrown;
    }
  }

  /** What a user decides, in this window or another. Resolves when it is in the log and the gateway knows. */
  answer(ask: Ask): Promise<void> {
    const answered = this.answering.then(() => this.answerNow(ask));
    this.answering = answered.catch(() => undefined);
    return answered;
  }

  private async answerNow(ask: Ask): Promise<void> {
    if (hasEnded(this.current)) return;
    switch (ask.op) {
      case 'egress':
        if (!isAnswered(this.current, ask.answer)) await this.say(eventOf(ask.answer));
        break;
      case 'budget':
        if (this.current.budgetUsd !== ask.usd) await this.say({ type: 'budget_set', usd: ask.usd });
        break;
      case 'say':
        await this.hear(ask);
        return;
      case 'answer':
        await this.hearAnswer(ask);
        return;
      case 'interrupt':
        await this.hearInterrupt(ask);
        return;
      case 'stop':
        await this.stop();
        return;
    }
    await this.gateway.sync();
  }

  private async hear({ id, text, by }: Extract<Ask, { op: 'say' }>): Promise<void> {
    if (this.current.conversation?.said.includes(id) === true) return;
    checkMayTalk(this.current);
    const queued = this.current.phase !== 'waiting' || isAsking(this.current);
    await this.say({ type: 'said', id, text, queued, ...(by === undefined ? {} : { by }) });
    this.deliver();
  }

  private async hearAnswer({ id, answer, by }: Extract<Ask, { op: 'answer' }>): Promise<void> {
    const { conversation } = this.current;
    if (conversation?.answers.some((one) => one.id === id) === true) return;
    checkMayAnswer(this.current, id, answer);
    await this.say({ type: 'answered', id, answer, ...(by === undefined ? {} : { by }) });
    this.deliver();
  }

  private async hearInterrupt({ by }: Extract<Ask, { op: 'interrupt' }>): Promise<void> {
    if (this.current.conversation?.interrupting === true || !isInTurn(this.current)) return;
    await this.say({ type: 'interrupting', ...(by === undefined ? {} : { by }) });
    this.deliver();
  }

  /** Hands over what the user has said and the agent has not got yet. What cannot be handed over now is at the next look. */
  private deliver(): void {
    this.delivering = this.delivering
      .then(() => this.deliverAll())
      .catch((thrown: unknown) =>
        this.around.log.warn(`A message to ${this.current.spec.id}: ${asSallyportError(thrown).message}`),
      );
  }

  private async deliverAll(): Promise<void> {
    for (const { key, what } of toDeliver(this.current)) {
      if (this.delivered.has(key) || !this.workspaceStands()) continue;
      for (let tries = 1; !hasEnded(this.current) && !this.hasLeft(); tries++) {
        try {
          const engine = await this.around.engine();
          const { sandbox } = await this.containers(engine);
          if (sandbox?.status !== 'running') return;
          await request(engine, sandbox.id, what, { signal: this.leaving.signal });
          this.delivered.add(key);
          break;
        } catch (thrown) {
          if (tries >= maxFailures) throw thrown;
          await pause(engineRetryMs[tries - 1] ?? 5000, this.leaving.signal);
        }
      }
    }
  }

  /** The gateway is told what it may spend by now. */
  async budgetsMoved(): Promise<void> {
    if (!hasEnded(this.current)) await this.gateway.sync();
  }

  /** Asks the supervisor to end the agent; ends the container when it does not. */
  async stop(): Promise<void> {
    if (hasEnded(this.current)) return;
    const { phase } = this.current;
    await this.say({ type: 'stopping' });
    this.stopping.abort(new DOMException('Stopped by the user', 'AbortError'));
    if (phase === 'running' || phase === 'waiting' || phase === 'stopping') await this.interrupt();
  }

  private async interrupt(): Promise<void> {
    try {
      const engine = await this.around.engine();
      const { sandbox } = await this.containers(engine);
      if (sandbox !== undefined) await this.stopSandbox(engine, sandbox.id);
    } catch (thrown) {
      this.around.log.warn(`Stopping ${this.current.spec.id}: ${asSallyportError(thrown).message}`);
    }
  }

  private async stopSandbox(engine: Engine, id: string): Promise<void> {
    const patience = AbortSignal.timeout(stopPatience);
    try {
      await request(engine, id, { op: 'stop' }, { signal: AbortSignal.any([patience, this.leaving.signal]) });
      while (!hasEnded(this.current) && !patience.aborted) await pause(50, this.leaving.signal);
    } catch (thrown) {
      this.around.log.warn(
        `The supervisor of ${this.current.spec.id} did not stop: ${asSallyportError(thrown).message}`,
      );
    }
    if (!hasEnded(this.current) && !this.hasLeft()) await engine.stop(id, 2);
  }

  /** Removes every trace of the task from the engine, whatever is in it. */
  async discard(): Promise<void> {
    this.leaving.abort();
    this.gateway.dispose();
    this.unseen?.dispose();
    if (this.current.sandboxRemoved) return;
    const engine = await this.around.engine();
    await this.removeContainers(engine);
  }

  /** Leaves the task to itself: the sandbox goes on. */
  dispose(): void {
    this.leaving.abort(new DOMException('Leaving', 'AbortError'));
    this.gateway.dispose();
  }

  private progress(stage: Stage, text: string): Promise<void> {
    if (text === this.current.progress) return Promise.resolve();
    return this.say({ type: 'progress', stage, text });
  }

  private say(body: RunnerBody): Promise<void> {
    return this.append([{ ...body, t: Date.now() }]);
  }

  /** Whatever reads a container, and how often: each of its events is taken once. */
  private append(events: UnnumberedEvent[]): Promise<void> {
    // The log may be another process' by now.
    if (this.isDone) return Promise.resolve();
    const { logBytes = logLimitBytes } = this.around;
    const room = logBytes - this.log.bytes;
    if (room <= 0) this.cutOffLog(logBytes);
    const fresh: UnnumberedEvent[] = [];
    for (const event of events) {
      if (!this.isFresh(event)) continue;
      if (room <= 0 && (room < -logReserveBytes ? !isNeeded(event) : isBulk(event))) continue;
      fresh.push(event.type === 'ended' ? this.judged(event) : event);
    }
    return fresh.length === 0 ? Promise.resolve() : this.log.append(fresh);
  }

  private isFresh(event: UnnumberedEvent): boolean {
    if (event.type === 'prepared_anew') this.lastTaken = 0;
    if (event.s !== undefined) {
      if (event.s <= this.lastTaken) return false;
      this.lastTaken = event.s;
    }
    if (event.g !== undefined) {
      if (event.g <= this.lastOfGateway) return false;
      this.lastOfGateway = event.g;
    }
    if (event.type !== 'ended') return true;
    // Host and sandbox can both tell the end; the first word stands.
    if (this.endTaken) return false;
    this.endTaken = true;
    return true;
  }

  /** Of a task that was cut off the sandbox knows only that it was asked to stop. */
  private judged(event: UnnumberedEvent): UnnumberedEvent {
    const { t, s } = event;
    return this.verdict === undefined ? event : { ...this.verdict, t, ...(s === undefined ? {} : { s }) };
  }

  private cutOffLog(limitBytes: number): void {
    this.cutOff(
      'log_limit',
      `The task's log has reached its limit of ${Math.round(limitBytes / 2 ** 20).toLocaleString('en')} MiB, and the agent was ended. What it printed after that is not in the log.`,
      'Look at the end of the log for what printed so much, and have it write less, or to a file.',
    );
  }

  /** The fold is fed by the log, so that the state holds only what is in the file. */
  fold(state: TaskState): void {
    this.current = state;
    this.clock?.setRunning(state.paused === undefined && state.phase !== 'waiting');
    if (this.idle?.said !== state.conversation?.said.at(-1)) this.idle?.renew();
    this.idle?.timer.setRunning(state.phase === 'waiting');
  }
}

/** True for a sandbox of before the task went on. */
function isFormer({ labels: said, status }: ContainerState, { reopened }: TaskState): boolean {
  return status !== 'created' && Number(said[labelNames.stretch] ?? 0) < reopened;
}

/** Of which the end is told when the sandbox is dead. */
function turnUnderWay(state: TaskState): number {
  const { conversation, checkpoints } = state;
  return conversation === undefined ? (checkpoints.at(-1)?.turn ?? 0) + 1 : conversation.turn;
}

function bothPrompts(first: string, second: string): string {
  return `${first}\n\n${second}`.slice(0, maxPromptLength);
}

function failureKind(error: SallyportError): FailureKind {
  if (error.code === 'disk_full') return 'disk_full';
  if (error.code === 'engine_gone' || error.code.startsWith('engine_')) return 'engine_gone';
  if (error.code.startsWith('image_')) return 'image';
  if (error.code === 'sandbox_failed') return 'workspace';
  return 'internal';
}

/** What is no event is told as it came, so that nothing that a sandbox printed is lost without a word. */
function describe(item: Exclude<WireItem, { kind: 'event' }>): string {
  if (item.kind === 'gap') return `Events ${item.from} to ${item.to} of the sandbox did not come.`;
  return `The sandbox printed a line that is no event: ${new TextDecoder().decode(item.malformed.subarray(0, 2048))}`;
}
