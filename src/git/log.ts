import { boundedFiles, type Commit, type FileChange } from '../protocol/taskEvent.ts';

/**
 * Reading of `git log` and `git diff-tree` output. Everything is parsed by position between NUL bytes, the one byte
 * that neither a file name nor a message can hold, so no name and no message can pass for structure.
 */

/** Options under which git prints changes as `parseRawNumstat` reads them, whatever the configuration says. */
export const rawNumstatArgs: readonly string[] = [
  '-z',
  '--raw',
  '--numstat',
  '-M',
  '--no-abbrev',
  '--no-color',
  '--no-ext-diff',
  '--no-textconv',
  '--no-relative',
  '--ignore-submodules=none',
  '--submodule=short',
];

const format = '%x01%H%x00%P%x00%an%x00%ae%x00%at%x00%B';
const headerFields = 6;

/**
 * Arguments of git that print commits as `parseCommitLog` reads them. A merge is compared with its first parent.
 * @param revisions object names, or negated ones (`^sha`); anything else must come from the caller itself
 * @param options `noWalk` prints exactly the commits named; `reverse` prints the oldest first
 */
export function commitLogArgs(
  revisions: readonly string[],
  options: { noWalk?: boolean; reverse?: boolean; maxCount?: number } = {},
): string[] {
  return [
    'log',
    `--format=tformat:${format}`,
    ...rawNumstatArgs,
    '--root',
    '--diff-merges=first-parent',
    '--encoding=UTF-8',
    '--no-show-signature',
    '--no-notes',
    '--no-decorate',
    '--no-mailmap',
    '--topo-order',
    ...(options.noWalk === true ? ['--no-walk=unsorted'] : []),
    ...(options.reverse === true ? ['--reverse'] : []),
    ...(options.maxCount === undefined ? [] : [`--max-count=${options.maxCount}`]),
    '--end-of-options',
    ...revisions,
    '--',
  ];
}

/** The commits that `git log` printed under `commitLogArgs`, long lists and texts cut. Throws on anything that does not fit. */
export function parseCommitLog(bytes: Uint8Array): Commit[] {
  const fields = new Fields(bytes);
  const commits: Commit[] = [];
  while (!fields.atEnd()) {
    const header = Array.from({ length: headerFields }, () => text(fields.next()));
    const [start = '', parents = '', author = '', email = '', seconds = '', message = ''] = header;
    if (!start.startsWith('\x01'))
      throw malformed(`a commit expected, ${JSON.stringify(start.slice(0, 40))} found`);
    const files = parseChanges(fields).map(toFileChange);
    const date = Number(seconds) * 1000;
    commits.push({
      sha: start.slice(1),
      parents: parents === '' ? [] : parents.split(' ', longest.parents),
      author: shortened(author, longest.name),
      email: shortened(email, longest.name),
      date: Number.isSafeInteger(date) ? date : 0,
      ...splitMessage(message),
      ...boundedFiles(files),
    });
  }
  return commits;
}

/** A change between two trees, with what git knows of both sides. */
export interface RawChange extends FileChange {
  /** Octal, as git writes it: 100644, 100755, 120000 (link), 160000 (submodule); 000000 where there is no file. */
  oldMode: string;
  newMode: string;
  /** Object names; all zeros where there is no file. */
  oldBlob: string;
  newBlob: string;
  binary: boolean;
  /** The bytes of `path` and `from`, which need not be UTF-8. */
  rawPath: Uint8Array;
  rawFrom?: Uint8Array;
}

/** The changes that `git diff-tree -r` printed under `rawNumstatArgs`. Throws on anything that does not fit. */
export function parseRawNumstat(bytes: Uint8Array): RawChange[] {
  const fields = new Fields(bytes);
  const changes = parseChanges(fields);
  if (!fields.atEnd()) throw malformed('something behind the last change');
  return changes;
}

/** Splits a commit message as git does: the subject is the first paragraph, on one line. Long parts are cut. */
export function splitMessage(message: string): { subject: string; body: string } {
  const lines = message
    .replace(/^\s*\n/, '')
    .trimEnd()
    .split('\n');
  const gap = lines.findIndex((line) => line.trim() === '');
  const first = gap === -1 ? lines : lines.slice(0, gap);
  const body =
    gap === -1
      ? ''
      : lines
          .slice(gap)
          .join('\n')
          .replace(/^\s*\n/, '');
  const subject = first.map((line) => line.trim()).join(' ');
  return { subject: shortened(subject, longest.subject), body: shortened(body, longest.body) };
}

/** What is shown of a commit, in characters, and parents. git itself has no limit, and a message is repeated in every log. */
const longest = { name: 300, subject: 2000, body: 64 << 10, parents: 100 };

function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`;
}

/** Leaves out what only the host's own views need. */
export function toFileChange(change: RawChange): FileChange {
  return {
    path: change.path,
    ...(change.from === undefined ? {} : { from: change.from }),
    status: change.status,
    ...(change.added === undefined ? {} : { added: change.added }),
    ...(change.removed === undefined ? {} : { removed: change.removed }),
  };
}

const statuses: Record<string, FileChange['status']> = {
  A: 'added',
  M: 'modified',
  D: 'deleted',
  R: 'renamed',
  C: 'copied',
  T: 'type-changed',
};

const rawHeader = /^\n?:([0-7]{6}) ([0-7]{6}) ([0-9a-f]{40,64}) ([0-9a-f]{40,64}) ([A-Z])[0-9]*$/;
const numstatHeader = /^\n?(-|[0-9]+)\t(-|[0-9]+)\t/;

function parseChanges(fields: Fields): RawChange[] {
  const changes = new Map<string, RawChange>();
  for (;;) {
    const header = rawHeader.exec(latin1(fields.peek()));
    if (header === null) break;
    fields.next();
    const [, oldMode = '', newMode = '', oldBlob = '', newBlob = '', letter = ''] = header;
    const status = statuses[letter];
    if (status === undefined) throw malformed(`change of kind ${letter}`);
    const rawFrom = status === 'renamed' || status === 'copied' ? fields.next() : undefined;
    const rawPath = fields.next();
    changes.set(latin1(rawPath), {
      path: text(rawPath),
      ...(rawFrom === undefined ? {} : { from: text(rawFrom), rawFrom }),
      status,
      oldMode,
      newMode,
      oldBlob,
      newBlob,
      binary: false,
      rawPath,
    });
  }
  for (;;) {
    const token = fields.peek();
    const header = numstatHeader.exec(latin1(token));
    if (header === null) break;
    fields.next();
    const [prefix, added = '', removed = ''] = header;
    let path = token?.subarray(prefix.length) ?? new Uint8Array();
    if (path.length === 0) {
      fields.next();
      path = fields.next();
    }
    const change = changes.get(latin1(path));
    if (change === undefined) throw malformed('line counts of a file that did not change');
    if (added === '-') change.binary = true;
    else {
      // A change of type comes as a removal and an addition.
      change.added = (change.added ?? 0) + Number(added);
      change.removed = (change.removed ?? 0) + Number(removed);
    }
  }
  for (const change of changes.values()) {
    if (!change.binary) continue;
    delete change.added;
    delete change.removed;
  }
  return [...changes.values()];
}

/** The pieces of a byte sequence in which every piece ends with NUL. */
class Fields {
  private readonly bytes: Uint8Array;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  peek(): Uint8Array | undefined {
    if (this.atEnd()) return undefined;
    const stop = this.bytes.indexOf(0, this.at);
    return this.bytes.subarray(this.at, stop === -1 ? this.bytes.length : stop);
  }

  next(): Uint8Array {
    const piece = this.peek();
    if (piece === undefined || this.at + piece.length >= this.bytes.length) throw malformed('cut off');
    this.at += piece.length + 1;
    return piece;
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

function latin1(bytes: Uint8Array | undefined): string {
  return bytes === undefined
    ? ''
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function malformed(what: string): Error {
  return new Error(`git printed something unexpected: ${what}`);
}
