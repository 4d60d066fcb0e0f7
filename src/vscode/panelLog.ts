import { isAbort } from '../base/errors.ts';
import type { PanelMessage } from '../protocol/panelMessages.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { Tasks } from './tasks.ts';
import { feed } from './view/feed.ts';
import { Flow } from './view/flow.ts';

interface Options {
  id: string;
  tasks: Tasks;
  post: (message: PanelMessage) => void;
  onProblem: (thrown: unknown) => void;
}

/** Takes the log of a task to its panel, as fast as the panel takes it in. */
export class PanelLog {
  private readonly options: Options;
  private readonly flow = new Flow();
  private signal: AbortSignal | undefined;
  /** Number of the last event that was read when nothing more came. */
  private restedAt: number | undefined;

  constructor(options: Options) {
    this.options = options;
  }

  /** Nothing of what was sent is waited for: the panel is a new one, or gone. */
  reset(): void {
    this.flow.reset();
    this.signal = undefined;
    this.restedAt = undefined;
  }

  acknowledged(batch: number): void {
    this.flow.acknowledged(batch);
  }

  /**
   * Sends what comes after an event, until nothing more comes of the task for now.
   * @param first the panel is to forget what it has
   */
  async follow(after: number, first: boolean, signal: AbortSignal): Promise<void> {
    const { id, tasks, post } = this.options;
    if (!signal.aborted) this.signal = signal;
    this.restedAt = undefined;
    const service = await tasks.open();
    let last = after;
    const events = async function* (): AsyncGenerator<TaskEvent[], void> {
      for await (const batch of service.events(id, after, signal)) {
        last = batch.at(-1)?.n ?? last;
        yield batch;
      }
    };
    await feed(events(), {
      flow: this.flow,
      first,
      newest: service.task(id)?.lastEvent ?? 0,
      signal,
      send: (batch) => post({ type: 'events', ...batch }),
    });
    if (signal.aborted) return;
    this.restedAt = last;
    this.goOn();
  }

  /** A task that was over can go on: its log then goes on behind its end. */
  goOn(): void {
    const { restedAt, signal } = this;
    const { id, tasks, onProblem } = this.options;
    const newest = tasks.get(id)?.lastEvent ?? 0;
    if (restedAt === undefined || signal === undefined || newest <= restedAt) return;
    this.follow(restedAt, false, signal).catch((thrown: unknown) => {
      if (!signal.aborted && !isAbort(thrown)) onProblem(thrown);
    });
  }
}
