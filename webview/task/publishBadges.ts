import { html, nothing, type TemplateResult } from 'lit';
import type { PanelReviewState } from '../../src/protocol/reviewMessages.ts';
import { safeLine } from '../../src/protocol/safeText.ts';
import { icon } from './icons.ts';

const states = { draft: 'draft', open: 'open', closed: 'closed', merged: 'merged' } as const;
const checks = {
  running: 'checks running',
  passed: 'checks passed',
  failed: 'checks failed',
  none: '',
} as const;

/** Where a task's commits went: the newest push to each branch, and the pull request. */
export function publishBadges({
  pushes,
  pullRequest,
}: Pick<PanelReviewState, 'pushes' | 'pullRequest'>): TemplateResult | typeof nothing {
  if (pushes.length === 0 && pullRequest === undefined) return nothing;
  const newest = new Map(pushes.map((push) => [`${push.remote} ${push.branch}`, push]));
  return html`${[...newest.values()]
    .slice(-3)
    .map(
      (push) =>
        html`<span class="pushed" title="Pushed ${push.commit.slice(0, 7)} to ${safeLine(push.remote, 200)}"
          >${icon('up')}${safeLine(push.branch, 60)}</span
        >`,
    )}${
    pullRequest === undefined
      ? nothing
      : html`<a
          class="pull-request ${pullRequest.state}"
          href=${webAddress(pullRequest.url)}
          title="${safeLine(pullRequest.repository, 200)} on ${safeLine(pullRequest.forge, 100)}"
          >${icon('branch')}#${pullRequest.number}
          ${states[pullRequest.state]}${
            pullRequest.checks === undefined || pullRequest.checks === 'none'
              ? nothing
              : html` <span class="checks-${pullRequest.checks}">· ${checks[pullRequest.checks]}</span>`
          }</a
        >`
  }`;
}

/** What a forge said is no link to anywhere but the web. */
function webAddress(url: string): string {
  return /^https?:\/\//i.test(url) ? url : '#';
}
