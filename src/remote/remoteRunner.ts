import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asSallyportError, SallyportError } from '../base/errors.ts';
import { Emitter } from '../base/event.ts';
import type { Logger } from '../base/logger.ts';
import { pause } from '../base/pause.ts';
import { Quarantine } from '../git/quarantine.ts';
import type { TaskId } from '../protocol/grammar.ts';
import type { ByteStream } from '../protocol/runner.ts';
import { TaskView, type SubmissionInput, type Switches } from '../protocol/runnerApi.ts';
import type { TaskSpec } from '../protocol/task.ts';
import type { TaskEvent } from '../protocol/taskEvent.ts';
import type { Terminal, TerminalSize } from '../protocol/terminal.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { Ask } from '../runner/asks.ts';
import { isAnswered } from '../runner/egressAnswers.ts';
import type { Reopening, TaskRunner } from '../runner/taskRunner.ts';
import { defaultBackoff, type Backoff } from './backoff.ts';
import { Connection, type ConnectionStatus } from './connection.ts';
import { writeOrigin, type MirrorFolder } from './mirrorFolder.ts';
import { Mirrors, unknown } from './mirrors.ts';
import { isPassing } from './runnerFailures.ts';
import { openTerminal } from './remoteTerminal.ts';
import { RunnerHttp, type RunnerAccess } from './runnerHttp.ts';
import { paths, Spend } from './runnerPaths.ts';
import type { Hello } from './streamMessage.ts';
import { submissionOf } from './submission.ts';
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

/** How often in a row an upload or a request of a submission may break off. */
const attempts = 8;
/** How long the log of a new task may take to come, and what was asked for to be in it, in milliseconds. */
const firstEventMs = 60_000;
const answerMs = 5000;
/** Tasks on a runner's server, mirrored on this machine. */
export class RemoteRunner implements TaskRunner {
  private readonly options: RemoteRunnerOptions;
  private readonly http: RunnerHttp;
  private readonly connection: Connection;
  private readonly uploads: Uploads;
  private readonly backoff: Backoff;
  private readonly mirrors: Mirrors;
  private readonly submitting = new Set<TaskId>();
  private user: Hello['user'] | undefined;
  private opening: Promise<void> | undefined;
  private readonly over = new AbortController();
  private readonly progressed = new Emitter<SubmitProgress>();

  readonly onProgress = this.progressed.event;
  readonly onDidChangeStatus;
  readonly onDidChange;
  readonly onDidRemove;
  readonly onTrouble;
  /** What the runner says of a task besides its log: whose it is, its pull request. */
  readonly onDidChangeView;

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
    this.connection.onOpen(({ user }) => (this.user = user));
    const { folder, quarantineRoot } = options;
    this.mirrors = new Mirrors({
      folder,
      quarantineRoot,
      http: this.http,
      connection: this.connection,
      backoff: this.backoff,
      log,
      isSubmitting: (id) => this.submitting.has(id),
    });
    this.onDidChange = this.mirrors.onDidChange;
    this.onDidRemove = this.mirrors.onDidRemove;
    this.onTrouble = this.mirrors.onTrouble;
    this.onDidChangeView = this.mirrors.onDidChangeView;
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
    return this.mirrors.knownViews();
  }

  view(id: TaskId): TaskView | undefined {
    return this.mirrors.view(id);
  }

  /** False for a task that another user shares, and while it is not known whose it is. */
  mayChange(id: TaskId): boolean {
    const owner = this.mirrors.view(id)?.owner.id;
    if (owner === undefined) return this.mirrors.get(id)?.origin !== undefined;
    return this.user !== undefined && (this.user.role === 'admin' || this.user.id === owner);
  }

  /** Reads what is mirrored, and begins to connect; it does not wait for the runner. */
  open(): Promise<void> {
    this.opening ??= this.mirrors.load().then(() => {
      if (!this.over.signal.aborted) this.connection.start();
    });
    return this.opening;
  }

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
      this.mirrors.say(view);
      const { problem } = view;
      if (view.stage === 'failed' || view.stage === 'cancelled')
        throw new SallyportError(
          'invalid_input',
          problem?.message ?? 'The runner did not begin the task.',
          problem?.mend ?? 'Look at it in the dashboard of the runner.',
        );
      await this.mirrors.follow(id);
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
    return this.mirrors.states();
  }

  state(id: TaskId): TaskState | undefined {
    return this.mirrors.get(id)?.state;
  }

  async *events(id: TaskId, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent, void> {
    for await (const batch of this.batches(id, after, signal)) yield* batch;
  }

  async *batches(id: TaskId, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[], void> {
    await this.open();
    yield* this.mirrors.found(id).batches(after, signal);
  }

  async bundle(id: TaskId, have: readonly string[]): Promise<ByteStream> {
    await this.open();
    return this.mirrors
      .found(id)
      .quarantine()
      .bundle(id, [...have]);
  }

  folderOf(id: TaskId): string {
    return join(this.options.folder.tasks, id);
  }

  quarantineOf(id: TaskId): Quarantine {
    return this.mirrors.found(id).quarantine();
  }

  async stop(id: TaskId): Promise<void> {
    await this.open();
    const state = this.state(id);
    if (state !== undefined && hasEnded(state)) return;
    await this.http.done({ method: 'POST', path: paths.cancel(id) });
  }

  async answer(id: TaskId, ask: Ask): Promise<void> {
    await this.open();
    const { state } = this.mirrors.found(id);
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
    const before = this.mirrors.found(id).state?.lastEvent ?? 0;
    await this.http.done({ method: 'POST', path: paths.messages(id), json: { text } });
    await this.settled(id, ({ lastEvent }) => lastEvent > before);
  }

  async reopen(
    id: TaskId,
    { text, conversation }: Reopening,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<TaskState> {
    await this.open();
    const before = this.mirrors.found(id).state?.reopened ?? 0;
    const json = { text, ...(conversation === undefined ? {} : { conversation }) };
    await this.http.done({ method: 'POST', path: paths.messages(id), json, signal });
    const both = AbortSignal.any([signal, this.over.signal]);
    return await this.until(id, ({ reopened }) => reopened > before, firstEventMs, both);
  }

  async commitLeftovers(id: TaskId, message: string): Promise<TaskState> {
    await this.open();
    this.mirrors.found(id);
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
    if (mirror === undefined && this.mirrors.view(id) === undefined) throw unknown(id);
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
    await this.mirrors.drop(id);
  }

  /** Tasks go on; what is mirrored stays. */
  dispose(): void {
    if (this.over.signal.aborted) return;
    this.over.abort();
    this.mirrors.dispose();
    this.connection.dispose();
    this.http.dispose();
    this.progressed.dispose();
  }
}
