import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Emitter } from '../../src/base/event.ts';
import { Quarantine } from '../../src/git/quarantine.ts';
import { openRepository } from '../../src/git/repository.ts';
import { newTaskId, type TaskSpec } from '../../src/protocol/task.ts';
import type { TaskEvent, TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { initialState, type TaskState } from '../../src/protocol/taskState.ts';
import { Reviews, type ReviewedRunner } from '../../src/runner/review/reviews.ts';
import type { TaskReview } from '../../src/runner/review/taskReview.ts';
import { GitRepo, pieces, temporaryFolder } from './gitRepo.ts';
import { aSpec } from './specs.ts';

/** A runner without sandboxes: a test says what happens in its tasks; folders, repositories and quarantines are real. */
class ReviewRunner implements ReviewedRunner {
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<string>();
  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  readonly quarantine: Quarantine;
  private readonly tasks: string;
  private readonly states = new Map<string, TaskState>();
  private readonly logs = new Map<string, TaskEvent[]>();

  constructor(tasks: string, quarantine: Quarantine) {
    this.tasks = tasks;
    this.quarantine = quarantine;
  }

  add(spec: TaskSpec): void {
    mkdirSync(this.folderOf(spec.id), { recursive: true });
    this.states.set(spec.id, initialState(spec, Date.now()));
    this.logs.set(spec.id, []);
    this.say(spec.id, { type: 'submitted', spec });
  }

  say(id: string, ...bodies: TaskEventBody[]): void {
    const log = this.logs.get(id) ?? [];
    let state = this.states.get(id)!;
    for (const body of bodies) {
      const event: TaskEvent = { n: log.length + 1, t: Date.now(), ...body };
      log.push(event);
      state = reduce(state, event);
    }
    this.states.set(id, state);
    this.changed.fire(state);
  }

  drop(id: string): void {
    this.states.delete(id);
    this.removed.fire(id);
  }

  state(id: string): TaskState | undefined {
    return this.states.get(id);
  }

  folderOf(id: string): string {
    return join(this.tasks, id);
  }

  quarantineOf(): Quarantine {
    return this.quarantine;
  }

  /** Goes on for ever, as that of a task under way does. */
  async *batches(id: string, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[]> {
    const events = (this.logs.get(id) ?? []).filter(({ n }) => n > after);
    for (const event of events) yield [event];
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  }
}

/** One task with its review: the user's repository, the agent's, and a quarantine between them, all real. */
export class ReviewBench {
  readonly folder = temporaryFolder();
  readonly user: GitRepo;
  readonly agent: GitRepo;
  readonly base: string;
  /** What the agent was told. */
  readonly said: { how: 'send' | 'followUp'; text: string }[] = [];
  /** Thrown by the next that is said. */
  refusal: Error | undefined;
  runner!: ReviewRunner;
  reviews!: Reviews;
  spec!: TaskSpec;
  private turn = 0;

  private constructor(files: Record<string, string | Uint8Array>) {
    this.user = new GitRepo(join(this.folder.path, 'user'));
    for (const [path, content] of Object.entries(files)) this.user.write(path, content);
    this.base = this.user.commit('base');
    this.agent = new GitRepo(join(this.folder.path, 'agent'));
  }

  /** @param change of the task; a conversation unless it says otherwise */
  static async open(
    files: Record<string, string | Uint8Array>,
    change: Partial<TaskSpec> = {},
  ): Promise<ReviewBench> {
    const bench = new ReviewBench(files);
    const repository = await openRepository(bench.user.path);
    const quarantine = Quarantine.open(join(bench.folder.path, 'quarantine'), repository.ref.id);
    await quarantine.adopt(repository);
    bench.agent.git('fetch', '--quiet', bench.user.path, 'main');
    bench.agent.git('reset', '--quiet', '--hard', bench.base);
    bench.spec = aSpec({
      id: newTaskId(Date.now()),
      repository: repository.ref,
      snapshot: { mode: 'head', commit: bench.base, head: bench.base, headBranch: 'main' },
      branch: 'claude/work',
      conversation: true,
      ...change,
    });
    bench.runner = new ReviewRunner(join(bench.folder.path, 'tasks'), quarantine);
    bench.runner.add(bench.spec);
    bench.runner.say(bench.id, {
      type: 'started',
      spec: bench.spec,
      supervisor: '1',
    });
    bench.reviews = bench.another();
    return bench;
  }

  get id(): string {
    return this.spec.id;
  }

  get review(): TaskReview {
    return this.reviews.of(this.id);
  }

  get taskFolder(): string {
    return this.runner.folderOf(this.id);
  }

  get task(): TaskState {
    return this.runner.state(this.id)!;
  }

  /** The reviews of another window. */
  another(): Reviews {
    const tell = (how: 'send' | 'followUp', text: string): void => {
      const { refusal } = this;
      this.refusal = undefined;
      if (refusal !== undefined) throw refusal;
      this.said.push({ how, text });
    };
    return new Reviews(this.runner, () => ({
      send: (text) => Promise.resolve().then(() => tell('send', text)),
      followUp: (text) =>
        Promise.resolve().then(() => {
          tell('followUp', text);
          return this.task;
        }),
    }));
  }

  /** Writes, removes (null) and commits in the agent's repository, and brings the commit in. */
  async commit(message: string, files: Record<string, string | Uint8Array | null>): Promise<string> {
    for (const [path, content] of Object.entries(files))
      if (content === null) this.agent.git('rm', '--quiet', '-r', path);
      else this.agent.write(path, content);
    const sha = this.agent.commit(message);
    await this.bringIn(sha);
    return sha;
  }

  /** Brings in what the agent's HEAD is. */
  async bringIn(sha: string): Promise<void> {
    await this.import(sha);
    const [commit] = await this.runner.quarantine.commits([sha]);
    if (commit === undefined) throw new Error('The commit is not in the quarantine');
    this.runner.say(
      this.id,
      { type: 'commit', commit: { ...commit, branch: this.spec.branch } },
      { type: 'imported', tips: [sha], commits: [commit] },
    );
  }

  private async import(sha: string): Promise<void> {
    this.agent.git('update-ref', 'refs/heads/out', sha);
    const bundle = this.agent.raw(['bundle', 'create', '--quiet', '-', 'out', `^${this.base}`]);
    await this.runner.quarantine.importBundle(this.id, pieces(bundle), { tips: [{ sha }] });
  }

  /** Leaves files uncommitted, as the supervisor keeps them. */
  async leave(files: Record<string, string>): Promise<string> {
    const parent = this.agent.git('rev-parse', 'HEAD');
    for (const [path, content] of Object.entries(files)) this.agent.write(path, content);
    const commit = this.agent.commit('leftovers');
    await this.import(commit);
    this.agent.git('reset', '--quiet', '--hard', parent);
    this.runner.say(
      this.id,
      {
        type: 'leftovers',
        commit,
        parent,
        files: Object.keys(files).map((path) => ({ path, status: 'modified' })),
      },
      { type: 'imported', tips: [commit] },
    );
    return commit;
  }

  beginTurn(text?: string): void {
    const number = ++this.turn;
    if (text === undefined) {
      this.runner.say(this.id, { type: 'turn_began', number });
      return;
    }
    const id = newTaskId(Date.now());
    this.runner.say(
      this.id,
      { type: 'said', id, text, queued: false },
      { type: 'turn_began', number, message: id },
    );
  }

  endTurn(): void {
    this.runner.say(this.id, { type: 'turn', number: this.turn, outcome: 'succeeded' });
  }

  end(): void {
    this.runner.say(
      this.id,
      { type: 'ended', outcome: 'succeeded', message: 'Over.' },
      { type: 'sandbox_removed' },
    );
  }

  dispose(): void {
    this.reviews.dispose();
    this.folder.dispose();
  }
}
