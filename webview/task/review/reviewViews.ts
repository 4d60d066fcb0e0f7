import { html, nothing, type TemplateResult } from 'lit';
import { statusLetter } from '../../../src/protocol/panelMessages.ts';
import type { FileEdit, RemarkState, ReviewFile, ReviewPart, Verdict } from '../../../src/protocol/review.ts';
import { editWords, type FileVerdict, isReviewed, isTaken } from '../../../src/protocol/reviewState.ts';
import { safeLine, safeText } from '../../../src/protocol/safeText.ts';
import { plural } from '../../../src/protocol/words.ts';
import { icon } from '../icons.ts';
import { hasLines } from './fileRows.ts';
import type { ReviewModel } from './reviewModel.ts';

/** The parts of the review that are made of words and buttons. Texts from the sandbox are text everywhere. */

export interface ReviewActions {
  /** The user may decide; otherwise there is nothing but to look. */
  decides: boolean;
  editor: boolean;
  decide(what: { parts: string[] } | { file: string }, verdict: Verdict | null): void;
  review(file: ReviewFile, on: boolean): void;
  write(file: ReviewFile, part: ReviewPart): void;
  edit(remark: RemarkState): void;
  submit(text: string): void;
  cancel(): void;
  remove(remark: RemarkState): void;
  resolve(remark: RemarkState, resolved: boolean): void;
  open(file: ReviewFile, part?: ReviewPart): void;
  /** Opens the merge of the user's edit with the task's new version. */
  merge(file: ReviewFile): void;
  fold(file: ReviewFile): void;
  widen(file: ReviewFile): void;
  /** Something of it got the focus. */
  focused(file: ReviewFile, part?: ReviewPart): void;
}

const verdictNames: Readonly<Record<FileVerdict, string>> = {
  accepted: 'accepted',
  rejected: 'rejected',
  mixed: 'decided in part',
  none: '',
};

export function verdictIcon(verdict: FileVerdict): TemplateResult | typeof nothing {
  if (verdict === 'none') return nothing;
  const name = verdict === 'accepted' ? 'check' : verdict === 'rejected' ? 'cross' : 'half';
  return html`<span class="rv-verdict ${verdict}" title=${verdictNames[verdict]}>${icon(name)}</span>`;
}

/** What a file is, for people who hear it. */
export function fileLabel(model: ReviewModel, file: ReviewFile): string {
  const verdict = model.verdict(file);
  return [
    safeLine(file.path),
    file.from === undefined ? file.status : `renamed from ${safeLine(file.from)}`,
    file.added === undefined ? '' : `${plural(file.added, 'line')} added, ${file.removed ?? 0} removed`,
    file.gate.length > 0 ? 'look at this one first' : '',
    verdictNames[verdict],
    model.cameBack(file) ? 'came back' : '',
    isReviewed(model.state, file) ? 'reviewed' : '',
  ]
    .filter((words) => words !== '')
    .join(', ');
}

/** What a part is, likewise. */
export function partLabel(model: ReviewModel, file: ReviewFile, part: ReviewPart): string {
  const verdict = model.state.verdicts[part.id];
  return [
    partName(file, part),
    part.kind === 'hunk' ? `${plural(part.added, 'line')} added, ${part.removed} removed` : '',
    verdict ?? 'not decided',
    isTaken(model.state, part.id) ? 'in your repository' : '',
    model.partCameBack(part) ? 'came back' : '',
  ]
    .filter((words) => words !== '')
    .join(', ');
}

/** "Hunk 2 of 5 · line 10", "New file". */
export function partName(file: ReviewFile, part: ReviewPart): string {
  if (part.kind === 'hunk') {
    const hunks = file.parts.filter(({ kind }) => kind === 'hunk');
    const range = part.new?.lines === 0 ? part.old : part.new;
    const at = range === undefined ? '' : lineWords(range);
    return `Hunk ${hunks.indexOf(part) + 1} of ${hunks.length}${at === '' ? '' : ` · ${at}`}`;
  }
  return {
    add: 'New file',
    delete: 'Deleted file',
    rename: 'Rename',
    mode: 'Mode',
    binary: 'Binary content',
    link: 'Link',
    submodule: 'Submodule',
    type: 'Type',
  }[part.kind];
}

function lineWords({ start, lines }: { start: number; lines: number }): string {
  return lines <= 1 ? `line ${start}` : `lines ${start}–${start + lines - 1}`;
}

export function counts(file: ReviewFile): TemplateResult {
  if (file.added === 0 && file.removed === 0) return html``;
  if (file.added === undefined) return html`<span class="dim">${file.binary ? 'binary' : ''}</span>`;
  return html`<span class="counts" aria-hidden="true"
    ><span class="plus">+${file.added.toLocaleString('en')}</span>
    <span class="minus">−${(file.removed ?? 0).toLocaleString('en')}</span></span
  >`;
}

export function badges(model: ReviewModel, file: ReviewFile): TemplateResult {
  return html`${
    file.gate.length > 0
      ? html`<span class="rv-badge gate" title=${file.gate.map(({ why }) => safeLine(why, 300)).join('\n')}
          >${icon('warning')}<span class="hidden-label">Look at this one first</span></span
        >`
      : nothing
  }${
    model.cameBack(file)
      ? html`<span class="rv-badge back" title="Something that you rejected is here again">came back</span>`
      : nothing
  }${file.edit === undefined ? nothing : editBadge(file.edit)}`;
}

function editBadge(edit: FileEdit): TemplateResult {
  const words = editWords(edit);
  return edit.kind === 'conflict'
    ? html`<span class="rv-badge back" title=${words}>edit in conflict</span>`
    : html`<span class="rv-badge" title=${words}>edited</span>`;
}

/** The head of a file. */
export function fileHead(
  model: ReviewModel,
  file: ReviewFile,
  look: { current: boolean; folded: boolean },
  actions: ReviewActions,
): TemplateResult {
  const reviewed = isReviewed(model.state, file);
  const verdict = model.verdict(file);
  const tab = look.current ? 0 : -1;
  return html`<div
    class="rv-file-head ${look.current ? 'current' : ''}"
    role="group"
    tabindex=${tab}
    data-head
    aria-label=${fileLabel(model, file)}
    @focus=${() => actions.focused(file)}
  >
    <button
      class="rv-fold"
      tabindex="-1"
      aria-label=${look.folded ? 'Unfold' : 'Fold'}
      aria-expanded=${!look.folded}
      @click=${() => actions.fold(file)}
    >
      ${icon('chevron', look.folded ? '' : 'open')}
    </button>
    <span class="status ${file.status}" aria-hidden="true">${statusLetter(file.status)}</span>
    <span class="rv-path" title=${safeLine(file.path, 1000)}
      >${file.from === undefined ? nothing : html`<span class="dim">${safeLine(file.from)} → </span>`}<bdi
        >${safeLine(file.path)}</bdi
      ></span
    >
    ${counts(file)} ${badges(model, file)} ${verdictIcon(verdict)}
    <span class="space"></span>
    ${
      actions.decides
        ? decideButtons({
            decided: verdict !== 'none',
            tab,
            what: 'File',
            decide: (to) => actions.decide({ file: file.id }, to),
            merge: actions.editor && file.edit?.kind === 'conflict' ? () => actions.merge(file) : undefined,
          })
        : nothing
    }
    ${
      actions.editor
        ? html`<button
            class="rv-button"
            tabindex=${tab}
            title="Open in Editor (o)"
            @click=${() => actions.open(file)}
          >
            ${icon('open')}<span class="rv-wide">Open in Editor</span>
          </button>`
        : nothing
    }
    ${
      actions.decides
        ? html`<label class="rv-reviewed" title="Reviewed (v)"
            ><input
              type="checkbox"
              tabindex=${tab}
              .checked=${reviewed}
              @change=${(event: Event) => actions.review(file, (event.target as HTMLInputElement).checked)}
            />Reviewed</label
          >`
        : nothing
    }
  </div>`;
}

interface Deciding {
  decided: boolean;
  tab: number;
  what: 'File' | '';
  decide: (to: Verdict | null) => void;
  /** In place of accepting, where the user's edit is in conflict. */
  merge?: (() => void) | undefined;
}

function decideButtons({ decided, tab, what, decide, merge }: Deciding): TemplateResult {
  const name = (verb: string): string => (what === '' ? verb : `${verb} ${what}`);
  return html`<span class="rv-decide">
    ${
      merge === undefined
        ? html`<button
            class="rv-button accept"
            tabindex=${tab}
            title="${name('Accept')} (a)"
            @click=${() => decide('accepted')}
          >
            ${icon('check')}${name('Accept')}
          </button>`
        : html`<button
            class="rv-button"
            tabindex=${tab}
            title="Merge your edit with the task's new version"
            @click=${merge}
          >
            ${icon('merge')}Merge Your Edit
          </button>`
    }
    <button
      class="rv-button reject"
      tabindex=${tab}
      title="${name('Reject')} (r)"
      @click=${() => decide('rejected')}
    >
      ${icon('cross')}${name('Reject')}
    </button>
    ${
      decided
        ? html`<button
            class="rv-button"
            tabindex=${tab}
            title="Take the verdict back (u)"
            @click=${() => decide(null)}
          >
            ${icon('undo')}Restore
          </button>`
        : nothing
    }
  </span>`;
}

/** The bar above a hunk, or above another part. */
export function partBar(
  model: ReviewModel,
  file: ReviewFile,
  part: ReviewPart,
  current: boolean,
  actions: ReviewActions,
): TemplateResult {
  const verdict = model.state.verdicts[part.id];
  const tab = current ? 0 : -1;
  return html`<div
    class="rv-bar ${verdict ?? ''} ${current ? 'current' : ''}"
    role="group"
    tabindex=${tab}
    data-part=${part.id}
    aria-label=${partLabel(model, file, part)}
    @focus=${() => actions.focused(file, part)}
  >
    <span class="rv-name">${partName(file, part)}</span>
    ${
      part.kind === 'hunk'
        ? html`<span class="counts" aria-hidden="true"
            ><span class="plus">+${part.added}</span> <span class="minus">−${part.removed}</span></span
          >`
        : nothing
    }
    ${verdict === undefined ? nothing : html`${verdictIcon(verdict)}<span class="rv-said ${verdict}">${verdict}</span>`}
    ${isTaken(model.state, part.id) ? html`<span class="rv-badge" title="Accepted, and in your repository">in your repository</span>` : nothing}
    ${model.partCameBack(part) ? html`<span class="rv-badge back" title="You rejected it, and told the agent; it is here again as it was">came back</span>` : nothing}
    <span class="space"></span>
    ${
      actions.decides
        ? decideButtons({
            decided: verdict !== undefined,
            tab,
            what: '',
            decide: (to) => actions.decide({ parts: [part.id] }, to),
          })
        : nothing
    }
    ${
      actions.decides &&
      hasLines(file) &&
      (part.new !== undefined || part.kind === 'add' || part.kind === 'delete')
        ? html`<button
            class="rv-button"
            tabindex=${tab}
            title="Comment… (c)"
            @click=${() => actions.write(file, part)}
          >
            ${icon('comment')}<span class="rv-wide">Comment…</span>
          </button>`
        : nothing
    }
    ${
      actions.editor
        ? html`<button
            class="rv-button"
            tabindex=${tab}
            title="Open in Editor (o)"
            @click=${() => actions.open(file, part)}
          >
            ${icon('open')}<span class="rv-wide">Open in Editor</span>
          </button>`
        : nothing
    }
  </div>`;
}

export function gateNotice(file: ReviewFile): TemplateResult {
  return html`<div class="rv-gate">
    ${icon('warning')}
    <div>
      <strong>Look at this one first.</strong>
      ${file.gate.map(({ why }) => html`<span>${safeLine(why, 400)} </span>`)}
      <span class="dim">It is accepted only by itself, never with the others.</span>
    </div>
  </div>`;
}

export function remarkBox(remark: RemarkState, actions: ReviewActions): TemplateResult {
  const state = { draft: 'not sent yet', sent: 'sent to the agent', resolved: 'resolved' }[remark.state];
  return html`<div class="rv-remark ${remark.state}" role="group" aria-label="Remark, ${state}">
    ${icon('comment')}
    <div class="rv-remark-text">
      <div class="dim small">
        ${remark.line === remark.endLine ? `Line ${remark.line}` : `Lines ${remark.line}–${remark.endLine}`}${remark.side === 'old' ? ' before' : ''}
        · ${state}
      </div>
      <div class="rv-remark-words">${safeText(remark.text)}</div>
    </div>
    ${
      actions.decides
        ? html`<span class="rv-decide">
            <button class="rv-button" @click=${() => actions.edit(remark)}>Edit</button>
            <button class="rv-button" @click=${() => actions.resolve(remark, remark.state !== 'resolved')}>
              ${remark.state === 'resolved' ? 'Open Again' : 'Resolve'}
            </button>
            <button class="rv-button" @click=${() => actions.remove(remark)}>Delete</button>
          </span>`
        : nothing
    }
  </div>`;
}

/** Where a remark is written. What was typed outlives its being scrolled out of sight. */
export function writingBox(
  text: string,
  typed: (text: string) => void,
  actions: ReviewActions,
): TemplateResult {
  const submit = (event: Event): void => {
    const box = (event.currentTarget as HTMLElement).closest('.rv-writing')?.querySelector('textarea');
    if (box != null && box.value.trim() !== '') actions.submit(box.value.trim());
  };
  return html`<div class="rv-writing">
    <textarea
      rows="3"
      maxlength="20000"
      aria-label="Remark to the agent"
      placeholder="A remark to the agent. It is sent with the others, by Send to Agent."
      .value=${text}
      @input=${(event: Event) => typed((event.target as HTMLTextAreaElement).value)}
      @keydown=${(event: KeyboardEvent) => {
        if (event.key === 'Escape') actions.cancel();
        else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit(event);
        else return;
        event.preventDefault();
        event.stopPropagation();
      }}
    ></textarea>
    <div class="rv-decide">
      <vscode-button @click=${submit}>Add Remark</vscode-button>
      <vscode-button secondary @click=${() => actions.cancel()}>Cancel</vscode-button>
    </div>
  </div>`;
}
