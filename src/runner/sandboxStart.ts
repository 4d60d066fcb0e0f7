import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asSallyportError, type SallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { ContainerState, Engine } from '../engine/engine.ts';
import { engineWarnings } from '../engine/warnings.ts';
import type { Quarantine } from '../git/quarantine.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { hasOwnImage, type TaskSpec } from '../protocol/task.ts';
import { hasEnded } from '../protocol/taskState.ts';
import { isEngineTrouble } from './afterFailure.ts';
import { request } from './control.ts';
import type { GatewayKeeper } from './gatewayKeeper.ts';
import { hasSession, keptSession, takenSession } from './keptSession.ts';
import { mountWarning } from './mounts.ts';
import { makeOwnPlace } from './ownImage.ts';
import { placeClaim, takePlace } from './queuePlace.ts';
import type { SandboxReader } from './sandboxReader.ts';
import { gatewayContainer, labels, type OwnPlace, sandboxContainer, volumeName } from './sandboxNames.ts';
import { adoptable, againOf, specNow } from './supervisorOrders.ts';
import type { Surroundings } from './surroundings.ts';
import { containersOf, isFormer } from './taskContainers.ts';
import type { TaskJournal } from './taskJournal.ts';
import type { ResolvedModel } from './taskService.ts';

export interface StartOptions {
  journal: TaskJournal;
  /** The task's own, for its token and its conversation. */
  folder: string;
  around: Pick<Surroundings, 'home' | 'admission' | 'model' | 'image' | 'log'>;
  quarantine: Quarantine;
  /** The bundle of what the task starts from. */
  snapshot: () => ByteStream;
  gateway: GatewayKeeper;
  reader: SandboxReader;
  /** In the queue. */
  turn: number;
  /** Ends everything in this process. */
  leaving: AbortSignal;
  /** The user stops the task. */
  stopping: AbortSignal;
  /** Ends with the present look at the task. */
  attempt: () => AbortSignal;
}

/** What every beginning needs, before there is anything on the engine. */
interface Ready {
  model: ResolvedModel;
  image: string;
  token: string;
}

/** Begins the sandbox of one task, with its gateway: a new one, or the one that was kept since the task was over. */
export class SandboxStart {
  private readonly options: StartOptions;
  /** Cancelled by stop, and by leaving. */
  private readonly signal: AbortSignal;

  constructor(options: StartOptions) {
    this.options = options;
    this.signal = AbortSignal.any([options.leaving, options.stopping]);
  }

  /** Image, volume, gateway, sandbox, workspace. */
  async anew(engine: Engine): Promise<void> {
    const { journal, around } = this.options;
    const { spec } = journal.state;
    const ready = await this.makeReady();
    for (const { text, mend } of engineWarnings(engine.info)) await this.warn(`${text} ${mend}`);
    await engine.createVolume(volumeName(spec), labels(spec, around.home));
    const place = hasOwnImage(spec) ? await this.ownPlace(engine, ready.image) : ready.image;
    for (const mount of spec.isolation?.mounts ?? []) {
      const text = mountWarning(mount);
      if (text !== undefined) await this.warn(text);
    }
    const broken = new AbortController();
    const signal = AbortSignal.any([this.signal, broken.signal]);
    // What fails first ends the other, and is the failure that is told.
    let failure: SallyportError | undefined;
    const first = (thrown: unknown): void => {
      failure ??= asSallyportError(thrown);
      broken.abort();
    };
    await Promise.all([
      this.startGateway(engine, ready, signal).catch(first),
      this.startSandbox(engine, ready, place, signal).catch(first),
    ]);
    this.signal.throwIfAborted();
    if (failure !== undefined) throw failure;
  }

  /**
   * Goes on in the sandbox that was kept since the task was over. False when there is none, or it cannot be gone on with: then
   * a new one is made, from what the quarantine and the task's folder hold.
   */
  async inKept(engine: Engine, found: ContainerState | undefined): Promise<boolean> {
    const { journal, leaving, reader, around } = this.options;
    if (found === undefined || !isFormer(found, journal.state)) return false;
    const spec = specNow(journal.state, 'in_sandbox');
    if (spec === undefined) return false;
    // What fails here is not the sandbox' fault, which is kept for another try.
    const ready = await this.makeReady();
    try {
      await this.wakeKept(engine, found, spec, ready);
      return true;
    } catch (thrown) {
      const error = asSallyportError(thrown);
      if (leaving.aborted || this.signal.aborted || isEngineTrouble(error.code)) throw thrown;
      around.log.warn(`Going on with ${spec.id} in its sandbox: ${error.message}`);
      await this.warn(
        'The sandbox that was kept could not be gone on with. A new one is made, from the commits and what was uncommitted.',
      );
      await reader.settle();
      return false;
    }
  }

  private async wakeKept(
    engine: Engine,
    { id }: ContainerState,
    spec: TaskSpec,
    ready: Ready,
  ): Promise<void> {
    const { journal, gateway, reader, around } = this.options;
    const { gateway: old } = await containersOf(engine, around.home, spec.id);
    if (old !== undefined) {
      await gateway.drain(engine, old);
      await engine.remove(old.id);
    }
    const made = await engine.create(gatewayContainer(journal.state.spec, around.home, ready.image));
    const starting = engine.start(id);
    starting.catch(() => undefined);
    await this.beginGateway(engine, made, ready, this.signal);
    await starting;
    reader.begin(engine, id);
    const again = againOf(journal.state);
    const after = journal.lastTaken;
    const { token } = ready;
    const adopted = this.adopted();
    const message = { op: 'continue' as const, spec, token, after, again, adopt: adopted !== undefined };
    const data = adopted === undefined ? {} : { data: adopted };
    await request(engine, id, message, { ...data, signal: this.signal });
  }

  private async makeReady(): Promise<Ready> {
    const { journal, folder, around, turn } = this.options;
    const { signal } = this;
    if (around.admission !== undefined)
      await takePlace(around.admission, placeClaim(journal.state, turn), journal, signal);
    const model = await around.model(journal.state.spec);
    const image = await around.image((line) => void journal.progress('image', line), signal);
    await journal.progress('sandbox', 'Starting the sandbox');
    const token = randomBytes(24).toString('base64url');
    // Kept for a gateway that has to be started again; it opens nothing but this task's own gateway.
    await writeFile(join(folder, 'token'), token, { mode: 0o600 });
    signal.throwIfAborted();
    return { model, image, token };
  }

  private async startGateway(engine: Engine, ready: Ready, signal: AbortSignal): Promise<void> {
    const { journal, around } = this.options;
    const id = await engine.create(gatewayContainer(journal.state.spec, around.home, ready.image));
    await this.beginGateway(engine, id, ready, signal);
  }

  private async beginGateway(
    engine: Engine,
    id: string,
    { token, model }: Ready,
    signal: AbortSignal,
  ): Promise<void> {
    await this.options.gateway.begin(engine, id, { token, model, signal, reading: this.options.attempt() });
  }

  private async startSandbox(
    engine: Engine,
    { token }: Ready,
    place: string | OwnPlace,
    signal: AbortSignal,
  ): Promise<void> {
    const { journal, folder, around, reader } = this.options;
    const { spec, reopened } = journal.state;
    const remembered = (await hasSession(folder)) ? 'in_folder' : 'nowhere';
    const told = specNow(journal.state, remembered) ?? spec;
    const id = await engine.create(sandboxContainer(spec, around.home, place, reopened));
    // A reader that is there before the start is the fastest, and has to look for nothing.
    reader.begin(engine, id);
    await engine.start(id);
    await this.restoreSession(engine, id, told, signal);
    // The supervisor waits for the gateway by itself, so the workspace is made meanwhile.
    await this.startAgent(engine, id, told, token, signal);
  }

  /** What the host has committed of what was left, and the kept sandbox does not know. */
  private adopted(): ByteStream | undefined {
    const { journal, quarantine, leaving } = this.options;
    const made = adoptable(journal.state);
    return made && quarantine.thinSnapshotBundle({ commit: made.commit }, [made.parent], leaving);
  }

  private ownPlace(engine: Engine, ourImage: string): Promise<OwnPlace> {
    const { journal, around } = this.options;
    const report = (line: string): void => void journal.progress('image', line);
    const { spec } = journal.state;
    return makeOwnPlace(engine, spec, { home: around.home, ourImage, report, signal: this.signal });
  }

  /** Brings an earlier conversation in, for the agent to go on with: the task's own, or that of another one. */
  private async restoreSession(
    engine: Engine,
    id: string,
    { id: task, resume }: TaskSpec,
    signal: AbortSignal,
  ): Promise<void> {
    const { folder } = this.options;
    const session = resume?.session;
    if (session === undefined) return;
    const data = resume?.task === task ? keptSession(folder) : takenSession(folder);
    await request(engine, id, { op: 'restore', id: session.id }, { data, signal });
  }

  private async startAgent(
    engine: Engine,
    id: string,
    spec: TaskSpec,
    token: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { journal, quarantine, snapshot, leaving } = this.options;
    signal.throwIfAborted();
    const again = journal.state.reopened > 0 ? { again: againOf(journal.state) } : {};
    const data = spec.from === undefined ? snapshot() : quarantine.snapshotBundle(spec.from);
    try {
      await request(engine, id, { op: 'start', spec, token, ...again }, { data, signal });
    } catch (thrown) {
      // The supervisor's own word on a start that failed is in its log, and better.
      if (!signal.aborted) await pause(300, leaving);
      if (!hasEnded(journal.state)) throw thrown;
    }
  }

  private warn(text: string): Promise<void> {
    return this.options.journal.say({ type: 'notice', level: 'warning', text });
  }
}
