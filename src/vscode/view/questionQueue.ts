import type { EgressQuestion } from '../../protocol/egressQuestions.ts';

/** Hosts that come within this time are asked about together, in milliseconds. */
const gatherMs = 400;
/** So many questions of one task may be open at once; what comes meanwhile is gathered. */
const maxOpen = 2;

/**
 * When the user is asked about the hosts of one task: about each once, about several in one question, and never with a
 * storm of them.
 */
export class QuestionQueue {
  private readonly ask: (questions: EgressQuestion[]) => Promise<void>;
  private readonly asked = new Set<string>();
  private current: readonly EgressQuestion[] = [];
  private open = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** @param ask resolves when the question was answered or closed; never rejects */
  constructor(ask: (questions: EgressQuestion[]) => Promise<void>) {
    this.ask = ask;
  }

  /** What is to be asked now, of this task. What is not in it any more was answered elsewhere. */
  update(questions: readonly EgressQuestion[]): void {
    this.current = questions;
    if (this.fresh().length > 0 && this.open < maxOpen) this.timer ??= setTimeout(() => this.go(), gatherMs);
  }

  /** These are asked about elsewhere, or were before this window was there. */
  skip(questions: readonly EgressQuestion[]): void {
    for (const question of questions) this.asked.add(keyOf(question));
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.current = [];
  }

  private fresh(): EgressQuestion[] {
    return this.current.filter((question) => !this.asked.has(keyOf(question)));
  }

  private go(): void {
    this.timer = undefined;
    const questions = this.fresh();
    if (questions.length === 0) return;
    this.skip(questions);
    this.open += 1;
    void this.ask(questions).finally(() => {
      this.open -= 1;
      this.update(this.current);
    });
  }
}

function keyOf({ host, port }: EgressQuestion): string {
  return `${host}:${port}`;
}
