import { type CommitRange, leftoversRange, resultRange } from '../../src/protocol/ranges.ts';
import type { ReviewScope } from '../../src/protocol/review.ts';
import type { ScopeWords } from '../../src/protocol/reviewMessages.ts';
import { startOf } from '../../src/protocol/task.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';

/** What of a task there is to look at, from its state alone. */
export function scopesOf(state: TaskState): ScopeWords[] {
  const scopes: ScopeWords[] = [{ scope: { kind: 'all' }, label: 'Everything', detail: '' }];
  if (state.checkpoints.length > 1) {
    for (const { turn } of state.checkpoints)
      scopes.push({ scope: { kind: 'turn', turn }, label: `Turn ${turn}`, detail: '' });
  }
  for (const { sha, subject } of state.commits) {
    if (state.imported.includes(sha))
      scopes.push({ scope: { kind: 'commit', sha }, label: `${sha.slice(0, 7)} ${subject}`, detail: '' });
  }
  if (leftoversRange(state) !== undefined)
    scopes.push({ scope: { kind: 'leftovers' }, label: 'Uncommitted edits', detail: '' });
  return scopes;
}

/** From where to where a scope goes; undefined while nothing of it is in the quarantine. */
export function rangeOf(state: TaskState, scope: ReviewScope): CommitRange | undefined {
  switch (scope.kind) {
    case 'all':
      return resultRange(state) ?? leftoversRange(state);
    case 'leftovers':
      return leftoversRange(state);
    case 'commit': {
      const commit = state.commits.find(({ sha }) => sha === scope.sha);
      const from = commit?.parents[0];
      return commit === undefined || from === undefined || !state.imported.includes(commit.sha)
        ? undefined
        : { from, to: commit.sha };
    }
    case 'turn': {
      const at = state.checkpoints.findIndex(({ turn }) => turn === scope.turn);
      const point = state.checkpoints[at];
      if (point === undefined) return undefined;
      const before = state.checkpoints[at - 1];
      const from = before === undefined ? startOf(state.spec) : (before.uncommitted ?? before.commit);
      const to = point.uncommitted ?? point.commit;
      const there = new Set([state.spec.snapshot.commit, startOf(state.spec), ...state.imported]);
      return from !== to && there.has(from) && there.has(to) ? { from, to } : undefined;
    }
  }
}
