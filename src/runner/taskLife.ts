import { join } from 'node:path';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, type SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { Engine } from '../engine/engine.ts';
import type { Quarantine } from '../git/quarantine.ts';
import type { SupervisorRequest } from '../protocol/control.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { hasEnded, isAtRest, type TaskState } from '../protocol/taskState.ts';
import { Accompaniment } from './accompaniment.ts';
import { afterFailure, isEngineTrouble, neverBegan, retryAfter } from './afterFailure.ts';
import { asksFolder, takeAsks, type Ask } from './asks.ts';
import { request } from './control.ts';
import { failedBy, sandboxMissing, stoppedEarly, type Ended } from './endings.ts';
import { GatewayKeeper } from './gatewayKeeper.ts';
import { Importer } from './importer.ts';
import { Messenger } from './messenger.ts';
import { placeClaim } from './queuePlace.ts';
import { Revival } from './revival.ts';
import { SandboxReader } from './sandboxReader.ts';
import { SandboxStart } from './sandboxStart.ts';
import { SandboxStop } from './sandboxStop.ts';
import type { Surroundings } from './surroundings.ts';
import { TaskAnswers } from './taskAnswers.ts';
import { TaskClocks } from './taskClocks.ts';
import { containersOf, type TaskContainers } from './taskContainers.ts';
import { TaskJournal } from './taskJournal.ts';
import type { TaskLog } from './taskLog.ts';
import { TaskRest } from './taskRest.ts';

export interface LifeOptions {
  state: TaskState;
  folder: string;
  log: TaskLog;
  around: Surroundings;
  quarantine: Quarantine;
  snapshot: () => ByteStream;
  /** When it began, for a task of before a restart: it keeps its turn in the queue. */
  began?: number | undefined;
}

/**
 * One task, attended to from its submission until its sandbox is removed. Every step begins by looking at what is there,
 * so the same path serves a new task, a task found again after this process was killed, and one whose engine was restarted.
 */
export class TaskLife {
  private readonly folder: string;
  private readonly around: Surroundings;
  /** In the queue. */
  private readonly turn: number;
  /** Nobody gets a place by waiting until it is known whether this task has a sandbox. */
  private readonly unseen: Disposable | undefined;
  /** Ends everything in this process, and leaves the sandbox alone. */
  private readonly leaving = new AbortController();
  /** Ends the preparation when the user stops the task. */
  private readonly stopping = new AbortController();
  /** Ends with the present look at the task; a failure is followed by another. */
  private attempt: AbortSignal = this.leaving.signal;
  private engineTold = false;
  private readonly journal: TaskJournal;
  private readonly gateway: GatewayKeeper;
  private readonly reader: SandboxReader;
  private readonly clocks: TaskClocks;
  private readonly answers: TaskAnswers;
  private readonly start: SandboxStart;
  private readonly sandboxStop: SandboxStop;
  private readonly accompaniment: Accompaniment;
  private readonly rest: TaskRest;

  constructor({ state, folder, log, around, quarantine, snapshot, began }: LifeOptions) {
    this.folder = folder;
    this.around = around;
    this.turn = around.admission?.takeTurn(began) ?? 0;
    this.unseen = around.admission?.hold();
    const cutOff = (end: Ended): void => this.cutOff(end);
    const journal = new TaskJournal({ state, log, logBytes: around.logBytes, onFull: cutOff });
    this.journal = journal;
    const common = { journal, around, leaving: this.leaving.signal, attempt: () => this.attempt };
    const outside = {
      state: () => journal.state,
      tell: (what: SupervisorRequest) => this.tell(what),
      leaving: this.leaving.signal,
      log: around.log,
    };
    this.clocks = new TaskClocks(outside);
    this.sandboxStop = new SandboxStop(common);
    const gateway = new GatewayKeeper({
      state: () => journal.state,
      folder,
      around,
      append: (events) => journal.append(events),
      setClock: (running) => this.clocks.setRunning(running),
    });
    this.gateway = gateway;
    const reader = new SandboxReader({
      ...common,
      onWork: (engine, container) => this.accompaniment.pull(engine, container),
    });
    this.reader = reader;
    const kept = { ...common, folder, quarantine, gateway, reader };
    this.start = new SandboxStart({
      ...kept,
      snapshot,
      turn: this.turn,
      stopping: this.stopping.signal,
    });
    const messenger = new Messenger(outside);
    this.accompaniment = new Accompaniment({
      ...common,
      gateway,
      reader,
      messenger,
      cutOff,
      importer: new Importer(
        () => journal.state,
        quarantine,
        (event) => journal.append([event]),
        around.log,
      ),
      clocks: this.clocks,
      revival: new Revival({ ...common, log: around.log, timeIsUp: () => this.clocks.timeIsUp }),
      stop: this.sandboxStop,
    });
    this.rest = new TaskRest(kept);
    this.answers = new TaskAnswers({
      journal,
      deliver: () => messenger.deliver(),
      syncGateway: () => gateway.sync(),
      stop: () => this.stop(),
    });
  }

  private hasLeft(): boolean {
    return this.leaving.signal.aborted;
  }

  /** From the log rather than from this process: the stop may have been asked for before a restart. */
  private isStopping(): boolean {
    return this.journal.state.phase === 'stopping';
  }

  private workspaceStands(): boolean {
    const { state } = this.journal;
    return state.workspaceReady || hasEnded(state);
  }

  /** Resolves when the sandbox is removed, or when this process leaves. Never rejects. */
  async run(): Promise<void> {
    const over = new AbortController();
    const listening = AbortSignal.any([over.signal, this.leaving.signal]);
    const take = (ask: Ask): Promise<void> => this.answers.answerAnother(ask);
    takeAsks(join(this.folder, asksFolder), take, listening).catch((thrown: unknown) =>
      this.around.log.warn(`Asks: ${asSallyportError(thrown).message}`),
    );
    try {
      await this.runToEnd();
    } finally {
      if (isAtRest(this.journal.state)) this.journal.close();
      over.abort();
      this.unseen?.dispose();
      this.around.admission?.leave(this.journal.state.spec.id);
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
          await this.journal.say({ type: 'reattached' });
        }
        await this.attend(engine);
        return;
      } catch (thrown) {
        // What still reads for this attempt would read along with the next one.
        attempt.abort();
        await this.reader.settle();
        await this.gateway.forget();
        if (this.hasLeft()) return;
        const error = asSallyportError(thrown);
        this.around.log.warn(`Task ${this.journal.state.spec.id}: ${error.code}: ${error.message}`);
        if (!(await this.meet(error, failures).catch(() => false))) return;
        await pause(retryAfter(failures), this.leaving.signal);
      }
    }
  }

  /** Tells an error in the task's log where it is final. False when there is nothing to look at again. */
  private async meet(error: SallyportError, failures: number): Promise<boolean> {
    const { journal } = this;
    if (isEngineTrouble(error.code)) this.around.engineGone();
    switch (afterFailure(error.code, journal.state, failures)) {
      case 'look_again':
        return true;
      case 'say_stopped':
        await journal.say(stoppedEarly);
        return true;
      case 'end':
        await this.end(error);
        return true;
      case 'end_without_engine':
        await this.end(error);
        await journal.say({ type: 'sandbox_removed' });
        return false;
      case 'wait_for_engine':
        await this.tellEngineGone();
        return true;
      case 'give_up':
        return false;
    }
  }

  private async tellEngineGone(): Promise<void> {
    if (this.engineTold) return;
    this.engineTold = true;
    const text =
      'The container engine does not answer. Sallyport waits for it and then goes on where it was.';
    await this.journal.say({ type: 'notice', level: 'warning', text });
  }

  private async end(error: SallyportError): Promise<void> {
    if (error.code === 'disk_full') this.around.makeRoom();
    const wanted = this.isStopping() || error.code === 'cancelled';
    await this.journal.say(wanted ? stoppedEarly : failedBy(error));
  }

  /** Looks at what there is of the task, and takes it from there to its end. */
  private async attend(engine: Engine): Promise<void> {
    const { journal } = this;
    const found = await this.containers(engine);
    if (found.sandbox !== undefined) this.around.admission?.occupy(placeClaim(journal.state, this.turn));
    this.unseen?.dispose();
    // Whoever attended to it before may have been killed while its files were counted.
    if (found.sandbox?.paused === true) await engine.unpause(found.sandbox.id);
    if (!this.workspaceStands() && found.sandbox !== undefined)
      await this.reader.read(engine, found.sandbox.id, 'past');
    if (!this.workspaceStands() && !this.isStopping() && !(await this.start.inKept(engine, found.sandbox))) {
      await this.rest.remove(engine);
      if (journal.state.lastSandboxEvent > 0) await journal.say({ type: 'prepared_anew' });
      await this.start.anew(engine);
    }
    if (!hasEnded(journal.state) && neverBegan(journal.state)) await journal.say(stoppedEarly);
    const { sandbox } = await this.containers(engine);
    if (sandbox !== undefined) await this.accompaniment.toEnd(engine, sandbox);
    else if (!hasEnded(journal.state)) await journal.say(sandboxMissing(this.isStopping()));
    if (!this.hasLeft()) await this.rest.putAway(engine);
  }

  private containers(engine: Engine): Promise<TaskContainers> {
    return containersOf(engine, this.around.home, this.journal.state.spec.id);
  }

  /** Tells the supervisor something; false when its sandbox does not run. */
  private async tell(what: SupervisorRequest): Promise<boolean> {
    const engine = await this.around.engine();
    const { sandbox } = await this.containers(engine);
    if (sandbox?.status !== 'running') return false;
    await request(engine, sandbox.id, what, { signal: this.leaving.signal });
    return true;
  }

  /** Ends the agent for a reason of this side's; what it committed or left is still brought in. */
  private cutOff(end: Ended): void {
    if (!this.journal.decide(end)) return;
    if (end.kind === 'disk_full') this.around.makeRoom();
    void this.sandboxStop.any();
  }

  /** What a user decides, in this window or another. Resolves when it is in the log and the gateway knows. */
  answer(ask: Ask): Promise<void> {
    return this.answers.answer(ask);
  }

  /** The gateway is told what it may spend by now. */
  async budgetsMoved(): Promise<void> {
    if (!hasEnded(this.journal.state)) await this.gateway.sync();
  }

  /** Asks the supervisor to end the agent; ends the container when it does not. */
  async stop(): Promise<void> {
    const { phase } = this.journal.state;
    if (hasEnded(this.journal.state)) return;
    await this.journal.say({ type: 'stopping' });
    this.stopping.abort(new DOMException('Stopped by the user', 'AbortError'));
    if (phase === 'running' || phase === 'waiting' || phase === 'stopping') await this.sandboxStop.any();
  }

  /** Removes every trace of the task from the engine, whatever is in it. */
  async discard(): Promise<void> {
    this.leaving.abort();
    this.gateway.dispose();
    this.unseen?.dispose();
    if (this.journal.state.sandboxRemoved) return;
    await this.rest.remove(await this.around.engine());
  }

  /** Leaves the task to itself: the sandbox goes on. */
  dispose(): void {
    this.leaving.abort(new DOMException('Leaving', 'AbortError'));
    this.gateway.dispose();
  }

  /** The fold is fed by the log, so that the state holds only what is in the file. */
  fold(state: TaskState): void {
    this.journal.fold(state);
    this.clocks.fold(state);
  }
}
