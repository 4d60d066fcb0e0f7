import { html, render } from 'lit';
import { type PanelFile, partCount, readParts } from '../../../src/protocol/panelFiles.ts';
import type { PanelRequest } from '../../../src/protocol/panelMessages.ts';
import type { RemarkState, ReviewFile, ReviewPart, Verdict } from '../../../src/protocol/review.ts';
import { isTaken, remarksOf } from '../../../src/protocol/reviewState.ts';
import { imageType, type ReviewMessage } from '../../../src/protocol/reviewMessages.ts';
import { safeText } from '../../../src/protocol/safeText.ts';
import { plural } from '../../../src/protocol/words.ts';
import { icon } from '../icons.ts';
import { CellSize } from './cellSize.ts';
import { drawLine } from './codeLine.ts';
import { type ColourLoader, loadColours } from './colourLoader.ts';
import { expected, hasLines, headRows, type Row, textRows, type Writing } from './fileRows.ts';
import { FileTexts, usualContext } from './fileTexts.ts';
import { Images } from './images.ts';
import { PartsLoader } from './partsLoader.ts';
import type { Place, ReviewModel } from './reviewModel.ts';
import {
  fileHead,
  fileLabel,
  gateNotice,
  partBar,
  remarkBox,
  type ReviewActions,
  writingBox,
} from './reviewViews.ts';
import { RowList } from './rowList.ts';

/** Files with more changed lines are folded until they are asked for. */
const foldedLines = 3000;
const barHeight = 30;
/** Rows that are all equally high where there is enough room, and how much that is, in pixels. */
const alike: ReadonlySet<Row['kind']> = new Set(['part', 'gap', 'folded']);
const wideEnough = 900;
const wideContext = 25;
const wholeFile = 1_000_000;

interface Options {
  split: boolean;
  decides: boolean;
  editor: boolean;
  send: (request: PanelRequest) => void;
  /** Where the keyboard is. */
  place: () => Place;
  focused: (place: Place) => void;
  say: (text: string) => void;
}

/** The files of the review under each other, with their lines. */
export class Diff {
  readonly texts: FileTexts;
  readonly images: Images;
  private readonly parts: PartsLoader;
  private readonly model: ReviewModel;
  private readonly options: Options;
  private readonly list: RowList;
  private readonly scroller: HTMLElement;
  private readonly colours: ColourLoader;
  private readonly cells: CellSize;
  private readonly gone = new AbortController();
  /** Rows by file, while nothing changes them. */
  private readonly rows = new Map<string, Row[]>();
  private numbers = new Map<string, number>();
  /** Whether a file is folded, where the user said so. */
  private readonly folds = new Map<string, boolean>();
  private split: boolean;
  /** Of rows that are all equally high while there is enough room, once one was measured. */
  private readonly heights = new Map<Row['kind'], number>();
  private writing: { file: string; at: Writing; text: string } | undefined;
  private remarks: readonly RemarkState[] = [];
  /** A place whose part or lines have not come yet. */
  private awaited: Place | undefined;

  private readonly actions: ReviewActions;

  constructor(scroller: HTMLElement, model: ReviewModel, options: Options) {
    this.scroller = scroller;
    this.model = model;
    this.options = options;
    this.split = options.split;
    this.cells = new CellSize(scroller);
    this.colours = loadColours();
    this.texts = new FileTexts({
      ask: (request, file, context) => options.send({ type: 'reviewText', request, file: file.id, context }),
      arrived: (id) => this.arrived(id),
      colour: (file, text, colours, signal) =>
        this.colours.colour(file.path, text, colours, () => this.repaint(file.id), signal),
    });
    this.images = new Images({
      ask: (request, file) => options.send({ type: 'reviewImages', request, file: file.id }),
      arrived: (id) => this.repaint(id),
    });
    this.parts = new PartsLoader({
      ask: (request, files) => options.send({ type: 'reviewParts', request, files }),
      isQuiet: () => !this.texts.isBusy,
    });
    this.actions = this.makeActions();
    this.list = new RowList(scroller, {
      count: () => model.shown.length,
      key: (file) => model.shown[file]?.id ?? '',
      rows: (file) => this.rowsOf(model.shown[file]),
      estimate: (row) => this.estimate(row),
      drawHead: (file, element) => this.drawHead(file, element),
      drawRow: (file, row, element) => this.drawRow(file, row, element),
      isCertain: (row) => this.isCertain(row),
      measured: (row, height) => {
        if (alike.has(row.kind) && this.cells.scrollerWidth >= wideEnough) this.heights.set(row.kind, height);
      },
      widthChanged: (width) => {
        this.cells.scrollerWidth = width;
        this.heights.clear();
      },
      label: (file) => {
        const one = model.shown[file];
        return one === undefined ? '' : fileLabel(model, one);
      },
    });
    this.list.onDrawn = (first, last) => this.seen(first, last);
    scroller.addEventListener('click', (event) => this.clicked(event), { signal: this.gone.signal });
  }

  schedule(): void {
    this.list.schedule();
  }

  /** A diff has come, of the same scope or of another. What was asked for about the one before may not be answered. */
  renewed(): void {
    this.parts.reset(this.model.files);
    this.texts.forgetAsked();
    this.images.forgetAsked();
  }

  partsReceived({ request, data }: Extract<ReviewMessage, { type: 'reviewParts' }>): void {
    for (const file of this.model.setParts(readParts(data))) {
      // Without its lines a file looks the same with its hunks as without.
      if (this.texts.get(file)?.text !== undefined) this.arrived(file.id);
      else this.repaint(file.id);
    }
    this.parts.answered(request);
  }

  /** Other files, or the same ones with other parts. */
  filesChanged(): void {
    this.rows.clear();
    this.numbers = new Map(this.model.shown.map((file, number) => [file.id, number]));
    const place = this.options.place();
    if (this.awaited !== undefined) this.awaited = place.part >= 0 ? place : undefined;
    this.list.reset();
  }

  /** Verdicts, marks or remarks are others. */
  stateChanged(): void {
    const before = this.remarks;
    this.remarks = this.model.state.remarks;
    if (before !== this.remarks) {
      const touched = new Set([...before, ...this.remarks].map(({ file }) => file));
      for (const id of touched) this.changed(id);
    }
    this.list.repaint();
  }

  setSplit(split: boolean): void {
    this.split = split;
    this.filesChanged();
  }

  themeChanged(): void {
    this.colours.themeChanged();
    this.texts.recolour(this.model.files);
    this.list.repaint();
  }

  /** Brings a place into sight, and gives it the focus. */
  reveal(place: Place, focus = true): void {
    const file = this.model.shown[place.file];
    if (file === undefined) return;
    const isPart = place.part >= 0 && place.part < partCount(file);
    if (isPart && this.isFolded(file)) this.setFolded(file, false);
    const part = file.parts[place.part];
    const key = part === undefined ? undefined : `part ${part.id}`;
    const there = !isPart || this.rowsOf(file).some((row) => row.key === key);
    this.awaited = there ? undefined : place;
    const wanted = there && key !== undefined ? '.rv-bar' : '.rv-file-head';
    this.list.reveal(place.file, there ? key : undefined, focus ? wanted : undefined);
    this.list.repaint();
  }

  decide(what: { parts: string[] } | { file: string }, verdict: Verdict | null): void {
    this.options.send({ type: 'decide', what, verdict });
  }

  /** Begins a remark on a part, or on the first part of the file. */
  write(file: PanelFile, part?: ReviewPart): void {
    const chosen =
      part ?? file.parts.find(({ kind }) => kind === 'hunk' || kind === 'add' || kind === 'delete');
    if (chosen === undefined || !hasLines(file)) {
      this.options.say(
        file.coming === undefined ? 'There are no lines to comment on.' : 'Its hunks are still coming.',
      );
      return;
    }
    const whole = { start: 1, lines: chosen.kind === 'delete' ? chosen.removed : chosen.added };
    const old = chosen.kind === 'delete' || (chosen.kind === 'hunk' && chosen.new?.lines === 0);
    const range = chosen.kind === 'hunk' ? (old ? chosen.old : chosen.new) : whole;
    if (range === undefined || range.lines === 0) {
      this.options.say('There are no lines to comment on.');
      return;
    }
    // Of a new file the first line: what is meant stands in the words.
    const last = chosen.kind === 'hunk' ? range.start + range.lines - 1 : 1;
    this.beginWriting(file.id, { side: old ? 'old' : 'new', line: range.start, endLine: last }, '');
  }

  open(file: ReviewFile, part?: ReviewPart): void {
    if (!this.options.editor) return;
    const line = part?.new?.start;
    this.options.send({
      type: 'reviewOpen',
      file: file.id,
      ...(line === undefined || line < 1 ? {} : { line }),
    });
  }

  fold(file: ReviewFile): void {
    this.setFolded(file, !this.isFolded(file));
  }

  dispose(): void {
    this.gone.abort();
    this.list.dispose();
    this.texts.clear();
    this.images.dispose();
    this.colours.dispose();
  }

  private makeActions(): ReviewActions {
    const { send } = this.options;
    return {
      decides: this.options.decides,
      editor: this.options.editor,
      decide: (what, verdict) => this.decide(what, verdict),
      review: (file, on) => send({ type: 'reviewed', files: [file.id], on }),
      write: (file, part) => this.write(file, part),
      edit: (remark) =>
        this.beginWriting(
          remark.file,
          { side: remark.side, line: remark.line, endLine: remark.endLine, id: remark.id },
          remark.text,
        ),
      submit: (text) => this.submit(text),
      cancel: () => this.endWriting(),
      remove: (remark) => send({ type: 'remarkRemove', id: remark.id }),
      resolve: (remark, resolved) => send({ type: 'remarkResolve', id: remark.id, resolved }),
      open: (file, part) => this.open(file, part),
      merge: (file) => send({ type: 'reviewMerge', file: file.id }),
      fold: (file) => this.fold(file),
      widen: (file) =>
        this.texts.setContext(file, this.texts.contextOf(file) === usualContext ? wideContext : wholeFile),
      focused: (file, part) => {
        const before = this.options.place();
        const place = {
          file: this.numberOf(file.id),
          part: part === undefined ? -1 : file.parts.indexOf(part),
        };
        // The head has the focus in place of a hunk that has not come: a key is not meant for the whole file.
        if (part === undefined && this.awaited?.file === place.file) return;
        this.awaited = undefined;
        if (before.file === place.file && before.part === place.part) return;
        this.options.focused(place);
        this.list.repaint(before.file);
        this.list.repaint(place.file);
      },
    };
  }

  private numberOf(id: string): number {
    return this.numbers.get(id) ?? -1;
  }

  /** The rows of a file have to be made anew. */
  private changed(id: string): void {
    this.rows.delete(id);
    const number = this.numberOf(id);
    if (number !== -1) this.list.changed(number);
  }

  private repaint(id: string): void {
    const number = this.numberOf(id);
    if (number !== -1) this.list.repaint(number);
  }

  private arrived(id: string): void {
    this.changed(id);
    this.parts.fill();
    const { awaited } = this;
    const file = awaited === undefined ? undefined : this.model.shown[awaited.file];
    if (awaited === undefined || file?.id !== id) return;
    if (this.texts.get(file)?.failed !== undefined) {
      this.awaited = undefined;
      this.options.focused({ file: awaited.file, part: -1 });
      this.list.repaint(awaited.file);
      return;
    }
    const head = this.scroller.contains(document.activeElement) || document.activeElement === document.body;
    this.reveal(awaited, head);
  }

  private seen(first: number, last: number): void {
    const files = this.model.shown.slice(first, last + 1);
    const open = files.filter((file) => hasLines(file) && !this.isFolded(file));
    this.parts.want(files);
    this.texts.want(open);
    this.parts.fill();
  }

  private isFolded(file: PanelFile): boolean {
    return this.folds.get(file.id) ?? (file.added ?? 0) + (file.removed ?? 0) > foldedLines;
  }

  private setFolded(file: ReviewFile, folded: boolean): void {
    this.folds.set(file.id, folded);
    this.changed(file.id);
    this.repaint(file.id);
  }

  private rowsOf(file: PanelFile | undefined): Row[] {
    if (file === undefined) return [];
    let rows = this.rows.get(file.id);
    if (rows === undefined) {
      rows = this.makeRows(file);
      this.rows.set(file.id, rows);
    }
    return rows;
  }

  private makeRows(file: PanelFile): Row[] {
    const head = headRows(file);
    if (this.isFolded(file)) {
      const lines = (file.added ?? 0) + (file.removed ?? 0);
      return [...head, { key: 'folded', kind: 'folded', lines }];
    }
    if (!hasLines(file)) {
      const image = file.binary && imageType(file.path) !== undefined && this.options.decides;
      return image ? [...head, { key: 'images', kind: 'images' }] : head;
    }
    const held = this.texts.get(file);
    if (held?.text !== undefined) {
      const writing = this.writing?.file === file.id ? this.writing.at : undefined;
      const remarks = remarksOf(this.model.state, file.id);
      return [...head, ...textRows(file, held.text, { split: this.split, remarks, writing })];
    }
    if (held?.failed !== undefined) return [...head, { key: 'failed', kind: 'failed', text: held.failed }];
    const { lines, bars } = expected(file, this.split, usualContext);
    const height = lines * this.cells.height + bars * barHeight;
    return [...head, { key: 'waiting', kind: 'waiting', height }];
  }

  private estimate(row: Row): number {
    const { height } = this.cells;
    const known = this.heights.get(row.kind);
    if (known !== undefined) return known;
    switch (row.kind) {
      case 'line':
        return height * this.cells.wraps(row.side.text, false);
      case 'pair':
        return (
          height *
          Math.max(
            this.cells.wraps(row.left?.text ?? '', true),
            this.cells.wraps(row.right?.text ?? '', true),
          )
        );
      case 'waiting':
        return row.height;
      case 'images':
        return 240;
      case 'writing':
        return 120;
      case 'remark':
      case 'gate':
        return 50;
      default:
        return barHeight;
    }
  }

  /** Measuring is dear: it is left out where nothing can come of it. */
  private isCertain(row: Row): boolean {
    if (row.kind === 'line') return this.cells.fits(row.side.text, false) && row.side.open !== true;
    if (row.kind !== 'pair') return this.heights.has(row.kind);
    const { left, right } = row;
    return (
      this.cells.fits(left?.text ?? '', true) &&
      this.cells.fits(right?.text ?? '', true) &&
      left?.open !== true &&
      right?.open !== true
    );
  }

  private drawHead(number: number, element: HTMLElement): void {
    const file = this.model.shown[number];
    if (file === undefined) return;
    const place = this.options.place();
    const look = { current: place.file === number && place.part === -1, folded: this.isFolded(file) };
    render(fileHead(this.model, file, look, this.actions), element);
  }

  private drawRow(number: number, row: Row, element: HTMLElement): void {
    const file = this.model.shown[number];
    if (file === undefined) return;
    if (row.kind === 'line' || row.kind === 'pair') {
      const verdict = row.part === undefined ? undefined : this.model.state.verdicts[row.part.id];
      const taken = row.part !== undefined && isTaken(this.model.state, row.part.id);
      drawLine(row, element, this.texts.get(file)?.colours, `${verdict ?? ''}${taken ? ' taken' : ''}`);
      element.dataset['file'] = file.id;
      return;
    }
    element.className = `rv-row rv-${row.kind}-row`;
    render(this.rowView(number, file, row), element);
    if (row.kind === 'waiting') element.style.height = `${row.height}px`;
  }

  private rowView(number: number, file: ReviewFile, row: Exclude<Row, { kind: 'line' | 'pair' }>): unknown {
    switch (row.kind) {
      case 'gate':
        return gateNotice(file);
      case 'words':
        return html`<div class="rv-words">${safeText(row.text)}</div>`;
      case 'part': {
        const place = this.options.place();
        const current = place.file === number && place.part === row.index;
        return partBar(this.model, file, row.part, current, this.actions);
      }
      case 'gap':
        return html`<button class="rv-gap" tabindex="-1" @click=${() => this.actions.widen(file)}>
          ${icon('unfold')}${plural(row.lines, 'unchanged line')}
        </button>`;
      case 'left':
        return html`<div class="rv-words dim">
          ${plural(row.lines, 'more changed line')}.
          ${this.options.editor ? 'Open it in the editor to see them.' : ''}
        </div>`;
      case 'waiting':
        return html`<div class="rv-words dim">Loading…</div>`;
      case 'failed':
        return html`<div class="rv-words error-text" role="alert">${safeText(row.text)}</div>`;
      case 'folded':
        return html`<button class="rv-gap" tabindex="-1" @click=${() => this.fold(file)}>
          ${icon('unfold')}Show ${plural(row.lines, 'changed line')}
        </button>`;
      case 'images':
        return this.images.view(file);
      case 'remark':
        return remarkBox(row.remark, this.actions);
      case 'writing':
        return writingBox(
          this.writing?.text ?? '',
          (text) => {
            if (this.writing !== undefined) this.writing.text = text;
          },
          this.actions,
        );
    }
  }

  // Remarks

  private beginWriting(file: string, at: Writing, text: string): void {
    const before = this.writing?.file;
    this.writing = { file, at, text };
    if (before !== undefined && before !== file) this.changed(before);
    this.changed(file);
    const key = at.id === undefined ? 'writing' : `writing ${at.id}`;
    this.list.reveal(this.numberOf(file), key, 'textarea');
  }

  private endWriting(): void {
    const file = this.writing?.file;
    this.writing = undefined;
    if (file !== undefined) this.changed(file);
    this.reveal(this.options.place());
  }

  private submit(text: string): void {
    const { writing } = this;
    if (writing === undefined) return;
    const { side, line, endLine, id } = writing.at;
    this.options.send(
      id === undefined
        ? { type: 'remark', file: writing.file, side, line, endLine, text }
        : { type: 'remarkChange', id, text },
    );
    this.endWriting();
  }

  /** On the number of a line: a remark on it. */
  private clicked(event: MouseEvent): void {
    if (!this.options.decides || !(event.target instanceof HTMLElement)) return;
    const number = event.target.closest<HTMLElement>('.rv-no[data-n]');
    const row = event.target.closest<HTMLElement>('[data-file]');
    if (number === null || row === null) return;
    const line = Number(number.dataset['n']);
    const side = number.dataset['side'] === 'old' ? 'old' : 'new';
    this.beginWriting(row.dataset['file'] ?? '', { side, line, endLine: line }, '');
  }
}
