import type { Event } from '../../src/base/event.ts';
import { blob } from '../../src/git/diff.ts';
import { resultRange } from '../../src/protocol/ranges.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import type { TaskReview } from '../../src/runner/review/taskReview.ts';
import type { Range } from '../../src/runner/taskService.ts';
import { FakeTaskService } from './fakeTaskService.ts';
import type { ReviewBench } from './reviewBench.ts';

/** The task of a bench as a service has it: its review and its files are real, the rest is not there. */
export class BenchService extends FakeTaskService {
  private readonly bench: ReviewBench;
  override readonly onDidChange: Event<TaskState>;
  override readonly onDidRemove: Event<string>;
  /** Stands in for the review where a test wants to say what comes of it. */
  other: TaskReview | undefined;

  constructor(bench: ReviewBench) {
    super();
    this.bench = bench;
    this.onDidChange = bench.runner.onDidChange;
    this.onDidRemove = bench.runner.onDidRemove;
  }

  override tasks(): readonly TaskState[] {
    const state = this.bench.runner.state(this.bench.id);
    return state === undefined ? [] : [state];
  }

  override task(id: string): TaskState | undefined {
    return this.bench.runner.state(id);
  }

  override result(id: string): Range | undefined {
    const state = this.task(id);
    return state && resultRange(state);
  }

  override blob(_id: string, oid: string): Promise<Uint8Array> {
    return blob(this.bench.runner.quarantine, oid, 1 << 26);
  }

  override review(_id: string): never {
    return (this.other ?? this.bench.review) as never;
  }
}
