/** Of the time, drawing what merely grows takes one part in this many and one. */
const restPerCost = 4;
/** What has come is drawn at the latest after this, in milliseconds. */
const maxRest = 200;
/** So few new rows are no flood. */
const fewRows = 16;

/**
 * When a list that grows is drawn again. What comes slowly is drawn at once; what comes fast is drawn as often as leaves
 * the page most of its time for taking it in. Times are milliseconds of one clock.
 */
export class DrawPace {
  private until = 0;

  /** A drawing took from `start` to `end`, with what the browser did for it. */
  drawn(start: number, end: number): void {
    this.until = end + Math.min(maxRest, (end - start) * restPerCost);
  }

  /** How long to wait before the next one, for so many rows that have come since the last. */
  wait(now: number, rows: number): number {
    return rows <= fewRows ? 0 : Math.max(0, this.until - now);
  }
}
