import { HeightIndex } from '../../shared/heightIndex.ts';
import type { Row } from './fileRows.ts';
import { FileSlot } from './fileSlot.ts';

/** Drawn above and below what is seen, in pixels. */
const overscan = 300;
/** Below the head of a file that sticks at the top, a revealed row stands so far down, in pixels. */
const margin = 60;
/** From this width on the heads of files are all equally high, in pixels. */
const wideEnough = 900;
/** Between two files, in pixels. */
const between = 10;

interface Anchor {
  key: string;
  row: string | undefined;
  /** Pixels. */
  within: number;
}

/** What is listed. */
export interface RowSource {
  count(): number;
  /** The same for the same file, whatever its number is. */
  key(file: number): string;
  rows(file: number): readonly Row[];
  /** How high a row will about be, in pixels. */
  estimate(row: Row): number;
  drawHead(file: number, element: HTMLElement): void;
  drawRow(file: number, row: Row, element: HTMLElement): void;
  /** The height of such a row is as it was estimated, without a look. */
  isCertain(row: Row): boolean;
  /** How high a row was found to be, in pixels. */
  measured(row: Row, height: number): void;
  /** How wide the list is now, in pixels. */
  widthChanged(width: number): void;
  /** Names the group of rows that a file is, for screen readers. */
  label(file: number): string;
}

/**
 * Files under each other, each with a head that stays in sight and any number of rows, of which only what is seen is in
 * the page. Heights are measured as rows are drawn; what is being read stays where it is meanwhile.
 */
export class RowList {
  private readonly scroller: HTMLElement;
  private readonly sizer: HTMLElement;
  private readonly source: RowSource;
  private readonly index = new HeightIndex();
  private slots: FileSlot[] = [];
  private readonly drawn = new Map<string, FileSlot>();
  private readonly resize: ResizeObserver;
  private scheduled = 0;
  private width = 0;
  /** The height that the sizer has. */
  private grown = -1;
  private pending: { file: number; key: string | undefined; focus: string | undefined } | undefined;
  /** After each drawing: the files that are seen. */
  onDrawn: (first: number, last: number) => void = () => undefined;

  constructor(scroller: HTMLElement, source: RowSource) {
    this.scroller = scroller;
    this.source = source;
    this.sizer = document.createElement('div');
    this.sizer.className = 'rv-sizer';
    scroller.replaceChildren(this.sizer);
    scroller.addEventListener('scroll', this.scrolled, { passive: true });
    this.resize = new ResizeObserver(() => this.resized());
    this.resize.observe(scroller);
  }

  /** The list of files is another one. Files that stay keep what is known of them. */
  reset(anchor = this.anchor()): void {
    const known = new Map(this.slots.map((slot) => [slot.key, slot]));
    this.index.clear();
    this.slots = [];
    for (let file = 0; file < this.source.count(); file++) {
      const key = this.source.key(file);
      const slot = known.get(key) ?? new FileSlot(key);
      known.delete(key);
      slot.number = file;
      this.slots.push(slot);
      slot.list.set(this.source.rows(file), (row) => this.source.estimate(row));
      this.index.push(slot.height + between);
    }
    for (const gone of known.values()) this.remove(gone);
    this.restore(anchor);
    this.repaint();
  }

  /** The rows of one file are other ones. */
  changed(file: number): void {
    const slot = this.slots[file];
    if (slot === undefined) return;
    const anchor = this.anchor();
    slot.list.set(this.source.rows(file), (row) => this.source.estimate(row));
    this.index.set(file, slot.height + between);
    this.restore(anchor);
    this.schedule();
  }

  /** What is drawn is drawn anew, with the same rows: of one file, or of all. */
  repaint(file?: number): void {
    for (const slot of this.drawn.values()) {
      if (file === undefined || slot === this.slots[file]) slot.stale = true;
    }
    this.schedule();
  }

  /** Brings a row into sight, or the head of a file, and focuses what `focus` selects in it. */
  reveal(file: number, key?: string, focus?: string): void {
    this.pending = { file, key, focus };
    this.schedule();
  }

  schedule(): void {
    this.scheduled ||= requestAnimationFrame(() => {
      this.scheduled = 0;
      this.draw();
    });
  }

  dispose(): void {
    cancelAnimationFrame(this.scheduled);
    this.resize.disconnect();
    this.scroller.removeEventListener('scroll', this.scrolled);
  }

  private readonly scrolled = (): void => this.schedule();

  private resized(): void {
    const width = this.scroller.clientWidth;
    if (width !== this.width && width > 0) {
      const first = this.width === 0;
      this.width = width;
      this.source.widthChanged(width);
      // Lines wrap elsewhere.
      if (!first) {
        const anchor = this.anchor();
        for (const slot of this.slots) slot.forget();
        this.reset(anchor);
      }
    }
    this.schedule();
  }

  /** What stands at a position, to be found again when heights change. */
  private anchor(top = this.scroller.scrollTop): Anchor | undefined {
    const file = this.index.indexAt(top);
    const slot = this.slots[file];
    if (slot === undefined) return undefined;
    const within = top - this.index.offset(file);
    const row = slot.list.at(within - slot.headHeight);
    if (within < slot.headHeight || row === undefined) return { key: slot.key, row: undefined, within };
    return {
      key: slot.key,
      row: slot.list.rows[row]?.key,
      within: within - slot.headHeight - slot.list.top(row),
    };
  }

  private positionOf(anchor: Anchor): number | undefined {
    const file = this.slots.findIndex(({ key }) => key === anchor.key);
    const slot = this.slots[file];
    if (slot === undefined) return undefined;
    const offset = this.index.offset(file);
    if (anchor.row === undefined) return offset + anchor.within;
    const row = slot.list.indexOf(anchor.row);
    return offset + (row === -1 ? 0 : slot.headHeight + slot.list.top(row) + anchor.within);
  }

  private restore(anchor: Anchor | undefined): void {
    this.grow();
    const top = anchor === undefined ? undefined : this.positionOf(anchor);
    if (top !== undefined && Math.abs(top - this.scroller.scrollTop) > 0.5) this.scroller.scrollTop = top;
  }

  /** The scroll bar is for as much as there is. */
  private grow(): void {
    const { total } = this.index;
    if (total === this.grown) return;
    this.grown = total;
    this.sizer.style.height = `${total}px`;
  }

  /** Reads of the page where it stands before it writes to it: in between it would be laid out once more. */
  private draw(): void {
    const viewport = this.scroller.clientHeight;
    if (viewport === 0) return;
    if (this.width === 0) this.resized();
    const was = this.scroller.scrollTop;
    this.grow();
    let top = this.pendingTop(was, viewport);
    // Measuring brings other rows into sight; twice more is enough, the next frame does the rest.
    for (let round = 0; round < 3; round++) {
      const anchor = this.anchor(top);
      this.layOut(top - overscan, top + viewport + overscan);
      if (!this.measure()) break;
      this.grow();
      top =
        this.pending === undefined
          ? ((anchor && this.positionOf(anchor)) ?? top)
          : this.pendingTop(top, viewport);
    }
    if (Math.abs(top - was) > 0.5) this.scroller.scrollTop = top;
    this.focusPending();
    if (this.slots.length > 0) this.onDrawn(this.index.indexAt(top), this.index.indexAt(top + viewport));
  }

  /** Where the list has to stand for what is to be brought into sight; `top` where it is in sight, or nothing is wanted. */
  private pendingTop(top: number, viewport: number): number {
    const { pending } = this;
    const slot = pending === undefined ? undefined : this.slots[pending.file];
    if (pending === undefined || slot === undefined) return top;
    const offset = this.index.offset(pending.file);
    const row = pending.key === undefined ? -1 : slot.list.indexOf(pending.key);
    const at = row === -1 ? offset : offset + slot.headHeight + slot.list.top(row);
    const height = row === -1 ? slot.headHeight : slot.list.height(row);
    const above = row === -1 ? 0 : slot.headHeight;
    if (at - above >= top && at + height + margin <= top + viewport) return top;
    const wanted = row === -1 ? at : at - above - margin;
    return Math.max(0, Math.min(wanted, this.index.total - viewport));
  }

  private focusPending(): void {
    const { pending } = this;
    this.pending = undefined;
    if (pending?.focus === undefined) return;
    const slot = this.slots[pending.file];
    const element = pending.key === undefined ? slot?.view?.head : slot?.view?.rows.get(pending.key)?.element;
    const wanted = element?.matches(pending.focus) === true ? element : element?.querySelector(pending.focus);
    if (wanted instanceof HTMLElement) wanted.focus({ preventScroll: true });
  }

  private layOut(top: number, bottom: number): void {
    const first = this.index.indexAt(top);
    const last = this.slots.length === 0 ? -1 : this.index.indexAt(bottom);
    const seen = new Set<FileSlot>();
    for (let file = first; file <= last; file++) {
      const slot = this.slots[file];
      if (slot === undefined) continue;
      seen.add(slot);
      const offset = this.index.offset(file);
      if (slot.view === undefined) {
        this.sizer.append(slot.show(this.source.label(file)));
        this.drawn.set(slot.key, slot);
      }
      slot.draw({
        offset,
        top: top - offset - slot.headHeight,
        bottom: bottom - offset - slot.headHeight,
        drawHead: (element) => this.source.drawHead(file, element),
        drawRow: (row, element) => this.source.drawRow(file, row, element),
        isCertain: (row) => this.source.isCertain(row),
        label: () => this.source.label(file),
        leave: () => this.leave(),
      });
    }
    for (const slot of [...this.drawn.values()]) if (!seen.has(slot)) this.remove(slot);
  }

  /** True when heights are other than they were thought to be. */
  private measure(): boolean {
    let changed = false;
    for (const slot of this.drawn.values()) {
      if (!slot.measure(this.width < wideEnough, (row, height) => this.source.measured(row, height)))
        continue;
      this.index.set(slot.number, slot.height + between);
      changed = true;
    }
    return changed;
  }

  /** Keys go on to be heard when what had the focus goes out of sight. */
  private leave(): void {
    this.scroller.focus({ preventScroll: true });
  }

  private remove(slot: FileSlot): void {
    this.drawn.delete(slot.key);
    if (slot.view?.section.contains(document.activeElement) === true) this.leave();
    slot.hide();
  }
}
