import * as vscode from 'vscode';
import type { SignIn } from './signIn.ts';
import { newTaskPath, readTaskLink } from './view/taskLink.ts';

/**
 * The links of this extension: the way back of a sign-in, and a new task that is filled in. Any page can open one, so none
 * starts anything: the second opens a document that says where it comes from, and the user starts it or does not.
 */
export class Links implements vscode.UriHandler, vscode.Disposable {
  private readonly signIn: SignIn;
  private readonly log: vscode.LogOutputChannel;
  private readonly onProblem: (thrown: unknown) => void;
  private busy = false;

  constructor(signIn: SignIn, log: vscode.LogOutputChannel, onProblem: (thrown: unknown) => void) {
    this.signIn = signIn;
    this.log = log;
    this.onProblem = onProblem;
  }

  dispose(): void {
    this.busy = true;
  }

  async handleUri(uri: vscode.Uri): Promise<void> {
    if (uri.path !== newTaskPath) {
      this.signIn.handleUri(uri);
      return;
    }
    if (this.busy) {
      this.log.warn('A link wanted to fill in a new task while another one did.');
      return;
    }
    this.busy = true;
    try {
      const { prompt, branch } = readTaskLink(uri.query);
      await vscode.commands.executeCommand('sallyport.newTask', {
        draft: prompt,
        origin: 'link',
        ...(branch === undefined ? {} : { branch }),
      });
    } catch (thrown) {
      this.onProblem(thrown);
    } finally {
      this.busy = false;
    }
  }
}
