import type { Row } from './fileRows.ts';

/** A file's place in the page while it is seen. */
interface View {
  section: HTMLElement;
  head: HTMLElement;
  body: HTMLElement;
  rows: Map<string, { row: Row; element: HTMLElement; measured: boolean }>;
}

interface Drawing {
  /** Of the file in the list; pixels, like the others. */
  offset: number;
  /** What is seen of the rows. */
  top: number;
  bottom: number;
  drawHead: (element: HTMLElement) => void;
  drawRow: (row: Row, element: HTMLElement) => void;
  label: () => string;
  /** What has the focus is taken away. */
  leave: () => void;
}

/** How high the head of a file is before it was drawn, in pixels. */
const usualHead = 34;

/** The rows of one file, their heights, and those of them that are in the page. */
export class FileSlot {
  readonly key: string;
  /** In the list. */
  number = 0;
  rows: readonly Row[] = [];
  view: View | undefined;
  headHeight = usualHead;
  /** Everything that is drawn has to be drawn anew. */
  stale = false;
  private heights = new Float64Array(0);
  /** Sums of the heights before each row; one more than rows. */
  private tops = new Float64Array(1);
  private upTo = 0;
  private numbers: Map<string, number> | undefined;

  constructor(key: string) {
    this.key = key;
  }

  get height(): number {
    return this.headHeight + this.top(this.rows.length);
  }

  /** Rows that were there before, by their keys, keep their measured heights. */
  setRows(rows: readonly Row[], estimate: (row: Row) => number): void {
    if (rows === this.rows) return;
    const before = new Map(this.rows.map((row, index) => [row.key, index]));
    const heights = new Float64Array(rows.length);
    rows.forEach((row, index) => {
      const known = before.get(row.key);
      const old = known === undefined ? undefined : this.rows[known];
      heights[index] =
        known !== undefined && old?.kind === row.kind && row.kind !== 'waiting'
          ? (this.heights[known] ?? 0)
          : estimate(row);
    });
    this.rows = rows;
    this.heights = heights;
    this.tops = new Float64Array(rows.length + 1);
    this.upTo = 0;
    this.numbers = undefined;
  }

  /** Heights are to be found out anew. */
  forget(): void {
    this.rows = [];
    for (const drawn of this.view?.rows.values() ?? []) drawn.measured = false;
  }

  /** Of a row from the top of the rows, in pixels; of the number of rows: the height of all. */
  top(row: number): number {
    for (; this.upTo < row; this.upTo++)
      this.tops[this.upTo + 1] = (this.tops[this.upTo] ?? 0) + (this.heights[this.upTo] ?? 0);
    return this.tops[row] ?? 0;
  }

  heightOf(row: number): number {
    return this.heights[row] ?? 0;
  }

  indexOf(key: string): number {
    this.numbers ??= new Map(this.rows.map((row, index) => [row.key, index]));
    return this.numbers.get(key) ?? -1;
  }

  /** The row at a position; undefined where there is none. */
  rowAt(y: number): number | undefined {
    const count = this.rows.length;
    if (count === 0 || y < 0) return undefined;
    this.top(count);
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.tops[middle] ?? 0) <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  show(label: string): HTMLElement {
    const section = document.createElement('section');
    section.className = 'rv-file';
    section.setAttribute('role', 'group');
    section.ariaLabel = label;
    const head = document.createElement('div');
    head.className = 'rv-head';
    const body = document.createElement('div');
    body.className = 'rv-body';
    section.append(head, body);
    this.view = { section, head, body, rows: new Map() };
    this.stale = true;
    return section;
  }

  hide(): void {
    this.view?.section.remove();
    this.view = undefined;
  }

  draw(how: Drawing): void {
    const { view } = this;
    if (view === undefined) return;
    const { section, head, body, rows } = view;
    if (this.stale) {
      how.drawHead(head);
      section.ariaLabel = how.label();
    }
    const first = this.rowAt(Math.max(0, how.top)) ?? 0;
    const last = how.bottom < 0 ? -1 : (this.rowAt(how.bottom) ?? -1);
    const wanted = new Set<string>();
    for (let at = first; at <= last; at++) wanted.add(this.rows[at]?.key ?? '');
    for (const [key, { element }] of rows) {
      if (wanted.has(key)) continue;
      if (element.contains(document.activeElement)) how.leave();
      element.remove();
      rows.delete(key);
    }
    let next: ChildNode | null = body.firstChild;
    for (let at = first; at <= last; at++) {
      const row = this.rows[at];
      if (row === undefined) continue;
      let drawn = rows.get(row.key);
      if (drawn === undefined) {
        drawn = { row, element: document.createElement('div'), measured: false };
        rows.set(row.key, drawn);
        how.drawRow(row, drawn.element);
      } else if (drawn.row !== row || this.stale) {
        drawn.row = row;
        drawn.measured = false;
        how.drawRow(row, drawn.element);
      }
      if (drawn.element === next) next = next.nextSibling;
      else body.insertBefore(drawn.element, next);
    }
    this.stale = false;
    section.style.top = `${how.offset}px`;
    section.style.height = `${this.height}px`;
    body.style.transform = `translateY(${this.top(first)}px)`;
  }

  /** Looks how high the drawn rows are. True when that is not what was thought. */
  measure(): boolean {
    const { view } = this;
    if (view === undefined) return false;
    let changed = false;
    const head = view.head.getBoundingClientRect().height;
    if (Math.abs(head - this.headHeight) > 0.5 && head > 0) {
      this.headHeight = head;
      changed = true;
    }
    for (const [key, drawn] of view.rows) {
      if (drawn.measured) continue;
      drawn.measured = true;
      const height = drawn.element.getBoundingClientRect().height;
      const at = this.indexOf(key);
      if (at === -1 || Math.abs(height - this.heightOf(at)) <= 0.5) continue;
      this.heights[at] = height;
      this.upTo = Math.min(this.upTo, at);
      changed = true;
    }
    return changed;
  }
}
