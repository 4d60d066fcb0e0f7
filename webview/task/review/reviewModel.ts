import { type FileParts, type PanelFile, partCount } from '../../../src/protocol/panelFiles.ts';
import type { AcceptRecord, PartId, ReviewPart, ReviewScope } from '../../../src/protocol/review.ts';
import { type FileVerdict, isReviewed, verdictOf } from '../../../src/protocol/reviewState.ts';
import type { PanelReviewState, ScopeWords } from '../../../src/protocol/reviewMessages.ts';

export interface Progress {
  files: number;
  reviewed: number;
  /** Parts; of those whose files have come whole. */
  accepted: number;
  rejected: number;
  /** Parts in all. */
  parts: number;
}

export const noReview: PanelReviewState = {
  lastEvent: 0,
  verdicts: {},
  reviewed: {},
  remarks: [],
  accepts: [],
  taken: {},
  pushes: [],
  returned: [],
  unsent: 0,
};

/** Where the keyboard is: at a file's head, or at one of its parts. */
export interface Place {
  file: number;
  /** Index of a part; -1 is the head of the file. */
  part: number;
}

/** The diff of one scope and what was decided about it, without anything that is drawn. */
export class ReviewModel {
  scope: ReviewScope = { kind: 'all' };
  scopes: readonly ScopeWords[] = [];
  /** All files; those of the gate first. */
  files: readonly PanelFile[] = [];
  /** Those that pass the filter, in the order in which they are shown. */
  shown: readonly PanelFile[] = [];
  /** Files that differ beyond these. */
  further = 0;
  state: PanelReviewState = noReview;
  private words = '';
  private returned = new Set<PartId>();
  private byId = new Map<string, PanelFile>();
  /** Files whose parts have not all come. */
  private unfinished = 0;

  /** Takes all files of a diff. Those that are as they were keep their parts. */
  setFiles(files: readonly PanelFile[]): void {
    for (const file of files) {
      const known = file.coming === undefined ? undefined : this.byId.get(file.id);
      if (known?.coming === undefined && known?.fingerprint === file.fingerprint) makeWhole(file, known);
    }
    this.byId = new Map(files.map((file) => [file.id, file]));
    this.unfinished = files.filter(({ coming }) => coming !== undefined).length;
    this.files = [
      ...files.filter(({ gate }) => gate.length > 0),
      ...files.filter(({ gate }) => gate.length === 0),
    ];
    this.refilter();
  }

  /**
   * Takes the parts of files that came without them; of another diff's they are left out.
   * @returns the files that are whole now
   */
  setParts(parts: readonly FileParts[]): PanelFile[] {
    const whole: PanelFile[] = [];
    for (const one of parts) {
      const file = this.byId.get(one.id);
      if (file?.coming === undefined || file.fingerprint !== one.fingerprint) continue;
      makeWhole(file, one);
      whole.push(file);
    }
    this.unfinished -= whole.length;
    return whole;
  }

  /** All parts of all files are there. */
  get complete(): boolean {
    return this.unfinished === 0;
  }

  setState(state: PanelReviewState): void {
    this.state = state;
    this.returned = new Set(state.returned);
  }

  /** Case-insensitive words; each has to be in the path. */
  setFilter(words: string): void {
    this.words = words;
    this.refilter();
  }

  get filter(): string {
    return this.words;
  }

  /** Of a file that has not come whole nothing is said. */
  verdict(file: PanelFile): FileVerdict {
    return file.coming === undefined ? verdictOf(this.state, file) : 'none';
  }

  cameBack(file: PanelFile): boolean {
    return file.parts.some((part) => this.returned.has(part.id));
  }

  partCameBack(part: ReviewPart): boolean {
    return this.returned.has(part.id);
  }

  get progress(): Progress {
    const progress: Progress = { files: this.files.length, reviewed: 0, accepted: 0, rejected: 0, parts: 0 };
    for (const file of this.files) {
      if (isReviewed(this.state, file)) progress.reviewed += 1;
      progress.parts += partCount(file);
      for (const part of file.parts) {
        const verdict = this.state.verdicts[part.id];
        if (verdict === 'accepted') progress.accepted += 1;
        else if (verdict === 'rejected') progress.rejected += 1;
      }
    }
    return progress;
  }

  /** The newest that can be taken back. */
  get undoable(): AcceptRecord | undefined {
    return this.state.accepts.findLast(({ undone }) => !undone);
  }

  /** The next part that can be decided, over the borders of files; files without parts are stopped at by their head. */
  step(from: Place, by: 1 | -1): Place | undefined {
    let { file, part } = from;
    for (;;) {
      part += by;
      const parts = this.partsOf(file);
      if (part >= 0 && part < parts) return { file, part };
      if (by === -1 && part === -1 && parts === 0) return { file, part };
      file += by;
      if (this.shown[file] === undefined) return undefined;
      if (this.partsOf(file) === 0) return { file, part: -1 };
      part = by === 1 ? -1 : this.partsOf(file);
    }
  }

  /** Another file, by its head. */
  stepFile(from: Place, by: 1 | -1): Place | undefined {
    if (by === -1 && from.part >= 0) return { file: from.file, part: -1 };
    const file = from.file + by;
    return this.shown[file] === undefined ? undefined : { file, part: -1 };
  }

  private partsOf(file: number): number {
    const one = this.shown[file];
    return one === undefined ? 0 : partCount(one);
  }

  private refilter(): void {
    const words = this.words
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
    this.shown =
      words.length === 0
        ? this.files
        : this.files.filter(({ path, from }) => {
            const text = `${path} ${from ?? ''}`.toLowerCase();
            return words.every((word) => text.includes(word));
          });
  }
}

function makeWhole(file: PanelFile, { parts }: Pick<PanelFile, 'parts'>): void {
  file.parts = parts;
  delete file.coming;
}

/** A scope as one word, for lists of choices. */
export function scopeKey(scope: ReviewScope): string {
  if (scope.kind === 'turn') return `turn ${scope.turn}`;
  return scope.kind === 'commit' ? scope.sha : scope.kind;
}
