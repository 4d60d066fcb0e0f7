import { SallyportError } from '../base/errors.ts';
import type { ReviewFile } from '../protocol/review.ts';
import { encodeText, maxImageBytes } from '../protocol/reviewMessages.ts';
import { sliceText } from '../protocol/reviewText.ts';
import { bytes } from '../protocol/words.ts';

/** Text files up to this size are cut into lines for the panel. */
const maxTextBytes = 16 << 20;

/** What files of a review hold, as a panel shows it. Rejects with `too_large` where that is too much. */
export class ReviewContents {
  private readonly blob: (oid: string) => Promise<Uint8Array>;

  /** @param blob reads a blob by its object name */
  constructor(blob: (oid: string) => Promise<Uint8Array>) {
    this.blob = blob;
  }

  /** The changed lines of a file with so many around them, as a message has them. */
  async lines(file: ReviewFile, context: number): Promise<Uint8Array> {
    const [before, after] = await Promise.all([this.text(file.oldBlob), this.text(file.newBlob)]);
    return encodeText(sliceText(before, after, file.parts, context));
  }

  /** Both sides of an image, as far as they are there. */
  async images(file: ReviewFile): Promise<{ before?: Uint8Array; after?: Uint8Array }> {
    const [before, after] = await Promise.all([this.image(file.oldBlob), this.image(file.newBlob)]);
    return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
  }

  /** Lines from 1, both inclusive; shortened. */
  async quote(blob: string, line: number, endLine: number): Promise<string> {
    const text = await this.text(blob);
    return (text ?? '')
      .split('\n')
      .slice(line - 1, endLine)
      .join('\n')
      .slice(0, 2000);
  }

  private async text(oid: string): Promise<string | undefined> {
    if (isNothing(oid)) return undefined;
    const content = await this.blob(oid);
    if (content.length > maxTextBytes) throw tooLarge(content.length);
    return new TextDecoder().decode(content);
  }

  /** A copy of its own size: VS Code sends the whole buffer behind a view. */
  private async image(oid: string): Promise<Uint8Array | undefined> {
    if (isNothing(oid)) return undefined;
    const content = await this.blob(oid);
    if (content.length > maxImageBytes) throw tooLarge(content.length);
    return new Uint8Array(content);
  }
}

function tooLarge(size: number): SallyportError {
  return new SallyportError(
    'too_large',
    `This file is too large to be shown here (${bytes(size)}).`,
    'Open it in the editor.',
  );
}

function isNothing(oid: string): boolean {
  return /^0+$/.test(oid);
}
