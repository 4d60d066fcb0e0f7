import * as vscode from 'vscode';
import { SallyportError } from '../base/errors.ts';
import { isBranchName } from '../protocol/grammar.ts';
import type { TaskState } from '../protocol/taskState.ts';
import type { Tasks } from './tasks.ts';

/** Makes a branch of all that a task has committed. Undefined when the user leaves. */
export async function acceptAsBranch(tasks: Tasks, state: TaskState): Promise<string | undefined> {
  const service = await tasks.open();
  const { id, branch: proposed, repository } = state.spec;
  if (service.result(id) === undefined) {
    throw new SallyportError(
      'invalid_input',
      'This task has no commit to accept yet.',
      'Wait for its first commit.',
    );
  }
  if (repository.path === '') {
    throw new SallyportError(
      'invalid_input',
      'This task was not sent from a repository of this machine, so there is none to make the branch in.',
      'Fetch the branch that the runner pushed, or accept the task where it was sent from.',
    );
  }
  const name = await vscode.window.showInputBox({
    title: 'Accept as Branch',
    prompt: `A new branch in ${repository.name}. Your files and your other branches stay as they are.`,
    value: proposed,
    ignoreFocusOut: true,
    validateInput: (text) =>
      isBranchName(text.trim()) ? undefined : 'Git does not take this as the name of a branch.',
  });
  if (name === undefined) return undefined;
  const { branch } = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Sallyport: creating the branch…' },
    () => service.acceptAsBranch(id, name.trim()),
  );
  const copy = 'Copy Branch Name';
  const sourceControl = 'Show Source Control';
  void vscode.window
    .showInformationMessage(
      `The branch ${branch} is in ${repository.name} now. Nothing else has changed.`,
      copy,
      sourceControl,
    )
    .then(async (picked) => {
      if (picked === copy) await vscode.env.clipboard.writeText(branch);
      else if (picked === sourceControl) await vscode.commands.executeCommand('workbench.view.scm');
    });
  return branch;
}
