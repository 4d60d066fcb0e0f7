import type { ReviewFile } from '../../../src/protocol/review.ts';
import { readText, type ReviewMessage } from '../../../src/protocol/reviewMessages.ts';
import type { FileText } from '../../../src/protocol/reviewText.ts';
import { TextColours } from './textColours.ts';

/** Characters of texts that are kept; those that were not looked at for longest go. */
const maxKept = 12_000_000;
/** Asked for at once. */
const maxAsked = 3;

/** Unchanged lines that are shown around a change at first. */
export const usualContext = 3;

interface Held {
  /** Of the file that the text is of. */
  fingerprint: string;
  context: number;
  text?: FileText;
  failed?: string;
  colours: TextColours;
  size: number;
  /** Ends the colouring. */
  gone: AbortController;
}

interface Options {
  ask: (request: number, file: ReviewFile, context: number) => void;
  /** The lines of a file are there, or cannot be had. */
  arrived: (id: string) => void;
  /** A text has come and can be coloured. */
  colour: (file: ReviewFile, text: FileText, colours: TextColours, signal: AbortSignal) => void;
}

/** The lines of the files that are looked at: asked for when they come into sight, a few at once, the newest wish first. */
export class FileTexts {
  private readonly options: Options;
  private readonly held = new Map<string, Held>();
  private readonly asked = new Map<number, { file: ReviewFile; context: number }>();
  private readonly contexts = new Map<string, number>();
  private wanted: ReviewFile[] = [];
  private last = 0;
  private kept = 0;

  constructor(options: Options) {
    this.options = options;
  }

  /** What is there of a file; an older state of it counts as nothing. */
  get(file: ReviewFile): Pick<Held, 'text' | 'failed' | 'colours'> | undefined {
    const held = this.held.get(file.id);
    return held?.fingerprint === file.fingerprint ? held : undefined;
  }

  contextOf(file: ReviewFile): number {
    return this.contexts.get(file.id) ?? usualContext;
  }

  /** Shows more or less of what did not change. */
  setContext(file: ReviewFile, context: number): void {
    this.contexts.set(file.id, context);
    this.request(file);
  }

  /** These are seen now; older wishes that were not asked for yet are dropped. */
  want(files: readonly ReviewFile[]): void {
    for (const file of files) {
      const held = this.held.get(file.id);
      if (held === undefined) continue;
      // Put last: what is not looked at is forgotten first.
      this.held.delete(file.id);
      this.held.set(file.id, held);
    }
    this.wanted = files.filter((file) => this.get(file) === undefined && !this.isAsked(file));
    this.next();
  }

  received(message: Extract<ReviewMessage, { type: 'reviewText' }>): void {
    const asked = this.asked.get(message.request);
    if (asked === undefined) return;
    this.asked.delete(message.request);
    const { file, context } = asked;
    this.drop(file.id);
    const held: Held = {
      fingerprint: file.fingerprint,
      context,
      colours: new TextColours(),
      size: message.data?.length ?? 0,
      gone: new AbortController(),
    };
    if (message.data === undefined)
      held.failed = `${message.error?.message ?? ''} ${message.error?.mend ?? ''}`.trim();
    else held.text = readText(message.data);
    this.held.set(file.id, held);
    this.kept += held.size;
    this.forget(file.id);
    this.options.arrived(file.id);
    this.paint(file, held);
    this.next();
  }

  /** Something is asked for, or will be. */
  get isBusy(): boolean {
    return this.asked.size > 0 || this.wanted.length > 0;
  }

  /** What is asked for is not waited for: it is asked for again when it is seen. */
  forgetAsked(): void {
    this.asked.clear();
  }

  /** The colours of the editor are others. */
  recolour(files: readonly ReviewFile[]): void {
    for (const file of files) {
      const held = this.held.get(file.id);
      if (held === undefined) continue;
      held.gone.abort();
      held.gone = new AbortController();
      held.colours = new TextColours();
      this.paint(file, held);
    }
  }

  /** Nothing of it counts any more: another scope. */
  clear(): void {
    for (const id of [...this.held.keys()]) this.drop(id);
    this.asked.clear();
    this.contexts.clear();
    this.wanted = [];
  }

  private paint(file: ReviewFile, held: Held): void {
    if (held.text !== undefined) this.options.colour(file, held.text, held.colours, held.gone.signal);
  }

  private isAsked(file: ReviewFile): boolean {
    for (const { file: other } of this.asked.values())
      if (other.id === file.id && other.fingerprint === file.fingerprint) return true;
    return false;
  }

  private next(): void {
    while (this.asked.size < maxAsked) {
      const file = this.wanted.shift();
      if (file === undefined) return;
      this.request(file);
    }
  }

  private request(file: ReviewFile): void {
    this.last += 1;
    const context = this.contextOf(file);
    this.asked.set(this.last, { file, context });
    this.options.ask(this.last, file, context);
  }

  private forget(except: string): void {
    for (const id of [...this.held.keys()]) {
      if (this.kept <= maxKept) return;
      if (id !== except) this.drop(id);
    }
  }

  private drop(id: string): void {
    const held = this.held.get(id);
    if (held === undefined) return;
    held.gone.abort();
    this.kept -= held.size;
    this.held.delete(id);
  }
}
