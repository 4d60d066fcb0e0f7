import * as vscode from 'vscode';
import { safeLine } from '../protocol/safeText.ts';
import { openWeb } from './openWeb.ts';
import { noticeText } from './view/noticeText.ts';
import type { PushedBranch } from './view/publishFlow.ts';

/** Says where commits were pushed to, and offers what can be done next. @param id of the task */
export function tellPushed(
  id: string,
  { remote, branch, changed, record, words }: PushedBranch,
  log: vscode.LogOutputChannel,
): void {
  for (const line of words) log.info(`${remote.name}: ${line}`);
  const create = 'Create Pull Request…';
  const page = 'Open Page';
  const copy = 'Copy Branch Name';
  // Where it leads is shown before it is opened.
  const offered = record.url === undefined ? '' : ` The server offers ${safeLine(record.url, 300)}`;
  void vscode.window
    .showInformationMessage(
      noticeText(
        changed
          ? `Pushed to ${branch} of ${safeLine(remote.name, 60)}.${offered}`
          : `${branch} of ${safeLine(remote.name, 60)} stands there already.`,
      ),
      ...(remote.forge === undefined ? [] : [create]),
      ...(record.url === undefined ? [] : [page]),
      copy,
    )
    .then(async (picked) => {
      if (picked === copy) await vscode.env.clipboard.writeText(branch);
      else if (picked === page && record.url !== undefined) await openWeb(record.url);
      else if (picked === create)
        await vscode.commands.executeCommand('sallyport.pushAndPullRequest', {
          id,
          remote: remote.name,
          branch,
        });
    });
}
