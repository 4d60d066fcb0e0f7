/**
 * Lets `performance.now` of this process go forward by leaps. What measures a span by it has then seen that much time
 * pass, while timers and everything else go on as ever: a test says how long something took, instead of waiting for it.
 */
export class AheadOfTime {
  private readonly real = performance.now.bind(performance);
  private ahead = 0;

  constructor() {
    performance.now = () => this.real() + this.ahead;
  }

  pass(ms: number): void {
    this.ahead += ms;
  }

  dispose(): void {
    performance.now = this.real;
  }
}
