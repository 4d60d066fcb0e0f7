import * as vscode from 'vscode';
import type { PullRequestRecord } from '../protocol/review.ts';
import { safeLine } from '../protocol/safeText.ts';
import { pullRequestDocument, readPullRequestDocument } from '../runner/publishing/pullRequestDocument.ts';
import type { ForgeToken, RemoteChoice, TaskPublishing } from '../runner/publishing/taskPublishing.ts';

/** A pull request that is written and not sent yet. */
export interface PullRequestPlan {
  id: string;
  publishing: TaskPublishing;
  remote: RemoteChoice;
  repository: string;
  branch: string;
  base: string;
  token: ForgeToken;
}

const openKey = 'sallyport.pullRequestOpen';

/**
 * Title and text of a pull request, in an editor like a commit message: the first line is the title. The document is sent by a
 * button of the editor, and by nothing else.
 */
export class PullRequestEditors implements vscode.Disposable {
  private readonly plans = new Map<string, PullRequestPlan>();

  /** Keeps the buttons of these documents, and of no others. */
  register(): vscode.Disposable {
    const update = (editor: vscode.TextEditor | undefined): void => {
      const open = editor !== undefined && this.plans.has(editor.document.uri.toString());
      void vscode.commands.executeCommand('setContext', openKey, open);
    };
    return vscode.Disposable.from(
      vscode.window.onDidChangeActiveTextEditor(update),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => this.plans.delete(uri.toString())),
      vscode.languages.registerCodeLensProvider(
        { scheme: 'untitled', language: 'markdown' },
        { provideCodeLenses: (document) => this.lenses(document) },
      ),
      this,
    );
  }

  dispose(): void {
    this.plans.clear();
  }

  /** Opens the document. */
  async write(plan: PullRequestPlan, text: { title: string; body: string }): Promise<vscode.TextEditor> {
    const where = `${plan.branch} → ${plan.base} in ${plan.repository} at ${plan.token.host}`;
    const hint = `the first line is the title, the rest the text. ${safeLine(where, 300)}. This line is not sent.`;
    const document = await vscode.workspace.openTextDocument({
      language: 'markdown',
      content: pullRequestDocument(text, hint),
    });
    this.plans.set(document.uri.toString(), plan);
    const editor = await vscode.window.showTextDocument(document, { preview: false });
    editor.selection = new vscode.Selection(0, 0, 0, document.lineAt(0).text.length);
    await vscode.commands.executeCommand('setContext', openKey, true);
    return editor;
  }

  /** Sends the document of the active editor; undefined when it is none of these. It stays open when that fails. */
  async send(draft: boolean): Promise<{ id: string; record: PullRequestRecord } | undefined> {
    const document = vscode.window.activeTextEditor?.document;
    const plan = document && this.plans.get(document.uri.toString());
    if (document === undefined || plan === undefined) {
      void vscode.window.showInformationMessage(
        'Open the text of a pull request first: Push and Create Pull Request….',
      );
      return undefined;
    }
    const { publishing, ...rest } = plan;
    const text = readPullRequestDocument(document.getText());
    const record = await vscode.window.withProgress(
      {
        location: vscode.ProgressLocation.Notification,
        title: 'Sallyport: opening the pull request…',
        cancellable: true,
      },
      (_progress, token) => {
        const leaving = new AbortController();
        token.onCancellationRequested(() => leaving.abort());
        return publishing.openPullRequest({ ...rest, ...text, draft, signal: leaving.signal });
      },
    );
    this.plans.delete(document.uri.toString());
    if (vscode.window.activeTextEditor?.document === document)
      await vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor');
    return { id: plan.id, record };
  }

  private lenses({ uri }: vscode.TextDocument): vscode.CodeLens[] {
    if (!this.plans.has(uri.toString())) return [];
    const top = new vscode.Range(0, 0, 0, 0);
    return [
      new vscode.CodeLens(top, {
        title: '$(git-pull-request-create) Create Pull Request',
        command: 'sallyport.createPullRequest',
      }),
      new vscode.CodeLens(top, {
        title: '$(git-pull-request-draft) Create Draft',
        command: 'sallyport.createDraftPullRequest',
      }),
    ];
  }
}
