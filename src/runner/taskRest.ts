import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asSallyportError } from '../base/errors.ts';
import type { ContainerState, Engine } from '../engine/engine.ts';
import { commitLeftovers } from '../git/leftoversCommit.ts';
import type { Quarantine } from '../git/quarantine.ts';
import { SessionId } from '../protocol/grammar.ts';
import { hasEnded } from '../protocol/taskState.ts';
import { call } from './control.ts';
import type { GatewayKeeper } from './gatewayKeeper.ts';
import { keepSession } from './keptSession.ts';
import type { SandboxReader } from './sandboxReader.ts';
import type { Surroundings } from './surroundings.ts';
import { containersOf, isFormer, removeContainers, type TaskContainers } from './taskContainers.ts';
import type { TaskJournal } from './taskJournal.ts';

export interface RestOptions {
  journal: TaskJournal;
  /** The task's own, for its token and its conversation. */
  folder: string;
  around: Pick<Surroundings, 'home' | 'keepsUntil' | 'log'>;
  quarantine: Quarantine;
  gateway: GatewayKeeper;
  reader: SandboxReader;
  /** Ends everything in this process. */
  leaving: AbortSignal;
}

/** How long the agent's conversation may take to be brought out, in milliseconds. */
const sessionPatience = 20_000;

/** Brings a task to rest whose agent's work is over: nothing stays but log and quarantine, and what is kept to go on in. */
export class TaskRest {
  private readonly options: RestOptions;

  constructor(options: RestOptions) {
    this.options = options;
  }

  /** Puts away what there is. A sandbox with the only copy of a commit is kept, stopped. */
  async putAway(engine: Engine): Promise<void> {
    const { journal, around, leaving } = this.options;
    if (!hasEnded(journal.state)) throw new Error('The log of the sandbox ended early');
    await this.keepSession(engine);
    if (isOver(leaving)) return;
    if (journal.state.pendingImports.length > 0) {
      const { sandbox, gateway } = await this.containers(engine);
      await this.removeGateway(engine, gateway);
      if (sandbox !== undefined) {
        await engine.stop(sandbox.id, 2);
        return;
      }
    }
    await this.commitLeftovers();
    const until = around.keepsUntil(journal.state);
    if (until !== undefined && (await this.keepSandbox(engine, until))) return;
    await this.remove(engine);
    await journal.say({ type: 'sandbox_removed' });
  }

  /** Removes every trace of the task from the engine, whatever is in it. */
  async remove(engine: Engine): Promise<void> {
    const { journal, around, gateway } = this.options;
    const found = await this.containers(engine);
    if (found.gateway !== undefined) await gateway.drain(engine, found.gateway);
    await removeContainers(engine, around.home, journal.state.spec.id);
    await this.forgetToken();
  }

  /** Keeps what the agent has written down of its conversation. A task without is no worse for its user. */
  private async keepSession(engine: Engine): Promise<void> {
    const { journal, folder, around, leaving } = this.options;
    const { spec, sessionId } = journal.state;
    const id = SessionId.safeParse(sessionId);
    if (!id.success) return;
    const { sandbox } = await this.containers(engine);
    if (sandbox?.status !== 'running') return;
    const signal = AbortSignal.any([AbortSignal.timeout(sessionPatience), leaving]);
    try {
      const { data, reply } = await call(engine, sandbox.id, { op: 'session', id: id.data }, { signal });
      await keepSession(folder, data);
      await reply;
    } catch (thrown) {
      around.log.debug(`No conversation of ${spec.id} is kept: ${asSallyportError(thrown).message}`);
    }
  }

  /** What was left uncommitted becomes a commit by itself, where the user wants that. */
  private async commitLeftovers(): Promise<void> {
    const { journal, quarantine, leaving } = this.options;
    const { spec, leftovers, imported } = journal.state;
    const { id: task, branch, identity, commitMessage: message } = spec;
    if (message === undefined || leftovers === undefined || !imported.includes(leftovers.commit)) return;
    try {
      const made = { task, leftovers: leftovers.commit, branch, identity, message };
      const commit = await commitLeftovers(quarantine, made, leaving);
      await journal.say({ type: 'leftovers_committed', commit });
    } catch (thrown) {
      if (leaving.aborted) return;
      const text = `What was left uncommitted was not committed: ${asSallyportError(thrown).message}`;
      await journal.say({ type: 'notice', level: 'warning', text });
    }
  }

  /** Keeps the sandbox, stopped, without its gateway. False when there is none that could be gone on in. */
  private async keepSandbox(engine: Engine, until: number): Promise<boolean> {
    const { journal, reader, leaving } = this.options;
    const { sandbox, gateway } = await this.containers(engine);
    if (sandbox === undefined || sandbox.status === 'created') return false;
    const { begun, workspaceReady } = journal.state;
    // Nothing is in one that was never ready.
    if (!(begun && workspaceReady) && !isFormer(sandbox, journal.state)) return false;
    await this.removeGateway(engine, gateway);
    await engine.stop(sandbox.id, 2);
    await this.forgetToken();
    if (journal.state.kept !== undefined) return true;
    // What it said after its end counts as said, so that it goes on behind it.
    await reader.read(engine, sandbox.id, 'live');
    if (!leaving.aborted) await journal.say({ type: 'sandbox_kept', until, after: journal.lastTaken });
    return true;
  }

  private async removeGateway(engine: Engine, gateway: ContainerState | undefined): Promise<void> {
    if (gateway === undefined) return;
    await this.options.gateway.drain(engine, gateway);
    await engine.remove(gateway.id);
  }

  private async forgetToken(): Promise<void> {
    await rm(join(this.options.folder, 'token'), { force: true });
  }

  private containers(engine: Engine): Promise<TaskContainers> {
    const { journal, around } = this.options;
    return containersOf(engine, around.home, journal.state.spec.id);
  }
}

/** A function, because an abort comes between two lines. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}
