import type { TaskEvent } from '../../protocol/taskEvent.ts';

/** About the most that is sent at once, in characters; one event that is longer goes by itself. */
const batchLength = 60 << 10;

/**
 * Some events of one task in a row, each as JSON. They are encoded once for each way of sending, however many readers
 * get them.
 */
export class Batch {
  readonly first: number;
  readonly last: number;
  /** Of all lines, in characters. */
  readonly length: number;
  private readonly lines: readonly string[];
  private ndjsonBytes: Buffer | undefined;
  private sseBytes: Buffer | undefined;
  private frameBytes: Buffer | undefined;
  private messageBytes: readonly Buffer[] | undefined;

  /** @param lines of the events `first` and following, at least one */
  constructor(first: number, lines: readonly string[]) {
    this.first = first;
    this.last = first + lines.length - 1;
    this.lines = lines;
    this.length = lines.reduce((sum, line) => sum + line.length, 0);
  }

  get count(): number {
    return this.lines.length;
  }

  /** The part after event number `n`; undefined when there is none. */
  after(n: number): Batch | undefined {
    if (n < this.first) return this;
    return n >= this.last ? undefined : new Batch(n + 1, this.lines.slice(n + 1 - this.first));
  }

  /** One event a line. */
  ndjson(): Buffer {
    return (this.ndjsonBytes ??= Buffer.from(`${this.lines.join('\n')}\n`));
  }

  /** Server-Sent Events; the id of each is its number. */
  sse(): Buffer {
    return (this.sseBytes ??= Buffer.from(
      this.lines.map((line, index) => `id: ${this.first + index}\ndata: ${line}\n\n`).join(''),
    ));
  }

  /** A message `events` of the stream socket. */
  frame(task: string): Buffer {
    return (this.frameBytes ??= Buffer.from(
      `{"type":"events","task":${JSON.stringify(task)},"events":[${this.lines.join(',')}]}`,
    ));
  }

  /** A message for each event. */
  messages(): readonly Buffer[] {
    return (this.messageBytes ??= this.lines.map((line) => Buffer.from(line)));
  }
}

/** Cuts events, which are numbered in a row, into batches. */
export function batchesOf(events: readonly TaskEvent[]): Batch[] {
  const batches: Batch[] = [];
  let lines: string[] = [];
  let length = 0;
  for (const event of events) {
    const line = JSON.stringify(event);
    if (length > 0 && length + line.length > batchLength) {
      batches.push(new Batch(event.n - lines.length, lines));
      lines = [];
      length = 0;
    }
    lines.push(line);
    length += line.length;
  }
  const last = events.at(-1);
  if (last !== undefined) batches.push(new Batch(last.n + 1 - lines.length, lines));
  return batches;
}
