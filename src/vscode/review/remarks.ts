import * as vscode from 'vscode';
import { DisposableStore } from '../../base/disposable.ts';
import { SallyportError } from '../../base/errors.ts';
import type { RemarkState, ReviewFile } from '../../protocol/review.ts';
import { fromNewSide, toNewSide } from '../view/reviewLines.ts';
import { hasSide, reviewParts, shownPath } from '../view/reviewUri.ts';
import { blobParts, blobScheme } from '../view/blobUri.ts';
import { reviewScheme } from '../view/reviewUri.ts';
import { quoteOf, remarkLabel } from '../view/reviewRemarks.ts';
import type { Announcer } from './announcer.ts';
import type { Places } from './places.ts';
import type { Loaded, Reviews } from './reviews.ts';
import type { ReviewSession, Subject } from './session.ts';

/** One remark as VS Code shows it: the only comment of its thread. */
export class RemarkComment implements vscode.Comment {
  readonly remark: RemarkState;
  body: string;
  mode = vscode.CommentMode.Preview;
  readonly author: vscode.CommentAuthorInformation = { name: 'You' };
  readonly contextValue: string;
  readonly timestamp: Date;

  constructor(remark: RemarkState) {
    this.remark = remark;
    this.body = remark.text;
    this.contextValue = remark.state;
    this.timestamp = new Date(remark.at);
  }
}

interface Shown {
  thread: vscode.CommentThread;
  comment: RemarkComment;
  /** What the thread was made of. */
  made: string;
}

/** Milliseconds in which changes are gathered before threads are placed anew. */
const settleMs = 100;

/**
 * Remarks to the agent as VS Code's own comments, on both sides of the documents of a review. A thread is one remark; where
 * later turns moved its lines it moves along.
 */
export class Remarks implements vscode.Disposable {
  private readonly reviews: Reviews;
  private readonly session: ReviewSession;
  private readonly places: Places;
  private readonly announcer: Announcer;
  private readonly onProblem: (thrown: unknown) => void;
  private readonly store = new DisposableStore();
  private readonly controller: vscode.CommentController;
  private readonly shown = new Map<string, Shown>();
  private settling: NodeJS.Timeout | undefined;
  private drawing = Promise.resolve();

  constructor(around: {
    reviews: Reviews;
    session: ReviewSession;
    places: Places;
    announcer: Announcer;
    onProblem: (thrown: unknown) => void;
  }) {
    this.reviews = around.reviews;
    this.session = around.session;
    this.places = around.places;
    this.announcer = around.announcer;
    this.onProblem = around.onProblem;
    this.controller = vscode.comments.createCommentController('sallyport', 'Sallyport');
    this.controller.options = {
      prompt: 'Remark to the agent',
      placeHolder: 'Say what is to be changed here. It is a draft until you send it.',
    };
    this.controller.commentingRangeProvider = {
      provideCommentingRanges: (document) => this.ranges(document),
    };
    this.store.add(this.controller);
    this.store.add(
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length > 0 && !document.isDirty) this.settle(document.uri);
      }),
    );
    this.store.add(
      around.session.onDidChange(() => {
        this.settling ??= setTimeout(() => {
          this.settling = undefined;
          this.draw().catch(this.onProblem);
        }, settleMs);
      }),
    );
  }

  /** The threads, as they are shown now. */
  get threads(): readonly vscode.CommentThread[] {
    return [...this.shown.values()].map(({ thread }) => thread);
  }

  /** Keeps what was written into a thread that the user opened. */
  async add({ thread, text }: vscode.CommentReply): Promise<void> {
    if (text.trim() === '') return;
    const document = await vscode.workspace.openTextDocument(thread.uri);
    if (document.isDirty) await document.save();
    const place = await this.places.of(thread.uri);
    if (place === undefined || thread.range === undefined) {
      throw new SallyportError(
        'conflict',
        'This file is not a part of the review any more.',
        'Open it again from the Review view, and write your remark there.',
      );
    }
    const { subject, file, side, state } = place;
    const { diff } = await this.reviews.load(subject.id, subject.scope);
    const { start, end } = thread.range;
    const mapped = side === 'new' && thread.uri.scheme === reviewScheme;
    const number = (line: number): number => (mapped ? toNewSide(file, state.verdicts, line) : line);
    const line = number(start.line + 1);
    const review = await this.reviews.of(subject.id);
    await review.addRemark({
      file: file.id,
      path: file.path,
      side,
      blob: side === 'old' ? file.oldBlob : file.newBlob,
      commit: side === 'old' ? diff.from : diff.to,
      line,
      endLine: Math.max(line, number(end.line + 1)),
      quote: quoteOf(document.getText(), start.line, end.line),
      text,
    });
    thread.dispose();
    this.announcer.say(`Remark on ${shownPath(file.path)} kept as a draft.`);
    await this.draw();
  }

  edit(comment: RemarkComment, mode: vscode.CommentMode): void {
    const shown = this.shown.get(comment.remark.id);
    if (shown === undefined) return;
    const next = mode === vscode.CommentMode.Preview ? new RemarkComment(comment.remark) : comment;
    next.mode = mode;
    shown.comment = next;
    shown.thread.comments = [next];
  }

  async saveEdit(comment: RemarkComment): Promise<void> {
    const text = comment.body.trim();
    const review = await this.review();
    if (text === '') await review.removeRemark(comment.remark.id);
    else await review.changeRemark(comment.remark.id, comment.body);
    this.edit(comment, vscode.CommentMode.Preview);
  }

  async remove(remark: RemarkState): Promise<void> {
    await (await this.review()).removeRemark(remark.id);
    this.announcer.say('The remark is deleted.');
  }

  async resolve(remark: RemarkState, resolved: boolean): Promise<void> {
    await (await this.review()).resolveRemark(remark.id, resolved);
    this.announcer.say(resolved ? 'The remark is resolved.' : 'The remark is open again.');
  }

  /** The remark that a command of a menu is about: it is called with a thread or with a comment. */
  remarkOf(argument: unknown): RemarkState | undefined {
    if (argument instanceof RemarkComment) return argument.remark;
    return [...this.shown.values()].find(({ thread }) => thread === argument)?.comment.remark;
  }

  /** Makes the threads fit the session. */
  draw(): Promise<void> {
    this.drawing = this.drawing.then(() => this.drawNow()).catch(this.onProblem);
    return this.drawing;
  }

  dispose(): void {
    clearTimeout(this.settling);
    for (const { thread } of this.shown.values()) thread.dispose();
    this.shown.clear();
    this.store.dispose();
  }

  /** The editor moved the threads of a document along with its lines; but they were where they belong already. */
  private settle(uri: vscode.Uri): void {
    for (const { thread } of this.shown.values()) {
      const { range } = thread;
      if (range === undefined || thread.uri.toString() !== uri.toString()) continue;
      thread.range = undefined;
      thread.range = range;
    }
  }

  private async drawNow(): Promise<void> {
    const { subject, now } = this.session;
    const remarks = subject === undefined || now === undefined ? [] : now.state.remarks;
    const ids = new Set(remarks.map(({ id }) => id));
    for (const [id, { thread }] of this.shown) {
      if (ids.has(id)) continue;
      thread.dispose();
      this.shown.delete(id);
    }
    if (subject === undefined || now === undefined) return;
    for (const remark of remarks) await this.drawOne(subject, now, remark);
  }

  private async drawOne(subject: Subject, { diff, state }: Loaded, remark: RemarkState): Promise<void> {
    const file = diff.files.find(({ id }) => id === remark.file);
    const at = file === undefined ? undefined : await this.rangeOf(subject, file, state.verdicts, remark);
    const uri = file === undefined ? undefined : uriOf(subject, file, remark.side);
    const known = this.shown.get(remark.id);
    if (uri === undefined) {
      known?.thread.dispose();
      this.shown.delete(remark.id);
      return;
    }
    const made = JSON.stringify([uri.toString(), at, remark.text, remark.state]);
    if (known?.made === made) return;
    // A remark that is being edited keeps what was typed.
    if (known?.comment.mode === vscode.CommentMode.Editing && known.comment.remark.text === remark.text)
      return;
    const comment = new RemarkComment(remark);
    const thread =
      known?.thread.uri.toString() === uri.toString()
        ? known.thread
        : this.controller.createCommentThread(uri, at ?? new vscode.Range(0, 0, 0, 0), [comment]);
    if (known !== undefined && thread !== known.thread) known.thread.dispose();
    // Without lines it is a remark on the file.
    thread.range = at;
    thread.comments = [comment];
    thread.canReply = false;
    thread.label = remarkLabel(remark.state);
    thread.contextValue = remark.state;
    thread.state =
      remark.state === 'resolved' ? vscode.CommentThreadState.Resolved : vscode.CommentThreadState.Unresolved;
    thread.collapsibleState =
      remark.state === 'resolved'
        ? vscode.CommentThreadCollapsibleState.Collapsed
        : vscode.CommentThreadCollapsibleState.Expanded;
    this.shown.set(remark.id, { thread, comment, made });
  }

  /** Where its lines are in the document now; undefined where they are gone. */
  private async rangeOf(
    { id }: Subject,
    file: ReviewFile,
    verdicts: Loaded['state']['verdicts'],
    remark: RemarkState,
  ): Promise<vscode.Range | undefined> {
    const blob = remark.side === 'old' ? file.oldBlob : file.newBlob;
    if (!hasSide(blob)) return undefined;
    const review = await this.reviews.of(id);
    const place = blob === remark.blob ? remark : await review.place(remark, blob);
    if (place === undefined) return undefined;
    const line = (number: number): number =>
      (remark.side === 'new' ? fromNewSide(file, verdicts, number) : number) - 1;
    const first = line(place.line);
    return new vscode.Range(first, 0, Math.max(first, line(place.endLine)), 0);
  }

  private async ranges(document: vscode.TextDocument): Promise<vscode.Range[]> {
    const { scheme } = document.uri;
    if (scheme !== reviewScheme && scheme !== blobScheme) return [];
    const place = await this.places.of(document.uri);
    if (place === undefined || document.lineCount === 0) return [];
    return [new vscode.Range(0, 0, document.lineCount - 1, 0)];
  }

  private async review(): ReturnType<Reviews['of']> {
    const { subject } = this.session;
    if (subject !== undefined) return await this.reviews.of(subject.id);
    throw new SallyportError('invalid_input', 'No review is open.', 'Open the changes of a task first.');
  }
}

function uriOf({ id, scope }: Subject, file: ReviewFile, side: 'old' | 'new'): vscode.Uri | undefined {
  if (side === 'new') return vscode.Uri.from(reviewParts(id, scope, file));
  if (!hasSide(file.oldBlob)) return undefined;
  return vscode.Uri.from(blobParts(id, shownPath(file.from ?? file.path), file.oldBlob, file.oldMode));
}
