import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asSallyportError, type SallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import type { ContainerState, Engine } from '../engine/engine.ts';
import type { ForgeAccess, Upstream } from '../protocol/control.ts';
import type { TaskSpec } from '../protocol/task.ts';
import type { RunnerBody } from '../protocol/taskEvent.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import { leavesRoom, type Allowance } from './budget.ts';
import { request } from './control.ts';
import { CredentialRenewal } from './credentialRenewal.ts';
import { policyNow } from './egressAnswers.ts';
import { eventBatches } from './eventBatches.ts';
import { GatewayLines } from './gatewayLines.ts';
import type { UnnumberedEvent } from './taskLog.ts';
import type { ResolvedModel } from './taskService.ts';
import type { UserPolicy } from './userPolicy.ts';

/** What is needed of the runner around a gateway. */
export interface GatewaySurroundings {
  /** Where the answers of this task's model come from. */
  model(spec: TaskSpec): Promise<ResolvedModel>;
  policy(): UserPolicy;
  /** What the task may spend in all by now. */
  allowance(state: TaskState): Promise<Allowance>;
  /** Counts an answer of the model's for its day, before it is in the task's log. */
  spent(task: string, event: { g: number; t: number; usd: number }): Promise<void>;
  /** Something was spent, or a budget was set: other tasks' allowances may have changed. */
  budgetsMoved(): void;
  /** What a task with `forge` in its spec may read; holds a token. */
  forge?: ForgeAccess | undefined;
  log: Logger;
}

export interface GatewayOptions {
  state: () => TaskState;
  /** The task's own, with its token in it. */
  folder: string;
  around: GatewaySurroundings;
  append: (events: UnnumberedEvent[]) => Promise<void>;
  /** Stops the clocks of the time limit, and starts them again. */
  setClock: (running: boolean) => void;
}

/** A gateway that runs and is configured, and what it was told last. */
interface Link {
  engine: Engine;
  id: string;
  policy?: string;
  allowanceUsd?: number | null;
}

/** What a gateway is begun with. */
interface Beginning {
  token: string;
  model: ResolvedModel;
  signal: AbortSignal;
  reading: AbortSignal;
}

/** Longest line of a gateway, in bytes. */
const maxLineBytes = 64 << 10;
/** How often a gateway that ends is started again for one look at its task. */
const maxRestarts = 5;
/** How often a message to a gateway is tried. */
const maxTries = 5;
const retryMs = 500;
const longestMs = 2 ** 31 - 1;
/** How long the rest of an ended gateway's log may take, in milliseconds. */
const drainMs = 20_000;

/** Attends to the gateway of one task: reads what it says, starts it again, and keeps it told what the user decides. */
export class GatewayKeeper {
  private readonly options: GatewayOptions;
  private readonly renewal: CredentialRenewal;
  private lines: GatewayLines;
  private link: Link | undefined;
  private reading: { id: string; done: Promise<void> } | undefined;
  private syncing: Promise<void> | undefined;
  private again = false;
  /** The container whose log was read to its end. */
  private whole: string | undefined;

  constructor(options: GatewayOptions) {
    this.options = options;
    this.lines = new GatewayLines(options.state().lastGatewayEvent);
    this.renewal = new CredentialRenewal({
      push: (upstream) => this.pushCredential(upstream),
      fresh: () => options.around.model(options.state().spec),
      fail: (error) => this.tellNoCredential(error),
    });
  }

  /**
   * Starts a container, follows what it says and tells it its task.
   * @param signal cancels the start
   * @param reading ends the following
   */
  async begin(engine: Engine, id: string, { token, model, signal, reading }: Beginning): Promise<void> {
    this.whole = undefined;
    await engine.start(id);
    void this.follow(engine, id, reading);
    await this.configure(engine, id, token, model, signal);
  }

  /**
   * Follows the gateway, and starts it again when it ends while the agent works, until `signal` aborts. What is read goes
   * on meanwhile, until `reading` aborts. Rejects when the engine has gone away.
   */
  async keep(
    engine: Engine,
    find: () => Promise<ContainerState | undefined>,
    signal: AbortSignal,
    reading: AbortSignal,
  ): Promise<void> {
    for (let restarts = 0; !this.isOver() && !signal.aborted;) {
      const gateway = await find();
      if (gateway === undefined) return;
      try {
        if (gateway.status === 'running') {
          if (this.link?.id !== gateway.id) await this.takeUp(engine, gateway.id, signal);
          await settled(this.follow(engine, gateway.id, reading), signal);
        } else {
          if (restarts++ >= maxRestarts) return;
          await this.restart(engine, gateway.id, signal, reading);
        }
      } catch (thrown) {
        const error = asSallyportError(thrown);
        if (error.code.startsWith('engine_')) throw error;
        this.options.around.log.warn(`The gateway of ${this.options.state().spec.id}: ${error.message}`);
      }
      await pause(retryMs * 2 ** restarts, signal);
    }
  }

  /** Ends a gateway, and takes what it said to the last line. */
  async drain(engine: Engine, gateway: ContainerState): Promise<void> {
    this.link = undefined;
    this.renewal.rest();
    if (gateway.status === 'created') return;
    await engine.stop(gateway.id, 2);
    const late = AbortSignal.timeout(drainMs);
    if (this.reading !== undefined) await settled(this.reading.done, late).catch(() => undefined);
    // It was never read to its end, or that broke off.
    for (let tries = 1; this.whole !== gateway.id && !late.aborted; tries++) {
      try {
        await this.read(engine, gateway.id, late);
      } catch (thrown) {
        // Somebody else may be removing it at this moment.
        await pause(retryMs, late);
        if ((await engine.inspect(gateway.id)) === undefined) return;
        if (tries >= maxTries) throw thrown;
      }
    }
  }

  /** Tells the gateway what has been decided since it was told last. Resolves when it knows, or cannot be reached now. */
  sync(): Promise<void> {
    this.again = true;
    this.syncing ??= this.syncAll().finally(() => (this.syncing = undefined));
    return this.syncing;
  }

  /** Forgets an engine that went away, with what was read from it. */
  async forget(): Promise<void> {
    this.link = undefined;
    await this.reading?.done.catch(() => undefined);
    this.reading = undefined;
  }

  dispose(): void {
    this.link = undefined;
    this.renewal.dispose();
  }

  private isOver(): boolean {
    return hasEnded(this.options.state());
  }

  private say(body: RunnerBody): Promise<void> {
    return this.options.append([{ ...body, t: Date.now() }]);
  }

  /** A gateway that another process started: what was decided in between it may not know. */
  private async takeUp(engine: Engine, id: string, signal: AbortSignal): Promise<void> {
    const { spec } = this.options.state();
    let model: ResolvedModel | undefined;
    try {
      model = await this.options.around.model(spec);
      // That process may have been killed before it had told its task.
      await this.configure(engine, id, await this.token(), model, signal);
      return;
    } catch (thrown) {
      const error = asSallyportError(thrown);
      if (error.code.startsWith('engine_') || signal.aborted) throw error;
      if (model === undefined) await this.tellNoCredential(error);
      else if (error.code !== 'task_busy') throw error;
    }
    this.link = { engine, id };
    await this.sync();
    if (model === undefined || spec.model.demonstration) return;
    await this.renewal
      .replace(model)
      .catch((thrown: unknown) => this.tellNoCredential(asSallyportError(thrown)));
  }

  private async restart(
    engine: Engine,
    id: string,
    signal: AbortSignal,
    reading: AbortSignal,
  ): Promise<void> {
    this.link = undefined;
    // To its end before it goes on: its next number comes from there.
    if (this.whole !== id) await settled(this.follow(engine, id, reading), signal);
    if (signal.aborted) return;
    await this.say({ type: 'notice', level: 'warning', text: 'The gateway ended and is started again.' });
    const model = await this.options.around.model(this.options.state().spec);
    await this.begin(engine, id, { token: await this.token(), model, signal, reading });
  }

  private token(): Promise<string> {
    return readFile(join(this.options.folder, 'token'), 'utf8');
  }

  private async configure(
    engine: Engine,
    id: string,
    token: string,
    model: ResolvedModel,
    signal: AbortSignal,
  ): Promise<void> {
    const state = this.options.state();
    const { forge } = this.options.around;
    const { holdMs, network } = this.options.around.policy();
    const policy = policyNow(state);
    const allowance = await this.options.around.allowance(state);
    const link = { engine, id, policy: JSON.stringify(policy), allowanceUsd: allowance.usd };
    await request(
      engine,
      id,
      {
        op: 'configure',
        token,
        upstream: model.upstream,
        ...policy,
        holdMs,
        network,
        spentUsd: state.spend.usd,
        allowanceUsd: allowance.usd,
        ...(state.spec.forge === true && forge !== undefined ? { forge } : {}),
        after: this.lines.lastNumber,
      },
      { signal },
    );
    this.link = link;
    this.renewal.watch(model);
    // It knows nothing of a pause that its predecessor told, and will tell its own.
    if (state.paused !== undefined && leavesRoom(allowance, state.spend.usd)) await this.continueSpending();
    void this.sync();
  }

  /** The reading of that container; begun when there is none. */
  private follow(engine: Engine, id: string, signal: AbortSignal): Promise<void> {
    if (this.reading?.id === id) return this.reading.done;
    const done = this.read(engine, id, signal).finally(() => {
      if (this.reading?.done === done) this.reading = undefined;
    });
    done.catch(() => undefined);
    this.reading = { id, done };
    return done;
  }

  /** Copies what the gateway says to the task's log, until its container has ended. */
  private async read(engine: Engine, id: string, signal: AbortSignal): Promise<void> {
    const eventsOf = (line: Uint8Array): UnnumberedEvent[] => {
      const event = this.lines.read(line);
      return event === undefined ? [] : [event];
    };
    try {
      const log = engine.logs(id, signal);
      for await (const events of eventBatches(log, maxLineBytes, eventsOf)) await this.take(events);
      if (!signal.aborted) this.whole = id;
    } catch (thrown) {
      // What was read and did not get to the log is to be read again.
      this.lines = new GatewayLines(this.options.state().lastGatewayEvent);
      if (!signal.aborted) throw thrown;
    }
  }

  private async take(events: UnnumberedEvent[]): Promise<void> {
    const { around, state } = this.options;
    const { id } = state().spec;
    for (const event of events) {
      // The day's account first: an event that is in the log is never read again, so it must be counted by then.
      if (event.type === 'spend' && event.g !== undefined && event.usd > 0)
        await around.spent(id, { g: event.g, t: event.t, usd: event.usd });
    }
    await this.options.append(events);
    for (const event of events) {
      if (event.type === 'spend_paused') await this.pauseSpending();
      else if (event.type === 'spend_resumed') await this.continueSpending();
      else if (event.type === 'credential_wanted') void this.renewal.renew(event.reason);
    }
    if (events.some(({ type }) => type === 'spend')) around.budgetsMoved();
  }

  private async pauseSpending(): Promise<void> {
    const state = this.options.state();
    if (hasEnded(state)) return;
    const allowance = await this.options.around.allowance(state);
    if (leavesRoom(allowance, state.spend.usd)) {
      // A budget was raised meanwhile; the gateway hears of it and goes on by itself.
      if (this.link !== undefined) delete this.link.allowanceUsd;
      void this.sync();
      return;
    }
    this.options.setClock(false);
    await this.sayPaused(allowance);
  }

  private async sayPaused({ scope, spentUsd, limitUsd }: Allowance): Promise<void> {
    const { paused } = this.options.state();
    if (paused?.scope === scope && paused.limitUsd === limitUsd) return;
    await this.say({ type: 'paused', scope, spentUsd, limitUsd });
  }

  private async continueSpending(): Promise<void> {
    if (this.options.state().paused !== undefined && !this.isOver()) await this.say({ type: 'continued' });
    this.options.setClock(true);
  }

  private async syncAll(): Promise<void> {
    for (let tries = 0; this.again && tries < maxTries;) {
      this.again = false;
      const { link } = this;
      if (link === undefined || this.isOver()) return;
      try {
        await this.syncOnce(link);
      } catch (thrown) {
        if (this.link !== link) return;
        tries++;
        this.again = true;
        const { message } = asSallyportError(thrown);
        this.options.around.log.warn(
          `The gateway of ${this.options.state().spec.id} was not told: ${message}`,
        );
        await new Promise((passed) => setTimeout(passed, retryMs));
      }
    }
  }

  private async syncOnce(link: Link): Promise<void> {
    const { engine, id } = link;
    const state = this.options.state();
    const policy = policyNow(state);
    const text = JSON.stringify(policy);
    if (text !== link.policy) {
      await request(engine, id, { op: 'egress', ...policy });
      link.policy = text;
    }
    const allowance = await this.options.around.allowance(state);
    if (allowance.usd !== link.allowanceUsd) {
      await request(engine, id, { op: 'allowance', allowanceUsd: allowance.usd });
      link.allowanceUsd = allowance.usd;
    }
    if (this.options.state().paused === undefined) return;
    // It has been told, and goes on; its own word of that may come late, and even after the agent's end.
    if (leavesRoom(allowance, state.spend.usd)) await this.continueSpending();
    // Another budget may hold it by now than the one that it was paused for.
    else await this.sayPaused(allowance);
  }

  private async pushCredential(upstream: Upstream): Promise<void> {
    const { link } = this;
    if (link === undefined || this.isOver()) return;
    await request(link.engine, link.id, { op: 'credential', upstream });
  }

  /** The gateway answers the agent by itself when no new credential comes; the task goes on. */
  private async tellNoCredential(error: SallyportError): Promise<void> {
    if (this.isOver()) return;
    const text = `No new credential for the model: ${error.message} ${error.mend} [${error.code}]`;
    await this.say({ type: 'notice', level: 'warning', text });
  }
}

/** Waits for a reading, but not beyond `signal`. */
async function settled(reading: Promise<void>, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const leaving = pause(longestMs, AbortSignal.any([signal, over.signal]));
  try {
    await Promise.race([reading, leaving]);
  } finally {
    over.abort();
  }
}
