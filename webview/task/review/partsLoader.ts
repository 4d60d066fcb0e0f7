import type { FileId } from '../../../src/protocol/review.ts';
import { type PanelFile, partCount } from '../../../src/protocol/panelFiles.ts';

/** Parts that are asked for at once, of files that nobody looks at yet. */
const partsAtOnce = 500;
/** Files that are asked for in one message. */
const filesAtOnce = 1000;

interface Options {
  ask: (request: number, files: FileId[]) => void;
  /** Nothing that is looked at is waited for. */
  isQuiet: () => boolean;
}

/**
 * Asks for the parts of files that came without them: at once for those that come into sight, and for the others, in their
 * order and a few at a time, while nothing else is wanted. In the end all are there, for what is counted and for the keys.
 */
export class PartsLoader {
  private readonly options: Options;
  /** Without parts, and not asked for; in the order of the review. */
  private waiting = new Map<FileId, PanelFile>();
  /** The newest request for files that nobody looks at, while it is not answered. */
  private filling: number | undefined;
  private last = 0;

  constructor(options: Options) {
    this.options = options;
  }

  /** Other files than before; what was asked for earlier is not waited for. */
  reset(files: readonly PanelFile[]): void {
    this.waiting = new Map(files.filter(({ coming }) => coming !== undefined).map((file) => [file.id, file]));
    this.filling = undefined;
  }

  /** These are seen now. */
  want(files: readonly PanelFile[]): void {
    const ids = files.filter(({ id }) => this.waiting.has(id)).map(({ id }) => id);
    for (let at = 0; at < ids.length; at += filesAtOnce) this.ask(ids.slice(at, at + filesAtOnce));
  }

  answered(request: number): void {
    if (request === this.filling) this.filling = undefined;
    this.fill();
  }

  /** Goes on with the others, where there is time for them. */
  fill(): void {
    if (this.filling !== undefined || this.waiting.size === 0 || !this.options.isQuiet()) return;
    const ids: FileId[] = [];
    let parts = 0;
    for (const file of this.waiting.values()) {
      parts += partCount(file);
      if (ids.length > 0 && (parts > partsAtOnce || ids.length === filesAtOnce)) break;
      ids.push(file.id);
    }
    this.filling = this.ask(ids);
  }

  private ask(files: FileId[]): number {
    for (const id of files) this.waiting.delete(id);
    this.last += 1;
    this.options.ask(this.last, files);
    return this.last;
  }
}
