import type { Disposable } from '../base/disposable.ts';
import { asSallyportError, isAbort, SallyportError } from '../base/errors.ts';
import type { Event } from '../base/event.ts';
import { encodeParts, fileBatches, filesFirst } from '../protocol/panelFiles.ts';
import type { PanelMessage } from '../protocol/panelMessages.ts';
import type { ReviewDiff, ReviewFile, ReviewScope, ReviewState } from '../protocol/review.ts';
import {
  imageType,
  type PanelReviewState,
  type ReviewRequest,
  type ScopeWords,
  type Told,
} from '../protocol/reviewMessages.ts';
import { unsent } from '../protocol/reviewState.ts';
import type { Choice, TaskReview } from '../runner/review/taskReview.ts';
import type { Loaded, ReviewChange } from './review/reviews.ts';
import { ReviewContents } from './reviewContents.ts';

/** What the review of a panel needs of the reviews of tasks. */
export interface ReviewSource {
  readonly onDidChange: Event<ReviewChange>;
  of(id: string): Promise<TaskReview>;
  state(id: string): Promise<ReviewState>;
  load(id: string, scope: ReviewScope): Promise<Loaded>;
  blob(id: string, oid: string): Promise<Uint8Array>;
}

export interface ReviewPanelOptions {
  id: string;
  reviews: ReviewSource;
  /** Resolves when the message has been handed over. */
  post: (message: PanelMessage) => PromiseLike<unknown>;
  /** Opens a file of the review in an editor. */
  open: (scope: ReviewScope, file: ReviewFile, line?: number) => Promise<unknown>;
  /** Opens the merge of the user's edit of a file. */
  merge: (scope: ReviewScope, file: ReviewFile) => Promise<unknown>;
  /** Has the editor's own command do something with the whole review. */
  act: (what: Extract<ReviewRequest, { type: 'reviewDo' }>['what'], scope: ReviewScope) => Promise<unknown>;
  /** Shows what went wrong. */
  onProblem: (thrown: unknown) => void;
}

/** Answers what one panel asks about its task's review, and tells it what changes. */
export class ReviewPanel implements Disposable {
  private readonly options: ReviewPanelOptions;
  private readonly contents: ReviewContents;
  private readonly listening: Disposable;
  private awake = false;
  /** What is shown: the newest request of the panel's for a diff. */
  private shown: { request: number; scope: ReviewScope } | undefined;
  private diff: ReviewDiff | undefined;
  private returned: ReadonlySet<string> = new Set();
  /** Counts up with each diff that is asked for; an older answer is thrown away. */
  private turn = 0;
  private telling = false;
  private toTell = false;

  constructor(options: ReviewPanelOptions) {
    this.options = options;
    this.contents = new ReviewContents((oid) => options.reviews.blob(options.id, oid));
    this.listening = options.reviews.onDidChange(({ id, content }) => {
      if (id !== options.id || !this.awake) return;
      if (content && this.shown !== undefined) void this.sendDiff();
      else void this.tellState();
    });
  }

  /** The panel is there and knows nothing. */
  begin(): void {
    this.pause();
    this.awake = true;
    void this.tellState();
  }

  pause(): void {
    this.awake = false;
    this.shown = undefined;
    this.diff = undefined;
    this.returned = new Set();
    this.turn += 1;
  }

  dispose(): void {
    this.pause();
    this.listening.dispose();
  }

  receive(request: ReviewRequest): void {
    const { onProblem } = this.options;
    if (request.type === 'review') {
      this.shown = { request: request.request, scope: request.scope };
      void this.sendDiff();
    } else if (request.type === 'reviewParts') this.sendParts(request);
    else if (request.type === 'reviewText') void this.sendText(request);
    else if (request.type === 'reviewImages') void this.sendImages(request);
    else {
      this.change(request).catch((thrown: unknown) => {
        if (isAbort(thrown)) return;
        this.post({ type: 'reviewFailed', error: told(thrown) });
        onProblem(thrown);
      });
    }
  }

  private async change(
    request: Exclude<ReviewRequest, { type: 'review' | 'reviewParts' | 'reviewText' | 'reviewImages' }>,
  ): Promise<void> {
    const scope: ReviewScope = this.shown?.scope ?? { kind: 'all' };
    if (request.type === 'reviewDo') {
      await this.options.act(request.what, scope);
      return;
    }
    const review = await this.options.reviews.of(this.options.id);
    switch (request.type) {
      case 'decide':
        await review.decide(scope, choiceOf(request.what), request.verdict);
        return;
      case 'reviewed':
        await review.setReviewed(
          request.files.map((id) => this.file(id)),
          request.on,
        );
        return;
      case 'remark': {
        const file = this.file(request.file);
        const { side, text } = request;
        const line = Math.min(request.line, request.endLine);
        const endLine = Math.max(request.line, request.endLine);
        const blob = side === 'old' ? file.oldBlob : file.newBlob;
        const commit = (side === 'old' ? this.diff?.from : this.diff?.to) ?? '';
        const quote = await this.contents.quote(blob, line, endLine);
        await review.addRemark({
          file: file.id,
          path: file.path,
          side,
          blob,
          commit,
          line,
          endLine,
          quote,
          text,
        });
        return;
      }
      case 'remarkChange':
        await review.changeRemark(request.id, request.text);
        return;
      case 'remarkRemove':
        await review.removeRemark(request.id);
        return;
      case 'remarkResolve':
        await review.resolveRemark(request.id, request.resolved);
        return;
      case 'reviewMerge':
        await this.options.merge(scope, this.file(request.file));
        return;
      case 'reviewOpen':
        await this.options.open(scope, this.file(request.file), request.line);
    }
  }

  private file(id: string): ReviewFile {
    const file = this.diff?.files.find((each) => each.id === id);
    if (file === undefined) throw gone();
    return file;
  }

  private async sendDiff(): Promise<void> {
    const { shown } = this;
    if (shown === undefined) return;
    this.turn += 1;
    const { turn } = this;
    const { id, reviews, post } = this.options;
    try {
      const review = await reviews.of(id);
      const [{ diff, returned }, choices] = await Promise.all([
        reviews.load(id, shown.scope),
        review.scopes(),
      ]);
      if (turn !== this.turn) return;
      this.diff = diff;
      this.returned = returned;
      // First what was decided: files are drawn once, and as they are.
      await this.tellState();
      const scopes = choices.map(({ scope, label, detail }): ScopeWords => ({ scope, label, detail }));
      const batches = fileBatches(filesFirst(diff.files));
      for (const [index, data] of batches.entries()) {
        if (turn !== this.turn) return;
        await post({
          type: 'review',
          request: shown.request,
          scope: shown.scope,
          scopes,
          from: diff.from,
          to: diff.to,
          total: diff.files.length,
          further: diff.further ?? 0,
          data,
          first: index === 0,
          last: index === batches.length - 1,
        });
      }
    } catch (thrown) {
      if (turn === this.turn && !isAbort(thrown))
        this.post({ type: 'reviewFailed', request: shown.request, error: told(thrown) });
    }
  }

  /** One at a time; what changes meanwhile goes with the next. */
  private async tellState(): Promise<void> {
    this.toTell = true;
    if (this.telling) return;
    this.telling = true;
    try {
      while (this.toTell && this.awake) {
        this.toTell = false;
        const state = await this.options.reviews.state(this.options.id);
        await this.options.post({ type: 'reviewState', state: panelState(state, this.returned) });
      }
    } catch (thrown) {
      if (!isAbort(thrown)) this.post({ type: 'reviewFailed', error: told(thrown) });
    } finally {
      this.telling = false;
    }
  }

  /** Of the diff that is shown: while a newer one is fetched, what is asked for is asked for again after it. */
  private sendParts({ request, files }: Extract<ReviewRequest, { type: 'reviewParts' }>): void {
    const wanted = new Set(files);
    const found = this.diff?.files.filter(({ id }) => wanted.has(id)) ?? [];
    this.post({ type: 'reviewParts', request, data: encodeParts(found) });
  }

  private async sendText({
    request,
    file: id,
    context,
  }: Extract<ReviewRequest, { type: 'reviewText' }>): Promise<void> {
    const { turn } = this;
    try {
      const file = this.file(id);
      const data = await this.contents.lines(file, context);
      if (turn === this.turn) this.post({ type: 'reviewText', request, file: id, data });
    } catch (thrown) {
      if (turn === this.turn) this.post({ type: 'reviewText', request, file: id, error: told(thrown) });
    }
  }

  private async sendImages({
    request,
    file: id,
  }: Extract<ReviewRequest, { type: 'reviewImages' }>): Promise<void> {
    const { turn } = this;
    let mime = '';
    try {
      const file = this.file(id);
      const known = imageType(file.path);
      if (known === undefined || !file.binary) throw gone();
      mime = known;
      const sides = await this.contents.images(file);
      if (turn === this.turn) this.post({ type: 'reviewImages', request, file: id, mime, ...sides });
    } catch (thrown) {
      if (turn === this.turn)
        this.post({ type: 'reviewImages', request, file: id, mime, error: told(thrown) });
    }
  }

  private post(message: PanelMessage): void {
    void this.options.post(message);
  }
}

function gone(): SallyportError {
  return new SallyportError(
    'conflict',
    'This file is not as it was when the review was drawn.',
    'Look at it again, then decide.',
  );
}

function choiceOf(what: Extract<ReviewRequest, { type: 'decide' }>['what']): Choice {
  if ('parts' in what) return { parts: what.parts };
  return 'file' in what ? { file: what.file } : { all: true };
}

export function panelState(state: ReviewState, returned: ReadonlySet<string>): PanelReviewState {
  const { rejected: _rejected, edits: _edits, ...rest } = state;
  const { remarks, rejected } = unsent(state);
  return {
    ...rest,
    returned: [...returned],
    unsent: remarks.length + rejected.length,
  };
}

function told(thrown: unknown): Told {
  const { message, mend } = asSallyportError(thrown);
  return { message, mend };
}
