import { existsSync } from 'node:fs';
import type { Disposable } from '../../base/disposable.ts';
import { asSallyportError, SallyportError } from '../../base/errors.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { TaskRunner } from '../taskRunner.ts';
import { journalOf } from './accepts.ts';
import { Review } from './review.ts';
import type { ReviewedTask } from './source.ts';
import type { TaskReview } from './taskReview.ts';

/** What a review needs of the runner of its task. */
export type ReviewedRunner = Pick<
  TaskRunner,
  'state' | 'folderOf' | 'quarantineOf' | 'batches' | 'onDidChange' | 'onDidRemove'
>;

/** How many reviews keep their diffs in memory. */
const awake = 3;

/** The reviews of a runner's tasks: one for each that was asked for, until the task is removed. */
export class Reviews implements Disposable {
  private readonly runner: ReviewedRunner;
  private readonly talk: (id: TaskId) => Pick<ReviewedTask, 'send' | 'followUp'>;
  /** The one that was asked for last stands last. */
  private readonly open = new Map<TaskId, Review>();
  private readonly listening: Disposable[];

  /** @param talk how a task's agent is spoken to */
  constructor(runner: ReviewedRunner, talk: (id: TaskId) => Pick<ReviewedTask, 'send' | 'followUp'>) {
    this.runner = runner;
    this.talk = talk;
    this.listening = [
      runner.onDidChange((state) => this.open.get(state.spec.id)?.changed(state)),
      runner.onDidRemove((id) => {
        this.open.get(id)?.dispose();
        this.open.delete(id);
      }),
    ];
  }

  /**
   * Takes back what killed processes left half done in users' repositories. Failures are told, each to `trouble`.
   * @param ids tasks to look at
   */
  async settle(ids: readonly TaskId[], trouble: (error: SallyportError) => void): Promise<void> {
    for (const id of ids) {
      try {
        if (existsSync(journalOf(this.runner.folderOf(id)))) await this.find(id).settle();
      } catch (thrown) {
        trouble(asSallyportError(thrown));
      }
    }
  }

  /** Runs `work`, such as removing the task, while nothing of it is being accepted, and nothing is half accepted. */
  async whileQuiet<T>(id: TaskId, work: () => Promise<T>): Promise<T> {
    if (!existsSync(journalOf(this.runner.folderOf(id)))) return await work();
    return await this.find(id).whileQuiet(work);
  }

  /** Throws `task_unknown`. */
  of(id: TaskId): TaskReview {
    return this.find(id);
  }

  private find(id: TaskId): Review {
    const state = (): TaskState => {
      const found = this.runner.state(id);
      if (found !== undefined) return found;
      throw new SallyportError('task_unknown', `There is no task ${id}.`, 'It may have been removed.');
    };
    state();
    const review =
      this.open.get(id) ??
      new Review({
        folder: this.runner.folderOf(id),
        state,
        quarantine: this.runner.quarantineOf(id),
        batches: (after, signal) => this.runner.batches(id, after, signal),
        ...this.talk(id),
      });
    this.open.delete(id);
    this.open.set(id, review);
    const resting = [...this.open.values()].slice(0, -awake);
    for (const one of resting) one.rest();
    return review;
  }

  dispose(): void {
    for (const listening of this.listening) listening.dispose();
    for (const review of this.open.values()) review.dispose();
    this.open.clear();
  }
}
