import { join } from 'node:path';
import { asSallyportError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Engine } from '../engine/engine.ts';
import { foldAll } from '../protocol/foldTask.ts';
import { SessionId, type TaskId } from '../protocol/grammar.ts';
import type { TaskSpec } from '../protocol/task.ts';
import type { Commit } from '../protocol/taskEvent.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { TaskEntry } from './attendance.ts';
import { call } from './control.ts';
import { keepSession, takeSession } from './keptSession.ts';
import { claim } from './ownership.ts';
import { containersOf } from './taskContainers.ts';
import type { TaskLog } from './taskLog.ts';

export interface BeginningOptions {
  /** Where the tasks' folders are. */
  tasks: string;
  /** Id of the data folder. */
  home: string;
  engine: () => Promise<Engine>;
  /** An earlier task. */
  entry: (id: TaskId) => TaskEntry | undefined;
  log: Logger;
}

/** What a task has begun with. */
interface Begun {
  spec: TaskSpec;
  state: TaskState;
  release: (() => Promise<void>) | undefined;
}

/** How long the agent's conversation may take to be brought out, in milliseconds. */
const sessionPatience = 10_000;

/** Writes the first events of a task, with what it takes over of the one that it goes on from: conversation and commits. */
export class TaskBeginning {
  private readonly options: BeginningOptions;

  constructor(options: BeginningOptions) {
    this.options = options;
  }

  /** Throws `disk_full`: what has begun waits for room, but nobody is to wait to begin. */
  async write(log: TaskLog, wanted: TaskSpec): Promise<Begun> {
    const folder = join(this.options.tasks, wanted.id);
    const spec = await this.withSession(wanted, folder);
    const release = await claim(join(folder, 'owner'));
    await log.beginWriting(() => undefined);
    let state: TaskState | undefined;
    const { promise: full, reject } = Promise.withResolvers<never>();
    const first = log.onAppend((events) => (state = foldAll(events, state)));
    const trouble = log.onTrouble((error) => error !== undefined && reject(error));
    try {
      const commits = await this.inherit(spec);
      const t = Date.now();
      const inherited = commits.length === 0 ? [] : [{ type: 'inherited' as const, commits, t }];
      await Promise.race([log.append([{ type: 'submitted', t, spec }, ...inherited]), full]);
    } finally {
      first.dispose();
      trouble.dispose();
    }
    if (state === undefined) throw new Error('The log took no event');
    return { spec, state, release };
  }

  /** A task that goes on with the conversation of another one gets it here, if it was kept. */
  private async withSession({ resume, ...spec }: TaskSpec, folder: string): Promise<TaskSpec> {
    const earlier = resume === undefined ? undefined : this.options.entry(resume.task)?.state;
    if (resume === undefined || earlier === undefined) return spec;
    const { task, turn } = resume;
    const at = earlier.checkpoints.find((one) => one.turn === turn);
    const id = SessionId.safeParse(turn === undefined ? earlier.sessionId : at?.session?.id);
    const without = { ...spec, resume: { task, ...(turn === undefined ? {} : { turn }) } };
    // Only what it wrote down of its newest conversation is kept.
    if (!id.success || id.data !== earlier.sessionId) return without;
    if (turn !== undefined) await this.bringSession(earlier, id.data);
    if (!(await takeSession(join(this.options.tasks, task), folder, at?.session?.bytes))) return without;
    const before = earlier.spec.resume?.session?.costUsd ?? 0;
    const session = { id: id.data, costUsd: before + (at ?? earlier).costUsd };
    return { ...spec, resume: { ...without.resume, session } };
  }

  /** Of a task that is not over the conversation is in its sandbox only: what there is of it by now is kept. */
  private async bringSession(earlier: TaskState, id: string): Promise<void> {
    const { tasks, home, engine: connect, log } = this.options;
    const { spec } = earlier;
    if (hasEnded(earlier)) return;
    try {
      const engine = await connect();
      const { sandbox } = await containersOf(engine, home, spec.id);
      if (sandbox?.status !== 'running') return;
      const signal = AbortSignal.timeout(sessionPatience);
      const { data, reply } = await call(engine, sandbox.id, { op: 'session', id }, { signal });
      await keepSession(join(tasks, spec.id), data);
      await reply;
    } catch (thrown) {
      log.warn(`The conversation of ${spec.id}: ${asSallyportError(thrown).message}`);
    }
  }

  /** A task that goes on from a turn of another one has its commits from the beginning. */
  private async inherit(spec: TaskSpec): Promise<Commit[]> {
    const { id, from, resume, branch } = spec;
    const earlier = resume?.turn === undefined ? undefined : this.options.entry(resume.task);
    if (from === undefined || earlier === undefined) return [];
    const { quarantine, state } = earlier;
    const uncommitted = from.uncommitted === undefined ? [] : [from.uncommitted];
    const reached = new Set(await quarantine.between(spec.snapshot.commit, from.commit));
    const commits = state.commits
      .filter(({ sha }) => reached.has(sha) && state.imported.includes(sha))
      .map((commit) => ({ ...commit, branch }));
    await quarantine.keepTips(id, [
      ...[...commits.map(({ sha }) => sha), ...uncommitted]
        .filter((sha) => sha !== from.commit)
        .map((sha) => ({ sha })),
      { sha: from.commit, branch },
    ]);
    return commits;
  }
}
