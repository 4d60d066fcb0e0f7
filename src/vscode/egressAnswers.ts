import * as vscode from 'vscode';
import { hasEnded, type TaskState } from '../protocol/taskState.ts';
import type { EgressAnswer } from '../runner/taskService.ts';
import type { Tasks } from './tasks.ts';

/**
 * Hands an answer of the user's on. A task that is over can be told nothing any more, but what was allowed for its
 * workspace counts for the next one.
 */
export async function answerEgress(tasks: Tasks, state: TaskState, answer: EgressAnswer): Promise<void> {
  const service = await tasks.open();
  const { id, repository } = state.spec;
  const now = service.task(id);
  if (now !== undefined && !hasEnded(now)) {
    await service.answerEgress(id, answer);
    return;
  }
  if (!('rule' in answer) || answer.allow !== 'workspace') {
    void vscode.window.showInformationMessage('The task is over; the answer came too late.');
    return;
  }
  const { egressRules } = await service.workspaceSettings(repository.path);
  if (!egressRules.includes(answer.rule)) {
    await service.changeWorkspaceSettings(repository.path, { egressRules: [...egressRules, answer.rule] });
  }
  void vscode.window.showInformationMessage(`New tasks of ${repository.name} may reach ${answer.rule}.`);
}
