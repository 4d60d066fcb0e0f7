import { asSallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import type { SupervisorRequest } from '../protocol/control.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import { maxFailures, retryAfter } from './afterFailure.ts';
import { toDeliver } from './talk.ts';

export interface MessengerOptions {
  state: () => TaskState;
  /** Tells the supervisor something; false when its sandbox does not run. */
  tell: (what: SupervisorRequest) => Promise<boolean>;
  /** Ends everything in this process. */
  leaving: AbortSignal;
  log: Logger;
}

/** Hands over what the user has said and the agent has not got yet. What cannot be handed over now is at the next look. */
export class Messenger {
  private readonly options: MessengerOptions;
  private delivering: Promise<void> = Promise.resolve();
  /** Messages that this process has handed to the supervisor. */
  private readonly delivered = new Set<string>();

  constructor(options: MessengerOptions) {
    this.options = options;
  }

  deliver(): void {
    const { log, state } = this.options;
    this.delivering = this.delivering
      .then(() => this.deliverAll())
      .catch((thrown: unknown) =>
        log.warn(`A message to ${state().spec.id}: ${asSallyportError(thrown).message}`),
      );
  }

  private async deliverAll(): Promise<void> {
    const { state, tell, leaving } = this.options;
    for (const { key, what } of toDeliver(state())) {
      if (this.delivered.has(key) || !state().workspaceReady) continue;
      for (let tries = 1; !hasEnded(state()) && !leaving.aborted; tries++) {
        try {
          if (!(await tell(what))) return;
          this.delivered.add(key);
          break;
        } catch (thrown) {
          if (tries >= maxFailures) throw thrown;
          await pause(retryAfter(tries - 1), leaving);
        }
      }
    }
  }
}
