import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import { safeLine } from '../protocol/safeText.ts';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { Tasks } from './tasks.ts';

/** Removes a task after a yes, and after a second one where it holds the only copy of commits. */
export async function removeTask(tasks: Tasks, state: TaskState): Promise<boolean> {
  const service = await tasks.open();
  const { id, title } = state.spec;
  if (!hasEnded(state)) {
    throw new SallyportError('task_busy', 'This task is still at work.', 'Stop it first.');
  }
  const answer = 'Remove';
  const kept =
    state.commits.length > 0 ? ' Its commits are deleted too, unless you accepted them as a branch.' : '';
  const picked = await vscode.window.showWarningMessage(
    `Remove “${safeLine(title, 60)}”?`,
    { modal: true, detail: `Its log is deleted.${kept}` },
    answer,
  );
  if (picked !== answer) return false;
  try {
    await service.remove(id);
  } catch (thrown) {
    if (!(thrown instanceof SallyportError) || thrown.code !== 'commits_not_imported') throw thrown;
    const force = 'Remove and Lose Them';
    const again = await vscode.window.showWarningMessage(
      thrown.message,
      { modal: true, detail: thrown.mend },
      force,
    );
    if (again !== force) return false;
    await service.remove(id, { force: true });
  }
  return true;
}
