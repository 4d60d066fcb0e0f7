import * as vscode from 'vscode';
import { safeLine } from '../../protocol/safeText.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { fileCount } from '../../protocol/words.ts';
import type { Tasks } from '../tasks.ts';

/** Makes a commit of what the agent left uncommitted, with a message of the user's. False when the user left. */
export async function commitLeftovers(tasks: Tasks, state: TaskState): Promise<boolean> {
  const { leftovers, spec } = state;
  if (leftovers === undefined) {
    void vscode.window.showInformationMessage('The agent of this task left nothing uncommitted.');
    return false;
  }
  const message = await vscode.window.showInputBox({
    title: `Commit Leftovers of “${safeLine(spec.title, 40)}”`,
    prompt: `${fileCount(leftovers)} become a commit on the task's branch, in the quarantine. Your repository stays as it is.`,
    placeHolder: 'Message of the commit',
    ignoreFocusOut: true,
    validateInput: (text) => (text.trim() === '' ? 'A commit needs a message.' : undefined),
  });
  if (message === undefined) return false;
  const service = await tasks.open();
  await service.commitLeftovers(spec.id, message);
  void vscode.window.showInformationMessage(`The leftovers are a commit of the task now.`);
  return true;
}
