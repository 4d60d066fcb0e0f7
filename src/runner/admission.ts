import { SallyportError } from '../base/errors.ts';
import type { Disposable } from '../base/disposable.ts';
import type { TaskId } from '../protocol/grammar.ts';

/** What all tasks together may take of a machine. */
export interface AdmissionLimits {
  /** How many tasks may have a sandbox at the same time; at least 1. */
  parallel: number;
  /** Of all their memory limits together. */
  memoryBytes: number;
}

/** What one task takes. */
export interface Claim {
  id: TaskId;
  memoryBytes: number;
}

export interface Waiting extends Claim {
  /** Higher comes first. */
  priority: number;
  /** Among equals the lower comes first. */
  turn: number;
}

/** Those who wait, first the one that comes next. */
export function inOrder<T extends Pick<Waiting, 'priority' | 'turn'>>(waiting: readonly T[]): T[] {
  return [...waiting].sort((a, b) => b.priority - a.priority || a.turn - b.turn);
}

/**
 * Which of those who wait get a place now, in their order. Nobody passes one who comes before: a large task would wait for
 * ever behind small ones.
 */
export function admitted(
  limits: AdmissionLimits,
  placed: readonly Claim[],
  waiting: readonly Waiting[],
): TaskId[] {
  let places = placed.length;
  let memory = placed.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const ids: TaskId[] = [];
  for (const { id, memoryBytes } of inOrder(waiting)) {
    if (places + 1 > limits.parallel || memory + memoryBytes > limits.memoryBytes) break;
    places += 1;
    memory += memoryBytes;
    ids.push(id);
  }
  return ids;
}

/**
 * How many come before a task, as it is told: every change of it is an event in the log of each task that waits, so that of
 * a long queue only the order of magnitude is told.
 */
export function ahead(count: number): string {
  if (count === 0) return 'Waiting for a place: it comes next';
  if (count === 1) return 'Waiting for a place: 1 task comes before it';
  if (count < 10) return `Waiting for a place: ${count} tasks come before it`;
  const step = 10 ** Math.floor(Math.log10(count));
  return `Waiting for a place: at least ${Math.floor(count / step) * step} tasks come before it`;
}

/** More milliseconds than any clock shows. */
const afterAllTimes = 2 ** 52;

interface Queued extends Omit<Waiting, 'priority'> {
  tell: (text: string) => void;
  told: string;
  enter: () => void;
}

/** The queue before the sandboxes: who has a place, and who waits for one. */
export class Admission {
  private readonly limits: AdmissionLimits;
  private priorityOf: (id: TaskId) => number = () => 0;
  private readonly placed = new Map<TaskId, Claim>();
  private readonly queue = new Map<TaskId, Queued>();
  private holds = 0;
  private turns = 0;

  constructor(limits: AdmissionLimits) {
    this.limits = limits;
  }

  /** Sets where priorities come from; asked anew for each decision. Without it all tasks are equal. */
  rankBy(priorityOf: (id: TaskId) => number): void {
    this.priorityOf = priorityOf;
    this.decide();
  }

  /** How many wait. */
  get waiting(): number {
    return this.queue.size;
  }

  isWaiting(id: TaskId): boolean {
    return this.queue.has(id);
  }

  /** Throws `invalid_input` for a task that could never get a place. */
  check(memoryBytes: number): void {
    if (memoryBytes <= this.limits.memoryBytes) return;
    throw new SallyportError(
      'invalid_input',
      `The task may take ${gibibytes(memoryBytes)} of memory, and all tasks of this runner together get ${gibibytes(this.limits.memoryBytes)}.`,
      'Ask for less memory, or have the administrator raise the memory of the queue.',
    );
  }

  /** Nobody gets a place by waiting until this is disposed: who has a sandbox already is still being found out. */
  hold(): Disposable {
    this.holds += 1;
    let held = true;
    return {
      dispose: () => {
        if (!held) return;
        held = false;
        this.holds -= 1;
        this.decide();
      },
    };
  }

  /**
   * A number for `enter`: who takes it first comes first. Those of before a restart come before all others, in the order
   * in which they began: `began` is when, in milliseconds since the epoch.
   */
  takeTurn(began?: number): number {
    this.turns += 1;
    return began ?? afterAllTimes + this.turns;
  }

  /** Takes a place at once, whatever the limits are: for a task whose sandbox is there. Twice is once. */
  occupy({ id, memoryBytes }: Claim): void {
    this.queue.delete(id);
    this.placed.set(id, { id, memoryBytes });
  }

  /**
   * Resolves when the task has a place. Rejects with the signal's reason, and with what `check` throws.
   * @param tell hears how long the queue before the task is, whenever that changes
   */
  async enter(
    { id, memoryBytes, turn }: Claim & Pick<Waiting, 'turn'>,
    tell: (text: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    if (this.placed.has(id)) return;
    this.check(memoryBytes);
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.queue.set(id, { id, memoryBytes, turn, tell, told: '', enter: () => resolve(undefined) });
    const leave = (): void => {
      reject(signal.reason);
      if (this.queue.delete(id)) this.decide();
    };
    signal.addEventListener('abort', leave, { once: true });
    this.decide();
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Gives a place back, or leaves the queue. Harmless for a task that has neither. */
  leave(id: TaskId): void {
    const had = this.placed.delete(id) || this.queue.delete(id);
    if (had) this.decide();
  }

  /** Looks again, after a priority was changed. */
  decide(): void {
    if (this.queue.size === 0) return;
    const waiting = inOrder(
      [...this.queue.values()].map((one) => ({ ...one, priority: this.priorityOf(one.id) })),
    );
    const ids = this.holds > 0 ? [] : admitted(this.limits, [...this.placed.values()], waiting);
    for (const id of ids) {
      const one = this.queue.get(id);
      if (one === undefined) continue;
      this.queue.delete(id);
      this.placed.set(id, { id, memoryBytes: one.memoryBytes });
      one.enter();
    }
    // Who comes next is not known while it is not known who has a place.
    if (this.holds > 0) return;
    for (const [index, { id }] of waiting.slice(ids.length).entries()) {
      const one = this.queue.get(id);
      const text = ahead(index);
      if (one === undefined || one.told === text) continue;
      one.told = text;
      one.tell(text);
    }
  }
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toLocaleString('en', { maximumFractionDigits: 2 })} GiB`;
}
