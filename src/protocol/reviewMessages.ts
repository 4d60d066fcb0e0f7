import * as z from 'zod/mini';
import { FileId, PartId, ReviewScope, type ReviewState, Verdict } from './review.ts';
import type { FileText } from './reviewText.ts';

/**
 * What a task's panel and its host say about the review. The panel asks for the diff of a scope, gets its files without
 * their text, of a large one without most of their hunks (`panelFiles.ts`), and asks for what is looked at.
 */

const Text = z.string().check(z.minLength(1), z.maxLength(20_000));
const RemarkId = z.string().check(z.maxLength(40));

/** Panel → host. */
export const reviewRequests = [
  /** Asks for the files of a scope; answered by `review` and `reviewState`, and again whenever they change. */
  z.object({ type: z.literal('review'), request: z.int(), scope: ReviewScope }),
  /** Asks for the parts of files that came without them; answered by `reviewParts`, unless a newer `review` comes. */
  z.object({
    type: z.literal('reviewParts'),
    request: z.int(),
    files: z.array(FileId).check(z.maxLength(1000)),
  }),
  /** Asks for the lines of a file, with so many unchanged ones around each change; answered by `reviewText`. */
  z.object({
    type: z.literal('reviewText'),
    request: z.int(),
    file: FileId,
    context: z.int().check(z.nonnegative(), z.maximum(1_000_000)),
  }),
  /** Asks for both sides of an image; answered by `reviewImages`. */
  z.object({ type: z.literal('reviewImages'), request: z.int(), file: FileId }),
  /** About parts, a file, or everything that is not of the gate; null takes the verdict back. */
  z.object({
    type: z.literal('decide'),
    what: z.union([
      z.object({ parts: z.array(PartId).check(z.maxLength(100_000)) }),
      z.object({ file: FileId }),
      z.object({ all: z.literal(true) }),
    ]),
    verdict: z.nullable(Verdict),
  }),
  z.object({
    type: z.literal('reviewed'),
    files: z.array(FileId).check(z.maxLength(100_000)),
    on: z.boolean(),
  }),
  z.object({
    type: z.literal('remark'),
    file: FileId,
    side: z.enum(['old', 'new']),
    line: z.int().check(z.positive()),
    endLine: z.int().check(z.positive()),
    text: Text,
  }),
  z.object({ type: z.literal('remarkChange'), id: RemarkId, text: Text }),
  z.object({ type: z.literal('remarkRemove'), id: RemarkId }),
  z.object({ type: z.literal('remarkResolve'), id: RemarkId, resolved: z.boolean() }),
  /** Opens a file of the review in the editor. */
  z.object({ type: z.literal('reviewOpen'), file: FileId, line: z.optional(z.int().check(z.positive())) }),
  /** Opens the merge of the user's edit and the task's new version. */
  z.object({ type: z.literal('reviewMerge'), file: FileId }),
  /** What the editor's own commands do with the whole review. */
  z.object({ type: z.literal('reviewDo'), what: z.enum(['accept', 'send', 'undo']) }),
] as const;

export type ReviewRequest = z.infer<(typeof reviewRequests)[number]>;

/** A scope that can be chosen. */
export interface ScopeWords {
  scope: ReviewScope;
  label: string;
  detail: string;
}

/** What was decided so far, as far as the panel shows it. */
export interface PanelReviewState extends Omit<ReviewState, 'rejected' | 'edits'> {
  /** Rejected parts that the agent was told of, and that are here again as they were. */
  returned: PartId[];
  /** Remarks and rejections that the agent has not got yet. */
  unsent: number;
}

/** Host → panel. */
export type ReviewMessage =
  /** Files (`PanelFile`) as lines of JSON in UTF-8. With `first` the panel forgets the ones it has, with `last` these are all. */
  | {
      type: 'review';
      request: number;
      scope: ReviewScope;
      scopes: ScopeWords[];
      from: string;
      to: string;
      total: number;
      /** Files beyond these, which nobody looked at: they cannot be chosen. */
      further: number;
      data: Uint8Array;
      first: boolean;
      last: boolean;
    }
  | { type: 'reviewState'; state: PanelReviewState }
  /** `data` is of `FileParts`, likewise, as far as there are such files. */
  | { type: 'reviewParts'; request: number; data: Uint8Array }
  /** `data` is a `FileText` as JSON in UTF-8. */
  | { type: 'reviewText'; request: number; file: FileId; data?: Uint8Array; error?: Told }
  | {
      type: 'reviewImages';
      request: number;
      file: FileId;
      mime: string;
      before?: Uint8Array;
      after?: Uint8Array;
      error?: Told;
    }
  /** The diff cannot be had, or what was asked for was not done. */
  | { type: 'reviewFailed'; request?: number; error: Told };

export interface Told {
  message: string;
  mend: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeText(text: FileText): Uint8Array {
  return encoder.encode(JSON.stringify(text));
}

export function readText(data: Uint8Array): FileText {
  return JSON.parse(decoder.decode(data)) as FileText;
}

/** Images that a browser shows without running anything of them: no SVG, which is a document. */
const images: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  bmp: 'image/bmp',
  ico: 'image/x-icon',
  avif: 'image/avif',
};

/** The type of an image that can be shown, by its name. */
export function imageType(path: string): string | undefined {
  return images[path.slice(path.lastIndexOf('.') + 1).toLowerCase()];
}

/** Bytes of an image that are shown. */
export const maxImageBytes = 8 << 20;
