import { html, nothing, render, type TemplateResult } from 'lit';
import { safeText } from '../../src/protocol/safeText.ts';

interface Button<T> {
  label: string;
  value: T;
  kind?: 'primary' | 'danger';
}

/** A question before everything else. Resolves to undefined when it was closed without an answer. */
export function ask<T>(question: {
  title: string;
  text?: string;
  buttons: readonly Button<T>[];
}): Promise<T | undefined> {
  return open<T>(
    (close) => html`
      <h2>${safeText(question.title)}</h2>
      ${question.text === undefined ? nothing : html`<p>${safeText(question.text)}</p>`}
      <div class="d-actions">
        <button class="d-button" @click=${() => close(undefined)}>Cancel</button>
        ${question.buttons.map(
          ({ label, value, kind }) =>
            html`<button class="d-button ${kind ?? ''}" @click=${() => close(value)}>${label}</button>`,
        )}
      </div>
    `,
  );
}

/** Asks for an amount of US dollars; null is no limit. */
export function askAmount(question: {
  title: string;
  text: string;
  usd: number | null;
}): Promise<number | null | undefined> {
  return open<number | null>((close) => {
    const submit = (event: SubmitEvent): void => {
      event.preventDefault();
      const field = (event.target as HTMLFormElement).elements.namedItem('usd') as HTMLInputElement;
      close(field.value === '' ? null : Number(field.value));
    };
    return html`<form @submit=${submit}>
      <h2>${question.title}</h2>
      <p>${question.text}</p>
      <label class="d-field">
        <span>US dollars; empty is no limit</span>
        <input
          name="usd"
          type="number"
          min="0.01"
          max="1000000"
          step="0.01"
          inputmode="decimal"
          .value=${question.usd === null ? '' : String(question.usd)}
        />
      </label>
      <div class="d-actions">
        <button class="d-button" type="button" @click=${() => close(undefined)}>Cancel</button>
        <button class="d-button primary">Set</button>
      </div>
    </form>`;
  });
}

/** Shows a long text as it is. */
export function showText(title: string, text: string): void {
  void open<undefined>(
    (close) => html`
      <div class="d-dialog-head">
        <h2>${title}</h2>
        <button class="d-button" @click=${() => close(undefined)}>Close</button>
      </div>
      <pre class="d-long-text" tabindex="0">${safeText(text)}</pre>
    `,
    'wide',
  );
}

/** A place before everything else that something else draws in, until it is closed. */
export function showPlace(
  title: string,
  fill: (place: HTMLElement, status: HTMLElement) => () => void,
): void {
  let undo: () => void = () => undefined;
  void open<undefined>(
    (close) => html`
      <div class="d-dialog-head">
        <h2>${title}</h2>
        <span class="d-dialog-status dim" role="status"></span>
        <button class="d-button" @click=${() => close(undefined)}>Close</button>
      </div>
      <div class="d-dialog-place"></div>
    `,
    'wide tall',
    (dialog) => {
      const place = dialog.querySelector<HTMLElement>('.d-dialog-place');
      const status = dialog.querySelector<HTMLElement>('.d-dialog-status');
      if (place !== null && status !== null) undo = fill(place, status);
    },
  ).finally(() => undo());
}

/** A short word at the edge of the page, for a few seconds. */
export function toast(text: string): void {
  const place = document.createElement('div');
  place.className = 'd-toast';
  place.setAttribute('role', 'status');
  place.textContent = text;
  document.body.append(place);
  setTimeout(() => place.remove(), 4000);
}

/** Puts a text on the clipboard, also where the page came without TLS and the browser hides its clipboard. */
export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement('textarea');
    field.value = text;
    field.className = 'hidden-label';
    (document.querySelector('dialog[open]') ?? document.body).append(field);
    field.select();
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way without a secure context
    const done = document.execCommand('copy');
    field.remove();
    if (!done) {
      showText('Copy it from here', text);
      return;
    }
  }
  toast('Copied.');
}

/** Lets the user keep a text as a file. */
export function download(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function open<T>(
  content: (close: (value: T | undefined) => void) => TemplateResult,
  classes = '',
  shown: (dialog: HTMLDialogElement) => void = () => undefined,
): Promise<T | undefined> {
  const dialog = document.createElement('dialog');
  dialog.className = `d-dialog ${classes}`;
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer: T | undefined;
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    render(
      content((value) => {
        answer = value;
        dialog.close();
      }),
      dialog,
    );
    dialog.showModal();
    shown(dialog);
  });
}
