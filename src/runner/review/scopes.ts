import { SallyportError } from '../../base/errors.ts';
import { emptyTree } from '../../git/diff.ts';
import type { Quarantine } from '../../git/quarantine.ts';
import { leftoversRange, resultRange, type CommitRange } from '../../protocol/ranges.ts';
import type { ReviewScope } from '../../protocol/review.ts';
import { titleOf } from '../../protocol/task.ts';
import type { Commit, TaskEvent } from '../../protocol/taskEvent.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import type { ScopeChoice } from './taskReview.ts';

/** How many commits are offered one by one: the newest. */
const offeredCommits = 500;

interface Turn {
  number: number;
  /** What the user said. */
  text: string;
  /** How many commits were announced before it began, and by its end: undefined while it goes on. */
  before: number;
  after?: number;
}

/** Which commits belong to which turn of a task, read from its log as it grows. */
export class TurnIndex {
  private lastEvent = 0;
  private readonly commits = new Set<string>();
  private readonly said = new Map<string, string>();
  private readonly turns = new Map<number, Turn>();
  /** What the agent was given to begin with, or to go on with. */
  private prompt = '';
  /** How many commits there were when it was given that, or when the last turn was over. */
  private settled = 0;
  private working: Promise<unknown> = Promise.resolve();

  /**
   * The turns as of `state`; none for a task that has but one, and is no conversation.
   * @param batches reads the task's events after a number; may go on for ever
   */
  read(
    state: TaskState,
    batches: (after: number, signal: AbortSignal) => AsyncIterable<readonly TaskEvent[]>,
    signal?: AbortSignal,
  ): Promise<readonly Turn[]> {
    const reading = this.working.then(async () => {
      if (this.lastEvent < state.lastEvent) {
        const leave = new AbortController();
        const both = signal === undefined ? leave.signal : AbortSignal.any([leave.signal, signal]);
        try {
          for await (const batch of batches(this.lastEvent, both)) {
            for (const event of batch) this.fold(event);
            if (this.lastEvent >= state.lastEvent) break;
          }
        } finally {
          leave.abort();
        }
        signal?.throwIfAborted();
      }
      return [...this.turns.values()];
    });
    this.working = reading.catch(() => undefined);
    return reading;
  }

  private fold(event: TaskEvent): void {
    if (event.n <= this.lastEvent) return;
    this.lastEvent = event.n;
    switch (event.type) {
      case 'submitted':
        this.prompt = titleOf(event.spec.prompt);
        return;
      case 'reopened':
        this.prompt = titleOf(event.text);
        this.said.set(event.message, this.prompt);
        this.settled = this.commits.size;
        return;
      case 'said':
        this.said.set(event.id, titleOf(event.text));
        return;
      case 'inherited':
        for (const { sha } of event.commits) this.commits.add(sha);
        this.settled = this.commits.size;
        return;
      case 'commit':
      case 'leftovers_committed':
        this.commits.add(event.commit.sha);
        return;
      case 'turn_began': {
        const { number, message } = event;
        const text = message === undefined ? this.prompt : (this.said.get(message) ?? '');
        this.turns.set(number, { number, text, before: this.commits.size });
        return;
      }
      case 'turn':
        this.over(event.number);
        return;
      // The end of a turn of a task that is no conversation is nothing but this.
      case 'checkpoint':
        this.over(event.turn);
        return;
      default:
    }
  }

  private over(number: number): void {
    const turn = this.turns.get(number) ?? { number, text: this.prompt, before: this.settled };
    this.turns.set(number, { ...turn, after: this.commits.size });
    this.settled = this.commits.size;
  }
}

/** From the newest commit before the turn to the newest at its end; undefined when there is none. */
function rangeOf(state: TaskState, turn: Turn): CommitRange | undefined {
  const upTo = (count: number | undefined): string | undefined =>
    resultRange({ ...state, commits: state.commits.slice(0, count) })?.to;
  const to = upTo(turn.after);
  const from = upTo(turn.before) ?? state.spec.snapshot.commit;
  return to === undefined || to === from ? undefined : { from, to };
}

/** What can be looked at. */
export function scopesOf(state: TaskState, turns: readonly Turn[]): ScopeChoice[] {
  const choices: ScopeChoice[] = [];
  const all = resultRange(state);
  const commits = broughtIn(state);
  if (all !== undefined) {
    const count = commits.length;
    const detail = count === 1 ? '1 commit' : `${count.toLocaleString('en')} commits`;
    choices.push({ scope: { kind: 'all' }, label: 'Everything', detail });
  }
  for (const turn of turns)
    if (rangeOf(state, turn) !== undefined)
      choices.push({
        scope: { kind: 'turn', turn: turn.number },
        label: `Turn ${turn.number}`,
        detail: turn.text,
      });
  for (const { sha, subject, author } of commits.slice(-offeredCommits))
    choices.push({
      scope: { kind: 'commit', sha },
      label: subject,
      detail: `${sha.slice(0, 8)} · ${author}`,
    });
  const left = leftoversRange(state);
  if (left !== undefined) {
    const { files = [], moreFiles = 0 } = state.leftovers ?? {};
    const count = files.length + moreFiles;
    choices.push({
      scope: { kind: 'leftovers' },
      label: 'Uncommitted edits',
      detail: count === 1 ? '1 file' : `${count.toLocaleString('en')} files`,
    });
  }
  return choices;
}

function broughtIn({ commits, imported }: TaskState): Commit[] {
  const there = new Set(imported);
  return commits.filter(({ sha }) => there.has(sha));
}

/**
 * The commits that a scope compares; those of `all` are the same while there is no commit. Throws `not_found` for a scope
 * that is not there.
 */
export async function rangeOfScope(
  scope: ReviewScope,
  state: TaskState,
  turns: () => Promise<readonly Turn[]>,
  quarantine: Quarantine,
  signal?: AbortSignal,
): Promise<CommitRange> {
  const { commit } = state.spec.snapshot;
  switch (scope.kind) {
    case 'all':
      return resultRange(state) ?? { from: commit, to: commit };
    case 'turn': {
      const turn = (await turns()).find(({ number }) => number === scope.turn);
      if (turn === undefined) throw gone(`There is no turn ${scope.turn}.`);
      const newest = resultRange(state)?.to ?? commit;
      return rangeOf(state, turn) ?? { from: newest, to: newest };
    }
    case 'commit': {
      if (!state.imported.includes(scope.sha) || !state.commits.some(({ sha }) => sha === scope.sha))
        throw gone(`The task has no commit ${scope.sha.slice(0, 12)} in the quarantine.`);
      return await madeBy(scope.sha, quarantine, signal);
    }
    case 'leftovers': {
      const range = leftoversRange(state);
      if (range === undefined) throw gone('The agent left nothing uncommitted.');
      return await madeBy(range.to, quarantine, signal);
    }
  }
}

/** From its parent, as git on the host reads it: what the sandbox said of that is no fact. */
async function madeBy(sha: string, quarantine: Quarantine, signal?: AbortSignal): Promise<CommitRange> {
  const [found] = await quarantine.commits([sha], signal);
  return { from: found?.parents[0] ?? emptyTree, to: sha };
}

function gone(message: string): SallyportError {
  return new SallyportError('not_found', message, 'Choose what to look at again.');
}
