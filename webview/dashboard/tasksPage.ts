import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { PullRequestView, TaskView } from '../../src/protocol/runnerApi.ts';
import { safeLine } from '../../src/protocol/safeText.ts';
import { cost, duration, plural } from '../../src/protocol/words.ts';
import { icon } from '../task/icons.ts';
import { emptyState, link, loading, Page } from './page.ts';
import { pathOf } from './paths.ts';
import {
  ago,
  choicesOf,
  countsOf,
  everything,
  filtered,
  isActive,
  pageOf,
  repositoryOf,
  statusOf,
  type TaskFilter,
  tookOf,
} from './taskTable.ts';

/** What today costs is asked for so often, in milliseconds. */
const spendMs = 30_000;

/** All tasks that the user may see, live. */
export class TasksPage extends Page {
  static override properties = {
    ...Page.properties,
    filter: { state: true },
    page: { state: true },
    now: { state: true },
    spent: { state: true },
  };
  declare filter: TaskFilter;
  declare page: number;
  declare now: number;
  /** What all tasks cost today, in US dollars. */
  declare spent: number | undefined;
  private clock: ReturnType<typeof setInterval> | undefined;
  private money: ReturnType<typeof setInterval> | undefined;

  constructor() {
    super();
    this.filter = everything;
    this.page = 0;
    this.now = Date.now();
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.clock = setInterval(() => (this.now = Date.now()), 1000);
    void this.readSpend();
    this.money = setInterval(() => {
      if (!document.hidden) void this.readSpend();
    }, spendMs);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.clock);
    clearInterval(this.money);
  }

  override render(): TemplateResult {
    const { live, me } = this.shell;
    const tasks = [...live.tasks.values()];
    if (!live.complete) return html`<div class="d-page wide">${loading('the tasks')}</div>`;
    const writer = me?.role !== 'viewer';
    if (tasks.length === 0) {
      return html`<div class="d-page wide">
        ${emptyState(
          'No task yet',
          writer
            ? 'A task is a prompt and a repository. An agent works on it in a sandbox, and you look at its commits before anything leaves.'
            : 'Tasks that are shared with everybody appear here. Ask an administrator for the right to start some yourself.',
          writer
            ? link(this.shell, { page: 'new' }, pathOf({ page: 'new' }), 'Start a task', 'd-button primary')
            : undefined,
        )}
      </div>`;
    }
    const rows = filtered(tasks, this.filter);
    const { rows: shown, page, pages } = pageOf(rows, this.page);
    return html`<div class="d-page wide">
      <h1 class="hidden-label">Tasks</h1>
      ${this.counts(tasks)} ${this.filters(tasks)}
      ${
        shown.length === 0
          ? emptyState(
              'Nothing passes the filter',
              `There ${tasks.length === 1 ? 'is one task' : `are ${tasks.length} tasks`} in all.`,
              html`<button class="d-button" @click=${() => this.refilter(everything)}>Show all</button>`,
            )
          : this.table(shown)
      }
      ${
        pages > 1
          ? html`<nav class="d-pager" aria-label="Pages of the table">
              <button class="d-button" ?disabled=${page === 0} @click=${() => (this.page = page - 1)}>
                Newer
              </button>
              <span class="dim" role="status"
                >Page ${page + 1} of ${pages} · ${plural(rows.length, 'task')}</span
              >
              <button class="d-button" ?disabled=${page === pages - 1} @click=${() => (this.page = page + 1)}>
                Older
              </button>
            </nav>`
          : nothing
      }
    </div>`;
  }

  private counts(tasks: readonly TaskView[]): TemplateResult {
    const counts = countsOf(tasks);
    const tile = (group: TaskFilter['group'], label: string, n: number): TemplateResult =>
      html`<button
        class="d-count ${group} ${n === 0 ? 'none' : ''}"
        title=${group === 'waiting' ? 'They wait for you' : nothing}
        aria-pressed=${this.filter.group === group}
        @click=${() => this.refilter({ group: this.filter.group === group ? 'all' : group })}
      >
        <span class="d-number">${n}</span><span class="d-label">${label}</span>
      </button>`;
    return html`<div class="d-counts" role="group" aria-label="How many tasks; press to filter">
      ${tile('all', 'All', counts.all)}
      ${counts.waiting > 0 ? tile('waiting', 'Waiting', counts.waiting) : nothing}
      ${tile('queued', 'Queued', counts.queued)} ${tile('running', 'Running', counts.running)}
      ${tile('succeeded', 'Done', counts.succeeded)} ${tile('failed', 'Failed', counts.failed)}
      ${counts.stopped > 0 ? tile('stopped', 'Stopped', counts.stopped) : nothing}
    </div>`;
  }

  private filters(tasks: readonly TaskView[]): TemplateResult {
    const { owners, repositories } = choicesOf(tasks);
    const { filter } = this;
    const me = this.shell.me?.id ?? '';
    return html`<div class="d-filters" role="search">
      <label class="d-search">
        <span class="hidden-label">Search in titles, prompts, repositories and branches</span>
        ${icon('search')}
        <input
          type="search"
          placeholder="Search tasks"
          .value=${filter.words}
          @input=${(event: Event) => this.refilter({ words: (event.target as HTMLInputElement).value })}
        />
      </label>
      ${
        owners.length > 1
          ? html`<label>
              <span class="hidden-label">Owner</span>
              <select
                @change=${(event: Event) => this.refilter({ owner: (event.target as HTMLSelectElement).value })}
              >
                <option value="" ?selected=${filter.owner === ''}>Everybody's</option>
                ${owners.some(({ id }) => id === me) ? html`<option value=${me} ?selected=${filter.owner === me}>Mine</option>` : nothing}
                ${owners
                  .filter(({ id }) => id !== me)
                  .map(
                    ({ id, name }) =>
                      html`<option value=${id} ?selected=${filter.owner === id}>
                        ${safeLine(name, 60)}
                      </option>`,
                  )}
              </select>
            </label>`
          : nothing
      }
      ${
        repositories.length > 1
          ? html`<label>
              <span class="hidden-label">Repository</span>
              <select
                @change=${(event: Event) =>
                  this.refilter({ repository: (event.target as HTMLSelectElement).value })}
              >
                <option value="" ?selected=${filter.repository === ''}>All repositories</option>
                ${repositories.map(
                  (name) =>
                    html`<option value=${name} ?selected=${filter.repository === name}>
                      ${safeLine(name, 60)}
                    </option>`,
                )}
              </select>
            </label>`
          : nothing
      }
      ${
        this.spent === undefined || this.spent === 0
          ? nothing
          : html`<span class="d-spent dim" title="What all tasks of this runner cost today (UTC)"
              >Today ${cost(this.spent)}</span
            >`
      }
    </div>`;
  }

  private table(rows: readonly TaskView[]): TemplateResult {
    return html`<table class="d-table d-tasks">
      <thead>
        <tr>
          <th scope="col">Status</th>
          <th scope="col">Task</th>
          <th scope="col">Repository</th>
          <th scope="col">Owner</th>
          <th scope="col">Started</th>
          <th scope="col" class="number">Duration</th>
          <th scope="col" class="number">Cost</th>
          <th scope="col" class="number">Commits</th>
          <th scope="col">Pull request</th>
        </tr>
      </thead>
      <tbody>
        ${repeat(
          rows,
          ({ id }) => id,
          (task) => this.row(task),
        )}
      </tbody>
    </table>`;
  }

  private row(task: TaskView): TemplateResult {
    const { summary } = task;
    const took = tookOf(task, this.now);
    const place = { page: 'task', id: task.id } as const;
    return html`<tr
      @click=${(event: MouseEvent) => {
        // What is a link or a button does its own.
        if ((event.target as Element).closest('a, button') === null && getSelection()?.isCollapsed !== false)
          this.shell.go(place);
      }}
    >
      <td class="c-status">${statusMark(task)}</td>
      <td class="c-title">
        ${link(this.shell, place, pathOf(place), safeLine(task.title, 160) || '(no title)', 'd-title')}
        ${
          isActive(task) && summary !== undefined && summary.phase === 'preparing' && summary.progress !== ''
            ? html`<div class="dim one-line">${safeLine(summary.progress, 120)}</div>`
            : nothing
        }
      </td>
      <td class="c-repository ${repositoryOf(task) === '' ? 'none' : ''}" data-label="Repository">
        ${safeLine(repositoryOf(task), 60) || html`<span class="dim">–</span>`}
      </td>
      <td class="c-owner" data-label="Owner">
        ${safeLine(task.owner.name, 40)}${task.shared ? html` <span class="dim" title="Every user may see it">· shared</span>` : nothing}
      </td>
      <td class="c-started" data-label="Started" title=${new Date(task.createdAt).toLocaleString()}>
        ${ago(task.createdAt, this.now)}
      </td>
      <td class="c-duration number ${took === undefined ? 'none' : ''}" data-label="Duration">
        ${took === undefined ? '–' : duration(took)}
      </td>
      <td class="c-cost number ${(summary?.costUsd ?? 0) === 0 ? 'none' : ''}" data-label="Cost">
        ${summary === undefined || summary.costUsd === 0 ? '–' : cost(summary.costUsd)}
      </td>
      <td class="c-commits number" data-label="Commits">${summary?.commits ?? 0}</td>
      <td class="c-pull ${task.pullRequest === undefined ? 'none' : ''}" data-label="Pull request">
        ${task.pullRequest === undefined ? html`<span class="dim">–</span>` : pullRequestLink(task.pullRequest)}
      </td>
    </tr>`;
  }

  /** Without it the page is as good: a connection that is lost is told elsewhere. */
  private async readSpend(): Promise<void> {
    this.spent = await this.shell.client.spentToday().catch(() => this.spent);
  }

  private refilter(change: Partial<TaskFilter>): void {
    this.filter = { ...this.filter, ...change };
    this.page = 0;
  }
}

export function statusMark(task: TaskView): TemplateResult {
  const { group, label, waits } = statusOf(task);
  return html`<span class="d-status ${waits ? 'waiting' : group}">${label}</span>`;
}

/** Leads to the forge, where it is an address of the web; a text otherwise. */
export function pullRequestLink({ url, number, state }: PullRequestView): TemplateResult {
  const text = html`#${number} <span class="dim">${state}</span>`;
  const safe = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
  return safe
    ? html`<a href=${url} target="_blank" rel="noopener noreferrer">${text}</a>`
    : html`<span>${text}</span>`;
}
