import { parseGatewayEvent, type GatewayEvent } from '../protocol/gatewayEvent.ts';
import type { UnnumberedEvent } from './taskLog.ts';

/** How many lines of one gateway that are no event are told. */
const maxTold = 20;

/**
 * Reads the lines of a gateway's stdout. Its log is read from the first byte again whenever it was lost sight of, so that what
 * was taken before is left out here.
 */
export class GatewayLines {
  private last: number;
  private malformed = 0;

  /** @param after number of the last event that is in the task's log */
  constructor(after: number) {
    this.last = after;
  }

  /** The number after which a gateway that is started again goes on. */
  get lastNumber(): number {
    return this.last;
  }

  /** What one line says; nothing for what was taken before. Never throws on what it reads. */
  read(line: Uint8Array): UnnumberedEvent | undefined {
    if (line.length === 0) return undefined;
    let event: GatewayEvent;
    try {
      event = parseGatewayEvent(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line)));
    } catch {
      return this.tell(line);
    }
    if (event.g <= this.last) return undefined;
    this.last = event.g;
    return event;
  }

  private tell(line: Uint8Array): UnnumberedEvent | undefined {
    this.malformed++;
    if (this.malformed > maxTold) return undefined;
    const end = this.malformed === maxTold ? ' Others like it are not told.' : '';
    const shown = new TextDecoder().decode(line.subarray(0, 500));
    const text = `The gateway printed a line that is no event: ${shown}${end}`;
    return { type: 'notice', level: 'warning', text, t: Date.now() };
  }
}
