import { asSallyportError } from '../base/errors.ts';
import type { Disposable } from '../base/disposable.ts';
import { SessionId } from '../protocol/grammar.ts';
import { CommitWatch } from './commitWatch.ts';
import type { EventLog } from './eventLog.ts';
import { keepLeftovers } from './leftovers.ts';
import { settledSession } from './sessionFile.ts';
import { headOf } from './workspace.ts';

export interface WorkRecordParts {
  log: EventLog;
  workspace: string;
  /** The commit that the task starts from. */
  start: string;
  /** Further commits that were told before, the newest last. */
  known: readonly string[];
  /** Where the agent writes down a conversation. */
  sessionFile: (id: string) => string;
}

/** Tells in the log what the work comes to: commits as they appear, where each turn ended, and at last what is not committed. */
export class WorkRecord implements Disposable {
  private readonly parts: WorkRecordParts;
  private readonly watch: CommitWatch;
  /** The turn whose end was told last. */
  private checked = 0;

  constructor(parts: WorkRecordParts) {
    this.parts = parts;
    const { log, workspace, start, known } = parts;
    this.watch = new CommitWatch(
      workspace,
      start,
      (commits) => {
        for (const commit of commits) log.emit({ type: 'commit', commit });
      },
      known,
    );
  }

  /** Begins to watch for commits. Those that are there already are told too. */
  begin(): Promise<void> {
    return this.watch.begin();
  }

  /** The agent waits for its user: it may not have written down yet what it said. Never rejects. */
  async turnEnded(turn: number): Promise<void> {
    // What is not seen now is announced a little later.
    await this.watch.scan().catch(() => undefined);
    await this.checkpoint(turn, true);
  }

  /** Announces the last commits, and keeps what is not committed. Nothing is watched any more then. */
  async end(turn: number): Promise<void> {
    try {
      await this.watch.scan();
    } catch (thrown) {
      this.notice('error', `The last look for commits failed: ${asSallyportError(thrown).message}`);
    } finally {
      this.watch.dispose();
    }
    await this.checkpoint(turn, false);
    const { log, workspace, start } = this.parts;
    try {
      const leftovers = await keepLeftovers(workspace, start);
      if (leftovers !== undefined) log.emit({ type: 'leftovers', ...leftovers });
    } catch (thrown) {
      this.notice('error', `Uncommitted changes could not be kept: ${asSallyportError(thrown).message}`);
    }
  }

  dispose(): void {
    this.watch.dispose();
  }

  /** Says where a turn has come to, so that one can go back there. Never rejects. */
  private async checkpoint(turn: number, isRunning: boolean): Promise<void> {
    if (turn < 1 || turn === this.checked) return;
    const { log, workspace, start, sessionFile } = this.parts;
    try {
      const id = SessionId.safeParse(log.session);
      const session = id.success ? await settledSession(sessionFile(id.data), isRunning) : undefined;
      const head = await headOf(workspace, start);
      const left = await keepLeftovers(workspace, start);
      log.emit({
        type: 'checkpoint',
        turn,
        ...head,
        ...(left?.parent === head.commit ? { uncommitted: left.commit } : {}),
        ...(id.success && session !== undefined ? { session: { id: id.data, bytes: session } } : {}),
      });
      this.checked = turn;
    } catch (thrown) {
      this.notice('warning', `The end of turn ${turn} is no checkpoint: ${asSallyportError(thrown).message}`);
    }
  }

  private notice(level: 'warning' | 'error', text: string): void {
    this.parts.log.emit({ type: 'notice', level, text });
  }
}
