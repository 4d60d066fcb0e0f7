import { SallyportError } from '../../src/base/errors.ts';
import { Emitter } from '../../src/base/event.ts';
import type { DetailedChange } from '../../src/git/diff.ts';
import { newTaskId, titleOf, type TaskSpec } from '../../src/protocol/task.ts';
import type { QuestionAnswer } from '../../src/protocol/question.ts';
import { checkMayAnswer } from '../../src/runner/talk.ts';
import type { TaskEvent, TaskEventBody } from '../../src/protocol/taskEvent.ts';
import { reduce } from '../../src/protocol/foldTask.ts';
import { hasEnded, initialState, type TaskState } from '../../src/protocol/taskState.ts';
import type { Terminal } from '../../src/protocol/terminal.ts';
import type { TaskPublishing } from '../../src/runner/publishing/taskPublishing.ts';
import type {
  DoctorCheck,
  EgressAnswer,
  FollowUp,
  Range,
  SubmitRequest,
  TaskService,
  WorkspaceSettings,
} from '../../src/runner/taskService.ts';
import { FakeTaskReview } from './fakeTaskReview.ts';
import { aSpec, shaOf } from './specs.ts';

/** A task service in memory: a test says what happens, and sees what was asked. Its states come from the real reducer. */
export class FakeTaskService implements TaskService {
  readonly logs = new Map<string, TaskEvent[]>();
  private readonly states = new Map<string, TaskState>();
  private readonly changed = new Emitter<TaskState>();
  private readonly removed = new Emitter<string>();
  private readonly appended = new Emitter<string>();
  private readonly trouble = new Emitter<SallyportError>();
  readonly onDidChange = this.changed.event;
  readonly onDidRemove = this.removed.event;
  readonly onTrouble = this.trouble.event;
  readonly submitted: SubmitRequest[] = [];
  readonly stopped: string[] = [];
  readonly sent: { id: string; text: string }[] = [];
  readonly accepted: { id: string; branch: string }[] = [];
  readonly blobs = new Map<string, Uint8Array>();
  detailed: DetailedChange[] = [];
  patchText = '';
  opened = 0;
  /** How many readers `events` has now. */
  readers = 0;
  /** Thrown by the next submit. */
  refusal: SallyportError | undefined;

  open(): Promise<void> {
    this.opened += 1;
    return Promise.resolve();
  }

  tasks(): readonly TaskState[] {
    return [...this.states.values()];
  }

  task(id: string): TaskState | undefined {
    return this.states.get(id);
  }

  submit(request: SubmitRequest): Promise<TaskState> {
    const decided = this.refusal?.code === 'secrets_found' && request.secrets !== 'ask';
    if (this.refusal !== undefined && !decided) return Promise.reject(this.refusal);
    this.submitted.push(request);
    const spec = aSpec({
      title: titleOf(request.prompt),
      prompt: request.prompt,
      repository: { id: 'demo-0123456789', name: 'demo', path: request.repositoryPath },
    });
    return Promise.resolve(this.add(spec));
  }

  /** A task that begins. */
  add(spec: TaskSpec): TaskState {
    this.states.set(spec.id, initialState(spec, Date.now()));
    this.logs.set(spec.id, []);
    this.say(spec.id, { type: 'submitted', spec });
    return this.states.get(spec.id)!;
  }

  /** Something happens in a task. */
  say(id: string, ...bodies: TaskEventBody[]): void {
    const log = this.logs.get(id)!;
    let state = this.states.get(id)!;
    for (const body of bodies) {
      const event: TaskEvent = { n: log.length + 1, t: Date.now(), ...body };
      log.push(event);
      state = reduce(state, event);
    }
    this.states.set(id, state);
    this.changed.fire(state);
    this.appended.fire(id);
  }

  send(id: string, text: string): Promise<void> {
    this.sent.push({ id, text });
    return Promise.resolve();
  }

  answerQuestion(id: string, question: string, answer: QuestionAnswer): Promise<void> {
    checkMayAnswer(this.states.get(id)!, question, answer);
    this.say(id, { type: 'answered', id: question, answer }, { type: 'settled', id: question, by: 'user' });
    return Promise.resolve();
  }

  interrupt(id: string): Promise<void> {
    this.say(id, { type: 'interrupting' });
    return Promise.resolve();
  }

  followUp(id: string, text: string, { conversation }: FollowUp = {}): Promise<TaskState> {
    const state = this.states.get(id)!;
    if (!hasEnded(state))
      return Promise.reject(new SallyportError('task_busy', 'The task is not over yet.', 'Wait for it.'));
    this.say(id, {
      type: 'reopened',
      message: newTaskId(Date.now()),
      text,
      conversation: conversation ?? state.conversation !== undefined,
      budgetUsd: state.budgetUsd,
    });
    return Promise.resolve(this.states.get(id)!);
  }

  /** What was continued from, and with what. */
  readonly continued: { id: string; turn: number; prompt: string }[] = [];

  continueFrom(id: string, { turn }: { turn: number }, prompt: string): Promise<TaskState> {
    this.continued.push({ id, turn, prompt });
    const { repository } = this.states.get(id)!.spec;
    return Promise.resolve(this.add(aSpec({ title: titleOf(prompt), prompt, repository })));
  }

  commitLeftovers(id: string, message: string): Promise<TaskState> {
    const { leftovers, spec } = this.states.get(id)!;
    if (leftovers === undefined)
      return Promise.reject(new SallyportError('conflict', 'Nothing is left uncommitted.', 'Go on.'));
    const { commit, parent, files } = leftovers;
    const { name, email } = spec.identity;
    this.say(id, {
      type: 'leftovers_committed',
      commit: {
        sha: commit.replaceAll(/./g, (digit) => (15 - parseInt(digit, 16)).toString(16)),
        parents: [parent],
        branch: spec.branch,
        author: name,
        email,
        date: Date.now(),
        subject: message.split('\n', 1)[0] ?? '',
        body: '',
        files,
      },
    });
    return Promise.resolve(this.states.get(id)!);
  }

  /** The shell in every sandbox. */
  shell: Terminal | undefined;

  terminal(): Promise<Terminal> {
    if (this.shell !== undefined) return Promise.resolve(this.shell);
    return Promise.reject(new SallyportError('conflict', 'No sandbox runs.', 'Start a task.'));
  }

  stop(id: string): Promise<void> {
    this.stopped.push(id);
    return Promise.resolve();
  }

  remove(id: string): Promise<void> {
    this.states.delete(id);
    this.removed.fire(id);
    return Promise.resolve();
  }

  async *events(id: string, after: number, signal: AbortSignal): AsyncGenerator<TaskEvent[]> {
    this.readers += 1;
    try {
      for (let at = after; !signal.aborted;) {
        const log = this.logs.get(id) ?? [];
        if (log.length > at) {
          yield log.slice(at);
          at = log.length;
          continue;
        }
        await new Promise<void>((resolve) => {
          const listening = this.appended.event(() => {
            listening.dispose();
            resolve();
          });
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    } finally {
      this.readers -= 1;
    }
  }

  result(id: string): Range | undefined {
    const state = this.states.get(id);
    const newest = state?.commits.findLast(({ sha }) => state.imported.includes(sha));
    return state && newest && { from: state.spec.snapshot.commit, to: newest.sha };
  }

  leftovers(id: string): Range | undefined {
    const left = this.states.get(id)?.leftovers;
    return left && { from: left.parent, to: left.commit };
  }

  changes(): Promise<DetailedChange[]> {
    return Promise.resolve(this.detailed);
  }

  patch(): Promise<{ text: string; truncated: boolean }> {
    return Promise.resolve({ text: this.patchText, truncated: false });
  }

  blob(_id: string, oid: string): Promise<Uint8Array> {
    const bytes = this.blobs.get(oid);
    if (bytes !== undefined) return Promise.resolve(bytes);
    return Promise.reject(new SallyportError('internal', `No blob ${oid}`, 'None.'));
  }

  /** By task. */
  readonly reviews = new Map<string, FakeTaskReview>();

  review(id: string): FakeTaskReview {
    const known = this.reviews.get(id) ?? new FakeTaskReview();
    this.reviews.set(id, known);
    return known;
  }

  /** What is done with commits beyond this machine, of every task. */
  publisher: TaskPublishing | undefined;

  publishing(): TaskPublishing {
    if (this.publisher !== undefined) return this.publisher;
    throw new SallyportError('no_repository', 'There is no repository.', 'None.');
  }

  acceptAsBranch(id: string, branch: string): Promise<{ branch: string }> {
    this.accepted.push({ id, branch });
    return Promise.resolve({ branch });
  }

  readonly answers: { id: string; answer: EgressAnswer }[] = [];
  readonly budgets: { id: string; usd: number | null }[] = [];
  /** How often the day's budget was looked at anew. */
  budgetLooks = 0;
  settings: WorkspaceSettings = { egressRules: [], acceptedSecrets: [] };

  answerEgress(id: string, answer: EgressAnswer): Promise<void> {
    this.answers.push({ id, answer });
    if ('refuse' in answer) this.say(id, { type: 'egress_refused', host: answer.refuse });
    else if ('rule' in answer)
      this.say(id, { type: 'egress_allowed', rule: answer.rule, scope: answer.allow });
    else this.say(id, { type: 'egress_allowed', mode: answer.mode, scope: 'task' });
    return Promise.resolve();
  }

  setBudget(id: string, usd: number | null): Promise<void> {
    this.budgets.push({ id, usd });
    this.say(id, { type: 'budget_set', usd });
    if (this.task(id)?.paused !== undefined) this.say(id, { type: 'continued' });
    return Promise.resolve();
  }

  spentToday(): Promise<number> {
    return Promise.resolve(0);
  }

  budgetsChanged(): Promise<void> {
    this.budgetLooks += 1;
    return Promise.resolve();
  }

  workspaceSettings(): Promise<WorkspaceSettings> {
    return Promise.resolve(this.settings);
  }

  changeWorkspaceSettings(_repositoryPath: string, change: Partial<WorkspaceSettings>): Promise<void> {
    this.settings = { ...this.settings, ...change };
    return Promise.resolve();
  }

  /** Whether the last doctor was to call the model. */
  calledModel: boolean | undefined;

  doctor(options: { callModel?: boolean } = {}): Promise<DoctorCheck[]> {
    this.calledModel = options.callModel === true;
    return Promise.resolve([{ name: 'Engine', ok: false, detail: 'Nothing answers.', mend: 'Start it.' }]);
  }

  /** How often it was disposed of. */
  disposed = 0;

  dispose(): void {
    this.disposed += 1;
    this.changed.dispose();
  }
}

/** A change of a file of text. */
export function aChange(path: string, before: string | undefined, after: string | undefined): DetailedChange {
  const none = '0'.repeat(40);
  return {
    path,
    status: before === undefined ? 'added' : after === undefined ? 'deleted' : 'modified',
    added: 1,
    removed: 1,
    oldMode: before === undefined ? '000000' : '100644',
    newMode: after === undefined ? '000000' : '100644',
    oldBlob: before === undefined ? none : shaOf(before),
    newBlob: after === undefined ? none : shaOf(after),
    binary: false,
    rawPath: Buffer.from(path),
  };
}
