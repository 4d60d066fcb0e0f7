import { asSallyportError } from '../base/errors.ts';
import { hasEnded } from '../protocol/taskState.ts';
import { eventOfAsk } from './askEvents.ts';
import type { Ask } from './asks.ts';
import type { TaskJournal } from './taskJournal.ts';

export interface AnswersOptions {
  journal: TaskJournal;
  /** Hands over to the agent what the log holds for it. */
  deliver: () => void;
  /** Tells the gateway what was decided. Resolves when it knows, or cannot be reached now. */
  syncGateway: () => Promise<void>;
  stop: () => Promise<void>;
}

/** Does what a user decides about a task that is under way, one thing after the other: an event first, and then what comes of it. */
export class TaskAnswers {
  private readonly options: AnswersOptions;
  private answering: Promise<void> = Promise.resolve();

  constructor(options: AnswersOptions) {
    this.options = options;
  }

  /** What a user decides, in this window or another. Resolves when it is in the log and the gateway knows. */
  answer(ask: Ask): Promise<void> {
    const answered = this.answering.then(() => this.answerNow(ask));
    this.answering = answered.catch(() => undefined);
    return answered;
  }

  /** As `answer`, for another process: it learns from the log that nothing came of what is refused. */
  async answerAnother(ask: Ask): Promise<void> {
    try {
      await this.answer(ask);
    } catch (thrown) {
      const { code } = asSallyportError(thrown);
      if (code !== 'conflict' && code !== 'task_busy') throw thrown;
    }
  }

  private async answerNow(ask: Ask): Promise<void> {
    const { journal, deliver, syncGateway, stop } = this.options;
    if (hasEnded(journal.state)) return;
    if (ask.op === 'stop') {
      await stop();
      return;
    }
    const event = eventOfAsk(journal.state, ask);
    if (event !== undefined) await journal.say(event);
    if (ask.op === 'egress' || ask.op === 'budget') await syncGateway();
    else if (event !== undefined) deliver();
  }
}
