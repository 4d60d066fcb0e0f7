import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { decodeEvents, type PanelAction, type PanelMessage } from '../../src/protocol/panelMessages.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import { hasEnded, type TaskState } from '../../src/protocol/taskState.ts';
import { type EgressQuestion, egressQuestions } from '../../src/protocol/egressQuestions.ts';
import { Ledger } from '../../src/protocol/ledger.ts';
import type { Commit, TaskEvent } from '../../src/protocol/taskEvent.ts';
import {
  cost,
  count,
  duration,
  elapsed,
  phaseLabel,
  fileCount,
  plural,
  spendOf,
  spendText,
} from '../../src/protocol/words.ts';
import type { Capabilities, Host } from '../shared/host.ts';
import { VirtualList } from '../shared/virtualList.ts';
import { awayBanner, type BannerActions, hostOf, pausedBanner, questionBanners } from './banners.ts';
import type { DiffView } from './diffView.ts';
import { markMatches } from './highlight.ts';
import { icon } from './icons.ts';
import type { LedgerActions, LedgerTab } from './ledgerTab.ts';
import { entryText, LogModel, rawSearchText } from './logModel.ts';
import { changeCount, commitCard, entryHeight, entryRow, fileList, rawRow, type RowActions } from './rows.ts';
import type { Saved, Tab } from './saved.ts';
import { Search } from './search.ts';

interface Range {
  from: string;
  to: string;
}

const tabs: { id: Tab; label: string }[] = [
  { id: 'log', label: 'Log' },
  { id: 'raw', label: 'Raw' },
  { id: 'network', label: 'Network' },
  { id: 'commits', label: 'Commits' },
  { id: 'diff', label: 'Diff' },
];

/** The page of one task. It holds no truth: all of it comes from the host, again and again. */
export class TaskPage extends LitElement {
  static override properties = {
    task: { type: String },
    state: { state: true },
    tab: { state: true },
    loading: { state: true },
    removed: { state: true },
    following: { state: true },
    searching: { state: true },
    found: { state: true },
    diffStatus: { state: true },
    split: { state: true },
    now: { state: true },
  };
  declare task: string;
  declare state: TaskState | undefined;
  declare tab: Tab;
  declare loading: boolean;
  declare removed: boolean;
  declare following: boolean;
  declare searching: boolean;
  declare found: { indices: readonly number[]; at: number; done: boolean };
  declare diffStatus: { kind: 'none' | 'loading' | 'shown' | 'empty' | 'error'; text?: string };
  declare split: boolean;
  declare now: number;

  private readonly host: Host<Saved>;
  private readonly gone = new AbortController();
  private readonly model = new LogModel();
  private readonly ledger = new Ledger();
  /** Hosts whose notice was closed. */
  private readonly dismissed = new Set<string>();
  private readonly opened = new Set<number>();
  private lists: Partial<Record<'log' | 'raw', VirtualList>> = {};
  private result: Range | undefined;
  private leftovers: Range | undefined;
  private runner: Extract<PanelMessage, { type: 'state' }>['runner'];
  private words = '';
  private clockOffset = 0;
  private diff: DiffView | undefined;
  /** What the diff tab shows: everything, a commit, or the leftovers. */
  private selected = 'all';
  private request = 0;
  private shownRange = '';
  /** The file that the diff is scrolled to when it is there. */
  private wantedFile: string | undefined;

  private readonly search = new Search({
    text: (index) => this.searchText(index),
    count: () => (this.tab === 'raw' ? this.model.events.length : this.model.entries.length),
    onFound: ({ indices, done }) => this.onFound(indices, done),
  });

  private readonly actions: RowActions = {
    isOpen: (event) => this.opened.has(event),
    toggle: (event) => this.toggle(event),
    openText: (event) => this.host.send({ type: 'openText', event }),
    showCommit: (commit) => this.selectDiff(commit.sha),
    openFile: (commit, path) => {
      if (!this.host.can.editor) this.selectDiff(commit.sha, path);
      else this.openInEditor(rangeOf(commit), `${commit.sha.slice(0, 7)} ${commit.subject}`, path);
    },
    showLeftovers: () => this.selectDiff('leftovers'),
  };

  private readonly network: BannerActions & LedgerActions;

  constructor(host: Host<Saved>) {
    super();
    this.host = host;
    this.network = this.networkActions();
    this.task = '';
    const saved = this.host.saved() as Partial<Saved> | undefined;
    this.tab = tabs.find(({ id }) => id === saved?.tab)?.id ?? 'log';
    this.split = saved?.split === true;
    this.loading = true;
    this.removed = false;
    this.following = true;
    this.searching = false;
    this.found = { indices: [], at: -1, done: true };
    this.diffStatus = { kind: 'none' };
    this.now = Date.now();
  }

  private networkActions(): BannerActions & LedgerActions {
    return {
      can: this.host.can,
      allow: (scope, rule) => this.host.send({ type: 'allow', scope, rule }),
      refuse: (host) => this.host.send({ type: 'refuse', host }),
      dismiss: (question) => {
        this.dismissed.add(hostOf(question));
        this.requestUpdate();
      },
      showNetwork: () => (this.tab = 'network'),
      raise: (scope, usd) => this.host.send({ type: 'raise', scope, usd }),
      chooseBudget: () => this.act('setBudget'),
      stop: () => this.act('stop'),
      export: (filter) => this.host.send({ type: 'export', filter }),
      editRules: () => this.act('editNetworkRules'),
      showTool: (event) => this.showInLog(event),
    };
  }

  /** In the page itself, not in a shadow tree: one style sheet, and the search can mark what it finds. */
  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.save();
    this.host.onMessage((message) => this.receive(message));
    const { signal } = this.gone;
    window.addEventListener('keydown', (event) => this.key(event), { signal });
    const clock = setInterval(() => {
      if (this.state !== undefined && !hasEnded(this.state)) this.now = Date.now() + this.clockOffset;
    }, 1000);
    const theme = new MutationObserver(() => this.diff?.themeChanged());
    theme.observe(document.body, { attributeFilter: ['class'] });
    signal.addEventListener('abort', () => {
      clearInterval(clock);
      theme.disconnect();
      this.lists.log?.dispose();
      this.lists.raw?.dispose();
      this.diff?.dispose();
    });
    this.host.send({ type: 'ready', after: 0 });
  }

  /** An event that has come, by its number. */
  event(number: number): TaskEvent | undefined {
    return this.model.events.find(({ n }) => n === number);
  }

  /** The requests of the task, as far as they have come. */
  get requests(): Ledger {
    return this.ledger;
  }

  /** For good: a page that is taken away is made anew when it is wanted again. */
  dispose(): void {
    this.gone.abort();
  }

  /** Of what the host can, what this user may do with this task. */
  private get can(): Capabilities {
    const { can } = this.host;
    return this.runner?.readOnly === true ? { ...can, steer: false } : can;
  }

  private receive(message: PanelMessage): void {
    switch (message.type) {
      case 'state':
        this.state = message.state;
        this.result = message.result;
        this.leftovers = message.leftovers;
        this.runner = message.runner;
        this.network.can = this.can;
        this.clockOffset = message.now - Date.now();
        this.now = message.now;
        if (this.tab === 'diff') this.loadDiff();
        return;
      case 'events':
        if (message.first) {
          this.model.clear();
          this.ledger.clear();
          this.ledgerTab()?.rowsChanged();
          this.updateLists();
        }
        this.takeIn(decodeEvents(message.data));
        this.host.send({ type: 'ack', batch: message.batch });
        if (message.live) this.loading = false;
        this.updateLists();
        this.search.grown();
        return;
      case 'patch':
        void this.showPatch(message);
        return;
      case 'show':
        this.tab = message.tab;
        return;
      case 'removed':
        this.removed = true;
        return;
    }
  }

  private takeIn(events: readonly TaskEvent[]): void {
    const last = this.model.lastEvent;
    this.model.push(events);
    let changed = false;
    for (const event of events) if (event.n > last && this.ledger.push(event)) changed = true;
    if (changed) this.ledgerTab()?.rowsChanged();
  }

  private ledgerTab(): LedgerTab | null {
    return this.querySelector<LedgerTab>('sallyport-ledger');
  }

  private updateLists(): void {
    this.lists.log?.setCount(this.model.entries.length);
    this.lists.raw?.setCount(this.model.events.length);
  }

  protected override updated(changed: Map<PropertyKey, unknown>): void {
    this.makeList(
      'log',
      () => this.model.entries.length,
      (index) => {
        const entry = this.model.entries[index];
        return entry === undefined ? html`<div></div>` : entryRow(entry, this.actions);
      },
      (index) => {
        const entry = this.model.entries[index];
        return entry === undefined ? 0 : entryHeight(entry);
      },
    );
    this.makeList(
      'raw',
      () => this.model.events.length,
      (index) => {
        const event = this.model.events[index];
        return event === undefined
          ? html`<div></div>`
          : rawRow(event, this.opened.has(event.n), this.actions);
      },
      () => 20,
    );
    if (changed.has('tab')) {
      this.save();
      this.ledgerTab()?.show(this.tab === 'network');
      if (this.tab === 'diff') this.loadDiff();
      if (this.tab === 'log' || this.tab === 'raw') {
        this.following = this.lists[this.tab]?.isFollowing ?? true;
        if (this.words !== '') this.search.start(this.words);
      }
    }
    if (changed.has('searching') && this.searching) {
      requestAnimationFrame(() => this.querySelector<HTMLElement>('#search')?.focus());
    }
  }

  private makeList(
    name: 'log' | 'raw',
    length: () => number,
    row: (index: number) => TemplateResult,
    estimate: (index: number) => number,
  ): void {
    if (this.lists[name] !== undefined) return;
    const scroller = this.querySelector<HTMLElement>(`#${name}-list`);
    if (scroller === null) return;
    const list = new VirtualList(scroller, row, estimate);
    list.onFollow = (following) => {
      if (this.tab === name) this.following = following;
    };
    list.onDrawn = () => {
      if (this.tab === name) this.mark();
    };
    list.setCount(length());
    this.lists[name] = list;
  }

  override render(): TemplateResult {
    if (this.removed) {
      return html`<div class="empty">
        <p>This task was removed.</p>
        ${this.host.can.steer ? html`<vscode-button @click=${() => this.act('newTask')}>New Task</vscode-button>` : nothing}
      </div>`;
    }
    return html`${this.header()} ${this.banners()} ${this.tabBar()}
      <main>
        ${this.searching ? this.searchBar() : nothing}
        <section id="log-panel" role="tabpanel" aria-labelledby="log-tab" ?hidden=${this.tab !== 'log'}>
          <div
            id="log-list"
            class="list log"
            tabindex="0"
            role="log"
            aria-label="Log of the task"
            aria-live="off"
          ></div>
          ${this.emptyLog()} ${this.tab === 'log' ? this.jump() : nothing}
        </section>
        <section id="raw-panel" role="tabpanel" aria-labelledby="raw-tab" ?hidden=${this.tab !== 'raw'}>
          <div
            id="raw-list"
            class="list raw"
            tabindex="0"
            role="log"
            aria-label="Raw log of the task"
            aria-live="off"
          ></div>
          ${this.tab === 'raw' ? this.jump() : nothing}
        </section>
        <section
          id="network-panel"
          role="tabpanel"
          aria-labelledby="network-tab"
          ?hidden=${this.tab !== 'network'}
        >
          <sallyport-ledger
            .ledger=${this.ledger}
            .state=${this.state}
            .actions=${this.network}
          ></sallyport-ledger>
        </section>
        <section
          id="commits-panel"
          role="tabpanel"
          aria-labelledby="commits-tab"
          ?hidden=${this.tab !== 'commits'}
        >
          ${this.tab === 'commits' ? this.commits() : nothing}
        </section>
        <section id="diff-panel" role="tabpanel" aria-labelledby="diff-tab" ?hidden=${this.tab !== 'diff'}>
          ${this.diffBar()}
          <div id="diff-root" class="diff-root" ?hidden=${this.diffStatus.kind !== 'shown'}></div>
          ${this.diffMessage()}
        </section>
      </main>`;
  }

  private header(): TemplateResult {
    const { state } = this;
    if (state === undefined) {
      return html`<header>
        <vscode-progress-ring></vscode-progress-ring><span class="dim">Loading the task…</span>
      </header>`;
    }
    const { usage, by } = spendOf(state);
    const spent = spendText(state);
    const source = by === 'counted' ? 'counted by the gateway' : 'as the agent says';
    const tokensIn = usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
    const active = !hasEnded(state);
    const accepted = this.result !== undefined;
    const { can } = this;
    return html`<header>
      <div class="title-line">
        <h1 title=${safeText(state.spec.prompt.slice(0, 1000))}>${safeLine(state.spec.title)}</h1>
        <div class="buttons" ?hidden=${!can.buttons}>
          ${
            active && can.steer
              ? html`<vscode-button
                  secondary
                  ?disabled=${state.phase === 'stopping'}
                  @click=${() => this.act('stop')}
                  >${state.phase === 'stopping' ? 'Stopping…' : state.phase === 'waiting' ? 'Finish' : 'Stop'}</vscode-button
                >`
              : nothing
          }
          ${
            can.editor && (accepted || this.leftovers !== undefined)
              ? html`<vscode-button secondary @click=${() => this.act('showDiff')}
                  >Show Diff in Editor</vscode-button
                >`
              : nothing
          }
          ${accepted && can.accept && state.spec.repository.path !== '' ? html`<vscode-button ?secondary=${active} @click=${() => this.act('acceptAsBranch')}>Accept as Branch…</vscode-button>` : nothing}
          ${active || !can.steer ? nothing : html`<vscode-button secondary @click=${() => this.act('remove')}>Remove…</vscode-button>`}
        </div>
      </div>
      <div class="facts">
        <span class="phase ${active && state.paused !== undefined ? 'paused' : state.phase}"
          >${phaseLabel(state)}</span
        >
        ${
          state.spec.model.demonstration
            ? html`<span
                class="demonstration"
                title="A script answers instead of a model. It needs no key and costs nothing."
                >demonstration model</span
              >`
            : html`<span title=${safeLine(state.spec.model.label)}
                >${safeLine(state.modelName ?? state.spec.agent.model ?? state.spec.model.label)}</span
              >`
        }
        ${this.runner === undefined ? nothing : html`<span title="Runner">${icon('server')}${safeLine(this.runner.name, 40)}</span>`}
        <span title="Elapsed">${duration(elapsed(state, this.runner?.since ?? this.now))}</span>
        ${
          tokensIn + usage.outputTokens > 0
            ? html`<span title="Tokens in and out, ${source}"
                >${count(tokensIn)} in · ${count(usage.outputTokens)} out</span
              >`
            : nothing
        }
        ${
          spent === '' && state.budgetUsd === null
            ? nothing
            : html`<button
                class="fact-button"
                title="Cost, ${source}${spent.startsWith('≈') ? '; the price of the model is a guess' : ''}. Click to set the budget."
                ?disabled=${!active || !can.steer}
                @click=${() => this.act('setBudget')}
              >
                ${spent === '' ? cost(0) : spent}${state.budgetUsd === null ? '' : ` of ${cost(state.budgetUsd)}`}
              </button>`
        }
        ${
          state.commits.length > 0
            ? html`<span
                >${plural(state.commits.length, 'commit')}
                ${changeCount({
                  files: state.commits.flatMap(({ files }) => files),
                  moreFiles: state.commits.reduce((sum, { moreFiles = 0 }) => sum + moreFiles, 0),
                })}</span
              >`
            : nothing
        }
        <span class="branch" title="Branch in the sandbox"
          >${icon('commit')}${safeLine(state.spec.branch)}</span
        >
        ${state.egressClosed === true ? html`<span class="proof" title="Before the first prompt every attempt to connect out of the sandbox was blocked.">${icon('shield')}sandbox closed</span>` : nothing}
      </div>
      ${
        state.phase === 'preparing' && state.progress !== ''
          ? html`<div class="progress" role="status">
              <vscode-progress-ring></vscode-progress-ring>${safeLine(state.progress)}
            </div>`
          : nothing
      }
      ${state.failure === undefined ? nothing : this.failure(state.failure)}
    </header>`;
  }

  private banners(): TemplateResult | typeof nothing {
    const { state } = this;
    if (state === undefined || hasEnded(state)) return nothing;
    const { since } = this.runner ?? {};
    // What is asked cannot be answered there now.
    if (since !== undefined)
      return awayBanner(this.runner?.name ?? '', since, () => this.act('reconnectRunner'));
    const open = this.questions(state);
    return html`${state.paused === undefined ? nothing : pausedBanner(state.paused, this.network)}
    ${questionBanners(open, this.now, this.network)}`;
  }

  private questions(state: TaskState): EgressQuestion[] {
    return egressQuestions(state).filter(
      (question) => question.waiting > 0 || !this.dismissed.has(hostOf(question)),
    );
  }

  private failure(failure: NonNullable<TaskState['failure']>): TemplateResult {
    const button: [string, PanelAction] | undefined =
      failure.kind === 'auth_refused'
        ? ['Credentials…', 'credentials']
        : failure.kind === 'engine_gone' || failure.kind === 'image' || failure.kind === 'gateway'
          ? ['Run Doctor', 'doctor']
          : failure.kind === 'internal' || failure.kind === 'workspace'
            ? ['Show Output', 'showOutput']
            : undefined;
    return html`<div class="failure" role="alert">
      ${icon('cross')}
      <div>
        <strong>${safeText(failure.message.slice(0, 1000))}</strong>
        ${failure.mend === undefined ? nothing : safeText(failure.mend)}
      </div>
      ${button === undefined || !this.host.can.machine ? nothing : html`<vscode-button secondary @click=${() => this.act(button[1])}>${button[0]}</vscode-button>`}
    </div>`;
  }

  private tabBar(): TemplateResult {
    const commits = this.state?.commits.length ?? 0;
    const waiting = this.state?.egress.waiting.length ?? 0;
    return html`<nav
      class="tabs"
      role="tablist"
      aria-label="Views of the task"
      @keydown=${(event: KeyboardEvent) => this.tabKey(event)}
    >
      ${tabs.map(
        ({ id, label }) =>
          html`<button
            id="${id}-tab"
            role="tab"
            aria-selected=${this.tab === id}
            aria-controls="${id}-panel"
            tabindex=${this.tab === id ? 0 : -1}
            @click=${() => (this.tab = id)}
          >
            ${label}${id === 'commits' && commits > 0 ? html`<vscode-badge variant="counter">${commits}</vscode-badge>` : nothing}${id === 'network' && waiting > 0 ? html`<vscode-badge variant="counter" title="Requests that wait for you">${waiting}</vscode-badge>` : nothing}
          </button>`,
      )}
      <span class="space"></span>
      <button
        class="tool-button"
        title="Search (Ctrl+F)"
        aria-label="Search"
        @click=${() => this.openSearch()}
      >
        ${icon('search')}
      </button>
    </nav>`;
  }

  private searchBar(): TemplateResult {
    const { indices, at, done } = this.found;
    const status =
      this.words === ''
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
        @input=${(event: Event) => this.searchFor((event.target as HTMLInputElement).value)}
        @keydown=${(event: KeyboardEvent) => {
          if (event.key === 'Enter') this.step(event.shiftKey ? -1 : 1);
        }}
      ></vscode-textfield>
      <span class="dim" role="status">${status}</span>
      <button
        class="tool-button"
        title="Previous (Shift+Enter)"
        aria-label="Previous"
        @click=${() => this.step(-1)}
      >
        ${icon('up')}
      </button>
      <button class="tool-button" title="Next (Enter)" aria-label="Next" @click=${() => this.step(1)}>
        ${icon('down')}
      </button>
      <button
        class="tool-button"
        title="Close (Escape)"
        aria-label="Close"
        @click=${() => this.closeSearch()}
      >
        ${icon('cross')}
      </button>
    </div>`;
  }

  private emptyLog(): TemplateResult | typeof nothing {
    if (this.model.entries.length > 0) return nothing;
    return html`<div class="empty">
      ${
        this.loading
          ? html`<vscode-progress-ring></vscode-progress-ring>
              <p>Loading the log…</p>`
          : html`<p>Nothing has been said yet.</p>`
      }
    </div>`;
  }

  private jump(): TemplateResult | typeof nothing {
    if (this.following) return nothing;
    return html`<button class="jump" @click=${() => this.currentList()?.follow()}>
      ${icon('down')} Jump to newest
    </button>`;
  }

  private commits(): TemplateResult {
    const { state } = this;
    const commits = state?.commits ?? [];
    if (commits.length === 0 && state?.leftovers === undefined) {
      return html`<div class="empty">
        <p>
          ${state !== undefined && hasEnded(state) ? 'The agent made no commit.' : 'No commits yet. They appear here the moment the agent makes them.'}
        </p>
      </div>`;
    }
    const imported = new Set(state?.imported ?? []);
    const refused = new Set(state?.refusedImports ?? []);
    return html`<div class="commit-list">
      ${commits.map(
        (commit) =>
          html`<div class="commit-item">
            ${commitCard(commit, this.actions)}
            <div class="dim small">
              ${safeLine(commit.author, 60)} · ${new Date(commit.date).toLocaleString()}
              ${imported.has(commit.sha) ? nothing : refused.has(commit.sha) ? html` · not let in` : html` · being brought in…`}
            </div>
          </div>`,
      )}
      ${
        state?.leftovers === undefined
          ? nothing
          : html`<div class="card">
              <div class="card-head">
                <strong>Uncommitted edits</strong>
                <span class="dim">${fileCount(state.leftovers)}</span>
                ${changeCount(state.leftovers)}
                <vscode-button secondary @click=${() => this.selectDiff('leftovers')}
                  >Show Diff</vscode-button
                >
              </div>
              <div class="dim">
                Left in the workspace without a commit. Kept in the
                quarantine${this.host.can.accept ? '; Accept as Branch does not take them' : ''}.
              </div>
              ${fileList(state.leftovers, (path) => {
                if (!this.host.can.editor) this.selectDiff('leftovers', path);
                else this.openInEditor(this.leftovers, 'Uncommitted edits', path);
              })}
            </div>`
      }
    </div>`;
  }

  private diffBar(): TemplateResult {
    const commits = this.state?.commits ?? [];
    return html`<div class="diff-bar">
      <label>
        <span class="hidden-label">What to compare</span>
        <select
          .value=${this.selected}
          @change=${(event: Event) => this.selectDiff((event.target as HTMLSelectElement).value)}
        >
          <option value="all" ?selected=${this.selected === 'all'}>All changes</option>
          ${commits.map(
            ({ sha, subject }) =>
              html`<option value=${sha} ?selected=${this.selected === sha}>
                ${sha.slice(0, 7)} ${safeLine(subject, 70)}
              </option>`,
          )}
          ${this.leftovers === undefined ? nothing : html`<option value="leftovers" ?selected=${this.selected === 'leftovers'}>Uncommitted edits</option>`}
        </select>
      </label>
      <span class="dim">${this.diffStatus.kind === 'shown' ? (this.diffStatus.text ?? '') : ''}</span>
      <span class="space"></span>
      <div class="switch" role="group" aria-label="Layout of the diff">
        <button aria-pressed=${!this.split} @click=${() => this.setSplit(false)}>Unified</button>
        <button aria-pressed=${this.split} @click=${() => this.setSplit(true)}>Split</button>
      </div>
      ${
        this.host.can.editor
          ? html`<vscode-button
              secondary
              ?disabled=${this.range() === undefined}
              @click=${() => this.selectedInEditor()}
              >Open in Editor</vscode-button
            >`
          : nothing
      }
    </div>`;
  }

  private diffMessage(): TemplateResult | typeof nothing {
    const { kind, text } = this.diffStatus;
    if (kind === 'shown') return nothing;
    if (kind === 'loading')
      return html`<div class="empty">
        <vscode-progress-ring></vscode-progress-ring>
        <p>Loading the diff…</p>
      </div>`;
    if (kind === 'error') return html`<div class="empty error-text"><p>${safeText(text ?? '')}</p></div>`;
    return html`<div class="empty">
      <p>${text ?? 'There is nothing to compare yet: no commit is in the quarantine.'}</p>
    </div>`;
  }

  // What the user does

  private act(action: PanelAction): void {
    this.host.send({ type: 'action', action });
  }

  private showInLog(event: number): void {
    const index = this.model.entries.findIndex((entry) => entry.event.n === event);
    if (index === -1) return;
    this.opened.add(event);
    this.tab = 'log';
    void this.updateComplete.then(() => this.lists.log?.reveal(index));
  }

  private toggle(event: number): void {
    if (!this.opened.delete(event)) this.opened.add(event);
    this.currentList()?.schedule();
  }

  private tabKey(event: KeyboardEvent): void {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0) return;
    const at = tabs.findIndex(({ id }) => id === this.tab);
    this.tab = tabs[(at + step + tabs.length) % tabs.length]?.id ?? 'log';
    void this.updateComplete.then(() => this.querySelector<HTMLElement>(`#${this.tab}-tab`)?.focus());
  }

  private key(event: KeyboardEvent): void {
    if (event.key === 'f' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.openSearch();
    } else if (event.key === 'Escape' && this.searching) this.closeSearch();
    else if (event.key === 'End' && event.ctrlKey) this.currentList()?.follow();
  }

  private openSearch(): void {
    if (this.tab !== 'log' && this.tab !== 'raw') this.tab = 'log';
    this.searching = true;
    this.querySelector<HTMLElement>('#search')?.focus();
  }

  private closeSearch(): void {
    this.searching = false;
    this.searchFor('');
  }

  private searchFor(words: string): void {
    this.words = words;
    this.found = { indices: [], at: -1, done: true };
    this.search.start(words);
    this.mark();
  }

  private onFound(indices: readonly number[], done: boolean): void {
    const first = this.found.at === -1 && indices.length > 0;
    this.found = { indices, at: first ? 0 : this.found.at, done };
    if (first) this.revealMatch();
  }

  private step(by: number): void {
    const { indices, at } = this.found;
    if (indices.length === 0) return;
    this.found = { ...this.found, at: (at + by + indices.length) % indices.length };
    this.revealMatch();
  }

  private revealMatch(): void {
    const index = this.found.indices[this.found.at];
    if (index === undefined) return;
    // What is found in a folded entry is unfolded.
    if (this.tab === 'log') {
      const entry = this.model.entries[index];
      if (entry !== undefined) {
        this.opened.add(entry.event.n);
        if (entry.kind === 'tool') this.opened.add(-entry.event.n);
      }
    } else {
      const event = this.model.events[index];
      if (event !== undefined) this.opened.add(event.n);
    }
    this.currentList()?.reveal(index);
  }

  private mark(): void {
    const list = this.currentList();
    const root = this.querySelector(`#${this.tab}-list .list-view`);
    if (root === null || list === undefined) return;
    const current = this.found.indices[this.found.at];
    const row = current === undefined ? undefined : root.children[current - list.range.first];
    markMatches(root, this.words, row);
  }

  private searchText(index: number): string {
    if (this.tab === 'raw') {
      const event = this.model.events[index];
      return event === undefined ? '' : rawSearchText(event);
    }
    const entry = this.model.entries[index];
    return entry === undefined ? '' : entryText(entry);
  }

  private currentList(): VirtualList | undefined {
    return this.tab === 'log' || this.tab === 'raw' ? this.lists[this.tab] : undefined;
  }

  // The diff

  private selectDiff(what: string, path?: string): void {
    this.selected = what;
    this.wantedFile = path;
    this.shownRange = '';
    if (this.tab === 'diff') this.loadDiff();
    else this.tab = 'diff';
    this.requestUpdate();
  }

  private range(): Range | undefined {
    if (this.selected === 'all') return this.result;
    if (this.selected === 'leftovers') return this.leftovers;
    const commit = this.state?.commits.find(({ sha }) => sha === this.selected);
    return commit !== undefined && this.state?.imported.includes(commit.sha) === true
      ? rangeOf(commit)
      : undefined;
  }

  private loadDiff(): void {
    if (this.selected === 'all' && this.result === undefined && this.leftovers !== undefined)
      this.selected = 'leftovers';
    const range = this.range();
    if (range === undefined) {
      this.diffStatus =
        this.selected === 'all'
          ? { kind: 'none' }
          : {
              kind: 'none',
              text: this.state?.refusedImports.includes(this.selected)
                ? `This commit is not let into the quarantine. ${safeLine(this.state.importFailure?.message ?? '')}`
                : 'This commit is being brought into the quarantine…',
            };
      return;
    }
    const key = `${range.from} ${range.to}`;
    if (key === this.shownRange) return;
    this.shownRange = key;
    this.request += 1;
    if (this.diffStatus.kind !== 'shown') this.diffStatus = { kind: 'loading' };
    this.host.send({ type: 'patch', request: this.request, range });
  }

  private async showPatch(message: Extract<PanelMessage, { type: 'patch' }>): Promise<void> {
    if (message.request !== this.request) return;
    if (message.patch === undefined) {
      this.shownRange = '';
      this.diffStatus = {
        kind: 'error',
        text: `${message.error?.message ?? ''} ${message.error?.mend ?? ''}`,
      };
      return;
    }
    const { text, truncated } = message.patch;
    if (text.trim() === '') {
      this.diffStatus = { kind: 'empty', text: 'No file differs.' };
      return;
    }
    try {
      const { DiffView } = await import('./diffView.ts');
      if (message.request !== this.request) return;
      // The place has to be seen before the view measures it.
      this.diffStatus = { kind: 'shown' };
      await this.updateComplete;
      const root = this.querySelector<HTMLElement>('#diff-root');
      if (root === null) return;
      this.diff ??= new DiffView(root, this.split);
      const files = this.diff.show(text, this.wantedFile);
      this.wantedFile = undefined;
      this.diffStatus = {
        kind: 'shown',
        text: `${plural(files, 'file')}${truncated ? `, cut: ${this.host.can.editor ? 'open it in the editor' : 'fetch the commits'} to see the rest` : ''}`,
      };
    } catch (thrown) {
      this.diffStatus = {
        kind: 'error',
        text: `The diff cannot be drawn: ${String(thrown)}${this.host.can.editor ? ' Open it in the editor instead.' : ''}`,
      };
    }
  }

  private setSplit(split: boolean): void {
    this.split = split;
    this.diff?.setSplit(split);
    this.save();
  }

  private selectedInEditor(): void {
    const range = this.range();
    if (range === undefined) return;
    const commit = this.state?.commits.find(({ sha }) => sha === this.selected);
    const title =
      commit === undefined
        ? (this.state?.spec.title ?? 'Task')
        : `${commit.sha.slice(0, 7)} ${commit.subject}`;
    this.openInEditor(range, title);
  }

  private openInEditor(range: Range | undefined, title: string, path?: string): void {
    if (range === undefined) return;
    this.host.send({
      type: 'openDiff',
      range,
      title: title.slice(0, 200),
      ...(path === undefined ? {} : { path }),
    });
  }

  private save(): void {
    this.host.save({ id: this.task, tab: this.tab, split: this.split });
  }
}

function rangeOf(commit: Commit): Range | undefined {
  const [parent] = commit.parents;
  return parent === undefined ? undefined : { from: parent, to: commit.sha };
}
