import { safeLine } from '../../protocol/safeText.ts';
import type { TaskState } from '../../protocol/taskState.ts';
import { lines, plural, totals } from '../../protocol/words.ts';
import { noticeText } from './noticeText.ts';

export interface Notice {
  level: 'info' | 'warning' | 'error';
  text: string;
  actions: { title: string; command: string }[];
}

const open = { title: 'Open', command: 'sallyport.open' };
const diff = { title: 'Show Diff', command: 'sallyport.showDiff' };
const credentials = { title: 'Choose Credential…', command: 'sallyport.credentials' };
const accept = { title: 'Accept as Branch', command: 'sallyport.acceptAsBranch' };

export function firstCommitNotice(state: TaskState): Notice {
  const subject = safeLine(state.commits[0]?.subject ?? '', 80);
  return {
    level: 'info',
    text: noticeText(`${name(state)}: first commit, “${subject}”.`),
    actions: [diff, open],
  };
}

/** Nothing for a task that the user stopped. */
export function endNotice(state: TaskState): Notice | undefined {
  const made = state.commits.length > 0;
  const work = made
    ? `${plural(state.commits.length, 'commit')}, ${lines(totals(state.commits.flatMap(({ files }) => files)))}`
    : state.leftovers === undefined
      ? 'no commits'
      : 'no commits, but uncommitted edits';
  switch (state.phase) {
    case 'succeeded':
      return {
        level: 'info',
        text: noticeText(`${name(state)} is done: ${work}.`),
        actions: made ? [diff, accept, open] : [open],
      };
    case 'timed_out':
      return {
        level: 'warning',
        text: noticeText(`${name(state)} reached its time limit: ${work}.`),
        actions: made ? [diff, open] : [open],
      };
    case 'failed': {
      const { message, mend } = state.failure ?? { message: 'It failed.' };
      const text = [
        `${name(state)}: ${safeLine(message)}`,
        ...(mend === undefined ? [] : [safeLine(mend)]),
      ].join(' ');
      const refused = state.failure?.kind === 'auth_refused';
      return {
        level: 'error',
        text: noticeText(text),
        actions: [...(refused ? [credentials] : []), open, ...(made ? [diff] : [])],
      };
    }
    case 'preparing':
    case 'running':
    case 'waiting':
    case 'stopping':
    case 'stopped':
      return undefined;
  }
}

function name(state: TaskState): string {
  return `“${safeLine(state.spec.title, 60)}”`;
}
