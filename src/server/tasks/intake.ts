import { SallyportError } from '../../base/errors.ts';
import { readRemoteUrl } from '../../git/remoteUrl.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { Submission } from '../../protocol/runnerApi.ts';
import { newTaskId } from '../../protocol/task.ts';
import type { Admission } from '../../runner/admission.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { ServerConfig } from '../config.ts';
import type { User } from '../principal.ts';
import type { IdempotencyKeys } from './idempotency.ts';
import type { Pipeline } from './pipeline.ts';
import { checkSubmission, hashOf, limitsOf } from './submissions.ts';
import { checkWriter, type TaskAccess } from './taskAccess.ts';
import { newRow, type TaskRow, type TaskRows } from './taskRows.ts';
import { kindOf } from './taskViews.ts';

/** How many tasks a user may have that are not over. */
const maxOpen = 2000;
const maxKeyLength = 200;

export interface IntakeParts {
  config: Pick<ServerConfig, 'queue' | 'limits' | 'privateForges'>;
  rows: TaskRows;
  keys: IdempotencyKeys;
  access: TaskAccess;
  pipeline: Pipeline;
  service: ServedTasks;
  admission: Admission;
  /** Whether repositories can be looked for. */
  finds: boolean;
  /** Waits until nothing is deleted from the repository of a task. */
  unpruned: (id: TaskId) => Promise<void>;
  /** A row was made. */
  moved: (id: TaskId) => void;
  /** Aborts when the server shuts down. */
  leaving: AbortSignal;
  now: () => number;
}

/** A submission, and whose task it becomes. */
export interface Taken {
  owner: Pick<User, 'id'>;
  submission: Submission;
  key?: string | undefined;
  retryOf?: TaskId;
  /** Of the repository that the snapshot was fetched from. */
  url?: string | undefined;
}

/** Makes tasks of submissions: each one once, and no more than there is room for. */
export class Intake {
  private readonly parts: IntakeParts;
  /** Submissions that are being answered. */
  private readonly submitting = new Map<TaskId, Promise<void>>();

  constructor(parts: IntakeParts) {
    this.parts = parts;
  }

  /** Resolves to the task, which is the one from before when the same was submitted already. */
  async take(user: User, task: Taken): Promise<TaskId> {
    const { config, admission, access, rows, keys, pipeline, finds, leaving, moved, now } = this.parts;
    checkOpen(leaving);
    checkWriter(user);
    const { owner, submission, key, retryOf } = task;
    checkSubmission(user, submission, finds);
    const { source } = submission;
    if (source.kind === 'url') readRemoteUrl(source.url, config.privateForges);
    admission.check(limitsOf(submission, config).memoryBytes);
    const { id: wanted, ...rest } = submission;
    const hash = hashOf(submission);
    const again = this.repeated(user, submission, hash, key);
    if (again !== undefined) {
      await this.submitting.get(again);
      return again;
    }
    // What was said in a task is for those who may speak with its agent.
    if (submission.resume !== undefined) access.writable(user, submission.resume);
    this.checkRoom(owner.id);
    const id = wanted ?? this.newId();
    const row = newRow({
      id,
      owner: owner.id,
      shared: submission.shared,
      stage: source.kind === 'find' ? 'finding' : 'fetching',
      priority: submission.priority,
      submission: rest,
      url: task.url ?? (source.kind === 'url' ? source.url : undefined),
      retryOf,
      createdAt: now(),
    });
    rows.insert(row, () => {
      if (key !== undefined) keys.remember(user.id, key, hash, id);
    });
    if (source.kind === 'snapshot') {
      const done = this.submitNow(row);
      this.submitting.set(id, done);
      done.catch(() => undefined).finally(() => this.submitting.delete(id));
      await done;
    } else void pipeline.run(id);
    moved(id);
    return id;
  }

  /** Resolves when no submission of this task is being answered; of any task when none is named. Never rejects. */
  async settled(id?: TaskId): Promise<void> {
    const under = [...this.submitting].filter(([task]) => id === undefined || task === id);
    await Promise.all(under.map(([, work]) => work.catch(() => undefined)));
  }

  /** Throws `too_many_requests` when that user has enough tasks that are not over. */
  checkRoom(owner: string): void {
    let open = 0;
    for (const row of this.parts.rows.all()) {
      if (row.owner !== owner || row.finds !== undefined) continue;
      const kind = kindOf(this.parts.access.known(row));
      if (kind === 'queued' || kind === 'running') open += 1;
    }
    if (open < maxOpen) return;
    throw new SallyportError(
      'too_many_requests',
      `There are ${open} tasks of yours that are not over.`,
      'Wait for some of them, or cancel them.',
    );
  }

  /** A task that cannot begin is none: whoever submits it is told why. */
  private async submitNow({ id }: TaskRow): Promise<void> {
    const { rows, keys, pipeline, service, unpruned, leaving } = this.parts;
    try {
      await unpruned(id);
      await pipeline.submitNow(id);
    } catch (thrown) {
      // What a server leaves undone that is being shut down is done by the next one.
      if (!leaving.aborted && service.task(id) === undefined) {
        keys.forgetTask(id);
        rows.delete(id);
      }
      throw thrown;
    }
  }

  /** The task that the same user has made of the same submission. Throws `conflict` for an id or a key that is taken. */
  private repeated(
    user: User,
    submission: Submission,
    hash: string,
    key: string | undefined,
  ): TaskId | undefined {
    const { rows, keys, service } = this.parts;
    if (key !== undefined) {
      checkKey(key);
      const known = keys.find(user.id, key, hash);
      if (known !== undefined) {
        if (rows.get(known) !== undefined) return known;
        throw new SallyportError(
          'conflict',
          'The idempotency key was used for a task that is removed by now.',
          'Use a new key.',
        );
      }
    }
    const { id } = submission;
    if (id === undefined) return undefined;
    const known = rows.get(id);
    if (known === undefined && service.task(id) === undefined) return undefined;
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
    const { rows, service, now } = this.parts;
    for (;;) {
      const id = newTaskId(now());
      if (rows.get(id) === undefined && service.task(id) === undefined) return id;
    }
  }
}

function checkKey(key: string): void {
  if (key.length > 0 && key.length <= maxKeyLength && /^[\x21-\x7e]+$/.test(key)) return;
  throw new SallyportError(
    'invalid_input',
    `An idempotency key has 1 to ${maxKeyLength} visible characters.`,
    'Use a random one, such as a UUID.',
  );
}

/** Throws `conflict` when the server shuts down. */
export function checkOpen(leaving: AbortSignal): void {
  if (!leaving.aborted) return;
  throw new SallyportError('conflict', 'The runner is shutting down.', 'Try again in a moment.');
}
