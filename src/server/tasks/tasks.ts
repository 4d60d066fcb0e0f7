import { join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import * as z from 'zod/mini';
import { DisposableStore } from '../../base/disposable.ts';
import { asSallyportError, SallyportError } from '../../base/errors.ts';
import { Emitter } from '../../base/event.ts';
import type { Logger } from '../../base/logger.ts';
import type { DetailedChange } from '../../git/diff.ts';
import { readRemoteUrl } from '../../git/remoteUrl.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { ByteStream } from '../../protocol/runner.ts';
import {
  FoundRepository,
  Role,
  type EgressAnswerBody,
  type Submission,
  type TaskPage,
  type TaskView,
  type UploadRequest,
  type UploadState,
} from '../../protocol/runnerApi.ts';
import type { QuestionAnswer } from '../../protocol/question.ts';
import { newTaskId } from '../../protocol/task.ts';
import type { Terminal, TerminalSize } from '../../protocol/terminal.ts';
import type { TaskEvent } from '../../protocol/taskEvent.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import type { Admission } from '../../runner/admission.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { Range } from '../../runner/taskService.ts';
import type { ServerConfig } from '../config.ts';
import type { Audit } from '../context.ts';
import type { User } from '../principal.ts';
import { createForgeParts, type ForgeParts } from './forgeParts.ts';
import { Housekeeping } from './housekeeping.ts';
import { IdempotencyKeys } from './idempotency.ts';
import { Pipeline, repositoryOf } from './pipeline.ts';
import { Publishing } from './publishing.ts';
import type { ServerTasks, TaskChange, TaskQuery } from './serverTasks.ts';
import { checkRule, checkSubmission, hashOf, limitsOf, repositoryId } from './submissions.ts';
import { checkWriter, TaskAccess } from './taskAccess.ts';
import { TaskContents } from './taskContents.ts';
import { TaskRows, type TaskRow } from './taskRows.ts';
import {
  afterCursor,
  countsOf,
  cursorOf,
  kindOf,
  matches,
  newestFirst,
  viewOf,
  type Known,
} from './taskViews.ts';
import { TaskWatch } from './taskWatch.ts';
import type { UploadLimits } from './uploadLimits.ts';
import { Uploads } from './uploads.ts';

export interface ServerTaskOptions {
  config: Pick<
    ServerConfig,
    'dataFolder' | 'queue' | 'limits' | 'retentionMs' | 'privateForges' | 'forge' | 'otherForges'
  >;
  store: DatabaseSync;
  /** Of the server's own data folder, with `admission` as its queue. */
  service: ServedTasks;
  admission: Admission;
  audit: Audit;
  log: Logger;
  now: () => number;
  /** What fetches, finds and pushes; made from the configuration when it is not given. */
  forge?: ForgeParts;
  uploadLimits?: Partial<UploadLimits>;
}

/** Several changes of a task within this time are told once, in milliseconds. */
const gatherMs = 100;
/** How many tasks a user may have that are not over. */
const maxOpen = 2000;
const maxKeyLength = 200;

const StoredUser = z.object({ id: z.string(), login: z.string(), name: z.string(), role: Role });

/**
 * The tasks of a server. Resolves when what an earlier server has left is consistent again, and goes on with what it had
 * begun.
 */
export async function createServerTasks(options: ServerTaskOptions): Promise<ServerTasks> {
  await options.service.open();
  const tasks = new Tasks(options, options.forge ?? createForgeParts(options));
  await tasks.begin();
  return tasks;
}

class Tasks implements ServerTasks {
  private readonly options: ServerTaskOptions;
  private readonly forge: ForgeParts;
  private readonly service: ServedTasks;
  private readonly rows: TaskRows;
  private readonly userById: StatementSync;
  private readonly keys: IdempotencyKeys;
  private readonly uploads: Uploads;
  private readonly pipeline: Pipeline;
  private readonly access: TaskAccess;
  private readonly contents: TaskContents;
  private readonly publishing: Publishing;
  private readonly housekeeping: Housekeeping;
  private readonly changed = new Emitter<TaskView>();
  private readonly removed = new Emitter<string>();
  /** For a change of a task's row, its beginning or its end. */
  private readonly watch = new TaskWatch();
  /** Tasks whose log has begun. */
  private readonly begun = new Set<TaskId>();
  /** Logs that are nobody's; it is told once. */
  private readonly strays = new Set<TaskId>();
  private readonly dirty = new Set<TaskId>();
  private gathering: NodeJS.Timeout | undefined;
  /** Submissions that are being answered. */
  private readonly submitting = new Map<TaskId, Promise<void>>();
  private readonly removals = new Map<TaskId, Promise<void>>();
  private readonly listening = new DisposableStore();
  private closing: Promise<void> | undefined;

  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;

  constructor(options: ServerTaskOptions, forge: ForgeParts) {
    this.options = options;
    this.forge = forge;
    const { service, store, config, log, now, admission } = options;
    this.service = service;
    this.rows = new TaskRows(store);
    this.userById = store.prepare('SELECT id, login, name, role FROM users WHERE id = ?');
    this.keys = new IdempotencyKeys(store, now);
    this.uploads = new Uploads({
      store,
      folder: join(config.dataFolder, 'uploads'),
      quarantine: (user, repository) => service.quarantine(repositoryId(user, 'snapshot', repository)),
      log,
      now,
      limits: options.uploadLimits,
    });
    this.pipeline = new Pipeline({
      rows: this.rows,
      service,
      config,
      user: (id) => this.user(id),
      fetchCommit: forge.fetchCommit,
      finder: forge.finder,
      changed: (id) => this.move(id),
      reported: (parent, task) => this.addFinding(parent, task),
      log,
    });
    this.access = new TaskAccess(this.rows, (id) => service.task(id));
    this.contents = new TaskContents(service, this.rows, this.access);
    this.publishing = new Publishing(this.rows, service, (id) => this.user(id));
    admission.rankBy((id) => this.rows.get(id)?.priority ?? 0);
    this.listening.add(service.onDidChange((state) => this.heard(state)));
    this.housekeeping = new Housekeeping({
      rows: this.rows,
      service,
      keys: this.keys,
      uploads: this.uploads,
      retentionMs: config.retentionMs,
      remove: (id) => this.removeNow(id, false),
      audit: options.audit,
      log,
      now,
    });
  }

  /** Makes rows and logs fit each other, as far as a server that was killed has left them apart. */
  async begin(): Promise<void> {
    const ready: TaskId[] = [];
    for (const row of [...this.rows.all()]) {
      const state = this.service.task(row.id);
      const isOrphan = row.finds !== undefined && this.rows.get(row.finds) === undefined;
      if (row.removing || isOrphan) {
        // Whoever was removing it may have been refused: a sandbox can hold the only copy of a commit.
        await this.removeNow(row.id, isOrphan).catch((thrown: unknown) => this.warn(row.id, thrown));
      } else if (row.stage === 'task' && state === undefined && row.finds === undefined) {
        this.rows.change(row.id, { stage: 'failed', problem: logLost });
      } else if (row.stage === 'fetching' && state !== undefined) this.rows.change(row.id, { stage: 'task' });
      else if (row.stage === 'fetching' || row.stage === 'finding') ready.push(row.id);
    }
    for (const state of this.service.tasks()) this.adopt(state);
    for (const id of ready) void this.pipeline.run(id);
    this.forge.publisher.attach(this.publishing.tasks((id) => this.move(id)));
    void this.housekeeping.sweep();
  }

  /** A log without a row is of a store that was restored from an older backup: it is the first administrator's. */
  private adopt({ spec, startedAt }: TaskState): void {
    if (this.rows.get(spec.id) !== undefined) return;
    const found = this.options.store
      .prepare("SELECT id FROM users WHERE role = 'admin' ORDER BY created_at, id LIMIT 1")
      .get();
    if (typeof found?.['id'] !== 'string') {
      if (!this.strays.has(spec.id))
        this.options.log.warn(`The task ${spec.id} is nobody's, and there is no administrator yet.`);
      this.strays.add(spec.id);
      return;
    }
    const { repository, snapshot, prompt, title, branch } = spec;
    this.rows.insert({
      ...blankRow,
      id: spec.id,
      owner: found['id'],
      stage: 'task',
      submission: {
        prompt,
        title,
        branch,
        source: {
          kind: 'snapshot',
          repository: { id: repository.id, name: repository.name || 'repository' },
          snapshot,
        },
        priority: 0,
        shared: false,
        conversation: spec.conversation === true,
      },
      createdAt: startedAt,
    });
    this.options.log.warn(`The task ${spec.id} has a log and was in no list: it is the administrator's now.`);
    this.move(spec.id);
  }

  /** The row of the orchestrator's task. */
  private addFinding(parent: Readonly<TaskRow>, task: TaskId): void {
    if (this.rows.get(task) !== undefined) return;
    this.rows.insert({
      ...blankRow,
      id: task,
      owner: parent.owner,
      priority: parent.priority,
      stage: 'task',
      submission: parent.submission,
      finds: parent.id,
      createdAt: this.options.now(),
    });
  }

  mayRead(user: User, view: Pick<TaskView, 'owner' | 'shared'>): boolean {
    return this.access.mayRead(user, view);
  }

  async submit(user: User, submission: Submission, idempotencyKey?: string): Promise<TaskView> {
    return await this.take(user, { owner: user, submission, key: idempotencyKey });
  }

  /** @param task `owner`: for whom; `url`: of the repository that the snapshot was fetched from */
  private async take(
    user: User,
    task: {
      owner: Pick<User, 'id'>;
      submission: Submission;
      key?: string | undefined;
      retryOf?: TaskId;
      url?: string | undefined;
    },
  ): Promise<TaskView> {
    this.checkOpen();
    checkWriter(user);
    const { owner, submission, key, retryOf } = task;
    const { config, admission, now } = this.options;
    checkSubmission(user, submission, this.forge.finder !== undefined);
    const { source } = submission;
    if (source.kind === 'url') readRemoteUrl(source.url, config.privateForges);
    admission.check(limitsOf(submission, config).memoryBytes);
    const { id: wanted, ...rest } = submission;
    const hash = hashOf(submission);
    const again = this.repeated(user, submission, hash, key);
    if (again !== undefined) {
      await this.submitting.get(again);
      return this.get(user, again);
    }
    // What was said in a task is for those who may speak with its agent.
    if (submission.resume !== undefined) this.access.writable(user, submission.resume);
    this.checkRoom(owner.id);
    const id = wanted ?? this.newId();
    const row: TaskRow = {
      ...blankRow,
      id,
      owner: owner.id,
      shared: submission.shared,
      stage: source.kind === 'find' ? 'finding' : 'fetching',
      priority: submission.priority,
      submission: rest,
      url: task.url ?? (source.kind === 'url' ? source.url : undefined),
      retryOf,
      createdAt: now(),
    };
    this.rows.insert(row, () => {
      if (key !== undefined) this.keys.remember(user.id, key, hash, id);
    });
    if (source.kind === 'snapshot') {
      const done = this.submitNow(row);
      this.submitting.set(id, done);
      done.catch(() => undefined).finally(() => this.submitting.delete(id));
      await done;
    } else void this.pipeline.run(id);
    this.move(id);
    return this.get(user, id);
  }

  /** A task that cannot begin is none: whoever submits it is told why. */
  private async submitNow({ id }: TaskRow): Promise<void> {
    try {
      await this.unpruned(id);
      await this.pipeline.submitNow(id);
    } catch (thrown) {
      // What a server leaves undone that is being shut down is done by the next one.
      if (this.closing === undefined && this.service.task(id) === undefined) {
        this.keys.forgetTask(id);
        this.rows.delete(id);
      }
      throw thrown;
    }
  }

  /** Waits until nothing is deleted from the repository of a task. */
  private async unpruned(id: TaskId): Promise<void> {
    const row = this.rows.get(id);
    if (row !== undefined) await this.housekeeping.unpruned(repositoryOf(row).id);
  }

  /** The task that the same user has made of the same submission. Throws `conflict` for an id or a key that is taken. */
  private repeated(
    user: User,
    submission: Submission,
    hash: string,
    key: string | undefined,
  ): TaskId | undefined {
    if (key !== undefined) {
      if (key.length === 0 || key.length > maxKeyLength || !/^[\x21-\x7e]+$/.test(key))
        throw new SallyportError(
          'invalid_input',
          `An idempotency key has 1 to ${maxKeyLength} visible characters.`,
          'Use a random one, such as a UUID.',
        );
      const known = this.keys.find(user.id, key, hash);
      if (known !== undefined) {
        if (this.rows.get(known) !== undefined) return known;
        throw new SallyportError(
          'conflict',
          'The idempotency key was used for a task that is removed by now.',
          'Use a new key.',
        );
      }
    }
    const { id } = submission;
    if (id === undefined) return undefined;
    const known = this.rows.get(id);
    if (known === undefined && this.service.task(id) === undefined) return undefined;
    // Whose it is makes no difference to what is said.
    const same =
      known?.owner === user.id &&
      known.finds === undefined &&
      hashOf({ ...known.submission, title: undefined }) ===
        hashOf({ ...submission, id: undefined, title: undefined });
    if (same) return id;
    throw new SallyportError('conflict', 'The id of the task is taken.', 'Choose another, or leave it out.');
  }

  private newId(): TaskId {
    for (;;) {
      const id = newTaskId(this.options.now());
      if (this.rows.get(id) === undefined && this.service.task(id) === undefined) return id;
    }
  }

  private checkRoom(owner: string): void {
    let open = 0;
    for (const row of this.rows.all()) {
      if (row.owner !== owner || row.finds !== undefined) continue;
      const kind = kindOf(this.access.known(row));
      if (kind === 'queued' || kind === 'running') open += 1;
    }
    if (open < maxOpen) return;
    throw new SallyportError(
      'too_many_requests',
      `There are ${open} tasks of yours that are not over.`,
      'Wait for some of them, or cancel them.',
    );
  }

  list(user: User, query: TaskQuery): TaskPage {
    const ofAnyState = this.visible(user).filter((known) => matches(known, { ...query, states: undefined }));
    // Who looks at those that run sees how many others there are.
    const counts = countsOf(ofAnyState);
    const visible = ofAnyState.filter((known) => matches(known, query));
    visible.sort((a, b) => newestFirst(a.row, b.row));
    const { cursor, limit } = query;
    const isAfter = cursor === undefined ? () => true : afterCursor(cursor);
    const rest = visible.filter(({ row }) => isAfter(row));
    const page = rest.slice(0, limit);
    const last = page.at(-1);
    return {
      tasks: page.map((known) => this.view(known)),
      ...(last === undefined || rest.length <= limit ? {} : { next: cursorOf(last.row) }),
      counts,
    };
  }

  all(user: User): TaskView[] {
    return this.visible(user)
      .sort((a, b) => newestFirst(b.row, a.row))
      .map((known) => this.view(known));
  }

  private visible(user: User): Known[] {
    return [...this.rows.all()]
      .filter((row) => row.finds === undefined && !row.removing && this.access.isReadable(user, row))
      .map((row) => this.access.known(row));
  }

  get(user: User, id: string): TaskView {
    return this.view(this.access.readable(user, id), true);
  }

  state(user: User, id: string): TaskState {
    return this.access.state(user, id);
  }

  change(user: User, id: string, { shared, priority, title }: TaskChange): TaskView {
    const { row } = this.access.writable(user, id);
    this.rows.change(id, {
      ...(shared === undefined ? {} : { shared }),
      ...(priority === undefined ? {} : { priority }),
      ...(title === undefined ? {} : { submission: { ...row.submission, title } }),
    });
    if (priority !== undefined) {
      const looksFor = row.finding?.task;
      if (looksFor !== undefined) this.rows.change(looksFor, { priority });
      this.options.admission.decide();
    }
    this.move(id);
    return this.get(user, id);
  }

  async cancel(user: User, id: string): Promise<TaskView> {
    const { row } = this.access.writable(user, id);
    await this.submitting.get(id)?.catch(() => undefined);
    await this.pipeline.cancel(id);
    const looksFor = row.finding?.task ?? this.rows.get(id)?.finding?.task;
    if (looksFor !== undefined && this.service.task(looksFor) !== undefined)
      await this.service.stop(looksFor);
    const now = this.rows.get(id);
    if (now?.stage === 'task') {
      if (this.service.task(id) !== undefined) await this.service.stop(id);
    } else if (now !== undefined && now.stage !== 'failed') {
      this.rows.change(id, { stage: 'cancelled' });
      this.move(id);
    }
    return this.get(user, id);
  }

  async retry(user: User, id: string): Promise<TaskView> {
    const { row, state } = this.access.writable(user, id);
    if (!isOver({ row, state }))
      throw new SallyportError('task_busy', 'The task is not over yet.', 'Wait for its end, or cancel it.');
    const { resume, ...submission } = row.submission;
    const { source } = submission;
    const resumes = resume !== undefined && this.rows.get(resume) !== undefined;
    return await this.take(user, {
      owner: { id: row.owner },
      submission: {
        ...submission,
        ...(resumes ? { resume } : {}),
        shared: row.shared,
        priority: row.priority,
      },
      retryOf: id,
      // What was fetched for an earlier task of a conversation is here.
      url: source.kind === 'snapshot' ? row.url : undefined,
    });
  }

  async confirm(
    user: User,
    id: string,
    { repository, branch }: { repository?: string | undefined; branch?: string | undefined },
  ): Promise<TaskView> {
    this.checkOpen();
    const { row } = this.access.writable(user, id);
    const found = row.finding?.found;
    if (row.stage !== 'confirming' || found === undefined)
      throw new SallyportError(
        'conflict',
        'The task does not wait for a choice of its repository.',
        'Look at its stage.',
      );
    const other = repository !== undefined && repository !== found.repository;
    const { branch: foundBranch, prompt, ...rest } = found;
    const chosen = FoundRepository.safeParse({
      ...rest,
      ...(other ? { repository, reason: 'Chosen by the user.' } : {}),
      // A branch and a wording were found for the repository that was found.
      ...(branch !== undefined
        ? { branch }
        : other || foundBranch === undefined
          ? {}
          : { branch: foundBranch }),
      ...(prompt === undefined || other ? {} : { prompt }),
    });
    if (!chosen.success || /^\.+\/|\/\.+$/.test(chosen.data.repository))
      throw new SallyportError(
        'invalid_input',
        'That is no repository of a forge.',
        'Name it as owner/name.',
      );
    this.rows.change(id, {
      stage: 'fetching',
      finding: { ...row.finding, found: chosen.data },
      url: this.pipeline.urlOf(chosen.data),
    });
    this.move(id);
    await this.pipeline.idle(id);
    void this.pipeline.run(id);
    return this.get(user, id);
  }

  async remove(user: User, id: string, force: boolean): Promise<void> {
    const { row, state } = this.access.writable(user, id);
    if (!force && !isOver({ row, state }))
      throw new SallyportError('task_busy', 'The task is not over yet.', 'Cancel it first, then remove it.');
    await this.removeNow(id, force);
  }

  /** Every trace of a task, and of the search for its repository. */
  private removeNow(id: TaskId, force: boolean): Promise<void> {
    const under = this.removals.get(id);
    if (under !== undefined) return under;
    const done = this.removeParts(id, force).finally(() => this.removals.delete(id));
    this.removals.set(id, done);
    return done;
  }

  private async removeParts(id: TaskId, force: boolean): Promise<void> {
    await this.submitting.get(id)?.catch(() => undefined);
    await this.pipeline.cancel(id);
    const row = this.rows.change(id, { removing: true });
    if (row === undefined) return;
    try {
      if (this.service.task(id) !== undefined) await this.service.remove(id, { force });
    } catch (thrown) {
      this.rows.change(id, { removing: false });
      throw thrown;
    }
    for (const one of [...this.rows.all()].filter(({ finds }) => finds === id)) {
      if (this.service.task(one.id) !== undefined) await this.service.remove(one.id, { force: true });
      this.rows.delete(one.id);
    }
    this.keys.forgetTask(id);
    this.rows.delete(id);
    this.housekeeping.freed(repositoryOf(row).id);
    this.dirty.delete(id);
    this.begun.delete(id);
    this.watch.wake(id);
    this.removed.fire(id);
  }

  async send(
    user: User,
    id: string,
    text: string,
    options?: { conversation?: boolean | undefined },
  ): Promise<TaskView> {
    this.checkOpen();
    const { row, state } = this.access.writable(user, id);
    if (state === undefined || row.stage !== 'task')
      throw new SallyportError(
        'conflict',
        'The task has not begun, so that its agent takes no message.',
        'Wait until it runs, or submit a new task.',
      );
    if (hasEnded(state)) {
      // It counts as one of theirs again, and takes its place in the queue.
      this.checkRoom(row.owner);
      await this.unpruned(id);
      await this.service.followUp(id, text, { by: user.name, ...options });
      this.watch.wake(id);
    } else await this.service.send(id, text, { by: user.name });
    return this.get(user, id);
  }

  async commitLeftovers(user: User, id: string, message: string): Promise<TaskView> {
    this.checkOpen();
    this.withLog(user, id);
    await this.unpruned(id);
    await this.service.commitLeftovers(id, message);
    return this.get(user, id);
  }

  async answerQuestion(user: User, id: string, question: string, answer: QuestionAnswer): Promise<void> {
    this.withLog(user, id);
    await this.service.answerQuestion(id, question, answer, { by: user.name });
  }

  async interrupt(user: User, id: string): Promise<void> {
    this.withLog(user, id);
    await this.service.interrupt(id, { by: user.name });
  }

  async terminal(user: User, id: string, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    this.withLog(user, id);
    return await this.service.terminal(id, size, signal);
  }

  async answerEgress(user: User, id: string, answer: EgressAnswerBody): Promise<void> {
    this.withLog(user, id);
    if ('rule' in answer) checkRule(user, answer.rule);
    await this.service.answerEgress(id, answer);
  }

  async setBudget(user: User, id: string, usd: number | null): Promise<void> {
    this.withLog(user, id);
    await this.service.setBudget(id, usd);
  }

  spentToday(): Promise<number> {
    return this.service.spentToday();
  }

  async *events(
    user: User,
    id: string,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent[], void> {
    const gone = new AbortController();
    const either = AbortSignal.any([signal, gone.signal]);
    const watching = this.watch.watch(id, () => {
      if (this.rows.get(id) === undefined) gone.abort();
    });
    try {
      for (;;) {
        const { row, state } = this.access.readable(user, id);
        if (row.stage === 'failed' || row.stage === 'cancelled') return;
        if (row.stage === 'task' && state !== undefined) break;
        await this.watch.next(id, either);
        if (either.aborted) return;
      }
      for await (const batch of this.service.events(id, after, either)) {
        // Shared is only what still is.
        this.access.readable(user, id);
        yield batch;
      }
    } finally {
      watching.dispose();
    }
  }

  bundle(user: User, id: string, have: readonly string[]): Promise<ByteStream> {
    return this.contents.bundle(user, id, have);
  }

  result(user: User, id: string): Range | undefined {
    return this.contents.result(user, id);
  }

  changes(user: User, id: string, range?: Range): Promise<DetailedChange[]> {
    return this.contents.changes(user, id, range);
  }

  patch(user: User, id: string, range?: Range): Promise<{ text: string; truncated: boolean }> {
    return this.contents.patch(user, id, range);
  }

  blob(user: User, id: string, oid: string): Promise<Uint8Array> {
    return this.contents.blob(user, id, oid);
  }

  async knownCommits(user: User, repository: string, commits: readonly string[]): Promise<string[]> {
    checkWriter(user);
    return await this.uploads.known(user.id, repository, commits);
  }

  async beginUpload(user: User, request: UploadRequest): Promise<UploadState> {
    checkWriter(user);
    return await this.uploads.begin(user.id, request);
  }

  async uploadState(user: User, id: string): Promise<UploadState> {
    checkWriter(user);
    return await this.uploads.state(user.id, id);
  }

  async continueUpload(user: User, id: string, offset: number, data: ByteStream): Promise<UploadState> {
    checkWriter(user);
    return await this.uploads.continue(user.id, id, offset, data);
  }

  counts(): { queued: number; running: number; all: number } {
    const all = [...this.rows.all()].filter(({ finds }) => finds === undefined);
    const { queued, running } = countsOf(all.map((row) => this.access.known(row)));
    return { queued, running, all: all.length };
  }

  close(): Promise<void> {
    this.closing ??= (async () => {
      await Promise.all([
        this.pipeline.close(),
        this.uploads.close(),
        ...[...this.submitting.values(), ...this.removals.values()].map((work) =>
          work.catch(() => undefined),
        ),
      ]);
      await this.housekeeping.close();
      this.forge.publisher.dispose();
      this.listening.dispose();
      this.flush();
      this.changed.dispose();
      this.removed.dispose();
    })();
    return this.closing;
  }

  dispose(): void {
    void this.close();
  }

  private heard(state: TaskState): void {
    const { id } = state.spec;
    // Those that were taken up from their sandboxes are found after the start.
    if (this.rows.get(id) === undefined && !this.removals.has(id)) {
      try {
        this.adopt(state);
      } catch (thrown) {
        this.warn(id, thrown);
      }
    }
    if (!this.begun.has(id)) {
      this.begun.add(id);
      this.watch.wake(id);
    }
    this.gather(id);
  }

  /** A row was changed. */
  private move(id: TaskId): void {
    this.watch.wake(id);
    this.gather(id);
  }

  private gather(id: TaskId): void {
    this.dirty.add(id);
    this.gathering ??= setTimeout(() => this.flush(), gatherMs);
  }

  private flush(): void {
    clearTimeout(this.gathering);
    this.gathering = undefined;
    const ids = [...this.dirty];
    this.dirty.clear();
    for (const id of ids) {
      const row = this.rows.get(id);
      if (row === undefined || row.finds !== undefined || row.removing) continue;
      try {
        this.changed.fire(this.view(this.access.known(row)));
        this.publishing.tell(row);
      } catch (thrown) {
        this.warn(id, thrown);
      }
    }
  }

  private view(known: Known, withState = false): TaskView {
    return viewOf(known, this.user(known.row.owner)?.name ?? '', withState);
  }

  private user(id: string): User | undefined {
    const found = StoredUser.safeParse(this.userById.get(id));
    return found.success ? found.data : undefined;
  }

  /** As `writable`, of a task that has a log. */
  private withLog(user: User, id: string): Known {
    const known = this.access.writable(user, id);
    this.access.state(user, id);
    return known;
  }

  private checkOpen(): void {
    if (this.closing === undefined) return;
    throw new SallyportError('conflict', 'The runner is shutting down.', 'Try again in a moment.');
  }

  private warn(id: TaskId, thrown: unknown): void {
    this.options.log.warn(`Task ${id}: ${asSallyportError(thrown).message}`);
  }
}

const blankRow = {
  shared: false,
  priority: 0,
  finding: undefined,
  problem: undefined,
  pushedBranch: undefined,
  pushedCommit: undefined,
  pullRequest: undefined,
  retryOf: undefined,
  url: undefined,
  fetched: undefined,
  finds: undefined,
  removing: false,
} satisfies Partial<TaskRow>;

const logLost = {
  code: 'log_damaged',
  message: 'The log of the task is not in the data folder any more.',
  mend: 'Restore it from a backup, or submit the task again.',
};

function isOver({ row, state }: Known): boolean {
  if (row.stage === 'failed' || row.stage === 'cancelled') return true;
  return row.stage === 'task' && state !== undefined && hasEnded(state);
}
