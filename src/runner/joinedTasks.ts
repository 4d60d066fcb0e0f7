import { DisposableStore } from '../base/disposable.ts';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { DetailedChange } from '../git/diff.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { QuestionAnswer } from '../protocol/question.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import type { TaskPublishing } from './publishing/taskPublishing.ts';
import type { TaskReview } from './review/taskReview.ts';
import type {
  Continuation,
  DoctorCheck,
  EgressAnswer,
  FollowUp,
  Range,
  SubmitRequest,
  TaskService,
  WorkspaceSettings,
} from './taskService.ts';

/** Tasks of one runner. */
export interface TaskPlace {
  /** Unique among those that are joined. */
  id: string;
  /** For people; asked each time, because it can be changed. */
  name: () => string;
  service: TaskService;
}

interface Joined extends TaskPlace {
  store: DisposableStore;
  opened: boolean;
  /** That some of its tasks are hidden by another's was told. */
  collided: boolean;
}

/**
 * Tasks of several runners as if they were of one: every call goes to the runner that has the task. Ids are unique in
 * practice; where two runners have the same one all the same, the task is that of the runner that was added first, and the
 * other is not to be seen. So no runner can put itself before the tasks of this machine, which come first.
 */
export class JoinedTasks implements TaskService {
  private readonly places: Joined[] = [];
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<TaskId>();
  private readonly trouble = new Emitter<SallyportError>();
  private wanted = false;
  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  readonly onTrouble = this.trouble.event;

  /** @param first keeps what belongs to this machine, such as the settings of workspaces, and takes tasks that name no runner */
  constructor(first: TaskPlace) {
    this.join(first);
  }

  /** Opens the first, and fails with it; what is wrong with another is told as trouble, and it is opened at the next call. */
  async open(): Promise<void> {
    const [first, ...more] = this.places;
    if (first === undefined) return;
    if (!first.opened) await first.service.open();
    first.opened = this.wanted = true;
    await Promise.all(more.map((place) => this.openOne(place)));
  }

  /** Takes a further runner in; its tasks are loaded when the others are. Throws `conflict` for one that is in. */
  async add(place: TaskPlace): Promise<void> {
    if (this.find(place.id) !== undefined) {
      throw new SallyportError(
        'conflict',
        `The runner ${place.name()} is there already.`,
        'Disconnect it first, then connect it again.',
      );
    }
    const joined = this.join(place);
    if (!this.wanted) return;
    await this.openOne(joined);
    for (const state of joined.service.tasks()) this.heard(joined, state);
  }

  /** Lets go of a runner, and disposes of its service; its tasks are not removed, only no longer here. */
  drop(id: string): void {
    const at = this.places.findIndex((place) => place.id === id);
    const [place] = at > 0 ? this.places.splice(at, 1) : [];
    if (place === undefined) return;
    const had = place.service.tasks().map(({ spec }) => spec.id);
    place.store.dispose();
    place.service.dispose();
    for (const task of had) this.lost(task);
  }

  /** Which runner has the task. */
  placeOf(id: TaskId): string | undefined {
    return this.owner(id)?.id;
  }

  tasks(): readonly TaskState[] {
    const seen = new Map<TaskId, TaskState>();
    for (const { service } of this.places)
      for (const state of service.tasks()) if (!seen.has(state.spec.id)) seen.set(state.spec.id, state);
    return [...seen.values()].sort((a, b) => a.spec.createdAt - b.spec.createdAt);
  }

  /** What is to be seen of one runner's tasks. */
  tasksOf(id: string): readonly TaskState[] {
    const place = this.find(id);
    return place?.service.tasks().filter(({ spec }) => this.owner(spec.id) === place) ?? [];
  }

  task(id: TaskId): TaskState | undefined {
    return this.owner(id)?.service.task(id);
  }

  submit(request: SubmitRequest, signal?: AbortSignal): Promise<TaskState> {
    return this.first().submit(request, signal);
  }

  /** Throws `not_found` for a runner that is not there, and what `submit` throws. */
  async submitTo(place: string, request: SubmitRequest, signal?: AbortSignal): Promise<TaskState> {
    const found = this.find(place);
    if (found === undefined) {
      throw new SallyportError(
        'not_found',
        'The runner that was chosen is not connected any more.',
        'Choose another runner, or connect it again.',
      );
    }
    return await found.service.submit(request, signal);
  }

  async send(id: TaskId, text: string, options?: { by?: string | undefined }): Promise<void> {
    await this.of(id).send(id, text, options);
  }

  async followUp(id: TaskId, prompt: string, options?: FollowUp): Promise<TaskState> {
    return await this.of(id).followUp(id, prompt, options);
  }

  async continueFrom(
    id: TaskId,
    at: { turn: number },
    prompt: string,
    options?: Continuation,
  ): Promise<TaskState> {
    return await this.of(id).continueFrom(id, at, prompt, options);
  }

  async commitLeftovers(id: TaskId, message: string): Promise<TaskState> {
    return await this.of(id).commitLeftovers(id, message);
  }

  async answerQuestion(
    id: TaskId,
    question: string,
    answer: QuestionAnswer,
    options?: { by?: string | undefined },
  ): Promise<void> {
    await this.of(id).answerQuestion(id, question, answer, options);
  }

  async interrupt(id: TaskId, options?: { by?: string | undefined }): Promise<void> {
    await this.of(id).interrupt(id, options);
  }

  async terminal(id: TaskId, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    return await this.of(id).terminal(id, size, signal);
  }

  async stop(id: TaskId): Promise<void> {
    await this.of(id).stop(id);
  }

  async remove(id: TaskId, options?: { force?: boolean }): Promise<void> {
    await this.of(id).remove(id, options);
  }

  async *events(id: TaskId, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[]> {
    yield* this.of(id).events(id, after, signal);
  }

  result(id: TaskId): Range | undefined {
    return this.of(id).result(id);
  }

  leftovers(id: TaskId): Range | undefined {
    return this.of(id).leftovers(id);
  }

  async changes(id: TaskId, range?: Range): Promise<DetailedChange[]> {
    return await this.of(id).changes(id, range);
  }

  async patch(id: TaskId, range?: Range): Promise<{ text: string; truncated: boolean }> {
    return await this.of(id).patch(id, range);
  }

  async blob(id: TaskId, oid: string): Promise<Uint8Array> {
    return await this.of(id).blob(id, oid);
  }

  review(id: TaskId): TaskReview {
    return this.of(id).review(id);
  }

  publishing(id: TaskId, hosts: () => unknown): TaskPublishing {
    return this.of(id).publishing(id, hosts);
  }

  async acceptAsBranch(id: TaskId, branch: string): Promise<{ branch: string }> {
    return await this.of(id).acceptAsBranch(id, branch);
  }

  async answerEgress(id: TaskId, answer: EgressAnswer): Promise<void> {
    await this.of(id).answerEgress(id, answer);
  }

  async setBudget(id: TaskId, usd: number | null): Promise<void> {
    await this.of(id).setBudget(id, usd);
  }

  /** Of all that can be asked now. */
  async spentToday(): Promise<number> {
    const [first, ...more] = this.places;
    const own = (await first?.service.spentToday()) ?? 0;
    const others = await Promise.all(more.map(({ service }) => service.spentToday().catch(() => 0)));
    return others.reduce((sum, usd) => sum + usd, own);
  }

  async budgetsChanged(): Promise<void> {
    // The setting is this machine's; another runner has its own.
    await this.first().budgetsChanged();
  }

  workspaceSettings(repositoryPath: string): Promise<WorkspaceSettings> {
    return this.first().workspaceSettings(repositoryPath);
  }

  changeWorkspaceSettings(repositoryPath: string, change: Partial<WorkspaceSettings>): Promise<void> {
    return this.first().changeWorkspaceSettings(repositoryPath, change);
  }

  /** The checks of every runner; those of the first without its name. */
  async doctor(options?: { callModel?: boolean; signal?: AbortSignal }): Promise<DoctorCheck[]> {
    const checks = await Promise.all(
      this.places.map(async ({ name, service }, at): Promise<DoctorCheck[]> => {
        if (at === 0) return await service.doctor(options);
        const found = await service.doctor(options).catch((thrown: unknown) => {
          const { message, mend } = asSallyportError(thrown);
          return [{ name: 'Runner', ok: false as const, detail: message, mend }];
        });
        return found.map((check) => ({ ...check, name: `${name()}: ${check.name}` }));
      }),
    );
    return checks.flat();
  }

  dispose(): void {
    for (const { store, service } of this.places.splice(0)) {
      store.dispose();
      service.dispose();
    }
    this.changed.dispose();
    this.removed.dispose();
    this.trouble.dispose();
  }

  private join(place: TaskPlace): Joined {
    const store = new DisposableStore();
    const joined: Joined = { ...place, store, opened: false, collided: false };
    store.add(place.service.onDidChange((state) => this.heard(joined, state)));
    store.add(place.service.onDidRemove((id) => this.lost(id)));
    store.add(place.service.onTrouble((error) => this.trouble.fire(error)));
    this.places.push(joined);
    return joined;
  }

  private async openOne(place: Joined): Promise<void> {
    if (place.opened) return;
    try {
      await place.service.open();
      place.opened = true;
    } catch (thrown) {
      this.trouble.fire(asSallyportError(thrown));
    }
  }

  private heard(place: Joined, state: TaskState): void {
    const owner = this.owner(state.spec.id);
    if (owner === undefined || owner === place) {
      this.changed.fire(state);
      return;
    }
    if (place.collided) return;
    place.collided = true;
    this.trouble.fire(
      new SallyportError(
        'conflict',
        `${place.name()} has a task with the id of one of ${owner.name()}. Only that of ${owner.name()} is shown.`,
        'If both are the same runner under two addresses, disconnect one of them.',
      ),
    );
  }

  /** Gone from one of the runners: what another has by the same id can be seen now. */
  private lost(id: TaskId): void {
    const state = this.task(id);
    if (state === undefined) this.removed.fire(id);
    else this.changed.fire(state);
  }

  private find(id: string): Joined | undefined {
    return this.places.find((place) => place.id === id);
  }

  private owner(id: TaskId): Joined | undefined {
    return this.places.find(({ service }) => service.task(id) !== undefined);
  }

  private first(): TaskService {
    const [first] = this.places;
    if (first === undefined)
      throw new SallyportError('cancelled', 'The tasks were closed.', 'Open them again.');
    return first.service;
  }

  private of(id: TaskId): TaskService {
    const owner = this.owner(id);
    if (owner !== undefined) return owner.service;
    throw new SallyportError('task_unknown', `There is no task ${id}.`, 'It may have been removed.');
  }
}
