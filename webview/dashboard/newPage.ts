import { html, nothing, type TemplateResult } from 'lit';
import { maxPromptLength } from '../../src/protocol/grammar.ts';
import type { TaskView } from '../../src/protocol/runnerApi.ts';
import { fieldsOf, Page } from './page.ts';
import { submissionOf } from './submission.ts';

type Kind = 'url' | 'find' | 'snapshot';

/** A try at submitting keeps its key, so that the same task is not started twice when an answer was lost. */
const newKey = (): string => {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
};

/** The form that starts a task. */
export class NewPage extends Page {
  static override properties = {
    ...Page.properties,
    kind: { state: true },
    wrong: { state: true },
  };
  declare kind: Kind;
  /** What is not right yet, by the name of its field. */
  declare wrong: Readonly<Record<string, string>>;
  private key = newKey();

  constructor() {
    super();
    this.kind = 'url';
    this.wrong = {};
  }

  override render(): TemplateResult {
    if (this.shell.me?.role === 'viewer') {
      return html`<div class="d-page">
        <h1>New task</h1>
        <div class="d-notice">
          <div>Your role is to look. Ask an administrator of this runner for the role of a member.</div>
        </div>
      </div>`;
    }
    return html`<div class="d-page">
      <h1>New task</h1>
      <form
        class="d-form"
        novalidate
        @submit=${(event: SubmitEvent) => void this.submit(event)}
        @input=${() => (this.key = newKey())}
      >
        ${this.problemBox()}
        <label class="d-field">
          <span>What is to be done</span>
          <textarea
            name="prompt"
            rows="7"
            maxlength=${maxPromptLength}
            placeholder="Fix the failing tests of the parser, and commit after each of them."
            aria-invalid=${'prompt' in this.wrong}
            @keydown=${(event: KeyboardEvent) => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey))
                (event.target as HTMLTextAreaElement).form?.requestSubmit();
            }}
          ></textarea>
          ${this.note('prompt', 'Ctrl+Enter starts the task.')}
        </label>
        <fieldset class="d-choices">
          <legend>Repository</legend>
          ${this.choice('url', 'By its address', 'The runner fetches it over https, with its own token where it has one.')}
          ${this.choice('find', 'Let an agent find it', 'It looks among the repositories that the token of the runner may see.')}
          ${this.choice('snapshot', 'My work tree', 'With edits that are not committed, and without a forge.')}
        </fieldset>
        ${this.kind === 'url' ? this.urlFields() : this.kind === 'find' ? this.findFields() : this.snapshotNote()}
        ${this.kind === 'snapshot' ? nothing : this.more()}
        <div class="d-actions">
          <button class="d-button primary" ?disabled=${this.busy || this.kind === 'snapshot'}>
            ${this.busy ? 'Starting…' : 'Start task'}
          </button>
        </div>
      </form>
    </div>`;
  }

  private choice(kind: Kind, label: string, text: string): TemplateResult {
    return html`<label class="d-choice">
      <input
        type="radio"
        name="kind"
        value=${kind}
        .checked=${this.kind === kind}
        @change=${() => (this.kind = kind)}
      />
      <span><strong>${label}</strong><span class="dim">${text}</span></span>
    </label>`;
  }

  private urlFields(): TemplateResult {
    return html`<div class="d-row">
      <label class="d-field grow">
        <span>Address</span>
        <input
          name="url"
          type="url"
          inputmode="url"
          autocomplete="off"
          spellcheck="false"
          placeholder="https://git.example.com/team/project.git"
          aria-invalid=${'url' in this.wrong}
        />
        ${this.note('url')}
      </label>
      <label class="d-field">
        <span>Branch to start from</span>
        <input
          name="base"
          autocomplete="off"
          spellcheck="false"
          placeholder="its default"
          aria-invalid=${'base' in this.wrong}
        />
        ${this.note('base')}
      </label>
    </div>`;
  }

  private findFields(): TemplateResult {
    return html`<label class="d-check">
      <input type="checkbox" name="confirm" checked />
      <span
        >Ask me before the work begins
        <span class="dim">· its choice is shown, and waits for your yes</span></span
      >
    </label>`;
  }

  private snapshotNote(): TemplateResult {
    return html`<div class="d-notice">
      <div>
        <strong>A work tree is uploaded by the editor.</strong> In VS Code run
        <em>Sallyport: Connect to Runner</em> with the address <code>${location.origin}</code>, and choose
        this runner when you start a task there. It appears here as well.
      </div>
    </div>`;
  }

  private more(): TemplateResult {
    const check = (name: string, label: string, text: string): TemplateResult =>
      html`<label class="d-check">
        <input type="checkbox" name=${name} />
        <span>${label} <span class="dim">· ${text}</span></span>
      </label>`;
    return html`<fieldset class="d-checks">
        <legend>Commits</legend>
        ${check('commitEach', 'Commit after each change', 'the agent is told to')}
        ${check('autoPush', 'Push as they come', 'each commit goes to the branch of the task when it is in the quarantine')}
        ${check('draftEarly', 'Draft pull request early', 'with the first push')}
        ${check('autoPullRequest', 'Pull request at the end', 'when the agent has succeeded')}
      </fieldset>
      <fieldset class="d-checks">
        <legend>Task</legend>
        ${check('shared', 'Share', 'every user of this runner may see it')}
        ${check('conversation', 'Conversation', 'the agent waits for your next message after each turn')}
      </fieldset>
      <details class="d-details">
        <summary>More: branch, model, limits</summary>
        <div class="d-grid">
          <label class="d-field">
            <span>Branch of the work</span>
            <input
              name="branch"
              autocomplete="off"
              spellcheck="false"
              placeholder="claude/<time>"
              aria-invalid=${'branch' in this.wrong}
            />
            ${this.note('branch')}
          </label>
          <label class="d-field">
            <span>Model</span>
            <input
              name="model"
              autocomplete="off"
              spellcheck="false"
              placeholder="the agent's default"
              maxlength="200"
            />
          </label>
          <label class="d-field">
            <span>Time limit in minutes</span>
            <input
              name="minutes"
              type="number"
              inputmode="numeric"
              min="1"
              max="1440"
              placeholder="60"
              aria-invalid=${'minutes' in this.wrong}
            />
            ${this.note('minutes')}
          </label>
          <label class="d-field">
            <span>Budget in US dollars</span>
            <input
              name="budget"
              type="number"
              inputmode="decimal"
              min="0.01"
              step="0.01"
              placeholder="no limit"
              aria-invalid=${'budget' in this.wrong}
            />
            ${this.note('budget')}
          </label>
          <label class="d-field">
            <span>Priority</span>
            <input
              name="priority"
              type="number"
              inputmode="numeric"
              min="-100"
              max="100"
              step="1"
              placeholder="0"
              aria-invalid=${'priority' in this.wrong}
            />
            ${this.note('priority', 'Higher comes first in the queue.')}
          </label>
        </div>
      </details>`;
  }

  private note(field: string, otherwise?: string): TemplateResult | typeof nothing {
    const wrong = this.wrong[field];
    if (wrong !== undefined) return html`<small class="error-text" role="alert">${wrong}</small>`;
    return otherwise === undefined ? nothing : html`<small class="dim">${otherwise}</small>`;
  }

  private async submit(event: SubmitEvent): Promise<void> {
    const field = fieldsOf(event);
    if (this.kind === 'snapshot') return;
    const { submission, wrong } = submissionOf(this.kind, field);
    this.wrong = wrong;
    if (submission === undefined) {
      await this.updateComplete;
      this.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
      return;
    }
    let task: TaskView | undefined;
    await this.attempt(async () => {
      task = await this.shell.client.submit(submission, this.key);
    });
    if (task === undefined) {
      this.querySelector('.d-notice.error')?.scrollIntoView({ block: 'center' });
      return;
    }
    this.shell.live.put(task);
    this.shell.go({ page: 'task', id: task.id });
  }
}
