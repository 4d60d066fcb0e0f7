import { asSallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ContainerState, Engine } from '../engine/engine.ts';
import { hasEnded } from '../protocol/taskState.ts';
import { isEngineTrouble } from './afterFailure.ts';
import { request } from './control.ts';
import { whyDead } from './endings.ts';
import { resumeOrder } from './supervisorOrders.ts';
import type { TaskJournal } from './taskJournal.ts';

export interface RevivalOptions {
  journal: TaskJournal;
  /** Whether a time limit was reached, and the sandbox ended for that. */
  timeIsUp: () => boolean;
  /** Ends everything in this process. */
  leaving: AbortSignal;
  /** Ends with the present look at the task. */
  attempt: () => AbortSignal;
  log: Logger;
}

/** How long a supervisor may take to say whether it has its task, in milliseconds. */
const answerPatience = 15_000;

/** Starts the dead sandbox of one task again, so that what is in it can be brought out. */
export class Revival {
  private readonly options: RevivalOptions;

  constructor(options: RevivalOptions) {
    this.options = options;
  }

  /** Says of an ended container what only the host can know, and starts it again, without the agent. */
  async revive(engine: Engine, dead: ContainerState): Promise<void> {
    const { journal, timeIsUp, leaving } = this.options;
    if (!hasEnded(journal.state)) {
      const stopping = journal.state.phase === 'stopping';
      const end = whyDead(dead, { verdict: journal.verdict, timeIsUp: timeIsUp(), stopping });
      if (end !== undefined) await journal.say(end);
    }
    await engine.start(dead.id);
    // What was left out of a log that is too long has had its numbers too.
    await request(engine, dead.id, resumeOrder(journal.state, journal.lastTaken), { signal: leaving });
  }

  /**
   * Whoever revived a sandbox may have been killed before its supervisor was told what to do. Such a one waits for ever:
   * it is ended here, so that it is read and revived like every other one that is dead.
   */
  async endIfIdle(engine: Engine, sandbox: ContainerState): Promise<ContainerState> {
    if (await this.isBusy(engine, sandbox.id)) return sandbox;
    await engine.stop(sandbox.id, 0);
    return (await engine.inspect(sandbox.id)) ?? sandbox;
  }

  /** True as well for a supervisor that gives no answer: the agent can stop it, and an older one does not know the question. */
  private async isBusy(engine: Engine, id: string): Promise<boolean> {
    const { journal, attempt, log } = this.options;
    const signal = AbortSignal.any([AbortSignal.timeout(answerPatience), attempt()]);
    try {
      return (await request(engine, id, { op: 'status' }, { signal })).busy !== false;
    } catch (thrown) {
      attempt().throwIfAborted();
      const error = asSallyportError(thrown);
      if (isEngineTrouble(error.code)) throw error;
      log.warn(`The supervisor of ${journal.state.spec.id}: ${error.message}`);
      return true;
    }
  }
}
