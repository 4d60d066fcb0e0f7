import * as vscode from 'vscode';
import { safeLine } from '../protocol/safeText.ts';
import type { Range } from '../runner/taskService.ts';
import type { Chosen } from './chooseTask.ts';
import { openDiff } from './editorDiff.ts';
import type { Tasks } from './tasks.ts';

/** Opens the diff of a task, of one of its commits, or of what it has not committed. */
export async function showDiff(tasks: Tasks, { state, sha, leftovers }: Chosen): Promise<void> {
  const { id, title } = state.spec;
  const name = safeLine(title, 60);
  const service = await tasks.open();
  let range: Range | undefined;
  let label = name;
  if (sha !== undefined) {
    const commit = state.commits.find((each) => each.sha === sha);
    const parent = commit?.parents[0];
    if (commit === undefined || parent === undefined) return;
    range = { from: parent, to: sha };
    label = `${sha.slice(0, 7)} ${safeLine(commit.subject, 60)}`;
  } else if (leftovers || service.result(id) === undefined) {
    range = service.leftovers(id);
    label = `Uncommitted edits of ${name}`;
    if (range === undefined) {
      void vscode.window.showInformationMessage('Nothing of this task is in the quarantine yet.');
      return;
    }
  }
  const shown = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Window, title: 'Sallyport: opening the diff' },
    () => openDiff(service, id, label, range),
  );
  if (!shown) void vscode.window.showInformationMessage('No file differs from the start of the task.');
}
