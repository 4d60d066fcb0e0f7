import type { FdWriter } from '../base/fdWriter.ts';
import { maxLedgerText, type GatewayBody } from '../protocol/gatewayEvent.ts';

/** The gateway's stdout: one numbered event a line. No header, no body, no credential of anybody's gets here. */
export class GatewayLog {
  private readonly out: Pick<FdWriter, 'write'>;
  private last = 0;
  private lastRequest = 0;

  constructor(out: Pick<FdWriter, 'write'>) {
    this.out = out;
  }

  /** Events are numbered from `after` + 1 on, after a restart of the gateway too. */
  continueAfter(after: number): void {
    this.last = after;
    // Numbers of requests only have to differ; every request says at least one event.
    this.lastRequest = after;
  }

  say(body: GatewayBody): void {
    this.out.write(`${JSON.stringify({ g: ++this.last, t: Date.now(), ...body })}\n`);
  }

  /** A number for a request, of either server. */
  nextRequest(): number {
    return ++this.lastRequest;
  }
}

/** Cuts what a client chose to what the ledger keeps. */
export function ledgerText(text: string): string {
  return text.length <= maxLedgerText ? text : `${text.slice(0, maxLedgerText - 1)}…`;
}
