import { SallyportError } from '../../base/errors.ts';
import type { TaskView } from '../../protocol/runnerApi.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { User } from '../principal.ts';
import type { TaskRow, TaskRows } from './taskRows.ts';
import type { Known } from './taskViews.ts';

/** Who may see and do what with which task. */
export class TaskAccess {
  private readonly rows: TaskRows;
  private readonly stateOf: (id: string) => TaskState | undefined;

  constructor(rows: TaskRows, stateOf: (id: string) => TaskState | undefined) {
    this.rows = rows;
    this.stateOf = stateOf;
  }

  mayRead(user: User, { owner, shared }: Pick<TaskView, 'owner' | 'shared'>): boolean {
    return user.role === 'admin' || owner.id === user.id || shared;
  }

  known(row: Readonly<TaskRow>): Known {
    return { row, state: this.stateOf(row.id) };
  }

  isReadable(user: User, row: Readonly<TaskRow>): boolean {
    // A search is shown to whom its task is shown.
    const { owner, shared } = (row.finds === undefined ? undefined : this.rows.get(row.finds)) ?? row;
    return this.mayRead(user, { owner: { id: owner, name: '' }, shared });
  }

  /** Throws `task_unknown` alike for a task that is not there and for one that this user may not see. */
  readable(user: User, id: string): Known {
    const row = this.rows.get(id);
    if (row === undefined || row.removing || !this.isReadable(user, row)) throw unknownTask(id);
    return this.known(row);
  }

  /** Throws `forbidden` for a task that this user may only read. */
  writable(user: User, id: string): Known {
    const known = this.readable(user, id);
    checkWriter(user);
    if (user.role === 'admin' || known.row.owner === user.id) return known;
    throw new SallyportError(
      'forbidden',
      'The task is shared with you to be read, and it is not yours.',
      'Ask its owner, or an administrator of this runner.',
    );
  }

  /** Throws `conflict` for a task that has no log yet. */
  state(user: User, id: string): TaskState {
    const { state } = this.readable(user, id);
    if (state !== undefined) return state;
    throw new SallyportError(
      'conflict',
      'The task has not begun yet, so there is nothing of it to show.',
      'Wait until its stage is "task".',
    );
  }
}

export function checkWriter({ role }: User): void {
  if (role !== 'viewer') return;
  throw new SallyportError(
    'forbidden',
    'Your role lets you look at tasks, and not change them.',
    'Ask an administrator of this runner for another role.',
  );
}

export function unknownTask(id: string): SallyportError {
  return new SallyportError(
    'task_unknown',
    `There is no task ${id}, or you may not see it.`,
    'Look at the list of tasks.',
  );
}
