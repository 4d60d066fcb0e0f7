import type {
  AcceptRecord,
  PartId,
  ReviewFile,
  ReviewPart,
  ReviewScope,
} from '../../../src/protocol/review.ts';
import { isReviewed } from '../../../src/protocol/reviewState.ts';
import type { PanelReviewState, ScopeWords } from '../../../src/protocol/reviewMessages.ts';

export interface Progress {
  files: number;
  reviewed: number;
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
  edited: [],
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
  files: readonly ReviewFile[] = [];
  /** Those that pass the filter, in the order in which they are shown. */
  shown: readonly ReviewFile[] = [];
  /** Files that differ beyond these. */
  further = 0;
  state: PanelReviewState = noReview;
  private words = '';
  private returned = new Set<PartId>();

  /** Takes all files of a diff. */
  setFiles(files: readonly ReviewFile[]): void {
    this.files = [
      ...files.filter(({ gate }) => gate.length > 0),
      ...files.filter(({ gate }) => gate.length === 0),
    ];
    this.refilter();
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

  file(id: string): ReviewFile | undefined {
    return this.files.find((file) => file.id === id);
  }

  isEdited(file: ReviewFile): boolean {
    return this.state.edited.includes(file.id);
  }

  cameBack(file: ReviewFile): boolean {
    return file.parts.some((part) => this.returned.has(part.id));
  }

  partCameBack(part: ReviewPart): boolean {
    return this.returned.has(part.id);
  }

  get progress(): Progress {
    const progress: Progress = { files: this.files.length, reviewed: 0, accepted: 0, rejected: 0, parts: 0 };
    for (const file of this.files) {
      if (isReviewed(this.state, file)) progress.reviewed += 1;
      progress.parts += file.parts.length;
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
      const parts = this.shown[file]?.parts.length ?? 0;
      if (part >= 0 && part < parts) return { file, part };
      if (by === -1 && part === -1 && parts === 0) return { file, part };
      file += by;
      const next = this.shown[file];
      if (next === undefined) return undefined;
      if (next.parts.length === 0) return { file, part: -1 };
      part = by === 1 ? -1 : next.parts.length;
    }
  }

  /** Another file, by its head. */
  stepFile(from: Place, by: 1 | -1): Place | undefined {
    if (by === -1 && from.part >= 0) return { file: from.file, part: -1 };
    const file = from.file + by;
    return this.shown[file] === undefined ? undefined : { file, part: -1 };
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

/** A scope as one word, for lists of choices. */
export function scopeKey(scope: ReviewScope): string {
  if (scope.kind === 'turn') return `turn ${scope.turn}`;
  return scope.kind === 'commit' ? scope.sha : scope.kind;
}
