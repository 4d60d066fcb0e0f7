import { html, render, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { DrawPace } from './drawPace.ts';
import { HeightIndex } from './heightIndex.ts';
import { RowSlots } from './rowSlots.ts';

/** Drawn above and below what is seen, in pixels. */
const overscan = 200;
/** Browsers cannot scroll much further than this, in pixels; a longer list is scrolled in larger steps. */
const maxScroll = 12_000_000;
/** More rows than this are never drawn at once. */
const maxRows = 512;
/** This near to the end counts as the end, in pixels. */
const endSlack = 12;
/** What browsers round positions by, in pixels. */
const rounding = 2;

/**
 * A list of any length of which only what is seen is in the page. Heights are measured as rows are drawn, and what is
 * being read stays where it is while rows above it turn out higher or lower. Follows the end until the user scrolls up.
 */
export class VirtualList {
  private readonly scroller: HTMLElement;
  private readonly sizer: HTMLElement;
  private readonly view: HTMLElement;
  private readonly row: (index: number) => TemplateResult;
  private readonly estimate: (index: number) => number;
  private readonly heights = new HeightIndex();
  private readonly slots = new RowSlots();
  private readonly pace = new DrawPace();
  /** Says when the browser is done with the frame of a drawing: a message is taken after it. */
  private readonly frameDone = new MessageChannel();
  private readonly resize: ResizeObserver;
  private following = true;
  private scheduled = 0;
  private resting: ReturnType<typeof setTimeout> | undefined;
  private drawBegan = 0;
  private drawnCount = 0;
  private ownTop = -1;
  /** Where the last drawing or scrolling left it. */
  private lastTop = 0;
  private first = 0;
  private last = -1;
  private pendingIndex: number | undefined;
  onFollow: (following: boolean) => void = () => undefined;
  onDrawn: () => void = () => undefined;

  constructor(
    scroller: HTMLElement,
    row: (index: number) => TemplateResult,
    estimate: (index: number) => number,
  ) {
    this.scroller = scroller;
    this.row = row;
    this.estimate = estimate;
    this.sizer = document.createElement('div');
    this.sizer.className = 'list-sizer';
    this.view = document.createElement('div');
    this.view.className = 'list-view';
    this.sizer.append(this.view);
    scroller.replaceChildren(this.sizer);
    scroller.addEventListener('scroll', this.scrolled, { passive: true });
    this.frameDone.port1.onmessage = () => this.pace.drawn(this.drawBegan, performance.now());
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(scroller);
  }

  get isFollowing(): boolean {
    return this.following;
  }

  /** Of what is seen, in pixels. */
  get visibleHeight(): number {
    return this.scroller.clientHeight;
  }

  /** First and last index in the page. */
  get range(): { first: number; last: number } {
    return { first: this.first, last: this.last };
  }

  /** The list has this many rows now. Fewer than before means that it begins anew. */
  setCount(count: number): void {
    const anew = count < this.heights.length;
    if (anew) this.heights.clear();
    for (let i = this.heights.length; i < count; i++) this.heights.push(this.estimate(i));
    if (anew) this.schedule();
    else this.grown();
  }

  follow(): void {
    this.setFollowing(true);
    this.schedule();
  }

  /** Brings a row to the middle of what is seen. */
  reveal(index: number): void {
    this.setFollowing(false);
    this.pendingIndex = index;
    this.schedule();
  }

  /** Brings a row into sight where it is not. */
  show(index: number): void {
    const viewport = this.scroller.clientHeight;
    const top = this.scroller.scrollTop * this.stretch(viewport);
    const at = this.heights.offset(index);
    if (at < top || at + this.heights.get(index) > top + viewport) this.reveal(index);
    else this.schedule();
  }

  schedule(): void {
    this.scheduled ||= requestAnimationFrame(() => {
      this.scheduled = 0;
      this.draw();
    });
  }

  dispose(): void {
    cancelAnimationFrame(this.scheduled);
    clearTimeout(this.resting);
    this.frameDone.port1.close();
    this.resize.disconnect();
    this.scroller.removeEventListener('scroll', this.scrolled);
  }

  /** More rows, or other ones than were drawn: to be drawn when the pace allows it. */
  private grown(): void {
    if (this.scheduled !== 0 || this.resting !== undefined) return;
    const wait = this.pace.wait(performance.now(), this.heights.length - this.drawnCount);
    if (wait === 0) {
      this.schedule();
      return;
    }
    this.resting = setTimeout(() => {
      this.resting = undefined;
      this.schedule();
    }, wait);
  }

  private readonly scrolled = (): void => {
    const top = this.scroller.scrollTop;
    // Our own scrolling comes back as an event too; what it brings into sight is drawn already.
    if (Math.abs(top - this.ownTop) <= 1) return;
    this.ownTop = -1;
    const left = this.scroller.scrollHeight - this.scroller.clientHeight - top;
    // A smooth scroll up begins with less than the slack: to follow then would end it.
    const isLeaving = top < this.lastTop && left > rounding;
    this.lastTop = top;
    this.setFollowing(!isLeaving && left <= endSlack);
    this.schedule();
  };

  private setFollowing(following: boolean): void {
    if (following === this.following) return;
    this.following = following;
    this.onFollow(following);
  }

  /** Position in the list for a position of the scroll bar, and back: the same unless the list is enormous. */
  private stretch(viewport: number): number {
    const total = this.heights.total;
    return total <= maxScroll ? 1 : (total - viewport) / (maxScroll - viewport);
  }

  private draw(): void {
    this.drawBegan = performance.now();
    const viewport = this.scroller.clientHeight;
    if (viewport === 0) return;
    const count = this.heights.length;
    this.drawnCount = count;
    let top = this.following ? 0 : this.scroller.scrollTop * this.stretch(viewport);
    if (this.pendingIndex !== undefined) {
      const middle = (viewport - this.heights.get(this.pendingIndex)) / 2;
      top = Math.max(0, this.heights.offset(this.pendingIndex) - Math.max(0, middle));
    }
    if (this.following) top = Math.max(0, this.heights.total - viewport);
    // Measuring can bring more rows into sight; twice more is enough, the next frame does the rest.
    for (let round = 1; ; round++) {
      const anchor = this.heights.indexAt(top);
      const within = top - this.heights.offset(anchor);
      const first = Math.max(0, this.heights.indexAt(top - overscan));
      const last =
        count === 0 ? -1 : Math.min(this.heights.indexAt(top + viewport + overscan), first + maxRows - 1);
      this.drawRows(first, last);
      const changed = this.measure();
      const target = this.pendingIndex;
      if (target !== undefined) {
        top = Math.max(
          0,
          this.heights.offset(target) - Math.max(0, (viewport - this.heights.get(target)) / 2),
        );
      } else if (this.following) top = Math.max(0, this.heights.total - viewport);
      else if (changed) top = this.heights.offset(anchor) + within;
      const enough = this.heights.indexAt(top) >= first && this.heights.indexAt(top + viewport) <= last;
      if (!changed || enough) break;
      if (round === 3) {
        this.schedule();
        break;
      }
    }
    this.place(top, viewport);
    this.pendingIndex = undefined;
    this.onDrawn();
    this.frameDone.port2.postMessage(undefined);
  }

  private drawRows(first: number, last: number): void {
    const slots = this.slots.assign(first, last, this.focused());
    this.first = first;
    this.last = last;
    render(
      html`${repeat(
        slots,
        (slot) => slot,
        (_slot, at) => this.row(first + at),
      )}`,
      this.view,
    );
  }

  /** The row that has the focus. Another row in its node would get keys that are not meant for it. */
  private focused(): number | undefined {
    let node = document.activeElement;
    if (node === null || node === this.view || !this.view.contains(node)) return undefined;
    while (node.parentElement !== null && node.parentElement !== this.view) node = node.parentElement;
    return this.first + Array.prototype.indexOf.call(this.view.children, node);
  }

  private measure(): boolean {
    let changed = false;
    let index = this.first;
    for (const child of this.view.children) {
      const height = child.getBoundingClientRect().height;
      if (Math.abs(height - this.heights.get(index)) > 0.5) {
        this.heights.set(index, height);
        changed = true;
      }
      index += 1;
    }
    return changed;
  }

  private place(top: number, viewport: number): void {
    const total = this.heights.total;
    const scrollHeight = Math.min(total, maxScroll);
    this.sizer.style.height = `${scrollHeight}px`;
    const stretch = this.stretch(viewport);
    const scrollTop = stretch === 1 ? top : top / stretch;
    // In an enormous list the rows hang from the scroll position instead of their own.
    const offset = this.heights.offset(this.first) - top + scrollTop;
    this.view.style.transform = `translateY(${offset}px)`;
    if (Math.abs(this.scroller.scrollTop - scrollTop) > 0.5) {
      this.scroller.scrollTop = scrollTop;
      this.ownTop = this.scroller.scrollTop;
    }
    this.lastTop = this.scroller.scrollTop;
  }
}
