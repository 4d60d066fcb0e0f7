import type { RemarkState } from '../../protocol/review.ts';
import { hasEnded, type TaskState } from '../../protocol/taskState.ts';
import { plural } from '../../protocol/words.ts';

/** Characters of the lines that a remark is on. */
const quoteLength = 2000;

const labels: Record<RemarkState['state'], string> = {
  draft: 'Draft, not sent yet',
  sent: 'Sent to the agent',
  resolved: 'Resolved',
};

export function remarkLabel(state: RemarkState['state']): string {
  return labels[state];
}

/** The lines of a text from one to another, both from 0 and inclusive, cut where they are long. */
export function quoteOf(text: string, from: number, to: number): string {
  return text
    .split('\n')
    .slice(from, to + 1)
    .map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
    .join('\n')
    .slice(0, quoteLength);
}

/** What is about to be sent, and when the agent gets it. */
export function sendingWords(remarks: number, rejected: number, task: TaskState | undefined): string {
  const what = [
    remarks === 0 ? '' : plural(remarks, 'remark'),
    rejected === 0 ? '' : plural(rejected, 'rejected part'),
  ]
    .filter((text) => text !== '')
    .join(' and ');
  return `${what}. ${whenWords(task)}`;
}

export function whenWords(task: TaskState | undefined): string {
  if (task === undefined || hasEnded(task)) return 'The task goes on with it.';
  return task.phase === 'waiting'
    ? 'The agent goes on at once.'
    : 'The agent is at work: it gets this at the end of its turn.';
}
