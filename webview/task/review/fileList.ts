import { html, nothing, render, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { statusLetter } from '../../../src/protocol/panelMessages.ts';
import type { ReviewFile } from '../../../src/protocol/review.ts';
import { isReviewed } from '../../../src/protocol/reviewState.ts';
import { safeLine } from '../../../src/protocol/safeText.ts';
import type { ReviewModel } from './reviewModel.ts';
import { badges, counts, fileLabel, verdictIcon } from './reviewViews.ts';

/** Pixels; as in the style sheet. */
const rowHeight = 24;
const overscan = 10;

interface Options {
  go: (file: number) => void;
  review: (file: ReviewFile, on: boolean) => void;
  /** The user may mark files. */
  can: () => boolean;
}

/** The files at the side. Only those that are seen are in the page. */
export class FileList {
  private readonly model: ReviewModel;
  private readonly options: Options;
  private scroller: HTMLElement | undefined;
  private resize: ResizeObserver | undefined;
  private scheduled = 0;
  private current = 0;
  private focusing = false;

  constructor(model: ReviewModel, options: Options) {
    this.model = model;
    this.options = options;
  }

  attach(scroller: HTMLElement): void {
    if (this.scroller === scroller) return;
    this.scroller = scroller;
    scroller.addEventListener('scroll', () => this.redraw(), { passive: true });
    this.resize = new ResizeObserver(() => this.redraw());
    this.resize.observe(scroller);
    this.redraw();
  }

  setCurrent(file: number): void {
    if (file === this.current) return;
    this.current = file;
    this.reveal();
    this.redraw();
  }

  focus(): void {
    this.focusing = true;
    this.reveal();
    this.redraw();
  }

  redraw(): void {
    this.scheduled ||= requestAnimationFrame(() => {
      this.scheduled = 0;
      this.draw();
    });
  }

  dispose(): void {
    cancelAnimationFrame(this.scheduled);
    this.resize?.disconnect();
  }

  private top(file: number): number {
    return (file + this.headings(file)) * rowHeight;
  }

  /** Headings before a file: where there is a gate, one above it and one above the others. */
  private headings(file: number): number {
    const { shown } = this.model;
    if (shown[0] === undefined || shown[0].gate.length === 0) return 0;
    return (shown[file]?.gate.length ?? 0) > 0 ? 1 : 2;
  }

  private reveal(): void {
    const { scroller } = this;
    if (scroller === undefined) return;
    const top = this.top(this.current);
    if (top < scroller.scrollTop) scroller.scrollTop = top - rowHeight;
    else if (top + rowHeight > scroller.scrollTop + scroller.clientHeight)
      scroller.scrollTop = top + 2 * rowHeight - scroller.clientHeight;
  }

  private draw(): void {
    const { scroller } = this;
    if (scroller === undefined) return;
    const { shown } = this.model;
    const first = Math.max(0, Math.floor(scroller.scrollTop / rowHeight) - overscan);
    const last = Math.min(
      shown.length - 1,
      Math.ceil((scroller.scrollTop + scroller.clientHeight) / rowHeight) + overscan,
    );
    const seen = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
    // What has the focus stays, or the keys would be lost.
    if (!seen.includes(this.current) && shown[this.current] !== undefined) seen.push(this.current);
    const gates = shown.filter(({ gate }) => gate.length > 0).length;
    const total = shown.length + (gates > 0 ? (gates < shown.length ? 2 : 1) : 0);
    render(
      html`<div
        class="rv-list-sizer"
        role="list"
        aria-label="${shown.length} files"
        @keydown=${(event: KeyboardEvent) => this.key(event)}
      >
        ${gates > 0 ? heading('Look at these first', 0) : nothing}
        ${gates > 0 && gates < shown.length ? heading('Files', (gates + 1) * rowHeight) : nothing}
        ${repeat(
          seen,
          (file) => shown[file]?.id,
          (file) => this.row(file),
        )}
      </div>`,
      scroller,
    );
    const sizer = scroller.querySelector<HTMLElement>('.rv-list-sizer');
    if (sizer === null) return;
    sizer.style.height = `${total * rowHeight}px`;
    for (const row of sizer.querySelectorAll<HTMLElement>('[data-top]'))
      row.style.top = `${row.dataset['top'] ?? 0}px`;
    if (!this.focusing) return;
    this.focusing = false;
    sizer.querySelector<HTMLElement>('.rv-item.current .rv-item-name')?.focus();
  }

  private row(number: number): TemplateResult | typeof nothing {
    const file = this.model.shown[number];
    if (file === undefined) return nothing;
    const reviewed = isReviewed(this.model.state, file);
    const current = number === this.current;
    const slash = file.path.lastIndexOf('/');
    return html`<div
      class="rv-item ${current ? 'current' : ''} ${reviewed ? 'reviewed' : ''}"
      role="listitem"
      data-top=${this.top(number)}
    >
      ${
        this.options.can()
          ? html`<input
              type="checkbox"
              tabindex="-1"
              aria-label="Reviewed: ${safeLine(file.path)}"
              .checked=${reviewed}
              @change=${(event: Event) =>
                this.options.review(file, (event.target as HTMLInputElement).checked)}
            />`
          : nothing
      }
      <button
        class="rv-item-name"
        tabindex=${current ? 0 : -1}
        aria-label=${fileLabel(this.model, file)}
        aria-current=${current}
        title=${safeLine(file.path, 1000)}
        @click=${() => this.options.go(number)}
      >
        <span class="status ${file.status}">${statusLetter(file.status)}</span>
        <span class="rv-item-path"
          ><bdi>${safeLine(file.path.slice(slash + 1))}</bdi>
          <span class="dim">${safeLine(file.path.slice(0, Math.max(0, slash)))}</span></span
        >
        ${badges(this.model, file)}${verdictIcon(this.model.verdict(file))}${counts(file)}
      </button>
    </div>`;
  }

  private key(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -1e9, End: 1e9 }[event.key];
    if (event.key === ' ' && event.target instanceof HTMLButtonElement) {
      const file = this.model.shown[this.current];
      if (file !== undefined && this.options.can())
        this.options.review(file, !isReviewed(this.model.state, file));
    } else if (step === undefined) return;
    else {
      this.current = Math.max(0, Math.min(this.model.shown.length - 1, this.current + step));
      this.focus();
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

function heading(words: string, top: number): TemplateResult {
  return html`<div class="rv-heading" role="presentation" data-top=${top}>${words}</div>`;
}
