import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { safeText } from '../../src/protocol/safeText.ts';
import { icon } from '../task/icons.ts';
import { told } from './api.ts';
import type { Client } from './client.ts';
import type { Live, Me } from './live.ts';
import type { Place } from './paths.ts';

/** What every page can ask of the dashboard around it. */
export interface Shell {
  readonly client: Client;
  readonly live: Live;
  readonly me: Me | undefined;
  go(place: Place): void;
  /** Goes on after a sign-in, or to an address of ours. */
  goTo(path: string): void;
  signedIn(next: string): Promise<void>;
  signOut(): Promise<void>;
}

/** A page of the dashboard: drawn into the document itself, with one way to do things and to tell what went wrong. */
export abstract class Page extends LitElement {
  static override properties = {
    shell: { attribute: false },
    busy: { state: true },
    problem: { state: true },
  };
  declare shell: Shell;
  declare busy: boolean;
  declare problem: { message: string; mend: string } | undefined;

  constructor() {
    super();
    this.busy = false;
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  /** Does one thing at a time, and shows what went wrong. @returns true when it went well */
  protected async attempt(act: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.problem = undefined;
    try {
      await act();
      return true;
    } catch (thrown) {
      this.problem = told(thrown);
      return false;
    } finally {
      this.busy = false;
    }
  }

  protected problemBox(): TemplateResult | typeof nothing {
    return this.problem === undefined ? nothing : problemBox(this.problem);
  }
}

export function problemBox({ message, mend }: { message: string; mend: string }): TemplateResult {
  return html`<div class="d-notice error" role="alert">
    ${icon('cross')}
    <div><strong>${safeText(message)}</strong> ${safeText(mend)}</div>
  </div>`;
}

/** The fields of a form by their names, as texts. */
export function fieldsOf(event: SubmitEvent): (name: string) => string {
  event.preventDefault();
  const data = new FormData(event.target as HTMLFormElement);
  return (name) => {
    const value = data.get(name);
    return typeof value === 'string' ? value : '';
  };
}

/** What is shown where there is nothing yet: what it would be, and what to do. */
export function emptyState(title: string, text: string, action?: TemplateResult): TemplateResult {
  return html`<div class="d-empty">
    <h2>${title}</h2>
    <p>${text}</p>
    ${action ?? nothing}
  </div>`;
}

export function loading(what: string): TemplateResult {
  return html`<div class="d-empty" role="status">
    <vscode-progress-ring></vscode-progress-ring>
    <p>Loading ${what}…</p>
  </div>`;
}

/** A link that stays in the page. */
export function link(
  shell: Shell,
  place: Place,
  path: string,
  content: unknown,
  classes = '',
): TemplateResult {
  return html`<a
    href=${path}
    class=${classes}
    @click=${(event: MouseEvent) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      shell.go(place);
    }}
    >${content}</a
  >`;
}
