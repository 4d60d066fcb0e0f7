import { asSallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { PausableTimer } from '../base/pausableTimer.ts';
import type { SupervisorRequest } from '../protocol/control.ts';
import { defaultIdleMs } from '../protocol/task.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';

export interface ClocksOptions {
  state: () => TaskState;
  /** Tells the supervisor something; false when its sandbox does not run. */
  tell: (what: SupervisorRequest) => Promise<boolean>;
  /** Ends everything in this process. */
  leaving: AbortSignal;
  log: Logger;
}

/** How long past its time limit a task may last before its container is stopped from outside, in milliseconds. */
const overtime = 60_000;

/**
 * The time limits of one task, as they are kept from outside. The supervisor keeps them too; this is for a supervisor that
 * cannot. They count from when a sandbox is watched and not from the submission, because the image may have been built in between.
 */
export class TaskClocks {
  private readonly options: ClocksOptions;
  private work: PausableTimer | undefined;
  /** Of the wait for the message after `said`. */
  private idle: { said: string | undefined; timer: PausableTimer; stop: () => void } | undefined;
  private told: Promise<void> = Promise.resolve();
  private toldRunning: boolean | undefined;
  private isUp = false;

  constructor(options: ClocksOptions) {
    this.options = options;
  }

  /** A limit was reached, and the sandbox is being ended. */
  get timeIsUp(): boolean {
    return this.isUp;
  }

  /** @param stop ends the sandbox */
  watch(stop: () => void): void {
    const { spec, paused, phase } = this.options.state();
    this.work = new PausableTimer(spec.limits.timeMs + overtime, () => this.end(stop));
    // Whoever attended to it before may not have come to tell it.
    this.work.setRunning(paused === undefined && phase !== 'waiting');
    this.watchIdle(stop);
  }

  /** Watches no more. */
  rest(): void {
    this.work?.dispose();
    this.work = undefined;
    this.idle?.timer.dispose();
    this.idle = undefined;
  }

  fold(state: TaskState): void {
    const { paused, phase, conversation } = state;
    this.work?.setRunning(paused === undefined && phase !== 'waiting');
    if (this.idle !== undefined && this.idle.said !== conversation?.said.at(-1))
      this.watchIdle(this.idle.stop);
    this.idle?.timer.setRunning(phase === 'waiting');
  }

  /** The time in which a budget is used up is not the agent's: the clocks stand still, here and in the sandbox. */
  setRunning(running: boolean): void {
    const { state, tell, leaving, log } = this.options;
    this.work?.setRunning(running && state().phase !== 'waiting');
    if (this.toldRunning === running) return;
    this.toldRunning = running;
    this.told = this.told.then(async () => {
      if (hasEnded(state()) || leaving.aborted) return;
      try {
        await tell({ op: 'clock', running });
      } catch (thrown) {
        this.toldRunning = undefined;
        log.warn(`The clock of ${state().spec.id}: ${asSallyportError(thrown).message}`);
      }
    });
  }

  /**
   * A conversation waits no longer than its supervisor says it will, for each message of the user's: what a sandbox says of
   * waiting is a claim, and stops the clock.
   */
  private watchIdle(stop: () => void): void {
    const { conversation, spec, phase } = this.options.state();
    if (conversation === undefined) return;
    const limit = (spec.limits.idleMs ?? defaultIdleMs) + overtime;
    this.idle?.timer.dispose();
    const timer = new PausableTimer(limit, () => this.end(stop), phase === 'waiting');
    this.idle = { said: conversation.said.at(-1), timer, stop };
  }

  private end(stop: () => void): void {
    if (hasEnded(this.options.state())) return;
    this.isUp = true;
    stop();
  }
}
