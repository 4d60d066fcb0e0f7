import { html, nothing, type TemplateResult } from 'lit';
import type { ReviewScope } from '../../../src/protocol/review.ts';
import { safeLine } from '../../../src/protocol/safeText.ts';
import { plural } from '../../../src/protocol/words.ts';
import { icon } from '../icons.ts';
import { keyHelp } from './keys.ts';
import { type ReviewModel, scopeKey } from './reviewModel.ts';

/** What stands around the files of the review. */

interface Bar {
  model: ReviewModel;
  /** The files have come. */
  shown: boolean;
  /** The list of files is shown although there is little room. */
  listed: boolean;
  split: boolean;
  /** Shows the list of files, or hides it. */
  list: () => void;
  choose: (scope: ReviewScope) => void;
  setSplit: (split: boolean) => void;
  /** Shows the keys, or hides them. */
  help: () => void;
}

/** The line at the top: what is looked at, and how it is shown. */
export function reviewBar({
  model,
  shown,
  listed,
  split,
  list,
  choose,
  setSplit,
  help,
}: Bar): TemplateResult {
  const { scopes, scope } = model;
  const chosen = scopeKey(scope);
  const choices = scopes.length > 0 ? scopes : [{ scope, label: 'Everything', detail: '' }];
  return html`<div class="rv-top">
    <button class="rv-button rv-files" aria-expanded=${listed} title="Files (/)" @click=${list}>
      ${icon('list')}Files
    </button>
    <label>
      <span class="hidden-label">What to review</span>
      <select
        @change=${(event: Event) => {
          const key = (event.target as HTMLSelectElement).value;
          const choice = choices.find((each) => scopeKey(each.scope) === key);
          if (choice !== undefined) choose(choice.scope);
        }}
      >
        ${choices.map(
          (choice) =>
            html`<option
              value=${scopeKey(choice.scope)}
              title=${safeLine(choice.detail)}
              ?selected=${scopeKey(choice.scope) === chosen}
            >
              ${safeLine(choice.label, 70)}
            </option>`,
        )}
      </select>
    </label>
    <span class="dim rv-total">${shown ? plural(model.files.length, 'file') : ''}</span>
    <span class="space"></span>
    <div class="switch" role="group" aria-label="Layout of the diff">
      <button aria-pressed=${!split} title="Inline (s)" @click=${() => setSplit(false)}>Inline</button>
      <button aria-pressed=${split} title="Side by Side (s)" @click=${() => setSplit(true)}>
        Side by Side
      </button>
    </div>
    <button class="tool-button" title="Keys (?)" aria-label="Keys" @click=${help}>${icon('info')}</button>
  </div>`;
}

/** Files that differ beyond those that are listed. */
export function furtherNotice(further: number): TemplateResult | typeof nothing {
  if (further === 0) return nothing;
  return html`<div class="rv-gate">
    ${icon('warning')}
    <div>
      ${plural(further, 'more file')} ${further === 1 ? 'differs' : 'differ'}, which nobody looked at here.
      They can only be taken with all of the commits.
    </div>
  </div>`;
}

/** The line at the bottom: how far the user is, and what can be done with all of it. */
export function reviewFooter(
  model: ReviewModel,
  decides: boolean,
  act: (what: 'accept' | 'send' | 'undo') => void,
): TemplateResult | typeof nothing {
  if (model.files.length === 0) return nothing;
  const { reviewed, files, accepted, rejected } = model.progress;
  const { complete, undoable, state } = model;
  return html`<div class="rv-footer">
    <span class="rv-progress"
      >${reviewed} of ${plural(files, 'file')}
      reviewed${complete && accepted > 0 ? ` · ${accepted.toLocaleString('en')} accepted` : ''}${complete && rejected > 0 ? ` · ${rejected.toLocaleString('en')} rejected` : ''}</span
    >
    <progress class="rv-meter" max=${files} .value=${reviewed} aria-label="Files reviewed"></progress>
    <span class="space"></span>
    ${
      decides
        ? html`${
              undoable === undefined
                ? nothing
                : html`<vscode-button
                    secondary
                    title="Take back what was accepted last"
                    @click=${() => act('undo')}
                    >Undo</vscode-button
                  >`
            }
            <vscode-button
              secondary
              ?disabled=${state.unsent === 0}
              title="Sends remarks and rejections in one message"
              @click=${() => act('send')}
              >Send to Agent${state.unsent === 0 ? '' : ` (${state.unsent})`}</vscode-button
            >
            <vscode-button @click=${() => act('accept')}>Accept…</vscode-button>`
        : nothing
    }
  </div>`;
}

/** @param mayDecide keys that decide are listed, too */
export function keysHelp(mayDecide: boolean, close: () => void): TemplateResult {
  return html`<div class="rv-help" role="dialog" aria-label="Keys of the review">
    <dl>
      ${keyHelp
        .filter(({ decides }) => mayDecide || !decides)
        .map(
          ({ keys, words }) =>
            html`<dt>${keys.map((key) => html`<kbd>${key}</kbd> `)}</dt>
              <dd>${words}</dd>`,
        )}
    </dl>
    <vscode-button secondary @click=${close}>Close</vscode-button>
  </div>`;
}
