import type { Disposable } from '../../base/disposable.ts';
import type { TaskId } from '../../protocol/grammar.ts';

/** Who waits for something to happen to one task. */
export class TaskWatch {
  private readonly waiters = new Map<TaskId, Set<() => void>>();

  watch(id: TaskId, heard: () => void): Disposable {
    const all = this.waiters.get(id) ?? new Set();
    this.waiters.set(id, all);
    all.add(heard);
    return {
      dispose: () => {
        all.delete(heard);
        if (all.size === 0 && this.waiters.get(id) === all) this.waiters.delete(id);
      },
    };
  }

  wake(id: TaskId): void {
    for (const heard of [...(this.waiters.get(id) ?? [])]) heard();
  }

  /** Resolves when something happens to the task, or when `signal` aborts. */
  async next(id: TaskId, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const go = (): void => resolve(undefined);
    const watching = this.watch(id, go);
    signal.addEventListener('abort', go, { once: true });
    try {
      if (!signal.aborted) await promise;
    } finally {
      watching.dispose();
      signal.removeEventListener('abort', go);
    }
  }
}
