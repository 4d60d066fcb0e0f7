import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import { Quarantine } from '../git/quarantine.ts';
import { TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { TaskView, type SubmissionInput, type Switches } from '../protocol/runnerApi.ts';
import { defaultLimits, type Limits, type TaskSpec } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { Ask } from '../runner/asks.ts';
import { isAnswered } from '../runner/egressAnswers.ts';
import type { Reopening, TaskRunner } from '../runner/taskRunner.ts';
import { backoffDelay, defaultBackoff, type Backoff } from './backoff.ts';
import { Connection, type ConnectionStatus } from './connection.ts';
import { Mirror, type MirrorSource } from './mirror.ts';
import { writeOrigin, type MirrorFolder } from './mirrorFolder.ts';
import { isPassing } from './runnerFailures.ts';
import { openTerminal } from './remoteTerminal.ts';
import { RunnerHttp, type RunnerAccess } from './runnerHttp.ts';
import { paths, Spend } from './runnerPaths.ts';
import type { Hello, RunnerSaid } from './streamMessage.ts';
import { again, Uploads, type UploadProgress } from './upload.ts';

export interface RemoteRunnerOptions {
  access: RunnerAccess;
  folder: MirrorFolder;
  /** Root of the quarantines of this machine's own repositories. */
  quarantineRoot: string;
  log: Logger;
  backoff?: Backoff | undefined;
  heartbeatMs?: number | undefined;
}

/** A submission under way. */
export interface SubmitProgress extends UploadProgress {
  task: TaskId;
}

/** How much of all tasks waits to be written before nothing more is read from the network, and when it is again, in bytes. */
const most = 64 << 20;
const few = 16 << 20;
/** How many logs of tasks that are over are fetched at once: the newest tasks come first. */
const catchingUp = 4;
/** How often in a row an upload or a request of a submission may break off. */
const attempts = 8;
/** How long the log of a new task may take to come, and what was asked for to be in it, in milliseconds. */
const firstEventMs = 60_000;
const answerMs = 5000;
/** A submission that the runner never answered is forgotten when it does not know it after this time, in milliseconds. */
const unansweredMs = 60 * 60_000;

/** Tasks on a runner's server, mirrored on this machine. */
export class RemoteRunner implements TaskRunner {
  private readonly options: RemoteRunnerOptions;
  private readonly http: RunnerHttp;
  private readonly connection: Connection;
  private readonly uploads: Uploads;
  private readonly backoff: Backoff;
  private readonly mirrors = new Map<TaskId, Mirror>();
  private readonly making = new Map<TaskId, Promise<Mirror>>();
  private readonly leaving = new Map<TaskId, Promise<void>>();
  private readonly views = new Map<TaskId, TaskView>();
  /** Tasks that are over and whose logs are to be fetched; with the last event of each. */
  private readonly wanted = new Map<TaskId, number>();
  private readonly fetching = new Map<TaskId, number>();
  private readonly retries = new Map<TaskId, { failures: number; timer?: NodeJS.Timeout }>();
  private waiting = 0;
  private user: Hello['user'] | undefined;
  private opening: Promise<void> | undefined;
  private readonly over = new AbortController();
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<TaskId>();
  private readonly trouble = new Emitter<SallyportError>();
  private readonly viewed = new Emitter<TaskView>();
  private readonly progressed = new Emitter<SubmitProgress>();

  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  readonly onTrouble = this.trouble.event;
  /** What the runner says of a task besides its log: whose it is, its pull request. */
  readonly onDidChangeView = this.viewed.event;
  readonly onProgress = this.progressed.event;
  readonly onDidChangeStatus;

  constructor(options: RemoteRunnerOptions) {
    this.options = options;
    this.backoff = options.backoff ?? defaultBackoff;
    this.http = new RunnerHttp(options.access);
    this.uploads = new Uploads({
      http: this.http,
      folder: options.folder.uploads,
      backoff: this.backoff,
      attempts,
      isThere: () => this.status.kind === 'online',
    });
    const { access, log, backoff, heartbeatMs } = options;
    this.connection = new Connection({ access, log, backoff, heartbeatMs });
    this.onDidChangeStatus = this.connection.onDidChangeStatus;
    this.connection.onDidChangeStatus(({ kind }) => {
      if (kind !== 'online') this.disconnected();
    });
    this.connection.onOpen(({ user }) => (this.user = user));
    this.connection.onMessage(({ message, bytes }) => this.hear(message, bytes));
  }

  get status(): ConnectionStatus {
    return this.connection.status;
  }

  /** Does not wait for the next attempt to connect. */
  reconnect(): void {
    this.connection.retry();
  }

  /** What the runner said last of the tasks that this user may see, also of those whose log has not begun. */
  knownViews(): TaskView[] {
    return [...this.views.values()];
  }

  view(id: TaskId): TaskView | undefined {
    return this.views.get(id);
  }

  /** False for a task that another user shares, and while it is not known whose it is. */
  mayChange(id: TaskId): boolean {
    const owner = this.views.get(id)?.owner.id;
    if (owner === undefined) return this.mirrors.get(id)?.origin !== undefined;
    return this.user !== undefined && (this.user.role === 'admin' || this.user.id === owner);
  }

  /** Reads what is mirrored, and begins to connect; it does not wait for the runner. */
  open(): Promise<void> {
    this.opening ??= this.load();
    return this.opening;
  }

  private async load(): Promise<void> {
    // What killed processes left of looking at bundles.
    await rm(this.options.folder.spool, { recursive: true, force: true });
    for (const name of (await readdir(this.options.folder.tasks)).sort()) {
      if (!TaskId.safeParse(name).success) continue;
      try {
        const mirror = await this.mirror(name);
        if (mirror.state !== undefined) this.changed.fire(mirror.state);
      } catch (thrown) {
        const error = asSallyportError(thrown);
        this.options.log.error(`The mirror of ${name} could not be read: ${error.message}`);
        this.trouble.fire(error);
      }
    }
    if (!this.over.signal.aborted) this.connection.start();
  }

  /** The mirror of a task; made when there is none. */
  private mirror(id: TaskId): Promise<Mirror> {
    const known = this.mirrors.get(id);
    if (known !== undefined) return Promise.resolve(known);
    let making = this.making.get(id);
    if (making === undefined) {
      // One that is being removed has to be gone before it can come again.
      const gone = this.leaving.get(id) ?? Promise.resolve();
      making = gone.then(() => this.makeMirror(id)).finally(() => this.making.delete(id));
      this.making.set(id, making);
    }
    return making;
  }

  private async makeMirror(id: TaskId): Promise<Mirror> {
    const mirror = await Mirror.open(id, this.source());
    if (this.over.signal.aborted) {
      mirror.dispose();
      this.over.signal.throwIfAborted();
    }
    this.mirrors.set(id, mirror);
    mirror.onDidChange((state) => {
      const retry = this.retries.get(id);
      if (retry !== undefined) retry.failures = 0;
      this.changed.fire(state);
      this.caughtUp(id, state);
    });
    mirror.onTrouble((error) => {
      this.trouble.fire(error);
      this.fetchNext(id);
    });
    return mirror;
  }

  private source(): MirrorSource {
    return {
      folder: this.options.folder,
      quarantineRoot: this.options.quarantineRoot,
      log: this.options.log,
      backoff: this.backoff,
      bundle: (id, have, signal) =>
        this.http.stream({
          method: 'GET',
          path: paths.bundle(id),
          query: have.length === 0 ? [] : [['have', have.join(',')]],
          signal,
        }),
      follow: (task, after) => this.connection.send({ type: 'follow', task, after }),
      unfollow: (task) => this.connection.send({ type: 'unfollow', task }),
      account: (bytes) => this.account(bytes),
    };
  }

  private account(bytes: number): void {
    const before = this.waiting;
    this.waiting += bytes;
    if (before < most && this.waiting >= most) this.connection.hold();
    if (before > few && this.waiting <= few) this.connection.release();
  }

  private hear(message: RunnerSaid, bytes: number): void {
    switch (message.type) {
      case 'tasks': {
        this.views.clear();
        const listed = new Set(message.tasks.map(({ id }) => id));
        // Newest first, as a user would look at them.
        for (const view of [...message.tasks].sort((a, b) => (a.id < b.id ? 1 : -1))) this.consider(view);
        void this.dropMissing(listed);
        return;
      }
      case 'task':
        this.consider(message.task);
        return;
      case 'removed':
        this.views.delete(message.task);
        void this.forget(message.task);
        return;
      case 'events':
        this.mirrors.get(message.task)?.take(message.events, bytes);
        return;
      case 'over':
        this.mirrors.get(message.task)?.end();
        // Its log can go on: it is followed again when the runner says that there is more.
        this.isFollowed.delete(message.task);
        return;
      case 'problem':
        this.options.log.warn(`The runner: ${message.problem.code}: ${message.problem.detail.slice(0, 500)}`);
        if (message.task !== undefined) this.followLater(message.task);
    }
  }

  /** Mirrors that are begun anew. */
  private readonly renewing = new Set<TaskId>();

  private async beginAnew(mirror: Mirror): Promise<void> {
    const { id } = mirror;
    this.renewing.add(id);
    this.isFollowed.delete(id);
    this.trouble.fire(
      new SallyportError(
        'log_damaged',
        `The runner has less of the task ${id} than this machine: it was set back.`,
        'The log is fetched anew; what was here is kept beside it, and the commits stay.',
      ),
    );
    try {
      await mirror.beginAnew();
    } catch (thrown) {
      this.trouble.fire(asSallyportError(thrown));
    }
    this.renewing.delete(id);
    const view = this.views.get(id);
    if (view !== undefined && this.status.kind === 'online') this.consider(view);
  }

  private consider(view: TaskView): void {
    const { id, stage, summary } = view;
    this.views.set(id, view);
    this.viewed.fire(view);
    // Before that there is no log.
    if (stage !== 'task' || this.renewing.has(id)) return;
    const last = summary?.lastEvent ?? 0;
    const known = this.mirrors.get(id);
    if (known !== undefined && summary !== undefined && known.isAhead(last)) {
      void this.beginAnew(known);
      return;
    }
    if (this.isFollowed.has(id) || known?.isComplete(last) === true) return;
    // A task that is over can wait; and one of a runner that has thousands has to.
    if (summary?.endedAt !== undefined) {
      if (!this.wanted.has(id) && !this.fetching.has(id)) this.wanted.set(id, last);
      this.fetchMore();
    } else void this.follow(id);
  }

  /** Those that were asked for on this connection. */
  private readonly isFollowed = new Set<TaskId>();

  private async follow(id: TaskId): Promise<void> {
    if (this.isFollowed.has(id)) return;
    this.isFollowed.add(id);
    try {
      if (!this.mirrors.has(id)) await this.inherit(id);
      const mirror = await this.mirror(id);
      if (this.isFollowed.has(id)) await mirror.follow();
    } catch (thrown) {
      if (this.over.signal.aborted) return;
      const error = asSallyportError(thrown);
      this.options.log.warn(`The mirror of ${id}: ${error.message}`);
      this.trouble.fire(error);
      this.followLater(id);
    }
  }

  /** A task that goes on from one that this machine submitted belongs to the same repository here. */
  private async inherit(id: TaskId): Promise<void> {
    const { retryOf, source } = this.views.get(id) ?? {};
    const before = retryOf === undefined ? undefined : this.mirrors.get(retryOf)?.origin;
    if (before === undefined || source?.kind !== 'snapshot') return;
    const { repository, snapshot } = source;
    if (repository.id !== before.repository.id) return;
    const quarantine = Quarantine.open(this.options.quarantineRoot, repository.id);
    // The runner chose the id and the commit: neither may stand for something else that is here.
    if (!(await quarantine.has(snapshot.commit)) || (await quarantine.tips(id)).length > 0) return;
    await writeOrigin(join(this.options.folder.tasks, id), { repository: before.repository, snapshot });
  }

  /** Tries it again, when the connection lasts so long. */
  private followLater(id: TaskId): void {
    this.mirrors.get(id)?.pause();
    this.isFollowed.delete(id);
    this.fetchNext(id);
    const retry = this.retries.get(id) ?? { failures: 0 };
    this.retries.set(id, retry);
    clearTimeout(retry.timer);
    retry.timer = setTimeout(
      () => {
        const view = this.views.get(id);
        if (view !== undefined && this.status.kind === 'online') this.consider(view);
      },
      backoffDelay(retry.failures++, this.backoff),
    );
    retry.timer.unref();
  }

  private fetchMore(): void {
    for (const [id, last] of this.wanted) {
      if (this.fetching.size >= catchingUp) return;
      this.wanted.delete(id);
      this.fetching.set(id, last);
      void this.follow(id);
    }
  }

  private fetchNext(id: TaskId): void {
    if (this.fetching.delete(id)) this.fetchMore();
  }

  private caughtUp(id: TaskId, { lastEvent }: TaskState): void {
    if (lastEvent >= (this.fetching.get(id) ?? Infinity)) this.fetchNext(id);
  }

  private disconnected(): void {
    this.wanted.clear();
    this.fetching.clear();
    this.isFollowed.clear();
    for (const mirror of this.mirrors.values()) mirror.pause();
    for (const { timer } of this.retries.values()) clearTimeout(timer);
    this.retries.clear();
  }

  /**
   * What the runner does not list any more was removed, or is not shared any more. What this machine submitted itself is
   * kept all the same: a runner that lost its data must not take the user's with it.
   */
  private async dropMissing(listed: ReadonlySet<TaskId>): Promise<void> {
    for (const [id, mirror] of [...this.mirrors]) {
      if (listed.has(id) || this.submitting.has(id)) continue;
      if (mirror.origin === undefined) await this.forget(id);
      else if (mirror.state === undefined && (await this.isOld(id))) await this.forget(id);
    }
  }

  private async isOld(id: TaskId): Promise<boolean> {
    const found = await stat(join(this.options.folder.tasks, id)).catch(() => undefined);
    return found === undefined || Date.now() - found.mtimeMs > unansweredMs;
  }

  /** Removes the mirror with its commits. */
  private forget(id: TaskId): Promise<void> {
    const before = this.leaving.get(id);
    if (before !== undefined) return before;
    const leaving = this.forgetNow(id).finally(() => this.leaving.delete(id));
    this.leaving.set(id, leaving);
    return leaving;
  }

  private async forgetNow(id: TaskId): Promise<void> {
    const mirror = this.mirrors.get(id);
    this.mirrors.delete(id);
    this.isFollowed.delete(id);
    this.wanted.delete(id);
    this.fetchNext(id);
    if (mirror === undefined) return;
    try {
      const had = mirror.state !== undefined;
      await mirror.close();
      if (had) await mirror.quarantine().removeTask(id);
      await rm(join(this.options.folder.tasks, id), { recursive: true, force: true });
    } catch (thrown) {
      this.options.log.error(`The mirror of ${id} was not removed: ${asSallyportError(thrown).message}`);
    } finally {
      mirror.dispose();
    }
    this.removed.fire(id);
  }

  private readonly submitting = new Set<TaskId>();

  async submit(
    spec: TaskSpec,
    snapshot: () => ByteStream,
    signal: AbortSignal = new AbortController().signal,
    { switches }: { switches?: Partial<Switches> } = {},
  ): Promise<TaskState> {
    await this.open();
    const { id } = spec;
    const both = AbortSignal.any([signal, this.over.signal]);
    both.throwIfAborted();
    const report = (progress: UploadProgress): void => this.progressed.fire({ task: id, ...progress });
    const quarantine = Quarantine.open(this.options.quarantineRoot, spec.repository.id);
    const folder = join(this.options.folder.tasks, id);
    this.submitting.add(id);
    try {
      await this.uploads.bring(spec, quarantine, snapshot, report, both);
      report({ stage: 'submitting', done: 0, total: 0 });
      // Before the runner knows of it: from its list alone nobody knows whose repository it is.
      await writeOrigin(folder, spec);
      const view = await this.post({ ...submissionOf(spec), ...(switches && { switches }) }, both).catch(
        async (thrown: unknown) => {
          // Refused is refused; otherwise it may have been taken, and its answer lost.
          if (!both.aborted && !isPassing(asSallyportError(thrown)))
            await rm(folder, { recursive: true, force: true });
          throw thrown;
        },
      );
      this.views.set(id, view);
      this.viewed.fire(view);
      const { problem } = view;
      if (view.stage === 'failed' || view.stage === 'cancelled')
        throw new SallyportError(
          'invalid_input',
          problem?.message ?? 'The runner did not begin the task.',
          problem?.mend ?? 'Look at it in the dashboard of the runner.',
        );
      await this.follow(id);
      return await this.until(id, () => true, firstEventMs, both);
    } finally {
      this.submitting.delete(id);
    }
  }

  /** Said again when it breaks off: under the same key it is one submission. */
  private post(submission: SubmissionInput & { id: string }, signal: AbortSignal): Promise<TaskView> {
    const headers = { 'idempotency-key': submission.id };
    return again(
      () =>
        this.http.json({ method: 'POST', path: paths.tasks, headers, json: submission, signal }, TaskView),
      (failures) => failures < attempts,
      this.backoff,
      signal,
    );
  }

  /** Resolves when the mirror says so. Throws `runner_unreachable` when it does not in time. */
  private async until(
    id: TaskId,
    good: (state: TaskState) => boolean,
    ms: number,
    signal: AbortSignal,
  ): Promise<TaskState> {
    const done = new AbortController();
    const listening = this.onDidChange((state) => {
      if (state.spec.id === id && good(state)) done.abort();
    });
    const now = this.state(id);
    if (now === undefined || !good(now)) await pause(ms, AbortSignal.any([done.signal, signal]));
    listening.dispose();
    signal.throwIfAborted();
    const state = this.state(id);
    if (state !== undefined && good(state)) return state;
    throw new SallyportError(
      'runner_unreachable',
      'The runner has taken it, but its log does not come.',
      'It is shown as soon as the connection to the runner is there again; a WebSocket may be blocked on the way.',
    );
  }

  async list(): Promise<TaskState[]> {
    await this.open();
    return this.known();
  }

  known(): TaskState[] {
    return [...this.mirrors.values()]
      .flatMap(({ state }) => state ?? [])
      .sort((a, b) => (a.spec.id < b.spec.id ? -1 : 1));
  }

  state(id: TaskId): TaskState | undefined {
    return this.mirrors.get(id)?.state;
  }

  async *events(id: TaskId, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent, void> {
    for await (const batch of this.batches(id, after, signal)) yield* batch;
  }

  async *batches(id: TaskId, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[], void> {
    await this.open();
    yield* this.found(id).batches(after, signal);
  }

  async bundle(id: TaskId, have: readonly string[]): Promise<ByteStream> {
    await this.open();
    return this.found(id)
      .quarantine()
      .bundle(id, [...have]);
  }

  folderOf(id: TaskId): string {
    return join(this.options.folder.tasks, id);
  }

  quarantineOf(id: TaskId): Quarantine {
    return this.found(id).quarantine();
  }

  async stop(id: TaskId): Promise<void> {
    await this.open();
    const state = this.state(id);
    if (state !== undefined && hasEnded(state)) return;
    await this.http.done({ method: 'POST', path: paths.cancel(id) });
  }

  async answer(id: TaskId, ask: Ask): Promise<void> {
    await this.open();
    const { state } = this.found(id);
    if (state === undefined || hasEnded(state)) return;
    switch (ask.op) {
      case 'stop':
        await this.stop(id);
        return;
      case 'say':
        await this.send(id, ask.text);
        return;
      case 'egress': {
        const { answer } = ask;
        await this.http.done({ method: 'POST', path: paths.egress(id), json: answer });
        await this.settled(id, (now) => isAnswered(now, answer));
        return;
      }
      case 'answer': {
        await this.http.done({
          method: 'POST',
          path: paths.answers(id),
          json: { id: ask.id, answer: ask.answer },
        });
        const open = ({ conversation }: TaskState): boolean =>
          conversation?.questions.some((question) => question.id === ask.id) === true;
        await this.settled(id, (now) => !open(now));
        return;
      }
      case 'interrupt':
        await this.http.done({ method: 'POST', path: paths.interrupt(id) });
        await this.settled(
          id,
          ({ phase, conversation }) => conversation?.interrupting === true || phase === 'waiting',
        );
        return;
      case 'budget':
        await this.http.done({ method: 'POST', path: paths.budget(id), json: { usd: ask.usd } });
        await this.settled(id, ({ budgetUsd }) => budgetUsd === ask.usd);
    }
  }

  /** Waits a moment until what the runner has in its log by now is in the mirror. */
  private async settled(id: TaskId, good: (state: TaskState) => boolean): Promise<void> {
    const over = (state: TaskState): boolean => good(state) || hasEnded(state);
    await this.until(id, over, answerMs, this.over.signal).catch(() => undefined);
  }

  async send(id: TaskId, text: string): Promise<void> {
    await this.open();
    const before = this.found(id).state?.lastEvent ?? 0;
    await this.http.done({ method: 'POST', path: paths.messages(id), json: { text } });
    await this.settled(id, ({ lastEvent }) => lastEvent > before);
  }

  async reopen(
    id: TaskId,
    { text, conversation }: Reopening,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<TaskState> {
    await this.open();
    const before = this.found(id).state?.reopened ?? 0;
    const json = { text, ...(conversation === undefined ? {} : { conversation }) };
    await this.http.done({ method: 'POST', path: paths.messages(id), json, signal });
    const both = AbortSignal.any([signal, this.over.signal]);
    return await this.until(id, ({ reopened }) => reopened > before, firstEventMs, both);
  }

  async commitLeftovers(id: TaskId, message: string): Promise<TaskState> {
    await this.open();
    this.found(id);
    await this.http.done({ method: 'POST', path: paths.leftovers(id), json: { message } });
    const isCommitted = ({ leftovers }: TaskState): boolean => leftovers === undefined;
    return await this.until(id, isCommitted, firstEventMs, this.over.signal);
  }

  async terminal(id: TaskId, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    await this.open();
    return await openTerminal(this.options.access, id, size, signal);
  }

  async spentToday(): Promise<number> {
    return (await this.http.json({ method: 'GET', path: paths.spend }, Spend)).usd;
  }

  /** The day's budget of a runner is its own affair. */
  budgetsChanged(): Promise<void> {
    return Promise.resolve();
  }

  async remove(id: TaskId, { force = false }: { force?: boolean } = {}): Promise<void> {
    await this.open();
    const mirror = this.mirrors.get(id);
    if (mirror === undefined && !this.views.has(id)) throw unknown(id);
    const pending = mirror?.state?.pendingImports.length ?? 0;
    if (!force && pending > 0 && mirror?.state !== undefined && hasEnded(mirror.state)) {
      throw new SallyportError(
        'commits_not_imported',
        `${pending} commits of the task are not on this machine; removing it would delete the only copy.`,
        'Wait until they are fetched, or remove it by force to discard them.',
      );
    }
    await this.http
      .done({
        method: 'DELETE',
        path: paths.task(id),
        query: force ? [['force', 'true']] : [],
      })
      .catch((thrown: unknown) => {
        const { code } = asSallyportError(thrown);
        // The runner has forgotten it already.
        if (code !== 'task_unknown' && code !== 'not_found') throw thrown;
      });
    this.views.delete(id);
    await this.forget(id);
  }

  private found(id: TaskId): Mirror {
    const mirror = this.mirrors.get(id);
    if (mirror?.state !== undefined) return mirror;
    throw unknown(id);
  }

  /** Tasks go on; what is mirrored stays. */
  dispose(): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.disconnected();
    this.connection.dispose();
    this.http.dispose();
    for (const mirror of this.mirrors.values()) mirror.dispose();
    for (const emitter of [this.changed, this.removed, this.trouble, this.viewed, this.progressed])
      emitter.dispose();
  }
}

function unknown(id: TaskId): SallyportError {
  return new SallyportError(
    'task_unknown',
    `There is no task ${id}.`,
    'It may have been removed; look at the list of tasks.',
  );
}

/** What the runner is asked for. What is as it is by default here is left to the runner's own defaults. */
function submissionOf(spec: TaskSpec): SubmissionInput & { id: string } {
  const { id, prompt, title, agent, repository, snapshot, branch, identity, egress, budgetUsd } = spec;
  const { conversation, resume, commitMessage } = spec;
  const limits = ownLimits(spec.limits);
  return {
    id,
    prompt,
    title,
    source: { kind: 'snapshot', repository: { id: repository.id, name: repository.name }, snapshot },
    ...(agent.model === undefined ? {} : { model: agent.model }),
    ...(agent.args === undefined ? {} : { agentArgs: agent.args }),
    branch,
    identity,
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(egress === undefined ? {} : { egress: { mode: egress.mode, rules: egress.rules } }),
    ...(budgetUsd === undefined ? {} : { budgetUsd }),
    ...(conversation === undefined ? {} : { conversation }),
    ...(spec.agent.permissions === undefined ? {} : { permissions: spec.agent.permissions }),
    ...(resume === undefined ? {} : { resume: resume.task }),
    ...(resume?.turn === undefined ? {} : { turn: resume.turn }),
    ...(commitMessage === undefined ? {} : { commitMessage }),
  };
}

function ownLimits(limits: Limits): Partial<Limits> {
  return Object.fromEntries(
    Object.entries(limits).filter(([name, value]) => value !== defaultLimits[name as keyof Limits]),
  );
}
