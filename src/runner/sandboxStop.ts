import { asSallyportError } from '../base/errors.ts';
import { pause } from '../base/pause.ts';
import type { Engine } from '../engine/engine.ts';
import { hasEnded } from '../protocol/taskState.ts';
import { request } from './control.ts';
import type { Surroundings } from './surroundings.ts';
import { containersOf } from './taskContainers.ts';
import type { TaskJournal } from './taskJournal.ts';

export interface StopOptions {
  journal: TaskJournal;
  around: Pick<Surroundings, 'engine' | 'home' | 'log'>;
  /** Ends everything in this process. */
  leaving: AbortSignal;
}

/** How long a stopped agent has to end before its container is stopped, in milliseconds: longer than the supervisor's own patience. */
const stopPatience = 15_000;

/** Asks the supervisor of one task to end its agent, and ends the container when it does not. */
export class SandboxStop {
  private readonly options: StopOptions;

  constructor(options: StopOptions) {
    this.options = options;
  }

  /** Stops whatever sandbox there is. Never rejects. */
  async any(): Promise<void> {
    const { journal, around } = this.options;
    const { id } = journal.state.spec;
    try {
      const engine = await around.engine();
      const { sandbox } = await containersOf(engine, around.home, id);
      if (sandbox !== undefined) await this.one(engine, sandbox.id);
    } catch (thrown) {
      around.log.warn(`Stopping ${id}: ${asSallyportError(thrown).message}`);
    }
  }

  async one(engine: Engine, sandbox: string): Promise<void> {
    const { journal, around, leaving } = this.options;
    const patience = AbortSignal.timeout(stopPatience);
    try {
      await request(engine, sandbox, { op: 'stop' }, { signal: AbortSignal.any([patience, leaving]) });
      while (!hasEnded(journal.state) && !patience.aborted) await pause(50, leaving);
    } catch (thrown) {
      const { message } = asSallyportError(thrown);
      around.log.warn(`The supervisor of ${journal.state.spec.id} did not stop: ${message}`);
    }
    if (!hasEnded(journal.state) && !leaving.aborted) await engine.stop(sandbox, 2);
  }
}
