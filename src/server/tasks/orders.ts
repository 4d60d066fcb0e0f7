import { SallyportError } from '../../base/errors.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { QuestionAnswer } from '../../protocol/question.ts';
import type { EgressAnswerBody } from '../../protocol/runnerApi.ts';
import type { Terminal, TerminalSize } from '../../protocol/terminal.ts';
import { hasEnded } from '../../protocol/taskState.ts';
import type { Admission } from '../../runner/admission.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { User } from '../principal.ts';
import type { Changes } from './changes.ts';
import { checkOpen, type Intake } from './intake.ts';
import type { Pipeline } from './pipeline.ts';
import type { Removals } from './removals.ts';
import { type Choice, chosenRepository } from './repositoryChoice.ts';
import type { TaskChange } from './serverTasks.ts';
import { checkRule } from './submissions.ts';
import type { TaskAccess } from './taskAccess.ts';
import type { TaskRows } from './taskRows.ts';
import { isOver } from './taskViews.ts';

export interface OrderParts {
  rows: TaskRows;
  access: TaskAccess;
  service: ServedTasks;
  admission: Admission;
  pipeline: Pipeline;
  intake: Intake;
  removals: Removals;
  changes: Changes;
  /** Waits until nothing is deleted from the repository of a task. */
  unpruned: (id: TaskId) => Promise<void>;
  /** Aborts when the server shuts down. */
  leaving: AbortSignal;
}

/** What users have done with their tasks. Throws `task_unknown` and `forbidden` for those of others. */
export class Orders {
  private readonly parts: OrderParts;

  constructor(parts: OrderParts) {
    this.parts = parts;
  }

  change(user: User, id: string, { shared, priority, title }: TaskChange): void {
    const { rows, access, admission, changes } = this.parts;
    const { row } = access.writable(user, id);
    rows.change(id, {
      ...(shared === undefined ? {} : { shared }),
      ...(priority === undefined ? {} : { priority }),
      ...(title === undefined ? {} : { submission: { ...row.submission, title } }),
    });
    if (priority !== undefined) {
      const looksFor = row.finding?.task;
      if (looksFor !== undefined) rows.change(looksFor, { priority });
      admission.decide();
    }
    changes.moved(id);
  }

  async cancel(user: User, id: string): Promise<void> {
    const { rows, access, service, intake, pipeline, changes } = this.parts;
    const { row } = access.writable(user, id);
    await intake.settled(id);
    await pipeline.cancel(id);
    const looksFor = row.finding?.task ?? rows.get(id)?.finding?.task;
    if (looksFor !== undefined && service.task(looksFor) !== undefined) await service.stop(looksFor);
    const now = rows.get(id);
    if (now?.stage === 'task') {
      if (service.task(id) !== undefined) await service.stop(id);
    } else if (now !== undefined && now.stage !== 'failed') {
      rows.change(id, { stage: 'cancelled' });
      changes.moved(id);
    }
  }

  /** Resolves to the new task. */
  async retry(user: User, id: string): Promise<TaskId> {
    const { rows, access, intake } = this.parts;
    const { row, state } = access.writable(user, id);
    if (!isOver({ row, state }))
      throw new SallyportError('task_busy', 'The task is not over yet.', 'Wait for its end, or cancel it.');
    const { resume, ...submission } = row.submission;
    const { source } = submission;
    const resumes = resume !== undefined && rows.get(resume) !== undefined;
    return await intake.take(user, {
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

  async confirm(user: User, id: string, choice: Choice): Promise<void> {
    const { rows, access, pipeline, changes, leaving } = this.parts;
    checkOpen(leaving);
    const { row } = access.writable(user, id);
    const found = row.finding?.found;
    if (row.stage !== 'confirming' || found === undefined)
      throw new SallyportError(
        'conflict',
        'The task does not wait for a choice of its repository.',
        'Look at its stage.',
      );
    const chosen = chosenRepository(found, choice);
    rows.change(id, {
      stage: 'fetching',
      finding: { ...row.finding, found: chosen },
      url: pipeline.urlOf(chosen),
    });
    changes.moved(id);
    await pipeline.idle(id);
    void pipeline.run(id);
  }

  async remove(user: User, id: string, force: boolean): Promise<void> {
    const known = this.parts.access.writable(user, id);
    if (!force && !isOver(known))
      throw new SallyportError('task_busy', 'The task is not over yet.', 'Cancel it first, then remove it.');
    await this.parts.removals.remove(id, force);
  }

  async send(
    user: User,
    id: string,
    text: string,
    options?: { conversation?: boolean | undefined },
  ): Promise<void> {
    const { access, service, intake, changes, unpruned, leaving } = this.parts;
    checkOpen(leaving);
    const { row, state } = access.writable(user, id);
    if (state === undefined || row.stage !== 'task')
      throw new SallyportError(
        'conflict',
        'The task has not begun, so that its agent takes no message.',
        'Wait until it runs, or submit a new task.',
      );
    if (hasEnded(state)) {
      // It counts as one of theirs again, and takes its place in the queue.
      intake.checkRoom(row.owner);
      await unpruned(id);
      await service.followUp(id, text, { by: user.name, ...options });
      changes.watch.wake(id);
    } else await service.send(id, text, { by: user.name });
  }

  async commitLeftovers(user: User, id: string, message: string): Promise<void> {
    const { service, unpruned, leaving } = this.parts;
    checkOpen(leaving);
    this.checkLog(user, id);
    await unpruned(id);
    await service.commitLeftovers(id, message);
  }

  async answerQuestion(user: User, id: string, question: string, answer: QuestionAnswer): Promise<void> {
    this.checkLog(user, id);
    await this.parts.service.answerQuestion(id, question, answer, { by: user.name });
  }

  async interrupt(user: User, id: string): Promise<void> {
    this.checkLog(user, id);
    await this.parts.service.interrupt(id, { by: user.name });
  }

  async terminal(user: User, id: string, size: TerminalSize, signal?: AbortSignal): Promise<Terminal> {
    this.checkLog(user, id);
    return await this.parts.service.terminal(id, size, signal);
  }

  async answerEgress(user: User, id: string, answer: EgressAnswerBody): Promise<void> {
    this.checkLog(user, id);
    if ('rule' in answer) checkRule(user, answer.rule);
    await this.parts.service.answerEgress(id, answer);
  }

  async setBudget(user: User, id: string, usd: number | null): Promise<void> {
    this.checkLog(user, id);
    await this.parts.service.setBudget(id, usd);
  }

  /** Throws `conflict` besides, for a task that has no log. */
  private checkLog(user: User, id: string): void {
    this.parts.access.writable(user, id);
    this.parts.access.state(user, id);
  }
}
