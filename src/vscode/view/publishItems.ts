import type { PullRequestRecord, PushRecord, ReviewState } from '../../protocol/review.ts';
import { safeLine } from '../../protocol/safeText.ts';
import type { ItemView } from './taskView.ts';

export interface NextStep {
  label: string;
  detail: string;
  /** Nothing is to be done without one. */
  command?: 'pushBranch' | 'pushAndPullRequest' | 'stop';
}

/** What can be done after a commit. */
export function nextSteps(over: boolean): NextStep[] {
  const pushes: NextStep[] = [
    {
      label: 'Push Branch…',
      detail: 'With your own credentials, after a look at what leaves.',
      command: 'pushBranch',
    },
    {
      label: 'Push and Create Pull Request…',
      detail: 'Its title and text are written in an editor first.',
      command: 'pushAndPullRequest',
    },
  ];
  if (over) return pushes;
  return [
    { label: 'Continue', detail: 'The agent goes on, and nothing leaves.' },
    ...pushes,
    { label: 'Stop Task', detail: 'What it has committed stays.', command: 'stop' },
  ];
}

type PullRequest = Pick<PullRequestRecord, 'number' | 'state' | 'checks'>;

const looks: Record<PullRequestRecord['state'], { icon: string; color: string }> = {
  draft: { icon: 'git-pull-request-draft', color: 'descriptionForeground' },
  open: { icon: 'git-pull-request', color: 'charts.green' },
  closed: { icon: 'git-pull-request-closed', color: 'charts.red' },
  merged: { icon: 'git-merge', color: 'charts.purple' },
};

/** "Pull request #3 is open". */
export function pullRequestWords({ number, state }: PullRequest): string {
  return `Pull request #${number} is ${state === 'draft' ? 'a draft' : state}`;
}

/** For the line of a task: "#3 open", "#3 draft, checks failed"; empty without one. */
export function pullRequestBadge(pullRequest: PullRequest | undefined): string {
  if (pullRequest === undefined) return '';
  return `#${pullRequest.number} ${[pullRequest.state, checksText(pullRequest)].filter((text) => text !== '').join(', ')}`;
}

function checksText({ state, checks }: PullRequest): string {
  if (checks === undefined || checks === 'none' || state === 'merged' || state === 'closed') return '';
  return checks === 'running' ? 'checks run' : `checks ${checks}`;
}

export function pullRequestView(pullRequest: PullRequestRecord): ItemView {
  const { number, state, repository, url, branch, forge } = pullRequest;
  const description = [state, checksText(pullRequest)].filter((text) => text !== '').join(' · ');
  return {
    label: `Pull Request #${number}`,
    description,
    tooltip: [
      `${safeLine(forge, 60)}: ${safeLine(repository, 200)}`,
      `From ${safeLine(branch, 200)}`,
      safeLine(url, 500),
    ].join('\n'),
    ...looks[state],
    contextValue: `pullRequest ${state}`,
    accessibility: `Pull request ${number}, ${description}`,
  };
}

/** @param current the newest commit of the task is what is there */
export function branchView({ remote, branch, commit }: PushRecord, current: boolean): ItemView {
  const where = `${safeLine(remote, 60)}/${safeLine(branch, 100)}`;
  const description = current ? 'pushed' : 'pushed, and the task has gone on since';
  return {
    label: where,
    description,
    tooltip: `${where}\n${commit}`,
    icon: current ? 'cloud' : 'cloud-upload',
    contextValue: current ? 'branch' : 'branch behind',
    accessibility: `Branch ${branch} at ${safeLine(remote, 60)}, ${description}`,
  };
}

/** What was pushed last to each branch, the newest last. Pure. */
export function lastPushes({ pushes }: Pick<ReviewState, 'pushes'>): PushRecord[] {
  const last = new Map<string, PushRecord>();
  for (const push of pushes) {
    const key = `${push.remote} ${push.branch}`;
    last.delete(key);
    last.set(key, push);
  }
  return [...last.values()];
}
