import type { ReviewFile, ReviewPart } from '../../src/protocol/review.ts';
import type { FileText, Stretch } from '../../src/protocol/reviewText.ts';

/** A file of a patch, with the lines that the patch has of it. */
export interface PatchFile {
  file: ReviewFile;
  text: FileText;
}

const noBlob = '0'.repeat(40);

/**
 * Reads a unified diff of git's, with full object names, as the review shows it. Parts have names of this patch only: there
 * is nothing here to decide about them.
 */
export function readPatch(patch: string): PatchFile[] {
  const files: PatchFile[] = [];
  const lines = patch.split('\n');
  let at = 0;
  while (at < lines.length && lines[at]?.startsWith('diff --git ') !== true) at += 1;
  while (at < lines.length) {
    let end = at + 1;
    // Every line of a hunk begins with a sign, so no content looks like a head.
    while (end < lines.length && lines[end]?.startsWith('diff --git ') !== true) end += 1;
    files.push(readFile(lines.slice(at, end), files.length));
    at = end;
  }
  return files;
}

function readFile(lines: readonly string[], number: number): PatchFile {
  const reader = new FileReader(number);
  let at = 1;
  for (; at < lines.length; at++) {
    const line = lines[at] ?? '';
    if (line.startsWith('@@ ')) break;
    reader.header(line);
  }
  if (reader.path === '') reader.bothNames(lines[0]?.slice('diff --git '.length) ?? '');
  for (; at < lines.length; at++) reader.body(lines[at] ?? '', at === lines.length - 1);
  return reader.done();
}

class FileReader {
  path = '';
  private readonly number: number;
  private from: string | undefined;
  private status: ReviewFile['status'] = 'modified';
  private oldMode = '';
  private newMode = '';
  private oldBlob = noBlob;
  private newBlob = noBlob;
  private binary = false;
  private readonly stretches: Stretch[] = [];
  private readonly parts: ReviewPart[] = [];
  /** The next lines of both sides, from 1. */
  private old = 1;
  private now = 1;
  private last: 'old' | 'new' | 'both' = 'both';
  private readonly open = { old: false, new: false };

  constructor(number: number) {
    this.number = number;
  }

  header(line: string): void {
    const rest = (prefix: string): string | undefined =>
      line.startsWith(prefix) ? line.slice(prefix.length) : undefined;
    const index = /^index ([0-9a-f]+)\.\.([0-9a-f]+)(?: (\d+))?$/.exec(line);
    if (index !== null) {
      this.oldBlob = index[1] ?? noBlob;
      this.newBlob = index[2] ?? noBlob;
      if (this.oldMode === '') this.oldMode = index[3] ?? '';
      if (this.newMode === '') this.newMode = index[3] ?? '';
    } else if (line.startsWith('Binary files ')) this.binary = true;
    else this.named(rest);
  }

  private named(rest: (prefix: string) => string | undefined): void {
    const created = rest('new file mode ');
    const deleted = rest('deleted file mode ');
    const minus = rest('--- ');
    const plus = rest('+++ ');
    if (created !== undefined) {
      this.status = 'added';
      this.newMode = created;
    } else if (deleted !== undefined) {
      this.status = 'deleted';
      this.oldMode = deleted;
    }
    this.oldMode = rest('old mode ') ?? this.oldMode;
    this.newMode = rest('new mode ') ?? this.newMode;
    const renamed = rest('rename from ') ?? rest('copy from ');
    if (renamed !== undefined) {
      this.from = unquote(renamed);
      this.status = rest('copy from ') === undefined ? 'renamed' : 'copied';
    }
    const to = rest('rename to ') ?? rest('copy to ');
    if (to !== undefined) this.path = unquote(to);
    if (minus !== undefined && this.status === 'deleted') this.path = unquote(minus).slice(2);
    if (plus !== undefined && this.status !== 'deleted') this.path = unquote(plus).slice(2);
  }

  /** Where nothing else names the file, both of its names are the same. */
  bothNames(names: string): void {
    const quoted = /^"(?:[^"\\]|\\.)*"/.exec(names);
    this.path = quoted === null ? names.slice(2, (names.length - 1) / 2) : unquote(quoted[0]).slice(2);
  }

  body(line: string, isEnd: boolean): void {
    const head = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (head !== null) {
      const begin = (start: string | undefined, count: string | undefined): number =>
        Number(start) + (count === '0' ? 1 : 0);
      const old = begin(head[1], head[2]);
      if (old > this.old)
        this.stretches.push({ kind: 'gap', old: this.old, new: this.now, lines: old - this.old });
      this.old = old;
      this.now = begin(head[3], head[4]);
      return;
    }
    const sign = line[0];
    const content = line.slice(1);
    if (sign === ' ') this.same(content);
    else if (sign === '-' || sign === '+') this.changed(sign, content);
    else if (sign === '\\') {
      if (this.last !== 'new') this.open.old = true;
      if (this.last !== 'old') this.open.new = true;
    } else if (!isEnd) this.same(content);
  }

  private same(content: string): void {
    const open = this.stretches.at(-1);
    if (open?.kind === 'same' && open.old + open.lines.length === this.old) open.lines.push(content);
    else this.stretches.push({ kind: 'same', old: this.old, new: this.now, lines: [content] });
    this.old += 1;
    this.now += 1;
    this.last = 'both';
  }

  private changed(sign: '-' | '+', content: string): void {
    let open = this.stretches.at(-1);
    // Of another hunk, when it does not go on here.
    if (
      open?.kind !== 'change' ||
      open.old + open.removed.length !== this.old ||
      open.new + open.added.length !== this.now
    ) {
      const id =
        `${this.number.toString(16)}${(this.parts.length + 1).toString(16).padStart(6, '0')}`.padStart(
          16,
          '0',
        );
      open = { kind: 'change', part: id, old: this.old, new: this.now, removed: [], added: [] };
      this.stretches.push(open);
      const kind = this.status === 'added' ? 'add' : this.status === 'deleted' ? 'delete' : 'hunk';
      this.parts.push({ id, kind, added: 0, removed: 0, label: content.trim().slice(0, 100), needs: [] });
    }
    if (sign === '-') {
      open.removed.push(content);
      this.old += 1;
      this.last = 'old';
    } else {
      open.added.push(content);
      this.now += 1;
      this.last = 'new';
    }
  }

  done(): PatchFile {
    this.measureParts();
    const { path, from, status, binary, parts } = this;
    const rest = this.wholeParts();
    const sum = (of: 'added' | 'removed'): number => parts.reduce((all, part) => all + part[of], 0);
    return {
      file: {
        id: this.number.toString(16).padStart(16, '0'),
        path,
        ...(from === undefined ? {} : { from }),
        status,
        oldMode: this.oldMode,
        newMode: this.newMode,
        oldBlob: this.oldBlob,
        newBlob: this.newBlob,
        binary,
        ...(binary ? {} : { added: sum('added'), removed: sum('removed') }),
        parts: [...rest, ...parts],
        gate: [],
        fingerprint: `${path} ${this.oldBlob} ${this.newBlob}`,
      },
      text: {
        stretches: this.stretches,
        left: 0,
        open: this.open,
        total: { old: this.old - 1, new: this.now - 1 },
      },
    };
  }

  private measureParts(): void {
    const changes = this.stretches.filter((stretch) => stretch.kind === 'change');
    for (const [index, part] of this.parts.entries()) {
      const change = changes[index];
      if (change === undefined) continue;
      part.added = change.added.length;
      part.removed = change.removed.length;
      if (part.kind !== 'hunk') continue;
      const range = (start: number, lines: number) => ({ start: lines === 0 ? start - 1 : start, lines });
      part.old = range(change.old, part.removed);
      part.new = range(change.new, part.added);
    }
  }

  private wholeParts(): ReviewPart[] {
    const parts: ReviewPart[] = [];
    const add = (kind: ReviewPart['kind']): void => {
      const id = `${this.number.toString(16)}f${parts.length}0000`.padStart(16, '0');
      parts.push({ id, kind, added: 0, removed: 0, label: '', needs: [] });
    };
    if (this.from !== undefined) add('rename');
    const modes = this.oldMode !== '' && this.newMode !== '' && this.oldMode !== this.newMode;
    if (modes) add('mode');
    if (this.binary) add('binary');
    // An empty file that comes or goes.
    if (parts.length === 0 && this.parts.length === 0) {
      if (this.status === 'added') add('add');
      if (this.status === 'deleted') add('delete');
    }
    return parts;
  }
}

/** A path as git quotes an odd one: bytes in octal, between quotes. */
function unquote(text: string): string {
  const path = text.endsWith('\t') ? text.slice(0, -1) : text;
  if (!path.startsWith('"') || !path.endsWith('"')) return path;
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  const named: Readonly<Record<string, number>> = { a: 7, b: 8, t: 9, n: 10, v: 11, f: 12, r: 13 };
  for (const piece of path.slice(1, -1).matchAll(/\\([0-7]{3})|\\(.)|([^\\]+)/gs)) {
    const [, octal, escaped, plain] = piece;
    if (octal !== undefined) bytes.push(Number.parseInt(octal, 8) & 0xff);
    else if (escaped !== undefined) bytes.push(named[escaped] ?? escaped.charCodeAt(0));
    else bytes.push(...encoder.encode(plain));
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}
