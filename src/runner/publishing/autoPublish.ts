import type { Disposable } from '../../base/disposable.ts';
import { asSallyportError, type SallyportError } from '../../base/errors.ts';
import type { Event } from '../../base/event.ts';
import type { Logger } from '../../base/logger.ts';
import { pause } from '../../base/pause.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';

export interface AutoPublishParts {
  onDidChange: Event<TaskState>;
  onDidRemove: Event<TaskId>;
  tasks: () => readonly TaskState[];
  /** As of `TaskPublishing.bySwitches`. */
  publish: (id: TaskId, signal: AbortSignal) => Promise<void>;
  /** Tells the user what is in the way; once, until it is another thing. */
  tell: (state: TaskState, problem: SallyportError) => void;
  log: Pick<Logger, 'warn'>;
  /** Waits between tries, in milliseconds; for tests. */
  retryMs?: readonly number[];
}

const retryMs = [5000, 30_000, 2 * 60_000, 10 * 60_000];
const maxTries = 20;
/** What is over for so long is left alone after a restart, in milliseconds. */
const freshMs = 24 * 60 * 60_000;
/** What passes: everything else stays as it is until the task changes. */
const passing = ['repository_unreachable', 'forge_unreachable', 'disk_full', 'task_busy'];

interface Job {
  state: TaskState;
  /** What was done last: the same once more is nothing to do. */
  done: string;
  /** What was told last. */
  told: string;
  running: boolean;
}

/** Carries out the switches of this machine's tasks, one task after the other, for as long as it is not disposed of. */
export class AutoPublisher implements Disposable {
  private readonly parts: AutoPublishParts;
  private readonly jobs = new Map<TaskId, Job>();
  private readonly leaving = new AbortController();
  private readonly listening: Disposable[];
  private turn: Promise<unknown> = Promise.resolve();

  constructor(parts: AutoPublishParts) {
    this.parts = parts;
    this.listening = [
      parts.onDidChange((state) => this.take(state)),
      parts.onDidRemove((id) => this.jobs.delete(id)),
    ];
    // What was under way when the editor was closed.
    for (const state of parts.tasks())
      if (state.endedAt === undefined || Date.now() - state.endedAt < freshMs) this.take(state);
  }

  dispose(): void {
    this.leaving.abort();
    for (const one of this.listening) one.dispose();
  }

  private take(state: TaskState): void {
    const { id, switches, repository } = state.spec;
    if (switches?.autoPush !== true || repository.path === '' || this.leaving.signal.aborted) return;
    const job = this.jobs.get(id) ?? { state, done: '', told: '', running: false };
    job.state = state;
    this.jobs.set(id, job);
    if (job.running || keyOf(state) === job.done) return;
    job.running = true;
    void this.attend(id, job).finally(() => (job.running = false));
  }

  /** Works until nothing has changed meanwhile. Never rejects. */
  private async attend(id: TaskId, job: Job): Promise<void> {
    const { signal } = this.leaving;
    for (let tries = 0; !signal.aborted && this.jobs.get(id) === job && keyOf(job.state) !== job.done;) {
      const key = keyOf(job.state);
      const wait = await this.inTurn(() => this.try(id, job, key, tries));
      tries = wait === undefined ? 0 : tries + 1;
      if (wait !== undefined) await pause(wait, signal);
    }
  }

  /** Undefined when it is done, or is not to be tried again; else after how many milliseconds. */
  private async try(id: TaskId, job: Job, key: string, tries: number): Promise<number | undefined> {
    try {
      await this.parts.publish(id, this.leaving.signal);
      job.told = '';
    } catch (thrown) {
      if (this.leaving.signal.aborted) return undefined;
      const error = asSallyportError(thrown);
      this.parts.log.warn(`Publishing of task ${id}: ${error.code}: ${error.message}`);
      const waits = this.parts.retryMs ?? retryMs;
      if (passing.includes(error.code) && tries < maxTries)
        return waits[Math.min(tries, waits.length - 1)] ?? 0;
      const words = `${error.code} ${error.message}`;
      if (job.told !== words && error.code !== 'task_busy') this.parts.tell(job.state, error);
      job.told = words;
    }
    job.done = key;
    return undefined;
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.turn.then(work, work);
    this.turn = mine.catch(() => undefined);
    return await mine;
  }
}

/** Changes with everything that publishing depends on. */
function keyOf(state: TaskState): string {
  return JSON.stringify([
    state.imported.length,
    state.imported.at(-1) ?? '',
    hasEnded(state) ? state.phase : 'working',
    state.leftovers?.commit ?? '',
    state.refusedImports.length,
  ]);
}
