import { html, nothing, type TemplateResult } from 'lit';
import type { TaskState } from '../../src/protocol/taskState.ts';
import { icon } from './icons.ts';
import type { Tab } from './saved.ts';

interface Bar {
  state: TaskState | undefined;
  tab: Tab;
  /** Shows a tab; with `focus` it gets the focus, too. */
  go: (tab: Tab, focus: boolean) => void;
  search: () => void;
}

export const tabs: { id: Tab; label: string }[] = [
  { id: 'log', label: 'Log' },
  { id: 'raw', label: 'Raw' },
  { id: 'network', label: 'Network' },
  { id: 'commits', label: 'Commits' },
  { id: 'review', label: 'Review' },
];

/** The tabs of a task's page. The arrow keys go from one to the next. */
export function tabBar({ state, tab, go, search }: Bar): TemplateResult {
  const commits = state?.commits.length ?? 0;
  const waiting = state?.egress.waiting.length ?? 0;
  return html`<nav
    class="tabs"
    role="tablist"
    aria-label="Views of the task"
    @keydown=${(event: KeyboardEvent) => {
      const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
      const at = tabs.findIndex(({ id }) => id === tab);
      if (step !== 0) go(tabs[(at + step + tabs.length) % tabs.length]?.id ?? 'log', true);
    }}
  >
    ${tabs.map(
      ({ id, label }) =>
        html`<button
          id="${id}-tab"
          role="tab"
          aria-selected=${tab === id}
          aria-controls="${id}-panel"
          tabindex=${tab === id ? 0 : -1}
          @click=${() => go(id, false)}
        >
          ${label}${id === 'commits' && commits > 0 ? html`<vscode-badge variant="counter">${commits}</vscode-badge>` : nothing}${id === 'network' && waiting > 0 ? html`<vscode-badge variant="counter" title="Requests that wait for you">${waiting}</vscode-badge>` : nothing}
        </button>`,
    )}
    <span class="space"></span>
    <button class="tool-button" title="Search (Ctrl+F)" aria-label="Search" @click=${search}>
      ${icon('search')}
    </button>
  </nav>`;
}
