import { asSallyportError, isAbort } from '../base/errors.ts';
import type { ContainerState, Engine } from '../engine/engine.ts';
import { hasEnded } from '../protocol/taskState.ts';
import { watchDisk } from './diskWatch.ts';
import { sandboxMissing, type Ended } from './endings.ts';
import type { GatewayKeeper } from './gatewayKeeper.ts';
import { importsWait, type Importer } from './importer.ts';
import type { Messenger } from './messenger.ts';
import type { Revival } from './revival.ts';
import { writesElsewhere } from './sandboxNames.ts';
import type { SandboxReader } from './sandboxReader.ts';
import type { SandboxStop } from './sandboxStop.ts';
import type { Surroundings } from './surroundings.ts';
import type { TaskClocks } from './taskClocks.ts';
import { containersOf } from './taskContainers.ts';
import type { TaskJournal } from './taskJournal.ts';

export interface AccompanimentOptions {
  journal: TaskJournal;
  around: Pick<Surroundings, 'home' | 'log'>;
  gateway: GatewayKeeper;
  reader: SandboxReader;
  importer: Importer;
  messenger: Messenger;
  clocks: TaskClocks;
  revival: Revival;
  stop: SandboxStop;
  /** Ends the agent for a reason of this side's. */
  cutOff: (end: Ended) => void;
  /** Ends everything in this process. */
  leaving: AbortSignal;
  /** Ends with the present look at the task. */
  attempt: () => AbortSignal;
}

/** Goes along with the sandbox of one task: to the end of its agent's work and to the last import, reviving it where that needs it. */
export class Accompaniment {
  private readonly options: AccompanimentOptions;

  constructor(options: AccompanimentOptions) {
    this.options = options;
  }

  async toEnd(engine: Engine, found: ContainerState): Promise<void> {
    const { journal, reader, revival } = this.options;
    // It could not be started, so nothing ever ran in it and nothing is to be read.
    if (found.status === 'created') return;
    const sandbox = this.mayBeIdle(found) ? await revival.endIfIdle(engine, found) : found;
    const isDead = sandbox.status !== 'running';
    if (isDead) await reader.read(engine, sandbox.id, 'live');
    if (hasEnded(journal.state) && !importsWait(journal.state)) return;
    if (isDead) await revival.revive(engine, sandbox);
    await this.follow(engine, sandbox.id, isDead);
  }

  /** A running sandbox whose workspace stands, and that this process did not start. */
  private mayBeIdle({ id, status }: ContainerState): boolean {
    const { journal, reader } = this.options;
    const { workspaceReady } = journal.state;
    return status === 'running' && workspaceReady && !hasEnded(journal.state) && !reader.isReading(id);
  }

  private async follow(engine: Engine, id: string, isRevived: boolean): Promise<void> {
    const { journal, clocks, gateway, importer, leaving, attempt } = this.options;
    const begun = this.options.reader.takeUp();
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, leaving]);
    // An engine that fails here fails the reading too, and is told there.
    const keeping = isRevived
      ? undefined
      : gateway.keep(engine, () => this.gatewayOf(engine), signal, attempt()).catch(() => undefined);
    clocks.watch(() => void engine.stop(id, 2).catch(() => undefined));
    // Whoever attended to it before may not have come to tell it.
    if (begun === undefined && !isRevived) clocks.setRunning(journal.state.paused === undefined);
    const guarding = this.guardDisk(engine, id, signal);
    try {
      await this.takeIn(engine, id, begun?.id === id ? begun.done : undefined);
      if (isOver(leaving)) return;
      if (!hasEnded(journal.state)) await this.bringBack(engine, id);
      await importer.pull(engine, id, leaving);
    } finally {
      clocks.rest();
      over.abort();
      await keeping;
      await guarding;
    }
  }

  /** What the sandbox says and brings, until it says no more. */
  private async takeIn(engine: Engine, id: string, begun: Promise<void> | undefined): Promise<void> {
    const { journal, reader, messenger, stop } = this.options;
    this.pull(engine, id);
    messenger.deliver();
    if (hasEnded(journal.state)) return;
    if (journal.state.phase === 'stopping') void stop.one(engine, id);
    await (begun ?? reader.read(engine, id, 'live'));
  }

  /** Fetches in the background what there is to be brought in. */
  pull(engine: Engine, container: string): void {
    const { importer, leaving, around } = this.options;
    importer.pull(engine, container, leaving).catch((thrown: unknown) => {
      if (!isAbort(thrown)) around.log.warn(`Import broke off: ${asSallyportError(thrown).message}`);
    });
  }

  /** The log ended and the agent's work did not: the container is dead, or gone, or its log broke off. */
  private async bringBack(engine: Engine, id: string): Promise<void> {
    const { journal, reader, revival } = this.options;
    const now = await engine.inspect(id);
    if (now === undefined) {
      await journal.say(sandboxMissing(journal.state.phase === 'stopping'));
      return;
    }
    if (now.status === 'running') throw new Error('The log of the sandbox broke off');
    await revival.revive(engine, now);
    await reader.read(engine, id, 'live');
  }

  private async guardDisk(engine: Engine, sandbox: string, signal: AbortSignal): Promise<void> {
    const { journal, around, cutOff } = this.options;
    const { spec } = journal.state;
    try {
      const gateway = await this.gatewayOf(engine);
      if (gateway === undefined) return;
      const watch = { sandbox, gateway: gateway.id, limitBytes: spec.limits.diskBytes };
      const over = await watchDisk(engine, { ...watch, uncounted: writesElsewhere(spec) }, signal);
      if (over === undefined) return;
      const { message, mend } = over;
      cutOff({ type: 'ended', outcome: 'failed', kind: 'disk_full', message, mend });
    } catch (thrown) {
      // An engine that went away is told by the reading.
      if (!isAbort(thrown)) around.log.warn(`Disk watch: ${asSallyportError(thrown).message}`);
    }
  }

  private async gatewayOf(engine: Engine): Promise<ContainerState | undefined> {
    const { journal, around } = this.options;
    return (await containersOf(engine, around.home, journal.state.spec.id)).gateway;
  }
}

/** A function, because an abort comes between two lines. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}
