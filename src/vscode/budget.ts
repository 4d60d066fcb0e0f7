import * as vscode from 'vscode';
import { safeLine } from '../protocol/safeText.ts';
import type { TaskState } from '../protocol/taskState.ts';
import { cost, raisedBudget, spendText } from '../protocol/words.ts';
import type { Tasks } from './tasks.ts';
import { readUsd } from './view/policy.ts';

/** Sets what a task, or all tasks of a day, may cost; what waits for it goes on. */
export async function raiseBudget(
  tasks: Tasks,
  id: string,
  scope: 'task' | 'day',
  usd: number | null,
): Promise<void> {
  const service = await tasks.open();
  if (scope === 'task') {
    await service.setBudget(id, usd);
    return;
  }
  await vscode.workspace
    .getConfiguration('sallyport')
    .update('budget.perDay', usd ?? 0, vscode.ConfigurationTarget.Global);
  await service.budgetsChanged();
}

/** Asks for an amount. True when it was set. */
export async function askBudget(tasks: Tasks, state: TaskState): Promise<boolean> {
  const { paused, budgetUsd } = state;
  const day = paused?.scope === 'day';
  const spent = spendText(state);
  const proposed = paused === undefined ? budgetUsd : raisedBudget(paused);
  const typed = await vscode.window.showInputBox({
    title: day ? 'Budget per Day, for All Tasks' : `Budget of “${safeLine(state.spec.title, 50)}”`,
    prompt: day
      ? `In US dollars. Today ${cost(paused.spentUsd)} were spent. Empty: no limit.`
      : `In US dollars, for the whole task.${spent === '' ? '' : ` So far ${spent}.`} Empty: no limit.`,
    value: proposed === null ? '' : String(proposed),
    placeHolder: 'No limit',
    ignoreFocusOut: true,
    validateInput: (text) => {
      const read = readUsd(text);
      return typeof read === 'string' ? read : undefined;
    },
  });
  if (typed === undefined) return false;
  const read = readUsd(typed);
  if (typeof read === 'string') return false;
  await raiseBudget(tasks, state.spec.id, day ? 'day' : 'task', read.usd);
  return true;
}
