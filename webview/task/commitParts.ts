import { html, nothing, type TemplateResult } from 'lit';
import { statusLetter } from '../../src/protocol/panelMessages.ts';
import { safeLine } from '../../src/protocol/safeText.ts';
import type { Commit, FileChange } from '../../src/protocol/taskEvent.ts';
import { fileCount, lines, plural, totalsOf } from '../../src/protocol/words.ts';
import { pre, type RowActions } from './rowParts.ts';
import { shortPath } from './toolView.ts';

const maxFiles = 100;

/** A commit's list of files, or another. */
interface FilesOf {
  files: readonly FileChange[];
  moreFiles?: number | undefined;
}

export function commitCard(commit: Commit, actions: RowActions): TemplateResult {
  const body = commit.body.trim();
  return html`<div class="card">
    <div class="card-head">
      <strong>${safeLine(commit.subject, 200) || '(no message)'}</strong>
      <code class="sha">${commit.sha.slice(0, 7)}</code>
      <span class="dim">${fileCount(commit)}</span> ${changeCount(commit)}
      <vscode-button secondary @click=${() => actions.showCommit(commit)}>Show Diff</vscode-button>
    </div>
    ${body === '' ? nothing : pre(body.slice(0, 4000), 'dim')}
    ${fileList(commit, (path) => actions.openFile(commit, path))}
  </div>`;
}

export function fileList({ files, moreFiles = 0 }: FilesOf, open: (path: string) => void): TemplateResult {
  const hidden = Math.max(0, files.length - maxFiles) + moreFiles;
  return html`<ul class="files">
    ${files.slice(0, maxFiles).map(
      (file) =>
        html`<li>
          <button class="file" title="Open the diff of this file" @click=${() => open(file.path)}>
            <span class="status ${file.status}" aria-label=${file.status}>${statusLetter(file.status)}</span>
            <span class="path"
              >${file.from === undefined ? nothing : html`<span class="dim">${safeLine(file.from)} → </span>`}${safeLine(shortPath(file.path))}</span
            >
            ${file.added === undefined && file.removed === undefined ? html`<span class="dim">binary</span>` : changeCount({ files: [file] })}
          </button>
        </li>`,
    )}
    ${hidden > 0 ? html`<li class="dim">and ${plural(hidden, 'more file', 'more files')}</li>` : nothing}
  </ul>`;
}

export function changeCount(of: FilesOf): TemplateResult {
  const sums = totalsOf(of);
  return html`<span class="counts" aria-label=${lines(sums)}
    >${sums.more === true ? '≥ ' : nothing}<span class="plus">+${sums.added.toLocaleString('en')}</span>
    <span class="minus">−${sums.removed.toLocaleString('en')}</span></span
  >`;
}
