import { html, nothing, type TemplateResult } from 'lit';
import { safeLine, safeText } from '../../src/protocol/safeText.ts';
import type { TaskEvent } from '../../src/protocol/taskEvent.ts';
import { cost, count, duration, fileCount, plural } from '../../src/protocol/words.ts';
import { changeCount, commitCard } from './commitParts.ts';
import { icon, type IconName } from './icons.ts';
import { type Entry, rawText, wrappedLines } from './logModel.ts';
import {
  clock,
  long,
  maxCharacters,
  pre,
  row,
  type RowActions,
  said,
  shownCharacters,
  spans,
  time,
  toggle,
} from './rowParts.ts';
import { isTalk, talkRow } from './talkRows.ts';
import { toolView } from './toolView.ts';

/** Lines of what the agent says, and of what it prints, before they have to be opened. */
const saidLines = 60;
const outputLines = 20;

/** Roughly how high a row is before it is drawn, in pixels: near enough that few rows are drawn only to be measured. */
export function entryHeight({ event }: Entry): number {
  const lineHeight = 19.5;
  const perLine = 130;
  if (event.type === 'text')
    return 16 + lineHeight * wrappedLines(event.text, saidLines, shownCharacters, perLine);
  if (event.type === 'output')
    return 10 + lineHeight * wrappedLines(event.text ?? '', outputLines, shownCharacters, perLine);
  return 44;
}

/** The structured log. Every text from the sandbox goes through safeText or ansiSpans, and through lit, which escapes. */
export function entryRow(entry: Entry, actions: RowActions): TemplateResult {
  switch (entry.kind) {
    case 'prompt':
      return row(
        'person',
        'prompt',
        'Prompt',
        entry.event.t,
        long(entry.event.n, entry.event.spec.prompt, actions),
      );
    case 'progress': {
      const last = entry.lines.at(-1) ?? entry.event;
      const open = actions.isOpen(entry.event.n);
      return row(
        'gear',
        'quiet',
        nothing,
        entry.event.t,
        html`<div class="line">
            <span>${safeLine(last.text)}</span>
            ${
              entry.lines.length > 1
                ? toggle(entry.event.n, open, open ? 'Less' : `${entry.lines.length} steps`, actions)
                : nothing
            }
          </div>
          ${open ? html`<pre class="text dim">${safeText(entry.lines.map(({ text }) => text).join('\n'))}</pre>` : nothing}`,
      );
    }
    case 'tool':
      return toolRow(entry, actions);
    case 'event':
      return eventRow(entry.event, actions);
  }
}

function toolRow(entry: Extract<Entry, { kind: 'tool' }>, actions: RowActions): TemplateResult {
  const { event, result } = entry;
  const open = actions.isOpen(event.n);
  const view = toolView(event.name, event.input);
  const state = result === undefined ? 'running' : result.isError ? 'failed' : 'done';
  const key = -event.n;
  return html`<article class="row tool ${state}">
    <div class="gutter">${icon(result?.isError === true ? 'cross' : 'tool')}</div>
    <div class="content">
      <button class="tool-head" aria-expanded=${open} @click=${() => actions.toggle(event.n)}>
        ${icon('chevron', open ? 'open' : '')}<span class="tool-name">${safeLine(event.name, 60)}</span
        ><code class="tool-summary">${view.summary}</code>
        ${result === undefined ? html`<span class="dim">running…</span>` : nothing}
        ${result?.isError === true ? html`<span class="error-text">failed</span>` : nothing}
      </button>
      ${open && view.body.text !== '' ? (view.body.kind === 'edit' ? editBody(view.body.text) : pre(view.body.text.slice(0, maxCharacters), 'box')) : nothing}
      ${
        result === undefined || result.text.trim() === ''
          ? nothing
          : long(result.n, result.text, actions, {
              ansi: true,
              lines: open ? 40 : 4,
              classes: 'box result-text',
              key,
            })
      }
    </div>
    ${time(event.t)}
  </article>`;
}

function editBody(text: string): TemplateResult {
  const all = text.slice(0, maxCharacters).split('\n');
  return html`<pre class="text box edit">
${all.slice(0, 400).map((line) => html`<span class=${line.startsWith('+') ? 'added' : 'removed'}>${safeText(line)} </span>`)}</pre>`;
}

function eventRow(event: TaskEvent, actions: RowActions): TemplateResult {
  if (isTalk(event)) return talkRow(event, actions);
  switch (event.type) {
    case 'workspace':
      return row(
        'gear',
        'quiet',
        nothing,
        event.t,
        html`<div class="line">
          Workspace ready: ${plural(event.files, 'file')} on ${safeLine(event.branch)}, in
          ${event.ms < 1000 ? `${event.ms} ms` : duration(event.ms)}
        </div>`,
      );
    case 'egress': {
      const open = actions.isOpen(event.n);
      const blocked = event.checks.filter(({ blocked }) => blocked).length;
      return row(
        event.closed ? 'shield' : 'warning',
        event.closed ? 'proof' : 'failed',
        nothing,
        event.t,
        html`<div class="line">
            <strong
              >${event.closed ? 'The sandbox has no way out but its gateway.' : 'The sandbox is not closed.'}</strong
            >
            <span class="dim"
              >${blocked} of ${plural(event.checks.length, 'attempt')} to connect were blocked.</span
            >
            ${toggle(event.n, open, open ? 'Less' : 'Details', actions)}
          </div>
          ${
            open
              ? html`<ul class="checks">
                  ${event.checks.map(
                    (check) =>
                      html`<li class=${check.blocked ? '' : 'error-text'}>
                        ${icon(check.blocked ? 'check' : 'cross')}${safeLine(check.what)}:
                        ${check.blocked ? 'blocked' : 'got through'}
                        <span class="dim">${safeLine(check.detail)}</span>
                      </li>`,
                  )}
                </ul>`
              : nothing
          }`,
      );
    }
    case 'session':
      return row(
        'spark',
        'quiet',
        nothing,
        event.t,
        html`<div class="line">
          Session started: ${safeLine(event.model)}
          <span class="dim"
            >· version ${safeLine(event.version, 40)} · ${plural(event.tools.length, 'tool')}</span
          >
        </div>`,
      );
    case 'text':
      return row('spark', 'said', nothing, event.t, long(event.n, event.text, actions, { lines: saidLines }));
    case 'thinking': {
      const open = actions.isOpen(event.n);
      return row(
        'thought',
        'thinking',
        nothing,
        event.t,
        html`<div class="line">
            ${toggle(event.n, open, 'Thinking', actions)}
            ${open ? nothing : html`<span class="dim one-line">${safeLine(event.text, 160)}</span>`}
          </div>
          ${open ? pre(event.text.slice(0, maxCharacters), 'dim') : nothing}`,
      );
    }
    case 'tool_result':
      return row(
        'tool',
        'tool',
        'Tool result',
        event.t,
        long(event.n, event.text, actions, { ansi: true, classes: 'box' }),
      );
    case 'commit':
      return row('commit', 'commit', nothing, event.t, commitCard(event.commit, actions));
    case 'leftovers':
      return row(
        'commit',
        'commit',
        nothing,
        event.t,
        html`<div class="card">
          <div class="card-head">
            <strong>Uncommitted edits</strong>
            <span class="dim">${fileCount(event)} ${changeCount(event)}</span>
            <vscode-button secondary @click=${() => actions.showLeftovers()}>Show Diff</vscode-button>
          </div>
          <div class="dim">The agent left these without a commit. They are kept in the quarantine.</div>
        </div>`,
      );
    case 'result':
      return row(
        event.isError ? 'cross' : 'check',
        event.isError ? 'failed' : 'finished',
        nothing,
        event.t,
        html`<div class="line">
            <strong>${event.isError ? 'The agent ended with an error' : 'The agent is done'}</strong>
            <span class="dim">
              ${duration(event.durationMs)} · ${plural(event.turns, 'turn')} ·
              ${count(event.usage.inputTokens + event.usage.cacheReadTokens + event.usage.cacheWriteTokens)}
              tokens in, ${count(event.usage.outputTokens)}
              out${event.costUsd > 0 ? ` · ${cost(event.costUsd)} by its own count` : ''}
            </span>
          </div>
          ${event.isError ? pre(event.text.slice(0, maxCharacters), '') : nothing}`,
      );
    case 'output':
      return html`<article class="row output ${event.stream}">
        <div class="gutter"></div>
        <div class="content">
          ${long(event.n, event.text ?? `(binary) ${event.base64 ?? ''}`, actions, { ansi: true, lines: outputLines })}
        </div>
        ${time(event.t)}
      </article>`;
    case 'notice':
    case 'gateway_notice': {
      const name: IconName =
        event.level === 'info' ? 'info' : event.level === 'warning' ? 'warning' : 'cross';
      return row(name, `notice ${event.level}`, nothing, event.t, long(event.n, event.text, actions));
    }
    case 'egress_allowed': {
      const where = event.scope === 'task' ? 'for this task' : 'for this workspace';
      const what =
        event.rule ?? (event.mode === 'open' ? 'every public host' : `the mode ${event.mode ?? ''}`);
      return said('globe', event.t, html`You allowed <code>${safeLine(what)}</code> ${where}.`);
    }
    case 'egress_refused':
      return said('blocked', event.t, html`You did not allow <code>${safeLine(event.host)}</code>.`);
    case 'budget_set':
      return said(
        'person',
        event.t,
        event.usd === null
          ? html`The task has no budget any more.`
          : html`The task may cost ${cost(event.usd)} now.`,
      );
    case 'paused':
      return row(
        'pause',
        'notice warning',
        nothing,
        event.t,
        html`<div class="line">
          <strong>Paused.</strong> The budget of ${event.scope === 'day' ? 'today' : 'this task'} is used up:
          ${cost(event.spentUsd)} of ${cost(event.limitUsd)}.
        </div>`,
      );
    case 'continued':
      return said('check', event.t, html`The task goes on.`);
    case 'credential_wanted':
      return row(
        'warning',
        'notice warning',
        nothing,
        event.t,
        html`<div class="line">
          ${
            event.reason === 'expired'
              ? 'The credential for the model expires. Requests wait for a new one.'
              : `The model's service refused the credential${event.status === undefined ? '' : ` (${event.status})`}. Requests wait for another one.`
          }
        </div>`,
      );
    case 'import_failed':
      return row(
        'cross',
        'failed',
        nothing,
        event.t,
        html`<strong>Commits could not be brought in.</strong> ${pre(event.message, '')}`,
      );
    case 'lost':
      return row(
        'warning',
        'notice warning',
        nothing,
        event.t,
        html`<div class="line">
          ${plural(event.tips.length, 'announced commit')} disappeared in the sandbox before the import, such
          as by an amend.
        </div>`,
      );
    case 'reattached':
      return row(
        'info',
        'quiet',
        nothing,
        event.t,
        html`<div class="line">The running sandbox was found again.</div>`,
      );
    case 'prepared_anew':
      return row(
        'info',
        'quiet',
        nothing,
        event.t,
        html`<div class="line">The sandbox is prepared anew.</div>`,
      );
    case 'ended':
      return endedRow(event);
    case 'unknown': {
      const open = actions.isOpen(event.n);
      return row(
        'info',
        'quiet',
        nothing,
        event.t,
        html`<div class="line">
            ${toggle(event.n, open, 'Other message', actions)}
            ${open ? nothing : html`<code class="dim one-line">${safeLine(JSON.stringify(event.message), 160)}</code>`}
          </div>
          ${open ? pre(JSON.stringify(event.message, undefined, 2).slice(0, maxCharacters), 'box') : nothing}`,
      );
    }
    default:
      return row(
        'info',
        'quiet',
        nothing,
        event.t,
        html`<code class="dim one-line">${safeLine(JSON.stringify(event), 200)}</code>`,
      );
  }
}

function endedRow(event: Extract<TaskEvent, { type: 'ended' }>): TemplateResult {
  const word = { succeeded: 'Done', failed: 'Failed', stopped: 'Stopped', timed_out: 'Time limit reached' }[
    event.outcome
  ];
  const name: IconName =
    event.outcome === 'succeeded' ? 'check' : event.outcome === 'failed' ? 'cross' : 'stop';
  const code =
    event.exitCode === undefined || event.exitCode === 0
      ? nothing
      : html`<span class="dim">exit code ${event.exitCode}</span>`;
  return row(
    name,
    `ended ${event.outcome}`,
    nothing,
    event.t,
    html`<div class="line"><strong>${word}</strong> ${code}</div>
      ${pre(event.message, '')}
      ${event.mend === undefined ? nothing : html`<div class="mend">${safeText(event.mend)}</div>`}`,
  );
}

/** A line of the raw log. */
export function rawRow(event: TaskEvent, open: boolean, actions: RowActions): TemplateResult {
  const { text, cut } = rawText(event, open ? maxCharacters : 1000);
  return html`<div class="raw-row ${open ? 'open' : ''}">
    <span class="number">${event.n}</span><span class="clock">${clock(event.t)}</span
    ><button
      class="type"
      title=${open ? 'Show on one line' : 'Show all'}
      @click=${() => actions.toggle(event.n)}
    >
      ${event.type}</button
    ><span class="raw-text"
      >${spans(open ? text : text.replaceAll('\n', '⏎'))}${cut > 0 ? html`<button class="link" @click=${() => actions.openText(event.n)}>… ${cut.toLocaleString('en')} more characters: open in the editor</button>` : nothing}</span
    >
  </div>`;
}
