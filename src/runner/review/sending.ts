import { join } from 'node:path';
import { SallyportError } from '../../base/errors.ts';
import { leftoversRange, resultRange } from '../../protocol/ranges.ts';
import type { PartId, Remark, ReviewDiff } from '../../protocol/review.ts';
import { unsent } from '../../protocol/reviewState.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import { agentMessage } from './agentMessage.ts';
import { withLock } from './fileLock.ts';
import { hasSent, placeForAgent, RemarkPlaces } from './remarks.ts';
import type { ReviewLog } from './reviewLog.ts';
import type { ReviewSource } from './source.ts';
import type { AgentMessage, LineRange } from './taskReview.ts';

/** What the agent is told of a review, and what came of it. */
export class Sending {
  private readonly source: ReviewSource;
  private readonly log: ReviewLog;
  private readonly places: RemarkPlaces;
  /** Up to which commit remarks were looked at. */
  private lookedAt: string | undefined;
  private looking: Promise<void> = Promise.resolve();

  constructor(source: ReviewSource, log: ReviewLog) {
    this.source = source;
    this.log = log;
    this.places = new RemarkPlaces(source.task.quarantine);
  }

  async message(extra?: string): Promise<AgentMessage | undefined> {
    const state = await this.log.state();
    // The agent has its own files, and not what the user wrote instead.
    const own = await this.source.diff({ kind: 'all' });
    const { remarks, rejected } = unsent(state);
    const again = await this.returned(own);
    const task = this.source.task.state();
    const left = leftoversRange(task)?.to;
    const placed = [];
    for (const remark of remarks) {
      const file = own.files.find(({ id }) => id === remark.file);
      const leftover = left !== undefined && remark.commit === left;
      placed.push(
        await placeForAgent(remark, file, { places: this.places, reader: this.source.reader, leftover }),
      );
    }
    return agentMessage(
      placed,
      [
        ...rejected.map((one) => ({ ...one, again: false })),
        ...again.flatMap((id) => {
          const known = state.rejected[id];
          return known === undefined ? [] : [{ ...known, again: true }];
        }),
      ],
      extra,
    );
  }

  async send(extra = ''): Promise<void> {
    // One at a time, in whichever window: nothing goes out twice.
    await withLock(join(this.source.task.folder, 'review.sending'), async () => {
      const message = await this.message(extra);
      const text = message?.text ?? extra.trim();
      if (text === '') {
        throw new SallyportError(
          'invalid_input',
          'There is nothing to send.',
          'Write a remark on a line, or reject a change, first.',
        );
      }
      const commit = resultRange(this.source.task.state())?.to;
      const task = await this.deliver(text);
      if (message === undefined) return;
      const { remarks, rejected } = message;
      await this.log.append(() => [
        {
          type: 'sent',
          remarks,
          rejected,
          ...(commit === undefined ? {} : { commit }),
          ...(task === undefined ? {} : { task }),
        },
      ]);
    });
  }

  /** Resolves to the task that has got it, where it is another one. What is thrown says that nothing was sent. */
  private async deliver(text: string): Promise<string | undefined> {
    const state = this.source.task.state();
    if (hasEnded(state)) {
      const next = await this.source.task.followUp(text);
      return next.spec.id === state.spec.id ? undefined : next.spec.id;
    }
    if (state.conversation === undefined) {
      throw new SallyportError(
        'task_busy',
        'The agent takes no messages while it works: the task was not started as a conversation.',
        'Your remarks and rejections are kept. Send them when the task is over, or stop it now.',
      );
    }
    await this.source.task.send(text);
    return undefined;
  }

  place(remark: Pick<Remark, 'blob' | 'line' | 'endLine'>, blob: string): Promise<LineRange | undefined> {
    return this.places.place(remark, blob);
  }

  async returned(diff: ReviewDiff): Promise<PartId[]> {
    const { rejected } = await this.log.state();
    const state = this.source.task.state();
    // While the agent works it may still be about to take them away; a commit that brings them is a commit.
    if (diff.scope.kind !== 'commit' && isWorking(state)) return [];
    const place = new Map(state.commits.map(({ sha }, at) => [sha, at]));
    const shown = place.get(diff.to) ?? state.commits.length;
    const ids = diff.files.flatMap(({ parts }) => parts.map(({ id }) => id));
    return ids.filter((id) => {
      const known = rejected[id];
      if (known?.sent !== true) return false;
      return shown > (place.get(known.sentCommit ?? '') ?? -1);
    });
  }

  /** The task has moved on. */
  changed(state: TaskState): void {
    if (resultRange(state)?.to !== this.lookedAt) void this.resolveChanged();
  }

  /** Resolves what the agent was told and has changed since. What goes wrong with it is tried again with the next commit. */
  resolveChanged(): Promise<void> {
    this.looking = this.looking.then(async () => {
      try {
        const state = this.source.task.state();
        const newest = resultRange(state)?.to;
        if (newest === undefined || newest === this.lookedAt) return;
        this.lookedAt = newest;
        const { remarks } = await this.log.state();
        if (!hasSent({ remarks })) return;
        const own = new Set(state.commits.map(({ sha }) => sha));
        const changed = await this.places.changedSince(remarks, newest, own);
        if (changed.length === 0) return;
        await this.log.append((now) =>
          changed
            .filter((id) => now.remarks.some((remark) => remark.id === id && remark.state === 'sent'))
            .map((id) => ({ type: 'remark_resolved', id, by: 'turn', resolved: true })),
        );
      } catch {
        this.lookedAt = undefined;
      }
    });
    return this.looking;
  }
}

function isWorking(state: TaskState): boolean {
  return !hasEnded(state) && state.phase !== 'waiting';
}
