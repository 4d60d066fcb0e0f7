import type { Event } from '../base/event.ts';
import type { ReviewState } from '../protocol/review.ts';

/** What the tree needs of the reviews. */
export interface ReviewStates {
  readonly onDidChange: Event<{ id: string }>;
  stateNow(id: string): ReviewState | undefined;
  state(id: string): Promise<ReviewState>;
}

/** Of how many tasks the reviews are read for the tree. */
const maxReviews = 100;

/** The reviews that a tree has asked for, each once. */
export class TreeReviews {
  private readonly reviews: ReviewStates;
  private readonly redraw: (id: string) => void;
  private readonly asked = new Set<string>();

  /** @param redraw hears of a task whose review is known by now */
  constructor(reviews: ReviewStates, redraw: (id: string) => void) {
    this.reviews = reviews;
    this.redraw = redraw;
  }

  /** What is known of a review without waiting. @param ask whether it can say something, and is asked for where it is not known */
  now(id: string, ask: boolean): ReviewState | undefined {
    const known = this.reviews.stateNow(id);
    if (known !== undefined || !ask || this.asked.has(id) || this.asked.size >= maxReviews) return known;
    this.asked.add(id);
    void this.reviews.state(id).then(
      () => this.redraw(id),
      () => undefined,
    );
    return undefined;
  }

  forget(id: string): void {
    this.asked.delete(id);
  }
}
