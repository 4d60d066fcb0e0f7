import { Emitter } from '../../base/event.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { User } from '../principal.ts';
import { repositoryOf } from './pipeline.ts';
import type { Publishable, PublishedTasks } from './seams.ts';
import { unknownTask } from './taskAccess.ts';
import type { TaskRow, TaskRows } from './taskRows.ts';
import { switchesOf } from './taskViews.ts';

/** What a publisher sees of the tasks. */
export class Publishing {
  private readonly rows: TaskRows;
  private readonly service: ServedTasks;
  private readonly user: (id: string) => User | undefined;
  private readonly changed = new Emitter<Publishable>();

  constructor(rows: TaskRows, service: ServedTasks, user: (id: string) => User | undefined) {
    this.rows = rows;
    this.service = service;
    this.user = user;
  }

  /** @param moved hears which task's row was changed */
  tasks(moved: (id: TaskId) => void): PublishedTasks {
    const say = (id: TaskId, change: Partial<TaskRow>): void => {
      if (this.rows.change(id, change) !== undefined) moved(id);
    };
    return {
      onDidChange: this.changed.event,
      all: () => [...this.rows.all()].flatMap((row) => this.publishable(row) ?? []),
      quarantineOf: (id) => {
        const row = this.rows.get(id);
        if (row === undefined) throw unknownTask(id);
        return this.service.quarantine(repositoryOf(row).id);
      },
      pushed: (id, pushedBranch, pushedCommit) => say(id, { pushedBranch, pushedCommit }),
      pullRequest: (id, pullRequest) => say(id, { pullRequest }),
      problem: (id, problem) => say(id, { problem }),
    };
  }

  tell(row: Readonly<TaskRow>): void {
    const publishable = this.publishable(row);
    if (publishable !== undefined) this.changed.fire(publishable);
  }

  private publishable(row: Readonly<TaskRow>): Publishable | undefined {
    const switches = switchesOf(row);
    if (row.stage !== 'task' || row.finds !== undefined || row.removing || !switches.autoPush)
      return undefined;
    const state = this.service.task(row.id);
    const owner = this.user(row.owner);
    if (state === undefined || owner === undefined || row.url === undefined) return undefined;
    return {
      state,
      url: row.url,
      base: state.spec.snapshot.headBranch,
      switches,
      owner,
      pushedBranch: row.pushedBranch,
      pushedCommit: row.pushedCommit,
      pullRequest: row.pullRequest,
    };
  }
}
