import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { type PanelFile, partCount, readFiles } from '../../../src/protocol/panelFiles.ts';
import type { PanelRequest } from '../../../src/protocol/panelMessages.ts';
import type { ReviewFile, ReviewPart, ReviewScope } from '../../../src/protocol/review.ts';
import type { ReviewMessage } from '../../../src/protocol/reviewMessages.ts';
import { isReviewed } from '../../../src/protocol/reviewState.ts';
import { safeText } from '../../../src/protocol/safeText.ts';
import { plural } from '../../../src/protocol/words.ts';
import type { Capabilities } from '../../shared/host.ts';
import { icon } from '../icons.ts';
import { Diff } from './diff.ts';
import { FileList } from './fileList.ts';
import { keyOf } from './keys.ts';
import { furtherNotice, keysHelp, reviewBar, reviewFooter } from './reviewBars.ts';
import { type Place, ReviewModel, scopeKey } from './reviewModel.ts';
import { fileLabel, partLabel } from './reviewViews.ts';

/** What the review needs of the page around it. */
export interface ReviewHost {
  can: Capabilities;
  send(request: PanelRequest): void;
  /** The layout was changed by the user. */
  splitChanged(split: boolean): void;
}

type Status = { kind: 'idle' | 'loading' | 'shown' } | { kind: 'failed'; text: string };

/** What the agent did, to be read and decided. It holds no truth: files, lines and verdicts come from the host. */
export class ReviewTab extends LitElement {
  static override properties = {
    status: { state: true },
    split: { type: Boolean },
    filter: { state: true },
    helping: { state: true },
    listed: { state: true },
    said: { state: true },
    nothingYet: { state: true },
  };
  declare status: Status;
  declare split: boolean;
  declare filter: string;
  declare helping: boolean;
  /** The list of files is shown although there is little room. */
  declare listed: boolean;
  /** The newest sentence for people who hear the page. */
  declare said: string;
  /** Why there is nothing to review, in words of the page around. */
  declare nothingYet: string;
  host: ReviewHost | undefined;
  readonly model = new ReviewModel();
  private diff: Diff | undefined;
  private readonly list = new FileList(this.model, {
    go: (file) => this.go({ file, part: -1 }),
    review: (file, on) => this.review(file, on),
    can: () => this.decides,
  });
  private request = 0;
  private incoming: PanelFile[] = [];
  private visible = false;
  private place: Place = { file: 0, part: -1 };
  /** What is scrolled to when it is there. */
  private wantedPath: string | undefined;
  private announce: (() => string) | undefined;

  constructor() {
    super();
    this.status = { kind: 'idle' };
    this.split = false;
    this.filter = '';
    this.helping = false;
    this.listed = false;
    this.said = '';
    this.nothingYet = '';
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  /** The user may decide here. */
  private get decides(): boolean {
    return this.host?.can.review === true;
  }

  /** Comes into sight or goes. The first time asks for the diff. */
  show(visible: boolean): void {
    this.visible = visible;
    if (!visible) return;
    if (this.status.kind === 'idle') this.ask();
    this.diff?.schedule();
  }

  /** Another scope; with `path` that file is scrolled to. */
  choose(scope: ReviewScope, path?: string): void {
    this.wantedPath = path;
    if (scopeKey(scope) !== scopeKey(this.model.scope) || this.status.kind !== 'shown') {
      this.model.scope = scope;
      if (this.visible) this.ask();
      else this.status = { kind: 'idle' };
    } else this.goToWanted();
    this.requestUpdate();
  }

  /** What the scope holds may be other than it was; asks again, and keeps what is shown until the answer is there. */
  refresh(): void {
    if (this.visible) this.ask(false);
    else this.status = { kind: 'idle' };
  }

  receive(message: ReviewMessage): void {
    switch (message.type) {
      case 'review':
        this.take(message);
        return;
      case 'reviewState':
        this.model.setState(message.state);
        this.diff?.stateChanged();
        this.list.redraw();
        if (this.announce !== undefined) this.said = this.announce();
        this.announce = undefined;
        this.requestUpdate();
        return;
      case 'reviewParts':
        this.diff?.partsReceived(message);
        // The list says how its files are decided, and the line below what of all is.
        this.list.redraw();
        if (this.model.complete) this.requestUpdate();
        return;
      case 'reviewText':
        this.diff?.texts.received(message);
        return;
      case 'reviewImages':
        this.diff?.images.received(message);
        return;
      case 'reviewFailed':
        this.failed(message);
    }
  }

  themeChanged(): void {
    this.diff?.themeChanged();
  }

  dispose(): void {
    this.diff?.dispose();
    this.list.dispose();
  }

  private ask(anew = true): void {
    this.request += 1;
    if (anew) this.status = { kind: 'loading' };
    this.host?.send({ type: 'review', request: this.request, scope: this.model.scope });
  }

  private take(message: Extract<ReviewMessage, { type: 'review' }>): void {
    if (message.request !== this.request) return;
    if (message.first) this.incoming = [];
    this.incoming.push(...readFiles(message.data));
    if (!message.last) return;
    const before = this.model.shown[this.place.file]?.id;
    this.model.scopes = message.scopes;
    this.model.further = message.further;
    this.model.setFiles(this.incoming);
    this.incoming = [];
    const at = this.model.shown.findIndex(({ id }) => id === before);
    this.place =
      at === -1
        ? { file: 0, part: -1 }
        : { file: at, part: Math.min(this.place.part, partsOf(this.model.shown[at]) - 1) };
    this.status = { kind: 'shown' };
    void this.updateComplete.then(() => {
      this.diff?.renewed();
      this.filesChanged();
      this.goToWanted();
    });
  }

  private failed({ request, error }: Extract<ReviewMessage, { type: 'reviewFailed' }>): void {
    const text = `${error.message} ${error.mend}`.trim();
    if (request === undefined) {
      this.announce = undefined;
      this.said = text;
    } else if (request === this.request) this.status = { kind: 'failed', text };
  }

  private filesChanged(): void {
    this.diff?.filesChanged();
    this.list.setCurrent(this.place.file);
    this.list.redraw();
    this.requestUpdate();
  }

  private goToWanted(): void {
    const file = this.model.shown.findIndex(({ path }) => path === this.wantedPath);
    this.wantedPath = undefined;
    if (file !== -1) this.go({ file, part: -1 }, false);
  }

  protected override updated(): void {
    const scroller = this.querySelector<HTMLElement>('.rv-scroller');
    if (scroller !== null && this.diff === undefined) {
      this.diff = new Diff(scroller, this.model, {
        split: this.split,
        decides: this.decides,
        editor: this.host?.can.editor === true,
        send: (request) => {
          this.expect(request);
          this.host?.send(request);
        },
        place: () => this.place,
        focused: (place) => this.moved(place),
        say: (text) => (this.said = text),
      });
      this.filesChanged();
    }
    const list = this.querySelector<HTMLElement>('.rv-list');
    if (list !== null) this.list.attach(list);
    this.diff?.schedule();
  }

  /** What is to be said once the host has done what is asked. */
  private expect(request: PanelRequest): void {
    if (request.type !== 'decide' && request.type !== 'reviewed') return;
    const current = this.current();
    this.announce = () => {
      const { reviewed, files, accepted, rejected, parts } = this.model.progress;
      const decided = this.model.complete
        ? `, ${accepted + rejected} of ${plural(parts, 'part')} decided`
        : '';
      const words = `${reviewed} of ${plural(files, 'file')} reviewed${decided}.`;
      if (current === undefined) return words;
      const { file, part } = current;
      const what = part === undefined ? fileLabel(this.model, file) : partLabel(this.model, file, part);
      return `${what}. ${words}`;
    };
  }

  /** Where the keyboard is; undefined also while the part has not come. */
  private current(): { file: PanelFile; part: ReviewPart | undefined } | undefined {
    const file = this.model.shown[this.place.file];
    const part = file?.parts[this.place.part];
    if (file === undefined || (part === undefined && this.place.part >= 0 && file.coming !== undefined))
      return undefined;
    return { file, part };
  }

  private moved(place: Place): void {
    this.place = place;
    this.list.setCurrent(place.file);
  }

  /** Goes to a place and gives it the focus. */
  private go(place: Place | undefined, focus = true): void {
    if (place === undefined) return;
    this.listed = false;
    this.moved(place);
    this.diff?.reveal(place, focus);
  }

  private review(file: ReviewFile, on: boolean): void {
    const request: PanelRequest = { type: 'reviewed', files: [file.id], on };
    this.expect(request);
    this.host?.send(request);
  }

  /** Does what a key of the review's does, also of one that was pressed elsewhere on the page. */
  key(event: KeyboardEvent): void {
    const what = keyOf(event);
    if (what === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const current = this.current();
    switch (what) {
      case 'next':
        this.go(this.model.step(this.place, 1));
        return;
      case 'previous':
        this.go(this.model.step(this.place, -1));
        return;
      case 'nextFile':
        this.go(this.model.stepFile(this.place, 1));
        return;
      case 'previousFile':
        this.go(this.model.stepFile(this.place, -1));
        return;
      case 'accept':
      case 'reject':
      case 'restore':
        if (current !== undefined && this.decides)
          this.diff?.decide(
            current.part === undefined ? { file: current.file.id } : { parts: [current.part.id] },
            what === 'accept' ? 'accepted' : what === 'reject' ? 'rejected' : null,
          );
        return;
      case 'reviewed':
        if (current !== undefined && this.decides)
          this.review(current.file, !isReviewed(this.model.state, current.file));
        return;
      case 'comment':
        if (current !== undefined && this.decides) this.diff?.write(current.file, current.part);
        return;
      case 'open':
        if (current !== undefined) this.diff?.open(current.file, current.part);
        return;
      case 'fold':
        if (current !== undefined) this.diff?.fold(current.file);
        return;
      case 'split':
        this.setSplit(!this.split);
        return;
      case 'filter':
        this.listed = true;
        void this.updateComplete.then(() => this.querySelector<HTMLElement>('.rv-filter input')?.focus());
        return;
      case 'help':
        this.helping = !this.helping;
        return;
      case 'leave':
        if (this.helping) this.helping = false;
        else this.listed = false;
        this.go(this.place);
    }
  }

  private setSplit(split: boolean): void {
    this.split = split;
    this.diff?.setSplit(split);
    this.host?.splitChanged(split);
  }

  private setFilter(words: string): void {
    this.filter = words;
    const before = this.model.shown[this.place.file]?.id;
    this.model.setFilter(words);
    const at = this.model.shown.findIndex(({ id }) => id === before);
    this.place = { file: Math.max(0, at), part: at === -1 ? -1 : this.place.part };
    this.filesChanged();
  }

  override render(): TemplateResult {
    const shown = this.status.kind === 'shown';
    return html`<div
      class="rv ${this.listed ? 'listed' : ''}"
      @keydown=${(event: KeyboardEvent) => this.key(event)}
    >
      ${reviewBar({
        model: this.model,
        shown,
        listed: this.listed,
        split: this.split,
        list: () => (this.listed = !this.listed),
        choose: (scope) => this.choose(scope),
        setSplit: (split) => this.setSplit(split),
        help: () => (this.helping = !this.helping),
      })}
      <div class="rv-main" ?hidden=${!shown || this.model.files.length === 0}>
        <nav class="rv-side" aria-label="Files of the review">
          <label class="rv-filter">
            <span class="hidden-label">Filter files</span>
            ${icon('search')}<input
              type="text"
              placeholder="Filter files"
              spellcheck="false"
              .value=${this.filter}
              @input=${(event: Event) => this.setFilter((event.target as HTMLInputElement).value)}
              @keydown=${(event: KeyboardEvent) => {
                if (event.key === 'ArrowDown' || event.key === 'Enter') this.list.focus();
                else if (event.key === 'Escape') this.go(this.place);
                else return;
                event.preventDefault();
              }}
            />
          </label>
          <div class="rv-list"></div>
        </nav>
        <div class="rv-scroller" tabindex="-1" role="region" aria-label="Changes"></div>
      </div>
      ${this.message()} ${shown ? furtherNotice(this.model.further) : nothing}
      ${shown ? reviewFooter(this.model, this.decides, (what) => this.host?.send({ type: 'reviewDo', what })) : nothing}
      ${this.helping ? keysHelp(this.decides, () => (this.helping = false)) : nothing}
      <div class="hidden-label" role="status" aria-live="polite">${safeText(this.said)}</div>
    </div>`;
  }

  private message(): TemplateResult | typeof nothing {
    const { status } = this;
    if (status.kind === 'failed')
      return html`<div class="empty error-text" role="alert">
        <p>${safeText(status.text)}</p>
        <vscode-button secondary @click=${() => this.ask()}>Try Again</vscode-button>
      </div>`;
    if (status.kind !== 'shown')
      return html`<div class="empty">
        <vscode-progress-ring></vscode-progress-ring>
        <p>Loading the review…</p>
      </div>`;
    if (this.model.files.length > 0) return nothing;
    return html`<div class="empty">
      <p>${this.nothingYet === '' ? 'No file differs.' : this.nothingYet}</p>
    </div>`;
  }
}

function partsOf(file: PanelFile | undefined): number {
  return file === undefined ? 0 : partCount(file);
}
