import { hasEnded } from '../../protocol/taskState.ts';
import { commitsOf, type Known } from './taskViews.ts';

/**
 * Whether a task that was not asked for any more may be removed by itself. `if pushed`: only when the commit that was
 * pushed reaches all others, which git has to say. A task whose commits are nowhere else stays, however old it is. Pure.
 */
export function mayExpire(
  { row, state }: Known,
  now: number,
  retentionMs: number,
): 'yes' | 'no' | 'if pushed' {
  if (row.stage === 'failed' || row.stage === 'cancelled')
    return now - row.createdAt > retentionMs ? 'yes' : 'no';
  if (row.stage !== 'task' || state === undefined || !hasEnded(state) || !state.sandboxRemoved) return 'no';
  if (state.pendingImports.length > 0) return 'no';
  if (now - (state.endedAt ?? now) <= retentionMs) return 'no';
  const commits = commitsOf(state);
  if (commits === undefined || commits === row.fetched) return 'yes';
  return row.pushedCommit === undefined ? 'no' : 'if pushed';
}
