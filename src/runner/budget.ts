import type { TaskState } from '../protocol/taskState.ts';

/** What all tasks of a day cost, and may cost, in US dollars; no limit when it is not said. */
export interface DayBudget {
  spentUsd: number;
  limitUsd?: number | undefined;
}

/** What a task may spend in all, and which budget says so. */
export interface Allowance {
  /** In US dollars, over the whole life of the task; null is no limit. */
  usd: number | null;
  /** The budget that is used up first, with what has been spent of it. */
  scope: 'task' | 'day';
  spentUsd: number;
  limitUsd: number;
}

/**
 * The smaller one of what the task's own budget leaves and what the day's does. The others' spending is in `day`
 * already, so that what is left of the day is left for whoever comes first.
 */
export function allowanceOf(task: Pick<TaskState, 'spend' | 'budgetUsd'>, day: DayBudget): Allowance {
  const spent = task.spend.usd;
  const own = task.budgetUsd;
  const byDay = day.limitUsd === undefined ? null : Math.max(0, spent + day.limitUsd - day.spentUsd);
  if (byDay !== null && day.limitUsd !== undefined && (own === null || byDay < own))
    return { usd: byDay, scope: 'day', spentUsd: day.spentUsd, limitUsd: day.limitUsd };
  return { usd: own, scope: 'task', spentUsd: spent, limitUsd: own ?? 0 };
}

/** What a task that goes on after its end may cost in all: what it has cost, and once more what it was given. */
export function budgetGoingOn({ spend, budgetUsd, spec }: TaskState): number | null {
  if (budgetUsd === null) return null;
  return Math.max(budgetUsd, spend.usd + (spec.budgetUsd ?? budgetUsd));
}

/** True when a task that may spend so much in all can go on. */
export function leavesRoom({ usd }: Allowance, spentUsd: number): boolean {
  return usd === null || usd > spentUsd;
}
