import type { GatewayLog } from './eventLog.ts';

/** What the task has spent on its model, and whether it may spend more. Who may not waits; nobody is refused. */
export class SpendAllowance {
  private spentUsd: number;
  private allowanceUsd: number | null;
  private readonly log: Pick<GatewayLog, 'say'>;
  private paused = false;
  private readonly waiting = new Set<() => void>();

  /** @param allowanceUsd in all, not on top of what is spent; null is no limit */
  constructor(spentUsd: number, allowanceUsd: number | null, log: Pick<GatewayLog, 'say'>) {
    this.spentUsd = spentUsd;
    this.allowanceUsd = allowanceUsd;
    this.log = log;
  }

  get isUsedUp(): boolean {
    return this.allowanceUsd !== null && this.spentUsd >= this.allowanceUsd;
  }

  spend(usd: number): void {
    this.spentUsd += usd;
  }

  set(allowanceUsd: number | null): void {
    this.allowanceUsd = allowanceUsd;
    if (!this.paused || this.isUsedUp) return;
    this.paused = false;
    this.log.say({ type: 'spend_resumed' });
    for (const go of [...this.waiting]) go();
  }

  /** Resolves when there is room. Rejects with an AbortError when the signal aborts first. */
  async room(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.isUsedUp) return;
    if (!this.paused) {
      this.paused = true;
      const { spentUsd, allowanceUsd } = this;
      this.log.say({ type: 'spend_paused', spentUsd, allowanceUsd: allowanceUsd ?? 0 });
    }
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        this.waiting.delete(go);
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        this.waiting.delete(go);
        reject(new DOMException('Aborted', 'AbortError'));
      };
      this.waiting.add(go);
      signal.addEventListener('abort', leave, { once: true });
    });
  }
}
