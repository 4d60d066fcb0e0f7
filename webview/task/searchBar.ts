import { html, type TemplateResult } from 'lit';
import { icon } from './icons.ts';

/** What was found so far, and which of it is looked at. */
export interface Found {
  indices: readonly number[];
  at: number;
  /** All was looked through. */
  done: boolean;
}

interface Bar {
  words: string;
  found: Found;
  search: (words: string) => void;
  step: (by: number) => void;
  close: () => void;
}

/** Where the log is searched. */
export function searchBar({ words, found, search, step, close }: Bar): TemplateResult {
  const { indices, at, done } = found;
  const status =
    words === ''
      ? ''
      : indices.length === 0
        ? done
          ? 'Nothing found'
          : 'Searching…'
        : `${at + 1} of ${indices.length}${done ? '' : '+'}`;
  return html`<div class="search" role="search">
    <vscode-textfield
      id="search"
      placeholder="Search the whole log"
      label="Search the whole log"
      @input=${(event: Event) => search((event.target as HTMLInputElement).value)}
      @keydown=${(event: KeyboardEvent) => {
        if (event.key === 'Enter') step(event.shiftKey ? -1 : 1);
      }}
    ></vscode-textfield>
    <span class="dim" role="status">${status}</span>
    <button class="tool-button" title="Previous (Shift+Enter)" aria-label="Previous" @click=${() => step(-1)}>
      ${icon('up')}
    </button>
    <button class="tool-button" title="Next (Enter)" aria-label="Next" @click=${() => step(1)}>
      ${icon('down')}
    </button>
    <button class="tool-button" title="Close (Escape)" aria-label="Close" @click=${close}>
      ${icon('cross')}
    </button>
  </div>`;
}
