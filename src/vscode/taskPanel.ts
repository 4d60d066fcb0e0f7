import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import { asSallyportError, isAbort } from '../base/errors.ts';
import { type PanelAction, type PanelMessage, PanelRequest } from '../protocol/panelMessages.ts';
import type { ReviewFile, ReviewScope } from '../protocol/review.ts';
import type { ReviewRequest } from '../protocol/reviewMessages.ts';
import { safeLine } from '../protocol/safeText.ts';
import type { TalkRequest } from '../protocol/talkMessages.ts';
import type { EgressAnswer } from '../runner/taskService.ts';
import { raiseBudget } from './budget.ts';
import { openDiff } from './editorDiff.ts';
import { answerEgress } from './egressAnswers.ts';
import { showEventText } from './eventText.ts';
import { exportLedger } from './ledgerExport.ts';
import { PanelLog } from './panelLog.ts';
import { openChange } from './review/openChanges.ts';
import type { Reviews } from './review/reviews.ts';
import { ReviewPanel } from './reviewPanel.ts';
import { talk } from './talkPanel.ts';
import type { Tasks } from './tasks.ts';
import type { TextDocuments } from './texts.ts';
import { panelHtml } from './view/panelHtml.ts';

type Tab = Extract<PanelMessage, { type: 'show' }>['tab'];

/** What of a panel comes to the front. */
export interface PanelView {
  tab: Tab;
  scope?: ReviewScope;
}

/** Milliseconds in which state changes are gathered. */
const stateMs = 100;

type ReviewDo = Extract<ReviewRequest, { type: 'reviewDo' }>['what'];

/** What the editor does with the whole review, for the panel's buttons. */
const reviewCommands: Readonly<Record<ReviewDo, string>> = {
  accept: 'sallyport.review.acceptChanges',
  send: 'sallyport.review.sendToAgent',
  undo: 'sallyport.review.undoAccept',
};

export interface PanelSurroundings {
  tasks: Tasks;
  reviews: Reviews;
  extensionUri: vscode.Uri;
  log: vscode.LogOutputChannel;
  texts: TextDocuments;
  /** Carries out what the user asked for in a panel. */
  act: (action: PanelAction, id: string) => void;
  /** `retry` is offered where it can help. */
  onProblem: (thrown: unknown, retry?: () => unknown) => void;
}

/**
 * One panel. VS Code throws the page away while it is hidden; shown again it says `ready` and gets everything anew, so
 * nothing is sent to a hidden panel.
 */
export class TaskPanel implements vscode.Disposable {
  private readonly id: string;
  private readonly panel: vscode.WebviewPanel;
  private readonly around: PanelSurroundings;
  private readonly log: PanelLog;
  private feeding: AbortController | undefined;
  private ready = false;
  private stateTimer: NodeJS.Timeout | undefined;
  private disposed = false;
  private wanted: PanelView | undefined;
  private readonly review: ReviewPanel;
  private readonly show: (id: string) => void;

  /** @param show shows another task */
  constructor(id: string, panel: vscode.WebviewPanel, around: PanelSurroundings, show: (id: string) => void) {
    this.id = id;
    this.panel = panel;
    this.around = around;
    this.show = show;
    this.log = new PanelLog({
      id,
      tasks: around.tasks,
      post: (message) => this.post(message),
      onProblem: around.onProblem,
    });
    this.review = new ReviewPanel({
      id,
      reviews: around.reviews,
      post: (message) => panel.webview.postMessage(message),
      open: (scope, file) => openChange({ id, scope }, file),
      merge: (scope, file) => this.mergeEdit(scope, file),
      act: (what, scope) => this.doReview(what, scope),
      onProblem: around.onProblem,
    });
    const web = vscode.Uri.joinPath(around.extensionUri, 'dist', 'webview');
    const media = vscode.Uri.joinPath(around.extensionUri, 'media');
    panel.webview.options = {
      enableScripts: true,
      localResourceRoots: [web, media],
      enableCommandUris: false,
    };
    panel.iconPath = vscode.Uri.joinPath(media, 'task.svg');
    panel.webview.onDidReceiveMessage((message: unknown) => this.receive(message));
    panel.onDidChangeViewState(() => {
      if (!panel.visible) this.pause();
    });
    panel.webview.html = panelHtml({
      nonce: randomBytes(16).toString('base64url'),
      cspSource: panel.webview.cspSource,
      script: panel.webview.asWebviewUri(vscode.Uri.joinPath(web, 'task.js')).toString(),
      style: panel.webview.asWebviewUri(vscode.Uri.joinPath(web, 'task.css')).toString(),
      id,
    });
  }

  get visible(): boolean {
    return this.panel.visible;
  }

  reveal(view?: PanelView): void {
    this.wanted = view;
    this.panel.reveal();
    if (this.ready) this.showWanted();
  }

  stateChanged(): void {
    if (!this.ready) return;
    this.log.goOn();
    this.stateTimer ??= setTimeout(() => {
      this.stateTimer = undefined;
      void this.sendState();
    }, stateMs);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.pause();
    this.review.dispose();
    this.panel.dispose();
  }

  private pause(): void {
    this.ready = false;
    this.feeding?.abort();
    this.feeding = undefined;
    this.log.reset();
    clearTimeout(this.stateTimer);
    this.stateTimer = undefined;
    this.review.pause();
  }

  private receive(message: unknown): void {
    const parsed = PanelRequest.safeParse(message);
    if (!parsed.success) {
      this.around.log.warn(
        `The panel of ${this.id} said something that is not understood: ${parsed.error.message}`,
      );
      return;
    }
    const request = parsed.data;
    switch (request.type) {
      case 'ready':
        void this.begin(request.after);
        return;
      case 'ack':
        this.log.acknowledged(request.batch);
        return;
      case 'action':
        this.around.act(request.action, this.id);
        return;
      case 'openDiff':
        void this.openDiff(request);
        return;
      case 'openText':
        this.openText(request.event);
        return;
      case 'copy':
        void vscode.env.clipboard.writeText(request.text);
        return;
      case 'export':
        this.attempt(() => exportLedger(this.around.tasks, this.id, request.filter));
        return;
      case 'allow':
        this.answer({ allow: request.scope, rule: request.rule });
        return;
      case 'refuse':
        this.answer({ refuse: request.host });
        return;
      case 'raise':
        this.attempt(() => raiseBudget(this.around.tasks, this.id, request.scope, request.usd));
        return;
      case 'say':
      case 'interrupt':
      case 'answer':
      case 'continueFrom':
        void this.talk(request);
        return;
      default:
        this.review.receive(request);
    }
  }

  private async talk(request: TalkRequest): Promise<void> {
    try {
      const started = await talk(this.around.tasks, this.id, request);
      this.post({ type: 'talked', request: request.request });
      if (started !== undefined && started !== this.id) this.show(started);
    } catch (thrown) {
      const { message, mend } = asSallyportError(thrown);
      this.post({ type: 'talked', request: request.request, error: { message, mend } });
      if (!isAbort(thrown)) this.around.onProblem(thrown);
    }
  }

  private async doReview(what: ReviewDo, scope: ReviewScope): Promise<void> {
    await vscode.commands.executeCommand(reviewCommands[what], { id: this.id, scope });
  }

  private async mergeEdit(scope: ReviewScope, file: ReviewFile): Promise<void> {
    const about = { id: this.id, scope, file: file.id };
    await vscode.commands.executeCommand('sallyport.review.mergeEdit', about);
  }

  private answer(answer: EgressAnswer): void {
    this.attempt(async () => {
      const state = (await this.around.tasks.open()).task(this.id);
      if (state !== undefined) await answerEgress(this.around.tasks, state, answer);
    });
  }

  private attempt(act: () => Promise<unknown>): void {
    act().catch((thrown: unknown) => this.around.onProblem(thrown, () => this.attempt(act)));
  }

  private async begin(after: number): Promise<void> {
    this.pause();
    const feeding = new AbortController();
    this.feeding = feeding;
    const { signal } = feeding;
    try {
      const service = await this.around.tasks.open();
      const state = service.task(this.id);
      if (signal.aborted) return;
      if (state === undefined) {
        this.post({ type: 'removed' });
        return;
      }
      this.panel.title = safeLine(state.spec.title, 40);
      this.ready = true;
      this.showWanted();
      await this.sendState();
      this.review.begin();
      await this.log.follow(after, after === 0, signal);
    } catch (thrown) {
      if (!signal.aborted && !isAbort(thrown)) this.around.onProblem(thrown);
    }
  }

  private async sendState(): Promise<void> {
    try {
      const service = await this.around.tasks.open();
      const state = service.task(this.id);
      if (state === undefined || !this.ready) return;
      const result = service.result(this.id);
      const leftovers = service.leftovers(this.id);
      const where = this.around.tasks.whereabouts(this.id);
      this.post({
        type: 'state',
        state,
        ...(result === undefined ? {} : { result }),
        ...(leftovers === undefined ? {} : { leftovers }),
        ...(where === undefined ? {} : { runner: where }),
        now: Date.now(),
      });
    } catch (thrown) {
      this.around.onProblem(thrown);
    }
  }

  private async openDiff(request: Extract<PanelRequest, { type: 'openDiff' }>): Promise<void> {
    try {
      const service = await this.around.tasks.open();
      await openDiff(service, this.id, safeLine(request.title, 80), request.range, request.path);
    } catch (thrown) {
      this.around.onProblem(thrown);
    }
  }

  private openText(event: number): void {
    showEventText(this.around, this.id, event).catch((thrown: unknown) => {
      if (!isAbort(thrown)) this.around.onProblem(thrown);
    });
  }

  private showWanted(): void {
    if (this.wanted !== undefined) this.post({ type: 'show', ...this.wanted });
    this.wanted = undefined;
  }

  private post(message: PanelMessage): void {
    void this.panel.webview.postMessage(message);
  }
}
