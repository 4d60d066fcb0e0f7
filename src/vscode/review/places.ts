import type * as vscode from 'vscode';
import type { ReviewFile, ReviewState } from '../../protocol/review.ts';
import { blobScheme, parseBlob } from '../view/blobUri.ts';
import { type PlacedHunk, placeHunks } from '../view/reviewLines.ts';
import { parseReview, reviewScheme } from '../view/reviewUri.ts';
import type { Reviews } from './reviews.ts';
import type { ReviewSession, Subject } from './session.ts';

/** What an editor of a review shows. */
export interface Place {
  subject: Subject;
  file: ReviewFile;
  side: 'old' | 'new';
  state: ReviewState;
  /** Its hunks, where they are in this document. */
  hunks: PlacedHunk[];
}

/** Finds what documents of a review are about. */
export class Places {
  private readonly reviews: Reviews;
  private readonly session: ReviewSession;

  constructor(reviews: Reviews, session: ReviewSession) {
    this.reviews = reviews;
    this.session = session;
  }

  /** Undefined for a document that is of no review, or of a file that is not there any more. */
  async of(uri: vscode.Uri): Promise<Place | undefined> {
    const subject = this.subjectOf(uri);
    if (subject === undefined) return undefined;
    const { diff, state } = await this.reviews.load(subject.id, subject.scope);
    if (uri.scheme === reviewScheme) {
      const address = parseReview(uri.authority, uri.query);
      const file = diff.files.find(({ id }) => id === address?.file);
      if (file === undefined) return undefined;
      return { subject, file, side: 'new', state, hunks: placeHunks(file, state.verdicts) };
    }
    const oid = parseBlob(uri.authority, uri.query)?.oid;
    const named = diff.files.filter(({ oldBlob, newBlob }) => oldBlob === oid || newBlob === oid);
    // Several files can have the same content: the path tells which.
    const file =
      named.find(
        ({ path, from }) => uri.path.endsWith(`/${path}`) || uri.path.endsWith(`/${from ?? path}`),
      ) ?? named[0];
    if (file === undefined) return undefined;
    const side = file.oldBlob === oid ? 'old' : 'new';
    return { subject, file, side, state, hunks: hunksOfSide(file, state, side) };
  }

  /** True without asking for anything: a document that may be of a review. */
  isOfReview(uri: vscode.Uri): boolean {
    return this.subjectOf(uri) !== undefined;
  }

  private subjectOf(uri: vscode.Uri): Subject | undefined {
    if (uri.scheme === reviewScheme) {
      const address = parseReview(uri.authority, uri.query);
      return address?.file === undefined ? undefined : { id: address.id, scope: address.scope };
    }
    if (uri.scheme !== blobScheme) return undefined;
    const { subject } = this.session;
    return parseBlob(uri.authority, uri.query)?.id === subject?.id ? subject : undefined;
  }
}

/** Hunks in a document that has one whole side. */
function hunksOfSide(file: ReviewFile, state: ReviewState, side: 'old' | 'new'): PlacedHunk[] {
  return file.parts.flatMap((part) => {
    const place = part[side];
    if (part.kind !== 'hunk' || place === undefined) return [];
    return [{ part, verdict: state.verdicts[part.id], start: place.start, lines: place.lines }];
  });
}
