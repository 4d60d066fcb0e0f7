import type { PanelFile } from '../../../src/protocol/panelFiles.ts';
import type { RemarkState, ReviewFile, ReviewPart } from '../../../src/protocol/review.ts';
import type { FileText, Stretch } from '../../../src/protocol/reviewText.ts';

/** One side of a line. `open` marks a last line without a newline. */
export interface Side {
  /** From 1. */
  line: number;
  text: string;
  kind: 'same' | 'removed' | 'added';
  /** The same line of the other side where a change replaces it, to show what differs in it. */
  other?: string;
  open?: boolean;
}

/** What stands under each other in the body of a file. */
export type Row = { key: string } & (
  | { kind: 'gate'; file: ReviewFile }
  | { kind: 'words'; text: string }
  | { kind: 'part'; part: ReviewPart; index: number }
  /** Inline: one line. Its numbers stand in two columns. */
  | { kind: 'line'; side: Side; old?: number; new?: number; part?: ReviewPart }
  /** Side by side. */
  | { kind: 'pair'; left?: Side; right?: Side; part?: ReviewPart }
  | { kind: 'gap'; lines: number }
  | { kind: 'left'; lines: number }
  | { kind: 'waiting'; height: number }
  | { kind: 'failed'; text: string }
  | { kind: 'folded'; lines: number }
  | { kind: 'images' }
  | { kind: 'remark'; remark: RemarkState }
  | { kind: 'writing'; remark?: RemarkState }
);

/** Where a new remark is being written. */
export interface Writing {
  side: 'old' | 'new';
  line: number;
  endLine: number;
  /** A remark that is there already and gets another text. */
  id?: string;
}

export interface RowOptions {
  split: boolean;
  remarks: readonly RemarkState[];
  writing?: Writing | undefined;
}

/** The parts that are of the whole file, and their bars stand above the lines. */
const wholeFile = new Set<ReviewPart['kind']>(['rename', 'mode', 'binary', 'link', 'submodule', 'type']);

/** What a file without lines, or besides them, is said to be. */
export function wordsOf(file: ReviewFile, part: ReviewPart): string {
  switch (part.kind) {
    case 'rename':
      return `Renamed from ${file.from ?? 'another name'}`;
    case 'mode':
      return `Mode ${modeWords(file.oldMode)} → ${modeWords(file.newMode)}`;
    case 'binary':
      return file.status === 'added'
        ? 'A new binary file'
        : file.status === 'deleted'
          ? 'A binary file is deleted'
          : 'The binary file is another';
    case 'link':
      return part.label === '' ? 'A symbolic link' : part.label;
    case 'submodule':
      return part.label === '' ? 'A submodule' : part.label;
    case 'type':
      return `Its type changes: ${modeWords(file.oldMode)} → ${modeWords(file.newMode)}`;
    case 'add':
      return 'A new file';
    case 'delete':
      return 'The file is deleted';
    case 'hunk':
      return part.label;
  }
}

function modeWords(mode: string): string {
  const words: Record<string, string> = {
    '100644': 'plain file',
    '100755': 'executable file',
    '120000': 'symbolic link',
    '160000': 'submodule',
    '040000': 'folder',
    '000000': 'nothing',
  };
  const known = words[mode];
  return known === undefined ? mode : `${mode} (${known})`;
}

/** True for a file whose lines can be asked for. */
export function hasLines({ binary, coming, parts }: PanelFile): boolean {
  if (binary) return false;
  return (
    coming !== undefined || parts.some(({ kind }) => kind === 'hunk' || kind === 'add' || kind === 'delete')
  );
}

/** Rows above the lines: why the file is of the gate, and the parts that are of the whole file. */
export function headRows(file: ReviewFile): Row[] {
  const rows: Row[] = [];
  if (file.gate.length > 0) rows.push({ key: 'gate', kind: 'gate', file });
  file.parts.forEach((part, index) => {
    if (!wholeFile.has(part.kind)) return;
    rows.push({ key: `part ${part.id}`, kind: 'part', part, index });
    rows.push({ key: `words ${part.id}`, kind: 'words', text: wordsOf(file, part) });
  });
  return rows;
}

/** The rows of a file's lines. */
export function textRows(file: ReviewFile, text: FileText, options: RowOptions): Row[] {
  const rows: Row[] = [];
  const parts = new Map(file.parts.map((part, index) => [part.id, { part, index }]));
  for (const stretch of text.stretches) {
    if (stretch.kind === 'gap') {
      rows.push({ key: `gap ${stretch.new}`, kind: 'gap', lines: stretch.lines });
      continue;
    }
    const known = stretch.kind === 'change' ? parts.get(stretch.part) : undefined;
    if (known !== undefined)
      rows.push({ key: `part ${known.part.id}`, kind: 'part', part: known.part, index: known.index });
    const lines = options.split ? pairs(stretch, text, known?.part) : singles(stretch, text, known?.part);
    for (const row of lines) {
      rows.push(row);
      for (const remark of remarksAt(row, options)) rows.push(remark);
    }
  }
  if (text.left > 0) rows.push({ key: 'left', kind: 'left', lines: text.left });
  return rows;
}

function isOpen(text: FileText, side: 'old' | 'new', line: number): boolean {
  return text.open[side] && line === text.total[side];
}

function sideOf(
  text: FileText,
  which: 'old' | 'new',
  line: number,
  content: string,
  kind: Side['kind'],
  other?: string,
): Side {
  return {
    line,
    text: content,
    kind,
    ...(other === undefined ? {} : { other }),
    ...(isOpen(text, which, line) ? { open: true } : {}),
  };
}

type Lines = Extract<Row, { kind: 'line' | 'pair' }>;

function singles(stretch: Exclude<Stretch, { kind: 'gap' }>, text: FileText, part?: ReviewPart): Lines[] {
  if (stretch.kind === 'same') {
    return stretch.lines.map((content, i) => ({
      key: `line ${stretch.new + i}`,
      kind: 'line',
      side: sideOf(text, 'new', stretch.new + i, content, 'same'),
      old: stretch.old + i,
      new: stretch.new + i,
    }));
  }
  const { removed, added } = stretch;
  const alike = removed.length === added.length;
  const of = part === undefined ? {} : { part };
  return [
    ...removed.map((content, i): Lines => ({
      key: `old ${stretch.old + i}`,
      kind: 'line',
      side: sideOf(text, 'old', stretch.old + i, content, 'removed', alike ? added[i] : undefined),
      old: stretch.old + i,
      ...of,
    })),
    ...added.map((content, i): Lines => ({
      key: `line ${stretch.new + i}`,
      kind: 'line',
      side: sideOf(text, 'new', stretch.new + i, content, 'added', alike ? removed[i] : undefined),
      new: stretch.new + i,
      ...of,
    })),
  ];
}

function pairs(stretch: Exclude<Stretch, { kind: 'gap' }>, text: FileText, part?: ReviewPart): Lines[] {
  if (stretch.kind === 'same') {
    return stretch.lines.map((content, i) => ({
      key: `line ${stretch.new + i}`,
      kind: 'pair',
      left: sideOf(text, 'old', stretch.old + i, content, 'same'),
      right: sideOf(text, 'new', stretch.new + i, content, 'same'),
    }));
  }
  const { removed, added } = stretch;
  const alike = removed.length === added.length;
  return Array.from({ length: Math.max(removed.length, added.length) }, (_, i): Lines => {
    const before = removed[i];
    const after = added[i];
    return {
      key: `pair ${stretch.old + i} ${stretch.new + i} ${stretch.part}`,
      kind: 'pair',
      ...(before === undefined
        ? {}
        : { left: sideOf(text, 'old', stretch.old + i, before, 'removed', alike ? after : undefined) }),
      ...(after === undefined
        ? {}
        : { right: sideOf(text, 'new', stretch.new + i, after, 'added', alike ? before : undefined) }),
      ...(part === undefined ? {} : { part }),
    };
  });
}

/** The lines of a row, by the side that a remark names. */
export function linesOf(row: Row): { old?: number; new?: number } {
  if (row.kind === 'line')
    return {
      ...(row.old === undefined ? {} : { old: row.old }),
      ...(row.new === undefined ? {} : { new: row.new }),
    };
  if (row.kind === 'pair')
    return {
      ...(row.left === undefined ? {} : { old: row.left.line }),
      ...(row.right === undefined ? {} : { new: row.right.line }),
    };
  return {};
}

function remarksAt(row: Row, { remarks, writing }: RowOptions): Row[] {
  const lines = linesOf(row);
  const rows: Row[] = [];
  for (const remark of remarks) {
    if (lines[remark.side] !== remark.endLine) continue;
    if (writing?.id === remark.id) rows.push({ key: `writing ${remark.id}`, kind: 'writing', remark });
    else rows.push({ key: `remark ${remark.id}`, kind: 'remark', remark });
  }
  if (writing !== undefined && writing.id === undefined && lines[writing.side] === writing.endLine)
    rows.push({ key: 'writing', kind: 'writing' });
  return rows;
}

/** Roughly how high the lines of a file will be before they are there, in lines and bars. */
export function expected(file: PanelFile, split: boolean, context: number): { lines: number; bars: number } {
  if (file.coming !== undefined) {
    const { added = 0, removed = 0, coming } = file;
    return {
      lines: (split ? Math.max(added, removed) : added + removed) + 2 * context * coming,
      bars: coming,
    };
  }
  let lines = 0;
  let bars = 0;
  for (const part of file.parts) {
    if (wholeFile.has(part.kind)) continue;
    bars += 1;
    lines += split ? Math.max(part.added, part.removed) : part.added + part.removed;
    if (part.kind === 'hunk') lines += 2 * context;
  }
  return { lines, bars };
}
