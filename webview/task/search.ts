/** How long one stretch of searching may take, in milliseconds. */
const sliceMs = 8;

export interface Found {
  /** Indices of what holds the words, ascending. */
  indices: number[];
  done: boolean;
}

/**
 * Looks for words in a list of any length, case-insensitively and in slices, so that the page stays alive. New rows are
 * searched as they come. One search at a time.
 */
export class Search {
  private readonly text: (index: number) => string;
  private readonly count: () => number;
  private readonly onFound: (found: Found) => void;
  private needle = '';
  private next = 0;
  private indices: number[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: {
    text: (index: number) => string;
    count: () => number;
    onFound: (found: Found) => void;
  }) {
    this.text = options.text;
    this.count = options.count;
    this.onFound = options.onFound;
  }

  /** Begins anew; empty words end the search. */
  start(words: string): void {
    this.stop();
    this.needle = words.toLowerCase();
    this.next = 0;
    this.indices = [];
    if (this.needle === '') this.onFound({ indices: [], done: true });
    else this.slice();
  }

  /** Rows were added at the end. */
  grown(): void {
    if (this.needle !== '' && this.timer === undefined) this.timer = setTimeout(() => this.slice(), 100);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private slice(): void {
    this.timer = undefined;
    const until = performance.now() + sliceMs;
    const end = this.count();
    while (this.next < end) {
      if (this.text(this.next).toLowerCase().includes(this.needle)) this.indices.push(this.next);
      this.next += 1;
      if (performance.now() > until) break;
    }
    const done = this.next >= end;
    this.onFound({ indices: this.indices, done });
    if (!done) this.timer = setTimeout(() => this.slice(), 0);
  }
}
