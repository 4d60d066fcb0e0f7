import type { Disposable } from '../../base/disposable.ts';
import { maxLedgerText, type LedgerEntry } from '../../protocol/gatewayEvent.ts';
import { ledgerText, type GatewayLog } from '../eventLog.ts';
import type { Limits } from './limits.ts';
import { shown } from './refusal.ts';

/** What the ledger says of a request from its beginning on. */
export interface LedgerTarget {
  kind: 'tunnel' | 'http';
  host: string;
  port: number;
  method?: string;
  path?: string;
}

export type LedgerEnd = Pick<
  LedgerEntry,
  'verdict' | 'reason' | 'askable' | 'status' | 'bytesOut' | 'bytesIn' | 'started'
>;

/** After a window with a flood only this share of the refusals is listed one by one. */
const shareAfterFlood = 0.1;

/**
 * The proxy's part of the ledger. Refused and failed requests cost a sandbox nothing, so that only so many of them within a
 * window are listed; the rest is counted, and told as a number when the window ends.
 */
export class EgressLedger implements Disposable {
  private readonly log: GatewayLog;
  private readonly limits: Pick<Limits, 'listedRefusals' | 'windowMs'>;
  private timer: NodeJS.Timeout | undefined;
  private refusals = 0;
  private unlisted = 0;
  private turnedAway = 0;
  private share = 1;
  private lastHost = '';

  constructor(log: GatewayLog, limits: Pick<Limits, 'listedRefusals' | 'windowMs'>) {
    this.log = log;
    this.limits = limits;
  }

  /** So many were refused of late that the next one is only counted. */
  get flooded(): boolean {
    return this.refusals >= this.limits.listedRefusals * this.share;
  }

  /** Says that a request waits; returns its number, which its end has to bear. */
  waiting(target: LedgerTarget, until: number): number {
    const id = this.log.nextRequest();
    this.log.say({ type: 'request_waiting', id, ...cut(target), until });
    return id;
  }

  /** Says the end of a request: once for each. `id` is of one that waited, whose end is always told. */
  ended(target: LedgerTarget, end: LedgerEnd, id?: number): void {
    if (end.verdict !== 'allowed') {
      this.openWindow();
      const unlisted = this.flooded && id === undefined;
      this.refusals++;
      if (unlisted) {
        this.unlisted++;
        this.lastHost = target.host;
        return;
      }
    }
    // The number is taken late: one that is taken has to be said, because numbers go on after the last event.
    this.log.say({ type: 'request', id: id ?? this.log.nextRequest(), ...cut(target), ...end });
  }

  /** Counts a connection that was turned away before it said anything. */
  turnAway(): void {
    this.turnedAway++;
    this.openWindow();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.tell();
  }

  private openWindow(): void {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.tell();
    }, this.limits.windowMs);
    this.timer.unref();
  }

  private tell(): void {
    const { unlisted, turnedAway, lastHost } = this;
    this.share = unlisted > 0 ? shareAfterFlood : 1;
    this.refusals = 0;
    this.unlisted = 0;
    this.turnedAway = 0;
    const texts: string[] = [];
    if (unlisted > 0) {
      texts.push(
        `${unlisted} further requests were refused or failed and are not listed, the last to ${shown(lastHost)}.`,
      );
    }
    if (turnedAway > 0) {
      texts.push(`${turnedAway} connections were turned away, because too many were open.`);
    }
    for (const text of texts) this.log.say({ type: 'gateway_notice', level: 'warning', text });
  }
}

/** Text of the sandbox's choice, without what could be taken for something else, and not long. */
function cut(target: LedgerTarget): LedgerTarget {
  const { kind, port } = target;
  const text: LedgerTarget = { kind, port, host: ledgerText(shown(target.host, maxLedgerText)) };
  if (target.method !== undefined) text.method = ledgerText(shown(target.method, maxLedgerText));
  if (target.path !== undefined) text.path = ledgerText(shown(target.path, maxLedgerText));
  return text;
}
