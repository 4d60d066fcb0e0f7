import type { Disposable } from '../base/disposable.ts';
import { Emitter } from '../base/event.ts';
import type { SallyportError } from '../base/errors.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { TaskService } from '../runner/taskService.ts';

/**
 * The task service, made when it is first needed: what only registers itself must not load it. Before that there are
 * no tasks to be seen.
 */
export class Tasks implements Disposable {
  private readonly make: () => Promise<TaskService>;
  private opening: Promise<TaskService> | undefined;
  private service: TaskService | undefined;
  private disposed = false;
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<TaskId>();
  private readonly trouble = new Emitter<SallyportError>();
  private readonly opened = new Emitter<undefined>();
  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  /** A failure that is no task's own, such as a full disk. */
  readonly onTrouble = this.trouble.event;
  /** The tasks were loaded, or could not be. */
  readonly onDidOpen = this.opened.event;

  constructor(make: () => Promise<TaskService>) {
    this.make = make;
  }

  /** True when the service was asked for; it may still be loading. */
  get isWanted(): boolean {
    return this.opening !== undefined;
  }

  get isOpen(): boolean {
    return this.service !== undefined;
  }

  /** The service, with its tasks loaded. A failure is not kept: the next call tries again. */
  open(): Promise<TaskService> {
    this.opening ??= this.load().catch((thrown: unknown) => {
      this.opening = undefined;
      throw thrown;
    });
    return this.opening;
  }

  /** What is known without waiting. */
  list(): readonly TaskState[] {
    return this.service?.tasks() ?? [];
  }

  get(id: TaskId): TaskState | undefined {
    return this.service?.task(id);
  }

  hasResult(id: TaskId): boolean {
    return this.service?.result(id) !== undefined;
  }

  dispose(): void {
    this.disposed = true;
    this.service?.dispose();
    this.service = undefined;
    this.changed.dispose();
    this.removed.dispose();
    this.trouble.dispose();
    this.opened.dispose();
  }

  private async load(): Promise<TaskService> {
    const service = await this.make();
    service.onDidChange((state) => this.changed.fire(state));
    service.onDidRemove((id) => this.removed.fire(id));
    service.onTrouble((error) => this.trouble.fire(error));
    try {
      await service.open();
    } catch (thrown) {
      service.dispose();
      throw thrown;
    }
    if (this.disposed) service.dispose();
    else this.service = service;
    this.opened.fire(undefined);
    return service;
  }
}
