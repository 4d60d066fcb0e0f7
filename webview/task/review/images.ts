import { html, nothing, type TemplateResult } from 'lit';
import type { ReviewFile } from '../../../src/protocol/review.ts';
import { imageType, type ReviewMessage } from '../../../src/protocol/reviewMessages.ts';
import { safeText } from '../../../src/protocol/safeText.ts';
import { bytes } from '../../../src/protocol/words.ts';

type Side = { url: string; size: number } | undefined;
type Shown = { fingerprint: string } & (
  { kind: 'asked' } | { kind: 'failed'; text: string } | { kind: 'there'; before: Side; after: Side }
);

/** Images that are kept, those seen last. */
const kept = 12;

interface Options {
  ask: (request: number, file: ReviewFile) => void;
  arrived: (id: string) => void;
}

/** Both sides of images, as bytes of the host's: nothing is fetched. */
export class Images {
  private readonly options: Options;
  private readonly shown = new Map<string, Shown>();
  private readonly asked = new Map<number, ReviewFile>();
  private last = 0;

  constructor(options: Options) {
    this.options = options;
  }

  view(file: ReviewFile): TemplateResult {
    const shown = this.shown.get(file.id);
    if (shown?.fingerprint !== file.fingerprint) {
      this.drop(file.id);
      this.shown.set(file.id, { kind: 'asked', fingerprint: file.fingerprint });
      this.last += 1;
      this.asked.set(this.last, file);
      this.options.ask(this.last, file);
    }
    if (shown?.kind === 'failed') return html`<div class="rv-words dim">${safeText(shown.text)}</div>`;
    if (shown?.kind !== 'there') return html`<div class="rv-words dim">Loading the image…</div>`;
    const { before, after } = shown;
    return html`<div class="rv-images">
      ${before === undefined ? nothing : figure('Before', before)}
      ${after === undefined ? nothing : figure('After', after)}
    </div>`;
  }

  received(message: Extract<ReviewMessage, { type: 'reviewImages' }>): void {
    const file = this.asked.get(message.request);
    if (file === undefined) return;
    this.asked.delete(message.request);
    const { fingerprint } = file;
    // The name decides the type here too: never a document, whatever the host was told.
    const type = imageType(file.path) ?? 'image/png';
    const side = (data: Uint8Array | undefined): Side =>
      data === undefined
        ? undefined
        : { url: URL.createObjectURL(new Blob([new Uint8Array(data)], { type })), size: data.length };
    this.shown.set(
      file.id,
      message.error === undefined
        ? { kind: 'there', fingerprint, before: side(message.before), after: side(message.after) }
        : { kind: 'failed', fingerprint, text: `${message.error.message} ${message.error.mend}` },
    );
    for (const id of [...this.shown.keys()]) {
      if (this.shown.size <= kept) break;
      this.drop(id);
    }
    this.options.arrived(file.id);
  }

  /** What is asked for is not waited for: it is asked for again when it is seen. */
  forgetAsked(): void {
    this.asked.clear();
    for (const [id, { kind }] of [...this.shown]) if (kind === 'asked') this.shown.delete(id);
  }

  dispose(): void {
    for (const id of [...this.shown.keys()]) this.drop(id);
  }

  private drop(id: string): void {
    const shown = this.shown.get(id);
    this.shown.delete(id);
    if (shown?.kind !== 'there') return;
    for (const side of [shown.before, shown.after]) if (side !== undefined) URL.revokeObjectURL(side.url);
  }
}

function figure(label: string, { url, size }: { url: string; size: number }): TemplateResult {
  return html`<figure>
    <img src=${url} alt=${label} decoding="async" />
    <figcaption class="dim">${label} · ${bytes(size)}</figcaption>
  </figure>`;
}
