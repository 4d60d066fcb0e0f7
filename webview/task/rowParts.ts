import { html, nothing, type TemplateResult } from 'lit';
import { safeText } from '../../src/protocol/safeText.ts';
import type { Commit } from '../../src/protocol/taskEvent.ts';
import { count, plural } from '../../src/protocol/words.ts';
import { ansiSpans } from '../shared/ansi.ts';
import { paint } from '../shared/paint.ts';
import { icon, type IconName } from './icons.ts';
import { firstLines } from './logModel.ts';

/** What the rows of the log are made of. */

/** What a row can ask of the page around it. */
export interface RowActions {
  isOpen(event: number): boolean;
  toggle(event: number): void;
  openText(event: number): void;
  showCommit(commit: Commit): void;
  openFile(commit: Commit, path: string): void;
  showLeftovers(): void;
  /** What can be done with a turn that has ended. */
  turn(turn: number): { review: boolean; goOn: boolean };
  reviewTurn(turn: number): void;
  continueFrom(turn: number): void;
}

/** Lines and characters of a text before it has to be opened. */
const shownLines = 12;
export const shownCharacters = 2500;
/** Characters that are drawn at all; the rest is shown in the editor. */
export const maxCharacters = 60_000;

/** A line about what was decided. */
export function said(name: IconName, t: number, content: TemplateResult): TemplateResult {
  return row(name, 'quiet', nothing, t, html`<div class="line">${content}</div>`);
}

interface LongOptions {
  ansi?: boolean;
  lines?: number;
  classes?: string;
  /** Which event's being open decides; that of the text by default. */
  key?: number;
}

/** A text that may be long: its beginning, and more when it is opened. */
export function long(
  event: number,
  text: string,
  actions: RowActions,
  options: LongOptions = {},
): TemplateResult {
  const key = options.key ?? event;
  const open = actions.isOpen(key);
  const beginning = firstLines(text, options.lines ?? shownLines, shownCharacters);
  const shown = open ? text.slice(0, maxCharacters) : beginning.text;
  const tooLong = open && text.length > maxCharacters;
  return html`<pre class="text ${options.classes ?? ''}">
${options.ansi === true ? spans(shown) : safeText(shown)}</pre>
    ${
      beginning.more > 0
        ? html`<div class="more">
            ${toggle(key, open, open ? 'Show less' : `Show ${plural(beginning.more, 'more line')}`, actions)}
            ${
              tooLong
                ? html`<button class="link" @click=${() => actions.openText(event)}>
                    Open all ${count(text.length)} characters in the editor
                  </button>`
                : nothing
            }
          </div>`
        : nothing
    }`;
}

export function pre(text: string, classes: string): TemplateResult {
  return html`<pre class="text ${classes}">${spans(text)}</pre>`;
}

export function spans(text: string): TemplateResult[] | string {
  const all = ansiSpans(text);
  const [only] = all;
  if (all.length === 0) return '';
  if (all.length === 1 && only?.classes === '' && only.color === undefined && only.background === undefined)
    return only.text;
  return all.map((span) => {
    const style: Record<string, string> = {};
    if (span.color !== undefined) style['color'] = span.color;
    if (span.background !== undefined) style['background-color'] = span.background;
    return html`<span class=${span.classes} style=${paint(style)}>${span.text}</span>`;
  });
}

export function row(
  name: IconName,
  classes: string,
  label: unknown,
  t: number,
  content: TemplateResult,
): TemplateResult {
  return html`<article class="row ${classes}">
    <div class="gutter">${icon(name)}</div>
    <div class="content">
      ${label === nothing ? nothing : html`<div class="label">${label}</div>`}${content}
    </div>
    ${time(t)}
  </article>`;
}

export function toggle(key: number, open: boolean, words: string, actions: RowActions): TemplateResult {
  return html`<button class="link" aria-expanded=${open} @click=${() => actions.toggle(key)}>
    ${words}
  </button>`;
}

export function time(t: number): TemplateResult {
  return html`<time title=${new Date(t).toLocaleString()}>${clock(t)}</time>`;
}

const clockFormat = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

export function clock(t: number): string {
  return clockFormat.format(t);
}
