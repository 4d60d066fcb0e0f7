import { DisposableStore, type Disposable } from '../../base/disposable.ts';
import { Emitter, type Event } from '../../base/event.ts';
import { SallyportError } from '../../base/errors.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { PartId, ReviewDiff, ReviewScope, ReviewState } from '../../protocol/review.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import type { TaskReview } from '../../runner/review/taskReview.ts';
import type { TaskService } from '../../runner/taskService.ts';
import { scopeWord } from '../view/reviewUri.ts';

/** A scope as it is now. */
export interface Loaded {
  diff: ReviewDiff;
  state: ReviewState;
  /** Parts that were rejected and sent back, and are here again. */
  returned: ReadonlySet<PartId>;
}

/** What changed in the review of a task. */
export interface ReviewChange {
  id: TaskId;
  state: ReviewState;
  /** There may be other files or parts than before: a diff is to be asked for again. */
  content: boolean;
}

/** Where the tasks are. */
export interface ReviewedTasks {
  readonly onDidChange: Event<TaskState>;
  readonly onDidRemove: Event<TaskId>;
  get(id: TaskId): TaskState | undefined;
  open(): Promise<Pick<TaskService, 'review' | 'blob'>>;
}

interface Entry {
  review: TaskReview;
  state: ReviewState;
  diffs: Map<string, Promise<Pick<Loaded, 'diff' | 'returned'>>>;
  store: DisposableStore;
  /** What of the task the diffs were made of. */
  made: string;
}

/** Diffs that are kept of one task: those that editors were opened from last. */
const keptDiffs = 6;

/**
 * The reviews of tasks, as the editor needs them: asked for once, their diffs kept until something changes them.
 */
export class Reviews implements Disposable {
  private readonly tasks: ReviewedTasks;
  private readonly entries = new Map<TaskId, Promise<Entry>>();
  private readonly known = new Map<TaskId, Entry>();
  private readonly changed = new Emitter<ReviewChange>();
  private readonly store = new DisposableStore();
  readonly onDidChange = this.changed.event;
  /** Where the review of a task comes from; another in tests. */
  find: (id: TaskId) => Promise<TaskReview>;

  constructor(tasks: ReviewedTasks) {
    this.tasks = tasks;
    this.find = async (id) => (await tasks.open()).review(id);
    this.store.add(this.changed);
    this.store.add(tasks.onDidChange((state) => this.taskChanged(state)));
    this.store.add(tasks.onDidRemove((id) => this.forget(id)));
  }

  async of(id: TaskId): Promise<TaskReview> {
    return (await this.entry(id)).review;
  }

  async state(id: TaskId): Promise<ReviewState> {
    return (await this.entry(id)).state;
  }

  /** What is known without waiting. */
  stateNow(id: TaskId): ReviewState | undefined {
    return this.known.get(id)?.state;
  }

  async load(id: TaskId, scope: ReviewScope): Promise<Loaded> {
    const entry = await this.entry(id);
    const word = scopeWord(scope);
    const made = (entry.diffs.get(word) ?? this.read(entry, scope)).catch((thrown: unknown) => {
      entry.diffs.delete(word);
      throw thrown;
    });
    entry.diffs.delete(word);
    entry.diffs.set(word, made);
    for (const oldest of entry.diffs.keys()) {
      if (entry.diffs.size <= keptDiffs) break;
      entry.diffs.delete(oldest);
    }
    const { diff, returned } = await made;
    return { diff, returned, state: entry.state };
  }

  /** The task itself, for its title and its phase. */
  task(id: TaskId): TaskState | undefined {
    return this.tasks.get(id);
  }

  /** Content of a file by object name. */
  async blob(id: TaskId, oid: string): Promise<Uint8Array> {
    return await (await this.tasks.open()).blob(id, oid);
  }

  dispose(): void {
    for (const entry of this.known.values()) entry.store.dispose();
    this.known.clear();
    this.entries.clear();
    this.store.dispose();
  }

  private async read(entry: Entry, scope: ReviewScope): Promise<Pick<Loaded, 'diff' | 'returned'>> {
    const diff = await entry.review.diff(scope);
    return { diff, returned: new Set(await entry.review.returned(diff)) };
  }

  private entry(id: TaskId): Promise<Entry> {
    const known = this.entries.get(id);
    if (known !== undefined) return known;
    const opening = this.make(id).catch((thrown: unknown) => {
      this.entries.delete(id);
      throw thrown;
    });
    this.entries.set(id, opening);
    return opening;
  }

  private async make(id: TaskId): Promise<Entry> {
    const review = await this.find(id);
    const state = await review.state();
    const store = new DisposableStore();
    const entry: Entry = { review, state, diffs: new Map(), store, made: madeOf(this.tasks.get(id)) };
    store.add(review.onDidChange((next) => this.reviewChanged(id, entry, next)));
    if (!this.entries.has(id)) {
      store.dispose();
      throw new SallyportError('task_unknown', 'This task does not exist any more.', 'Choose another one.');
    }
    this.known.set(id, entry);
    return entry;
  }

  private reviewChanged(id: TaskId, entry: Entry, state: ReviewState): void {
    const before = entry.state;
    entry.state = state;
    // What the user wrote stands in place of the task's file, and what was sent back is what can come back.
    const content = before.edits !== state.edits || before.sentAt !== state.sentAt;
    if (content) entry.diffs.clear();
    this.changed.fire({ id, state, content });
  }

  private taskChanged(task: TaskState): void {
    const entry = this.known.get(task.spec.id);
    if (entry === undefined) return;
    const made = madeOf(task);
    if (made === entry.made) return;
    entry.made = made;
    entry.diffs.clear();
    this.changed.fire({ id: task.spec.id, state: entry.state, content: true });
  }

  private forget(id: TaskId): void {
    this.known.get(id)?.store.dispose();
    this.known.delete(id);
    this.entries.delete(id);
  }
}

/** What of a task its diffs depend on. */
function madeOf(task: TaskState | undefined): string {
  if (task === undefined) return '';
  const { imported, leftovers, phase } = task;
  // What came back is known when the agent does not work.
  const works = !hasEnded(task) && phase !== 'waiting';
  return `${imported.length}/${imported.at(-1) ?? ''}/${leftovers?.commit ?? ''}/${works}`;
}
