import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SallyportError } from '../../src/base/errors.ts';
import { Emitter } from '../../src/base/event.ts';
import type { DetailedChange } from '../../src/git/diff.ts';
import type { ByteStream } from '../../src/protocol/runner.ts';
import {
  noSwitches,
  type Submission,
  summaryOf,
  type TaskPage,
  type TaskView,
  type UploadRequest,
  type UploadState,
} from '../../src/protocol/runnerApi.ts';
import { newTaskId, titleOf } from '../../src/protocol/task.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import type { Terminal, TerminalSize } from '../../src/protocol/terminal.ts';
import { TaskLog, type UnnumberedEvent } from '../../src/runner/taskLog.ts';
import type { Range } from '../../src/runner/taskService.ts';
import type { User } from '../../src/server/principal.ts';
import type { ServerTasks, TaskChange } from '../../src/server/tasks/serverTasks.ts';
import { aSpec } from './specs.ts';

interface Task {
  view: TaskView;
  log: TaskLog | undefined;
  state: TaskState | undefined;
}

/** Tasks without an engine: their logs are real files, and a test says what happens in them. */
export class FakeServerTasks implements ServerTasks {
  private readonly changed = new Emitter<TaskView>();
  private readonly removedOnes = new Emitter<string>();
  private readonly logged = new Emitter<string>();
  private readonly tasks = new Map<string, Task>();
  private readonly folder: string;
  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removedOnes.event;
  readonly submissions: { user: User; submission: Submission }[] = [];
  readonly cancelled: string[] = [];
  readonly sent: { id: string; text: string }[] = [];
  readonly uploads: UploadRequest[] = [];
  readonly blobs = new Map<string, Uint8Array>();
  readonly haves: (readonly string[])[] = [];
  detailed: DetailedChange[] = [];
  patchText = '';
  bundleBytes: Uint8Array[] = [];
  /** How many bundles are being made. */
  packing = 0;
  /** Ranges that `patch` and `changes` were asked for. */
  readonly ranges: (Range | undefined)[] = [];
  /** How often a log was opened to be read. */
  readings = 0;
  /** How many are reading now. */
  readers = 0;
  /** Called for each submission, to play the task. */
  onSubmit: ((id: string, submission: Submission) => void) | undefined;
  onSend: ((id: string, text: string) => void) | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<FakeServerTasks> {
    return new FakeServerTasks(await mkdtemp(join(tmpdir(), 'sallyport-tasks-')));
  }

  /** A task of that user, whose log has begun unless it is said otherwise. */
  async add(
    owner: User,
    change: Partial<TaskView> & { conversation?: boolean; begun?: boolean } = {},
  ): Promise<string> {
    const { conversation, begun = true, ...rest } = change;
    const id = newTaskId(Date.now());
    const prompt = change.prompt ?? 'Fix the median';
    const view: TaskView = {
      id,
      title: titleOf(prompt),
      prompt,
      source: { kind: 'find', confirm: false },
      owner: { id: owner.id, name: owner.name },
      shared: false,
      priority: 0,
      switches: noSwitches,
      createdAt: Date.now(),
      stage: begun ? 'task' : 'finding',
      ...rest,
    };
    this.tasks.set(id, { view, log: undefined, state: undefined });
    this.changed.fire(view);
    if (begun) await this.begin(id, conversation);
    return id;
  }

  /** The log of the task begins. */
  async begin(id: string, conversation = false): Promise<void> {
    const task = this.task(id);
    const spec = aSpec({ id, prompt: task.view.prompt, ...(conversation ? { conversation } : {}) });
    task.state = initialState(spec, Date.now());
    const log = await TaskLog.open(join(this.folder, id));
    await log.beginWriting(() => undefined);
    log.onAppend((events) => {
      for (const event of events) task.state = reduce(task.state ?? initialState(spec, event.t), event);
      this.changed.fire(this.viewOf(task));
    });
    task.log = log;
    task.view = { ...task.view, stage: 'task' };
    await this.say(id, { type: 'submitted', spec, t: Date.now() });
    this.logged.fire(id);
  }

  /** A task that is over, with a log that is there already; its last event has number `last`. */
  async addFinished(owner: User, path: string, last: number): Promise<string> {
    const id = await this.add(owner, { begun: false, stage: 'task' });
    const task = this.task(id);
    await mkdir(join(this.folder, id));
    await symlink(path, this.path(id));
    task.state = {
      ...initialState(aSpec({ id }), 1),
      lastEvent: last,
      phase: 'succeeded',
      sandboxRemoved: true,
    };
    task.log = TaskLog.openFinished(join(this.folder, id));
    return id;
  }

  /** Something happens in a task; resolves when it is in the file. */
  async say(id: string, ...bodies: UnnumberedEvent[]): Promise<void> {
    await this.task(id).log?.append(bodies);
  }

  /** The agent succeeds, and the sandbox goes. */
  async finish(
    id: string,
    outcome: 'succeeded' | 'failed' | 'stopped' | 'timed_out' = 'succeeded',
  ): Promise<void> {
    const t = Date.now();
    await this.say(
      id,
      { type: 'ended', outcome, message: `It ${outcome}.`, t },
      { type: 'sandbox_removed', t },
    );
  }

  path(id: string): string {
    return join(this.folder, id, 'events.ndjson');
  }

  share(id: string, shared: boolean): void {
    const task = this.task(id);
    task.view = { ...task.view, shared };
    this.changed.fire(this.viewOf(task));
  }

  amend(id: string, change: Partial<TaskView>): void {
    const task = this.task(id);
    task.view = { ...task.view, ...change };
    this.changed.fire(this.viewOf(task));
  }

  mayRead(user: User, { owner, shared }: Pick<TaskView, 'owner' | 'shared'>): boolean {
    return shared || user.role === 'admin' || owner.id === user.id;
  }

  private task(id: string): Task {
    const task = this.tasks.get(id);
    if (task !== undefined) return task;
    throw new SallyportError('task_unknown', `There is no task ${id}.`, 'Look at the list of tasks.');
  }

  private readable(user: User, id: string): Task {
    const task = this.task(id);
    if (this.mayRead(user, task.view)) return task;
    throw new SallyportError('task_unknown', `There is no task ${id}.`, 'Look at the list of tasks.');
  }

  private viewOf({ view, state }: Task): TaskView {
    return state === undefined ? { ...view } : { ...view, summary: summaryOf(state), state: { ...state } };
  }

  async submit(user: User, submission: Submission): Promise<TaskView> {
    this.submissions.push({ user, submission });
    const id = await this.add(user, {
      prompt: submission.prompt,
      source: submission.source,
      conversation: submission.conversation,
    });
    this.onSubmit?.(id, submission);
    return this.get(user, id);
  }

  list(user: User): TaskPage {
    const tasks = this.all(user).reverse();
    return { tasks, counts: { all: tasks.length, queued: 0, running: 0, succeeded: 0, failed: 0 } };
  }

  all(user: User): TaskView[] {
    return [...this.tasks.values()]
      .filter(({ view }) => this.mayRead(user, view))
      .map((task) => {
        const { state: _, ...view } = this.viewOf(task);
        return view;
      });
  }

  get(user: User, id: string): TaskView {
    return this.viewOf(this.readable(user, id));
  }

  state(user: User, id: string): TaskState {
    const { state } = this.readable(user, id);
    if (state !== undefined) return state;
    throw new SallyportError('conflict', 'The task has no log yet.', 'Wait for it.');
  }

  change(user: User, id: string, change: TaskChange): TaskView {
    if (change.shared !== undefined) this.share(id, change.shared);
    return this.get(user, id);
  }

  async cancel(user: User, id: string): Promise<TaskView> {
    this.cancelled.push(id);
    const { state } = this.readable(user, id);
    if (state?.endedAt === undefined) await this.finish(id, 'stopped');
    return this.get(user, id);
  }

  retry(): Promise<TaskView> {
    return Promise.reject(new Error('no test needs it'));
  }

  confirm(): Promise<TaskView> {
    return Promise.reject(new Error('no test needs it'));
  }

  async remove(user: User, id: string): Promise<void> {
    const { log } = this.readable(user, id);
    this.tasks.delete(id);
    this.removedOnes.fire(id);
    await log?.close();
  }

  commitLeftovers(user: User, id: string): Promise<TaskView> {
    return Promise.resolve(this.get(user, id));
  }

  answerQuestion(user: User, id: string): Promise<void> {
    this.get(user, id);
    return Promise.resolve();
  }

  interrupt(user: User, id: string): Promise<void> {
    this.get(user, id);
    return Promise.resolve();
  }

  send(user: User, id: string, text: string): Promise<TaskView> {
    this.sent.push({ id, text });
    this.onSend?.(id, text);
    return Promise.resolve(this.get(user, id));
  }

  /** The terminal of every task; none when it is not set. */
  onTerminal: ((size: TerminalSize) => Terminal) | undefined;

  terminal(user: User, id: string, size: TerminalSize): Promise<Terminal> {
    this.get(user, id);
    if (this.onTerminal !== undefined) return Promise.resolve(this.onTerminal(size));
    return Promise.reject(new SallyportError('conflict', 'No sandbox runs.', 'Wait for one.'));
  }

  answerEgress(): Promise<void> {
    return Promise.resolve();
  }

  setBudget(): Promise<void> {
    return Promise.resolve();
  }

  spentToday(): Promise<number> {
    return Promise.resolve(0);
  }

  async *events(
    user: User,
    id: string,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent[], void> {
    const task = this.readable(user, id);
    this.readings += 1;
    this.readers += 1;
    try {
      while (task.log === undefined) {
        if (signal.aborted || !this.tasks.has(id)) return;
        await new Promise<void>((resolve) => {
          const listening = this.logged.event(() => {
            listening.dispose();
            resolve();
          });
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
      if (task.state?.sandboxRemoved === true && after >= task.state.lastEvent) return;
      for await (const batch of task.log.follow(after, signal)) {
        this.readable(user, id);
        yield batch;
        if (batch.some(({ type }) => type === 'sandbox_removed')) return;
      }
    } finally {
      this.readers -= 1;
    }
  }

  bundle(user: User, id: string, have: readonly string[]): Promise<ByteStream> {
    this.readable(user, id);
    this.haves.push(have);
    return Promise.resolve(this.pack());
  }

  private async *pack(): AsyncGenerator<Uint8Array, void> {
    this.packing += 1;
    try {
      for (const piece of this.bundleBytes) yield await Promise.resolve(piece);
    } finally {
      this.packing -= 1;
    }
  }

  result(user: User, id: string): Range | undefined {
    const { state } = this.readable(user, id);
    const newest = state?.commits.at(-1);
    return state && newest && { from: state.spec.snapshot.commit, to: newest.sha };
  }

  changes(user: User, id: string, range?: Range): Promise<DetailedChange[]> {
    this.readable(user, id);
    this.ranges.push(range);
    return Promise.resolve(this.detailed);
  }

  patch(user: User, id: string, range?: Range): Promise<{ text: string; truncated: boolean }> {
    this.readable(user, id);
    this.ranges.push(range);
    return Promise.resolve({ text: this.patchText, truncated: false });
  }

  blob(user: User, id: string, oid: string): Promise<Uint8Array> {
    this.readable(user, id);
    const bytes = this.blobs.get(oid);
    if (bytes !== undefined) return Promise.resolve(bytes);
    return Promise.reject(new SallyportError('not_found', `There is no blob ${oid}.`, 'None.'));
  }

  knownCommits(_user: User, _repository: string, commits: readonly string[]): Promise<string[]> {
    return Promise.resolve(commits.filter((sha) => this.uploads.some(({ commit }) => commit === sha)));
  }

  beginUpload(_user: User, request: UploadRequest): Promise<UploadState> {
    this.uploads.push(request);
    return Promise.resolve({ id: 'upload0001', offset: 0, complete: false });
  }

  uploadState(): Promise<UploadState> {
    return Promise.reject(new Error('no test needs it'));
  }

  async continueUpload(_user: User, id: string, offset: number, data: ByteStream): Promise<UploadState> {
    let bytes = offset;
    for await (const piece of data) bytes += piece.length;
    return { id, offset: bytes, complete: true };
  }

  counts(): { queued: number; running: number; all: number } {
    return { queued: 0, running: 0, all: this.tasks.size };
  }

  async close(): Promise<void> {
    for (const { log } of this.tasks.values()) await log?.close();
  }

  dispose(): void {
    this.changed.dispose();
  }

  /** Closes the logs and removes their folder. */
  async discard(): Promise<void> {
    await this.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}
