import { asSallyportError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { TaskId } from '../../protocol/grammar.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { ServedTasks } from '../../runner/servedTasks.ts';
import type { Owners } from './owners.ts';
import { newRow, type TaskRow, type TaskRows } from './taskRows.ts';

export interface RecoveryParts {
  rows: TaskRows;
  owners: Owners;
  service: ServedTasks;
  remove: (id: TaskId, force: boolean) => Promise<void>;
  isRemoved: (id: TaskId) => boolean;
  /** A row was made. */
  moved: (id: TaskId) => void;
  log: Logger;
}

/** What has to become of a task that an earlier server has left; pure. `go on` is for one whose log has not begun. */
export type Left = 'as it is' | 'remove' | 'remove by force' | 'log lost' | 'has begun' | 'go on';

export function leftOver(
  row: Pick<TaskRow, 'stage' | 'finds' | 'removing'>,
  { hasLog, isOrphan }: { hasLog: boolean; isOrphan: boolean },
): Left {
  if (isOrphan) return 'remove by force';
  if (row.removing) return 'remove';
  if (row.stage === 'task') return hasLog || row.finds !== undefined ? 'as it is' : 'log lost';
  if (row.stage === 'fetching') return hasLog ? 'has begun' : 'go on';
  return row.stage === 'finding' ? 'go on' : 'as it is';
}

/** Makes rows and logs fit each other, as far as a server that was killed, or a backup, has left them apart. */
export class Recovery {
  private readonly parts: RecoveryParts;
  /** Logs that are nobody's; it is told once. */
  private readonly strays = new Set<TaskId>();

  constructor(parts: RecoveryParts) {
    this.parts = parts;
  }

  /** Resolves to the tasks that have to be taken to the beginning of their log. */
  async begin(): Promise<TaskId[]> {
    const { rows, service, remove } = this.parts;
    const ready: TaskId[] = [];
    for (const row of [...rows.all()]) {
      const { id } = row;
      const hasLog = service.task(id) !== undefined;
      const isOrphan = row.finds !== undefined && rows.get(row.finds) === undefined;
      const left = leftOver(row, { hasLog, isOrphan });
      switch (left) {
        case 'remove':
        case 'remove by force':
          // Whoever was removing it may have been refused: a sandbox can hold the only copy of a commit.
          await remove(id, left === 'remove by force').catch((thrown: unknown) => this.warn(id, thrown));
          break;
        case 'log lost':
          rows.change(id, { stage: 'failed', problem: logLost });
          break;
        case 'has begun':
          rows.change(id, { stage: 'task' });
          break;
        case 'go on':
          ready.push(id);
          break;
        case 'as it is':
          break;
      }
    }
    for (const state of service.tasks()) this.adopt(state);
    return ready;
  }

  /** Those that were taken up from their sandboxes are found after the start. Never throws. */
  heard(state: TaskState): void {
    const { id } = state.spec;
    const { rows, isRemoved } = this.parts;
    if (rows.get(id) !== undefined || isRemoved(id)) return;
    try {
      this.adopt(state);
    } catch (thrown) {
      this.warn(id, thrown);
    }
  }

  /** A log without a row is of a store that was restored from an older backup: it is the first administrator's. */
  private adopt({ spec, startedAt }: TaskState): void {
    const { rows, owners, moved, log } = this.parts;
    if (rows.get(spec.id) !== undefined) return;
    const owner = owners.firstAdministrator();
    if (owner === undefined) {
      if (!this.strays.has(spec.id))
        log.warn(`The task ${spec.id} is nobody's, and there is no administrator yet.`);
      this.strays.add(spec.id);
      return;
    }
    const { repository, snapshot, prompt, title, branch } = spec;
    rows.insert(
      newRow({
        id: spec.id,
        owner: owner.id,
        stage: 'task',
        submission: {
          prompt,
          title,
          branch,
          source: {
            kind: 'snapshot',
            repository: { id: repository.id, name: repository.name || 'repository' },
            snapshot,
          },
          priority: 0,
          shared: false,
          conversation: spec.conversation === true,
        },
        createdAt: startedAt,
      }),
    );
    log.warn(`The task ${spec.id} has a log and was in no list: it is the administrator's now.`);
    moved(spec.id);
  }

  private warn(id: TaskId, thrown: unknown): void {
    this.parts.log.warn(`Task ${id}: ${asSallyportError(thrown).message}`);
  }
}

const logLost = {
  code: 'log_damaged',
  message: 'The log of the task is not in the data folder any more.',
  mend: 'Restore it from a backup, or submit the task again.',
};
