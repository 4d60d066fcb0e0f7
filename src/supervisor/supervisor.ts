import type { AgentAdapter } from '../agent/adapter.ts';
import { ControlFailure, type ControlCall } from '../base/controlSocket.ts';
import type { Disposable } from '../base/disposable.ts';
import { asSallyportError } from '../base/errors.ts';
import { PausableTimer } from '../base/pausableTimer.ts';
import { type Again, SupervisorRequest } from '../protocol/control.ts';
import { type AgentSpec, defaultIdleMs, hasOwnImage, startOf, type TaskSpec } from '../protocol/task.ts';
import { agentStart } from './agentCommand.ts';
import { runAgent, type AgentRun } from './agentProcess.ts';
import { makeBundle } from './bundle.ts';
import { Conversation } from './conversation.ts';
import type { EgressCheck } from './egress.ts';
import {
  egressFailure,
  engineGone,
  gatewayFailure,
  internalFailure,
  stopped,
  workspaceFailure,
} from './endings.ts';
import type { EventLog } from './eventLog.ts';
import { isDiskFull } from './fullDisk.ts';
import { oomKills } from './oomCounter.ts';
import { type Ended, failed, outcome } from './outcome.ts';
import { problemWithOwnImage } from './ownImage.ts';
import { writeProxyFiles } from './proxyEnvironment.ts';
import { giveUp, type Relays, startRelays } from './relays.ts';
import { checkSession, readSession, writeSession } from './sessionFile.ts';
import { shellFor } from './shell.ts';
import { WorkRecord } from './workRecord.ts';
import { adoptCommit, lookAtWorkspace, prepareWorkspace } from './workspace.ts';

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

/** The life of one task inside its sandbox. */
export class Supervisor implements Disposable {
  private readonly options: SupervisorOptions;
  private readonly log: EventLog;
  private spec: TaskSpec | undefined;
  private interrupted: 'stop' | 'time' | undefined;
  private ended = false;
  private run: AgentRun | undefined;
  private record: WorkRecord | undefined;
  private relays: Relays | undefined;
  private timer: PausableTimer | undefined;
  private clockRuns = true;
  /** Of a task that goes on. */
  private again: Again | undefined;
  /** The turn that was under way when the sandbox died. */
  private turn = 0;
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
    this.record?.dispose();
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
    const relays = startRelays(this.options, signal);
    egress.catch(() => undefined);
    relays.catch(() => undefined);
    try {
      const files = await prepareWorkspace(this.options.workspace, spec, bundle, signal);
      const commit = startOf(spec);
      this.log.emit({ type: 'workspace', branch: spec.branch, commit, files, ms: Date.now() - begun });
    } catch (thrown) {
      const error = asSallyportError(thrown);
      this.end(this.interrupted === undefined ? workspaceFailure(error) : stopped());
      giveUp(relays);
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
    this.workAndEnd(
      spec,
      token,
      this.options.proveEgress(),
      startRelays(this.options, this.preparing.signal),
    );
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
      giveUp(relays);
      return egressFailure(open);
    }
    try {
      this.relays = await relays;
    } catch (thrown) {
      return this.interrupted === undefined ? gatewayFailure(thrown) : stopped();
    }
    const adapter = this.options.adapters[spec.agent.kind];
    this.record = this.recordOf(spec);
    const killsBefore = (await oomKills()) ?? 0;
    await this.record.begin();
    if (this.interrupted !== undefined) return stopped();

    const { home, path, workspace } = this.options;
    const baseUrl = `http://127.0.0.1:${this.relays.model.port}`;
    const proxyUrl = `http://127.0.0.1:${this.relays.proxy.port}`;
    const place = { baseUrl, token, proxyUrl, home, path, workspace };
    const { command, surroundings, proxyFiles } = agentStart(adapter, spec, place, this.options.environment);
    await writeProxyFiles(proxyFiles);
    this.surroundings = surroundings;
    this.timer = new PausableTimer(spec.limits.timeMs, () => this.interrupt('time'), this.clockRuns);
    this.run = runAgent(command, workspace, adapter.reader(spec), this.log, this.conversation);
    this.conversation?.begin(this.run);
    const exit = await this.run.ended;
    this.timer.dispose();
    this.conversation?.dispose();
    const { interrupted } = this;
    const kills = ((await oomKills()) ?? 0) - killsBefore;
    const diskFull = await isDiskFull([workspace, home]);
    await this.record.end(this.lastTurn());
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

  private lastTurn(): number {
    return Math.max(this.turn, this.conversation?.turn ?? (this.again?.turn ?? 0) + 1);
  }

  private recordOf(spec: TaskSpec): WorkRecord {
    return new WorkRecord({
      log: this.log,
      workspace: this.options.workspace,
      start: startOf(spec),
      known: this.again?.known ?? [],
      sessionFile: (id) => this.sessionFile(id),
    });
  }

  private converse(spec: TaskSpec, again: Again | undefined): Conversation {
    const adapter = this.options.adapters[spec.agent.kind];
    return new Conversation({
      emit: (body) => this.log.emit(body),
      message: (text) => adapter.message(text),
      answer: (question, answer) => adapter.answer(question, answer),
      interrupt: (id) => adapter.interrupt(id),
      collect: async (turn) => this.record?.turnEnded(turn),
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

  /** After the container was restarted: the files are there, the agent is not. */
  private resume({ spec, after, turn, session }: Extract<SupervisorRequest, { op: 'resume' }>): {
    ok: true;
  } {
    this.take({ ...spec, conversation: false });
    this.turn = turn;
    this.log.session = session;
    this.log.continueAfter(after);
    this.record = this.recordOf(spec);
    const end = (): void => this.end(engineGone());
    void this.record.end(this.lastTurn()).then(end, end);
    return { ok: true };
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

  private end(ended: Ended): void {
    if (this.ended) return;
    this.ended = true;
    this.log.emit(ended);
    this.relays?.dispose();
    void this.log.flush().then(this.setOver);
  }
}
