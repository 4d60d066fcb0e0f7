import * as z from 'zod/mini';
import { Sha, TaskId } from '../../protocol/grammar.ts';
import { FileId, type ReviewFile, type ReviewScope } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import { blobParts, type BlobParts } from './blobUri.ts';

/**
 * The right side of a review: the task's file without what is rejected of it. The authority names the task, the query the
 * scope and the file, the path is for the eyes and chooses the language.
 */
export const reviewScheme = 'sallyport-review';

/** The parts of a URI, as VS Code names them. */
export interface ReviewParts {
  scheme: typeof reviewScheme;
  authority: string;
  path: string;
  query: string;
}

export interface ReviewAddress {
  id: TaskId;
  scope: ReviewScope;
  /** Undefined for the side of a diff on which there is no file. */
  file: FileId | undefined;
}

/** One word for a scope: part of URIs and of ids of nodes. */
export function scopeWord(scope: ReviewScope): string {
  switch (scope.kind) {
    case 'turn':
      return `turn.${scope.turn}`;
    case 'commit':
      return `commit.${scope.sha}`;
    case 'all':
    case 'leftovers':
      return scope.kind;
  }
}

const Turn = z.string().check(z.regex(/^turn\.[1-9]\d{0,5}$/));

export function scopeOfWord(word: string): ReviewScope | undefined {
  if (word === 'all' || word === 'leftovers') return { kind: word };
  if (Turn.safeParse(word).success) return { kind: 'turn', turn: Number(word.slice(5)) };
  const sha = word.startsWith('commit.') ? Sha.safeParse(word.slice(7)) : undefined;
  return sha?.success === true ? { kind: 'commit', sha: sha.data } : undefined;
}

/** A path for the eyes: what could hide in it is shown. It stands in the titles of editors. */
export function shownPath(path: string): string {
  return safeLine(path, 1000);
}

export function reviewParts(
  id: TaskId,
  scope: ReviewScope,
  file: Pick<ReviewFile, 'id' | 'path'>,
): ReviewParts {
  return {
    scheme: reviewScheme,
    authority: id,
    path: `/${shownPath(file.path)}`,
    query: `scope=${scopeWord(scope)}&file=${file.id}`,
  };
}

/** Nothing, as a document: a diff in the editor wants two sides. */
function emptyParts(id: TaskId, scope: ReviewScope, path: string): ReviewParts {
  return {
    scheme: reviewScheme,
    authority: id,
    path: `/${shownPath(path)}`,
    query: `scope=${scopeWord(scope)}&none`,
  };
}

/** What a URI names, or undefined when it is none of ours: URIs come from links and restored editors too. */
export function parseReview(authority: string, query: string): ReviewAddress | undefined {
  const match = /^scope=([\w.]{1,60})&(?:none|file=(\w{1,40}))$/.exec(query);
  const id = TaskId.safeParse(authority);
  const scope = match?.[1] === undefined ? undefined : scopeOfWord(match[1]);
  if (!id.success || scope === undefined) return undefined;
  if (match?.[2] === undefined) return { id: id.data, scope, file: undefined };
  const file = FileId.safeParse(match[2]);
  return file.success ? { id: id.data, scope, file: file.data } : undefined;
}

/** The two documents of one file. A side that does not exist is left out, or an empty document with `both`. */
export interface ReviewSides {
  original: BlobParts | ReviewParts | undefined;
  modified: ReviewParts;
}

export function reviewSides(id: TaskId, scope: ReviewScope, file: ReviewFile, both: boolean): ReviewSides {
  const from = file.from ?? file.path;
  const original = hasSide(file.oldBlob)
    ? blobParts(id, shownPath(from), file.oldBlob, file.oldMode)
    : both
      ? emptyParts(id, scope, from)
      : undefined;
  return { original, modified: reviewParts(id, scope, file) };
}

/** Git writes zeros where there is no file. */
export function hasSide(oid: string): boolean {
  return !/^0+$/.test(oid);
}
