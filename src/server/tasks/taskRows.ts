import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import * as z from 'zod/mini';
import { TaskId } from '../../protocol/grammar.ts';
import { FoundRepository, PullRequestView, Submission, TaskStage } from '../../protocol/runnerApi.ts';
import { atomically } from '../store.ts';

const ProblemOfTask = z.object({ code: z.string(), message: z.string(), mend: z.string() });

const Finding = z.object({ task: z.optional(TaskId), found: z.optional(FoundRepository) });

/** What the server knows of a task besides its log. */
export interface TaskRow {
  readonly id: TaskId;
  /** Id of a user. */
  readonly owner: string;
  shared: boolean;
  stage: TaskStage;
  priority: number;
  /** As it came, but for a title that was changed. */
  submission: Submission;
  finding: z.infer<typeof Finding> | undefined;
  problem: z.infer<typeof ProblemOfTask> | undefined;
  pushedBranch: string | undefined;
  pushedCommit: string | undefined;
  pullRequest: PullRequestView | undefined;
  readonly retryOf: TaskId | undefined;
  /** Of the repository that was fetched. */
  url: string | undefined;
  /** Stands for the commits that its owner has fetched from here: `commitsOf`. */
  fetched: string | undefined;
  /** The task for which this one finds the repository: it is in no list. */
  readonly finds: TaskId | undefined;
  /** It is being removed, or was when the server ended. */
  removing: boolean;
  readonly createdAt: number;
}

const Stored = z.object({
  id: TaskId,
  owner: z.string(),
  shared: z.number(),
  stage: TaskStage,
  priority: z.number(),
  submission: z.string(),
  finding: z.nullable(z.string()),
  problem: z.nullable(z.string()),
  pushed_branch: z.nullable(z.string()),
  pushed_commit: z.nullable(z.string()),
  pull_request: z.nullable(z.string()),
  retry_of: z.nullable(TaskId),
  url: z.nullable(z.string()),
  fetched: z.nullable(z.string()),
  finds: z.nullable(TaskId),
  removing: z.number(),
  created_at: z.number(),
});

const columns = [
  'owner',
  'shared',
  'stage',
  'priority',
  'submission',
  'finding',
  'problem',
  'pushed_branch',
  'pushed_commit',
  'pull_request',
  'retry_of',
  'url',
  'fetched',
  'finds',
  'removing',
  'created_at',
] as const;

/** A row with what is known of a new task; the rest is as it is in the beginning. */
export function newRow(
  known: Pick<TaskRow, 'id' | 'owner' | 'stage' | 'submission' | 'createdAt'> & Partial<TaskRow>,
): TaskRow {
  return {
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
    ...known,
  };
}

/** The table of tasks. All rows are in memory, as the tasks' states are; what is changed is in the store before it is seen. */
export class TaskRows {
  private readonly store: DatabaseSync;
  private readonly rows = new Map<TaskId, TaskRow>();

  /** Throws for a row that this version cannot read. */
  constructor(store: DatabaseSync) {
    this.store = store;
    for (const raw of store.prepare('SELECT * FROM tasks ORDER BY created_at, id').all()) {
      const row = decode(raw);
      this.rows.set(row.id, row);
    }
  }

  get(id: TaskId): Readonly<TaskRow> | undefined {
    return this.rows.get(id);
  }

  /** Oldest first. */
  all(): IterableIterator<Readonly<TaskRow>> {
    return this.rows.values();
  }

  /** @param also what is written together with the row, or not at all */
  insert(row: TaskRow, also: () => void = () => undefined): void {
    const names = ['id', ...columns];
    atomically(this.store, () => {
      this.store
        .prepare(`INSERT INTO tasks (${names.join()}) VALUES (${names.map(() => '?').join()})`)
        .run(row.id, ...encode(row));
      also();
    });
    this.rows.set(row.id, row);
  }

  /** Undefined when there is no such task any more. */
  change(id: TaskId, change: Partial<Omit<TaskRow, 'id'>>): Readonly<TaskRow> | undefined {
    const old = this.rows.get(id);
    if (old === undefined) return undefined;
    const row = { ...old, ...change };
    this.store
      .prepare(`UPDATE tasks SET ${columns.map((name) => `${name} = ?`).join()} WHERE id = ?`)
      .run(...encode(row), id);
    this.rows.set(id, row);
    return row;
  }

  delete(id: TaskId): void {
    this.store.prepare('DELETE FROM tasks WHERE id = ?').run(id);
    this.rows.delete(id);
  }
}

function encode(row: TaskRow): (string | number | null)[] {
  const json = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));
  return [
    row.owner,
    Number(row.shared),
    row.stage,
    row.priority,
    JSON.stringify(row.submission),
    json(row.finding),
    json(row.problem),
    row.pushedBranch ?? null,
    row.pushedCommit ?? null,
    json(row.pullRequest),
    row.retryOf ?? null,
    row.url ?? null,
    row.fetched ?? null,
    row.finds ?? null,
    Number(row.removing),
    row.createdAt,
  ];
}

function decode(raw: Record<string, SQLOutputValue>): TaskRow {
  const row = Stored.parse(raw);
  const json = <T>(schema: z.ZodMiniType<T>, text: string | null): T | undefined =>
    text === null ? undefined : schema.parse(JSON.parse(text));
  return {
    id: row.id,
    owner: row.owner,
    shared: row.shared !== 0,
    stage: row.stage,
    priority: row.priority,
    submission: Submission.parse(JSON.parse(row.submission)),
    finding: json(Finding, row.finding),
    problem: json(ProblemOfTask, row.problem),
    pushedBranch: row.pushed_branch ?? undefined,
    pushedCommit: row.pushed_commit ?? undefined,
    pullRequest: json(PullRequestView, row.pull_request),
    retryOf: row.retry_of ?? undefined,
    url: row.url ?? undefined,
    fetched: row.fetched ?? undefined,
    finds: row.finds ?? undefined,
    removing: row.removing !== 0,
    createdAt: row.created_at,
  };
}
