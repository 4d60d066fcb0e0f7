import { html, nothing, type TemplateResult } from 'lit';
import type { PanelAction } from '../../src/protocol/panelMessages.ts';
import type { PanelReviewState } from '../../src/protocol/reviewMessages.ts';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import { switchWords } from '../../src/protocol/switches.ts';
import { hasEnded, type TaskState } from '../../src/protocol/taskState.ts';
import {
  cost,
  count,
  duration,
  elapsed,
  phaseLabel,
  plural,
  spendOf,
  spendText,
} from '../../src/protocol/words.ts';
import type { Capabilities } from '../shared/host.ts';
import { icon } from './icons.ts';
import { publishBadges } from './publishBadges.ts';
import { changeCount } from './commitParts.ts';

/** What the head of the page shows. */
export interface TaskHead {
  state: TaskState | undefined;
  review: PanelReviewState | undefined;
  can: Capabilities;
  /** There is something in the quarantine: commits, or what was left uncommitted. */
  result: boolean;
  leftovers: boolean;
  runner: { name: string; since?: number } | undefined;
  /** By the host's clock, in milliseconds since the epoch. */
  now: number;
  act: (action: PanelAction) => void;
}

/** Title, state and facts of a task, and the buttons for all of it. */
export function taskHead(head: TaskHead): TemplateResult {
  const { state, can, act } = head;
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
  return html`<header>
    <div class="title-line">
      <h1 title=${safeText(state.spec.prompt.slice(0, 1000))}>${safeLine(state.spec.title)}</h1>
      <div class="buttons" ?hidden=${!can.buttons}>
        ${
          active && can.steer
            ? html`<vscode-button
                secondary
                ?disabled=${state.phase === 'stopping'}
                @click=${() => act('stop')}
                >${state.phase === 'stopping' ? 'Stopping…' : state.phase === 'waiting' ? 'Finish' : 'Stop'}</vscode-button
              >`
            : nothing
        }
        ${
          can.editor && (head.result || head.leftovers)
            ? html`<vscode-button secondary @click=${() => act('showDiff')}
                >Show Diff in Editor</vscode-button
              >`
            : nothing
        }
        ${can.editor && head.result && state.spec.repository.path !== '' ? html`<vscode-button secondary @click=${() => act('whatNext')}>Push…</vscode-button>` : nothing}
        ${head.result && can.accept && state.spec.repository.path !== '' ? html`<vscode-button ?secondary=${active} @click=${() => act('acceptAsBranch')}>Accept as Branch…</vscode-button>` : nothing}
        ${active || !can.steer ? nothing : html`<vscode-button secondary @click=${() => act('remove')}>Remove…</vscode-button>`}
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
      ${head.runner === undefined ? nothing : html`<span title="Runner">${icon('server')}${safeLine(head.runner.name, 40)}</span>`}
      <span title="Elapsed">${duration(elapsed(state, head.runner?.since ?? head.now))}</span>
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
              @click=${() => act('setBudget')}
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
      ${switches(state)} ${head.review === undefined ? nothing : publishBadges(head.review)}
      ${state.egressClosed === true ? html`<span class="proof" title="Before the first prompt every attempt to connect out of the sandbox was blocked.">${icon('shield')}sandbox closed</span>` : nothing}
    </div>
    ${
      state.phase === 'preparing' && state.progress !== ''
        ? html`<div class="progress" role="status">
            <vscode-progress-ring></vscode-progress-ring>${safeLine(state.progress)}
          </div>`
        : nothing
    }
    ${state.failure === undefined ? nothing : failureBox(state.failure, head)}
  </header>`;
}

/** What is done by itself with the task's commits. */
function switches({ spec }: TaskState): TemplateResult | typeof nothing {
  const words = switchWords(spec.switches);
  return words === ''
    ? nothing
    : html`<span title="What is done by itself with the commits">Switches: ${words}</span>`;
}

function failureBox(failure: NonNullable<TaskState['failure']>, { can, act }: TaskHead): TemplateResult {
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
    ${button === undefined || !can.machine ? nothing : html`<vscode-button secondary @click=${() => act(button[1])}>${button[0]}</vscode-button>`}
  </div>`;
}
