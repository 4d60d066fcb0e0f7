import type { TaskPage, TaskView } from '../../protocol/runnerApi.ts';
import type { User } from '../principal.ts';
import type { Owners } from './owners.ts';
import type { TaskQuery } from './serverTasks.ts';
import type { TaskAccess } from './taskAccess.ts';
import type { TaskRow, TaskRows } from './taskRows.ts';
import { afterCursor, countsOf, cursorOf, matches, newestFirst, viewOf, type Known } from './taskViews.ts';

/** What each user sees of which tasks. */
export class Listing {
  private readonly rows: TaskRows;
  private readonly access: TaskAccess;
  private readonly owners: Owners;

  constructor(rows: TaskRows, access: TaskAccess, owners: Owners) {
    this.rows = rows;
    this.access = access;
    this.owners = owners;
  }

  /** With `state`. */
  get(user: User, id: string): TaskView {
    return this.view(this.access.readable(user, id), true);
  }

  /** As it is in lists. */
  viewOf(row: Readonly<TaskRow>): TaskView {
    return this.view(this.access.known(row));
  }

  list(user: User, query: TaskQuery): TaskPage {
    const ofAnyState = this.visible(user).filter((known) => matches(known, { ...query, states: undefined }));
    // Who looks at those that run sees how many others there are.
    const counts = countsOf(ofAnyState);
    const visible = ofAnyState.filter((known) => matches(known, query));
    visible.sort((a, b) => newestFirst(a.row, b.row));
    const { cursor, limit } = query;
    const isAfter = cursor === undefined ? () => true : afterCursor(cursor);
    const rest = visible.filter(({ row }) => isAfter(row));
    const page = rest.slice(0, limit);
    const last = page.at(-1);
    return {
      tasks: page.map((known) => this.view(known)),
      ...(last === undefined || rest.length <= limit ? {} : { next: cursorOf(last.row) }),
      counts,
    };
  }

  /** Oldest first. */
  all(user: User): TaskView[] {
    return this.visible(user)
      .sort((a, b) => newestFirst(b.row, a.row))
      .map((known) => this.view(known));
  }

  /** Of all users. */
  counts(): { queued: number; running: number; all: number } {
    const all = [...this.rows.all()].filter(({ finds }) => finds === undefined);
    const { queued, running } = countsOf(all.map((row) => this.access.known(row)));
    return { queued, running, all: all.length };
  }

  private visible(user: User): Known[] {
    return [...this.rows.all()]
      .filter((row) => row.finds === undefined && !row.removing && this.access.isReadable(user, row))
      .map((row) => this.access.known(row));
  }

  private view(known: Known, withState = false): TaskView {
    return viewOf(known, this.owners.get(known.row.owner)?.name ?? '', withState);
  }
}
