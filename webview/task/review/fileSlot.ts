import type { Row } from './fileRows.ts';
import { RowHeights } from './rowHeights.ts';

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
  isCertain: (row: Row) => boolean;
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
  readonly list = new RowHeights();
  view: View | undefined;
  headHeight = usualHead;
  /** Everything that is drawn has to be drawn anew. */
  stale = false;
  constructor(key: string) {
    this.key = key;
  }

  get height(): number {
    return this.headHeight + this.list.total;
  }

  /** Heights are to be found out anew. */
  forget(): void {
    this.list.forget();
    for (const drawn of this.view?.rows.values() ?? []) drawn.measured = false;
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
    const first = this.list.at(Math.max(0, how.top)) ?? 0;
    const last = how.bottom < 0 ? -1 : (this.list.at(how.bottom) ?? -1);
    const wanted = new Set<string>();
    for (let at = first; at <= last; at++) wanted.add(this.list.rows[at]?.key ?? '');
    for (const [key, { element }] of rows) {
      if (wanted.has(key)) continue;
      if (element.contains(document.activeElement)) how.leave();
      element.remove();
      rows.delete(key);
    }
    let next: ChildNode | null = body.firstChild;
    for (let at = first; at <= last; at++) {
      const row = this.list.rows[at];
      if (row === undefined) continue;
      let drawn = rows.get(row.key);
      if (drawn === undefined) {
        drawn = { row, element: document.createElement('div'), measured: how.isCertain(row) };
        rows.set(row.key, drawn);
        how.drawRow(row, drawn.element);
      } else if (drawn.row !== row || this.stale) {
        drawn.row = row;
        drawn.measured = how.isCertain(row);
        how.drawRow(row, drawn.element);
      }
      if (drawn.element === next) next = next.nextSibling;
      else body.insertBefore(drawn.element, next);
    }
    this.stale = false;
    section.style.top = `${how.offset}px`;
    section.style.height = `${this.height}px`;
    body.style.transform = `translateY(${this.list.top(first)}px)`;
  }

  /**
   * Looks how high the drawn rows are, where that is not certain.
   * @param heads the head can be of another height than usual
   * @returns true when that is not what was thought
   */
  measure(heads: boolean, measured: (row: Row, height: number) => void): boolean {
    const { view } = this;
    if (view === undefined) return false;
    let changed = false;
    const head = heads ? view.head.getBoundingClientRect().height : usualHead;
    if (Math.abs(head - this.headHeight) > 0.5 && head > 0) {
      this.headHeight = head;
      changed = true;
    }
    for (const [key, drawn] of view.rows) {
      if (drawn.measured) continue;
      drawn.measured = true;
      const height = drawn.element.getBoundingClientRect().height;
      measured(drawn.row, height);
      const at = this.list.indexOf(key);
      if (at === -1 || Math.abs(height - this.list.height(at)) <= 0.5) continue;
      this.list.setHeight(at, height);
      changed = true;
    }
    return changed;
  }
}
