import { html, nothing, type TemplateResult } from 'lit';
import type { EgressQuestion } from '../../src/protocol/egressQuestions.ts';
import { safeLine } from '../../src/protocol/safeText.ts';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { cost, plural, raisedBudget } from '../../src/protocol/words.ts';
import type { Capabilities } from '../shared/host.ts';
import { icon } from './icons.ts';

/** What a banner can ask of the page around it. */
export interface BannerActions {
  can: Capabilities;
  allow(scope: 'task' | 'workspace', rule: string): void;
  refuse(host: string): void;
  dismiss(question: EgressQuestion): void;
  showNetwork(): void;
  raise(scope: 'task' | 'day', usd: number): void;
  chooseBudget(): void;
  stop(): void;
}

/** So many hosts that wait are asked about at once, and so many that were refused; the others are counted. */
const maxWaiting = 2;
const maxRefused = 1;

/** The hosts that the task wants to reach, each with its answers. */
export function questionBanners(
  questions: readonly EgressQuestion[],
  now: number,
  actions: BannerActions,
): TemplateResult | typeof nothing {
  if (questions.length === 0) return nothing;
  const waiting = questions.filter((question) => question.waiting > 0);
  // What was refused can wait until nothing else does.
  const shown = waiting.length > 0 ? waiting.slice(0, maxWaiting) : questions.slice(0, maxRefused);
  const more = (waiting.length > 0 ? waiting.length : questions.length) - shown.length;
  return html`<div class="banners" role="alert" aria-label="Network">
    ${shown.map((question) => questionBanner(question, now, actions))}
    ${
      more > 0
        ? html`<button class="link more-questions" @click=${() => actions.showNetwork()}>
            ${plural(more, 'more host')} …
          </button>`
        : nothing
    }
  </div>`;
}

function questionBanner(question: EgressQuestion, now: number, actions: BannerActions): TemplateResult {
  const waits = question.waiting > 0;
  const name = hostOf(question);
  const request = safeLine(`${question.method ?? ''} ${question.path ?? ''}`, 80);
  return html`<div class="banner ${waits ? 'waits' : 'was-blocked'}">
    ${icon(waits ? 'clock' : 'blocked')}
    <div class="banner-text">
      ${waits ? html`The task wants to reach <strong>${name}</strong>.` : html`Blocked: <strong>${name}</strong>.`}
      ${waits && request !== '' && question.path !== undefined ? html`<code class="dim">${request}</code>` : nothing}
      <span class="dim" aria-hidden="true">${detail(question, now)}</span>
    </div>
    <div class="buttons" ?hidden=${!actions.can.steer}>
      <vscode-button
        ?secondary=${!waits}
        title="Lets ${question.rule} through until this task is over"
        @click=${() => actions.allow('task', question.rule)}
        >Allow for This Task</vscode-button
      >
      <vscode-button
        secondary
        title="Lets ${question.rule} through for all tasks of this ${actions.can.place.toLowerCase()}, from now on"
        @click=${() => actions.allow('workspace', question.rule)}
        >Always for This ${actions.can.place}</vscode-button
      >
      <vscode-button
        secondary
        title="Refuses it, and asks about this host no more"
        @click=${() => actions.refuse(question.host)}
        >Don't Allow</vscode-button
      >
    </div>
    ${
      waits
        ? nothing
        : html`<button
            class="tool-button"
            title="Hide"
            aria-label="Hide the notice about ${name}"
            @click=${() => actions.dismiss(question)}
          >
            ${icon('cross')}
          </button>`
    }
  </div>`;
}

function detail({ waiting, until, times }: EgressQuestion, now: number): string {
  if (waiting === 0) return times === 1 ? 'Tried once.' : `Tried ${times.toLocaleString('en')} times.`;
  const requests = waiting === 1 ? '' : `${plural(waiting, 'request')}. `;
  const seconds = Math.max(0, Math.ceil(((until ?? now) - now) / 1000));
  return `${requests}Waits ${seconds} s for your answer.`;
}

/** With the port where it is not the usual one. */
export function hostOf({ host, port }: Pick<EgressQuestion, 'host' | 'port'>): string {
  const name = safeLine(host, 120);
  return port === 443 || port === 80 ? name : `${name}:${port}`;
}

/** The budget that is used up, and how to go on. */
export function pausedBanner(
  paused: NonNullable<TaskState['paused']>,
  actions: BannerActions,
): TemplateResult {
  const raised = raisedBudget(paused);
  const day = paused.scope === 'day';
  return html`<div class="banners" role="alert" aria-label="Budget">
    <div class="banner waits">
      ${icon('pause')}
      <div class="banner-text">
        <strong>${day ? 'The budget of today is used up' : 'The budget of this task is used up'}:</strong>
        ${cost(paused.spentUsd)} of ${cost(paused.limitUsd)}${day ? ', for all tasks' : ''}. The agent waits;
        nothing is lost.
      </div>
      <div class="buttons" ?hidden=${!actions.can.steer}>
        <vscode-button @click=${() => actions.raise(paused.scope, raised)}
          >Raise to ${cost(raised)}</vscode-button
        >
        <vscode-button secondary @click=${() => actions.chooseBudget()}>Choose…</vscode-button>
        <vscode-button secondary @click=${() => actions.stop()}>Stop Task</vscode-button>
      </div>
    </div>
  </div>`;
}

/** That nothing can come of the task now, and what is shown is as it was. */
export function awayBanner(runner: string, since: number, reconnect: () => void): TemplateResult {
  const time = new Date(since).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
  return html`<div class="banners" role="status" aria-label="Runner">
    <div class="banner was-blocked">
      ${icon('clock')}
      <div class="banner-text">
        <strong>${safeLine(runner, 60)}</strong> has not been reached since ${time}. The task goes on there;
        what is shown is as it was then.
      </div>
      <div class="buttons"><vscode-button secondary @click=${reconnect}>Reconnect</vscode-button></div>
    </div>
  </div>`;
}
