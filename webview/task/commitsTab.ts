import { html, nothing, type TemplateResult } from 'lit';
import { safeLine } from '../../src/protocol/safeText.ts';
import { hasEnded, type TaskState } from '../../src/protocol/taskState.ts';
import { fileCount } from '../../src/protocol/words.ts';
import type { Capabilities } from '../shared/host.ts';
import { changeCount, commitCard, fileList } from './commitParts.ts';
import type { RowActions } from './rowParts.ts';

interface CommitActions extends RowActions {
  openLeftover(path: string): void;
}

/** The commits of a task, and what was left uncommitted. */
export function commitsTab(
  state: TaskState | undefined,
  can: Capabilities,
  actions: CommitActions,
): TemplateResult {
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
          ${commitCard(commit, actions)}
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
              <vscode-button secondary @click=${() => actions.showLeftovers()}>Show Diff</vscode-button>
            </div>
            <div class="dim">
              Left in the workspace without a commit. Kept in the
              quarantine${can.accept ? '; Accept as Branch does not take them' : ''}.
            </div>
            ${fileList(state.leftovers, (path) => actions.openLeftover(path))}
          </div>`
    }
  </div>`;
}
