import * as z from 'zod/mini';
import type { Disposable } from '../../base/disposable.ts';
import { DisposableStore } from '../../base/disposable.ts';
import { Emitter } from '../../base/event.ts';
import { TaskId } from '../../protocol/grammar.ts';
import { type FileId, type ReviewFile, ReviewScope } from '../../protocol/review.ts';
import { standingOfPart } from '../view/reviewItems.ts';
import { type FileStanding, type Filter, passes, standingOf } from '../view/reviewProgress.ts';
import type { Loaded, ReviewChange, Reviews } from './reviews.ts';

/** What is reviewed in this window. */
export interface Subject {
  id: TaskId;
  scope: ReviewScope;
}

/** Kept by VS Code for the workspace, so that a reload shows the same. */
const Kept = z.object({
  subject: z.optional(z.object({ id: TaskId, scope: ReviewScope })),
  layout: z._default(z.enum(['tree', 'list']), 'tree'),
});
type Kept = z.infer<typeof Kept>;
const keptKey = 'sallyport.review';

/** Where a few words survive a reload of the window. */
export interface Memory {
  get(key: string): unknown;
  update(key: string, value: unknown): PromiseLike<void>;
}

/** What changed for those who show the session. */
export type SessionChange =
  /** Another subject, other files, another filter. */
  | { kind: 'all' }
  /** Only how these files stand, and so the counts. */
  | { kind: 'files'; files: FileId[] };

/** Milliseconds in which changes are gathered before a diff is asked for again. */
const settleMs = 100;

/** The one review that the window shows: its subject, its files, how each stands, and the filter. */
export class ReviewSession implements Disposable {
  private readonly reviews: Reviews;
  private readonly memory: Memory;
  private readonly onProblem: (thrown: unknown) => void;
  private readonly store = new DisposableStore();
  private readonly changed = new Emitter<SessionChange>();
  private kept: Kept;
  private loaded: Loaded | undefined;
  private loading: Promise<void> | undefined;
  private standings = new Map<FileId, FileStanding>();
  private byId = new Map<FileId, ReviewFile>();
  private settling: NodeJS.Timeout | undefined;
  private chosenFilter: Filter | undefined;
  readonly onDidChange = this.changed.event;

  constructor(reviews: Reviews, memory: Memory, onProblem: (thrown: unknown) => void) {
    this.reviews = reviews;
    this.memory = memory;
    this.onProblem = onProblem;
    const kept = Kept.safeParse(memory.get(keptKey) ?? {});
    this.kept = kept.success ? kept.data : { layout: 'tree' };
    this.store.add(this.changed);
    this.store.add(reviews.onDidChange((change) => this.reviewChanged(change)));
  }

  get subject(): Subject | undefined {
    return this.kept.subject;
  }

  get layout(): 'tree' | 'list' {
    return this.kept.layout;
  }

  get filter(): Filter | undefined {
    return this.chosenFilter;
  }

  /** What is known without waiting. */
  get now(): Loaded | undefined {
    return this.loaded;
  }

  /** Shows another subject. Rejects when it cannot be read, and keeps showing what was shown. */
  async show(subject: Subject): Promise<void> {
    const loaded = await this.reviews.load(subject.id, subject.scope);
    this.keep({ ...this.kept, subject });
    this.chosenFilter = undefined;
    this.take(loaded);
    this.changed.fire({ kind: 'all' });
  }

  close(): void {
    const { subject: _subject, ...rest } = this.kept;
    this.keep(rest);
    this.loaded = undefined;
    this.standings = new Map();
    this.byId = new Map();
    this.chosenFilter = undefined;
    this.changed.fire({ kind: 'all' });
  }

  setLayout(layout: 'tree' | 'list'): void {
    this.keep({ ...this.kept, layout });
    this.changed.fire({ kind: 'all' });
  }

  setFilter(filter: Filter | undefined): void {
    this.chosenFilter = filter;
    this.changed.fire({ kind: 'all' });
  }

  /** Reads what is shown, once; after a reload this is what brings it back. */
  async open(): Promise<Loaded | undefined> {
    if (this.loaded === undefined && this.kept.subject !== undefined) {
      this.loading ??= this.refresh().finally(() => (this.loading = undefined));
      await this.loading;
    }
    return this.loaded;
  }

  /** Reads it again. */
  async refresh(): Promise<void> {
    await this.reload();
    this.changed.fire({ kind: 'all' });
  }

  file(id: FileId): ReviewFile | undefined {
    return this.byId.get(id);
  }

  standing(id: FileId): FileStanding | undefined {
    return this.standings.get(id);
  }

  /** The files that the filter leaves, those of the gate first. */
  files(): ReviewFile[] {
    const { loaded } = this;
    if (loaded === undefined) return [];
    return loaded.diff.files.filter((file) => {
      const standing = this.standings.get(file.id);
      return standing !== undefined && passes(this.chosenFilter, file, standing, loaded.state);
    });
  }

  dispose(): void {
    clearTimeout(this.settling);
    this.store.dispose();
  }

  private keep(kept: Kept): void {
    this.kept = kept;
    void this.memory.update(keptKey, kept);
  }

  private async reload(): Promise<void> {
    const { subject } = this.kept;
    if (subject === undefined) return;
    const loaded = await this.reviews.load(subject.id, subject.scope);
    if (this.kept.subject === subject) this.take(loaded);
  }

  private take(loaded: Loaded): void {
    this.loaded = loaded;
    this.byId = new Map(loaded.diff.files.map((file) => [file.id, file]));
    this.standings = new Map(
      loaded.diff.files.map((file) => [file.id, standingOf(file, loaded.state, loaded.returned)]),
    );
  }

  private reviewChanged({ id, state, content }: ReviewChange): void {
    if (id !== this.kept.subject?.id || this.loaded === undefined) return;
    if (content) {
      this.settling ??= setTimeout(() => {
        this.settling = undefined;
        this.refresh().catch(this.onProblem);
      }, settleMs);
      return;
    }
    const before = this.loaded.state;
    this.loaded = { ...this.loaded, state };
    const files: FileId[] = [];
    for (const file of this.loaded.diff.files) {
      const standing = standingOf(file, state, this.loaded.returned);
      const known = this.standings.get(file.id);
      const parts = file.parts.some((part) => standingOfPart(part, state) !== standingOfPart(part, before));
      if (!parts && known !== undefined && isSame(known, standing)) continue;
      this.standings.set(file.id, standing);
      files.push(file.id);
    }
    this.changed.fire({ kind: 'files', files });
  }
}

function isSame(a: FileStanding, b: FileStanding): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
