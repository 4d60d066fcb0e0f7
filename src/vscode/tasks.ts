import type { Disposable } from '../base/disposable.ts';
import { Emitter } from '../base/event.ts';
import type { SallyportError } from '../base/errors.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { JoinedTasks } from '../runner/joinedTasks.ts';
import type { TaskService } from '../runner/taskService.ts';
import type { Runners } from './runners.ts';
import { type Place, silentSince, thisMachine } from './view/places.ts';
import type { Whereabouts } from './view/taskView.ts';

/**
 * The tasks of all runners, made when they are first needed: what only registers itself must not load them. Before that
 * there are no tasks to be seen.
 */
export class Tasks implements Disposable {
  private readonly make: () => Promise<TaskService>;
  readonly runners: Runners;
  private opening: Promise<JoinedTasks> | undefined;
  private service: JoinedTasks | undefined;
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

  /** @param make the tasks of this machine */
  constructor(make: () => Promise<TaskService>, runners: Runners) {
    this.make = make;
    this.runners = runners;
  }

  /** True when the service was asked for; it may still be loading. */
  get isWanted(): boolean {
    return this.opening !== undefined;
  }

  get isOpen(): boolean {
    return this.service !== undefined;
  }

  /** The service, with its tasks loaded. A failure is not kept: the next call tries again. */
  open(): Promise<JoinedTasks> {
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

  /** Those of one runner. */
  listOf(place: string): readonly TaskState[] {
    return this.service?.tasksOf(place) ?? [];
  }

  get(id: TaskId): TaskState | undefined {
    return this.service?.task(id);
  }

  hasResult(id: TaskId): boolean {
    return this.service?.result(id) !== undefined;
  }

  /** True for the commit that would be accepted. */
  isNewest(id: TaskId, sha: string): boolean {
    return this.service?.result(id)?.to === sha;
  }

  /** The runner of a task. */
  placeOf(id: TaskId): Place | undefined {
    return this.runners.place(this.service?.placeOf(id));
  }

  /** What is to be said of where a task runs: nothing while there is only this machine. */
  whereabouts(id: TaskId): Whereabouts | undefined {
    const place = this.runners.isEmpty ? undefined : this.placeOf(id);
    if (place === undefined) return undefined;
    const since = silentSince(place);
    return {
      name: place.name,
      ...(since === undefined ? {} : { since }),
      ...(this.runners.mayChange(place.id, id) ? {} : { readOnly: true }),
    };
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

  private async load(): Promise<JoinedTasks> {
    const local = await this.make();
    const service = new JoinedTasks({ id: thisMachine, name: () => 'This machine', service: local });
    service.onDidChange((state) => this.changed.fire(state));
    service.onDidRemove((id) => this.removed.fire(id));
    service.onTrouble((error) => this.trouble.fire(error));
    try {
      await this.runners.join(service);
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
