import * as vscode from 'vscode';
import { toSignal } from './signals.ts';
import { noticeText } from './view/noticeText.ts';
import type { Asker } from './view/publishFlow.ts';

/** The questions of a push, as VS Code asks them. */
export const windowAsker: Asker = {
  async choose(title, hint, items) {
    return await vscode.window.showQuickPick([...items], {
      title,
      placeHolder: hint,
      ignoreFocusOut: true,
      matchOnDescription: true,
    });
  },
  async text({ title, prompt, value, problem }) {
    return await vscode.window.showInputBox({
      title,
      prompt,
      value,
      ignoreFocusOut: true,
      validateInput: problem,
    });
  },
  async confirm(question, detail, yes) {
    const picked = await vscode.window.showWarningMessage(noticeText(question), { modal: true, detail }, yes);
    return picked === yes;
  },
  async progress(title, work) {
    return await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: `Sallyport: ${title}…`, cancellable: true },
      (progress, token) => work((line) => progress.report({ message: line }), toSignal(token)),
    );
  },
};
