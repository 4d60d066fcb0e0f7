import type { Disposable } from '../base/disposable.ts';
import { asSallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { allowanceOf, type Allowance } from './budget.ts';
import { SpendLedger } from './spendLedger.ts';
import type { UserPolicy } from './userPolicy.ts';

export interface SpendingOptions {
  /** Where the days' ledgers are. */
  folder: string;
  /** The user's settings; read anew each time. */
  policy: () => UserPolicy;
  /** What tasks may spend has changed. */
  onMoved: () => Promise<void>;
  log: Logger;
}

/** Between two looks at what tasks of other processes have spent, in milliseconds. */
const watchMs = 2000;

/** What the tasks of a data folder cost, and what each of them may still spend. */
export class Spending implements Disposable {
  private readonly options: SpendingOptions;
  private readonly ledger: SpendLedger;
  private readonly timer: NodeJS.Timeout;
  private seen = 0;

  constructor(options: SpendingOptions) {
    this.options = options;
    this.ledger = new SpendLedger(options.folder);
    this.timer = setInterval(() => void this.look(), watchMs);
    this.timer.unref();
  }

  /** What all tasks have cost today (UTC), in US dollars. */
  today(): Promise<number> {
    return this.ledger.total(Date.now());
  }

  async allowance(state: TaskState): Promise<Allowance> {
    const { dayBudgetUsd: limitUsd } = this.options.policy();
    const spentUsd = limitUsd === undefined ? 0 : await this.today();
    return allowanceOf(state, { spentUsd, limitUsd });
  }

  /** Counts an answer of the model's for its day. */
  async record(task: string, { g, t, usd }: { g: number; t: number; usd: number }): Promise<void> {
    await this.ledger.record(task, g, usd, t).catch((thrown: unknown) => {
      this.options.log.error(`The day's spending was not written: ${asSallyportError(thrown).message}`);
    });
  }

  /** Tasks of other processes spend of the same day; and a day ends. */
  private async look(): Promise<void> {
    if (this.options.policy().dayBudgetUsd === undefined) return;
    const spent = await this.today().catch(() => this.seen);
    if (spent === this.seen) return;
    this.seen = spent;
    await this.options.onMoved();
  }

  dispose(): void {
    clearInterval(this.timer);
  }
}
