import { statfs } from 'node:fs/promises';
import type { AgentAdapter } from '../agent/adapter.ts';
import { ControlFailure, type ControlCall } from '../base/controlSocket.ts';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, type SallyportError } from '../base/errors.ts';
import { PausableTimer } from '../base/pausableTimer.ts';
import { type Again, paths, SupervisorRequest } from '../protocol/control.ts';
import { SessionId } from '../protocol/grammar.ts';
import { type AgentSpec, defaultIdleMs, hasOwnImage, startOf, type TaskSpec } from '../protocol/task.ts';
import type { Commit, SandboxBody } from '../protocol/taskEvent.ts';
import { runAgent, type AgentRun } from './agentProcess.ts';
import { makeBundle } from './bundle.ts';
import { CommitWatch } from './commitWatch.ts';
import { Conversation } from './conversation.ts';
import type { EgressCheck } from './egress.ts';
import type { EventLog } from './eventLog.ts';
import { keepLeftovers } from './leftovers.ts';
import { oomKills } from './oomCounter.ts';
import { failed, outcome } from './outcome.ts';
import { imageEnvironment, problemWithOwnImage } from './ownImage.ts';
import { proxyEnvironment, writeProxyFiles } from './proxyEnvironment.ts';
import { startRelay, type Relay } from './relay.ts';
import { checkSession, readSession, settledSession, writeSession } from './sessionFile.ts';
import { shellFor } from './shell.ts';
import { adoptCommit, headOf, lookAtWorkspace, prepareWorkspace } from './workspace.ts';

export interface SupervisorOptions {
  log: EventLog;
  /** Says which supervisor this is, in the log. */
  version: string;
  workspace: string;
  modelSocket: string;
  proxySocket: string;
  /** How long the gateway may take until its sockets are there, in milliseconds. */
  socketWaitMs: number;
  home: string;
  /** Search path of the agent. */
  path: string;
  adapters: Record<AgentSpec['kind'], AgentAdapter>;
  proveEgress: () => Promise<EgressCheck[]>;
  /** The container's environment, of which the agent gets a part in an image of the user's. */
  environment?: Readonly<Record<string, string | undefined>>;
}

/** Less than this is left on a full disk, in bytes. */
const fullDiskBytes = 1 << 20;

/** The gateway's two sockets as ports on the loopback. */
interface Relays extends Disposable {
  model: Relay;
  proxy: Relay;
}

type Ended = Extract<SandboxBody, { type: 'ended' }>;

/** The life of one task inside its sandbox. */
export class Supervisor implements Disposable {
  private readonly options: SupervisorOptions;
  private readonly log: EventLog;
  private spec: TaskSpec | undefined;
  private interrupted: 'stop' | 'time' | undefined;
  private ended = false;
  private run: AgentRun | undefined;
  private watch: CommitWatch | undefined;
  private relays: Relays | undefined;
  private timer: PausableTimer | undefined;
  private clockRuns = true;
  /** Of a task that goes on. */
  private again: Again | undefined;
  /** The turn that was under way when the sandbox died. */
  private turn = 0;
  /** The turn whose end was told last. */
  private checked = 0;
  private conversation: Conversation | undefined;
  /** What the agent's environment has from the image, and for the network. */
  private surroundings: Readonly<Record<string, string>> = {};
  /** Ends the preparation. */
  private readonly preparing = new AbortController();
  /** Settles when the task is over; for tests and for an orderly exit. */
  readonly over: Promise<void>;
  private setOver: () => void = () => undefined;

  constructor(options: SupervisorOptions) {
    this.options = options;
    this.log = options.log;
    this.over = new Promise((resolve) => (this.setOver = resolve));
  }

  /** Answers one request of the host's. */
  async handle(call: ControlCall): Promise<{ ok: true } & Record<string, unknown>> {
    const parsed = SupervisorRequest.safeParse(call.request);
    if (!parsed.success)
      throw new ControlFailure(
        'invalid_input',
        `The request is malformed (${parsed.error.issues.map(({ path }) => path.join('.')).join(', ')}).`,
      );
    const request = parsed.data;
    switch (request.op) {
      case 'start':
        return await this.start(request.spec, request.token, call.data, request.again);
      case 'continue':
        return await this.goOn(request, call.data);
      case 'resume':
        return this.resume(request);
      case 'bundle': {
        const { data, missing } = await makeBundle(this.options.workspace, request.want, request.have);
        if (data !== undefined) await call.send(data);
        return missing.length === 0 ? { ok: true } : { ok: true, missing };
      }
      case 'stop':
        if (this.conversation?.isWaiting === true) this.conversation.finish('asked');
        else this.interrupt('stop');
        return { ok: true };
      case 'say':
        if (this.conversation === undefined)
          throw new ControlFailure('conflict', 'This task takes no messages.');
        this.conversation.say(request.id, request.text);
        return { ok: true };
      case 'answer':
        this.conversation?.answer(request.id, request.answer);
        return { ok: true };
      case 'interrupt':
        this.conversation?.interrupt();
        return { ok: true };
      case 'clock':
        this.clockRuns = request.running;
        this.setClock();
        return { ok: true };
      case 'session':
        await call.send(await readSession(this.sessionFile(request.id)));
        return { ok: true };
      case 'restore':
        if (this.spec !== undefined) throw new ControlFailure('busy', 'This sandbox has its task already.');
        await writeSession(this.sessionFile(request.id), call.data);
        return { ok: true };
      case 'shell':
        return { ok: true, shell: await shellFor(this.options, this.surroundings) };
      case 'status':
        return { ok: true, busy: this.spec !== undefined };
    }
  }

  /** Ends everything that runs, at once. */
  dispose(): void {
    this.timer?.dispose();
    this.conversation?.dispose();
    this.preparing.abort();
    this.run?.interrupt();
    this.watch?.dispose();
    this.relays?.dispose();
  }

  private sessionFile(id: string): string {
    return this.options.adapters['claude-code'].sessionFile(id, this.options);
  }

  private take(spec: TaskSpec, again?: Again): void {
    if (this.spec !== undefined) throw new ControlFailure('busy', 'This sandbox has its task already.');
    this.spec = spec;
    this.again = again;
    if (spec.conversation === true) this.conversation = this.converse(spec, again);
  }

  private async start(
    spec: TaskSpec,
    token: string,
    bundle: AsyncIterable<Uint8Array>,
    again?: Again,
  ): Promise<{ ok: true }> {
    this.take(spec, again);
    this.log.emit({ type: 'started', spec, supervisor: this.options.version });
    const begun = Date.now();
    const { signal } = this.preparing;
    const problem = hasOwnImage(spec) ? await problemWithOwnImage(this.options.path) : undefined;
    if (problem !== undefined) {
      this.end(failed('image', problem.message, problem.mend));
      throw new ControlFailure('invalid_input', problem.message);
    }
    // None of these needs another one.
    const egress = this.options.proveEgress();
    const relays = this.startRelays(signal);
    egress.catch(() => undefined);
    relays.catch(() => undefined);
    try {
      const files = await prepareWorkspace(this.options.workspace, spec, bundle, signal);
      const commit = startOf(spec);
      this.log.emit({ type: 'workspace', branch: spec.branch, commit, files, ms: Date.now() - begun });
    } catch (thrown) {
      const error = asSallyportError(thrown);
      this.end(this.interrupted === undefined ? workspaceFailure(error) : this.stopped());
      void relays.then(
        (started) => started.dispose(),
        () => undefined,
      );
      throw new ControlFailure(error.code, error.message);
    }
    this.workAndEnd(spec, token, egress, relays);
    return { ok: true };
  }

  /** In a sandbox that was kept: workspace and home folder are as they were left. */
  private async goOn(
    { spec, token, after, again, adopt }: Extract<SupervisorRequest, { op: 'continue' }>,
    bundle: AsyncIterable<Uint8Array>,
  ): Promise<{ ok: true }> {
    if (this.spec !== undefined) throw new ControlFailure('busy', 'This sandbox has its task already.');
    const { workspace } = this.options;
    const session = spec.resume?.session;
    if (session !== undefined) await checkSession(this.sessionFile(session.id));
    if (adopt) await adoptCommit(workspace, startOf(spec), bundle, this.preparing.signal);
    const { commit, files } = await lookAtWorkspace(workspace, startOf(spec));
    this.take(spec, again);
    this.log.continueAfter(after);
    this.log.emit({ type: 'started', spec, supervisor: this.options.version });
    this.log.emit({ type: 'workspace', branch: spec.branch, commit, files, ms: 0 });
    this.workAndEnd(spec, token, this.options.proveEgress(), this.startRelays(this.preparing.signal));
    return { ok: true };
  }

  private workAndEnd(
    spec: TaskSpec,
    token: string,
    egress: Promise<EgressCheck[]>,
    relays: Promise<Relays>,
  ): void {
    egress.catch(() => undefined);
    relays.catch(() => undefined);
    void this.work(spec, token, egress, relays).then(
      (ended) => this.end(ended),
      (thrown: unknown) => this.end(internalFailure(thrown)),
    );
  }

  private async work(
    spec: TaskSpec,
    token: string,
    egress: Promise<EgressCheck[]>,
    relays: Promise<Relays>,
  ): Promise<Ended> {
    const checks = await egress;
    const open = checks.filter((check) => !check.blocked);
    this.log.emit({ type: 'egress', closed: open.length === 0, checks });
    if (open.length > 0) {
      void relays.then(
        (started) => started.dispose(),
        () => undefined,
      );
      return failed(
        'egress_open',
        `The sandbox is not closed (${open.map(({ what }) => what).join('; ')}), so the agent was not started.`,
        "Check that the container engine honours the network mode 'none', then start the task again.",
      );
    }
    try {
      this.relays = await relays;
    } catch (thrown) {
      if (this.interrupted !== undefined) return this.stopped();
      return failed(
        'gateway',
        `The gateway did not answer: ${asSallyportError(thrown).message}.`,
        'Start the task again; the log of the gateway container says more.',
      );
    }
    const adapter = this.options.adapters[spec.agent.kind];
    this.watch = this.watchCommits(spec);
    const killsBefore = (await oomKills()) ?? 0;
    await this.watch.begin();
    if (this.interrupted !== undefined) return this.stopped();

    const { home, path, workspace } = this.options;
    const baseUrl = `http://127.0.0.1:${this.relays.model.port}`;
    const proxyUrl = `http://127.0.0.1:${this.relays.proxy.port}`;
    const own = hasOwnImage(spec);
    const proxy = proxyEnvironment(proxyUrl, home, own ? paths.toolsAuthorities : undefined);
    await writeProxyFiles(proxy.files);
    const command = adapter.command(spec, { baseUrl, token, proxyUrl, home, path, workspace });
    const below = own ? imageEnvironment(this.options.environment ?? {}) : {};
    this.surroundings = { ...below, ...proxy.env };
    // The gateway asks for the task's token there too, which is worth nothing elsewhere.
    const forge = { SALLYPORT_FORGE_URL: `${baseUrl}/forge`, SALLYPORT_TASK_TOKEN: token };
    const env = { ...below, ...proxy.env, ...command.env, ...(spec.forge === true ? forge : {}) };
    this.timer = new PausableTimer(spec.limits.timeMs, () => this.interrupt('time'), this.clockRuns);
    this.run = runAgent({ ...command, env }, workspace, adapter.reader(spec), this.log, this.conversation);
    this.conversation?.begin(this.run);
    const exit = await this.run.ended;
    this.timer.dispose();
    this.conversation?.dispose();
    const { interrupted } = this;
    const kills = ((await oomKills()) ?? 0) - killsBefore;
    const diskFull = await this.isDiskFull();
    await this.collect(spec);
    const ended = outcome({
      agent: adapter.name,
      exit,
      interrupted,
      finished: this.conversation?.finished,
      turnInterrupted: this.conversation?.wasInterrupted === true,
      limits: spec.limits,
      oomKills: kills,
      diskFull,
    });
    if (kills > 0 && ended.kind !== 'out_of_memory') {
      this.notice('warning', `The kernel ended ${kills} of the agent's processes for want of memory.`);
    }
    return ended;
  }

  /** Turns of before the task went on. */
  private turnsBefore(): number {
    return this.again?.turn ?? 0;
  }

  private converse(spec: TaskSpec, again: Again | undefined): Conversation {
    const adapter = this.options.adapters[spec.agent.kind];
    return new Conversation({
      emit: (body) => this.log.emit(body),
      message: (text) => adapter.message(text),
      answer: (question, answer) => adapter.answer(question, answer),
      interrupt: (id) => adapter.interrupt(id),
      collect: async (turn) => {
        // What is not seen now is announced a little later.
        await this.watch?.scan().catch(() => undefined);
        await this.checkpoint(turn, true);
      },
      onWorking: () => this.setClock(),
      idleMs: spec.limits.idleMs ?? defaultIdleMs,
      turn: again?.turn ?? 0,
      prompt: again?.message,
    });
  }

  /** The time in which the user is waited for is not the agent's. */
  private setClock(): void {
    const waits = this.conversation?.isWaiting === true || this.conversation?.isAsking === true;
    this.timer?.setRunning(this.clockRuns && !waits);
  }

  private async startRelays(signal: AbortSignal): Promise<Relays> {
    const { modelSocket, proxySocket, socketWaitMs } = this.options;
    const starting = [
      startRelay(modelSocket, socketWaitMs, signal),
      startRelay(proxySocket, socketWaitMs, signal),
    ] as const;
    try {
      const [model, proxy] = await Promise.all(starting);
      return {
        model,
        proxy,
        dispose: () => {
          model.dispose();
          proxy.dispose();
        },
      };
    } catch (thrown) {
      for (const one of await Promise.allSettled(starting))
        if (one.status === 'fulfilled') one.value.dispose();
      throw thrown;
    }
  }

  /** After the container was restarted: the files are there, the agent is not. */
  private resume({ spec, after, turn, session }: Extract<SupervisorRequest, { op: 'resume' }>): {
    ok: true;
  } {
    this.take({ ...spec, conversation: false });
    this.turn = turn;
    this.log.session = session;
    this.log.continueAfter(after);
    const gone = failed(
      'engine_gone',
      'The container engine stopped while the agent worked, and the agent with it. What it had committed or left is kept.',
      'Start the task again, or go on from its commits.',
    );
    this.watch = this.watchCommits(spec);
    void this.collect(spec).then(
      () => this.end(gone),
      () => this.end(gone),
    );
    return { ok: true };
  }

  /** Announces the last commits, and keeps what is not committed. */
  private async collect(spec: TaskSpec): Promise<void> {
    try {
      await this.watch?.scan();
    } catch (thrown) {
      this.notice('error', `The last look for commits failed: ${asSallyportError(thrown).message}`);
    } finally {
      this.watch?.dispose();
    }
    await this.checkpoint(Math.max(this.turn, this.conversation?.turn ?? this.turnsBefore() + 1), false);
    try {
      const leftovers = await keepLeftovers(this.options.workspace, startOf(spec));
      if (leftovers !== undefined) this.log.emit({ type: 'leftovers', ...leftovers });
    } catch (thrown) {
      this.notice('error', `Uncommitted changes could not be kept: ${asSallyportError(thrown).message}`);
    }
  }

  private watchCommits(spec: TaskSpec): CommitWatch {
    const { workspace } = this.options;
    const known = this.again?.known ?? [];
    return new CommitWatch(workspace, startOf(spec), (commits) => this.announce(commits), known);
  }

  /**
   * Says where a turn has come to, so that one can go back there. Never rejects.
   * @param isRunning the agent may not have written down yet what it said
   */
  private async checkpoint(turn: number, isRunning: boolean): Promise<void> {
    const { spec, options, log } = this;
    if (spec === undefined || turn < 1 || turn === this.checked) return;
    try {
      const id = SessionId.safeParse(log.session);
      const session = id.success ? await settledSession(this.sessionFile(id.data), isRunning) : undefined;
      const head = await headOf(options.workspace, startOf(spec));
      const left = await keepLeftovers(options.workspace, startOf(spec));
      log.emit({
        type: 'checkpoint',
        turn,
        ...head,
        ...(left?.parent === head.commit ? { uncommitted: left.commit } : {}),
        ...(id.success && session !== undefined ? { session: { id: id.data, bytes: session } } : {}),
      });
      this.checked = turn;
    } catch (thrown) {
      this.notice('warning', `The end of turn ${turn} is no checkpoint: ${asSallyportError(thrown).message}`);
    }
  }

  private announce(commits: Commit[]): void {
    for (const commit of commits) this.log.emit({ type: 'commit', commit });
  }

  private notice(level: 'warning' | 'error', text: string): void {
    this.log.emit({ type: 'notice', level, text });
  }

  private interrupt(why: 'stop' | 'time'): void {
    if (this.ended) return;
    this.interrupted ??= why;
    this.preparing.abort();
    this.run?.interrupt();
  }

  private stopped(): Ended {
    return { type: 'ended', outcome: 'stopped', message: 'The task was stopped on request.' };
  }

  private end(ended: Ended): void {
    if (this.ended) return;
    this.ended = true;
    this.log.emit(ended);
    this.relays?.dispose();
    void this.log.flush().then(this.setOver);
  }

  private async isDiskFull(): Promise<boolean> {
    for (const folder of [this.options.workspace, this.options.home]) {
      const { bavail, bsize } = await statfs(folder).catch(() => ({ bavail: 1, bsize: fullDiskBytes }));
      if (bavail * bsize < fullDiskBytes) return true;
    }
    return false;
  }
}

function workspaceFailure(error: SallyportError): Ended {
  const mend = "Free some space on the disk that holds the engine's data, then start the task again.";
  return error.code === 'disk_full'
    ? failed('disk_full', `The disk is too full for the workspace: ${error.message}`, mend)
    : failed(
        'workspace',
        `The workspace could not be made: ${error.message}`,
        'Start the task again; report this if it happens twice.',
      );
}

function internalFailure(thrown: unknown): Ended {
  const { message } = asSallyportError(thrown);
  return failed('internal', `The supervisor failed: ${message}`, 'Start the task again, and report this.');
}
