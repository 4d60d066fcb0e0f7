import { html, nothing, type TemplateResult } from 'lit';
import type { PanelAction } from '../../src/protocol/panelMessages.ts';
import { BranchName } from '../../src/protocol/grammar.ts';
import { ledgerCsv, ledgerJson, passes } from '../../src/protocol/ledger.ts';
import type { TaskView } from '../../src/protocol/runnerApi.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import { plural } from '../../src/protocol/words.ts';
import { icon } from '../task/icons.ts';
import { TaskPage as TaskPanel } from '../task/app.ts';
import { ApiError, told } from './api.ts';
import { ask, askAmount, copy, download, showPlace, showText, toast } from './dialogs.ts';
import { emptyState, fieldsOf, link, loading, Page } from './page.ts';
import { home, pathOf } from './paths.ts';
import { TaskHost, type TaskSurroundings } from './taskHost.ts';
import { isActive, repositoryOf } from './taskTable.ts';
import { pullRequestLink, statusMark } from './tasksPage.ts';

/** Where the panel's own choices are kept, such as the view that is in front. */
const savedKey = 'sallyport.task';

/** One task: what comes before its sandbox, and from then on the same panel as in the editor. */
export class OneTaskPage extends Page {
  static override properties = {
    ...Page.properties,
    task: { type: String },
    view: { state: true },
    missing: { state: true },
  };
  declare task: string;
  /** As it was read last; the stream may have newer. */
  declare view: TaskView | undefined;
  declare missing: boolean;
  private panel: { element: TaskPanel; host: TaskHost } | undefined;
  private wasListed = false;

  constructor() {
    super();
    this.missing = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.read();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.panel?.host.dispose();
    this.panel?.element.dispose();
    this.panel = undefined;
  }

  /** The stream said something. */
  tasksChanged(): void {
    const { live } = this.shell;
    const listed = live.tasks.get(this.task);
    if (listed !== undefined) {
      this.wasListed = true;
      this.view = listed;
    } else if (this.wasListed && live.complete && live.connection === 'live') {
      this.panel?.host.removed();
      if (this.panel === undefined) this.missing = true;
    }
    this.requestUpdate();
  }

  private async read(): Promise<void> {
    try {
      this.view = await this.shell.client.task(this.task);
    } catch (thrown) {
      if (thrown instanceof ApiError && thrown.status === 404) this.missing = true;
      else this.problem = told(thrown);
    }
  }

  override render(): TemplateResult {
    const { view } = this;
    if (this.missing) {
      return html`<div class="d-page">
        ${emptyState(
          'This task is not there',
          'It was removed, or it belongs to somebody who does not share it.',
          link(this.shell, { page: 'tasks' }, home, 'All tasks', 'd-button'),
        )}
      </div>`;
    }
    if (view === undefined) {
      return html`<div class="d-page">
        ${this.problem === undefined ? loading('the task') : this.problemBox()}
      </div>`;
    }
    return html`<div class="d-task">
      ${this.bar(view)} ${this.notices(view)}
      ${view.stage === 'task' ? this.panelOf(view) : this.beginning(view)}
    </div>`;
  }

  /** What is shared with others is theirs to look at. */
  private get steers(): boolean {
    const { me } = this.shell;
    if (me === undefined || me.role === 'viewer') return false;
    return me.role === 'admin' || this.view?.owner.id === me.id;
  }

  private bar(view: TaskView): TemplateResult {
    const again = this.steers && !isActive(view);
    return html`<div class="d-task-bar">
      ${link(this.shell, { page: 'tasks' }, home, html`${icon('chevron', 'back')}Tasks`, 'd-back')}
      <span class="d-task-facts">
        <span title="Repository">${safeLine(repositoryOf(view), 60)}</span>
        <span class="dim" title="Owner"
          >${safeLine(view.owner.name, 40)}${view.shared ? ' · shared' : ''}</span
        >
        ${view.pushedBranch === undefined ? nothing : html`<span class="dim" title="Pushed to this branch">${icon('up')}${safeLine(view.pushedBranch, 80)}</span>`}
        ${view.pullRequest === undefined ? nothing : pullRequestLink(view.pullRequest)}
        ${
          view.retryOf === undefined
            ? nothing
            : link(
                this.shell,
                { page: 'task', id: view.retryOf },
                pathOf({ page: 'task', id: view.retryOf }),
                'earlier try',
              )
        }
      </span>
      ${
        this.steers
          ? html`<span class="d-task-actions">
              ${
                view.stage === 'task' && isActive(view)
                  ? html`<button class="d-button" @click=${() => this.openTerminal()}>Terminal</button>`
                  : nothing
              }
              <button
                class="d-button"
                ?disabled=${this.busy}
                title=${view.shared ? 'Only you and administrators see it then' : 'Every user of this runner may see it then'}
                @click=${() => void this.share(!view.shared)}
              >
                ${view.shared ? 'Unshare' : 'Share'}
              </button>
              ${again ? html`<button class="d-button" ?disabled=${this.busy} @click=${() => void this.retry()}>Retry</button>` : nothing}
              ${
                isActive(view)
                  ? html`<button
                      class="d-button"
                      ?disabled=${this.busy || view.summary?.phase === 'stopping'}
                      @click=${() => void this.stop()}
                    >
                      ${view.stage !== 'task' ? 'Cancel' : view.summary?.phase === 'stopping' ? 'Stopping…' : 'Stop'}
                    </button>`
                  : html`<button
                      class="d-button"
                      ?disabled=${this.busy}
                      @click=${() => void this.removeTask()}
                    >
                      Remove…
                    </button>`
              }
            </span>`
          : nothing
      }
    </div>`;
  }

  private notices(view: TaskView): TemplateResult | typeof nothing {
    const problem =
      view.problem === undefined
        ? nothing
        : html`<div class="d-notice error" role="alert">
            ${icon('cross')}
            <div>
              <strong>${safeText(view.problem.message.slice(0, 2000))}</strong>
              ${safeText(view.problem.mend.slice(0, 2000))}
            </div>
          </div>`;
    const own = this.problemBox();
    return problem === nothing && own === nothing
      ? nothing
      : html`<div class="d-task-notices">${problem} ${own}</div>`;
  }

  /** The prompt, and where the task is before its own log begins. */
  private beginning(view: TaskView): TemplateResult {
    return html`<div class="d-scroll">
      <div class="d-page">
        <h1 class="d-task-title">${safeLine(view.title) || '(no title)'}</h1>
        <p>${statusMark(view)}</p>
        ${
          view.stage === 'finding'
            ? html`<div class="d-notice" role="status">
                <vscode-progress-ring></vscode-progress-ring>
                <div>An agent looks for the repository that is meant. ${this.findingLog(view)}</div>
              </div>`
            : nothing
        }
        ${
          view.stage === 'fetching'
            ? html`<div class="d-notice" role="status">
                <vscode-progress-ring></vscode-progress-ring>
                <div>The repository is being fetched.</div>
              </div>`
            : nothing
        }
        ${view.stage === 'confirming' ? this.confirmation(view) : nothing}
        ${view.stage === 'failed' || view.stage === 'cancelled' ? html`<p>${this.findingLog(view)}</p>` : nothing}
        <h2>Prompt</h2>
        <pre class="d-prompt">${safeText(view.prompt)}</pre>
      </div>
    </div>`;
  }

  private findingLog(view: TaskView): TemplateResult | typeof nothing {
    const id = view.finding?.task;
    if (id === undefined) return nothing;
    return link(this.shell, { page: 'task', id }, pathOf({ page: 'task', id }), 'Look at its log');
  }

  private confirmation(view: TaskView): TemplateResult {
    const found = view.finding?.found;
    return html`<form class="d-form d-confirm" @submit=${(event: SubmitEvent) => void this.confirm(event)}>
      <h2>Is this the repository?</h2>
      ${
        found === undefined
          ? html`<p>The agent named none. Name it yourself, or cancel the task.</p>`
          : html`<p>
                <strong>${safeLine(found.repository, 200)}</strong
                >${found.branch === undefined ? nothing : html` <span class="dim">on ${safeLine(found.branch, 200)}</span>`}
              </p>
              <blockquote class="d-quote">${safeText(found.reason)}</blockquote>
              ${
                found.prompt === undefined
                  ? nothing
                  : html`<details class="d-details">
                      <summary>What the worker is told</summary>
                      <pre class="d-prompt">${safeText(found.prompt)}</pre>
                    </details>`
              }`
      }
      ${
        this.steers
          ? html`<div class="d-row">
                <label class="d-field grow">
                  <span>Repository</span>
                  <input
                    name="repository"
                    required
                    pattern="[A-Za-z0-9_.\\-]+/[A-Za-z0-9_.\\-]+"
                    title="owner/name"
                    placeholder="owner/name"
                    autocomplete="off"
                    spellcheck="false"
                    .value=${found?.repository ?? ''}
                  />
                </label>
                <label class="d-field">
                  <span>Branch to start from</span>
                  <input
                    name="branch"
                    placeholder="its default"
                    autocomplete="off"
                    spellcheck="false"
                    .value=${found?.branch ?? ''}
                  />
                </label>
              </div>
              <div class="d-actions">
                <button
                  class="d-button"
                  type="button"
                  ?disabled=${this.busy}
                  @click=${() => void this.stop()}
                >
                  No, cancel the task
                </button>
                <button class="d-button primary" ?disabled=${this.busy}>Yes, begin</button>
              </div>`
          : nothing
      }
    </form>`;
  }

  /** Made once, and from then on fed by its host. */
  private panelOf(view: TaskView): TemplateResult {
    if (this.panel === undefined) {
      const host = new TaskHost(this.surroundings(), this.steers);
      const element = new DashboardPanel(host);
      element.task = view.id;
      this.panel = { element, host };
    }
    return html`${this.panel.element}`;
  }

  // What the user does

  private surroundings(): TaskSurroundings {
    const { client, live } = this.shell;
    const id = this.task;
    return {
      state: async () => {
        try {
          return { state: await client.state(id) };
        } catch (thrown) {
          if (thrown instanceof ApiError && thrown.status === 404) return undefined;
          throw thrown;
        }
      },
      follow: (follower) => live.follow(id, follower),
      patch: (range) => client.patch(id, range),
      answer: (answer) => client.answer(id, answer),
      raise: async (scope, usd) => {
        if (scope === 'day') {
          throw new ApiError({
            status: 403,
            code: 'forbidden',
            detail: 'The budget of the day belongs to all tasks of this runner.',
            mend: 'It is set where the runner is configured; tasks go on tomorrow, or when it is raised there.',
          });
        }
        await client.setBudget(id, usd);
      },
      act: (action) => this.act(action),
      say: async (text) => {
        const view = await client.message(id, text);
        live.put(view);
        if (view.id !== id) this.shell.go({ page: 'task', id: view.id });
      },
      interrupt: () => client.interrupt(id),
      answerQuestion: (question, answer) => client.answerQuestion(id, question, answer),
      copy,
      event: (n) => this.panel?.element.event(n),
      showText,
      exportLedger: async (filter) => {
        const ledger = this.panel?.element.requests;
        if (ledger === undefined) return;
        const format = await ask<'csv' | 'json'>({
          title: 'Export network requests',
          text: 'The requests that are shown, as a file.',
          buttons: [
            { label: 'CSV', value: 'csv' },
            { label: 'JSON', value: 'json' },
          ],
        });
        if (format === undefined) return;
        const rows = ledger.rows.filter((row) => passes(row, filter));
        const text = format === 'csv' ? ledgerCsv(rows, ledger) : ledgerJson(rows, ledger);
        download(`requests-${id}.${format}`, format === 'csv' ? 'text/csv' : 'application/json', text);
        toast(`Saved ${plural(rows.length, 'request')}.`);
      },
      failed: (thrown) => (this.problem = told(thrown)),
      saved: () => readSaved(),
      save: (state) => writeSaved(state),
    };
  }

  private async act(action: PanelAction): Promise<void> {
    switch (action) {
      case 'stop':
        await this.stop();
        return;
      case 'remove':
        await this.removeTask();
        return;
      case 'newTask':
        this.shell.go({ page: 'new' });
        return;
      case 'setBudget': {
        const state = await this.shell.client.state(this.task);
        const usd = await askAmount({
          title: 'Budget of the task',
          text: 'What the model may cost in all. When it is used up the agent waits; nothing is lost.',
          usd: state?.budgetUsd ?? null,
        });
        if (usd !== undefined) await this.shell.client.setBudget(this.task, usd);
        return;
      }
      default:
        return;
    }
  }

  private openTerminal(): void {
    showPlace('Terminal', (place, status) => {
      let terminal: { dispose(): void } | undefined;
      let closed = false;
      const tell = (text: string): void => void (status.textContent = text);
      tell('Opening…');
      import('./terminal.ts').then(
        ({ openTerminal }) => {
          if (closed) return;
          tell('A shell in the sandbox, beside the agent.');
          terminal = openTerminal(place, this.task, tell);
        },
        (thrown: unknown) => tell(`The terminal cannot be drawn: ${told(thrown).message}`),
      );
      return () => {
        closed = true;
        terminal?.dispose();
      };
    });
  }

  private async stop(): Promise<void> {
    await this.attempt(async () => this.shell.live.put(await this.shell.client.cancel(this.task)));
  }

  private async retry(): Promise<void> {
    await this.attempt(async () => {
      const next = await this.shell.client.retry(this.task);
      this.shell.live.put(next);
      this.shell.go({ page: 'task', id: next.id });
    });
  }

  private async share(shared: boolean): Promise<void> {
    await this.attempt(async () => {
      this.view = await this.shell.client.change(this.task, { shared });
      this.shell.live.put(this.view);
      toast(shared ? 'Every user may see it now.' : 'Only you and administrators see it now.');
    });
  }

  private async removeTask(force = false): Promise<void> {
    const yes = await ask<boolean>(
      force
        ? {
            title: 'Remove it with its commits?',
            text: 'Commits of this task are nowhere else. They are lost when it is removed.',
            buttons: [{ label: 'Remove and lose commits', value: true, kind: 'danger' }],
          }
        : {
            title: 'Remove the task?',
            text: 'Its log and its commits in the quarantine are forgotten. What was pushed or fetched stays.',
            buttons: [{ label: 'Remove', value: true, kind: 'danger' }],
          },
    );
    if (yes !== true) return;
    const outcome: { unsaved?: true } = {};
    const done = await this.attempt(async () => {
      try {
        await this.shell.client.remove(this.task, force);
      } catch (thrown) {
        if (force || !(thrown instanceof ApiError) || thrown.code !== 'commits_not_imported') throw thrown;
        outcome.unsaved = true;
      }
    });
    if (outcome.unsaved === true) await this.removeTask(true);
    else if (done) this.shell.go({ page: 'tasks' });
  }

  private async confirm(event: SubmitEvent): Promise<void> {
    const field = fieldsOf(event);
    const branch = field('branch').trim();
    if (branch !== '' && !BranchName.safeParse(branch).success) {
      this.problem = { message: 'That is no name of a branch.', mend: 'Leave it empty for the default.' };
      return;
    }
    await this.attempt(async () => {
      const choice = { repository: field('repository').trim(), ...(branch === '' ? {} : { branch }) };
      this.view = await this.shell.client.confirm(this.task, choice);
      this.shell.live.put(this.view);
    });
  }
}

/** The panel as the dashboard makes it. */
export class DashboardPanel extends TaskPanel {}

function readSaved(): unknown {
  try {
    return JSON.parse(localStorage.getItem(savedKey) ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

function writeSaved({ split }: { split: boolean }): void {
  try {
    // Which view is in front is a thing of the moment.
    localStorage.setItem(savedKey, JSON.stringify({ split }));
  } catch {
    // A browser that keeps nothing shows it as it is by default.
  }
}
