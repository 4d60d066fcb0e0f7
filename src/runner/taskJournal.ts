import type { RunnerBody, Stage } from '../protocol/taskEvent.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import { logLimitReached, type Ended } from './endings.ts';
import { isBulk, isNeeded, logLimitBytes, logReserveBytes } from './logLimit.ts';
import type { TaskLog, UnnumberedEvent } from './taskLog.ts';

export interface JournalOptions {
  state: TaskState;
  log: Pick<TaskLog, 'bytes' | 'append'>;
  /** Longest log of a task, in bytes. */
  logBytes?: number | undefined;
  /** The log has no room for more; called again and again, with the end that the task is to come to. */
  onFull: (end: Ended) => void;
}

/**
 * What the life of one task writes into its log, and the state that comes of it. Whatever reads a container, and how often:
 * each of its events is taken once; and a task ends once, the first word on it standing.
 */
export class TaskJournal {
  private current: TaskState;
  private readonly log: Pick<TaskLog, 'bytes' | 'append'>;
  private readonly logBytes: number;
  private readonly onFull: (end: Ended) => void;
  private taken: number;
  private takenOfGateway: number;
  private endTaken: boolean;
  private decided: Ended | undefined;
  private closed = false;

  constructor({ state, log, logBytes = logLimitBytes, onFull }: JournalOptions) {
    this.current = state;
    this.log = log;
    this.logBytes = logBytes;
    this.onFull = onFull;
    this.taken = state.lastSandboxEvent;
    this.takenOfGateway = state.lastGatewayEvent;
    this.endTaken = hasEnded(state);
  }

  get state(): TaskState {
    return this.current;
  }

  /** The fold is fed by the log, so that the state holds only what is in the file. */
  fold(state: TaskState): void {
    this.current = state;
  }

  /** The number of the sandbox's last event that went to the log, or was left out of one that is too long. */
  get lastTaken(): number {
    return Math.max(this.current.lastSandboxEvent, this.taken);
  }

  /** Why this process ends the task, whatever its sandbox says of its end. */
  get verdict(): Ended | undefined {
    return this.decided;
  }

  /** Decides how the task ends; false when that was decided, or said, before. */
  decide(end: Ended): boolean {
    if (this.decided !== undefined || this.endTaken) return false;
    this.decided = end;
    return true;
  }

  say(body: RunnerBody): Promise<void> {
    return this.append([{ ...body, t: Date.now() }]);
  }

  progress(stage: Stage, text: string): Promise<void> {
    if (text === this.current.progress) return Promise.resolve();
    return this.say({ type: 'progress', stage, text });
  }

  append(events: readonly UnnumberedEvent[]): Promise<void> {
    if (this.closed) return Promise.resolve();
    const room = this.logBytes - this.log.bytes;
    if (room <= 0) this.onFull(logLimitReached(this.logBytes));
    const fresh: UnnumberedEvent[] = [];
    for (const event of events) {
      if (!this.isFresh(event)) continue;
      if (room <= 0 && (room < -logReserveBytes ? !isNeeded(event) : isBulk(event))) continue;
      fresh.push(event.type === 'ended' ? this.judged(event) : event);
    }
    return fresh.length === 0 ? Promise.resolve() : this.log.append(fresh);
  }

  /** Nothing goes into the log any more: it may be another process' by now. */
  close(): void {
    this.closed = true;
  }

  private isFresh(event: UnnumberedEvent): boolean {
    if (event.type === 'prepared_anew') this.taken = 0;
    if (event.s !== undefined) {
      if (event.s <= this.taken) return false;
      this.taken = event.s;
    }
    if (event.g !== undefined) {
      if (event.g <= this.takenOfGateway) return false;
      this.takenOfGateway = event.g;
    }
    if (event.type !== 'ended') return true;
    // Host and sandbox can both tell the end; the first word stands.
    if (this.endTaken) return false;
    this.endTaken = true;
    return true;
  }

  /** Of a task that was cut off the sandbox knows only that it was asked to stop. */
  private judged(event: UnnumberedEvent): UnnumberedEvent {
    const { t, s } = event;
    return this.decided === undefined ? event : { ...this.decided, t, ...(s === undefined ? {} : { s }) };
  }
}
