import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { readRule } from '../../src/protocol/egress.ts';
import { ruleFor } from '../../src/protocol/egressQuestions.ts';
import {
  hostAndPort,
  type Ledger,
  type LedgerFilter,
  type LedgerRow,
  passes,
} from '../../src/protocol/ledger.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import { hasEnded, type TaskState } from '../../src/protocol/taskState.ts';
import { bytes, cost, count, shortDuration } from '../../src/protocol/words.ts';
import type { Capabilities } from '../shared/host.ts';
import { VirtualList } from '../shared/virtualList.ts';
import { icon, type IconName } from './icons.ts';
import { toolView } from './toolView.ts';

/** What the ledger can ask of the page around it. */
export interface LedgerActions {
  can: Capabilities;
  allow(scope: 'task' | 'workspace', rule: string): void;
  refuse(host: string): void;
  export(filter: LedgerFilter): void;
  editRules(): void;
  /** Shows the call of a tool in the log, by the number of its event. */
  showTool(event: number): void;
}

/** The filter is applied anew at most this often while requests come in, in milliseconds. */
const settleMs = 100;
const rowHeight = 24;

const verdicts: Record<LedgerRow['verdict'], { icon: IconName; label: string }> = {
  allowed: { icon: 'check', label: 'Allowed' },
  blocked: { icon: 'blocked', label: 'Blocked' },
  failed: { icon: 'warning', label: 'Failed' },
  waiting: { icon: 'clock', label: 'Waits' },
};

const kinds: Record<LedgerRow['kind'], string> = {
  tunnel: 'Encrypted tunnel: only the host can be seen',
  http: 'Plain HTTP',
  model: 'Request to the model',
  forge: 'Request to the forge',
};

/** The requests of a task: a filter, a table of any length, details on demand. */
export class LedgerTab extends LitElement {
  static override properties = {
    ledger: { attribute: false },
    state: { attribute: false },
    actions: { attribute: false },
    filter: { state: true },
    shown: { state: true },
    selected: { state: true },
  };
  declare ledger: Ledger | undefined;
  declare state: TaskState | undefined;
  declare actions: LedgerActions | undefined;
  declare filter: LedgerFilter;
  declare shown: readonly LedgerRow[];
  /** Key of the row that the keyboard is on. */
  declare selected: number;
  private readonly opened = new Set<number>();
  private list: VirtualList | undefined;
  private settling: ReturnType<typeof setTimeout> | undefined;
  private behind = false;

  constructor() {
    super();
    this.filter = { show: 'all', withoutModel: false, words: '' };
    this.shown = [];
    this.selected = 0;
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  /** The ledger holds other rows than before. */
  rowsChanged(): void {
    // The filter is applied when somebody looks.
    if (this.hidden) this.behind = true;
    else this.settling ??= setTimeout(() => this.apply(), settleMs);
  }

  show(visible: boolean): void {
    this.hidden = !visible;
    if (visible && this.behind) this.apply();
  }

  private apply(): void {
    clearTimeout(this.settling);
    this.settling = undefined;
    this.behind = false;
    const before = this.shown;
    this.shown = (this.ledger?.rows ?? []).filter((row) => passes(row, this.filter));
    // Rows that were measured are kept where only more of them came.
    const grown =
      this.shown.length >= before.length && before.every((row, at) => this.shown[at]?.key === row.key);
    if (!grown) this.list?.setCount(0);
    this.list?.setCount(this.shown.length);
    this.list?.schedule();
  }

  private refilter(change: Partial<LedgerFilter>): void {
    this.filter = { ...this.filter, ...change };
    this.apply();
    this.list?.follow();
  }

  protected override updated(): void {
    const scroller = this.querySelector<HTMLElement>('.ledger-list');
    if (this.list === undefined && scroller !== null) {
      this.list = new VirtualList(
        scroller,
        (index) => this.row(index),
        () => rowHeight,
      );
      this.apply();
    }
    this.list?.schedule();
  }

  override render(): TemplateResult {
    const totals = this.ledger?.totals;
    return html`<div class="ledger">
      <div class="ledger-bar">
        <div class="switch" role="group" aria-label="Which requests are shown">
          ${this.chip('all', 'All', this.ledger?.rows.length ?? 0)}
          ${this.chip('allowed', 'Allowed', totals?.allowed ?? 0)}
          ${this.chip('blocked', 'Blocked', (totals?.blocked ?? 0) + (totals?.waiting ?? 0))}
          ${this.chip('model', 'Model', totals?.model ?? 0)}
        </div>
        <button
          class="fold"
          aria-pressed=${this.filter.withoutModel}
          ?disabled=${this.filter.show === 'model'}
          title="Leave out requests to the model"
          @click=${() => this.refilter({ withoutModel: !this.filter.withoutModel })}
        >
          Hide model
        </button>
        <vscode-textfield
          class="words"
          placeholder="Filter"
          label="Filter by host, path, verdict or reason"
          @input=${(event: Event) =>
            this.refilter({ words: (event.target as HTMLInputElement).value.slice(0, 500) })}
        ></vscode-textfield>
        <span class="space"></span>
        <span class="dim totals" title="What all requests carried: from the sandbox, and to it"
          >↑ ${bytes(totals?.bytesOut ?? 0)} ↓ ${bytes(totals?.bytesIn ?? 0)}</span
        >
        ${
          this.actions?.can.machine === true
            ? html`<button
                class="tool-button"
                title="Network rules of this workspace"
                aria-label="Edit the network rules of this workspace"
                @click=${() => this.actions?.editRules()}
              >
                ${icon('shield')}
              </button>`
            : nothing
        }
        <button
          class="tool-button"
          title="Copy or save what is shown, as CSV or JSON"
          aria-label="Copy or save what is shown"
          @click=${() => this.actions?.export(this.filter)}
        >
          ${icon('export')}
        </button>
      </div>
      <div
        class="ledger-table"
        role="treegrid"
        tabindex="0"
        aria-label="Requests of the task"
        aria-rowcount=${this.shown.length + 1}
        aria-activedescendant=${this.selected === 0 ? nothing : `request-${this.selected}`}
        @keydown=${(event: KeyboardEvent) => this.key(event)}
      >
        <div class="request head" role="row" aria-rowindex="1">
          <span role="columnheader" class="c-time">Time</span>
          <span role="columnheader" class="c-verdict"><span class="hidden-label">Verdict</span></span>
          <span role="columnheader" class="c-method">Method</span>
          <span role="columnheader" class="c-target">Host and path</span>
          <span role="columnheader" class="c-tool">During</span>
          <span role="columnheader" class="c-bytes">Up</span>
          <span role="columnheader" class="c-bytes">Down</span>
          <span role="columnheader" class="c-duration">Took</span>
          <span role="columnheader" class="c-status">Status</span>
        </div>
        <div class="list ledger-list"></div>
        ${this.shown.length === 0 ? this.nothingShown() : nothing}
      </div>
    </div>`;
  }

  private chip(show: LedgerFilter['show'], label: string, n: number): TemplateResult {
    return html`<button aria-pressed=${this.filter.show === show} @click=${() => this.refilter({ show })}>
      ${label}<span class="chip-count">${count(n)}</span>
    </button>`;
  }

  private nothingShown(): TemplateResult {
    const none = (this.ledger?.rows.length ?? 0) === 0;
    return html`<div class="empty">
      <p>
        ${none ? 'The sandbox has sent no request yet. Each one appears here, also those that are refused.' : 'No request passes the filter.'}
      </p>
    </div>`;
  }

  private row(index: number): TemplateResult {
    const row = this.shown[index];
    if (row === undefined) return html`<div></div>`;
    const open = this.opened.has(row.key);
    const verdict = verdicts[row.verdict];
    const tools = this.ledger?.toolsAt(row.started) ?? [];
    const path = row.path === undefined ? '' : safeLine(row.path, 300);
    const took = row.verdict === 'waiting' ? '…' : shortDuration(row.ended - row.started);
    return html`<div class="request-item ${open ? 'open' : ''}">
      <div
        id="request-${row.key}"
        class="request ${row.verdict} ${row.kind} ${this.selected === row.key ? 'selected' : ''}"
        role="row"
        aria-rowindex=${index + 2}
        aria-level="1"
        aria-expanded=${open}
        aria-selected=${this.selected === row.key}
        @click=${() => this.toggle(row)}
      >
        <span role="gridcell" class="c-time">${clock(row.started)}</span>
        <span role="gridcell" class="c-verdict" title=${verdict.label}
          >${icon(verdict.icon)}<span class="hidden-label">${verdict.label}</span></span
        >
        <span role="gridcell" class="c-method"
          >${row.kind === 'tunnel' ? 'CONNECT' : safeLine(row.method ?? '', 20)}</span
        >
        <span role="gridcell" class="c-target" title="${hostAndPort(row)}${path}"
          ><span class="host">${hostAndPort(row)}</span><span class="path">${path}</span></span
        >
        <span role="gridcell" class="c-tool dim">${safeLine(tools[0]?.name ?? '', 40)}</span>
        <span role="gridcell" class="c-bytes">${row.bytesOut === 0 ? '' : bytes(row.bytesOut)}</span>
        <span role="gridcell" class="c-bytes">${row.bytesIn === 0 ? '' : bytes(row.bytesIn)}</span>
        <span role="gridcell" class="c-duration">${took}</span>
        <span role="gridcell" class="c-status">${row.status ?? ''}</span>
      </div>
      ${open ? this.details(row, tools) : nothing}
    </div>`;
  }

  private details(row: LedgerRow, tools: ReturnType<Ledger['toolsAt']>): TemplateResult {
    const verdict = verdicts[row.verdict];
    const scheme = row.kind === 'http' ? 'http' : 'https';
    const [tool] = tools;
    const fact = (name: string, value: unknown): TemplateResult =>
      html`<dt>${name}</dt>
        <dd>${value}</dd>`;
    const { spend } = row;
    return html`<div class="request-details ${row.verdict}" role="row">
      <div role="gridcell">
        <dl>
          ${fact(verdict.label, reasonOf(row))}
          ${fact('Address', html`<code>${scheme}://${safeLine(row.host, 300)}:${row.port}${row.path === undefined ? '' : safeLine(row.path)}</code>`)}
          ${fact('Kind', kinds[row.kind])}
          ${fact('Time', html`${new Date(row.started).toLocaleString()} · ${row.verdict === 'waiting' ? 'waits for your answer' : shortDuration(row.ended - row.started)}`)}
          ${fact('Carried', `${row.bytesOut.toLocaleString('en')} bytes out, ${row.bytesIn.toLocaleString('en')} bytes in`)}
          ${
            tool === undefined
              ? nothing
              : fact(
                  'During',
                  html`<button class="link" @click=${() => this.actions?.showTool(tool.n)}>
                      ${safeLine(tool.name, 60)}
                    </button>
                    <code class="dim">${toolView(tool.name, tool.input).summary}</code
                    >${tools.length > 1 ? html`<span class="dim"> and ${tools.length - 1} more at that time</span>` : nothing}`,
                )
          }
          ${
            spend === undefined
              ? nothing
              : fact(
                  'Used',
                  `${safeLine(spend.model, 100)} · ${count(spend.usage.inputTokens + spend.usage.cacheReadTokens + spend.usage.cacheWriteTokens)} tokens in, ${count(spend.usage.outputTokens)} out · ${spend.estimated ? '≈' : ''}${cost(spend.usd)}`,
                )
          }
        </dl>
        ${this.answers(row)}
      </div>
    </div>`;
  }

  private answers(row: LedgerRow): TemplateResult | typeof nothing {
    if (!row.askable || (row.verdict !== 'blocked' && row.verdict !== 'waiting')) return nothing;
    const rule = ruleFor(row);
    if (rule === undefined || typeof readRule(rule) === 'string') return nothing;
    if (this.state?.egress.allowed.includes(rule) === true)
      return html`<div class="dim">Allowed since: <code>${rule}</code></div>`;
    const active = this.state !== undefined && !hasEnded(this.state);
    const { can } = this.actions ?? {};
    if (can?.steer !== true) return nothing;
    return html`<div class="buttons">
      ${active ? html`<vscode-button title="Lets ${rule} through until this task is over" @click=${() => this.actions?.allow('task', rule)}>Allow for This Task</vscode-button>` : nothing}
      <vscode-button
        secondary
        title="Lets ${rule} through for all tasks of this ${can.place.toLowerCase()}, from now on"
        @click=${() => this.actions?.allow('workspace', rule)}
        >Always for This ${can.place}</vscode-button
      >
      ${row.verdict === 'waiting' ? html`<vscode-button secondary @click=${() => this.actions?.refuse(row.host)}>Don't Allow</vscode-button>` : nothing}
    </div>`;
  }

  private toggle(row: LedgerRow): void {
    this.selected = row.key;
    if (!this.opened.delete(row.key)) this.opened.add(row.key);
    this.requestUpdate();
  }

  private key(event: KeyboardEvent): void {
    // Keys of what is in a row are its own.
    if (event.target !== event.currentTarget) return;
    const at = this.shown.findIndex(({ key }) => key === this.selected);
    const row = this.shown[at];
    const last = this.shown.length - 1;
    const page = Math.max(1, Math.floor((this.list?.visibleHeight ?? 0) / rowHeight) - 1);
    const steps: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at === -1 ? last : at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: last,
    };
    const to = steps[event.key];
    if (to !== undefined) {
      const index = Math.max(0, Math.min(last, to));
      this.selected = this.shown[index]?.key ?? 0;
      this.list?.show(index);
    } else if (row === undefined) return;
    else if (event.key === 'Enter' || event.key === ' ') this.toggle(row);
    else if (event.key === 'ArrowRight' && !this.opened.has(row.key)) this.toggle(row);
    else if (event.key === 'ArrowLeft' && this.opened.has(row.key)) this.toggle(row);
    else return;
    event.preventDefault();
  }
}

/** Of a request that was let through the rule, of another one why not. */
function reasonOf({ verdict, reason }: LedgerRow): string {
  if (reason === undefined) return verdict === 'waiting' ? 'for your answer' : '';
  const text = safeText(reason.slice(0, 1000));
  // An open network says so in a sentence.
  return verdict === 'allowed' && typeof readRule(text) === 'object' ? `by the rule ${text}` : text;
}

const clockFormat = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

function clock(t: number): string {
  return clockFormat.format(t);
}
