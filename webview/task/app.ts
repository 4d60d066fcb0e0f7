import { html, LitElement, nothing, type TemplateResult } from 'lit';
import { decodeEvents, type PanelAction, type PanelMessage } from '../../src/protocol/panelMessages.ts';
import type { ReviewScope } from '../../src/protocol/review.ts';
import type { PanelReviewState } from '../../src/protocol/reviewMessages.ts';
import { safeLine } from '../../src/protocol/safeText.ts';
import { hasEnded, type TaskState } from '../../src/protocol/taskState.ts';
import { type EgressQuestion, egressQuestions } from '../../src/protocol/egressQuestions.ts';
import { Ledger } from '../../src/protocol/ledger.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import type { Capabilities, Host } from '../shared/host.ts';
import { VirtualList } from '../shared/virtualList.ts';
import { awayBanner, type BannerActions, hostOf, pausedBanner, questionBanners } from './banners.ts';
import { commitsTab } from './commitsTab.ts';
import { markMatches } from './highlight.ts';
import { icon } from './icons.ts';
import type { LedgerActions, LedgerTab } from './ledgerTab.ts';
import { entryText, LogModel, rawSearchText } from './logModel.ts';
import type { ReviewTab } from './review/reviewTab.ts';
import type { RowActions } from './rowParts.ts';
import { entryHeight, entryRow, rawRow } from './rows.ts';
import type { Saved, Tab } from './saved.ts';
import { Search } from './search.ts';
import { type Found, searchBar } from './searchBar.ts';
import { tabBar, tabs } from './tabBar.ts';
import type { TalkBox } from './talkBox.ts';
import { taskHead } from './taskHead.ts';

interface Range {
  from: string;
  to: string;
}

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
    review: { state: true },
    now: { state: true },
  };
  declare task: string;
  declare state: TaskState | undefined;
  declare tab: Tab;
  declare loading: boolean;
  declare removed: boolean;
  declare following: boolean;
  declare searching: boolean;
  declare found: Found;
  /** What was decided in the review; undefined while the host has not said. */
  declare review: PanelReviewState | undefined;
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
  private split: boolean;
  private draft = '';
  private request = 0;

  private readonly search = new Search({
    text: (index) => this.searchText(index),
    count: () => (this.tab === 'raw' ? this.model.events.length : this.model.entries.length),
    onFound: ({ indices, done }) => this.onFound(indices, done),
  });

  private readonly actions: RowActions = {
    isOpen: (event) => this.opened.has(event),
    toggle: (event) => this.toggle(event),
    openText: (event) => this.host.send({ type: 'openText', event }),
    showCommit: (commit) => this.showReview({ kind: 'commit', sha: commit.sha }),
    openFile: (commit, path) => this.showReview({ kind: 'commit', sha: commit.sha }, path),
    showLeftovers: () => this.showReview({ kind: 'leftovers' }),
    turn: (turn) => ({
      review: this.state?.checkpoints.some((one) => one.turn === turn) === true,
      goOn: this.can.continue && this.can.steer,
    }),
    reviewTurn: (turn) => this.showReview({ kind: 'turn', turn }),
    continueFrom: (turn) => {
      // Answers of the box's own requests count up from 1.
      this.request -= 1;
      this.host.send({ type: 'continueFrom', request: this.request, turn });
    },
  };

  private readonly commitActions = {
    ...this.actions,
    openLeftover: (path: string): void => this.showReview({ kind: 'leftovers' }, path),
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
    this.draft = typeof saved?.draft === 'string' ? saved.draft : '';
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
    const theme = new MutationObserver(() => this.reviewTab()?.themeChanged());
    theme.observe(document.body, { attributeFilter: ['class'] });
    signal.addEventListener('abort', () => {
      clearInterval(clock);
      theme.disconnect();
      this.lists.log?.dispose();
      this.lists.raw?.dispose();
      this.reviewTab()?.dispose();
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
        // A turn's row is drawn with its event, which comes before the state that knows the turn.
        if (message.state.checkpoints.length !== this.state?.checkpoints.length) this.lists.log?.schedule();
        this.state = message.state;
        this.result = message.result;
        this.leftovers = message.leftovers;
        this.runner = message.runner;
        this.network.can = this.can;
        this.clockOffset = message.now - Date.now();
        this.now = message.now;
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
      case 'review':
      case 'reviewParts':
      case 'reviewText':
      case 'reviewImages':
      case 'reviewFailed':
        this.reviewTab()?.receive(message);
        return;
      case 'reviewState':
        this.review = message.state;
        this.reviewTab()?.receive(message);
        return;
      case 'talked':
        this.talkBox()?.receive(message);
        return;
      case 'show':
        if (message.tab === 'review') this.showReview(message.scope);
        else this.tab = message.tab;
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

  private reviewTab(): ReviewTab | null {
    return this.querySelector<ReviewTab>('sallyport-review');
  }

  private talkBox(): TalkBox | null {
    return this.querySelector<TalkBox>('sallyport-talk');
  }

  private updateLists(): void {
    this.lists.log?.setCount(this.model.entries.length);
    this.lists.raw?.setCount(this.model.events.length);
  }

  /** Gives the parts of the page what they need, before they draw themselves for the first time. */
  private connectParts(): void {
    const review = this.reviewTab();
    if (review !== null && review.host === undefined) {
      review.host = {
        can: this.can,
        send: (request) => this.host.send(request),
        splitChanged: (split) => {
          this.split = split;
          this.save();
        },
      };
      review.split = this.split;
    }
    if (review?.host !== undefined) review.host.can = this.can;
    const talk = this.talkBox();
    if (talk !== null && talk.host === undefined) {
      talk.host = {
        send: (request) => this.host.send(request),
        draft: (text) => {
          this.draft = text;
          this.save();
        },
        history: () => this.model.said,
      };
      talk.text = this.draft;
    }
  }

  protected override updated(changed: Map<PropertyKey, unknown>): void {
    this.connectParts();
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
      this.reviewTab()?.show(this.tab === 'review');
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
    return html`${this.head()} ${this.banners()}
      ${tabBar({
        state: this.state,
        tab: this.tab,
        go: (tab, focus) => this.go(tab, focus),
        search: () => this.openSearch(),
      })}
      <main>
        ${
          this.searching
            ? searchBar({
                words: this.words,
                found: this.found,
                search: (words) => this.searchFor(words),
                step: (by) => this.step(by),
                close: () => this.closeSearch(),
              })
            : nothing
        }
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
          ${this.tab === 'commits' ? commitsTab(this.state, this.host.can, this.commitActions) : nothing}
        </section>
        <section
          id="review-panel"
          role="tabpanel"
          aria-labelledby="review-tab"
          ?hidden=${this.tab !== 'review'}
        >
          <sallyport-review .nothingYet=${this.nothingToReview()}></sallyport-review>
        </section>
      </main>
      <sallyport-talk
        ?hidden=${this.tab === 'review' || this.tab === 'network' || this.tab === 'commits'}
        .state=${this.state}
        .steer=${this.can.steer && this.runner?.since === undefined}
      ></sallyport-talk>`;
  }

  private head(): TemplateResult {
    return taskHead({
      state: this.state,
      review: this.review,
      can: this.can,
      result: this.result !== undefined,
      leftovers: this.leftovers !== undefined,
      runner: this.runner,
      now: this.now,
      act: (action) => this.act(action),
    });
  }

  private nothingToReview(): string {
    const { state } = this;
    if (state === undefined || state.imported.length > 0) return '';
    if (state.refusedImports.length > 0)
      return `Commits are not let into the quarantine. ${safeLine(state.importFailure?.message ?? '')}`;
    return hasEnded(state)
      ? 'The agent changed nothing that is to be reviewed.'
      : 'There is nothing to review yet: no commit is in the quarantine.';
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

  private go(tab: Tab, focus: boolean): void {
    this.tab = tab;
    if (focus) void this.updateComplete.then(() => this.querySelector<HTMLElement>(`#${tab}-tab`)?.focus());
  }

  private key(event: KeyboardEvent): void {
    if (event.key === 'f' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.openSearch();
    } else if (this.tab === 'review') this.reviewTab()?.key(event);
    else if (event.key === 'Escape' && this.searching) this.closeSearch();
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

  /** Brings the review to the front; with `scope` that part of the work, with `path` that file of it. */
  private showReview(scope?: ReviewScope, path?: string): void {
    this.tab = 'review';
    if (scope !== undefined) void this.updateComplete.then(() => this.reviewTab()?.choose(scope, path));
  }

  private save(): void {
    const { task: id, tab, split, draft } = this;
    this.host.save({ id, tab, split, ...(draft === '' ? {} : { draft }) });
  }
}
